//! Which noise goes with which data in a training batch: one coupling a file.
//!
//! All of them answer with indices, so that labels and masks follow. What looks at the values reads noise and data to
//! the host and works there, in f64.

mod assignment;
mod class_wise;
mod cost;
mod exact;
mod exponential;
mod immiscible;
mod independent;
mod nearest_noise;
mod pairing;
mod partial;
mod plan;
mod rows;
mod scaling;
mod semidiscrete;
mod sinkhorn;
mod unbalanced;

pub use assignment::{Assignment, assign};
pub use class_wise::ClassWise;
pub use cost::{Cost, CostMatrix, Euclidean, SquaredEuclidean};
pub use exact::ExactOt;
pub use immiscible::Immiscible;
pub use independent::Independent;
pub use nearest_noise::NearestNoise;
pub use pairing::Pairing;
pub use partial::PartialOt;
pub use plan::Plan;
pub use rows::Rows;
pub use scaling::Stop;
pub use semidiscrete::{Ascent, Semidiscrete};
pub use sinkhorn::Sinkhorn;
pub use unbalanced::UnbalancedSinkhorn;

use crate::{PathError, SourceLaw};
use advect_core::NoiseKey;
use burn::tensor::Tensor;

/// Decides which noise goes with which data in a training batch.
pub trait Coupling<const D: usize> {
    /// The pairs of a batch, as indices, so that labels can follow.
    ///
    /// # Errors
    /// [`PathError`] where the batch does not fit the coupling, or a cost is not finite.
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError>;

    /// The law of the pairs, given the law of noise and data before they were coupled.
    ///
    /// A coupling that looks at the values answers [`SourceLaw::Other`]: noise and data are no longer independent.
    fn source_law(&self, before: SourceLaw) -> SourceLaw;
}

/// A batch before it is coupled.
///
/// # Shapes
/// - `noise`: `[noise rows, ...]`, of independent rows
/// - `data`: `[data rows, ...]`; most couplings want as many as noise rows
#[derive(Debug, Clone, Copy)]
pub struct Uncoupled<'a, const D: usize> {
    /// The noise.
    pub noise: &'a Tensor<D>,
    /// The data.
    pub data: &'a Tensor<D>,
    /// The class of each data row, where there are classes.
    pub classes: Option<&'a [usize]>,
    /// What random couplings draw with (purpose [`Coupling`](advect_core::Purpose::Coupling)).
    pub key: NoiseKey,
    /// The number of the batch, such as the training step: random couplings draw anew for each.
    pub step: u64,
}

impl<'a, const D: usize> Uncoupled<'a, D> {
    /// A batch without classes.
    #[must_use]
    pub fn new(noise: &'a Tensor<D>, data: &'a Tensor<D>, key: NoiseKey, step: u64) -> Self {
        Self { noise, data, classes: None, key, step }
    }

    /// The same batch with the class of each data row.
    #[must_use]
    pub fn with_classes(self, classes: &'a [usize]) -> Self {
        Self { classes: Some(classes), ..self }
    }

    /// Noise and data on the host.
    ///
    /// # Errors
    /// [`PathError::NoRows`] if either is empty; [`PathError::Shape`] if their rows differ in shape.
    pub fn rows(&self) -> Result<(Rows, Rows), PathError> {
        let (got, expected) = (self.noise.dims(), self.data.dims());
        if got[1..] != expected[1..] {
            let expected = [&got[..1], &expected[1..]].concat();
            return Err(PathError::Shape { what: "the noise", got: got.to_vec(), expected });
        }
        Ok((Rows::of(self.noise)?, Rows::of(self.data)?))
    }
}
