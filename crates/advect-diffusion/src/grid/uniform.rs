use super::spacing::{span, warped};
use super::{GridRule, Spacing};
use crate::DiffusionError;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// Equal steps of t.
///
/// The grid of flow matching (Lipman et al., 2023). Use it on the linear path with a few dozen steps or more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Uniform {
    start: f64,
    end: f64,
}

impl Uniform {
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

impl Spacing for Uniform {
    fn grid(&self, _schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        warped(self.start, self.end, steps, |u| u)
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "uniform",
    title: "equal steps of t",
    source: "Lipman et al. 2023",
    use_when: "on the linear path with 20 steps or more",
};
