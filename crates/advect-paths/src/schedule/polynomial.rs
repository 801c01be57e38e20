use super::{Coefficients, Schedule, sigmoid};
use crate::PathError;

/// The polynomial path `alpha = t^n`, `sigma = 1 - t^n`; n = 1 is the linear path.
///
/// `PolynomialConvexScheduler` of flow_matching (Lipman et al., 2024).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Polynomial {
    power: f64,
}

impl Polynomial {
    /// A schedule of the given power.
    ///
    /// # Errors
    /// [`PathError::Power`] unless `power` is finite and at least 1.
    pub fn new(power: f64) -> Result<Self, PathError> {
        if power.is_finite() && power >= 1.0 { Ok(Self { power }) } else { Err(PathError::Power { power }) }
    }

    /// The power n.
    #[must_use]
    pub fn power(&self) -> f64 {
        self.power
    }
}

impl Schedule for Polynomial {
    fn at(&self, t: f64) -> Coefficients {
        let n = self.power;
        let rate = n * t.powf(n - 1.0);
        // 1 - t^n without cancellation near t = 1.
        let sigma = -(n * t.ln()).exp_m1();
        Coefficients { alpha: t.powf(n), sigma, d_alpha: rate, d_sigma: -rate }
    }

    fn log_snr(&self, t: f64) -> f64 {
        let c = self.at(t);
        2.0 * (c.alpha.ln() - c.sigma.ln())
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        sigmoid(log_snr / 2.0).powf(1.0 / self.power)
    }
}
