use super::TimeLaw;
use crate::PathError;
use std::f64::consts::{FRAC_PI_2, PI};

/// Mode sampling: times crowded in the middle (scale > 0) or at both ends (scale < 0).
///
/// Esser et al., 2024, section 3.1: with their time `1 - t`, `1 - u - s (cos^2(pi u / 2) - 1 + u)` of a uniform u.
/// Unlike the logit-normal law it has a positive density at both ends, `1 / (1 + s)`. Their best runs use s = 1.29.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModeTime {
    scale: f64,
}

impl ModeTime {
    /// The law of scale s; 0 is uniform.
    ///
    /// # Errors
    /// [`PathError::ModeScale`] unless `-1 < scale < 2 / (pi - 2)`, between which time rises with u.
    pub fn new(scale: f64) -> Result<Self, PathError> {
        if scale > -1.0 && scale < 2.0 / (PI - 2.0) { Ok(Self { scale }) } else { Err(PathError::ModeScale { scale }) }
    }

    /// The share of the law below t, by bisection.
    fn share(&self, t: f64) -> f64 {
        let (mut low, mut high) = (0.0, 1.0);
        loop {
            let middle = f64::midpoint(low, high);
            if middle <= low || middle >= high {
                return middle;
            }
            if self.quantile(middle) < t { low = middle } else { high = middle }
        }
    }
}

impl TimeLaw for ModeTime {
    fn quantile(&self, u: f64) -> f64 {
        // cos^2 - 1 = -sin^2.
        u + self.scale * (u - (FRAC_PI_2 * u).sin().powi(2))
    }

    fn density(&self, t: f64) -> f64 {
        if !(0.0..=1.0).contains(&t) {
            return 0.0;
        }
        1.0 / (1.0 + self.scale * (1.0 - FRAC_PI_2 * (PI * self.share(t)).sin()))
    }
}
