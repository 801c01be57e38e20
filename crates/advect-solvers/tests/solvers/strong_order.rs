//! The strong order of every stochastic method against one Brownian path, with its confidence interval.

use crate::sde_problems::{PATHS, Paths, Recorded, additive, diagonal, semilinear};
use advect_analytic::order::Fit;
use advect_analytic::statistics::Estimate;
use advect_solvers::{
    Entry, Method, SRA1, SRA2, SRA3, SRI1W1, SRI2W1, SraTableau, SriTableau, Stepper, TimeGrid, Times,
    UnderdampedLangevin, diagonal_sde_methods, langevin_methods, sde_methods, semilinear_methods, solve,
    stratonovich_methods,
};

const SEED: u64 = 20_261_122;
/// Groups of PATHS paths each; the slope of the root mean square error over a group is one value.
const GROUPS: u64 = 16;
const STEPS: [usize; 4] = [16, 32, 64, 128];

fn slope(error: impl Fn(usize) -> f64) -> f64 {
    Fit::line(&STEPS.map(|n| (-(n as f64).log2(), error(n).log2()))).slope
}

fn rms(a: &Paths, b: &Paths) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / PATHS as f64).sqrt()
}

fn end<G: ?Sized, X>(generator: &G, stepper: impl Stepper<G, X>, x0: X, steps: usize) -> X {
    solve(generator, stepper, x0, &TimeGrid::uniform(0.0, 1.0, steps).unwrap()).unwrap()
}

/// Slopes of all groups for a list of methods: n = 16 x 64 paths.
fn slopes<G, X: Clone>(
    generator: &G,
    methods: impl Fn(&Recorded) -> Vec<Entry<G, X>>,
    start: &X,
    reference: impl Fn(&Recorded) -> Paths,
    position: impl Fn(&X) -> Paths,
) -> Vec<(Method, Estimate)> {
    let mut table: Vec<(Method, Vec<f64>)> = Vec::new();
    for group in 0..GROUPS {
        let noise = Recorded::new(SEED, group);
        let exact = reference(&noise);
        for (i, entry) in methods(&noise).iter().enumerate() {
            if table.len() == i {
                table.push((entry.method, Vec::new()));
            }
            let error = |n| rms(&position(&end(generator, entry.stepper(), start.clone(), n)), &exact);
            table[i].1.push(slope(error));
        }
    }
    table.into_iter().map(|(method, slopes)| (method, Estimate::mean(&slopes))).collect()
}

fn check(table: Vec<(Method, Estimate)>) {
    for (method, slope) in &table {
        println!("{}: strong {:.3} +- {:.3}, {}", method.title, slope.value, slope.standard_error, method.order);
    }
    let off = |(method, slope): &(Method, Estimate)| (slope.value - method.order).abs() + 2.0 * slope.standard_error;
    let wrong: Vec<_> = table.iter().filter(|line| off(line) >= 0.15).map(|(m, s)| (m.title, m.order, s)).collect();
    assert!(wrong.is_empty(), "strong orders, stated and observed: {wrong:#?}");
}

#[test]
fn additive_noise() {
    let start = [additive::START; PATHS];
    check(slopes(&additive::sde(), sde_methods, &start, additive::reference, |x| *x));
}

#[test]
fn diagonal_noise_against_the_closed_form() {
    let start = [diagonal::START; PATHS];
    let methods = |noise: &Recorded| diagonal_sde_methods(noise, &diagonal::DERIVATIVE);
    check(slopes(&diagonal::ito(), methods, &start, diagonal::reference, |x| *x));
}

#[test]
fn diagonal_noise_in_the_sense_of_stratonovich() {
    let start = [diagonal::START; PATHS];
    let methods = |noise: &Recorded| stratonovich_methods(noise);
    check(slopes(&diagonal::stratonovich(), methods, &start, diagonal::reference, |x| *x));
}

#[test]
fn a_linear_part_apart() {
    let start = [additive::START; PATHS];
    check(slopes(&semilinear(), semilinear_methods, &start, additive::reference, |x| *x));
}

const FRICTION: f64 = 1.3;

fn pendulum() -> UnderdampedLangevin<fn(Paths, &Times) -> Paths> {
    UnderdampedLangevin { force: |q, _t| q.map(|q| -2.0 * q.sin() - 0.5 * q), friction: FRICTION, temperature: 0.7 }
}

/// Langevin dynamics by its Ito-Taylor expansion to strong order 2, on the finest grid.
fn langevin_reference(noise: &Recorded) -> Paths {
    let h = 1.0 / noise.finest().len() as f64;
    let sigma = (2.0 * FRICTION * 0.7_f64).sqrt();
    let (mut q, mut p): (Paths, Paths) = ([1.0; PATHS], [0.5; PATHS]);
    for (w, area) in noise.finest() {
        for i in 0..PATHS {
            let (force, slope) = (-2.0 * q[i].sin() - 0.5 * q[i], -2.0 * q[i].cos() - 0.5);
            let rate = force - FRICTION * p[i];
            let double = h * (0.5 * w[i] + area[i]);
            let next = p[i] + h * rate + sigma * w[i] + 0.5 * h * h * (slope * p[i] - FRICTION * rate)
                - FRICTION * sigma * double;
            q[i] += h * p[i] + 0.5 * h * h * rate + sigma * double;
            p[i] = next;
        }
    }
    q
}

#[test]
fn langevin_dynamics() {
    let start = ([1.0; PATHS], [0.5; PATHS]);
    check(slopes(&pendulum(), langevin_methods, &start, langevin_reference, |x| x.0));
}

#[test]
fn the_references_agree_with_each_other_and_with_closed_forms() {
    // The closed form of the diagonal problem against the method of order 1.5 on its finest grid; the additive
    // reference with the linear drift of a rewritten problem is checked by the semilinear method on the same path.
    let noise = Recorded::new(SEED, 77);
    let fine = end(&diagonal::ito(), SRI2W1.stepper(noise.clone()), [diagonal::START; PATHS], 4096);
    let error = rms(&fine, &diagonal::reference(&noise));
    assert!(error < 2e-5, "{error:.2e}");
    let fine = end(&additive::sde(), SRA3.stepper(noise.clone()), [additive::START; PATHS], 4096);
    let error = rms(&fine, &additive::reference(&noise));
    assert!(error < 2e-5, "{error:.2e}");
}

fn sra_order<const S: usize>(table: SraTableau<S>, noise: &Recorded, exact: &Paths) -> f64 {
    slope(|n| rms(&end(&additive::sde(), table.stepper(noise.clone()), [additive::START; PATHS], n), exact))
}

fn sri_order(table: SriTableau, noise: &Recorded, exact: &Paths) -> f64 {
    slope(|n| rms(&end(&diagonal::ito(), table.stepper(noise.clone()), [diagonal::START; PATHS], n), exact))
}

fn weights_of_sra<const S: usize>(table: SraTableau<S>, noise: &Recorded, exact: &Paths) {
    let weights: [fn(&mut SraTableau<S>) -> &mut [f64; S]; 3] = [|t| &mut t.alpha, |t| &mut t.beta, |t| &mut t.gamma];
    for (which, pick) in weights.into_iter().enumerate() {
        for i in 0..S {
            let mut mutated = table;
            pick(&mut mutated)[i] += 0.1;
            let order = sra_order(mutated, noise, exact);
            assert!(order < 0.5, "{}: weight {which}[{i}] off by 0.1, order {order:.3}", table.name);
        }
    }
}

#[test]
fn a_wrong_weight_lowers_the_observed_order() {
    // That the tests above see every weight; the coefficients of the stages are judged by the order conditions, too.
    let noise = Recorded::new(SEED, 0);
    let exact = additive::reference(&noise);
    weights_of_sra(SRA1, &noise, &exact);
    weights_of_sra(SRA2, &noise, &exact);
    weights_of_sra(SRA3, &noise, &exact);
    let exact = diagonal::reference(&noise);
    for table in [SRI1W1, SRI2W1] {
        let weights: [fn(&mut SriTableau) -> &mut [f64; 4]; 5] =
            [|t| &mut t.alpha, |t| &mut t.beta1, |t| &mut t.beta2, |t| &mut t.beta3, |t| &mut t.beta4];
        for (which, pick) in weights.into_iter().enumerate() {
            for i in 0..4 {
                let mut mutated = table;
                pick(&mut mutated)[i] += 0.1;
                let order = sri_order(mutated, &noise, &exact);
                assert!(order < 0.5, "{}: weight {which}[{i}] off by 0.1, order {order:.3}", table.name);
            }
        }
        for i in 1..4 {
            for j in (0..i).filter(|&j| table.b1[i][j] != 0.0) {
                let mut mutated = table;
                mutated.b1[i][j] += 0.1;
                let order = sri_order(mutated, &noise, &exact);
                assert!(order < 1.0, "{}: b1[{i}][{j}] off by 0.1, order {order:.3}", table.name);
            }
        }
    }
}
