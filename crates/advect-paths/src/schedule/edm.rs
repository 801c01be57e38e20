use super::{Coefficients, Schedule};
use crate::PathError;

/// The path of EDM: `alpha = 1`, and the rho-th root of sigma falls linearly from `sigma_max` to `sigma_min`.
///
/// Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", equation 5, as a function
/// of our time: `sigma = ((1 - t) sigma_max^(1/rho) + t sigma_min^(1/rho))^rho`. Equal steps of t are therefore their
/// grid of noise levels. With `rho = 1` and `sigma_min = 0` it is their `sigma(t) = t` run backwards.
///
/// At t = 0, `x = x_1 + sigma_max x_0`: sampling starts from `sigma_max x_0`, not from x_0. With `sigma_min = 0` the
/// path ends in the data itself, where a velocity read off the noise or the data is lost; with `sigma_min > 0`
/// every conversion is finite at both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Edm {
    sigma_min: f64,
    sigma_max: f64,
    rho: f64,
}

impl Edm {
    /// A schedule between two noise levels. A larger `rho` spends more time at the small ones.
    ///
    /// # Errors
    /// [`PathError::Sigmas`] unless both are finite and `0 <= sigma_min < sigma_max`; [`PathError::Rho`] unless `rho`
    /// is finite and at least 1.
    pub fn new(sigma_min: f64, sigma_max: f64, rho: f64) -> Result<Self, PathError> {
        if !(sigma_min >= 0.0 && sigma_min < sigma_max && sigma_max.is_finite()) {
            return Err(PathError::Sigmas { sigma_min, sigma_max, least: "0 or above" });
        }
        if rho.is_finite() && rho >= 1.0 { Ok(Self { sigma_min, sigma_max, rho }) } else { Err(PathError::Rho { rho }) }
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

    /// The power rho.
    #[must_use]
    pub fn rho(&self) -> f64 {
        self.rho
    }

    /// sigma^(1/rho) at t = 0 and t = 1.
    fn roots(&self) -> (f64, f64) {
        (self.sigma_max.powf(1.0 / self.rho), self.sigma_min.powf(1.0 / self.rho))
    }
}

/// The levels 0.002 and 80 and the power 7 of Karras et al., 2022, table 1.
impl Default for Edm {
    fn default() -> Self {
        Self { sigma_min: 0.002, sigma_max: 80.0, rho: 7.0 }
    }
}

impl Schedule for Edm {
    fn at(&self, t: f64) -> Coefficients {
        let (first, last) = self.roots();
        let root = (1.0 - t) * first + t * last;
        let d_sigma = self.rho * (last - first) * root.powf(self.rho - 1.0);
        Coefficients { alpha: 1.0, sigma: root.powf(self.rho), d_alpha: 0.0, d_sigma }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -2.0 * self.at(t).sigma.ln()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        let (first, last) = self.roots();
        let root = (-log_snr / (2.0 * self.rho)).exp();
        ((first - root) / (first - last)).clamp(0.0, 1.0)
    }
}
