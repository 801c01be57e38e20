//! The weak order of every stochastic method, by differences of coupled levels.

use crate::sde_problems::{Each, Negated, PATHS, Paths, Recorded, additive, semilinear};
use advect_analytic::order::Fit;
use advect_solvers::{
    Brownian, DiagonalSde, Entry, Method, Sde, SpaceTimeLevyArea, Stepper, StratonovichSde, TimeGrid, Times,
    UnderdampedLangevin, diagonal_sde_methods, langevin_methods, sde_methods, semilinear_methods, solve,
    stratonovich_methods,
};
use std::f64::consts::PI;

/// Nodes of the circle, of the increment and of the area.
const CIRCLE: usize = 32;
const POINTS: usize = CIRCLE * 8 * 4;
type Points = [f64; POINTS];

/// Nodes and weights of Gauss-Hermite quadrature for the standard normal law, by Newton's method.
fn gauss_hermite<const N: usize>() -> [(f64, f64); N] {
    // Normalised Hermite polynomials: sqrt(k + 1) p_(k+1) = x p_k - sqrt(k) p_(k-1); p_N' = sqrt(N) p_(N-1).
    let last_two = |x: f64| {
        let (mut before, mut p) = (0.0, 1.0);
        for k in 0..N {
            (before, p) = (p, (x * p - (k as f64).sqrt() * before) / ((k + 1) as f64).sqrt());
        }
        (before, p)
    };
    // The roots lie within 2 sqrt(N); a scan brackets them.
    let scan = 4000;
    let bound = 2.0 * (N as f64).sqrt() + 0.123;
    let at = |i: usize| -bound + 2.0 * bound * i as f64 / f64::from(scan);
    let roots: Vec<f64> =
        (0..scan as usize).filter(|&i| last_two(at(i)).1 * last_two(at(i + 1)).1 < 0.0).map(at).collect();
    assert_eq!(roots.len(), N);
    std::array::from_fn(|i| {
        let mut x = roots[i];
        for _ in 0..20 {
            let (before, p) = last_two(x);
            x -= p / ((N as f64).sqrt() * before);
        }
        let before = last_two(x).0;
        (x, 1.0 / (N as f64 * before * before))
    })
}

/// All nodes of increment and area at all nodes of the circle, scaled to the step.
#[derive(Clone)]
struct AllNodes {
    w: Box<Points>,
    h: Box<Points>,
}

impl Brownian<Points> for AllNodes {
    fn increment(&mut self, like: &Points, from: &Times, to: &Times) -> Points {
        self.increment_and_area(like, from, to).0
    }
}

impl SpaceTimeLevyArea<Points> for AllNodes {
    fn increment_and_area(&mut self, _like: &Points, from: &Times, to: &Times) -> (Points, Points) {
        let root = (to.at(0) - from.at(0)).sqrt();
        (self.w.map(|w| root * w), self.h.map(|h| root / 12.0_f64.sqrt() * h))
    }
}

/// E[phi(X_1)] from every node of the circle, by the transition operator of the method: backward in time, each step an
/// exact expectation (quadrature) of the trigonometric interpolant. No noise at all, and nothing is linear.
fn expectations<G>(generator: &G, entry: &Entry<G, Points>, weights: &[f64], steps: usize) -> [f64; CIRCLE] {
    let node = |i: usize| 2.0 * PI * i as f64 / CIRCLE as f64;
    let starts: Points = std::array::from_fn(|k| node(k / (POINTS / CIRCLE)));
    let mut u: [f64; CIRCLE] = std::array::from_fn(|i| node(i).cos() + 0.5 * (2.0 * node(i)).sin());
    for n in (0..steps).rev() {
        let (from, to) = (n as f64 / steps as f64, (n + 1) as f64 / steps as f64);
        let moved = entry.stepper().step(generator, starts, &from.into(), &to.into()).unwrap().x;
        // Fourier coefficients of u.
        let modes: [(f64, f64); CIRCLE / 2] = std::array::from_fn(|k| {
            let part = |f: fn(f64) -> f64| (0..CIRCLE).map(|i| u[i] * f(k as f64 * node(i))).sum::<f64>();
            let scale = if k == 0 { 1.0 } else { 2.0 } / CIRCLE as f64;
            (scale * part(f64::cos), scale * part(f64::sin))
        });
        let value = |x: f64| {
            let (sin, cos) = x.sin_cos();
            let (mut c, mut s, mut sum) = (1.0, 0.0, 0.0);
            for (a, b) in modes {
                sum += a * c + b * s;
                (c, s) = (c * cos - s * sin, s * cos + c * sin);
            }
            sum
        };
        let values = moved.map(value);
        u = std::array::from_fn(|i| {
            values.chunks(POINTS / CIRCLE).nth(i).unwrap().iter().zip(weights).map(|(v, w)| v * w).sum()
        });
    }
    u
}

fn check<G>(generator: &G, methods: impl Fn(&AllNodes) -> Vec<Entry<G, Points>>) {
    let (w, h) = (gauss_hermite::<8>(), gauss_hermite::<4>());
    let pairs: Vec<_> = w.iter().flat_map(|w| h.map(|h| (*w, h))).collect();
    let weights: Vec<f64> = pairs.iter().map(|(w, h)| w.1 * h.1).collect();
    let all: Vec<_> = (0..CIRCLE).flat_map(|_| pairs.clone()).collect();
    let noise =
        AllNodes { w: Box::new(std::array::from_fn(|k| all[k].0.0)), h: Box::new(std::array::from_fn(|k| all[k].1.0)) };
    let mut wrong = Vec::new();
    for entry in methods(&noise) {
        let Method { title, weak_order, .. } = entry.method;
        let levels = [8, 16, 32, 64, 128].map(|n| expectations(generator, &entry, &weights, n));
        let points: Vec<(f64, f64)> = (0..4)
            .map(|l| {
                let square: f64 = (0..CIRCLE).map(|i| (levels[l][i] - levels[l + 1][i]).powi(2)).sum();
                (-(l as f64), 0.5 * square.log2())
            })
            .collect();
        let slope = Fit::line(&points).slope;
        println!("{title}: weak {slope:.3}, {weak_order:?}");
        if (slope - weak_order.unwrap()).abs() >= 0.15 {
            wrong.push((title, weak_order, slope));
        }
    }
    assert!(wrong.is_empty(), "weak orders, stated and observed: {wrong:?}");
}

#[test]
fn the_quadrature_is_exact_for_polynomials() {
    for (power, moment) in [(0, 1.0), (2, 1.0), (4, 3.0), (6, 15.0), (14, 135_135.0), (3, 0.0)] {
        let sum: f64 = gauss_hermite::<8>().iter().map(|(x, w)| w * x.powi(power)).sum();
        assert!((sum - moment).abs() < 1e-9 * moment.max(1.0), "x^{power}: {sum}");
    }
}

const DRIFT: Each = Each(|x, t| 0.8 * x.sin() + 0.5 * (2.0 * x + t).cos());
const DIFFUSION: Each = Each(|x, t| 0.6 + 0.3 * (x + 2.0 * t).sin());
const DERIVATIVE: Each = Each(|x, t| 0.3 * (x + 2.0 * t).cos());

#[test]
fn additive_noise() {
    let diffusion: fn(f64) -> f64 = |t| 0.5 + 0.4 * t * t;
    check(&Sde { drift: DRIFT, diffusion }, sde_methods);
}

#[test]
fn diagonal_noise() {
    check(&DiagonalSde { drift: DRIFT, diffusion: DIFFUSION }, |noise| diagonal_sde_methods(noise, &DERIVATIVE));
}

#[test]
fn diagonal_noise_in_the_sense_of_stratonovich() {
    check(&StratonovichSde { drift: DRIFT, diffusion: DIFFUSION }, stratonovich_methods);
}

/// Groups of BATCHES x 64 antithetic pairs each, for the jackknife.
const GROUPS: u64 = 16;
const BATCHES: u64 = 128;
/// Level l takes 2^l steps.
const LEVELS: std::ops::RangeInclusive<u32> = 1..=5;

/// The weak order from samples: E[phi(X_h) - phi(X_(h/2))] with both on the same path and its mirror image, so that
/// what is averaged is as small as the strong error. n = 16 x 128 x 64 pairs of paths; the standard error of the slope is
/// that of the jackknife over the groups.
fn check_samples<G, X: Clone>(
    generator: &G,
    methods: impl Fn(&Recorded) -> Vec<Entry<G, X>>,
    negated: impl Fn(&Negated<Recorded>) -> Vec<Entry<G, X>>,
    start: &X,
    phi: impl Fn(&X) -> f64,
) {
    let levels: Vec<u32> = LEVELS.collect();
    let mut table: Vec<(Method, Vec<Vec<f64>>)> = Vec::new();
    for group in 0..GROUPS {
        for batch in 0..BATCHES {
            let noise = Recorded::to_level(20_261_123, group * BATCHES + batch, 1 + levels[levels.len() - 1]);
            for (i, (up, down)) in methods(&noise).iter().zip(negated(&Negated(noise.clone()))).enumerate() {
                if table.len() == i {
                    table.push((up.method, vec![vec![0.0; levels.len() - 1]; GROUPS as usize]));
                }
                let ends: Vec<f64> = levels
                    .iter()
                    .map(|&l| {
                        let grid = TimeGrid::uniform(0.0, 1.0, 1 << l).unwrap();
                        let end =
                            |entry: &Entry<G, X>| solve(generator, entry.stepper(), start.clone(), &grid).unwrap();
                        phi(&end(up)) + phi(&end(&down))
                    })
                    .collect();
                for (sum, pair) in table[i].1[group as usize].iter_mut().zip(ends.windows(2)) {
                    *sum += pair[0] - pair[1];
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (Method { title, weak_order, .. }, groups) in table {
        let slope = |without: Option<usize>| {
            let difference = |l: usize| {
                groups.iter().enumerate().filter(|(g, _)| Some(*g) != without).map(|(_, sums)| sums[l]).sum::<f64>()
            };
            let points: Vec<(f64, f64)> =
                (0..levels.len() - 1).map(|l| (-(l as f64), difference(l).abs().log2())).collect();
            Fit::line(&points).slope
        };
        let all = slope(None);
        let spread: f64 = (0..groups.len()).map(|g| (slope(Some(g)) - all).powi(2)).sum();
        let standard_error = (spread * (GROUPS - 1) as f64 / GROUPS as f64).sqrt();
        println!("{title}: weak {all:.3} +- {standard_error:.3} by samples");
        let off = (all - weak_order.unwrap()).abs() + 2.0 * standard_error;
        if off >= 0.15 {
            wrong.push((title, weak_order, all, standard_error));
        }
    }
    assert!(wrong.is_empty(), "weak orders, stated and observed: {wrong:?}");
}

fn mean(x: &Paths, f: impl Fn(f64) -> f64) -> f64 {
    x.iter().map(|&x| f(x)).sum::<f64>() / PATHS as f64
}

#[test]
fn a_linear_part_apart() {
    let start = [additive::START; PATHS];
    let phi = |x: &Paths| mean(x, |x| (x - 1.0).powi(2));
    check_samples(&semilinear(), semilinear_methods, semilinear_methods, &start, phi);
}

#[test]
fn langevin_dynamics() {
    let pendulum = UnderdampedLangevin {
        force: |q: Paths, _t: &Times| q.map(|q| -4.0 * q.sin()),
        friction: 1.5,
        temperature: 0.3,
    };
    let start = ([1.5; PATHS], [0.5; PATHS]);
    let phi = |x: &(Paths, Paths)| mean(&x.0, |q| q + q * q);
    check_samples(&pendulum, langevin_methods, langevin_methods, &start, phi);
}
