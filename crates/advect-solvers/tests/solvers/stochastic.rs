//! Euler-Maruyama on the Ornstein-Uhlenbeck process.

use advect_analytic::order::Fit;
use advect_analytic::ornstein_uhlenbeck::OrnsteinUhlenbeck;
use advect_analytic::statistics::Estimate;
use advect_solvers::{
    Brownian, BrownianPath, EulerMaruyama, Sde, Stepper, TimeGrid, Times, WhiteNoise, shared, solve, trajectory,
};

const OU: OrnsteinUhlenbeck = OrnsteinUhlenbeck { theta: 1.5, sigma: 0.8 };
const SEED: u64 = 20_260_731;

fn ids(n: u64) -> Vec<u64> {
    (0..n).collect()
}

fn drift(x: Vec<f64>, _t: &Times) -> Vec<f64> {
    x.into_iter().map(|x| -OU.theta * x).collect()
}

fn end(n: u64, x0: f64, grid: &TimeGrid) -> Vec<f64> {
    let sde = Sde { drift, diffusion: |_t| OU.sigma };
    solve(&sde, EulerMaruyama::new(WhiteNoise::new(SEED, ids(n))), vec![x0; n as usize], grid).unwrap()
}

#[test]
fn mean_and_variance_are_those_of_the_discretised_process() {
    // n = 20,000 paths, seed SEED, 8 steps of 1/8: coarse, so that the bias of the method is visible and exact.
    let (n, steps, h) = (20_000, 8, 0.125);
    let x = end(n, 2.0, &TimeGrid::uniform(0.0, 1.0, steps).unwrap());
    let mean = Estimate::mean(&x);
    assert!(mean.deviation(OU.euler_mean(2.0, h, steps as i32)) < 4.0, "{mean:?}");
    let variance = Estimate::variance(&x);
    assert!(variance.deviation(OU.euler_variance(h, steps as i32)) < 4.0, "{variance:?}");
    // The bound is sharp enough to tell the method from the process.
    assert!(variance.deviation(OU.variance(1.0)) > 4.0 && mean.deviation(OU.mean(2.0, 1.0)) > 4.0);
}

#[test]
fn with_small_steps_the_moments_are_those_of_the_process() {
    // n = 10,000 paths, seed SEED, 400 steps: the bias, theta h / 2 = 0.2% of the variance, is a tenth of the bound.
    let x = end(10_000, 2.0, &TimeGrid::uniform(0.0, 1.0, 400).unwrap());
    let (mean, variance) = (Estimate::mean(&x), Estimate::variance(&x));
    assert!(mean.deviation(OU.mean(2.0, 1.0)) < 4.0, "{mean:?}");
    assert!(variance.deviation(OU.variance(1.0)) < 4.0, "{variance:?}");
}

#[test]
fn the_stationary_variance_is_sigma2_over_2theta_minus_theta2_h() {
    // n = 20,000 paths, seed SEED, h = 0.4; after 40 steps (1 - theta h)^80 < 1e-31.
    let x = end(20_000, 0.0, &TimeGrid::uniform(0.0, 16.0, 40).unwrap());
    let variance = Estimate::variance(&x);
    let exact = 0.8 * 0.8 / (2.0 * 1.5 - 1.5 * 1.5 * 0.4);
    assert!((OU.euler_stationary_variance(0.4) - exact).abs() < 1e-15);
    assert!(variance.deviation(exact) < 4.0, "{variance:?}, exact {exact}");
    assert!(variance.deviation(OU.stationary_variance()) > 4.0);
}

#[test]
fn the_strong_order_is_one_for_additive_noise() {
    // The same 400 Brownian paths on grids of 8, 16, 32, 64 steps against 2048. The slope of log2 rms error is
    // estimated in 20 groups of 20 paths, so that it has a confidence interval.
    let grid = |steps| TimeGrid::uniform(0.0, 1.0, steps).unwrap();
    let sde = Sde {
        drift: |x: Vec<f64>, t: &Times| x.iter().map(|x| (t.at(0) - x).sin()).collect(),
        diffusion: |t: f64| 1.0 + t,
    };
    let run = |ids: Vec<u64>, steps| {
        let rows = ids.len();
        let path = BrownianPath::new(SEED, ids, 0.0, 1.0, 11).unwrap();
        solve(&sde, EulerMaruyama::new(path), vec![0.5; rows], &grid(steps)).unwrap()
    };
    let slopes: Vec<f64> = (0..20)
        .map(|group| {
            let ids: Vec<u64> = (20 * group..20 * group + 20).collect();
            let fine = run(ids.clone(), 2048);
            let error = |steps| {
                let squares = run(ids.clone(), steps).into_iter().zip(&fine).map(|(a, b)| (a - b).powi(2));
                (squares.sum::<f64>() / 20.0).sqrt()
            };
            let points: Vec<(f64, f64)> =
                [8_usize, 16, 32, 64].iter().map(|&n| (-(n as f64).log2(), error(n).log2())).collect();
            Fit::line(&points).slope
        })
        .collect();
    let slope = Estimate::mean(&slopes);
    println!("strong order {:.3} +- {:.3}", slope.value, slope.standard_error);
    assert!(slope.standard_error < 0.03, "{slope:?}");
    // The reference of 2048 steps biases the slope by about +0.02.
    assert!((slope.value - 1.0).abs() < 0.03 + 4.0 * slope.standard_error, "{slope:?}");
}

#[test]
fn the_weak_order_is_one() {
    // Exact moments of the discretised process, checked above, against those of the process.
    let points: Vec<(f64, f64)> = [16, 32, 64, 128]
        .iter()
        .map(|&n| {
            let h = 1.0 / f64::from(n);
            (h.log2(), (OU.euler_variance(h, n) - OU.variance(1.0)).abs().log2())
        })
        .collect();
    assert!((Fit::line(&points).slope - 1.0).abs() < 0.1);
}

#[test]
fn increments_on_refined_grids_add_up() {
    let mut path = BrownianPath::new(SEED, ids(5), 0.0, 2.0, 20).unwrap();
    let like = vec![0.0; 5];
    let coarse = path.increment(&like, &0.3.into(), &1.7.into());
    for steps in [2, 7, 64] {
        let grid = TimeGrid::uniform(0.3, 1.7, steps).unwrap();
        let mut sum = [0.0; 5];
        for pair in grid.points().windows(2) {
            let part = path.increment(&like, &pair[0].into(), &pair[1].into());
            sum.iter_mut().zip(part).for_each(|(s, p)| *s += p);
        }
        for (a, b) in sum.iter().zip(&coarse) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }
    // Without drift, Euler-Maruyama therefore ends at the same place on every grid.
    let still = Sde { drift: shared(|_x: f64, _t: f64| 0.0), diffusion: |_t| 2.0 };
    let ends: Vec<f64> = [1, 3, 50]
        .iter()
        .map(|&n| {
            let path = BrownianPath::new(SEED, vec![9], 0.0, 2.0, 20).unwrap();
            solve(&still, EulerMaruyama::new(path), 1.0, &TimeGrid::uniform(0.3, 1.7, n).unwrap()).unwrap()
        })
        .collect();
    assert!((ends[0] - ends[1]).abs() < 1e-12 && (ends[0] - ends[2]).abs() < 1e-12, "{ends:?}");
}

#[test]
fn diffusion_is_taken_at_the_start_of_the_step() {
    // Ito: x = x0 + h f(x0, from) + g(from) dW.
    let sde = Sde { drift: shared(|x: f64, t: f64| x * t), diffusion: |t: f64| t * t };
    let mut path = BrownianPath::new(SEED, vec![0], 0.0, 1.0, 10).unwrap();
    let dw = path.increment(&0.0, &0.5.into(), &0.75.into());
    let step = EulerMaruyama::new(path).step(&sde, 3.0, &0.5.into(), &0.75.into()).unwrap();
    assert!((step.x - (3.0 + 0.25 * 1.5 + 0.25 * dw)).abs() < 1e-15);
    assert_eq!(step.at, Times::Shared(0.75));
}

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let sde = Sde {
        drift: |x: Vec<f64>, t: &Times| x.iter().enumerate().map(|(r, x)| -x * t.at(r)).collect(),
        diffusion: |t: f64| 1.0 + t,
    };
    let one = Sde { drift: |x: f64, t: &Times| -x * t.at(0), diffusion: |t: f64| 1.0 + t };
    let (from, to) = ([0.0, 0.5, 1.0], [0.25, 1.0, 0.75]);
    let path = |ids| BrownianPath::new(SEED, ids, 0.0, 1.0, 16).unwrap();
    let x0 = vec![1.0, 2.0, 3.0];
    let each = EulerMaruyama::new(path(ids(3)))
        .step(&sde, x0.clone(), &Times::Each(from.to_vec()), &Times::Each(to.to_vec()))
        .unwrap();
    for row in 0..3 {
        let alone =
            EulerMaruyama::new(path(vec![row as u64])).step(&one, x0[row], &from[row].into(), &to[row].into()).unwrap();
        assert_eq!(each.x[row].to_bits(), alone.x.to_bits());
    }
}

#[test]
fn a_trajectory_has_the_covariance_of_the_process() {
    // n = 10,000 stationary starts are not at hand; from x0 = 0: Cov(X_s, X_t) = e^(-theta (t - s)) Var(X_s).
    let sde = Sde { drift, diffusion: |_t| OU.sigma };
    let stepper = EulerMaruyama::new(WhiteNoise::new(SEED, ids(10_000)));
    let grid = TimeGrid::uniform(0.0, 1.0, 200).unwrap();
    let states: Vec<_> = trajectory(&sde, stepper, vec![0.0; 10_000], &grid).collect::<Result<_, _>>().unwrap();
    let products: Vec<f64> = states[100].1.iter().zip(&states[200].1).map(|(a, b)| a * b).collect();
    let exact = (1.0 - OU.theta * 0.005).powi(100) * OU.euler_variance(0.005, 100);
    assert!(Estimate::mean(&products).deviation(exact) < 4.0);
}
