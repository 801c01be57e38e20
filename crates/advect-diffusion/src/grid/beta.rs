use super::spacing::{span, warped};
use super::{GridRule, Spacing};
use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// The quantiles of a Beta law on t: with both parameters below 1, more steps near both ends.
///
/// Lee et al., 2024, "Beta Sampling is All You Need"; diffusers' `use_beta_sigmas` of the flow samplers, with (0.6,
/// 0.6). Use it with 10 to 30 steps on the linear path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Beta {
    a: f64,
    b: f64,
    start: f64,
    end: f64,
}

impl Beta {
    /// The law Beta(a, b) on the times between `start` and `end`. `a` rules the noise end, `b` the data end.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `a` and `b` are finite and positive and `0 <= start < end <= 1`.
    pub fn new(a: f64, b: f64, start: f64, end: f64) -> Result<Self, DiffusionError> {
        let rule = "the parameters of a Beta law must be in (0, 1000]";
        check(a > 0.0 && a <= 1000.0, "a", a, rule)?;
        check(b > 0.0 && b <= 1000.0, "b", b, rule)?;
        span(start, end)?;
        Ok(Self { a, b, start, end })
    }
}

/// Beta(0.6, 0.6) from noise to data.
impl Default for Beta {
    fn default() -> Self {
        Self { a: 0.6, b: 0.6, start: 0.0, end: 1.0 }
    }
}

impl Spacing for Beta {
    fn grid(&self, _schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        warped(self.start, self.end, steps, |u| quantile(self.a, self.b, u))
    }
}

pub(super) const RULE: GridRule = GridRule {
    name: "beta",
    title: "quantiles of Beta(0.6, 0.6)",
    source: "Lee et al. 2024",
    use_when: "on the linear path, with 10 to 30 steps",
};

/// The u-quantile of Beta(a, b), by bisection of its distribution function.
fn quantile(a: f64, b: f64, u: f64) -> f64 {
    let median = distribution(a, b, 0.5);
    // From the nearer end, so that no digits are lost there.
    let (a, b, u, from_above) = if u > median { (b, a, 1.0 - u, true) } else { (a, b, u, false) };
    let (mut low, mut high) = (0.0, 0.5);
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if distribution(a, b, middle) < u { low = middle } else { high = middle }
    }
    let x = f64::midpoint(low, high);
    if from_above { 1.0 - x } else { x }
}

/// The regularized incomplete beta function, by its continued fraction (Abramowitz and Stegun, 26.5.8; Lentz).
fn distribution(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        // The fraction converges fast on the other side.
        return 1.0 - distribution(b, a, 1.0 - x);
    }
    let front = (a * x.ln() + b * (-x).ln_1p() + ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)).exp() / a;
    let nonzero = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d, mut fraction) = (1.0, 0.0, 1.0);
    for i in 0..10_000_u32 {
        let m = f64::from(i / 2);
        let numerator = if i == 0 {
            1.0
        } else if i % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / nonzero(1.0 + numerator * d);
        c = nonzero(1.0 + numerator / c);
        fraction *= c * d;
        if (c * d - 1.0).abs() < 1e-15 {
            break;
        }
    }
    // The first turn of the loop has doubled the fraction: it starts at 1 + 1/1.
    front * (fraction - 1.0)
}

/// ln Gamma(x) for x > 0, by Stirling's series after raising x above 10.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0_f64);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let y = 1.0 / (x * x);
    let series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}
