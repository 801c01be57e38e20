use super::{GridRule, SigmaRange, Spacing};
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// The logarithm of the noise level falls along a power: `ln sigma = ln min + (ln max - ln min) (1 - u)^rho`.
///
/// `get_sigmas_polyexponential` of k-diffusion. `rho = 1` is [`Exponential`](super::Exponential); above 1 more steps
/// go to small noise, below 1 to large noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PolyExponential {
    range: SigmaRange,
    rho: f64,
}

impl PolyExponential {
    /// A range, and rho = 2.
    #[must_use]
    pub fn with_rho_2(range: SigmaRange) -> Self {
        Self { range, rho: 2.0 }
    }

    /// A range and a power.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `rho` is finite and positive.
    pub fn new(range: SigmaRange, rho: f64) -> Result<Self, DiffusionError> {
        check(
            rho.is_finite() && rho > 0.0,
            "rho",
            rho,
            "the power of a poly-exponential grid must be finite and above 0",
        )?;
        Ok(Self { range, rho })
    }
}

impl Spacing for PolyExponential {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        let (high, low) = (self.range.max().ln(), self.range.min().ln());
        self.range.grid(schedule, steps, |u| (low + (1.0 - u).powf(self.rho) * (high - low)).exp())
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "poly-exponential",
    title: "ln sigma falls along a square",
    source: "k-diffusion",
    use_when: "for more steps at small noise",
};
