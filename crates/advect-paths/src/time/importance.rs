use super::TimeLaw;
use crate::PathError;

/// Times drawn more often where the loss has been large: importance sampling by a running second moment.
///
/// Nichol & Dhariwal, 2021, "Improved Denoising Diffusion Probabilistic Models", section 3.3: density proportional to
/// `sqrt(E[loss^2 | t])`, which is the choice of least variance; here with running means over equal bins of
/// [0, 1]. Give it the loss of each row after each step ([`ImportanceTime::observe`]), and divide the losses by
/// [`TimeLaw::density`], or it is another loss. Until every bin has been seen the law is uniform.
///
/// A time is still a function of key, id and counter, but of what was observed before as well: to resume a run exactly,
/// keep [`ImportanceTime::moments`].
#[derive(Debug, Clone, PartialEq)]
pub struct ImportanceTime {
    /// The running mean of the squared loss of each bin; NaN before the first.
    moments: Vec<f64>,
    memory: f64,
    uniform: f64,
    /// The probability of each bin.
    shares: Vec<f64>,
}

impl ImportanceTime {
    /// A law of `bins` equal bins that forgets by the factor `memory` at each observation of a bin (0.9 remembers ten),
    /// with a share `uniform` drawn uniformly, so that no bin is forgotten (0.001 in the paper's code).
    ///
    /// # Errors
    /// [`PathError::Importance`] unless `bins` is positive, `0 <= memory < 1` and `0 < uniform <= 1`.
    pub fn new(bins: usize, memory: f64, uniform: f64) -> Result<Self, PathError> {
        if bins == 0 || !(0.0..1.0).contains(&memory) || !(uniform > 0.0 && uniform <= 1.0) {
            return Err(PathError::Importance { bins, memory, uniform });
        }
        Ok(Self { moments: vec![f64::NAN; bins], memory, uniform, shares: vec![1.0 / bins as f64; bins] })
    }

    /// Takes in the plain losses (before the division by the density) of rows at these times. What is not finite is
    /// left out.
    ///
    /// # Errors
    /// [`PathError::Rows`] unless there is one loss a time.
    pub fn observe(&mut self, times: &[f64], losses: &[f64]) -> Result<(), PathError> {
        if times.len() != losses.len() {
            return Err(PathError::Rows { rows: losses.len(), times: times.len() });
        }
        for (&t, &loss) in times.iter().zip(losses) {
            let square = loss * loss;
            if square.is_finite() && (0.0..=1.0).contains(&t) {
                let bin = self.bin(t);
                let moment = &mut self.moments[bin];
                *moment = if moment.is_nan() { square } else { self.memory * *moment + (1.0 - self.memory) * square };
            }
        }
        self.weigh();
        Ok(())
    }

    /// The running second moments of the bins, NaN where nothing was seen.
    #[must_use]
    pub fn moments(&self) -> &[f64] {
        &self.moments
    }

    /// The same law with other moments, such as those of a run to be resumed.
    ///
    /// # Errors
    /// [`PathError::Rows`] unless there is one moment a bin.
    pub fn with_moments(mut self, moments: Vec<f64>) -> Result<Self, PathError> {
        if moments.len() != self.moments.len() {
            return Err(PathError::Rows { rows: self.moments.len(), times: moments.len() });
        }
        self.moments = moments;
        self.weigh();
        Ok(self)
    }

    /// The probability of each bin, once all have been seen.
    fn weigh(&mut self) {
        let total: f64 = self.moments.iter().map(|m| m.sqrt()).sum();
        let even = 1.0 / self.shares.len() as f64;
        for (share, moment) in self.shares.iter_mut().zip(&self.moments) {
            // Also where a bin is NaN, or all losses are zero.
            let learned = if total.is_finite() && total > 0.0 { moment.sqrt() / total } else { even };
            *share = (1.0 - self.uniform) * learned + self.uniform * even;
        }
    }

    fn bin(&self, t: f64) -> usize {
        ((t * self.shares.len() as f64) as usize).min(self.shares.len() - 1)
    }
}

impl TimeLaw for ImportanceTime {
    fn quantile(&self, u: f64) -> f64 {
        let width = 1.0 / self.shares.len() as f64;
        let mut below = 0.0;
        for (bin, share) in self.shares.iter().enumerate() {
            if u < below + share {
                return (bin as f64 + (u - below) / share) * width;
            }
            below += share;
        }
        1.0
    }

    fn density(&self, t: f64) -> f64 {
        if (0.0..=1.0).contains(&t) { self.shares[self.bin(t)] * self.shares.len() as f64 } else { 0.0 }
    }
}
