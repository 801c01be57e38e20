use crate::{Batched, CoreError, NoiseKey};
use rand::RngExt;

/// A weighted set: each row of `x` carries a log-weight, and the running log Z stands beside them.
///
/// Expectations under the target are `sum w_i f(x_i) / sum w_i`. The set owns the names (ids) of its rows, because
/// noise is keyed by them: two copies of one ancestor must not draw the same future.
#[derive(Debug, Clone)]
pub struct Weighted<X> {
    /// The samples.
    pub x: X,
    /// One log-weight a row, up to `log_z`.
    pub log_weight: Vec<f64>,
    /// The log of the normalising constant collected by resampling so far.
    pub log_z: f64,
    /// The names of the rows, for keyed noise.
    pub ids: Vec<u64>,
    next: u64,
}

impl<X: Batched> Weighted<X> {
    /// Equal weights; rows are named `0..rows`.
    ///
    /// # Errors
    /// [`CoreError::Weights`] if there are no rows.
    pub fn new(x: X) -> Result<Self, CoreError> {
        let rows = x.rows();
        if rows == 0 {
            return Err(CoreError::Weights { rows, weights: 0 });
        }
        let ids: Vec<u64> = (0..rows as u64).collect();
        Ok(Self { x, log_weight: vec![0.0; rows], log_z: 0.0, ids, next: rows as u64 })
    }

    /// The weights, normalised to sum to one.
    #[must_use]
    pub fn weights(&self) -> Vec<f64> {
        let total = log_sum_exp(&self.log_weight);
        self.log_weight.iter().map(|w| (w - total).exp()).collect()
    }

    /// The effective sample size `1 / sum w_i^2` of normalised weights, between 1 and the number of rows.
    #[must_use]
    pub fn effective_sample_size(&self) -> f64 {
        1.0 / self.weights().iter().map(|w| w * w).sum::<f64>()
    }

    /// The estimate of log Z: what was collected, and the mean of the present weights.
    #[must_use]
    pub fn log_normalizer(&self) -> f64 {
        self.log_z + log_sum_exp(&self.log_weight) - (self.log_weight.len() as f64).ln()
    }

    /// Systematic resampling (Kitagawa, 1996): rows return about in proportion to their weights, weights become
    /// equal, log Z takes up their mean, and every row gets a fresh name.
    ///
    /// `counter` numbers the resamplings of one run.
    #[must_use]
    pub fn resample(self, key: NoiseKey, counter: u64) -> Self {
        let rows = self.log_weight.len();
        let log_z = self.log_normalizer();
        let weights = self.weights();
        let offset: f64 = key.rng(0, counter).random();
        let mut chosen = Vec::with_capacity(rows);
        let (mut parent, mut reached) = (0, weights[0]);
        for i in 0..rows {
            let position = (i as f64 + offset) / rows as f64;
            while position > reached && parent + 1 < rows {
                parent += 1;
                reached += weights[parent];
            }
            chosen.push(parent);
        }
        let ids = (self.next..self.next + rows as u64).collect();
        Self { x: self.x.gather(&chosen), log_weight: vec![0.0; rows], log_z, ids, next: self.next + rows as u64 }
    }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top.is_finite() { top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln() } else { top }
}
