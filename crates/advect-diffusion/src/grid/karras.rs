use super::{GridRule, SigmaRange, Spacing};
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// The rho-th root of the noise level falls in equal steps: the grid of EDM, and of k-diffusion.
///
/// Karras et al., 2022, equation 5; after the smallest level comes the step to the data. With `rho = 7` small levels
/// get most of the steps; `rho = 1` is uniform in sigma, rho to infinity is [`Exponential`](super::Exponential). Use it
/// as the first choice for a model of images with 15 to 50 evaluations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Karras {
    range: SigmaRange,
    rho: f64,
}

impl Karras {
    /// The grid of EDM: 80 to 0.002, rho = 7.
    pub const EDM: Self = Self { range: SigmaRange::EDM, rho: 7.0 };

    /// A range, and the paper's rho = 7.
    #[must_use]
    pub fn with_rho_7(range: SigmaRange) -> Self {
        Self { range, rho: 7.0 }
    }

    /// A range and a power.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `rho` is finite and positive.
    pub fn new(range: SigmaRange, rho: f64) -> Result<Self, DiffusionError> {
        check(rho.is_finite() && rho > 0.0, "rho", rho, "the power of a Karras grid must be finite and above 0")?;
        Ok(Self { range, rho })
    }
}

impl Spacing for Karras {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        let root = |sigma: f64| sigma.powf(1.0 / self.rho);
        let (high, low) = (root(self.range.max()), root(self.range.min()));
        self.range.grid(schedule, steps, |u| (high + u * (low - high)).powf(self.rho))
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "karras",
    title: "equal steps of sigma^(1/7)",
    source: "Karras et al. 2022, eq. 5",
    use_when: "for models of images, with 15 to 50 evaluations",
};
