use crate::CoreError;

/// What an error estimate is measured against: `atol + rtol * |x|`, element by element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    rtol: f64,
    atol: f64,
}

impl Tolerance {
    /// Against this tolerance every finite number is below one, and nothing else is.
    pub(crate) const UNIT: Self = Self { rtol: 1.0, atol: 1.0 };

    /// A relative and an absolute tolerance.
    ///
    /// # Errors
    /// [`CoreError::Tolerance`] unless both are finite and not negative and at least one is positive.
    pub fn new(rtol: f64, atol: f64) -> Result<Self, CoreError> {
        let valid = |v: f64| v.is_finite() && v >= 0.0;
        if valid(rtol) && valid(atol) && rtol + atol > 0.0 {
            Ok(Self { rtol, atol })
        } else {
            Err(CoreError::Tolerance { rtol, atol })
        }
    }

    /// The relative part.
    #[must_use]
    pub fn rtol(self) -> f64 {
        self.rtol
    }

    /// The absolute part.
    #[must_use]
    pub fn atol(self) -> f64 {
        self.atol
    }

    /// The scale of one element whose values before and after a step are given.
    #[must_use]
    #[inline]
    pub fn scale(self, before: f64, after: f64) -> f64 {
        self.atol + self.rtol * before.abs().max(after.abs())
    }
}
