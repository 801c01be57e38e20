use super::spacing::{at_least_one, span};
use super::{GridRule, Spacing};
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// Equal steps of the log signal-to-noise ratio between two times inside the path.
///
/// Lu et al., 2022, "DPM-Solver", section 3.4 (`logSNR`). Both times are ends of the grid, so it stops before the data;
/// [`Exponential`](super::Exponential) is the same in noise levels, with the step to the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UniformLogSnr {
    start: f64,
    end: f64,
}

impl UniformLogSnr {
    /// From t = 0.001 to 0.999.
    pub const INSIDE: Self = Self { start: 0.001, end: 0.999 };

    /// Between two times.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= start < end <= 1`.
    pub fn new(start: f64, end: f64) -> Result<Self, DiffusionError> {
        span(start, end)?;
        Ok(Self { start, end })
    }
}

impl Spacing for UniformLogSnr {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        let (low, high) = (schedule.log_snr(self.start), schedule.log_snr(self.end));
        let rule = "the log signal-to-noise ratio must be finite there: start and end inside the path, such as at 1e-3";
        check(low.is_finite(), "start", self.start, rule)?;
        check(high.is_finite(), "end", self.end, rule)?;
        at_least_one(steps)?;
        let point = |i: usize| match i {
            0 => self.start,
            i if i == steps => self.end,
            i => schedule.time_at_log_snr(low + (high - low) * (i as f64 / steps as f64)),
        };
        Ok(TimeGrid::new((0..=steps).map(point).collect())?)
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "log-snr",
    title: "equal steps of the log-SNR between t = 0.001 and 0.999",
    source: "Lu et al. 2022a, sec. 3.4",
    use_when: "with methods of high order, on the levels of the path itself",
};
