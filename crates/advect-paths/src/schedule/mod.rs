mod cosine;
mod custom;
mod edm;
mod linear;
mod linear_vp;
mod polynomial;
mod sigma_min;
mod ve;
mod vp;

pub use cosine::Cosine;
pub use custom::Custom;
pub use edm::Edm;
pub use linear::Linear;
pub use linear_vp::LinearVp;
pub use polynomial::Polynomial;
pub use sigma_min::SigmaMin;
pub use ve::Ve;
pub use vp::Vp;

use std::sync::Arc;

/// The coefficients of `x_t = alpha x_1 + sigma x_0` at one time, and their derivatives in t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coefficients {
    /// How much data.
    pub alpha: f64,
    /// How much noise.
    pub sigma: f64,
    /// d alpha / dt.
    pub d_alpha: f64,
    /// d sigma / dt; minus infinity where sigma falls like a square root (VP and LinearVP at t = 1).
    pub d_sigma: f64,
}

/// How much data and how much noise an affine path holds at each time: `x_t = alpha x_1 + sigma x_0`.
///
/// A schedule is a scalar function in f64, evaluated on the host (Lipman et al., 2024, "Flow Matching Guide and
/// Code", section 4.8). What it promises, for code that works on any of them:
/// - `alpha` never falls and is 1 at t = 1; `sigma` never rises; both are finite; nothing is singular inside (0, 1).
/// - The log signal-to-noise ratio rises strictly, so that it has an inverse.
/// - The ends are those of the method, not always noise alone and data alone: `alpha(0)` may be above 0 (VP: a little;
///   VE and EDM: 1) and `sigma(0)` other than 1 (VE and EDM: sigma_max), so sampling starts from
///   `sigma(0) x_0`; `sigma(1)` may be above 0 (VE, EDM and SigmaMin), and then the path ends in smoothed data.
pub trait Schedule {
    /// The coefficients at `t` in [0, 1]. At the ends they are the one-sided limits.
    fn at(&self, t: f64) -> Coefficients;

    /// The log signal-to-noise ratio `ln(alpha^2 / sigma^2)`; infinite where alpha or sigma is zero.
    fn log_snr(&self, t: f64) -> f64;

    /// The time whose log signal-to-noise ratio is `log_snr`: the inverse of [`Schedule::log_snr`], clamped to [0, 1].
    fn time_at_log_snr(&self, log_snr: f64) -> f64;

    /// `sigma * d_sigma`, half the rate of the noise variance.
    ///
    /// Finite where `d_sigma` is not: a schedule with an infinite `d_sigma` must override this by the limit.
    fn sigma_d_sigma(&self, t: f64) -> f64 {
        let c = self.at(t);
        c.sigma * c.d_sigma
    }
}

impl<S: Schedule + ?Sized> Schedule for &S {
    fn at(&self, t: f64) -> Coefficients {
        (**self).at(t)
    }

    fn log_snr(&self, t: f64) -> f64 {
        (**self).log_snr(t)
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        (**self).time_at_log_snr(log_snr)
    }

    fn sigma_d_sigma(&self, t: f64) -> f64 {
        (**self).sigma_d_sigma(t)
    }
}

/// A schedule chosen at run time: `Arc<dyn Schedule>`.
impl<S: Schedule + ?Sized> Schedule for Arc<S> {
    fn at(&self, t: f64) -> Coefficients {
        (**self).at(t)
    }

    fn log_snr(&self, t: f64) -> f64 {
        (**self).log_snr(t)
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        (**self).time_at_log_snr(log_snr)
    }

    fn sigma_d_sigma(&self, t: f64) -> f64 {
        (**self).sigma_d_sigma(t)
    }
}

/// `1 / (1 + e^-x)`, exact to round-off on both sides.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}
