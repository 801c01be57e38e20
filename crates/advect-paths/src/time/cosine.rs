use super::TimeLaw;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

/// "CosMap": the noise levels of the cosine schedule at uniform times, on the linear path.
///
/// Esser et al., 2024, section 3.1: density `2 / (pi (1 - 2 t + 2 t^2))`, twice as high in the middle as at the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CosineTime;

impl TimeLaw for CosineTime {
    fn quantile(&self, u: f64) -> f64 {
        // tan / (1 + tan), which has no pole.
        let (data, noise) = ((FRAC_PI_2 * u).sin(), (FRAC_PI_2 * (1.0 - u)).sin());
        data / (data + noise)
    }

    fn density(&self, t: f64) -> f64 {
        if (0.0..=1.0).contains(&t) { FRAC_2_PI / (t * t + (1.0 - t) * (1.0 - t)) } else { 0.0 }
    }
}
