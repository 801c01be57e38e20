use super::{Coefficients, Schedule};
use crate::PathError;

/// The variance-exploding path: `alpha = 1`, and sigma falls geometrically from `sigma_max` to `sigma_min`.
///
/// Song et al., 2021, "Score-Based Generative Modeling through SDEs", appendix C, in our time:
/// `sigma = sigma_max^(1 - t) sigma_min^t`. Nothing is ever scaled down: at t = 0, `x = x_1 + sigma_max x_0`, which is
/// close to `sigma_max x_0` only where sigma_max is far above the size of the data. Sampling starts there, not at x_0.
/// At t = 1 noise of size sigma_min is left; sigma never reaches 0, so every conversion is finite at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ve {
    sigma_min: f64,
    sigma_max: f64,
}

impl Ve {
    /// A schedule between two noise levels.
    ///
    /// # Errors
    /// [`PathError::Sigmas`] unless both are finite and `0 < sigma_min < sigma_max`.
    pub fn new(sigma_min: f64, sigma_max: f64) -> Result<Self, PathError> {
        if sigma_min > 0.0 && sigma_min < sigma_max && sigma_max.is_finite() {
            Ok(Self { sigma_min, sigma_max })
        } else {
            Err(PathError::Sigmas { sigma_min, sigma_max, least: "above 0" })
        }
    }

    /// The noise level at the data end.
    #[must_use]
    pub fn sigma_min(&self) -> f64 {
        self.sigma_min
    }

    /// The noise level at the noise end.
    #[must_use]
    pub fn sigma_max(&self) -> f64 {
        self.sigma_max
    }

    /// ln(sigma_max / sigma_min), the rate at which ln sigma falls.
    fn rate(&self) -> f64 {
        self.sigma_max.ln() - self.sigma_min.ln()
    }
}

/// The levels 0.01 and 50 of Song et al., 2021, for CIFAR-10.
impl Default for Ve {
    fn default() -> Self {
        Self { sigma_min: 0.01, sigma_max: 50.0 }
    }
}

impl Schedule for Ve {
    fn at(&self, t: f64) -> Coefficients {
        // At the ends the powers are exactly 1 and 0, so sigma is exactly sigma_max and sigma_min.
        let sigma = self.sigma_max.powf(1.0 - t) * self.sigma_min.powf(t);
        Coefficients { alpha: 1.0, sigma, d_alpha: 0.0, d_sigma: -self.rate() * sigma }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -2.0 * ((1.0 - t) * self.sigma_max.ln() + t * self.sigma_min.ln())
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        ((self.sigma_max.ln() + log_snr / 2.0) / self.rate()).clamp(0.0, 1.0)
    }
}
