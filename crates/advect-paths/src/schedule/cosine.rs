use super::{Coefficients, Schedule};
use std::f64::consts::FRAC_PI_2;

/// The trigonometric path `alpha = sin(pi t / 2)`, `sigma = cos(pi t / 2)`; it preserves variance.
///
/// Nichol & Dhariwal, 2021, without the offset; Albergo & Vanden-Eijnden, 2023; `CosineScheduler` of flow_matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cosine;

impl Schedule for Cosine {
    fn at(&self, t: f64) -> Coefficients {
        let alpha = (FRAC_PI_2 * t).sin();
        // The cosine as a sine of what is left: exactly zero at t = 1, and precise near it.
        let sigma = (FRAC_PI_2 * (1.0 - t)).sin();
        Coefficients { alpha, sigma, d_alpha: FRAC_PI_2 * sigma, d_sigma: -FRAC_PI_2 * alpha }
    }

    fn log_snr(&self, t: f64) -> f64 {
        let c = self.at(t);
        2.0 * (c.alpha.ln() - c.sigma.ln())
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        (log_snr / 2.0).exp().atan() / FRAC_PI_2
    }
}
