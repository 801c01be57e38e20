use advect_core::Batched;
use burn::tensor::Tensor;

/// Pair `i` is row `noise[i]` of the noise and row `data[i]` of the data; labels go by `data`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairing {
    /// Rows of the noise.
    pub noise: Vec<usize>,
    /// Rows of the data.
    pub data: Vec<usize>,
}

impl Pairing {
    /// Row i with row i.
    #[must_use]
    pub fn identity(rows: usize) -> Self {
        Self { noise: (0..rows).collect(), data: (0..rows).collect() }
    }

    /// Data as they come, each with the noise row given for it.
    #[must_use]
    pub fn of_noise(noise: Vec<usize>) -> Self {
        Self { data: (0..noise.len()).collect(), noise }
    }

    /// What belongs to the data rows, such as their labels or ids, in the order of the pairs.
    ///
    /// # Panics
    /// Panics if there is not one item a data row.
    #[must_use]
    pub fn follow<T: Clone>(&self, of_data: &[T]) -> Vec<T> {
        self.data.iter().map(|&row| of_data[row].clone()).collect()
    }

    /// Noise and data, row by row in pairs. What is in order already is not copied.
    ///
    /// # Shapes
    /// - `noise`, `data`: `[batch, ...]`
    /// - output: two of `[pairs, ...]`
    ///
    /// # Panics
    /// Panics if a row is out of range.
    #[must_use]
    pub fn apply<const D: usize>(&self, noise: Tensor<D>, data: Tensor<D>) -> (Tensor<D>, Tensor<D>) {
        (take(&self.noise, noise), take(&self.data, data))
    }
}

fn take<const D: usize>(rows: &[usize], all: Tensor<D>) -> Tensor<D> {
    let in_order = rows.len() == all.dims()[0] && rows.iter().enumerate().all(|(i, &r)| i == r);
    if in_order { all } else { Batched::gather(&all, rows) }
}
