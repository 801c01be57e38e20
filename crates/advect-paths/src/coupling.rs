use crate::SourceLaw;
use advect_core::Batched;
use burn::tensor::Tensor;

/// Decides which noise goes with which data in a training batch.
pub trait Coupling<const D: usize> {
    /// The pairs of a batch, as indices, so that labels can follow.
    ///
    /// # Shapes
    /// - `noise`, `data`: `[batch, ...]`
    fn pair(&mut self, noise: &Tensor<D>, data: &Tensor<D>) -> Pairing;

    /// The law of the pairs, given the law of noise and data before they were coupled.
    ///
    /// A coupling that looks at the values answers [`SourceLaw::Other`]: noise and data are no longer independent.
    fn source_law(&self, before: SourceLaw) -> SourceLaw;
}

/// Noise and data as they come: independent if they were drawn so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Independent;

impl<const D: usize> Coupling<D> for Independent {
    fn pair(&mut self, _noise: &Tensor<D>, data: &Tensor<D>) -> Pairing {
        Pairing::identity(data.dims()[0])
    }

    fn source_law(&self, before: SourceLaw) -> SourceLaw {
        before
    }
}

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
