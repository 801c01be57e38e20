use super::sigmas::time_at_level;
use super::spacing::at_least_one;
use super::{GridRule, Spacing};
use crate::DiffusionError;
use advect_core::TimeGrid;
use advect_paths::Schedule;
use std::f64::consts::FRAC_PI_2;

/// The noise levels of a cosine path at equal times: `sigma / alpha = cot(pi u / 2)`.
///
/// Nichol and Dhariwal, 2021, equation 17, without its offset; on the linear path it is the CosMap of Esser et al.,
/// 2024 ("Scaling Rectified Flow Transformers", section 3.1). Ends in noise alone and data alone, or where the schedule
/// does. Use it to run a model of any path with the pace of a cosine one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CosineSpacing;

impl Spacing for CosineSpacing {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        at_least_one(steps)?;
        // Between the ends of the schedule: a path may begin with some data, or end with some noise.
        let angle = |t: f64| (-schedule.log_snr(t) / 2.0).exp().recip().atan();
        let (first, last) = (angle(0.0), angle(1.0));
        let point = |i: usize| match i {
            0 => Ok(0.0),
            i if i == steps => Ok(1.0),
            i => {
                let at = first + (last - first) * (i as f64 / steps as f64);
                time_at_level(schedule, (FRAC_PI_2 - at).tan())
            }
        };
        Ok(TimeGrid::new((0..=steps).map(point).collect::<Result<_, _>>()?)?)
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "cosine",
    title: "the noise levels of a cosine path",
    source: "Nichol & Dhariwal 2021, eq. 17",
    use_when: "for the pace of a cosine path on any other",
};
