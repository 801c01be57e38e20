use super::{GridRule, SigmaRange, Spacing};
use crate::DiffusionError;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// Equal steps of the logarithm of the noise level, then the step to the data.
///
/// `get_sigmas_exponential` of k-diffusion; the "uniform lambda" of Lu et al., 2022 (DPM-Solver, section 3.4). Use it
/// with methods of high order in lambda (DPM-Solver, DEIS, UniPC).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exponential {
    range: SigmaRange,
}

impl Exponential {
    /// The levels of a range.
    #[must_use]
    pub fn new(range: SigmaRange) -> Self {
        Self { range }
    }
}

impl Spacing for Exponential {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        let (high, low) = (self.range.max().ln(), self.range.min().ln());
        self.range.grid(schedule, steps, |u| (high + u * (low - high)).exp())
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "exponential",
    title: "equal steps of ln sigma",
    source: "Lu et al. 2022a, sec. 3.4; k-diffusion",
    use_when: "with methods of high order in lambda",
};
