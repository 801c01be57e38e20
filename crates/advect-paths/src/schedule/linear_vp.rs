use super::{Coefficients, Schedule, sigmoid};

/// The variance-preserving path with linear data: `alpha = t`, `sigma = sqrt(1 - t^2)`.
///
/// `LinearVPScheduler` of flow_matching (Lipman et al., 2024). Its `d_sigma` is minus infinity at t = 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LinearVp;

impl Schedule for LinearVp {
    fn at(&self, t: f64) -> Coefficients {
        let sigma = ((1.0 - t) * (1.0 + t)).sqrt();
        Coefficients { alpha: t, sigma, d_alpha: 1.0, d_sigma: -t / sigma }
    }

    fn log_snr(&self, t: f64) -> f64 {
        2.0 * t.ln() - (-t).ln_1p() - t.ln_1p()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        sigmoid(log_snr).sqrt()
    }

    fn sigma_d_sigma(&self, t: f64) -> f64 {
        -t
    }
}
