use super::spacing::{span, warped};
use super::{GridRule, Spacing};
use crate::DiffusionError;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// The square root of the time left falls in equal steps: `end - t = (end - start) (1 - u)^2`.
///
/// Song et al., 2021, "Denoising Diffusion Implicit Models", section D.2 (`quadratic`, there on a discrete table). More
/// steps near the data; use it with VP paths and few steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quadratic {
    start: f64,
    end: f64,
}

impl Quadratic {
    /// From noise to data.
    pub const FULL: Self = Self { start: 0.0, end: 1.0 };

    /// Between two times.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= start < end <= 1`.
    pub fn new(start: f64, end: f64) -> Result<Self, DiffusionError> {
        span(start, end)?;
        Ok(Self { start, end })
    }
}

impl Spacing for Quadratic {
    fn grid(&self, _schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        warped(self.start, self.end, steps, |u| 1.0 - (1.0 - u) * (1.0 - u))
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "quadratic",
    title: "equal steps of the root of the time left",
    source: "Song et al. 2021, sec. D.2",
    use_when: "with VP paths and few steps",
};
