use super::{Coefficients, Schedule, sigmoid};

/// The linear path `x_t = t x_1 + (1 - t) x_0`, also called conditional optimal transport and rectified flow.
///
/// Lipman et al., 2023, "Flow Matching for Generative Modeling", example II; `CondOTScheduler` of flow_matching.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Linear;

impl Schedule for Linear {
    fn at(&self, t: f64) -> Coefficients {
        Coefficients { alpha: t, sigma: 1.0 - t, d_alpha: 1.0, d_sigma: -1.0 }
    }

    fn log_snr(&self, t: f64) -> f64 {
        2.0 * (t.ln() - (-t).ln_1p())
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        sigmoid(log_snr / 2.0)
    }
}
