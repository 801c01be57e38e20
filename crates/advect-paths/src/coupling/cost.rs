use super::Rows;
use crate::PathError;

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
        if noise.width() != data.width() {
            let (got, expected) = (vec![noise.count(), noise.width()], vec![noise.count(), data.width()]);
            return Err(PathError::Shape { what: "the noise", got, expected });
        }
        let values = noise.iter().flat_map(|n| data.iter().map(|d| self.between(n, d))).collect();
        CostMatrix::new(values, noise.count())
    }
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
}

/// `|x - y|`, the cost of the Wasserstein-1 distance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Euclidean;

impl Cost for Euclidean {
    fn between(&self, noise: &[f64], data: &[f64]) -> f64 {
        SquaredEuclidean.between(noise, data).sqrt()
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
        match values.iter().position(|v| v.is_nan() || v.abs() > 1e300) {
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
