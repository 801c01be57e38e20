use crate::{cloud, key, squared, tensor};
use advect_analytic::statistics::Estimate;
use advect_paths::{Ascent, Coupling, Rows, Semidiscrete, SourceLaw, SquaredEuclidean, Uncoupled, assign};

#[test]
fn two_atoms_share_the_noise_by_a_half_space() {
    // Atoms at m +- a u with |u| = 1: x goes to the first if g_1 - g_2 >= |x - y_1|^2 - |x - y_2|^2 = 4 a <m - x, u>.
    // Half of the noise does if the border passes through the origin: g_1 - g_2 = 4 a <m, u>.
    let (m, u, a) = ([0.7, -1.1], [0.6, 0.8], 1.5);
    let atom = |sign: f64| [m[0] + sign * a * u[0], m[1] + sign * a * u[1]];
    let data = Rows::new([atom(1.0), atom(-1.0)].concat(), 2).unwrap();
    let fit = Semidiscrete::fit(data.clone(), SquaredEuclidean, &Ascent::new(4000, 64, 1.0).unwrap(), key(81)).unwrap();
    let gap = fit.potentials()[0] - fit.potentials()[1];
    let exact = 4.0 * a * (m[0] * u[0] + m[1] * u[1]);
    // 128,000 noise rows stand behind the mean over the second half. The share has the slope phi(0) / (4 a) = 0.0665
    // in the gap, so the standard error of the gap is about 0.5 / sqrt(128,000) / 0.0665 = 0.021; seed 81.
    assert!((gap - exact).abs() < 4.0 * 0.021, "{gap} vs {exact}");
    // Noise well to either side of the border goes there.
    let noise = cloud(82, 500, 2, 0.0);
    let along = |row: usize| noise.row(row)[0] * u[0] + noise.row(row)[1] * u[1];
    let assigned = fit.assign(&noise).unwrap();
    for (row, &atom) in assigned.iter().enumerate() {
        assert!(along(row).abs() < 0.02 || atom == usize::from(along(row) < 0.0), "row {row}");
    }
    let pairing = fit.pair(&Uncoupled::new(&tensor(&noise), &tensor(&data), key(0), 0)).unwrap();
    assert_eq!((pairing.data, pairing.noise), (assigned, (0..500).collect()));
    assert_eq!(Coupling::<2>::source_law(&fit, SourceLaw::GaussianIndependent), SourceLaw::Other);
}

#[test]
fn atoms_on_a_line_share_the_noise_by_quantiles() {
    // Each of five atoms gets the fifth of N(0, 1) in its order: borders at -0.841621, -0.253347 and so on. A border s
    // between neighbours y < z satisfies (s - y)^2 - g_y = (s - z)^2 - g_z, so g_z - g_y = (z - y)(z + y - 2 s).
    let atoms = [1.3, -2.0, 0.1, 4.0, -0.4];
    let order = [1, 4, 2, 0, 3];
    let borders = [-0.841_621_233_6, -0.253_347_103_1, 0.253_347_103_1, 0.841_621_233_6];
    let data = Rows::new(atoms.to_vec(), 5).unwrap();
    let fit = Semidiscrete::fit(data, SquaredEuclidean, &Ascent::new(6000, 128, 0.5).unwrap(), key(83)).unwrap();
    for (pair, border) in order.windows(2).zip(borders) {
        let (y, z) = (atoms[pair[0]], atoms[pair[1]]);
        let found = (z + y - (fit.potentials()[pair[1]] - fit.potentials()[pair[0]]) / (z - y)) / 2.0;
        // 384,000 noise rows in the mean; a quantile's standard error is at most 0.5 / phi(0.84) / sqrt(384,000) =
        // 0.003.
        assert!((found - border).abs() < 0.012, "border {found} vs {border}");
    }
    // 100,000 fresh noise rows, four standard errors and the fit's own.
    for share in fit.shares(key(84), 0, 100_000).unwrap() {
        assert!((share - 0.2).abs() < 4.0 * (0.16_f64 / 1e5).sqrt() + 4.0 * 0.001, "{share}");
    }
}

#[test]
fn the_dual_value_bounds_every_batch_of_the_primal() {
    // Weak duality in expectation: E min_j (c(x, y_j) - g_j) + mean g is the transport cost of N(0, I) to the atoms,
    // or less; the cost of minibatch OT on fresh noise is at least that on average. With converged potentials they
    // nearly meet.
    let data = cloud(85, 32, 2, 1.0);
    let fit = Semidiscrete::fit(data.clone(), SquaredEuclidean, &Ascent::new(4000, 64, 1.0).unwrap(), key(86)).unwrap();
    let mean: f64 = fit.potentials().iter().sum::<f64>() / 32.0;
    let (mut dual, mut primal) = (Vec::new(), Vec::new());
    // 32 atoms, each 8 times, to 256 noise rows: 30 batches.
    let copies = Rows::new((0..8).flat_map(|_| data.iter().flatten().copied()).collect(), 256).unwrap();
    for batch in 0..30 {
        let noise = cloud(1000 + batch, 256, 2, 0.0);
        let cost = squared(&noise, &data);
        let value: f64 =
            fit.assign(&noise).unwrap().iter().enumerate().map(|(i, &j)| cost.row(i)[j] - fit.potentials()[j]).sum();
        dual.push(value / 256.0 + mean);
        primal.push(assign(&squared(&noise, &copies)).unwrap().cost / 256.0);
    }
    let gaps: Vec<f64> = primal.iter().zip(&dual).map(|(p, d)| p - d).collect();
    // Batch by batch: the same noise stands on both sides, and any potentials are feasible for it.
    assert!(gaps.iter().all(|gap| *gap > -1e-9), "{gaps:?}");
    let (gap, cost) = (Estimate::mean(&gaps).value, Estimate::mean(&primal).value);
    assert!(gap < 0.03 * cost, "gap {gap} of {cost}");
}
