/// The integral of a smooth function, signed, by Gauss-Legendre quadrature of 5 nodes in each of the panels
/// (Abramowitz & Stegun, table 25.4): exact for polynomials of degree 9.
pub(crate) fn integrate(from: f64, to: f64, panels: u32, f: impl Fn(f64) -> f64) -> f64 {
    const NODES: [(f64, f64); 5] = [
        (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
        (-0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.0, 0.568_888_888_888_888_9),
        (0.538_469_310_105_683_1, 0.478_628_670_499_366_5),
        (0.906_179_845_938_664, 0.236_926_885_056_189_1),
    ];
    let half = 0.5 * (to - from) / f64::from(panels);
    let panel = |i: u32| {
        let middle = from + (2.0 * f64::from(i) + 1.0) * half;
        NODES.iter().map(|(node, weight)| weight * f(middle + half * node)).sum::<f64>()
    };
    half * (0..panels).map(panel).sum::<f64>()
}

/// Panels enough for an exponential of this exponent to about 1e-13.
pub(crate) fn panels(exponent: f64) -> u32 {
    // NaN and infinity give one panel, and the result says what is wrong.
    if exponent.is_finite() { 1 + (2.0 * exponent.abs()).min(500.0) as u32 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::{integrate, panels};

    #[test]
    fn exponentials_and_polynomials() {
        assert!((integrate(-1.0, 3.0, 1, |t| t.powi(9)) - (3.0_f64.powi(10) - 1.0) / 10.0).abs() < 1e-10);
        for x in [1e-3, 0.5, 3.0, 20.0] {
            let exact = -f64::exp_m1(-x) / x;
            assert!((integrate(0.0, 1.0, panels(x), |t| (-x * t).exp()) / exact - 1.0).abs() < 1e-12, "{x}");
        }
        assert!((integrate(1.0, 0.0, 2, |t| t) + 0.5).abs() < 1e-15);
    }
}
