use super::{Coefficients, Schedule};
use crate::PathError;

/// The linear path that keeps a little noise: `alpha = t`, `sigma = 1 - (1 - sigma_min) t`.
///
/// Lipman et al., 2023, "Flow Matching for Generative Modeling", equation 20 (the optimal-transport conditional path).
/// At t = 1 each data point is a Gaussian of size `sigma_min`, so the path ends in the smoothed data and all
/// conversions are finite there. With `sigma_min = 0` it is [`Linear`](crate::Linear).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmaMin {
    sigma_min: f64,
}

impl SigmaMin {
    /// A schedule that ends at noise of size `sigma_min`.
    ///
    /// # Errors
    /// [`PathError::Sigmas`] unless `0 <= sigma_min < 1`.
    pub fn new(sigma_min: f64) -> Result<Self, PathError> {
        if (0.0..1.0).contains(&sigma_min) {
            Ok(Self { sigma_min })
        } else {
            Err(PathError::Sigmas { sigma_min, sigma_max: 1.0, least: "0 or above" })
        }
    }

    /// The noise level at the data end.
    #[must_use]
    pub fn sigma_min(&self) -> f64 {
        self.sigma_min
    }
}

impl Schedule for SigmaMin {
    fn at(&self, t: f64) -> Coefficients {
        // Exactly sigma_min at t = 1.
        let sigma = (1.0 - t) + self.sigma_min * t;
        Coefficients { alpha: t, sigma, d_alpha: 1.0, d_sigma: self.sigma_min - 1.0 }
    }

    fn log_snr(&self, t: f64) -> f64 {
        2.0 * (t.ln() - self.at(t).sigma.ln())
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        // t / sigma = q, so t = 1 / (1 / q + 1 - sigma_min).
        (1.0 / ((-log_snr / 2.0).exp() + (1.0 - self.sigma_min))).min(1.0)
    }
}
