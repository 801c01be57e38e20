use super::{TimeLaw, TimeSampler};
use advect_core::NoiseKey;
use rand::RngExt;

/// One time from each of as many equal shares of a law as the batch has rows: less variance of the batch's loss.
///
/// Kingma et al., 2021, "Variational Diffusion Models" (low-discrepancy times); stratified as in MDLM. Row i
/// of n takes the quantile of `(i + u) / n`, with u keyed by its id: so a time depends on the row's position and on the
/// number of rows, and the examples must come in random order, or some would always be seen at the same
/// noise. Across devices or accumulated batches, sample the joint batch and cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StratifiedTime<L> {
    law: L,
}

impl<L: TimeLaw> StratifiedTime<L> {
    /// The law, cut into shares.
    pub fn new(law: L) -> Self {
        Self { law }
    }

    /// The law of the batch as a whole.
    pub fn law(&self) -> &L {
        &self.law
    }
}

impl<L: TimeLaw> TimeSampler for StratifiedTime<L> {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        let count = ids.len() as f64;
        key.each(ids, counter, |row, rng| self.law.quantile((row as f64 + rng.random::<f64>()) / count))
    }
}
