//! Observed order of convergence.

/// A straight line fitted to points by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The slope.
    pub slope: f64,
    /// The value at zero.
    pub intercept: f64,
    /// The standard error of the slope, from the residuals (zero for two points).
    pub standard_error: f64,
}

impl Fit {
    /// Fits `y = intercept + slope x`. NaN for fewer than two points.
    #[must_use]
    pub fn line(points: &[(f64, f64)]) -> Self {
        let n = points.len() as f64;
        let mean_x = points.iter().map(|p| p.0).sum::<f64>() / n;
        let mean_y = points.iter().map(|p| p.1).sum::<f64>() / n;
        let xx: f64 = points.iter().map(|p| (p.0 - mean_x).powi(2)).sum();
        let xy: f64 = points.iter().map(|p| (p.0 - mean_x) * (p.1 - mean_y)).sum();
        let slope = xy / xx;
        let intercept = mean_y - slope * mean_x;
        let residual: f64 = points.iter().map(|p| (p.1 - intercept - slope * p.0).powi(2)).sum();
        let standard_error = if points.len() > 2 { (residual / (n - 2.0) / xx).sqrt() } else { 0.0 };
        Self { slope, intercept, standard_error }
    }
}

/// The order of a method: the slope of log2 error against log2 step size over `halvings` halvings.
///
/// `error(n)` is the error with `n` steps; it is asked for `first`, `2 first`, `4 first`, ...
pub fn observed(first: usize, halvings: u32, mut error: impl FnMut(usize) -> f64) -> Fit {
    let point = |i| {
        let steps = first << i;
        (-(steps as f64).log2(), error(steps).log2())
    };
    Fit::line(&(0..=halvings).map(point).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::{Fit, observed};

    #[test]
    fn a_line_is_found_with_its_uncertainty() {
        let fit = Fit::line(&[(0.0, 1.0), (1.0, 3.0), (3.0, 7.0)]);
        assert!((fit.slope - 2.0).abs() < 1e-14 && (fit.intercept - 1.0).abs() < 1e-14 && fit.standard_error < 1e-14);
        // By hand: slope 1/2, residuals 1/6, -1/3, 1/6; variance (1/6) / 1 / 2.
        let fit = Fit::line(&[(0.0, 0.0), (1.0, 0.0), (2.0, 1.0)]);
        assert!((fit.slope - 0.5).abs() < 1e-14 && (fit.standard_error - (1.0_f64 / 12.0).sqrt()).abs() < 1e-14);
    }

    #[test]
    fn the_order_is_positive_for_an_error_that_falls() {
        let fit = observed(3, 3, |n| 5.0 * (n as f64).powi(-4));
        assert!((fit.slope - 4.0).abs() < 1e-12 && fit.standard_error < 1e-12);
    }
}
