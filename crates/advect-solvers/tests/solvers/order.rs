//! The observed order of every method in the list.

use crate::methods::{self, Method};
use crate::problems::{scalar, scalar_rows, system, system_rows};
use advect_analytic::order::observed;
use advect_solvers::{Field, Stepper, TimeGrid, Times, shared, solve};

fn check(name: &str, order: u32, error: impl FnMut(usize) -> f64) {
    // Low orders need more steps before the next term of the error is small, high orders fewer, so that the error
    // stays above round-off after 3 halvings.
    let first = match order {
        0..=3 => 96,
        4 => 40,
        _ => 16,
    };
    let fit = observed(first, 3, error);
    assert!((fit.slope - f64::from(order)).abs() < 0.1, "{name}: order {order}, observed {:.3}", fit.slope);
}

fn scalar_error(method: &mut Method<f64>, from: f64, to: f64, steps: usize) -> f64 {
    let field = shared(|x: f64, t: f64| scalar::slope(x, t));
    let grid = TimeGrid::uniform(from, to, steps).unwrap();
    let square = |x0: f64| {
        let start = scalar::solution(x0, from);
        let end = solve(&field as &dyn Field<f64>, &mut *method.stepper, start, &grid).unwrap();
        (end - scalar::solution(x0, to)).powi(2)
    };
    scalar::STARTS.map(square).iter().sum::<f64>().sqrt()
}

fn system_error(method: &mut Method<[f64; 2]>, from: f64, to: f64, steps: usize) -> f64 {
    let field = shared(|x: [f64; 2], t: f64| system::slope(x, t));
    let grid = TimeGrid::uniform(from, to, steps).unwrap();
    let end = solve(&field as &dyn Field<[f64; 2]>, &mut *method.stepper, system::solution(from), &grid).unwrap();
    let exact = system::solution(to);
    (end[0] - exact[0]).hypot(end[1] - exact[1])
}

#[test]
fn a_nonlinear_time_dependent_equation_up_in_time() {
    for mut method in methods::all() {
        check(&method.name.clone(), method.order, |n| scalar_error(&mut method, 0.0, 0.75, n));
    }
}

#[test]
fn a_nonlinear_time_dependent_equation_down_in_time() {
    for mut method in methods::all() {
        check(&method.name.clone(), method.order, |n| scalar_error(&mut method, 0.75, 0.0, n));
    }
}

#[test]
fn a_system_up_in_time() {
    for mut method in methods::all() {
        check(&method.name.clone(), method.order, |n| system_error(&mut method, 0.0, 1.0, n));
    }
}

#[test]
fn a_system_down_in_time() {
    for mut method in methods::all() {
        check(&method.name.clone(), method.order, |n| system_error(&mut method, 1.0, 0.0, n));
    }
}

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let starts = [0.0, 0.25, 1.0, 0.9];
    let ends = [0.5, 1.0, 0.125, 0.9];
    let x: Vec<f64> = vec![0.3, 0.7, 1.1, -0.4];
    let pairs: Vec<[f64; 2]> = x.iter().map(|x| [x.exp(), 2.0]).collect();
    for (mut one, mut many) in methods::all::<f64>().into_iter().zip(methods::all::<Vec<f64>>()) {
        let (from, to) = (Times::Each(starts.to_vec()), Times::Each(ends.to_vec()));
        let field: &dyn Field<Vec<f64>> = &scalar_rows;
        let step = many.stepper.step(field, x.clone(), &from, &to).unwrap();
        assert_eq!(step.at, to);
        let field = shared(|x: f64, t: f64| scalar::slope(x, t));
        for row in 0..x.len() {
            let (from, to) = (Times::Shared(starts[row]), Times::Shared(ends[row]));
            let alone = one.stepper.step(&field as &dyn Field<f64>, x[row], &from, &to).unwrap();
            assert_eq!(step.x[row].to_bits(), alone.x.to_bits(), "{}, row {row}", one.name);
            assert_eq!(alone.at, to);
        }
    }
    for (mut one, mut many) in methods::all::<[f64; 2]>().into_iter().zip(methods::all::<Vec<[f64; 2]>>()) {
        // Each may start from Shared and end at Shared.
        let (from, to) = (Times::Shared(0.5), Times::Each(ends.to_vec()));
        let field: &dyn Field<Vec<[f64; 2]>> = &system_rows;
        let step = many.stepper.step(field, pairs.clone(), &from, &to).unwrap();
        let field = shared(|x: [f64; 2], t: f64| system::slope(x, t));
        for row in 0..x.len() {
            let to = Times::Shared(ends[row]);
            let alone = one.stepper.step(&field as &dyn Field<[f64; 2]>, pairs[row], &from, &to).unwrap();
            assert_eq!(step.x[row], alone.x, "{}, row {row}", one.name);
        }
    }
}

#[test]
fn the_field_sees_the_ends_bit_for_bit() {
    // 0.3 + (0.9 - 0.3) > 0.9 in f64: a schedule that ends at 0.9 must not be asked beyond it.
    let seen = std::cell::RefCell::new(Vec::new());
    let field = |x: f64, t: &Times| {
        seen.borrow_mut().push(t.at(0));
        x
    };
    let (from, to): (f64, f64) = (0.3, 0.9);
    assert!(from + (to - from) > to);
    for result in [
        advect_solvers::HEUN.stepper().step(&field, 1.0, &from.into(), &to.into()),
        advect_solvers::RK4.stepper().step(&field, 1.0, &from.into(), &to.into()),
        advect_solvers::DOPRI5.stepper().step(&field, 1.0, &from.into(), &to.into()),
    ] {
        assert_eq!(result.unwrap().at, Times::Shared(to));
    }
    assert!(seen.borrow().iter().all(|t| (from..=to).contains(t)), "{:?}", seen.borrow());
    assert_eq!(seen.borrow().iter().filter(|t| **t == to).count(), 3);
}
