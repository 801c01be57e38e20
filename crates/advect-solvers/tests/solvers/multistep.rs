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
fn rows_on_grids_of_their_own_equal_rows_on_their_own() {
    // Row 0 runs evenly, row 1 unevenly and down, row 2 unevenly; each has coefficients of its own.
    fn check<A, B>(mut one: A, mut many: B)
    where
        A: Stepper<dyn Field<f64>, f64>,
        B: Stepper<dyn Field<Vec<f64>>, Vec<f64>>,
    {
        let grids: [Vec<f64>; 3] = [
            vec![0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            vec![1.0, 0.9, 0.7, 0.65, 0.4, 0.35, 0.1],
            vec![0.2, 0.21, 0.4, 0.5, 0.75, 0.8, 1.0],
        ];
        let at = |i: usize| Times::Each(grids.iter().map(|grid| grid[i]).collect());
        let mut x = vec![0.5, 1.0, 1.5];
        for i in 0..6 {
            x = many.step(&scalar_rows as &dyn Field<Vec<f64>>, x, &at(i), &at(i + 1)).unwrap().x;
        }
        for (row, grid) in grids.iter().enumerate() {
            let field = shared(scalar::slope);
            let grid = TimeGrid::new(grid.clone()).unwrap();
            let alone = solve(&field as &dyn Field<f64>, &mut one, [0.5, 1.0, 1.5][row], &grid).unwrap();
            assert_eq!(x[row].to_bits(), alone.to_bits(), "row {row}");
        }
    }
    check(AdamsBashforth::<2, _>::new(), AdamsBashforth::<2, _>::new());
    check(AdamsBashforth::<4, _>::new(), AdamsBashforth::<4, _>::new());
    check(AdamsBashforthMoulton::<3, _>::new(), AdamsBashforthMoulton::<3, _>::new());
    check(AdamsBashforthMoulton::<4, _>::new(), AdamsBashforthMoulton::<4, _>::new());
}

#[test]
fn rows_may_wait_without_loss_of_order() {
    // Row 0 runs evenly, row 1 unevenly and down, row 2 stands still now and then, and at its end.
    fn error<S: Stepper<dyn Field<Vec<f64>>, Vec<f64>>>(mut stepper: S, n: usize) -> f64 {
        let at = |i: usize| {
            let s = i as f64 / n as f64;
            let waits = (i - i.min(n / 2) / 3).min(3 * n / 4) as f64 / n as f64;
            Times::Each(vec![s, 1.0 - s * s, waits])
        };
        let exact = |i: usize| -> Vec<f64> { (0..3).map(|r| scalar::solution(1.0, at(i).at(r))).collect() };
        let mut x = exact(0);
        for i in 0..n {
            let step = stepper.step(&scalar_rows as &dyn Field<Vec<f64>>, x, &at(i), &at(i + 1)).unwrap();
            x = step.x;
            assert_eq!(step.at, at(i + 1));
        }
        x.iter().zip(exact(n)).map(|(a, b)| (a - b).abs()).sum()
    }
    let order = |errors: [f64; 2]| (errors[0] / errors[1]).log2();
    let orders = [
        (2.0, order([384, 768].map(|n| error(AdamsBashforth::<2, _>::new(), n)))),
        (4.0, order([96, 192].map(|n| error(AdamsBashforth::<4, _>::new(), n)))),
        (2.0, order([384, 768].map(|n| error(AdamsBashforthMoulton::<2, _>::new(), n)))),
        (4.0, order([96, 192].map(|n| error(AdamsBashforthMoulton::<4, _>::new(), n)))),
    ];
    assert!(orders.iter().all(|(order, observed)| (observed - order).abs() < 0.2), "{orders:?}");
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
