use crate::TrainError;

/// How fast the moving average of the weights follows: `ema <- d * ema + (1 - d) * weights`.
///
/// The warm-up `d = min(decay, (1 + n) / (10 + n))` after `n` updates (as in TensorFlow's
/// `ExponentialMovingAverage` and the `flow_matching` examples) keeps the random start out of short runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ema {
    decay: f64,
}

impl Ema {
    /// A decay in [0, 1).
    ///
    /// # Errors
    /// [`TrainError::Range`] if it is not.
    pub fn new(decay: f64) -> Result<Self, TrainError> {
        if (0.0..1.0).contains(&decay) {
            Ok(Self { decay })
        } else {
            Err(TrainError::Range { name: "EMA decay", value: decay, range: "0 <= decay < 1" })
        }
    }

    /// The decay of the update after `updates` earlier ones.
    #[must_use]
    pub fn decay(self, updates: u64) -> f64 {
        let n = updates as f64;
        self.decay.min((1.0 + n) / (10.0 + n))
    }
}
