use crate::PathError;
use burn::tensor::Tensor;

/// Rows of numbers on the host: what costs are computed from.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    values: Vec<f64>,
    count: usize,
}

impl Rows {
    /// `count` rows of equal width, one after the other.
    ///
    /// # Errors
    /// [`PathError::NoRows`] if there is none, if they are empty, or if the numbers do not fill them.
    pub fn new(values: Vec<f64>, count: usize) -> Result<Self, PathError> {
        let full = count > 0 && !values.is_empty() && values.len().is_multiple_of(count);
        if full { Ok(Self { values, count }) } else { Err(PathError::NoRows { values: values.len(), rows: count }) }
    }

    /// The rows of a tensor, each flattened: one read from the device.
    ///
    /// # Shapes
    /// - `tensor`: `[rows, ...]`
    ///
    /// # Errors
    /// [`PathError::NoRows`] if it is empty.
    pub fn of<const D: usize>(tensor: &Tensor<D>) -> Result<Self, PathError> {
        let count = tensor.dims()[0];
        let unread = |_| PathError::NoRows { values: 0, rows: count };
        Self::new(tensor.clone().into_data().try_into_vec_as::<f64>().map_err(unread)?, count)
    }

    /// The number of rows, at least one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// The numbers in a row, at least one.
    #[must_use]
    pub fn width(&self) -> usize {
        self.values.len() / self.count
    }

    /// One row.
    ///
    /// # Panics
    /// Panics if it is out of range.
    #[must_use]
    pub fn row(&self, index: usize) -> &[f64] {
        let width = self.width();
        &self.values[index * width..(index + 1) * width]
    }

    /// All rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.width())
    }
}
