use super::{TimeLaw, normal_density, normal_quantile};
use crate::{PathError, Schedule};
use advect_core::{SampleRng, normal};

/// Times whose noise level `sigma_n = sigma / alpha` is log-normal.
///
/// Karras et al., 2022, table 1: `ln sigma_n ~ N(-1.2, 1.2^2)`. On the linear path this is
/// [`LogitNormalTime`](crate::LogitNormalTime) with the mean's sign turned, since there `sigma_n = (1 - t) / t`. Levels
/// that the schedule does not reach become its ends, which then have a probability of their own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogNormalSigmaTime<S> {
    mean: f64,
    std: f64,
    schedule: S,
}

impl<S: Schedule> LogNormalSigmaTime<S> {
    /// The law with the given mean and standard deviation of `ln sigma_n` on a schedule.
    ///
    /// # Errors
    /// [`PathError::LogitNormal`] unless both are finite and `std` is positive.
    pub fn new(mean: f64, std: f64, schedule: S) -> Result<Self, PathError> {
        if mean.is_finite() && std.is_finite() && std > 0.0 {
            Ok(Self { mean, std, schedule })
        } else {
            Err(PathError::LogitNormal { mean, std })
        }
    }

    /// The log signal-to-noise ratio is -2 ln sigma_n.
    fn time(&self, z: f64) -> f64 {
        self.schedule.time_at_log_snr(2.0 * (self.std * z - self.mean))
    }
}

impl<S: Schedule + Sync> TimeLaw for LogNormalSigmaTime<S> {
    fn quantile(&self, u: f64) -> f64 {
        self.time(normal_quantile(u))
    }

    /// The density inside (0, 1); what lies at the ends is not part of it.
    fn density(&self, t: f64) -> f64 {
        if !(0.0..=1.0).contains(&t) {
            return 0.0;
        }
        let c = self.schedule.at(t);
        let z = (self.schedule.log_snr(t) / 2.0 + self.mean) / self.std;
        let density = normal_density(z) / self.std * (c.d_alpha / c.alpha - c.d_sigma / c.sigma);
        // Where alpha or sigma is 0, z is infinite, and the law vanishes faster than any power.
        if z.is_finite() { density } else { 0.0 }
    }

    fn draw(&self, rng: &mut SampleRng) -> f64 {
        self.time(normal(rng))
    }
}
