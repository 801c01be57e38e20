use super::TimeLaw;
use crate::PathError;

/// Times uniform on [eps, 1 - eps].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UniformTime {
    eps: f64,
}

impl UniformTime {
    /// Uniform on [0, 1].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uniform on [eps, 1 - eps], for targets or weights that are infinite at an end.
    ///
    /// Not only infinities ask for it: with `sigma = sqrt(1 - t)` the flow-matching and score losses have a finite
    /// target at every t < 1, but their mean over t diverges like `ln(1 / eps) / 4` and `ln(1 / eps)` for each element.
    ///
    /// # Errors
    /// [`PathError::Clip`] unless `0 <= eps < 0.5`.
    pub fn clipped(eps: f64) -> Result<Self, PathError> {
        if (0.0..0.5).contains(&eps) { Ok(Self { eps }) } else { Err(PathError::Clip { eps }) }
    }
}

impl TimeLaw for UniformTime {
    fn quantile(&self, u: f64) -> f64 {
        self.eps + (1.0 - 2.0 * self.eps) * u
    }

    fn density(&self, t: f64) -> f64 {
        if (self.eps..=1.0 - self.eps).contains(&t) { 1.0 / (1.0 - 2.0 * self.eps) } else { 0.0 }
    }
}
