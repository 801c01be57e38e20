use crate::PathError;
use crate::schedule::sigmoid;
use advect_core::{NoiseKey, normal};
use rand::RngExt;

/// Draws the times of training examples.
///
/// The time of an example is a function of the key, its id and its counter (such as the epoch or step), whatever
/// batch it comes in.
pub trait TimeSampler {
    /// One time in [0, 1] for each id.
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64>;
}

/// Times uniform on [eps, 1 - eps].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UniformTime {
    eps: f64,
}

impl UniformTime {
    /// Uniform on [0, 1].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uniform on [eps, 1 - eps], for targets that are infinite at an end.
    ///
    /// # Errors
    /// [`PathError::Clip`] unless `0 <= eps < 0.5`.
    pub fn clipped(eps: f64) -> Result<Self, PathError> {
        if (0.0..0.5).contains(&eps) { Ok(Self { eps }) } else { Err(PathError::Clip { eps }) }
    }
}

impl TimeSampler for UniformTime {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        let width = 1.0 - 2.0 * self.eps;
        ids.iter().map(|&id| self.eps + width * key.rng(id, counter).random::<f64>()).collect()
    }
}

/// Times whose logit `ln(t / (1 - t))` is normal: more weight in the middle of the path.
///
/// Esser et al., 2024, "Scaling Rectified Flow Transformers" (Stable Diffusion 3), section 3.1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitNormalTime {
    mean: f64,
    std: f64,
}

impl LogitNormalTime {
    /// The law with the given mean and standard deviation of the logit. A positive mean leans to the data.
    ///
    /// # Errors
    /// [`PathError::LogitNormal`] unless both are finite and `std` is positive.
    pub fn new(mean: f64, std: f64) -> Result<Self, PathError> {
        if mean.is_finite() && std.is_finite() && std > 0.0 {
            Ok(Self { mean, std })
        } else {
            Err(PathError::LogitNormal { mean, std })
        }
    }
}

impl TimeSampler for LogitNormalTime {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        ids.iter().map(|&id| sigmoid(self.mean + self.std * normal(&mut key.rng(id, counter)))).collect()
    }
}
