use super::spacing::at_least_one;
use super::{GridRule, Spacing};
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// Equal steps of t with every noise level `sigma / alpha` multiplied by a factor: the time shift of SD3 and Flux.
///
/// Esser et al., 2024, "Scaling Rectified Flow Transformers", equation 23: on the linear path `sigma' = s sigma / (1 +
/// (s - 1) sigma)`; in log signal-to-noise ratio a shift by `-2 ln s`, so that it holds for every schedule. It is a
/// grid of its own, not an operation on grids: it cannot be applied twice. Use it for models that were trained with it,
/// or for more pixels.
///
/// ```
/// use advect_diffusion::{Shifted, Spacing};
/// use advect_paths::Linear;
/// // SD3's factor 3 at t = 1/2: sigma' = 3/4.
/// assert!((Shifted::new(3.0)?.grid(&Linear, 2)?.points()[1] - 0.25).abs() < 1e-15);
/// # Ok::<(), advect_diffusion::DiffusionError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shifted {
    factor: f64,
}

impl Shifted {
    /// The factor 3 of SD3 at 1024 x 1024.
    pub const SD3: Self = Self { factor: 3.0 };

    /// A factor: 3 for SD3 at 1024 x 1024.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless it is finite and positive.
    pub fn new(factor: f64) -> Result<Self, DiffusionError> {
        check(
            factor.is_finite() && factor > 0.0,
            "shift",
            factor,
            "the factor must be finite and above 0; 1 is no shift",
        )?;
        Ok(Self { factor })
    }

    /// `sqrt(pixels / trained)`: the factor that keeps the uncertainty at another resolution (Esser et al., 2024).
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless both numbers of pixels are positive.
    pub fn for_pixels(pixels: usize, trained: usize) -> Result<Self, DiffusionError> {
        check(trained > 0, "trained", 0.0, "the number of pixels of the training must be above 0")?;
        Self::new((pixels as f64 / trained as f64).sqrt())
    }

    /// `e^mu` with mu linear in the number of image tokens: 0.5 at 256, 1.15 at 4096 (Flux.1).
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] if there are so many tokens that the factor is infinite.
    pub fn flux(tokens: usize) -> Result<Self, DiffusionError> {
        let slope = (1.15 - 0.5) / (4096.0 - 256.0);
        Self::new((0.5 + slope * (tokens as f64 - 256.0)).exp())
    }

    /// The factor s.
    #[must_use]
    pub fn factor(&self) -> f64 {
        self.factor
    }
}

impl Spacing for Shifted {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        at_least_one(steps)?;
        let down = 2.0 * self.factor.ln();
        let point = |i: usize| match i {
            0 => 0.0,
            i if i == steps => 1.0,
            i => {
                let t = i as f64 / steps as f64;
                if down == 0.0 { t } else { schedule.time_at_log_snr(schedule.log_snr(t) - down) }
            }
        };
        Ok(TimeGrid::new((0..=steps).map(point).collect())?)
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "shift-3",
    title: "equal steps of t, noise levels three times as large",
    source: "Esser et al. 2024, eq. 23",
    use_when: "for models that were trained with SD3's shift",
};
