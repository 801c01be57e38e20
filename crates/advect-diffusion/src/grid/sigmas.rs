use super::spacing::at_least_one;
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// The largest and the smallest noise level `sigma / alpha` of a grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SigmaRange {
    min: f64,
    max: f64,
}

impl SigmaRange {
    /// 0.002 to 80: Karras et al., 2022, table 1.
    pub const EDM: Self = Self { min: 0.002, max: 80.0 };

    /// 0.02 to 20: where the samples of data of unit size take shape.
    ///
    /// Few steps are better spent here than on the range of EDM, of which a third lies outside.
    pub const UNIT_DATA: Self = Self { min: 0.02, max: 20.0 };

    /// From `max` (at the noise) down to `min` (next to the data).
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless both are finite and `0 < min < max`.
    pub fn new(min: f64, max: f64) -> Result<Self, DiffusionError> {
        check(min.is_finite() && min > 0.0, "sigma_min", min, "the smallest noise level must be finite and above 0")?;
        check(
            max.is_finite() && max > min,
            "sigma_max",
            max,
            "the largest noise level must be finite and above sigma_min",
        )?;
        Ok(Self { min, max })
    }

    /// The smallest level.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The largest level.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The grid of `steps` levels from `max` to `min` and the end of the schedule, t = 1.
    ///
    /// `level` maps [0, 1] to levels; both ends are assigned. Where the path itself ends in noise (VE, or EDM's with
    /// a smallest level above 0), its end takes the place of `min` and of zero: there are `steps + 1` levels then.
    pub(super) fn grid(
        &self,
        schedule: &dyn Schedule,
        steps: usize,
        level: impl Fn(f64) -> f64,
    ) -> Result<TimeGrid, DiffusionError> {
        at_least_one(steps)?;
        let to_data = schedule.log_snr(1.0) == f64::INFINITY;
        let last = if to_data { steps - 1 } else { steps };
        let level = |i: usize| match i {
            0 => self.max,
            i if i == last => self.min,
            i => level(i as f64 / last as f64),
        };
        let mut points = (0..=last).map(|i| time_at_level(schedule, level(i))).collect::<Result<Vec<_>, _>>()?;
        if to_data {
            points.push(1.0);
        }
        Ok(TimeGrid::new(points)?)
    }
}

/// The time at which a schedule has the noise level `sigma / alpha`.
pub(super) fn time_at_level(schedule: &dyn Schedule, sigma: f64) -> Result<f64, DiffusionError> {
    let log_snr = -2.0 * sigma.ln();
    let (bottom, top) = (schedule.log_snr(0.0), schedule.log_snr(1.0));
    // A range is often the schedule's own, written in other numbers: its ends are met exactly, not almost.
    let same = |end: f64| (log_snr - end).abs() <= 1e-9;
    if same(bottom) {
        return Ok(0.0);
    }
    if same(top) {
        return Ok(1.0);
    }
    let reached = log_snr > bottom && log_snr < top;
    check(
        reached,
        "sigma",
        sigma,
        "the schedule does not reach this noise level (sigma / alpha): choose a range inside",
    )?;
    Ok(schedule.time_at_log_snr(log_snr))
}
