//! Step control for the whole batch.

use crate::problems::{scalar, scalar_rows, system};
use advect_analytic::order::Fit;
use advect_solvers::{
    Adaptive, BOSH3, Counted, DOPRI5, Embedded, HEUN_EULER, PiController, PidController, SolveError, Stepper, TimeGrid,
    Times, Tolerance, shared, skeleton, solve,
};

fn tolerance(tol: f64) -> Tolerance {
    Tolerance::new(tol, tol).unwrap()
}

fn once(from: f64, to: f64) -> TimeGrid {
    TimeGrid::uniform(from, to, 1).unwrap()
}

/// Evaluations and error on the system for a tolerance.
fn work<S: Embedded<State = [f64; 2]>>(inner: S, tol: f64) -> (u64, f64, u64, u64) {
    let field = Counted::new(shared(system::slope));
    let mut stepper = Adaptive::new(inner, tolerance(tol), PiController::standard());
    let end = solve(&field, &mut stepper, system::solution(0.0), &once(0.0, 2.0)).unwrap();
    let exact = system::solution(2.0);
    let error = (end[0] - exact[0]).hypot(end[1] - exact[1]);
    (field.calls(), error, stepper.accepted(), stepper.rejected())
}

#[test]
fn the_error_is_proportional_to_the_tolerance() {
    let tolerances: [f64; 7] = [1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10];
    let check = |name: &str, errors: Vec<f64>| {
        let points: Vec<(f64, f64)> = tolerances.iter().zip(&errors).map(|(t, e)| (t.log10(), e.log10())).collect();
        let slope = Fit::line(&points).slope;
        println!("{name}: slope {slope:.3} {errors:?}");
        assert!((slope - 1.0).abs() < 0.15, "{name}: slope {slope}");
        for (tol, error) in tolerances.iter().zip(errors) {
            assert!((0.2..5.0).contains(&(error / tol)), "{name} at {tol:e}: {error:e}");
        }
    };
    check("Bosh3", tolerances.iter().map(|&t| work(BOSH3.stepper(), t).1).collect());
    check("Dopri5", tolerances.iter().map(|&t| work(DOPRI5.stepper(), t).1).collect());
}

#[test]
fn evaluations_are_exactly_those_of_the_method() {
    for tol in [1e-3, 1e-6, 1e-9] {
        // One for the first slope, one for the first step size, then as many as the method has without its last stage.
        let (calls, _, accepted, rejected) = work(DOPRI5.stepper(), tol);
        assert_eq!(calls, 2 + 6 * (accepted + rejected));
        let (calls, _, accepted, rejected) = work(BOSH3.stepper(), tol);
        assert_eq!(calls, 2 + 3 * (accepted + rejected));
        // Not first same as last: the first slope is new after acceptance, and known after rejection.
        let (calls, _, accepted, rejected) = work(HEUN_EULER.stepper(), tol.max(1e-6));
        assert_eq!(calls, 1 + 2 * accepted + rejected);
    }
    // Order 5 needs 10^(1/5) times the steps for a digit, order 3 10^(1/3) times.
    let ratio = |calls: [u64; 2]| (calls[1] as f64 / calls[0] as f64).log10() / 4.0;
    let dopri5 = ratio([1e-6, 1e-10].map(|tol| work(DOPRI5.stepper(), tol).0));
    let bosh3 = ratio([1e-6, 1e-10].map(|tol| work(BOSH3.stepper(), tol).0));
    assert!((dopri5 - 0.2).abs() < 0.02, "{dopri5}");
    assert!((bosh3 - 1.0 / 3.0).abs() < 0.02, "{bosh3}");
}

#[test]
fn the_slope_that_is_used_again_is_the_right_one() {
    // With every slope evaluated afresh the numbers are the same, bit for bit.
    struct Forgetful<S>(S);
    impl<S: Embedded> Embedded for Forgetful<S> {
        type State = S::State;
        fn error_order(&self) -> u32 {
            self.0.error_order()
        }
        fn attempt<G: advect_solvers::Field<S::State> + ?Sized>(
            &self,
            field: &G,
            x: &S::State,
            _slope: S::State,
            from: &Times,
            to: &Times,
        ) -> advect_solvers::Attempt<S::State> {
            let slope = field.eval(x.clone(), from);
            let attempt = self.0.attempt(field, x, slope, from, to);
            advect_solvers::Attempt { end_slope: None, ..attempt }
        }
    }
    let grid = TimeGrid::uniform(0.0, 2.0, 7).unwrap();
    let field = shared(system::slope);
    let solve_with = |inner| {
        solve(&field, Adaptive::new(inner, tolerance(1e-6), PiController::standard()), system::solution(0.0), &grid)
    };
    let forgetful = Adaptive::new(Forgetful(DOPRI5.stepper()), tolerance(1e-6), PiController::standard());
    let fresh = solve(&field, forgetful, system::solution(0.0), &grid).unwrap();
    assert_eq!(solve_with(DOPRI5.stepper()).unwrap(), fresh);
}

#[test]
fn restart_forgets_everything() {
    let grid = TimeGrid::uniform(0.0, 2.0, 3).unwrap();
    let field = shared(system::slope);
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-6), PiController::standard());
    let first = solve(&field, &mut stepper, system::solution(0.0), &grid).unwrap();
    let accepted = stepper.accepted();
    let again = |stepper: &mut Adaptive<_>| {
        let before = stepper.accepted();
        assert_eq!(solve(&field, &mut *stepper, system::solution(0.0), &grid).unwrap(), first);
        assert_eq!(stepper.accepted() - before, accepted);
    };
    again(&mut stepper);
    // After another problem, and after a solve that failed.
    let other = shared(|[x, y]: [f64; 2], t: f64| [y * t, -40.0 * x]);
    solve(&other, &mut stepper, [3.0, 1.0], &grid).unwrap();
    again(&mut stepper);
    let nan = shared(|[x, _]: [f64; 2], t: f64| [x, if t > 0.1 { f64::NAN } else { 0.0 }]);
    assert!(solve(&nan, &mut stepper, [3.0, 1.0], &grid).is_err());
    again(&mut stepper);
}

#[test]
fn a_finer_grid_does_not_shrink_the_steps_after_it() {
    let field = shared(system::slope);
    let run = |points: Vec<f64>| {
        let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-6), PiController::standard());
        solve(&field, &mut stepper, system::solution(0.0), &TimeGrid::new(points).unwrap()).unwrap();
        stepper.accepted()
    };
    let plain = run(vec![0.0, 2.0]);
    assert!(run(vec![0.0, 1.0, 1.0 + 1e-9, 2.0]) <= plain + 3);
}

#[test]
fn forward_and_back_returns_to_the_start() {
    let field = shared(system::slope);
    let stepper = || Adaptive::new(DOPRI5.stepper(), tolerance(1e-11), PiController::standard());
    let start = system::solution(0.0);
    let end = solve(&field, stepper(), start, &once(0.0, 2.0)).unwrap();
    let back = solve(&field, stepper(), end, &once(2.0, 0.0)).unwrap();
    assert!((back[0] - start[0]).hypot(back[1] - start[1]) < 1e-9, "{back:?} {start:?}");
}

#[test]
fn a_blow_up_is_a_structured_error() {
    // x' = x^2 from 1 blows up at t = 1.
    let field = shared(|x: f64, _t: f64| x * x);
    let stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-8), PiController::standard());
    let error = solve(&field, stepper, 1.0, &once(0.0, 2.0)).unwrap_err();
    let (time, step) = match error {
        SolveError::StepTooSmall { time, step, norm, limit } => {
            assert!(norm > 1.0 && step <= limit);
            (time, step)
        }
        SolveError::NotFinite { time, step } => (time, step),
        other => panic!("{other}"),
    };
    assert!((time - 1.0).abs() < 1e-6 && step > 0.0, "t = {time}, step {step:e}");
}

#[test]
fn a_jump_below_the_least_step_is_a_structured_error() {
    let field = shared(|_x: f64, t: f64| if t < 0.5 { 0.0 } else { 1e9 });
    let stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-8), PiController::standard()).min_step(1e-4).unwrap();
    let error = solve(&field, stepper, 0.0, &once(0.0, 1.0)).unwrap_err();
    assert!(
        matches!(error, SolveError::StepTooSmall { time, step, norm, limit }
            if (time - 0.5).abs() < 1e-3 && step < 1.000_001e-4 && norm > 1.0 && limit == 1e-4),
        "{error}"
    );
    assert!(error.to_string().contains("loosen"), "{error}");
}

#[test]
fn the_budget_of_steps_is_kept() {
    let field = Counted::new(shared(system::slope));
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-10), PiController::standard()).max_steps(10);
    let error = solve(&field, &mut stepper, system::solution(0.0), &once(0.0, 2.0)).unwrap_err();
    assert!(
        matches!(error, SolveError::TooManySteps { time, end: 2.0, step, limit: 10 } if time > 0.0 && time < 2.0 && step > 0.0),
        "{error}"
    );
    assert_eq!(stepper.accepted() + stepper.rejected(), 10);
    // An attempt and two evaluations more to see that the field is not stiff.
    assert_eq!(field.calls(), 2 + 60 + 8);
}

#[test]
fn a_given_first_step_is_taken() {
    let field = Counted::new(shared(scalar::slope));
    let inner = DOPRI5.stepper();
    let stepper = Adaptive::new(inner, tolerance(1e-3), PiController::standard()).first_step(0.01).unwrap();
    let grid = once(0.0, 1.0);
    let states: Vec<_> = skeleton(&field, stepper, 1.0, &grid).collect::<Result<_, _>>().unwrap();
    assert_eq!(states[1].0, Times::Shared(0.01));
    assert_eq!(field.calls(), 1 + 6 * (states.len() as u64 - 1));
}

#[test]
fn what_is_not_finite_is_reported_where_it_begins() {
    let stepper = || Adaptive::new(DOPRI5.stepper(), tolerance(1e-8), PiController::standard());
    let field = shared(|x: f64, _t: f64| -x);
    let error = solve(&field, stepper(), f64::NAN, &once(0.25, 1.0)).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { time: 0.25, step: 0.0 }), "{error}");
    let field = shared(|x: f64, t: f64| if t > 0.5 { f64::NAN } else { -x });
    let error = solve(&field, stepper(), 1.0, &once(0.0, 1.0)).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { time, .. } if (time - 0.5).abs() < 1e-6), "{error}");
}

#[test]
fn settings_are_checked() {
    let stepper = || Adaptive::new(DOPRI5.stepper::<f64>(), tolerance(1e-8), PiController::standard());
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(stepper().first_step(bad), Err(SolveError::Setting { name: "first_step", .. })));
    }
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(stepper().min_step(bad), Err(SolveError::Setting { name: "min_step", .. })));
    }
    assert!(PidController::new(0.3, 0.4, 0.0).is_ok_and(|c| c == PiController::standard()));
    for (i, p, d, name) in [
        (0.0, 0.4, 0.0, "integral"),
        (f64::INFINITY, 0.4, 0.0, "integral"),
        (0.3, f64::NAN, 0.0, "proportional"),
        (0.3, 0.4, f64::NAN, "derivative"),
        (0.3, -0.4, 0.05, "integral + proportional + derivative"),
    ] {
        let error = PidController::new(i, p, d).unwrap_err();
        assert!(matches!(error, SolveError::Setting { name: n, .. } if n == name), "{error}");
    }
    for (safety, min, max, name) in [
        (0.0, 0.2, 10.0, "safety"),
        (1.1, 0.2, 10.0, "safety"),
        (f64::NAN, 0.2, 10.0, "safety"),
        (0.9, 1.0, 10.0, "min_factor"),
        (0.9, 0.2, 0.9, "max_factor"),
        (0.9, 0.2, f64::INFINITY, "max_factor"),
    ] {
        let error = PidController::standard().safety(safety).and_then(|c| c.limits(min, max)).unwrap_err();
        assert!(matches!(error, SolveError::Setting { name: n, .. } if n == name), "{error}");
    }
}

#[test]
fn the_controller_is_the_published_rule() {
    let pi = PidController::standard();
    // By hand, k = 5: 0.9 * 0.5^(-0.14) * 0.25^(0.08), whatever came before.
    let by_hand = 0.9 * (0.14 * 2.0_f64.ln()).exp() * (-0.16 * 2.0_f64.ln()).exp();
    assert!((pi.grow([0.5, 0.25, 7.0], 4) - by_hand).abs() < 1e-15);
    assert_eq!(pi.grow([0.0, 1.0, 1.0], 4), 10.0);
    assert!((pi.grow([1.0, 0.0, 1.0], 4) - 0.9 * 1e-4_f64.powf(0.08)).abs() < 1e-15);
    // Hairer's DOPRI5: 0.9 * 0.5^(-0.17) * 0.25^(0.04); held at its aim, 0.9^(1/0.13) = 0.445, a step stays as it is.
    let hairer = PidController::hairer();
    let by_hand = 0.9 * (0.17 * 2.0_f64.ln()).exp() * (-0.08 * 2.0_f64.ln()).exp();
    assert!((hairer.grow([0.5, 0.25, 7.0], 4) - by_hand).abs() < 1e-15);
    let aim = 0.9_f64.powf(1.0 / 0.13);
    assert!((hairer.grow([aim; 3], 4) - 1.0).abs() < 1e-14 && (aim - 0.4446).abs() < 1e-4);
    // Soderlind's H312, k = 4: the product of e_n e_(n-1)^2 e_(n-2) to the power -1/72; 2^(-1 - 4 - 3) gives 2^(1/9).
    let pid = PidController::filter();
    assert!((pid.grow([0.5, 0.25, 0.125], 3) - 0.9 * 2.0_f64.powf(8.0 / 72.0)).abs() < 1e-15);
    // Coefficients and limits of one's own; I = 1, P = 1, D = 1/2, k = 1: e_n^(-5/2) e_(n-1)^2 e_(n-2)^(-1/2).
    let own = PidController::new(1.0, 1.0, 0.5).unwrap().safety(1.0).unwrap().limits(0.1, 100.0).unwrap();
    assert!((own.grow([0.25, 0.5, 0.0625], 0) - 32.0 / 4.0 * 4.0).abs() < 1e-13);
    assert_eq!(own.grow([1e-9, 1.0, 1.0], 0), 100.0);
    assert_eq!((own.shrink(1e9, 0), own.shrink(1.0, 0)), (0.1, 1.0));
    // 0.9 / 32^(1/5) = 0.45.
    assert!((pi.shrink(32.0, 4) - 0.45).abs() < 1e-15);
    assert_eq!(pi.shrink(1e30, 4), 0.2);
    assert_eq!(pi.shrink(f64::NAN, 4), 0.2);
    assert_eq!(pi.shrink(f64::INFINITY, 4), 0.2);
}

#[test]
fn every_controller_keeps_the_tolerance_and_smooth_ones_reject_less() {
    let run = |controller: PidController| {
        let field = shared(system::slope);
        let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-8), controller);
        let end = solve(&field, &mut stepper, system::solution(0.0), &once(0.0, 2.0)).unwrap();
        let exact = system::solution(2.0);
        let error = (end[0] - exact[0]).hypot(end[1] - exact[1]);
        println!("{controller:?}: {} {} {error:e}", stepper.accepted(), stepper.rejected());
        assert!((0.05..5.0).contains(&(error / 1e-8)), "{error:e}");
        (stepper.accepted(), stepper.rejected())
    };
    let counts = [PidController::elementary(), PidController::standard(), PidController::filter()].map(run);
    assert!(counts.iter().all(|(accepted, rejected)| (20..200).contains(accepted) && *rejected < 10), "{counts:?}");
}

#[test]
fn the_third_error_reaches_the_controller() {
    // With D alone the factor of step n + 1 depends on the error of step n - 2: steps change from those of I.
    let steps = |derivative: f64| {
        let controller = PidController::new(0.5, 0.0, derivative).unwrap();
        let stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-6), controller).first_step(0.01).unwrap();
        let field = shared(system::slope);
        let grid = once(0.0, 1.0);
        let times = skeleton(&field, stepper, system::solution(0.0), &grid).map(|state| state.unwrap().0.at(0));
        times.take(6).collect::<Vec<f64>>()
    };
    let norms = |times: &[f64]| -> Vec<f64> {
        let inner = DOPRI5.stepper::<[f64; 2]>();
        let field = shared(system::slope);
        let mut x = system::solution(0.0);
        let norm = |pair: &[f64]| {
            let (from, to) = (Times::Shared(pair[0]), Times::Shared(pair[1]));
            let slope = advect_solvers::Field::eval(&field, x, &from);
            let attempt = inner.attempt(&field, &x, slope, &from, &to);
            let norm = advect_solvers::State::scaled_norm(&attempt.error, &x, &attempt.x, tolerance(1e-6));
            x = attempt.x;
            norm
        };
        times.windows(2).map(norm).collect()
    };
    // Recomputed from the errors, the steps are those that the rule says (from the third on all three errors count).
    let times = steps(0.3);
    let errors = norms(&times);
    let controller = PidController::new(0.5, 0.0, 0.3).unwrap();
    let mut compared = 0;
    for n in 2..4 {
        let (before, after) = (times[n + 1] - times[n], times[n + 2] - times[n + 1]);
        let factor = controller.grow([errors[n], errors[n - 1], errors[n - 2]], 4);
        assert!((after / before / factor - 1.0).abs() < 1e-9, "step {n}: {} {factor}", after / before);
        compared += 1;
    }
    assert_eq!(compared, 2);
    assert_ne!(times, steps(0.0));
}

#[test]
fn rows_at_different_times_move_together() {
    let (from, to) = (Times::Each(vec![0.0, 0.5, 1.0, 0.7]), Times::Each(vec![1.0, 0.75, 0.0, 0.7]));
    let x0 = vec![0.7; 4];
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance(1e-9), PiController::standard());
    let (mut x, mut at) = (x0.clone(), from.clone());
    while !at.reached(&to) {
        let step = stepper.step(&scalar_rows, x, &at, &to).unwrap();
        (x, at) = (step.x, step.at);
    }
    for row in 0..4 {
        // 1/x - t^2 is conserved.
        let invariant = |x: f64, t: f64| 1.0 / x - t * t;
        let drift = invariant(x[row], to.at(row)) - invariant(x0[row], from.at(row));
        assert!(drift.abs() < 1e-8, "row {row}: {drift:e}");
    }
    assert_eq!(x[3], 0.7);
}
