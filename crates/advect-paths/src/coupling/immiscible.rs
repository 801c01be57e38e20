use super::{Coupling, Euclidean, ExactOt, Pairing, Uncoupled};
use crate::{PathError, SourceLaw};

/// Immiscible diffusion: the noise of a batch is permuted to lie near its data, by an assignment on distances.
///
/// Li et al. (2024), "Immiscible diffusion: accelerating diffusion training with noise assignment", algorithm 1. Data
/// keep their order; the noise of a batch as a whole stays N(0, I). It differs from [`ExactOt`] in the cost alone: |x
/// - y|, not its square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Immiscible;

impl<const D: usize> Coupling<D> for Immiscible {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        ExactOt { cost: Euclidean }.pair(batch)
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
