use super::{Coupling, Pairing, Uncoupled};
use crate::{PathError, SourceLaw};

/// Noise and data as they come: independent if they were drawn so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Independent;

impl<const D: usize> Coupling<D> for Independent {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = (batch.noise.dims()[0], batch.data.dims()[0]);
        if noise == data { Ok(Pairing::identity(data)) } else { Err(PathError::PairRows { noise, data, pool: 1 }) }
    }

    fn source_law(&self, before: SourceLaw) -> SourceLaw {
        before
    }
}
