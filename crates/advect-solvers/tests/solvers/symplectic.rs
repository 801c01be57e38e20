//! Symplectic methods: order, energy, reversal, area.

use crate::catalog::Plain;
use advect_analytic::order::observed;
use advect_solvers::{Counted, Entry, Separable, SolveError, Stepper, TimeGrid, Times, solve, symplectic_methods};

type Pendulum = Separable<Plain, Plain>;
type Pair = (f64, f64);

fn pendulum() -> Pendulum {
    Separable { velocity: |p, _t| p, force: |q, _t| -q.sin() }
}

fn energy((q, p): Pair) -> f64 {
    0.5 * p * p - q.cos()
}

fn entries() -> Vec<Entry<Pendulum, Pair>> {
    symplectic_methods()
}

/// A spring that stiffens, H = p^2 e^-t / 2 + q^2 e^t / 2, driven so that q = sin t: both parts depend on time.
fn driven() -> Pendulum {
    // q' = p e^-t with p = e^t cos t; p' = e^t (cos t - sin t) = -q e^t + e^t cos t.
    Separable { velocity: |p, t| p * (-t.at(0)).exp(), force: |q, t| t.at(0).exp() * (t.at(0).cos() - q) }
}

#[test]
fn the_order_shows_where_both_parts_depend_on_time() {
    let solution = |t: f64| (t.sin(), t.exp() * t.cos());
    for entry in entries() {
        for (from, to) in [(0.0, 2.0), (2.0, 0.0)] {
            let fit = observed(64, 3, |n| {
                let grid = TimeGrid::uniform(from, to, n).unwrap();
                let (q, p) = solve(&driven(), entry.stepper(), solution(from), &grid).unwrap();
                (q - solution(to).0).hypot(p - solution(to).1)
            });
            let name = entry.method.name;
            println!("{name}: {:.3}", fit.slope);
            assert!((fit.slope - entry.method.order).abs() < 0.1, "{name}: {:.3}", fit.slope);
        }
    }
}

#[test]
fn the_order_shows_on_a_nonlinear_system() {
    // Small oscillations have no closed form; a thousandth of the step by another method (RK4) is the truth.
    let field = advect_solvers::shared(|[q, p]: [f64; 2], _t: f64| [p, -q.sin()]);
    let grid = TimeGrid::uniform(0.0, 3.0, 20_000).unwrap();
    let exact = solve(&field, advect_solvers::RK4.stepper(), [2.0, 0.0], &grid).unwrap();
    for entry in entries() {
        let fit = observed(64, 3, |n| {
            let grid = TimeGrid::uniform(0.0, 3.0, n).unwrap();
            let (q, p) = solve(&pendulum(), entry.stepper(), (2.0, 0.0), &grid).unwrap();
            (q - exact[0]).hypot(p - exact[1])
        });
        assert!((fit.slope - entry.method.order).abs() < 0.1, "{}: {:.3}", entry.method.name, fit.slope);
    }
}

#[test]
fn the_energy_does_not_drift_in_a_hundred_thousand_steps() {
    let steps = 100_000;
    let h = 0.1;
    for entry in entries() {
        let mut stepper = entry.stepper();
        let (mut x, mut early, mut late): (Pair, f64, f64) = ((2.0, 0.0), 0.0, 0.0);
        for i in 0..steps {
            let (from, to) = (Times::Shared(h * i as f64), Times::Shared(h * (i + 1) as f64));
            x = stepper.step(&pendulum(), x, &from, &to).unwrap().x;
            let error = (energy(x) - energy((2.0, 0.0))).abs();
            if i < 1_000 {
                early = early.max(error);
            } else if i >= steps - 1_000 {
                late = late.max(error);
            }
        }
        println!("{}: {early:e} {late:e}", entry.method.name);
        assert!(late < 1.05 * early + 1e-11, "{}: {early:e} at first, {late:e} at last", entry.method.name);
    }
    // Heun at the same step does drift: the bound means something.
    let field = advect_solvers::shared(|[q, p]: [f64; 2], _t: f64| [p, -q.sin()]);
    let run = |n: usize| {
        let grid = TimeGrid::uniform(0.0, h * n as f64, n).unwrap();
        let [q, p] = solve(&field, advect_solvers::HEUN.stepper(), [2.0, 0.0], &grid).unwrap();
        (energy((q, p)) - energy((2.0, 0.0))).abs()
    };
    assert!(run(10_000) > 5.0 * run(1_000));
}

#[test]
fn back_in_time_the_start_returns_to_round_off() {
    for entry in entries() {
        for system in [pendulum(), driven()] {
            let start = (0.7, -0.3);
            let end = solve(&system, entry.stepper(), start, &TimeGrid::uniform(0.0, 4.0, 40).unwrap()).unwrap();
            let back = solve(&system, entry.stepper(), end, &TimeGrid::uniform(4.0, 0.0, 40).unwrap()).unwrap();
            let size = end.0.hypot(end.1).max(1.0);
            let miss = (back.0 - start.0).hypot(back.1 - start.1) / size;
            assert!(miss < 1e-13, "{}: {miss:e}", entry.method.name);
        }
    }
}

#[test]
fn area_is_kept() {
    // The determinant of the derivative of 20 steps, by central differences: their error is about 1e-9 here.
    let grid = TimeGrid::uniform(0.0, 4.0, 20).unwrap();
    let determinant = |run: &dyn Fn(Pair) -> Pair| {
        let d = 1e-5;
        let column = |plus: Pair, minus: Pair| ((plus.0 - minus.0) / (2.0 * d), (plus.1 - minus.1) / (2.0 * d));
        let by_q = column(run((0.7 + d, 0.4)), run((0.7 - d, 0.4)));
        let by_p = column(run((0.7, 0.4 + d)), run((0.7, 0.4 - d)));
        by_q.0 * by_p.1 - by_q.1 * by_p.0
    };
    for entry in entries() {
        let area = determinant(&|x| solve(&pendulum(), entry.stepper(), x, &grid).unwrap());
        assert!((area - 1.0).abs() < 1e-8, "{}: {area}", entry.method.name);
    }
    let field = advect_solvers::shared(|[q, p]: [f64; 2], _t: f64| [p, -q.sin()]);
    let area = determinant(&|(q, p)| {
        let [q, p] = solve(&field, advect_solvers::HEUN.stepper(), [q, p], &grid).unwrap();
        (q, p)
    });
    assert!((area - 1.0).abs() > 1e-3, "Heun is not symplectic, {area}");
}

#[test]
fn evaluations_are_those_of_the_list_and_the_last_force_is_used_again() {
    for entry in symplectic_methods::<Plain, Counted<Plain>, f64>() {
        let system = Separable { velocity: (|p, _t| p) as Plain, force: Counted::new((|q, _t| -q) as Plain) };
        let mut stepper = entry.stepper();
        solve(&system, &mut stepper, (1.0, 0.0), &TimeGrid::uniform(0.0, 1.0, 10).unwrap()).unwrap();
        assert_eq!(system.force.calls() as f64, 1.0 + 10.0 * entry.method.evaluations, "{}", entry.method.name);
        // A new solve starts with a restart: no force of another state.
        let again = solve(&system, &mut stepper, (3.0, 1.0), &TimeGrid::uniform(0.0, 1.0, 10).unwrap()).unwrap();
        let fresh = solve(&system, entry.stepper(), (3.0, 1.0), &TimeGrid::uniform(0.0, 1.0, 10).unwrap()).unwrap();
        assert_eq!(again, fresh);
    }
}

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let rows = Separable {
        velocity: (|p, t| p.into_iter().enumerate().map(|(r, p)| p * (-t.at(r)).exp()).collect())
            as fn(Vec<f64>, &Times) -> Vec<f64>,
        force: (|q, t| {
            q.into_iter().enumerate().map(|(r, q): (usize, f64)| t.at(r).exp() * (t.at(r).cos() - q)).collect()
        }) as fn(Vec<f64>, &Times) -> Vec<f64>,
    };
    let (from, to) = (Times::Each(vec![0.0, 1.0, 0.5]), Times::Each(vec![0.5, 0.25, 0.5]));
    let start = (vec![0.3, 0.7, 1.1], vec![1.0, -0.5, 0.2]);
    for (one, many) in entries().into_iter().zip(symplectic_methods()) {
        let step = many.stepper().step(&rows, start.clone(), &from, &to).unwrap();
        assert_eq!(step.at, to);
        for row in 0..3 {
            let (from, to) = (Times::Shared(from.at(row)), Times::Shared(to.at(row)));
            let alone = one.stepper().step(&driven(), (start.0[row], start.1[row]), &from, &to).unwrap();
            assert_eq!((step.x.0[row], step.x.1[row]), alone.x, "{}", one.method.name);
        }
    }
}

#[test]
fn a_force_that_is_not_finite_is_an_error_with_its_time() {
    let system: Pendulum = Separable { velocity: |p, _t| p, force: |q, t| if t.at(0) > 0.55 { f64::NAN } else { -q } };
    for entry in entries() {
        let grid = TimeGrid::uniform(0.0, 1.0, 10).unwrap();
        let error = solve(&system, entry.stepper(), (1.0, 0.0), &grid).unwrap_err();
        assert!(matches!(error, SolveError::NotFinite { time, .. } if (0.4..0.61).contains(&time)), "{error}");
    }
}
