//! Step control row by row.

use crate::problems::lotka_volterra;
use advect_solvers::{
    Adaptive, AdaptiveRows, BOSH3, Batched, Counted, DOPRI5, Field, HEUN_EULER, PiController, PidController, RowField,
    SolveError, State, TimeGrid, Times, Tolerance, skeleton, solve, trajectory, unconditional,
};
use std::cell::RefCell;
use std::rc::Rc;

type Rows = Vec<[f64; 2]>;

/// Each row follows its own equation, x'' = -w^2 x with time warped by the row; keeps a log of who was evaluated.
#[derive(Clone)]
struct Oscillators {
    frequency: Vec<f64>,
    names: Vec<usize>,
    log: Rc<RefCell<Vec<Vec<usize>>>>,
}

impl Oscillators {
    fn new(frequency: Vec<f64>) -> Self {
        let names = (0..frequency.len()).collect();
        Self { frequency, names, log: Rc::default() }
    }

    fn evaluations(&self, name: usize) -> usize {
        self.log.borrow().iter().flatten().filter(|&&n| n == name).count()
    }
}

impl Field<Rows> for Oscillators {
    fn eval(&self, x: Rows, t: &Times) -> Rows {
        assert_eq!(x.len(), self.frequency.len(), "conditions follow their rows");
        self.log.borrow_mut().push(self.names.clone());
        let slope = |(row, [q, p]): (usize, [f64; 2])| {
            let w = self.frequency[row] * (1.0 + t.at(row));
            [w * p, -w * q]
        };
        x.into_iter().enumerate().map(slope).collect()
    }
}

impl RowField<Rows> for Oscillators {
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            frequency: rows.iter().map(|&r| self.frequency[r]).collect(),
            names: rows.iter().map(|&r| self.names[r]).collect(),
            log: self.log.clone(),
        }
    }
}

fn tolerance(tol: f64) -> Tolerance {
    Tolerance::new(tol, tol).unwrap()
}

/// Populations from the fixed point to far off: steps differ by more than ten times.
fn mixed(count: usize) -> Rows {
    (0..count)
        .map(|i| {
            let far = (i % 7) as f64;
            [1.0 + far * 1.5, 1.0 + 0.3 * far * far]
        })
        .collect()
}

/// With a first step that is far too long for hard rows, so that they are rejected while easy ones move on.
fn run(x0: Rows, grid: &TimeGrid) -> (Rows, u64) {
    let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-7), PiController::standard());
    let mut stepper = stepper.first_step(0.5).unwrap();
    let end = solve(&unconditional(lotka_volterra), &mut stepper, x0, grid).unwrap();
    (end, stepper.rejected())
}

#[test]
fn a_row_does_not_depend_on_its_neighbors() {
    for grid in [TimeGrid::uniform(0.0, 4.0, 1), TimeGrid::uniform(4.0, 0.0, 3), TimeGrid::uniform(0.0, 2.0, 11)] {
        let grid = grid.unwrap();
        let all = mixed(100);
        let (of_100, rejected) = run(all.clone(), &grid);
        assert!(rejected > 0, "a test without rejected rows would miss their memory");
        let of_7: Rows = all.chunks(7).flat_map(|chunk| run(chunk.to_vec(), &grid).0).collect();
        let alone: Vec<(Rows, u64)> = all.iter().map(|&x| run(vec![x], &grid)).collect();
        assert_eq!(alone.iter().map(|(_, rejected)| rejected).sum::<u64>(), rejected);
        for row in 0..all.len() {
            let bits = |x: [f64; 2]| x.map(f64::to_bits);
            assert_eq!(bits(of_100[row]), bits(alone[row].0[0]), "row {row} of 100");
            assert_eq!(bits(of_7[row]), bits(alone[row].0[0]), "row {row} in sevens");
        }
        let turned: Rows = all.into_iter().rev().collect();
        assert_eq!(run(turned, &grid).0.into_iter().rev().collect::<Rows>(), of_100);
    }
}

#[test]
fn one_row_is_what_adaptive_makes_of_it() {
    let grid = TimeGrid::uniform(0.0, 4.0, 3).unwrap();
    for x in mixed(7) {
        let adaptive = || Adaptive::new(DOPRI5.stepper(), tolerance(1e-7), PiController::standard());
        let alone = solve(&lotka_volterra, adaptive().first_step(0.5).unwrap(), vec![x], &grid).unwrap();
        assert_eq!(run(vec![x], &grid).0, alone);
        // And with the first step that each finds.
        let rows = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-7), PiController::standard());
        let ours = solve(&unconditional(lotka_volterra), rows, vec![x], &grid).unwrap();
        assert_eq!(ours, solve(&lotka_volterra, adaptive(), vec![x], &grid).unwrap());
    }
}

#[test]
fn easy_rows_do_not_pay_for_hard_ones() {
    let grid = TimeGrid::uniform(0.0, 4.0, 1).unwrap();
    let together = Counted::new(lotka_volterra);
    let adaptive = Adaptive::new(DOPRI5.stepper(), tolerance(1e-7), PiController::standard());
    solve(&together, adaptive, mixed(70), &grid).unwrap();
    let rows = Counted::new(unconditional(lotka_volterra));
    let mut stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-7), PiController::standard());
    solve(&rows, &mut stepper, mixed(70), &grid).unwrap();
    assert!(rows.rows() * 10 < together.rows() * 8, "{} against {}", rows.rows(), together.rows());
    // First slope and first step, then six a row and attempt.
    assert_eq!(rows.rows(), 140 + 6 * (stepper.accepted() + stepper.rejected()));
}

#[test]
fn one_stiff_row_costs_itself_alone_at_no_larger_error() {
    // x' = w cos(w t) - k (x - sin(w t)) from 1: x = sin(w t) + e^(-k t). Fifteen gentle rows, and one with k = 400.
    const ROWS: usize = 16;
    let (rate, frequency) = (|row: usize| if row == 5 { 400.0 } else { 1.0 }, |row: usize| 1.0 + 0.1 * row as f64);
    let exact = |row: usize, t: f64| (frequency(row) * t).sin() + (-rate(row) * t).exp();
    #[derive(Clone)]
    struct Springs(Vec<(f64, f64)>, Rc<Counted<fn(Vec<f64>, &Times) -> Vec<f64>>>);
    impl Field<Vec<f64>> for Springs {
        fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
            // The counter only counts; who the rows are is known here.
            let x = self.1.eval(x, t);
            let slope = |(row, x): (usize, f64)| {
                let ((k, w), t) = (self.0[row], t.at(row));
                w * (w * t).cos() - k * (x - (w * t).sin())
            };
            x.into_iter().enumerate().map(slope).collect()
        }
    }
    impl RowField<Vec<f64>> for Springs {
        fn select(&self, rows: &[usize]) -> Self {
            Self(rows.iter().map(|&row| self.0[row]).collect(), self.1.clone())
        }
    }
    let springs = || {
        let identity: fn(Vec<f64>, &Times) -> Vec<f64> = |x, _t| x;
        Springs((0..ROWS).map(|row| (rate(row), frequency(row))).collect(), Rc::new(Counted::new(identity)))
    };
    let grid = TimeGrid::uniform(0.0, 3.0, 1).unwrap();
    for tol in [1e-4, 1e-6, 1e-8] {
        let worst = |x: Vec<f64>| (0..ROWS).map(|row| (x[row] - exact(row, 3.0)).abs()).fold(0.0, f64::max);
        let (batch, alone) = (springs(), springs());
        let stepper = Adaptive::new(DOPRI5.stepper(), tolerance(tol), PidController::standard());
        let batch_error = worst(solve(&batch, stepper, vec![1.0; ROWS], &grid).unwrap());
        let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(tol), PidController::standard());
        let error = worst(solve(&alone, stepper, vec![1.0; ROWS], &grid).unwrap());
        let (batch_rows, rows) = (batch.1.rows(), alone.1.rows());
        println!("{tol:e}: {rows} row-evaluations, error {error:e}; together {batch_rows}, {batch_error:e}");
        assert!(error <= 10.0 * tol && batch_error <= 10.0 * tol);
        // An eighth of the work at about the same error.
        assert!(rows * 8 < batch_rows, "{rows} against {batch_rows}");
        assert!(error < 1.5 * batch_error, "{error:e} against {batch_error:e}");
    }
}

#[test]
fn conditions_follow_their_rows() {
    let frequency = vec![0.1, 20.0, 1.0, 5.0, 0.0];
    let field = Oscillators::new(frequency.clone());
    let mut stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-9), PiController::standard());
    let grid = TimeGrid::uniform(0.0, 1.0, 2).unwrap();
    let end = solve(&field, &mut stepper, vec![[1.0, 0.0]; 5], &grid).unwrap();
    for (row, w) in frequency.iter().enumerate() {
        let phase = w * 1.5;
        assert!((end[row][0] - phase.cos()).abs() < 1e-6 && (end[row][1] + phase.sin()).abs() < 1e-6, "row {row}");
    }
    // Rows leave when they arrive: the fast ones are evaluated more often, and alone in the end.
    assert!(field.evaluations(1) > 4 * field.evaluations(2) && field.evaluations(3) > field.evaluations(0));
    assert_eq!(field.log.borrow().last(), Some(&vec![1]));
    let total: usize = (0..5).map(|row| field.evaluations(row)).sum();
    assert_eq!(total as u64, 10 + 6 * (stepper.accepted() + stepper.rejected()));
}

#[test]
fn methods_without_first_same_as_last_agree_with_adaptive() {
    let grid = TimeGrid::uniform(0.0, 1.0, 2).unwrap();
    let frequency = [0.5, 3.0, 1.0];
    let rows = AdaptiveRows::new(HEUN_EULER.stepper(), tolerance(1e-5), PiController::standard());
    let end = solve(&Oscillators::new(frequency.to_vec()), rows, vec![[1.0, 0.0]; 3], &grid).unwrap();
    for (row, w) in frequency.iter().enumerate() {
        let one = Adaptive::new(HEUN_EULER.stepper(), tolerance(1e-5), PiController::standard());
        let alone = solve(&Oscillators::new(vec![*w]), one, vec![[1.0, 0.0]], &grid).unwrap();
        assert_eq!(end[row], alone[0]);
    }
}

#[test]
fn restart_forgets_every_row() {
    let grid = TimeGrid::uniform(0.0, 1.0, 2).unwrap();
    let mut stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-6), PiController::standard());
    let mut run = |frequency: Vec<f64>| {
        let start = vec![[1.0, 0.0]; frequency.len()];
        solve(&Oscillators::new(frequency), &mut stepper, start, &grid).unwrap()
    };
    let first = run(vec![1.0, 5.0, 2.0]);
    // Another batch, of another size, then the first again.
    run(vec![7.0, 0.5]);
    assert_eq!(run(vec![1.0, 5.0, 2.0]), first);
    run(vec![0.3, 0.2, 9.0]);
    assert_eq!(run(vec![1.0, 5.0, 2.0]), first);
}

#[test]
fn grid_points_are_shared_and_steps_between_them_are_not() {
    let field = Oscillators::new(vec![1.0, 4.0]);
    let stepper = || AdaptiveRows::new(BOSH3.stepper(), tolerance(1e-6), PiController::standard());
    let grid = TimeGrid::uniform(0.0, 1.0, 4).unwrap();
    let saved: Vec<_> = trajectory(&field, stepper(), vec![[1.0, 0.0]; 2], &grid).collect::<Result<_, _>>().unwrap();
    let times: Vec<Times> = saved.iter().map(|(t, _)| t.clone()).collect();
    assert_eq!(times, [0.0, 0.25, 0.5, 0.75, 1.0].map(Times::Shared));
    let inner: Vec<_> = skeleton(&field, stepper(), vec![[1.0, 0.0]; 2], &grid).collect::<Result<_, _>>().unwrap();
    assert!(inner.len() > saved.len());
    assert!(inner.iter().any(|(t, _)| matches!(t, Times::Each(times) if times[0] != times[1])));
    // Time never runs back.
    assert!(inner.windows(2).all(|w| (0..2).all(|r| w[1].0.at(r) >= w[0].0.at(r))));
}

#[test]
fn the_row_that_fails_is_named() {
    // x' = x^2 blows up at 1 / x0.
    let field = unconditional(|x: Vec<f64>, _t: &Times| x.iter().map(|x| x * x).collect());
    let stepper = || AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-8), PiController::standard());
    let grid = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    let error = solve(&field, stepper(), vec![0.1, -3.0, 2.0], &grid).unwrap_err();
    let SolveError::Row { row: 2, source } = &error else { panic!("{error}") };
    let (SolveError::StepTooSmall { time, .. } | SolveError::NotFinite { time, .. }) = **source else {
        panic!("{source}")
    };
    assert!((time - 0.5).abs() < 1e-6, "{time}");
    assert!(error.to_string().starts_with("row 2: at t = 0.5") || error.to_string().starts_with("row 2: the state"));
    let error = solve(&field, stepper(), vec![0.1, f64::INFINITY], &grid).unwrap_err();
    assert!(matches!(error, SolveError::Row { row: 1, .. }), "{error}");
    let error = solve(&field, stepper().first_step(0.3).unwrap().max_steps(4), vec![0.01, 0.9], &grid).unwrap_err();
    let SolveError::Row { row: 1, source } = &error else { panic!("{error}") };
    assert!(matches!(**source, SolveError::TooManySteps { limit: 4, .. }), "{source}");
}

#[test]
fn no_rows_are_no_work() {
    let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-8), PiController::standard());
    let grid = TimeGrid::uniform(0.0, 1.0, 2).unwrap();
    assert_eq!(solve(&unconditional(lotka_volterra), stepper, vec![], &grid).unwrap(), Rows::new());
}

#[test]
fn a_number_is_a_batch_of_one() {
    fn rows_of<X: State + Batched>(x: &X) -> usize {
        x.rows()
    }
    let field = unconditional(|x: f64, t: &Times| -x * t.at(0));
    let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance(1e-9), PiController::standard());
    let x = solve(&field, stepper, 1.0, &TimeGrid::uniform(0.0, 2.0, 1).unwrap()).unwrap();
    assert!((x - (-2.0_f64).exp()).abs() < 1e-8);
    assert_eq!(rows_of(&x), 1);
}
