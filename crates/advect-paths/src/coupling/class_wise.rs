use super::{Coupling, Pairing, Uncoupled};
use crate::{PathError, SourceLaw};
use advect_core::Batched;
use std::collections::BTreeMap;

/// Couples within each class alone, which keeps conditional generation unbiased.
///
/// Cheng & Schwing (2025), "The curse of conditions: analyzing and improving optimal transport for conditional
/// flow-based generation" (C2OT): each noise row has the class of the data row it was drawn with, and a pair across
/// classes costs infinitely much. For classes that is one coupling a class, which is how it is computed here.
///
/// Why the noise given a class stays N(0, I): row i of the noise gets class `classes[i]`, drawn without a look at the
/// noise; so the noise rows of a class are independent N(0, I) numbers, and permuting them within the class leaves
/// their law alone (exactly, at every batch size). Plain OT conditions them on what class won them: with two classes
/// far apart, the noise given a class is half a Gaussian, of mean 0.80 instead of 0, and a sampler that starts at
/// N(0, I) for that class starts where nothing was learned.
///
/// An inner coupling that does not keep its noise marginal ([`NearestNoise`](super::NearestNoise),
/// [`PartialOt`](super::PartialOt), [`UnbalancedSinkhorn`](super::UnbalancedSinkhorn)) is as biased within the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClassWise<I> {
    /// How to couple within a class.
    pub inner: I,
}

impl<const D: usize, I: Coupling<D>> Coupling<D> for ClassWise<I> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = (batch.noise.dims()[0], batch.data.dims()[0]);
        if noise != data {
            return Err(PathError::PairRows { noise, data, pool: 1 });
        }
        let classes = batch.classes.unwrap_or_default();
        if classes.len() != data {
            return Err(PathError::Classes { classes: classes.len(), rows: data });
        }
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (row, class) in classes.iter().enumerate() {
            members.entry(*class).or_default().push(row);
        }
        let mut pairs = Vec::with_capacity(data);
        for rows in members.values() {
            let (noise, data) = (Batched::gather(batch.noise, rows), Batched::gather(batch.data, rows));
            // One stream of random numbers a class: the first row's number tells them apart.
            let step = batch.step.wrapping_mul(1 << 20).wrapping_add(rows[0] as u64);
            let inner = self.inner.pair(&Uncoupled { noise: &noise, data: &data, classes: None, step, ..*batch })?;
            pairs.extend(inner.data.iter().zip(&inner.noise).map(|(&d, &n)| (rows[d], rows[n])));
        }
        // Data in their own order again.
        pairs.sort_by_key(|&(data, _)| data);
        let (data, noise) = pairs.into_iter().unzip();
        Ok(Pairing { noise, data })
    }

    fn source_law(&self, before: SourceLaw) -> SourceLaw {
        self.inner.source_law(before)
    }
}
