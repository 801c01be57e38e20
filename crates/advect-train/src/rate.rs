use crate::TrainError;
use std::f64::consts::PI;

/// The learning rate over a run: a linear warm-up, then half a cosine down to a fraction of the peak.
///
/// Loshchilov & Hutter, *SGDR*, 2017, equation 5, without restarts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    peak: f64,
    warmup: u64,
    steps: u64,
    floor: f64,
}

impl LearningRate {
    /// A peak, reached after `warmup` steps, falling to `floor * peak` at the end of `steps`.
    ///
    /// # Errors
    /// [`TrainError::Range`] unless the peak is finite and positive and the floor is in [0, 1].
    pub fn new(peak: f64, warmup: u64, steps: u64, floor: f64) -> Result<Self, TrainError> {
        if !(peak.is_finite() && peak > 0.0) {
            return Err(TrainError::Range { name: "learning rate", value: peak, range: "finite and > 0" });
        }
        if !(0.0..=1.0).contains(&floor) {
            return Err(TrainError::Range { name: "floor of the learning rate", value: floor, range: "0 to 1" });
        }
        Ok(Self { peak, warmup, steps, floor })
    }

    /// The rate of one step, counted from 0.
    #[must_use]
    pub fn at(self, step: u64) -> f64 {
        if step < self.warmup {
            return self.peak * (step + 1) as f64 / self.warmup as f64;
        }
        let span = self.steps.saturating_sub(self.warmup).max(1) as f64;
        let progress = ((step - self.warmup) as f64 / span).min(1.0);
        self.peak * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + (PI * progress).cos()))
    }
}
