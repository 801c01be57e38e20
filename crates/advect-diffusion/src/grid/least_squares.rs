use super::pilot::size;
use advect_core::State;

/// Directions in the space of states and their inner products, for least squares with few unknowns.
///
/// A state only offers combinations and a norm; the inner product comes from the norm of a sum. All directions are kept
/// with length 1, so that round-off in f32 hurts none more than another.
#[derive(Debug)]
pub(super) struct Directions<X> {
    vectors: Vec<X>,
    sizes: Vec<f64>,
    cosines: Vec<Vec<f64>>,
}

impl<X: State> Directions<X> {
    pub(super) fn new() -> Self {
        Self { vectors: Vec::new(), sizes: Vec::new(), cosines: Vec::new() }
    }

    pub(super) fn push(&mut self, vector: X) {
        let length = size(&vector);
        let row: Vec<f64> = (0..self.vectors.len()).map(|k| self.cosine(k, &vector, length)).collect();
        self.cosines.push(row);
        self.vectors.push(vector);
        self.sizes.push(length);
    }

    /// The cosine of the angle between direction `k` and a vector; zero if one of them vanishes.
    fn cosine(&self, k: usize, vector: &X, length: f64) -> f64 {
        if length == 0.0 || self.sizes[k] == 0.0 || !length.is_finite() {
            return 0.0;
        }
        let sum = vector.clone().combine(1.0 / length, &[(1.0 / self.sizes[k], &self.vectors[k])]);
        (size(&sum).powi(2) - 2.0) / 2.0
    }

    /// The coefficients of the combination of all directions that comes closest to `target`, with a ridge on directions
    /// of length 1: Tikhonov regularization, which keeps directions that hardly differ from fighting each other.
    pub(super) fn fit(&self, target: &X, ridge: f64) -> Vec<f64> {
        let n = self.vectors.len();
        let length = size(target);
        let right: Vec<f64> = (0..n).map(|k| length * self.cosine(k, target, length)).collect();
        let mut matrix: Vec<Vec<f64>> = (0..n)
            .map(|i| (0..n).map(|j| if i == j { 1.0 + ridge } else { self.cosines[i.max(j)][i.min(j)] }).collect())
            .collect();
        let unit = solve_symmetric(&mut matrix, right);
        unit.iter().zip(&self.sizes).map(|(c, s)| if *s > 0.0 { c / s } else { 0.0 }).collect()
    }
}

/// Gaussian elimination without pivoting: the matrix is positive definite up to round-off, and pivots that
/// round-off has made too small are directions already spoken for, which get nothing.
fn solve_symmetric(matrix: &mut [Vec<f64>], mut right: Vec<f64>) -> Vec<f64> {
    let n = right.len();
    for i in 0..n {
        let (above, below) = matrix.split_at_mut(i + 1);
        let (known, open) = right.split_at_mut(i + 1);
        let pivot = &above[i];
        if pivot[i] < LEAST_PIVOT {
            continue;
        }
        for (row, right) in below.iter_mut().zip(open) {
            let factor = row[i] / pivot[i];
            for (entry, above) in row[i..].iter_mut().zip(&pivot[i..]) {
                *entry -= factor * above;
            }
            *right -= factor * known[i];
        }
    }
    let mut x = vec![0.0; n];
    for (i, row) in matrix.iter().enumerate().rev().filter(|(i, row)| row[*i] >= LEAST_PIVOT) {
        let rest: f64 = (i + 1..n).map(|k| row[k] * x[k]).sum();
        x[i] = (right[i] - rest) / row[i];
    }
    x
}

/// Of a matrix with ones on the diagonal: far above round-off, far below any direction worth having.
const LEAST_PIVOT: f64 = 1e-13;

#[cfg(test)]
mod tests {
    use super::Directions;

    #[test]
    fn the_fit_is_the_projection() {
        // A plane in four dimensions, nearly degenerate, and a target off it: the residual is orthogonal to the plane.
        let (a, b) = ([1.0, 2.0, 0.0, -1.0], [1.01, 2.0, 0.1, -1.0]);
        let target = [0.3, -1.0, 2.0, 0.7];
        let mut directions = Directions::new();
        directions.push(a);
        directions.push(b);
        let c = directions.fit(&target, 0.0);
        let off: Vec<f64> = (0..4).map(|i| target[i] - c[0] * a[i] - c[1] * b[i]).collect();
        for direction in [a, b] {
            let inner: f64 = off.iter().zip(direction).map(|(o, d)| o * d).sum();
            assert!(inner.abs() < 1e-9, "{inner}");
        }
    }

    #[test]
    fn a_direction_twice_and_a_zero_direction_do_no_harm() {
        let mut directions = Directions::new();
        for direction in [[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]] {
            directions.push(direction);
        }
        let c = directions.fit(&[3.0, 5.0], 0.0);
        assert!((c[0] + c[2] - 3.0).abs() < 1e-12 && c[1] == 0.0, "{c:?}");
    }
}
