//! Adams methods: published coefficients, memory, rows that wait.

use crate::problems::{scalar, scalar_rows};
use advect_solvers::{
    AdamsBashforth, AdamsBashforthMoulton, Field, SolveError, State, Stepper, TimeGrid, Times, shared, solve,
};

/// The weights of the slopes in a step of size one, newest first, read off a stepper by slopes that are marked.
fn weights<S: Stepper<dyn Field<[f64; 5]>, [f64; 5]>>(mut stepper: S, steps: usize) -> [f64; 5] {
    // In step i the slope is the unit vector i; the last component belongs to the corrector's new slope.
    let field = |_: [f64; 5], t: &Times| {
        let mut slope = [0.0; 5];
        slope[t.at(0).round() as usize] = 1.0;
        slope
    };
    let mut x = [0.0; 5];
    let mut before = x;
    for i in 0..steps {
        before = x;
        let (from, to) = (Times::Shared(i as f64), Times::Shared((i + 1) as f64));
        x = stepper.step(&field as &dyn Field<[f64; 5]>, x, &from, &to).unwrap().x;
    }
    x.combine(1.0, &[(-1.0, &before)])
}

fn close(weights: [f64; 5], published: &[f64]) {
    for (i, weight) in weights.iter().enumerate() {
        assert!((weight - published.get(i).unwrap_or(&0.0)).abs() < 1e-14, "{weights:?} {published:?}");
    }
}

#[test]
fn on_equal_steps_the_coefficients_are_the_published_ones() {
    // Hairer, Norsett & Wanner I, III.1, eq. 1.5 and 1.9', oldest slope first.
    close(weights(AdamsBashforth::<2, _>::new(), 2), &[-1.0 / 2.0, 3.0 / 2.0]);
    close(weights(AdamsBashforth::<3, _>::new(), 3), &[5.0 / 12.0, -16.0 / 12.0, 23.0 / 12.0]);
    close(weights(AdamsBashforth::<4, _>::new(), 4), &[-9.0 / 24.0, 37.0 / 24.0, -59.0 / 24.0, 55.0 / 24.0]);
    close(weights(AdamsBashforthMoulton::<2, _>::new(), 2), &[0.0, 1.0 / 2.0, 1.0 / 2.0]);
    close(weights(AdamsBashforthMoulton::<3, _>::new(), 3), &[0.0, -1.0 / 12.0, 8.0 / 12.0, 5.0 / 12.0]);
    close(weights(AdamsBashforthMoulton::<4, _>::new(), 4), &[0.0, 1.0 / 24.0, -5.0 / 24.0, 19.0 / 24.0, 9.0 / 24.0]);
}

#[test]
fn polynomials_are_integrated_exactly_on_any_grid() {
    // dx/dt a polynomial of degree K - 1: no error but round-off, wherever the steps are.
    fn check<S: Stepper<dyn Field<f64>, f64>>(stepper: S, degree: i32) {
        let field = shared(move |_: f64, t: f64| f64::from(degree + 1) * t.powi(degree));
        let grid = TimeGrid::new(vec![5.0, 5.4, 5.5, 6.3, 6.31, 7.0, 7.9]).unwrap();
        let end = solve(&field as &dyn Field<f64>, stepper, 5.0_f64.powi(degree + 1), &grid).unwrap();
        let exact = 7.9_f64.powi(degree + 1);
        assert!((end / exact - 1.0).abs() < 1e-14, "{degree}: {end} {exact}");
    }
    check(AdamsBashforth::<2, f64>::new(), 1);
    check(AdamsBashforth::<3, f64>::new(), 2);
    check(AdamsBashforth::<4, f64>::new(), 3);
    check(AdamsBashforthMoulton::<2, f64>::new(), 1);
    check(AdamsBashforthMoulton::<3, f64>::new(), 2);
    check(AdamsBashforthMoulton::<4, f64>::new(), 3);
}

#[test]
fn restart_forgets_the_slopes() {
    fn check<S: Stepper<dyn Field<f64>, f64>>(mut stepper: S) {
        let field = shared(scalar::slope);
        let field = &field as &dyn Field<f64>;
        let grid = TimeGrid::uniform(0.0, 1.0, 9).unwrap();
        let first = solve(field, &mut stepper, 1.0, &grid).unwrap();
        let other = shared(|x: f64, _t: f64| 3.0 * x);
        solve(&other as &dyn Field<f64>, &mut stepper, 1.0, &grid).unwrap();
        assert_eq!(solve(field, &mut stepper, 1.0, &grid).unwrap(), first);
    }
    check(AdamsBashforth::<4, f64>::new());
    check(AdamsBashforthMoulton::<4, f64>::new());
}

#[test]
fn rows_on_grids_of_their_own_keep_the_order_and_may_wait() {
    // Row 0 runs evenly, row 1 unevenly and down, row 2 stands still in every third step and at its end.
    fn error<S: Stepper<dyn Field<Vec<f64>>, Vec<f64>>>(mut stepper: S, n: usize) -> f64 {
        let at = |i: usize| {
            let s = i as f64 / n as f64;
            let waits = (i - i / 3).min(n / 2) as f64 / n as f64;
            Times::Each(vec![s, 1.0 - s * s, waits])
        };
        let exact = |i: usize| -> Vec<f64> { (0..3).map(|r| scalar::solution(1.0, at(i).at(r))).collect() };
        let mut x = exact(0);
        for i in 0..n {
            let step = stepper.step(&scalar_rows as &dyn Field<Vec<f64>>, x, &at(i), &at(i + 1)).unwrap();
            x = step.x;
            assert_eq!(step.at, at(i + 1));
        }
        x.iter().zip(exact(n)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
    // 768 steps of about 1/768: an order lower would be a thousand times off.
    for (error, bound) in [
        (error(AdamsBashforth::<2, _>::new(), 768), 3e-6),
        (error(AdamsBashforth::<4, _>::new(), 768), 1e-12),
        (error(AdamsBashforthMoulton::<2, _>::new(), 768), 3e-6),
        (error(AdamsBashforthMoulton::<4, _>::new(), 768), 1e-12),
    ] {
        println!("{error:e}");
        assert!(error < bound, "{error:e}");
    }
}

#[test]
fn a_solve_that_turns_round_meets_its_old_times() {
    let field = shared(scalar::slope);
    let mut stepper = AdamsBashforthMoulton::<4, f64>::new();
    let mut x = scalar::solution(1.0, 0.0);
    for pair in [0.0, 0.01, 0.02, 0.03, 0.04, 0.03, 0.02, 0.01, 0.0].windows(2) {
        x = stepper.step(&field, x, &pair[0].into(), &pair[1].into()).unwrap().x;
        assert!((x - scalar::solution(1.0, pair[1])).abs() < 1e-7, "{x} at {}", pair[1]);
    }
}

#[test]
fn what_is_not_finite_is_an_error_with_its_time() {
    let field = shared(|x: f64, t: f64| if t > 0.55 { f64::NAN } else { -x });
    let grid = TimeGrid::uniform(0.0, 1.0, 10).unwrap();
    for result in [
        solve(&field, AdamsBashforth::<3, f64>::new(), 1.0, &grid),
        solve(&field, AdamsBashforthMoulton::<3, f64>::new(), 1.0, &grid),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, SolveError::NotFinite { time, .. } if (0.49..0.61).contains(&time)), "{error}");
    }
}
