/// The most predictions a multistep method here combines.
pub(crate) const MOST: usize = 4;

/// `int_0^1 e^(z (s - 1)) s^k ds` for k = 0..4.
///
/// By the recursion `psi_k = (1 - k psi_(k-1)) / z`, which cancels for small z; there by the series
/// `sum_j (-z)^j k! / (k + 1 + j)!`.
fn psi(z: f64) -> [f64; MOST] {
    let mut values = [0.0; MOST];
    if z.abs() >= 1.0 {
        let mut last = -(-z).exp_m1() / z;
        for (k, value) in values.iter_mut().enumerate() {
            if k > 0 {
                last = (1.0 - k as f64 * last) / z;
            }
            *value = last;
        }
    } else {
        for (k, value) in values.iter_mut().enumerate() {
            let mut term = 1.0 / (k + 1) as f64;
            for j in 1..25 {
                *value += term;
                term *= -z / (k + 1 + j) as f64;
            }
        }
    }
    values
}

/// The weights of an exponential Adams method: `int_from^to e^(rate (l - to)) L_i(l) dl`, with L_i the Lagrange
/// polynomials of the (at most four, finite, distinct) nodes. `rate` 0 gives the classical Adams weights.
pub(crate) fn adams(nodes: &[f64], from: f64, to: f64, rate: f64) -> [f64; MOST] {
    let h = to - from;
    let moments = psi(rate * h);
    let mut weights = [0.0; MOST];
    for (i, weight) in weights.iter_mut().enumerate().take(nodes.len()) {
        // L_i as a polynomial in s = (l - from) / h, built up factor by factor.
        let mut polynomial = [0.0; MOST];
        polynomial[0] = 1.0;
        for (j, node) in nodes.iter().enumerate() {
            if j != i {
                let root = (node - from) / h;
                let scale = h / (nodes[i] - node);
                for k in (0..MOST).rev() {
                    let lower = if k > 0 { polynomial[k - 1] } else { 0.0 };
                    polynomial[k] = scale * (lower - root * polynomial[k]);
                }
            }
        }
        *weight = h * polynomial.iter().zip(&moments).map(|(p, m)| p * m).sum::<f64>();
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::{adams, psi};

    #[test]
    fn moments_agree_with_quadrature_and_across_the_switch() {
        for z in [-12.0, -1.0, -0.999, -1e-3, 0.0, 1e-9, 0.3, 0.999, 1.0, 5.0, 40.0] {
            for (k, value) in psi(z).into_iter().enumerate() {
                // Simpson with 4000 intervals.
                let f = |s: f64| (z * (s - 1.0)).exp() * s.powi(k as i32);
                let n = 4000;
                let sum: f64 = (0..=n)
                    .map(|i| {
                        let weight = if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * f64::from(i % 2) };
                        weight * f(f64::from(i) / f64::from(n))
                    })
                    .sum();
                let wanted = sum / f64::from(3 * n);
                assert!((value - wanted).abs() < 1e-9 * wanted.abs().max(1.0), "z = {z}, k = {k}: {value} {wanted}");
            }
        }
    }

    #[test]
    fn without_exponential_they_are_the_adams_weights() {
        // Adams-Bashforth 4: (55, -59, 37, -9) / 24; Adams-Moulton 4: (9, 19, -5, 1) / 24. Hairer et al. I, III.1.
        let bashforth = adams(&[0.0, -1.0, -2.0, -3.0], 0.0, 1.0, 0.0);
        let moulton = adams(&[1.0, 0.0, -1.0, -2.0], 0.0, 1.0, 0.0);
        for (got, wanted) in bashforth.iter().zip([55.0, -59.0, 37.0, -9.0]) {
            assert!((got - wanted / 24.0).abs() < 1e-14);
        }
        for (got, wanted) in moulton.iter().zip([9.0, 19.0, -5.0, 1.0]) {
            assert!((got - wanted / 24.0).abs() < 1e-14);
        }
    }

    #[test]
    fn polynomials_times_an_exponential_are_integrated_exactly() {
        // int_0^h e^(l - h) (1 + 2 l + 3 l^2) dl = (3 h^2 - 4 h + 5) - 5 e^-h.
        let (h, nodes): (f64, _) = (0.7, [0.0, -0.4, -1.1]);
        let weights = adams(&nodes, 0.0, h, 1.0);
        let got: f64 = nodes.iter().zip(weights).map(|(l, w)| w * (1.0 + 2.0 * l + 3.0 * l * l)).sum();
        let wanted = 3.0 * h * h - 4.0 * h + 5.0 - 5.0 * (-h).exp();
        assert!((got - wanted).abs() < 1e-14);
    }
}
