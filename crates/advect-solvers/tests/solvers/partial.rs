//! What a solve reached before it failed, and the errors that say why.

use crate::problems::{scalar, scalar_rows};
use advect_solvers::{
    Adaptive, AdaptiveRows, BOSH3, CoreError, Counted, DOPRI5, DOPRI8, EULER, Field, HEUN_EULER, PidController, RK4,
    SolveError, State, Stepper, TSIT5, TimeGrid, Times, Tolerance, ode_methods, shared, solve, solve_partial,
    unconditional,
};

fn tolerance(tol: f64) -> Tolerance {
    Tolerance::new(tol, tol).unwrap()
}

fn grid(end: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(0.0, end, steps).unwrap()
}

fn adaptive<X: State>(tol: f64) -> Adaptive<advect_solvers::EmbeddedRungeKutta<7, X>> {
    Adaptive::new(DOPRI5.stepper(), tolerance(tol), PidController::standard())
}

#[test]
fn a_solve_that_succeeds_is_the_same() {
    let field = shared(scalar::slope);
    for entry in ode_methods::<dyn Field<f64>, f64>() {
        let field = &field as &dyn Field<f64>;
        let reached = solve_partial(field, entry.stepper(), 1.0, &grid(1.0, 7));
        assert!(reached.error.is_none());
        assert_eq!(reached.at, Times::Shared(1.0));
        assert_eq!(reached.x, solve(field, entry.stepper(), 1.0, &grid(1.0, 7)).unwrap());
    }
    let rows = unconditional(scalar_rows);
    let stepper = || AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-6), PidController::standard());
    let reached = solve_partial(&rows, stepper(), vec![0.5, 1.5], &grid(1.0, 3));
    assert_eq!(reached.x, solve(&rows, stepper(), vec![0.5, 1.5], &grid(1.0, 3)).unwrap());
    assert!(reached.error.is_none() && reached.at.reached(&Times::Shared(1.0)));
}

#[test]
fn of_a_spent_budget_the_state_and_its_time_remain() {
    let field = Counted::new(shared(scalar::slope));
    let reached = solve_partial(&field, adaptive(1e-10).max_steps(10), 1.0, &grid(5.0, 1));
    let Some(SolveError::TooManySteps { time, end: 5.0, step, limit: 10 }) = reached.error else {
        panic!("{:?}", reached.error)
    };
    assert_eq!(reached.at, Times::Shared(time));
    assert!(time > 0.05 && time < 5.0 && step > 0.0);
    // The state is the solution there, not that of a step that was thrown away.
    assert!((reached.x - scalar::solution(1.0, time)).abs() < 1e-9);
}

#[test]
fn row_by_row_each_row_is_where_it_came_to() {
    // Row 1 may not be solved beyond t = 1/2; rows 0 and 2 go on until it fails.
    let field = unconditional(|x: Vec<f64>, t: &Times| {
        let slope = |(row, x): (usize, f64)| match x {
            x if x < 0.0 && t.at(row) > 0.5 => f64::NAN,
            x => scalar::slope(x, t.at(row)),
        };
        x.into_iter().enumerate().map(slope).collect::<Vec<f64>>()
    });
    let start = [1.5, -0.5, 0.5];
    let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-8), PidController::standard());
    let reached = solve_partial(&field, stepper, start.to_vec(), &grid(1.0, 1));
    let Some(SolveError::Row { row: 1, source }) = reached.error else { panic!("{:?}", reached.error) };
    assert!(matches!(*source, SolveError::NotFinite { time, .. } if (time - 0.5).abs() < 1e-3), "{source}");
    assert!((reached.at.at(1) - 0.5).abs() < 1e-3 && reached.at.at(0) > 0.5);
    for row in 0..3 {
        let exact = scalar::solution(start[row], reached.at.at(row));
        assert!((reached.x[row] - exact).abs() < 1e-7, "row {row} at {}", reached.at);
    }
}

#[test]
fn a_least_step_leaves_what_came_before_the_jump() {
    let field = shared(|_x: f64, t: f64| if t < 0.5 { 1.0 } else { 1e9 });
    let reached = solve_partial(&field, adaptive(1e-8).min_step(1e-4).unwrap(), 0.0, &grid(1.0, 1));
    let Some(SolveError::StepTooSmall { time, step, norm, limit }) = reached.error else {
        panic!("{:?}", reached.error)
    };
    assert!((time - 0.5).abs() < 1e-3 && step.abs() < 1.000_001e-4 && norm > 1.0 && limit == 1e-4);
    assert_eq!(reached.at, Times::Shared(time));
    assert!((reached.x - time).abs() < 1e-12);
}

#[test]
fn every_method_names_the_time_where_the_field_is_not_finite() {
    for bad in [f64::NAN, f64::INFINITY] {
        let field = shared(move |x: f64, t: f64| if t > 0.55 { bad } else { -x });
        for entry in ode_methods::<dyn Field<f64>, f64>() {
            let reached = solve_partial(&field as &dyn Field<f64>, entry.stepper(), 1.0, &grid(1.0, 10));
            let name = entry.method.name;
            let error = reached.error.unwrap();
            // The step that meets it begins at 0.5, or at 0.6 if the method never looks at the end of a step.
            let SolveError::NotFinite { time, step } = error else { panic!("{name}: {error}") };
            assert!((0.49..0.61).contains(&time) && (step - 0.1).abs() < 1e-12, "{name}: {error}");
            assert!(error.to_string().contains(&format!("t = {time}")), "{error}");
            assert_eq!(reached.at, Times::Shared(time), "{name}");
            assert!((reached.x - (-time).exp()).abs() < 0.03, "{name}: {}", reached.x);
        }
    }
}

#[test]
fn a_stiff_field_with_explicit_steps_is_an_error_that_says_what_to_do() {
    // x' = -1e7 (x - cos t): smooth, but steps beyond 3e-7 are not stable.
    let field = Counted::new(shared(|x: f64, t: f64| -1e7 * (x - t.cos())));
    let error = solve(&field, adaptive(1e-4).max_steps(2_000), 0.0, &grid(1.0, 1)).unwrap_err();
    let SolveError::Stiff { time, end: 1.0, step, rate, limit: 2_000 } = error else { panic!("{error}") };
    assert!(time > 0.0 && time < 0.01 && step < 1e-6 && (rate / 1e7 - 1.0).abs() < 1e-3, "{error}");
    assert!(error.to_string().contains("max_steps") && error.to_string().contains("semi-linear"), "{error}");
    // Saying so costs an attempt and two evaluations.
    assert_eq!(field.calls(), 2 + 6 * 2_000 + 6 + 2);
    // By default too there is an end.
    let error = solve(&field, adaptive(1e-4), 0.0, &grid(1.0, 1)).unwrap_err();
    assert!(matches!(error, SolveError::Stiff { limit: 100_000, .. }), "{error}");
    // Other methods, other limits of stability; two dimensions, with a slow one.
    let field = shared(|[x, y]: [f64; 2], t: f64| [-1e6 * (x - y), t.cos() - y]);
    let control = |tol| (tolerance(tol), PidController::standard());
    let run = |error: Result<[f64; 2], SolveError>| match error {
        Err(SolveError::Stiff { rate, .. }) => assert!((rate / 1e6 - 1.0).abs() < 0.01, "{rate:e}"),
        other => panic!("{other:?}"),
    };
    for tol in [1e-2, 1e-5] {
        let (tolerance, controller) = control(tol);
        let (start, grid) = ([0.3, 0.5], grid(1.0, 1));
        run(solve(&field, Adaptive::new(HEUN_EULER.stepper(), tolerance, controller).max_steps(3_000), start, &grid));
        run(solve(&field, Adaptive::new(BOSH3.stepper(), tolerance, controller).max_steps(3_000), start, &grid));
        run(solve(&field, Adaptive::new(TSIT5.stepper(), tolerance, controller).max_steps(3_000), start, &grid));
        run(solve(&field, Adaptive::new(DOPRI8.stepper(), tolerance, controller).max_steps(3_000), start, &grid));
    }
    // Row by row, the row is named.
    let rows = unconditional(|x: Vec<f64>, t: &Times| {
        x.into_iter()
            .enumerate()
            .map(|(row, x)| if x > 0.0 { -1e6 * (x - 2.0 - t.at(row).cos()) } else { -x })
            .collect()
    });
    let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-4), PidController::standard()).max_steps(2_000);
    let error = solve(&rows, stepper, vec![-1.0, 1.0], &grid(1.0, 1)).unwrap_err();
    let SolveError::Row { row: 1, source } = error else { panic!("{error}") };
    assert!(matches!(*source, SolveError::Stiff { rate, .. } if (rate / 1e6 - 1.0).abs() < 0.01), "{source}");
    let field = shared(|x: f64, t: f64| -1e7 * (x - t.cos()));
    // Fixed steps blow up, and the first step out of range is named.
    for result in
        [solve(&field, EULER.stepper(), 0.0, &grid(1.0, 100)), solve(&field, RK4.stepper(), 0.0, &grid(1.0, 100))]
    {
        let error = result.unwrap_err();
        assert!(matches!(error, SolveError::NotFinite { time, .. } if time > 0.0 && time < 1.0), "{error}");
        assert!(error.to_string().contains("smaller steps"), "{error}");
    }
}

#[test]
fn wrong_grids_and_tolerances_are_errors_before_the_solve() {
    let wrong = |points: &[f64]| TimeGrid::new(points.to_vec()).unwrap_err();
    assert!(matches!(wrong(&[0.0]), CoreError::GridTooShort { points: 1 }));
    assert!(matches!(wrong(&[0.0, 1.0, 0.5]), CoreError::GridNotMonotone { index: 1, .. }));
    assert!(matches!(wrong(&[0.0, 0.0]), CoreError::GridNotMonotone { index: 0, .. }));
    assert!(matches!(wrong(&[0.0, f64::NAN, 1.0]), CoreError::GridNotFinite { index: 1, .. }));
    assert!(matches!(wrong(&[0.0, f64::INFINITY]), CoreError::GridNotFinite { index: 1, .. }));
    assert!(wrong(&[0.0, 1.0, 0.5]).to_string().contains("0.5"));
    for (rtol, atol) in [(0.0, 0.0), (-1e-3, 1e-3), (1e-3, -1e-3), (f64::NAN, 1e-3), (1e-3, f64::INFINITY)] {
        let error = Tolerance::new(rtol, atol).unwrap_err();
        assert!(matches!(error, CoreError::Tolerance { .. }), "{error}");
    }
}

#[test]
fn a_stepper_that_stands_still_is_reported_with_what_was_reached() {
    struct Lazy(u32);
    impl Stepper<(), f64> for Lazy {
        fn step(&mut self, _: &(), x: f64, from: &Times, to: &Times) -> Result<advect_solvers::Step<f64>, SolveError> {
            self.0 += 1;
            let at = if self.0 < 3 { to } else { from };
            Ok(advect_solvers::Step { x: x + 1.0, at: at.clone() })
        }
        fn restart(&mut self) {}
    }
    let reached = solve_partial(&(), Lazy(0), 0.0, &grid(4.0, 4));
    assert!(matches!(reached.error, Some(SolveError::NoProgress { time: 2.0 })), "{:?}", reached.error);
    assert_eq!((reached.x, reached.at), (2.0, Times::Shared(2.0)));
}
