use crate::SolveError;

/// A proportional-integral controller of the step size.
///
/// With `e_n` the error of an accepted step in units of its tolerance and k the order of the error estimate plus one,
/// the next step is `h * clamp(safety * e_n^(-alpha/k) * e_(n-1)^(beta/k), min_factor, max_factor)`.
/// Gustafsson, Lundh & Soderlind, *A PI stepsize control for the numerical solution of ordinary differential
/// equations*, BIT 28 (1988); Hairer, Norsett & Wanner I, II.4 and II (with Wanner), IV.2, eq. 2.43c. After a
/// rejection the step is `h * clamp(safety * e^(-1/k), min_factor, 1)`, and the step after it does not grow
/// (II.4, p. 168).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PiController {
    safety: f64,
    min_factor: f64,
    max_factor: f64,
    alpha: f64,
    beta: f64,
}

/// Errors below this are forgotten by the integral part, so that one lucky step does not throttle the next
/// (the value of Hairer's DOPRI5 code).
const LEAST_MEMORY: f64 = 1e-4;

impl PiController {
    /// A controller of given coefficients.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless `0 < safety <= 1`, `0 < min_factor < 1 <= max_factor`, `alpha > 0` and
    /// `beta >= 0`, all finite.
    pub fn new(safety: f64, min_factor: f64, max_factor: f64, alpha: f64, beta: f64) -> Result<Self, SolveError> {
        let check = |valid: bool, name, value, rule| {
            if valid { Ok(()) } else { Err(SolveError::Setting { name, value, rule }) }
        };
        check(safety > 0.0 && safety <= 1.0, "safety", safety, "it must be in (0, 1]")?;
        check(min_factor > 0.0 && min_factor < 1.0, "min_factor", min_factor, "it must be in (0, 1)")?;
        check(max_factor >= 1.0 && max_factor.is_finite(), "max_factor", max_factor, "it must be finite and >= 1")?;
        check(alpha > 0.0 && alpha.is_finite(), "alpha", alpha, "it must be finite and > 0")?;
        check(beta >= 0.0 && beta.is_finite(), "beta", beta, "it must be finite and >= 0")?;
        Ok(Self { safety, min_factor, max_factor, alpha, beta })
    }

    /// Gustafsson's PI coefficients alpha = 0.7, beta = 0.4, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Hairer & Wanner II, IV.2, p. 31; safety and factors as in Hairer's DOPRI5.
    #[must_use]
    pub fn standard() -> Self {
        Self { safety: 0.9, min_factor: 0.2, max_factor: 10.0, alpha: 0.7, beta: 0.4 }
    }

    /// The elementary controller, alpha = 1 and beta = 0, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Hairer, Norsett & Wanner I, II.4, eq. 4.13; the rule of SciPy's `RK45`.
    #[must_use]
    pub fn elementary() -> Self {
        Self { alpha: 1.0, beta: 0.0, ..Self::standard() }
    }

    /// The factor to the next step after an accepted one.
    #[must_use]
    pub fn grow(&self, error: f64, previous: f64, error_order: u32) -> f64 {
        let k = f64::from(error_order + 1);
        let factor = self.safety * error.powf(-self.alpha / k) * previous.max(LEAST_MEMORY).powf(self.beta / k);
        factor.clamp(self.min_factor, self.max_factor)
    }

    /// The factor to the next attempt after a rejected one; the smallest if the error is not a number.
    #[must_use]
    pub fn shrink(&self, error: f64, error_order: u32) -> f64 {
        let k = f64::from(error_order + 1);
        // `max` drops a NaN, which `clamp` would keep.
        (self.safety * error.powf(-1.0 / k)).max(self.min_factor).min(1.0)
    }
}
