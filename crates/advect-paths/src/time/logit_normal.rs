use super::{TimeLaw, normal_density, normal_quantile};
use crate::PathError;
use crate::schedule::sigmoid;
use advect_core::{SampleRng, normal};

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

impl TimeLaw for LogitNormalTime {
    fn quantile(&self, u: f64) -> f64 {
        sigmoid(self.mean + self.std * normal_quantile(u))
    }

    fn density(&self, t: f64) -> f64 {
        // It vanishes at both ends faster than any power.
        if !(t > 0.0 && t < 1.0) {
            return 0.0;
        }
        let z = (t.ln() - (-t).ln_1p() - self.mean) / self.std;
        normal_density(z) / (self.std * t * (1.0 - t))
    }

    fn draw(&self, rng: &mut SampleRng) -> f64 {
        sigmoid(self.mean + self.std * normal(rng))
    }
}
