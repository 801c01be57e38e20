use super::Spacing;
use super::sigmas::time_at_level;
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;
use std::f64::consts::FRAC_PI_2;

/// The table of a discrete diffusion model: `alpha_bar` of each of its times, counted from data to noise.
///
/// Ho et al., 2020, "Denoising Diffusion Probabilistic Models", equation 4. `alpha = sqrt(alpha_bar)`,
/// `sigma = sqrt(1 - alpha_bar)`.
#[derive(Debug, Clone, PartialEq)]
pub struct DdpmTable {
    alpha_bars: Vec<f64>,
}

impl DdpmTable {
    /// The cumulative products of `1 - beta`.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless there is a beta and all are in (0, 1).
    pub fn from_betas(betas: impl IntoIterator<Item = f64>) -> Result<Self, DiffusionError> {
        let mut alpha_bars = Vec::new();
        let mut product = 1.0;
        for beta in betas {
            check(beta > 0.0 && beta < 1.0, "beta", beta, "every beta of a table must be in (0, 1)")?;
            product *= 1.0 - beta;
            alpha_bars.push(product);
        }
        check(!alpha_bars.is_empty(), "betas", 0.0, "a table needs at least one beta")?;
        Ok(Self { alpha_bars })
    }

    /// Betas in equal steps: 1e-4 to 0.02 over 1000 times in Ho et al., 2020.
    ///
    /// # Errors
    /// Those of [`DdpmTable::from_betas`].
    pub fn linear(first: f64, last: f64, times: usize) -> Result<Self, DiffusionError> {
        Self::from_betas(between(first, last, times))
    }

    /// The roots of the betas in equal steps: 0.00085 to 0.012 over 1000 times in Stable Diffusion.
    ///
    /// # Errors
    /// Those of [`DdpmTable::from_betas`].
    pub fn scaled_linear(first: f64, last: f64, times: usize) -> Result<Self, DiffusionError> {
        Self::from_betas(between(first.sqrt(), last.sqrt(), times).map(|root| root * root))
    }

    /// The cosine table: `alpha_bar = cos^2((u + 0.008) / 1.008 pi / 2)`, betas at most 0.999.
    ///
    /// Nichol and Dhariwal, 2021, "Improved Denoising Diffusion Probabilistic Models", equation 17.
    ///
    /// # Errors
    /// Those of [`DdpmTable::from_betas`].
    pub fn cosine(times: usize) -> Result<Self, DiffusionError> {
        let alpha_bar = |u: f64| ((u + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2);
        let at = |i: usize| alpha_bar(i as f64 / times as f64);
        Self::from_betas((0..times).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999)))
    }

    /// `alpha_bar` of each time, falling.
    #[must_use]
    pub fn alpha_bars(&self) -> &[f64] {
        &self.alpha_bars
    }

    /// The noise level `sigma / alpha` of a time of the table.
    fn level(&self, time: usize) -> f64 {
        ((1.0 - self.alpha_bars[time]) / self.alpha_bars[time]).sqrt()
    }
}

fn between(first: f64, last: f64, times: usize) -> impl Iterator<Item = f64> {
    let gaps = times.saturating_sub(1).max(1) as f64;
    (0..times).map(move |i| first + (last - first) * (i as f64 / gaps))
}

/// Which times of a table make a subset.
///
/// Lin et al., 2024, "Common Diffusion Noise Schedules and Sample Steps are Flawed", table 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DdpmSubset {
    /// From the first time up in whole strides; the last time, almost pure noise, is missing. With an offset (1 in
    /// Stable Diffusion).
    Leading {
        /// Added to every time.
        offset: usize,
    },
    /// From the last time down in strides, rounded.
    Trailing,
    /// Both ends, and equal strides between, rounded.
    Linspace,
}

impl DdpmSubset {
    /// The chosen times of a table of `times`, from noise to data.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `1 <= steps <= times` and the offset stays inside the table.
    pub fn times(self, times: usize, steps: usize) -> Result<Vec<usize>, DiffusionError> {
        let rule = "a subset takes at least one and at most all times of the table";
        check(steps >= 1 && steps <= times, "steps", steps as f64, rule)?;
        let round = |v: f64| v.round_ties_even() as usize;
        Ok(match self {
            Self::Leading { offset } => {
                let stride = times / steps;
                let first = (steps - 1) * stride + offset;
                check(first < times, "offset", offset as f64, "the offset must leave the subset inside the table")?;
                (0..steps).rev().map(|i| i * stride + offset).collect()
            }
            Self::Trailing => {
                let stride = times as f64 / steps as f64;
                (0..steps).map(|i| round(times as f64 - i as f64 * stride) - 1).collect()
            }
            Self::Linspace => {
                let stride = (times - 1) as f64 / (steps.max(2) - 1) as f64;
                (0..steps).rev().map(|i| round(i as f64 * stride)).collect()
            }
        })
    }
}

/// The noise levels of a subset of a table, then the data: the grids of DDPM and DDIM for any schedule.
///
/// Song et al., 2021, "Denoising Diffusion Implicit Models", section 4.2. Use it to repeat published samples of a
/// discrete model.
#[derive(Debug, Clone, PartialEq)]
pub struct DdpmSpacing {
    /// The table of the model.
    pub table: DdpmTable,
    /// Which of its times.
    pub subset: DdpmSubset,
}

impl Spacing for DdpmSpacing {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        let times = self.subset.times(self.table.alpha_bars.len(), steps)?;
        let level = |&time: &usize| time_at_level(schedule, self.table.level(time));
        let mut points: Vec<f64> = times.iter().map(level).collect::<Result<_, _>>()?;
        if points.last().is_none_or(|&last| last < 1.0) {
            points.push(1.0);
        }
        Ok(TimeGrid::new(points)?)
    }
}
