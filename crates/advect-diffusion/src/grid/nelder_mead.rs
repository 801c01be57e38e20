/// The simplex method of Nelder and Mead, for few unknowns and no derivatives.
///
/// Nelder and Mead, 1965, with the coefficients of Gao and Han, 2012, which depend on the dimension. `f` may be
/// infinite. Returns the best point and its value after at most `evaluations` of `f` (and as many as the first simplex
/// needs).
pub(super) fn minimize<E>(
    mut f: impl FnMut(&[f64]) -> Result<f64, E>,
    start: &[f64],
    size: f64,
    evaluations: usize,
) -> Result<(Vec<f64>, f64), E> {
    let n = start.len();
    let mut simplex = vec![(start.to_vec(), f(start)?)];
    for i in 0..n {
        let mut corner = start.to_vec();
        corner[i] += size;
        let value = f(&corner)?;
        simplex.push((corner, value));
    }
    let mut spent = n + 1;
    let d = n.max(2) as f64;
    let (expand, contract, shrink) = (1.0 + 2.0 / d, 0.75 - 0.5 / d, 1.0 - 1.0 / d);
    let order = |simplex: &mut Vec<(Vec<f64>, f64)>| simplex.sort_by(|a, b| a.1.total_cmp(&b.1));
    order(&mut simplex);
    while n > 0 && spent < evaluations {
        let worst = simplex[n].clone();
        let center: Vec<f64> = (0..n).map(|i| simplex[..n].iter().map(|(x, _)| x[i]).sum::<f64>() / n as f64).collect();
        let along =
            |factor: f64| -> Vec<f64> { (0..n).map(|i| center[i] + factor * (center[i] - worst.0[i])).collect() };
        let point = along(1.0);
        let value = f(&point)?;
        spent += 1;
        let reflected = (point, value);
        simplex[n] = if reflected.1 < simplex[0].1 {
            let point = along(expand);
            let value = f(&point)?;
            spent += 1;
            if value < reflected.1 { (point, value) } else { reflected }
        } else if reflected.1 < simplex[n - 1].1 {
            reflected
        } else {
            let outside = reflected.1 < worst.1;
            let point = along(if outside { contract } else { -contract });
            let value = f(&point)?;
            spent += 1;
            if value < reflected.1.min(worst.1) {
                (point, value)
            } else {
                let best = simplex[0].0.clone();
                for (x, value) in &mut simplex[1..] {
                    for (x, b) in x.iter_mut().zip(&best) {
                        *x = b + shrink * (*x - b);
                    }
                    *value = f(x)?;
                    spent += 1;
                }
                order(&mut simplex);
                continue;
            }
        };
        order(&mut simplex);
    }
    Ok(simplex.swap_remove(0))
}

#[cfg(test)]
mod tests {
    use super::minimize;

    #[test]
    fn the_valley_of_rosenbrock() {
        let f = |x: &[f64]| Ok::<_, ()>((1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2));
        let (x, value) = minimize(f, &[-1.2, 1.0], 0.5, 400).unwrap();
        assert!(value < 1e-10 && (x[0] - 1.0).abs() < 1e-4 && (x[1] - 1.0).abs() < 1e-4, "{x:?} {value}");
    }

    #[test]
    fn a_wall_of_infinity_is_respected() {
        let f = |x: &[f64]| Ok::<_, ()>(if x[0] < 0.5 { f64::INFINITY } else { x[0] * x[0] + (x[1] - 2.0).powi(2) });
        let (x, _) = minimize(f, &[3.0, 0.0], 0.5, 300).unwrap();
        assert!((x[0] - 0.5).abs() < 1e-3 && (x[1] - 2.0).abs() < 1e-2, "{x:?}");
    }
}
