use super::{Coefficients, Schedule};
use crate::PathError;

/// A schedule from a function of the user, with its derivatives checked.
///
/// A stated derivative that is wrong trains and samples without complaint, and both are wrong. So the constructor
/// compares it with difference quotients, and looks at what else [`Schedule`] promises.
///
/// ```
/// use advect_paths::{Coefficients, Custom, PathError, Schedule};
///
/// // x_t = t x_1 + (1 - t)^2 x_0.
/// let at = |t: f64| Coefficients { alpha: t, sigma: (1.0 - t).powi(2), d_alpha: 1.0, d_sigma: 2.0 * (t - 1.0) };
/// let schedule = Custom::new(at)?;
/// // Equal parts of data and noise: t = (1 - t)^2.
/// assert!((schedule.time_at_log_snr(0.0) - (3.0 - 5_f64.sqrt()) / 2.0).abs() < 1e-14);
///
/// // A sign forgotten.
/// let wrong = Custom::new(|t: f64| Coefficients { alpha: t, sigma: 1.0 - t, d_alpha: 1.0, d_sigma: 1.0 });
/// assert!(matches!(wrong, Err(PathError::Derivative { of: "sigma", .. })));
/// # Ok::<(), PathError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Custom<F> {
    at: F,
    /// `sigma * d_sigma` at t = 0 and t = 1, where the product itself may be zero times infinity.
    sigma_d_sigma: [f64; 2],
}

/// How many times inside (0, 1) are checked.
const CHECKS: u32 = 64;

impl<F: Fn(f64) -> Coefficients> Custom<F> {
    /// Checks the function at 64 times inside (0, 1) and at both ends.
    ///
    /// `d_sigma` may be infinite at an end where sigma moves like a square root.
    ///
    /// # Errors
    /// [`PathError::Derivative`] where a stated derivative is not that of a fourth-order difference quotient to
    /// 1e-6, relative to one plus its size;
    /// [`PathError::Schedule`] where a value is not finite, alpha or sigma is negative, alpha(1) is not 1, or the
    /// log signal-to-noise ratio does not rise.
    pub fn new(at: F) -> Result<Self, PathError> {
        let broken = |t: f64, what: &'static str| Err(PathError::Schedule { t, what });
        let mut last = f64::NEG_INFINITY;
        for i in 0..=CHECKS + 1 {
            // The ends, and the middles of 64 equal parts.
            let t = ((f64::from(i) - 0.5) / f64::from(CHECKS)).clamp(0.0, 1.0);
            let c = at(t);
            if !(c.alpha.is_finite() && c.alpha >= 0.0 && c.sigma.is_finite() && c.sigma >= 0.0) {
                return broken(t, "alpha and sigma must be finite and not negative");
            }
            if t == 1.0 && (c.alpha - 1.0).abs() > 1e-12 {
                return broken(t, "alpha must be 1 at t = 1");
            }
            let log_snr = log_snr(c);
            if log_snr.is_nan() || (i > 0 && log_snr <= last) {
                return broken(t, "the log signal-to-noise ratio must rise");
            }
            last = log_snr;
            if t > 0.0 && t < 1.0 {
                check(&at, t)?;
            } else if c.d_alpha.is_nan() || c.d_sigma.is_nan() {
                return broken(t, "the derivatives must not be NaN");
            }
        }
        // Straight through two points inside: the limit of a smooth product to 1e-11 or so.
        let product = |t: f64| {
            let c = at(t);
            c.sigma * c.d_sigma
        };
        let limit = |t: f64, step: f64| {
            let exact = product(t);
            if exact.is_finite() { exact } else { 2.0 * product(t + step) - product(t + 2.0 * step) }
        };
        let sigma_d_sigma = [limit(0.0, 1e-6), limit(1.0, -1e-6)];
        Ok(Self { at, sigma_d_sigma })
    }
}

/// Compares the stated derivatives at `t` with difference quotients of fourth order.
fn check(at: &impl Fn(f64) -> Coefficients, t: f64) -> Result<(), PathError> {
    let h = 0.01 * t.min(1.0 - t);
    let (a, b, c, d) = (at(t - 2.0 * h), at(t - h), at(t + h), at(t + 2.0 * h));
    let quotient = |a: f64, b: f64, c: f64, d: f64| (a - 8.0 * b + 8.0 * c - d) / (12.0 * h);
    let stated = at(t);
    let pairs = [
        ("alpha", stated.d_alpha, quotient(a.alpha, b.alpha, c.alpha, d.alpha)),
        ("sigma", stated.d_sigma, quotient(a.sigma, b.sigma, c.sigma, d.sigma)),
    ];
    for (of, stated, measured) in pairs {
        // Written so that NaN fails; infinity would fit everything.
        let fits = stated.is_finite() && (stated - measured).abs() <= 1e-6 * (1.0 + stated.abs());
        if !fits {
            return Err(PathError::Derivative { of, t, stated, measured });
        }
    }
    Ok(())
}

fn log_snr(c: Coefficients) -> f64 {
    2.0 * (c.alpha.ln() - c.sigma.ln())
}

impl<F: Fn(f64) -> Coefficients> Schedule for Custom<F> {
    fn at(&self, t: f64) -> Coefficients {
        (self.at)(t)
    }

    fn log_snr(&self, t: f64) -> f64 {
        log_snr(self.at(t))
    }

    /// By bisection, to the last bit of t.
    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        if log_snr <= self.log_snr(0.0) {
            return 0.0;
        }
        if log_snr >= self.log_snr(1.0) {
            return 1.0;
        }
        let (mut low, mut high) = (0.0, 1.0);
        loop {
            let middle = f64::midpoint(low, high);
            // Also reached where the ratio is NaN, so this ends.
            if middle <= low || middle >= high {
                return middle;
            }
            if self.log_snr(middle) < log_snr { low = middle } else { high = middle }
        }
    }

    fn sigma_d_sigma(&self, t: f64) -> f64 {
        match t {
            0.0 => self.sigma_d_sigma[0],
            1.0 => self.sigma_d_sigma[1],
            _ => {
                let c = self.at(t);
                c.sigma * c.d_sigma
            }
        }
    }
}
