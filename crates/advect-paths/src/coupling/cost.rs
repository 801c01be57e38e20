use super::Rows;
use crate::PathError;
use advect_kernels::{Vectorized, vectorized};

/// What it costs to pair a noise row with a data row.
///
/// A closure `|noise: &[f64], data: &[f64]| -> f64` is a cost; implement the trait where the whole matrix is cheaper
/// at once.
pub trait Cost {
    /// The cost of one pair.
    fn between(&self, noise: &[f64], data: &[f64]) -> f64;

    /// All costs, one row for each row of noise.
    ///
    /// # Errors
    /// [`PathError::Shape`] if the rows differ in width; [`PathError::Cost`] if a cost is not finite.
    fn matrix(&self, noise: &Rows, data: &Rows) -> Result<CostMatrix, PathError> {
        equally_wide(noise, data)?;
        let values = noise.iter().flat_map(|n| data.iter().map(|d| self.between(n, d))).collect();
        CostMatrix::new(values, noise.count())
    }
}

fn equally_wide(noise: &Rows, data: &Rows) -> Result<(), PathError> {
    if noise.width() == data.width() {
        return Ok(());
    }
    let (got, expected) = (vec![noise.count(), noise.width()], vec![noise.count(), data.width()]);
    Err(PathError::Shape { what: "the noise", got, expected })
}

impl<F: Fn(&[f64], &[f64]) -> f64> Cost for F {
    fn between(&self, noise: &[f64], data: &[f64]) -> f64 {
        self(noise, data)
    }
}

/// `|x - y|^2`, the cost of the Wasserstein-2 distance: its optimal plan gives the straightest flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SquaredEuclidean;

impl Cost for SquaredEuclidean {
    fn between(&self, noise: &[f64], data: &[f64]) -> f64 {
        // Four sums side by side, which the compiler can keep in one register.
        let mut sums = [0.0; 4];
        let (n, d) = (noise.chunks_exact(4), data.chunks_exact(4));
        let rest: f64 = n.remainder().iter().zip(d.remainder()).map(|(a, b)| (a - b) * (a - b)).sum();
        for (a, b) in n.zip(d) {
            for k in 0..4 {
                sums[k] += (a[k] - b[k]) * (a[k] - b[k]);
            }
        }
        sums.iter().sum::<f64>() + rest
    }

    fn matrix(&self, noise: &Rows, data: &Rows) -> Result<CostMatrix, PathError> {
        CostMatrix::new(squares(noise, data)?, noise.count())
    }
}

/// The squared distances of all pairs, row by row.
fn squares(noise: &Rows, data: &Rows) -> Result<Vec<f64>, PathError> {
    /// A row of distances at a time, one coordinate after the other: whole vectors, however few coordinates there are.
    struct Squares<'a> {
        noise: &'a Rows,
        /// The first coordinate of all data rows, then the second, and so on.
        coordinates: &'a [f64],
        columns: usize,
    }

    impl Vectorized for Squares<'_> {
        type Output = Vec<f64>;

        #[inline(always)]
        fn run(self) -> Vec<f64> {
            let mut values = vec![0.0; self.noise.count() * self.columns];
            for (row, point) in values.chunks_exact_mut(self.columns).zip(self.noise.iter()) {
                for (x, coordinate) in point.iter().zip(self.coordinates.chunks_exact(self.columns)) {
                    for (value, y) in row.iter_mut().zip(coordinate) {
                        *value += (x - y) * (x - y);
                    }
                }
            }
            values
        }
    }

    equally_wide(noise, data)?;
    let coordinates: Vec<f64> = (0..data.width()).flat_map(|k| data.iter().map(move |y| y[k])).collect();
    Ok(vectorized(Squares { noise, coordinates: &coordinates, columns: data.count() }))
}

/// `|x - y|`, the cost of the Wasserstein-1 distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Euclidean;

impl Cost for Euclidean {
    fn between(&self, noise: &[f64], data: &[f64]) -> f64 {
        SquaredEuclidean.between(noise, data).sqrt()
    }

    fn matrix(&self, noise: &Rows, data: &Rows) -> Result<CostMatrix, PathError> {
        let mut values = squares(noise, data)?;
        values.iter_mut().for_each(|value| *value = value.sqrt());
        CostMatrix::new(values, noise.count())
    }
}

/// Finite costs of all pairs: one row for each row of noise, one column for each row of data.
#[derive(Debug, Clone, PartialEq)]
pub struct CostMatrix {
    values: Vec<f64>,
    rows: usize,
}

impl CostMatrix {
    /// A matrix from its rows, one after the other.
    ///
    /// # Errors
    /// [`PathError::NoRows`] if it is empty or the values do not fill it; [`PathError::Cost`] if a value is not finite
    /// (or beyond 1e300).
    pub fn new(values: Vec<f64>, rows: usize) -> Result<Self, PathError> {
        if rows == 0 || values.is_empty() || !values.len().is_multiple_of(rows) {
            return Err(PathError::NoRows { values: values.len(), rows });
        }
        let columns = values.len() / rows;
        // Sums of costs, such as dual potentials, must be finite too.
        // Counted first: that takes whole vectors, and as a rule there is nothing to look for.
        let wrong = |v: &f64| v.is_nan() | (v.abs() > 1e300);
        let any = values.iter().filter(|v| wrong(v)).count() > 0;
        match any.then(|| values.iter().position(wrong)).flatten() {
            Some(at) => Err(PathError::Cost { noise: at / columns, data: at % columns, value: values[at] }),
            None => Ok(Self { values, rows }),
        }
    }

    /// The number of rows (of noise).
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of columns (of data).
    #[must_use]
    pub fn columns(&self) -> usize {
        self.values.len() / self.rows
    }

    /// The costs of one row.
    ///
    /// # Panics
    /// Panics if it is out of range.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        let columns = self.columns();
        &self.values[index * columns..(index + 1) * columns]
    }

    /// All costs, row by row.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }
}
