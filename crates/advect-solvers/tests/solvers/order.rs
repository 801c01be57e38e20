//! The observed order of every method in the list.

use crate::problems::{Rotation, scalar, scalar_rows, system, system_rows};
use advect_analytic::order::observed;
use advect_solvers::{BOSH3, Counted, DOPRI5, Family, Field, HEUN_EULER, Method, Stepper, TSIT5, Tableau};
use advect_solvers::{Entry, TimeGrid, Times, ode_methods, shared, solve, trajectory};

type System = [f64; 2];

fn entries<X: advect_solvers::State + 'static>() -> Vec<Entry<dyn Field<X>, X>> {
    ode_methods()
}

/// High orders need few steps, so that the error stays above round-off after 3 halvings; low orders need more before
/// the next term of the error is small.
fn first(order: f64) -> usize {
    match order {
        ..4.0 => 256,
        4.0 => 128,
        5.0 => 64,
        _ => 16,
    }
}

fn check(name: &str, order: f64, first: usize, error: impl FnMut(usize) -> f64) {
    let fit = observed(first, 3, error);
    println!("{name}: order {order}, observed {:.3}", fit.slope);
    assert!((fit.slope - order).abs() < 0.1, "{name}: order {order}, observed {:.3}", fit.slope);
}

/// The root mean square of the error at eight times, so that it cannot vanish by chance.
fn rotation_error(entry: &Entry<dyn Field<System>, System>, grid: impl Fn(f64, usize) -> TimeGrid, n: usize) -> f64 {
    let (rotation, end) = match entry.method.order {
        ..6.0 => (Rotation { depth: 0.2, frequency: 1.0 }, 4.0),
        _ => (Rotation { depth: 0.5, frequency: 2.0 }, 8.0),
    };
    let field = shared(move |x: System, t: f64| rotation.slope(x, t));
    let grid = grid(end, n);
    let start = rotation.solution(grid.start());
    let mut squares = 0.0;
    for (i, state) in trajectory(&field as &dyn Field<System>, entry.stepper(), start, &grid).enumerate() {
        let (t, x) = state.unwrap();
        if i > 0 && i % (n / 8) == 0 {
            let exact = rotation.solution(t.at(0));
            squares += (x[0] - exact[0]).powi(2) + (x[1] - exact[1]).powi(2);
        }
    }
    (squares / 8.0).sqrt()
}

#[test]
fn every_method_has_its_order_up_in_time() {
    let grid = |end: f64, n: usize| TimeGrid::uniform(0.0, end, n).unwrap();
    for entry in entries() {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order), |n| rotation_error(&entry, grid, n));
    }
}

#[test]
fn every_method_has_its_order_down_in_time() {
    let grid = |end: f64, n: usize| TimeGrid::uniform(end, 0.0, n).unwrap();
    for entry in entries() {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order), |n| rotation_error(&entry, grid, n));
    }
}

#[test]
fn multistep_methods_keep_their_order_on_a_graded_grid() {
    // Quadratic: the first steps grow by factors of 3, 5/3, 7/5, ...
    let up = |end: f64, n: usize| TimeGrid::new((0..=n).map(|i| end * (i as f64 / n as f64).powi(2)).collect());
    let down =
        |end: f64, n: usize| TimeGrid::new((0..=n).map(|i| end * (1.0 - (i as f64 / n as f64).powi(2))).collect());
    for entry in entries().into_iter().filter(|entry| entry.method.family == Family::Multistep) {
        let Method { name, order, .. } = entry.method;
        check(name, order, 512, |n| rotation_error(&entry, |end, n| up(end, n).unwrap(), n));
        check(name, order, 512, |n| rotation_error(&entry, |end, n| down(end, n).unwrap(), n));
    }
}

#[test]
fn multistep_methods_keep_their_order_on_a_random_grid() {
    // Every inner point moved by up to 0.4 steps either way: neighboring steps differ by up to nine times.
    let grid = |end: f64, n: usize| {
        let mut state = 20_261_122_u64;
        let point = |i: usize| {
            // The 64-bit generator of L'Ecuyer, its upper bits.
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let shift = 0.8 * ((state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5);
            // The points where the error is read stay, so that all grids read it at the same times.
            let shift = if i.is_multiple_of(n / 8) { 0.0 } else { shift };
            end * (i as f64 + shift) / n as f64
        };
        TimeGrid::new((0..=n).map(point).collect()).unwrap()
    };
    for entry in entries().into_iter().filter(|entry| entry.method.family == Family::Multistep) {
        let Method { name, order, .. } = entry.method;
        check(name, order, 256, |n| rotation_error(&entry, grid, n));
    }
}

#[test]
fn a_stiffer_equation_and_a_system_whose_rates_change() {
    // Two more problems, for orders up to 4: the errors of higher ones are near round-off before they are asymptotic.
    let field = shared(scalar::slope);
    let scalar_error = |entry: &Entry<dyn Field<f64>, f64>, from: f64, to: f64, n: usize| {
        let grid = TimeGrid::uniform(from, to, n).unwrap();
        let square = |x0: f64| {
            let start = scalar::solution(x0, from);
            let end = solve(&field as &dyn Field<f64>, entry.stepper(), start, &grid).unwrap();
            (end - scalar::solution(x0, to)).powi(2)
        };
        scalar::STARTS.map(square).iter().sum::<f64>().sqrt()
    };
    for entry in entries::<f64>().into_iter().filter(|entry| entry.method.order < 5.0) {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order) / 2, |n| scalar_error(&entry, 0.0, 0.75, n));
        check(name, order, first(order) / 2, |n| scalar_error(&entry, 0.75, 0.0, n));
    }
    let field = shared(system::slope);
    let system_error = |entry: &Entry<dyn Field<System>, System>, from: f64, to: f64, n: usize| {
        let grid = TimeGrid::uniform(from, to, n).unwrap();
        let end = solve(&field as &dyn Field<System>, entry.stepper(), system::solution(from), &grid).unwrap();
        let exact = system::solution(to);
        (end[0] - exact[0]).hypot(end[1] - exact[1])
    };
    for entry in entries::<System>().into_iter().filter(|entry| entry.method.order < 5.0) {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order) / 2, |n| system_error(&entry, 0.0, 1.0, n));
        check(name, order, first(order) / 2, |n| system_error(&entry, 1.0, 0.0, n));
    }
}

#[test]
fn embedded_solutions_have_their_order() {
    fn entry<const S: usize>(tableau: Tableau<S>) -> Entry<dyn Field<System>, System> {
        let like = ode_methods::<dyn Field<System>, System>()[0].method;
        let method = Method { name: tableau.name, order: f64::from(tableau.order), ..like };
        Entry::new(method, move || tableau.stepper())
    }
    let grid = |end: f64, n: usize| TimeGrid::uniform(0.0, end, n).unwrap();
    // (That of Dopri8 is left to the order conditions: its next terms are large.)
    for entry in [HEUN_EULER.embedded()].map(entry).into_iter().chain([entry(BOSH3.embedded())]) {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order), |n| rotation_error(&entry, grid, n));
    }
    for entry in [DOPRI5.embedded(), TSIT5.embedded()].map(entry) {
        let Method { name, order, .. } = entry.method;
        check(name, order, first(order), |n| rotation_error(&entry, grid, n));
    }
}

#[test]
fn evaluations_a_step_are_those_of_the_list() {
    for entry in ode_methods::<Counted<fn(f64, &Times) -> f64>, f64>() {
        let calls = |n: usize| {
            let field = Counted::new((|x, t| scalar::slope(x, t.at(0))) as fn(f64, &Times) -> f64);
            solve(&field, entry.stepper(), 1.0, &TimeGrid::uniform(0.0, 1.0, n).unwrap()).unwrap();
            field.calls()
        };
        // In the long run: without the first steps of a multistep method.
        assert_eq!((calls(110) - calls(10)) as f64, 100.0 * entry.method.evaluations, "{}", entry.method.name);
    }
}

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let starts = [0.0, 0.25, 1.0, 0.9];
    let ends = [0.5, 1.0, 0.125, 0.9];
    let x: Vec<f64> = vec![0.3, 0.7, 1.1, -0.4];
    let pairs: Vec<[f64; 2]> = x.iter().map(|x| [x.exp(), 2.0]).collect();
    for (one, many) in entries::<f64>().into_iter().zip(entries::<Vec<f64>>()) {
        let (from, to) = (Times::Each(starts.to_vec()), Times::Each(ends.to_vec()));
        let field: &dyn Field<Vec<f64>> = &scalar_rows;
        let step = many.stepper().step(field, x.clone(), &from, &to).unwrap();
        assert_eq!(step.at, to);
        let field = shared(|x: f64, t: f64| scalar::slope(x, t));
        for row in 0..x.len() {
            let (from, to) = (Times::Shared(starts[row]), Times::Shared(ends[row]));
            let alone = one.stepper().step(&field as &dyn Field<f64>, x[row], &from, &to).unwrap();
            assert_eq!(step.x[row].to_bits(), alone.x.to_bits(), "{}, row {row}", one.method.name);
            assert_eq!(alone.at, to);
        }
    }
    for (one, many) in entries::<System>().into_iter().zip(entries::<Vec<System>>()) {
        // Each may start from Shared and end at Shared.
        let (from, to) = (Times::Shared(0.5), Times::Each(ends.to_vec()));
        let field: &dyn Field<Vec<[f64; 2]>> = &system_rows;
        let step = many.stepper().step(field, pairs.clone(), &from, &to).unwrap();
        let field = shared(|x: [f64; 2], t: f64| system::slope(x, t));
        for row in 0..x.len() {
            let to = Times::Shared(ends[row]);
            let alone = one.stepper().step(&field as &dyn Field<[f64; 2]>, pairs[row], &from, &to).unwrap();
            assert_eq!(step.x[row], alone.x, "{}, row {row}", one.method.name);
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
