use crate::{cloud, key, squared, tensor};
use advect_analytic::statistics::Estimate;
use advect_paths::{
    CostMatrix, Coupling, PathError, Plan, Rows, Sinkhorn, SourceLaw, SquaredEuclidean, Stop, UnbalancedSinkhorn,
    Uncoupled, assign,
};

fn stop(tolerance: f64) -> Stop {
    Stop::new(tolerance, 200_000).unwrap()
}

/// A plan whose potentials have settled to 1e-10, or to 1e-5 where epsilon is so small that rows hardly feel each
/// other.
fn plan(cost: &CostMatrix, epsilon: f64) -> Plan {
    let tolerance = if epsilon < 0.5 { 1e-5 } else { 1e-10 };
    Sinkhorn::new(SquaredEuclidean, epsilon, stop(tolerance)).unwrap().plan(cost).unwrap()
}

#[test]
fn both_marginals_hold() {
    for (n, m) in [(1, 1), (7, 7), (12, 5), (40, 64)] {
        let cost = squared(&cloud(1, n, 3, 0.0), &cloud(2, m, 3, 2.0));
        for epsilon in [0.1, 1.0, 100.0] {
            let plan = plan(&cost, epsilon);
            let off = |marginal: Vec<f64>, count: usize| {
                marginal.iter().map(|p| (p - 1.0 / count as f64).abs()).fold(0.0, f64::max)
            };
            assert!(
                off(plan.noise_marginal(), n) < 1e-9 && off(plan.data_marginal(), m) < 1e-9,
                "{n} x {m}, {epsilon}"
            );
        }
    }
}

#[test]
fn two_by_two_is_known_in_closed_form() {
    // Mass p on the diagonal, 1/2 - p beside it: (p / (1/2 - p))^2 = exp(-(c11 + c22 - c12 - c21) / epsilon).
    let cost = CostMatrix::new(vec![0.3, 1.1, 2.0, 0.4], 2).unwrap();
    for epsilon in [0.05, 0.5, 5.0] {
        let odds = f64::exp((1.1 + 2.0 - 0.3 - 0.4) / (2.0 * epsilon));
        let p = 0.5 * odds / (1.0 + odds);
        for (mass, exact) in plan(&cost, epsilon).masses().iter().zip([p, 0.5 - p, 0.5 - p, p]) {
            assert!((mass - exact).abs() < if epsilon < 0.5 { 1e-6 } else { 1e-10 }, "{epsilon}: {mass} vs {exact}");
        }
    }
}

#[test]
fn one_to_one_unbalanced_is_known_in_closed_form() {
    // Minimize p c + e (p ln p - p + 1) + (r1 + r2)(p ln p - p + 1): ln p = -c / (e + r1 + r2).
    let cost = CostMatrix::new(vec![1.7], 1).unwrap();
    for (epsilon, r1, r2) in [(0.1, 1.0, 1.0), (0.5, 0.3, 2.0), (1.0, 20.0, 5.0)] {
        let coupling = UnbalancedSinkhorn::new(SquaredEuclidean, epsilon, r1, r2, stop(1e-13)).unwrap();
        let mass = coupling.plan(&cost).unwrap().masses()[0];
        let exact = (-1.7 / (epsilon + r1 + r2)).exp();
        assert!((mass - exact).abs() < 1e-11, "{mass} vs {exact}");
    }
}

#[test]
fn plans_satisfy_the_first_order_condition_of_their_problem() {
    // The problem is strictly convex: a positive plan with zero gradient is its only minimum.
    let (n, m) = (14, 10);
    let cost = squared(&cloud(13, n, 2, 0.0), &cloud(14, m, 2, 1.0));
    for (epsilon, r1, r2) in [(0.2, 1.0, 1.0), (0.5, 0.3, 2.0), (3.0, 0.1, 0.1), (0.1, 50.0, 0.4), (1.0, 1e4, 1e4)] {
        let coupling = UnbalancedSinkhorn::new(SquaredEuclidean, epsilon, r1, r2, stop(1e-12)).unwrap();
        let plan = coupling.plan(&cost).unwrap();
        let (p, q) = (plan.noise_marginal(), plan.data_marginal());
        for i in 0..n {
            for j in 0..m {
                let entropy = epsilon * (plan.masses()[i * m + j] * (n * m) as f64).ln();
                let marginals = r1 * (p[i] * n as f64).ln() + r2 * (q[j] * m as f64).ln();
                let gradient = cost.row(i)[j] + entropy + marginals;
                // The potentials have settled to 1e-12, which the prices of the marginals magnify.
                assert!(gradient.abs() < 1e-9 + 1e-12 * (r1 + r2), "{epsilon} {r1} {r2}: {gradient} at ({i}, {j})");
            }
        }
    }
}

#[test]
fn the_entropic_plan_tends_to_the_exact_one_and_to_independence() {
    let cost = squared(&cloud(3, 16, 2, 0.0), &cloud(4, 16, 2, 1.0));
    let exact = assign(&cost).unwrap();
    let mut gaps = Vec::new();
    for epsilon in [1.0, 0.1, 0.01, 0.002] {
        let plan = plan(&cost, epsilon);
        gaps.push(plan.cost(&cost) - exact.cost / 16.0);
        // The price of the entropy: at most epsilon ln n more than the optimum.
        assert!(*gaps.last().unwrap() > -1e-9 && *gaps.last().unwrap() <= epsilon * 16.0_f64.ln());
    }
    assert!(gaps.is_sorted_by(|a, b| a > b) && gaps[3] < 1e-4, "{gaps:?}");
    for (i, &j) in exact.columns.iter().enumerate() {
        assert!((plan(&cost, 0.002).masses()[16 * i + j] - 1.0 / 16.0).abs() < 1e-4, "row {i}");
    }
    for mass in plan(&cost, 1e6).masses() {
        assert!((mass - 1.0 / 256.0).abs() < 1e-6);
    }
}

#[test]
fn free_marginals_tend_to_fixed_ones_as_their_price_grows() {
    let cost = squared(&cloud(5, 9, 2, 0.0), &cloud(6, 11, 2, 1.0));
    let fixed = plan(&cost, 0.8);
    let distance = |rho: [f64; 2]| {
        let free = UnbalancedSinkhorn::new(SquaredEuclidean, 0.8, rho[0], rho[1], stop(1e-11)).unwrap();
        let free = free.plan(&cost).unwrap();
        let off = free.masses().iter().zip(fixed.masses()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        (off, free)
    };
    assert!(distance([1e7, 1e7]).0 < 1e-6);
    assert!(distance([f64::INFINITY; 2]).0 < 1e-9);
    assert!(distance([1.0, 1.0]).0 > 1e-3);
    // One marginal fixed, the other free.
    let (_, half) = distance([f64::INFINITY, 0.5]);
    assert!(half.noise_marginal().iter().all(|p| (p - 1.0 / 9.0).abs() < 1e-9));
    assert!(half.data_marginal().iter().any(|p| (p - 1.0 / 11.0).abs() > 1e-2));
}

#[test]
fn costs_far_beyond_epsilon_do_not_underflow() {
    // Costs up to 4e6 at epsilon 1: exp(-C / epsilon) is zero in every entry but the diagonal's. One is 1e5 off
    // everywhere.
    let n = 6;
    let line = Rows::new((0..n).map(|i| 1000.0 * i as f64 / 3.0).collect(), n).unwrap();
    let moved = Rows::new((0..n).map(|i| 1000.0 * i as f64 / 3.0 + 300.0).collect(), n).unwrap();
    let plan = plan(&squared(&line, &moved), 1.0);
    for i in 0..n {
        assert!((plan.masses()[i * n + i] - 1.0 / 6.0).abs() < 1e-9, "{:?}", plan.masses());
    }
}

#[test]
fn pairs_come_as_often_as_the_plan_says() {
    // 4,000 draws of all data rows of a 5 x 4 plan, seed 71, four standard errors: each entry P_ij is a frequency.
    let cost = squared(&cloud(7, 5, 2, 0.0), &cloud(8, 4, 2, 0.5));
    let free = UnbalancedSinkhorn::new(SquaredEuclidean, 0.7, 0.5, 1.0, stop(1e-12)).unwrap().plan(&cost).unwrap();
    for (name, plan) in [("balanced", plan(&cost, 0.7)), ("unbalanced", free)] {
        let total: f64 = plan.masses().iter().sum();
        let mut counts = vec![vec![0.0; 4000]; 20];
        for draw in 0..4000 {
            let pairs = plan.pairs(4, &mut key(71).rng(draw, 0)).unwrap();
            for (&i, &j) in pairs.noise.iter().zip(&pairs.data) {
                counts[i * 4 + j][draw as usize] += 0.25;
            }
            if name == "balanced" {
                assert_eq!(pairs.data, [0, 1, 2, 3], "each data row once, in order");
            }
        }
        for (k, (count, mass)) in counts.iter().zip(plan.masses()).enumerate() {
            // A pair too rare to be seen has no standard error of its own.
            let estimate = Estimate::mean(count);
            let error = estimate.standard_error.max((mass / 16_000.0).sqrt());
            assert!((estimate.value - mass / total).abs() < 4.0 * error, "{name}, entry {k}: {estimate:?} vs {mass}");
        }
    }
}

#[test]
fn a_pair_depends_on_key_and_step_alone() {
    let (noise, data) = (tensor(&cloud(9, 12, 2, 0.0)), tensor(&cloud(10, 12, 2, 1.0)));
    let coupling = Sinkhorn::new(SquaredEuclidean, 2.0, stop(1e-8)).unwrap();
    let pair = |seed, step| coupling.pair(&Uncoupled::new(&noise, &data, key(seed), step)).unwrap();
    assert_eq!(pair(1, 5), pair(1, 5));
    assert_ne!(pair(1, 5), pair(1, 6));
    assert_ne!(pair(1, 5), pair(2, 5));
    assert_eq!(pair(1, 5).data, (0..12).collect::<Vec<_>>());
    let before = SourceLaw::GaussianIndependent;
    assert_eq!(Coupling::<2>::source_law(&coupling, before), SourceLaw::Other);
    let free = UnbalancedSinkhorn::new(SquaredEuclidean, 2.0, 1.0, 1.0, stop(1e-8)).unwrap();
    assert_eq!(Coupling::<2>::source_law(&free, before), SourceLaw::Other);
}

#[test]
fn what_does_not_converge_is_an_error_with_its_numbers() {
    let cost = squared(&cloud(11, 20, 2, 0.0), &cloud(12, 20, 2, 1.0));
    let coupling = Sinkhorn::new(SquaredEuclidean, 0.001, Stop::new(1e-12, 7).unwrap()).unwrap();
    match coupling.plan(&cost) {
        Err(PathError::NotConverged { iterations: 7, change, tolerance }) => assert!(change > tolerance),
        other => panic!("{other:?}"),
    }
    // Marginals so cheap that nothing is moved: no pair can be drawn.
    let cost = CostMatrix::new(vec![1e6; 4], 2).unwrap();
    let free = UnbalancedSinkhorn::new(SquaredEuclidean, 1.0, 1.0, 1.0, stop(1e-9)).unwrap().plan(&cost).unwrap();
    assert_eq!(free.pairs(2, &mut key(0).rng(0, 0)), Err(PathError::NoMass { mass: 0.0 }));
}
