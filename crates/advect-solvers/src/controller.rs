use crate::SolveError;

/// A proportional-integral-derivative controller of the step size: I, PI and PID are its special cases.
///
/// Soderlind, *Digital filters in adaptive time-stepping*, ACM Trans. Math. Software 29 (2003), in the notation of
/// diffrax. With e_n the error of an accepted step in units of its tolerance, k the order of the error estimate plus
/// one, and coefficients i (integral), p (proportional), d (derivative), the next step is h times
///
/// `clamp(safety * e_n^(-(i + p + d)/k) * e_(n-1)^((p + 2 d)/k) * e_(n-2)^(-d/k), min_factor, max_factor)`.
///
/// After a rejection it is `h * clamp(safety * e^(-1/k), min_factor, 1)`, and the step after it does not grow (Hairer,
/// Norsett & Wanner I, II.4, p. 168).
///
/// | controller | i | p | d | use it |
/// | --- | --- | --- | --- | --- |
/// | [`elementary`](Self::elementary) (I) | 1 | 0 | 0 | to compare with SciPy, torchdiffeq, diffrax's default |
/// | [`standard`](Self::standard) (PI) | 0.3 | 0.4 | 0 | as a rule: few rejections near the limit of stability |
/// | [`hairer`](Self::hairer) (PI) | 0.65 | 0.2 | 0 | for fewer steps at the same tolerance: the error comes nearer to it |
/// | [`filter`](Self::filter) (PID, H312) | 2/9 | -2/9 | 1/18 | for steps that change smoothly, as in work with noise |
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PidController {
    integral: f64,
    proportional: f64,
    derivative: f64,
    safety: f64,
    min_factor: f64,
    max_factor: f64,
}

/// The usual case of a [`PidController`], by its usual name.
pub type PiController = PidController;

/// The logarithm of an error as the memory keeps it: errors below 1e-4 are forgotten, so that one lucky step does not
/// throttle the next (the value of Hairer's DOPRI5 code).
#[inline]
pub(crate) fn remembered(logarithm: f64) -> f64 {
    const LEAST: f64 = -4.0 * std::f64::consts::LN_10;
    logarithm.max(LEAST)
}

impl PidController {
    /// A controller of given coefficients, with safety 0.9 and factors in [0.2, 10].
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless all are finite, `integral > 0` (without it the step would not return to what the
    /// tolerance allows) and their sum is positive (or a large error would make the next step longer).
    pub fn new(integral: f64, proportional: f64, derivative: f64) -> Result<Self, SolveError> {
        check(integral > 0.0 && integral.is_finite(), "integral", integral, "it must be finite and > 0")?;
        check(proportional.is_finite(), "proportional", proportional, "it must be finite")?;
        check(derivative.is_finite(), "derivative", derivative, "it must be finite")?;
        let sum = integral + proportional + derivative;
        check(sum > 0.0, "integral + proportional + derivative", sum, "the sum must be > 0")?;
        Ok(Self { integral, proportional, derivative, ..Self::standard() })
    }

    /// The same with another safety factor; 0.9 if not set.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless `0 < safety <= 1`.
    pub fn safety(self, safety: f64) -> Result<Self, SolveError> {
        check(safety > 0.0 && safety <= 1.0, "safety", safety, "it must be in (0, 1]")?;
        Ok(Self { safety, ..self })
    }

    /// The same with other limits for the factor from step to step; [0.2, 10] if not set.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless `0 < min_factor < 1 <= max_factor`, both finite.
    pub fn limits(self, min_factor: f64, max_factor: f64) -> Result<Self, SolveError> {
        check(min_factor > 0.0 && min_factor < 1.0, "min_factor", min_factor, "it must be in (0, 1)")?;
        check(max_factor >= 1.0 && max_factor.is_finite(), "max_factor", max_factor, "it must be finite and >= 1")?;
        Ok(Self { min_factor, max_factor, ..self })
    }

    /// Gustafsson's PI controller, i = 0.3 and p = 0.4, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Gustafsson, Lundh & Soderlind, *A PI stepsize control for the numerical solution of ordinary differential
    /// equations*, BIT 28 (1988); Hairer & Wanner II, IV.2, p. 31 (alpha = i + p = 0.7, beta = p = 0.4). Safety and
    /// factors as in Hairer's DOPRI5.
    #[must_use]
    pub fn standard() -> Self {
        Self { integral: 0.3, proportional: 0.4, derivative: 0.0, safety: 0.9, min_factor: 0.2, max_factor: 10.0 }
    }

    /// The PI controller of Hairer's DOPRI5, i = 0.65 and p = 0.2, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Hairer, Norsett & Wanner I, II.4, p. 168, with beta = 0.04: exponents 0.2 - 0.75 beta of the new error and beta of
    /// the old one, for the order 4 of the error estimate. It aims at an error of 0.44 of the tolerance, the standard one
    /// at 0.17: about a fifth fewer steps, and a larger error.
    #[must_use]
    pub fn hairer() -> Self {
        Self { integral: 0.65, proportional: 0.2, ..Self::standard() }
    }

    /// The elementary (I) controller, i = 1, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Hairer, Norsett & Wanner I, II.4, eq. 4.13; the rule of SciPy's `RK45`.
    #[must_use]
    pub fn elementary() -> Self {
        Self { integral: 1.0, proportional: 0.0, ..Self::standard() }
    }

    /// Soderlind's PID controller H312, i = 2/9, p = -2/9, d = 1/18, with safety 0.9 and factors in [0.2, 10].
    ///
    /// Soderlind (2003), table III: the three errors have the exponents 1/18, 1/9, 1/18 over k, so that noise of the
    /// errors is filtered out of the steps.
    #[must_use]
    pub fn filter() -> Self {
        Self { integral: 2.0 / 9.0, proportional: -2.0 / 9.0, derivative: 1.0 / 18.0, ..Self::standard() }
    }

    /// The factor to the next step after an accepted one, from the errors of the last three, newest first.
    #[must_use]
    pub fn grow(&self, errors: [f64; 3], error_order: u32) -> f64 {
        let [newest, before, first] = errors;
        self.grow_by_logarithms(newest.ln(), [remembered(before.ln()), remembered(first.ln())], error_order)
    }

    /// The same from logarithms, those of the past as they are [`remembered`]: one for each error and one exponential
    /// cost less than the powers, each of which costs as much as an evaluation of a small field.
    #[inline]
    pub(crate) fn grow_by_logarithms(&self, newest: f64, [before, first]: [f64; 2], error_order: u32) -> f64 {
        let Self { integral: i, proportional: p, derivative: d, .. } = self;
        let sum = -(i + p + d) * newest + (p + 2.0 * d) * before - d * first;
        (self.safety * (sum / f64::from(error_order + 1)).exp()).clamp(self.min_factor, self.max_factor)
    }

    /// The factor to the next attempt after a rejected one; the smallest if the error is not a number.
    #[must_use]
    pub fn shrink(&self, error: f64, error_order: u32) -> f64 {
        let k = f64::from(error_order + 1);
        // `max` drops a NaN, which `clamp` would keep.
        (self.safety * error.powf(-1.0 / k)).max(self.min_factor).min(1.0)
    }
}

fn check(valid: bool, name: &'static str, value: f64, rule: &'static str) -> Result<(), SolveError> {
    if valid { Ok(()) } else { Err(SolveError::Setting { name, value, rule }) }
}
