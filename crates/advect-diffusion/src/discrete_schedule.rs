use crate::{DiffusionError, error::check};
use advect_paths::{Coefficients, Schedule};
use std::sync::Arc;

/// The schedule of a model of discrete steps (DDPM and its kin): a table of alpha-bar, made continuous.
///
/// Ho et al., 2020, "Denoising Diffusion Probabilistic Models": `x = sqrt(alpha_bar_i) x_1 + sqrt(1 - alpha_bar_i) x_0`
/// at step i = 0..N-1, with more noise at larger i. Here step i is at time
/// `1 - (i + 1) / N` ([`DiscreteSchedule::time`]), so that t = 0 is the last step and t = 1, one
/// before the first, is data alone. Between steps the log of `sigma / alpha` is linear in i, as in the common
/// implementations of DPM-Solver; below the first step the ratio itself is.
///
/// A network that wants the step gets it from [`DiscreteSchedule::step`].
///
/// ```
/// use advect_diffusion::DiscreteSchedule;
/// use advect_paths::Schedule;
///
/// let schedule = DiscreteSchedule::linear(1000, 1e-4, 0.02)?;
/// let t = schedule.time(500.0);
/// assert!((t - 0.499).abs() < 1e-12);
/// assert!((schedule.step(t) - 500.0).abs() < 1e-9);
/// assert!((schedule.at(t).alpha.powi(2) - 0.0778).abs() < 1e-4);
/// # Ok::<(), advect_diffusion::DiffusionError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct DiscreteSchedule {
    /// ln(sigma / alpha) of each step, rising.
    log_levels: Arc<[f64]>,
}

impl DiscreteSchedule {
    /// The schedule of a table of alpha-bar, from the least noise to the most.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless there are two values or more, strictly falling inside (0, 1).
    pub fn new(alpha_bar: &[f64]) -> Result<Self, DiffusionError> {
        check(alpha_bar.len() > 1, "steps", alpha_bar.len() as f64, "a table needs at least 2 steps")?;
        let mut last = 1.0;
        for &value in alpha_bar {
            check(value > 0.0 && value < last, "alpha_bar", value, "the table must fall strictly inside (0, 1)")?;
            last = value;
        }
        Ok(Self { log_levels: alpha_bar.iter().map(|a| ((1.0 - a) / a).ln() / 2.0).collect() })
    }

    /// The linear table of DDPM: `alpha_bar_i` is the product of `1 - beta_j`, with beta from `first` to `last`.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless there are two steps or more and `0 < first <= last < 1`.
    pub fn linear(steps: usize, first: f64, last: f64) -> Result<Self, DiffusionError> {
        check(first > 0.0, "first", first, "the first beta must be above 0")?;
        check(last >= first && last < 1.0, "last", last, "the last beta must be in [first, 1)")?;
        check(steps > 1, "steps", steps as f64, "a table needs at least 2 steps")?;
        let beta = |i: usize| first + (last - first) * i as f64 / (steps - 1) as f64;
        let product = |product: &mut f64, i: usize| {
            *product *= 1.0 - beta(i);
            Some(*product)
        };
        Self::new(&(0..steps).scan(1.0, product).collect::<Vec<_>>())
    }

    /// The number of steps N.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.log_levels.len()
    }

    /// The time of a step, whole or not.
    #[must_use]
    pub fn time(&self, step: f64) -> f64 {
        1.0 - (step + 1.0) / self.steps() as f64
    }

    /// The step at a time: -1 at t = 1.
    #[must_use]
    pub fn step(&self, t: f64) -> f64 {
        self.steps() as f64 * (1.0 - t) - 1.0
    }

    /// `sigma / alpha` at a time, and its derivative in t.
    fn level(&self, t: f64) -> (f64, f64) {
        let step = self.step(t);
        let per_time = -(self.steps() as f64);
        if step < 0.0 {
            let first = self.log_levels[0].exp();
            return (first * (step + 1.0).max(0.0), first * per_time);
        }
        // Whole part and rest of an index; the last interval has the end too.
        let low = (step.floor() as usize).min(self.steps() - 2);
        let slope = self.log_levels[low + 1] - self.log_levels[low];
        let level = (self.log_levels[low] + slope * (step - low as f64)).exp();
        (level, level * slope * per_time)
    }
}

impl Schedule for DiscreteSchedule {
    fn at(&self, t: f64) -> Coefficients {
        let (level, rate) = self.level(t);
        let alpha = 1.0 / level.hypot(1.0);
        let cube = alpha * alpha * alpha;
        Coefficients { alpha, sigma: level * alpha, d_alpha: -level * cube * rate, d_sigma: cube * rate }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -2.0 * self.level(t).0.ln()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        let log_level = -log_snr / 2.0;
        let above = self.log_levels.partition_point(|known| *known <= log_level);
        let step = if above == 0 {
            (log_level - self.log_levels[0]).exp() - 1.0
        } else {
            let low = (above - 1).min(self.steps() - 2);
            low as f64 + (log_level - self.log_levels[low]) / (self.log_levels[low + 1] - self.log_levels[low])
        };
        self.time(step).clamp(0.0, 1.0)
    }
}
