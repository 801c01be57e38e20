use super::{Coefficients, Schedule};
use crate::PathError;

/// The variance-preserving diffusion path with a linear noise rate: `alpha = e^(-T/2)`, `sigma = sqrt(1 - e^-T)`.
///
/// Song et al., 2021, "Score-Based Generative Modeling through SDEs", section 3.4, in our time: with s = 1 - t,
/// `T = s^2 (beta_max - beta_min) / 2 + s beta_min`. `VPScheduler` of flow_matching. At t = 0 alpha is small, not
/// zero (0.0066 for the usual rates), so the path starts near the source, not at it. Unless `beta_min` is 0, `d_sigma`
/// is minus infinity at t = 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vp {
    beta_min: f64,
    beta_max: f64,
}

impl Vp {
    /// A schedule whose noise rate rises from `beta_min` at the data to `beta_max` at the noise, per unit of time.
    ///
    /// # Errors
    /// [`PathError::Betas`] unless both are finite, `0 <= beta_min <= beta_max` and `beta_max > 0`.
    pub fn new(beta_min: f64, beta_max: f64) -> Result<Self, PathError> {
        if beta_max.is_finite() && beta_min >= 0.0 && beta_min <= beta_max && beta_max > 0.0 {
            Ok(Self { beta_min, beta_max })
        } else {
            Err(PathError::Betas { beta_min, beta_max })
        }
    }

    /// The rate at the data end.
    #[must_use]
    pub fn beta_min(&self) -> f64 {
        self.beta_min
    }

    /// The rate at the noise end.
    #[must_use]
    pub fn beta_max(&self) -> f64 {
        self.beta_max
    }

    /// The integrated rate T, and its derivative in t.
    fn integral(&self, t: f64) -> (f64, f64) {
        let s = 1.0 - t;
        let slope = self.beta_max - self.beta_min;
        (s * (s * slope / 2.0 + self.beta_min), -(s * slope + self.beta_min))
    }
}

/// The rates 0.1 and 20 of Song et al., 2021.
impl Default for Vp {
    fn default() -> Self {
        Self { beta_min: 0.1, beta_max: 20.0 }
    }
}

impl Schedule for Vp {
    fn at(&self, t: f64) -> Coefficients {
        let (integral, rate) = self.integral(t);
        let alpha = (-integral / 2.0).exp();
        let sigma = (-(-integral).exp_m1()).sqrt();
        let d_sigma = if sigma > 0.0 {
            rate * (-integral).exp() / (2.0 * sigma)
        } else if self.beta_min > 0.0 {
            f64::NEG_INFINITY
        } else {
            // sigma is sqrt(beta_max / 2) (1 - t) to first order.
            -(self.beta_max / 2.0).sqrt()
        };
        Coefficients { alpha, sigma, d_alpha: -rate * alpha / 2.0, d_sigma }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -self.integral(t).0.exp_m1().ln()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        // T = ln(1 + e^-l), written so that neither side overflows.
        let integral = (-log_snr).max(0.0) + (-log_snr.abs()).exp().ln_1p();
        if integral == 0.0 {
            return 1.0;
        }
        // The root of slope s^2 / 2 + beta_min s = T, in the form that neither cancels nor overflows.
        let (slope, linear) = (2.0 * (self.beta_max - self.beta_min) / integral, self.beta_min / integral);
        let s = 2.0 / (linear + (linear * linear + slope).sqrt());
        (1.0 - s).clamp(0.0, 1.0)
    }

    fn sigma_d_sigma(&self, t: f64) -> f64 {
        let (integral, rate) = self.integral(t);
        rate * (-integral).exp() / 2.0
    }
}
