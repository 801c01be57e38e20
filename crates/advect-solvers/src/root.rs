/// Narrows a change of sign of `f` in `[low, high]` down to `tolerance` and returns the end of it where the sign has
/// changed, or an exact zero. `at_low` and `at_high` are the values at the ends, of different signs.
///
/// ITP: Oliveira & Takahashi, *An enhancement of the bisection method average performance preserving minmax
/// optimality*, ACM TOMS 47 (2021), with kappa_1 = 0.2 / (b - a), kappa_2 = 2 and n_0 = 1: superlinear on smooth
/// functions, at most one evaluation more than bisection on any.
pub(crate) fn root<E>(
    mut f: impl FnMut(f64) -> Result<f64, E>,
    (low, at_low): (f64, f64),
    (high, at_high): (f64, f64),
    tolerance: f64,
) -> Result<f64, E> {
    if at_high == 0.0 {
        return Ok(high);
    }
    let sign = at_high.signum();
    let (mut a, mut b) = (low, high);
    let (mut ya, mut yb) = (sign * at_low, sign * at_high);
    let kappa = 0.2 / (b - a);
    let mut reach = tolerance * 2.0_f64.powf(((b - a) / (2.0 * tolerance)).log2().ceil().max(0.0) + 1.0);
    while b - a > 2.0 * tolerance {
        let width = b - a;
        let middle = 0.5 * (a + b);
        let secant = (yb * a - ya * b) / (yb - ya);
        let toward = (middle - secant).signum();
        let truncation = kappa * width * width;
        let truncated = if truncation <= (middle - secant).abs() { secant + toward * truncation } else { middle };
        let radius = reach - 0.5 * width;
        let x = if (truncated - middle).abs() <= radius { truncated } else { middle - toward * radius };
        // Near the end the secant falls on an end, by round-off or because the function is a line there.
        let x = x.clamp(a + tolerance, b - tolerance);
        let y = sign * f(x)?;
        if y > 0.0 {
            (b, yb) = (x, y);
        } else if y < 0.0 {
            (a, ya) = (x, y);
        } else {
            return Ok(x);
        }
        reach *= 0.5;
    }
    Ok(b)
}

#[cfg(test)]
mod tests {
    use super::root;

    fn find(f: impl Fn(f64) -> f64, tolerance: f64) -> (f64, usize) {
        let mut calls = 0;
        let counted = |x| {
            calls += 1;
            Ok::<f64, ()>(f(x))
        };
        let root = root(counted, (0.0, f(0.0)), (1.0, f(1.0)), tolerance).unwrap();
        (root, calls)
    }

    #[test]
    fn roots_are_met_from_behind_with_no_more_calls_than_bisection() {
        let cases: [(&dyn Fn(f64) -> f64, f64); 6] = [
            (&|x: f64| x * x - 0.5, 0.5_f64.sqrt()),
            (&|x: f64| 0.3 - x, 0.3),
            (&|x: f64| x.powi(9) - 1e-4, 1e-4_f64.powf(1.0 / 9.0)),
            (&|x: f64| if x < 0.123 { -1.0 } else { 1e-9 }, 0.123),
            (&|x: f64| (-x).exp() - 0.5, 2.0_f64.ln()),
            (&|x: f64| (x - 0.9).powi(3), 0.9),
        ];
        for (case, (f, expected)) in cases.into_iter().enumerate() {
            let (x, calls) = find(f, 1e-14);
            assert!((x - expected).abs() <= 4e-14 || f(x).abs() < 1e-40, "case {case}: {x} {expected}");
            assert!(f(x) * f(1.0) >= 0.0, "case {case}: {x} lies before the root");
            assert!(calls <= 48, "case {case}: {calls} calls");
        }
        // Not fooled by a secant that meets the root at once.
        assert!((find(|x| x - 0.7, 1e-15).0 - 0.7).abs() <= 2e-15);
        // Superlinear where the function is smooth.
        assert!(find(|x| x * x - 0.5, 1e-14).1 <= 10);
    }
}
