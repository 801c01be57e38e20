//! Events: where they are found, in which order, and what they do.

use advect_solvers::{
    Adaptive, Crossing, DOPRI5, EULER, Embedded, Event, Hermite, PiController, RK4, SolveError, Stepper, TimeGrid,
    Times, Tolerance, WithEvents, save_at, shared, skeleton, solve, solve_dense, trajectory,
};

fn grid(from: f64, to: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(from, to, steps).unwrap()
}

fn adaptive<S: Embedded>(inner: S, tol: f64) -> Adaptive<S> {
    Adaptive::new(inner, Tolerance::new(tol, tol).unwrap(), PiController::standard())
}

/// Dropped from 5 under a gravity of 10, bouncing with half its speed: at 1, 2, 2.5, 2.75, ...
fn fall([_height, speed]: [f64; 2], _t: f64) -> [f64; 2] {
    [speed, -10.0]
}

fn bounce<'a>() -> Event<'a, [f64; 2]> {
    Event::new(|[height, _speed]: &[f64; 2], _t| *height)
        .crossing(Crossing::Falling)
        .reset(|[_height, speed], _t| [0.0, -0.5 * speed])
}

fn bounces() -> impl Iterator<Item = f64> {
    std::iter::once(1.0).chain((0..).map(|k| 3.0 - 0.5_f64.powi(k)))
}

fn height(t: f64) -> f64 {
    let Some((k, last)) = bounces().enumerate().take(20).filter(|(_, b)| *b <= t).last() else {
        return 5.0 - 5.0 * t * t;
    };
    let speed = 5.0 * 0.5_f64.powi(k as i32);
    speed * (t - last) - 5.0 * (t - last).powi(2)
}

#[test]
fn a_ball_bounces_when_it_should() {
    // Motion between the bounces is a parabola, which both methods and interpolants render exactly.
    let check = |stepper: &mut dyn Stepper<_, [f64; 2]>, steps| {
        solve(&shared(fall as fn([f64; 2], f64) -> [f64; 2]), stepper, [5.0, 0.0], &grid(0.0, 2.97, steps)).unwrap()
    };
    let exact: Vec<f64> = bounces().take_while(|&t| t < 2.97).collect();
    let mut fixed = WithEvents::new(RK4.stepper(), vec![bounce()]);
    let mut controlled = WithEvents::new(adaptive(DOPRI5.stepper(), 1e-10), vec![bounce()]);
    for (end, found) in
        [(check(&mut fixed, 7), fixed.take_occurrences()), (check(&mut controlled, 1), controlled.take_occurrences())]
    {
        assert_eq!(found.len(), exact.len());
        for (k, (event, exact)) in found.iter().zip(&exact).enumerate() {
            assert!((event.time - exact).abs() < 1e-12, "bounce {k}: {} {exact}", event.time);
            // The state is that before the bounce.
            assert!((event.x[1] + 10.0 * 0.5_f64.powi(k as i32)).abs() < 1e-11, "{:?}", event.x);
            assert!(event.x[0].abs() < 1e-11);
        }
        assert!((end[0] - height(2.97)).abs() < 1e-11, "{end:?}");
    }
    assert!(fixed.occurrences().is_empty());
}

#[test]
fn dense_output_and_saved_states_know_the_bounces() {
    let field = shared(fall);
    let g = grid(0.0, 2.9, 3);
    let times: Vec<f64> = (0..=58).map(|i| f64::from(i) / 20.0).collect();
    let stepper = || WithEvents::new(adaptive(DOPRI5.stepper(), 1e-10), vec![bounce()]);
    let dense = solve_dense(&field, stepper(), [5.0, 0.0], &g).unwrap();
    for saved in save_at(&field, stepper(), [5.0, 0.0], &g, &times).unwrap() {
        let (t, x) = saved.unwrap();
        assert!((x[0] - height(t)).abs() < 1e-11, "{t}: {x:?} {}", height(t));
        assert!((dense.at(t).unwrap()[0] - height(t)).abs() < 1e-11, "{t}");
    }
    // The fixed steps of RK4 know neither slope of a step that an event follows.
    let dense = solve_dense(&field, WithEvents::new(RK4.stepper(), vec![bounce()]), [5.0, 0.0], &g).unwrap();
    let unknown = WithEvents::new(Hermite::new(RK4.stepper()), vec![bounce()]);
    let evaluated = solve_dense(&field, unknown, [5.0, 0.0], &g).unwrap();
    for t in times {
        assert!((dense.at(t).unwrap()[0] - height(t)).abs() < 1e-11, "{t}");
        assert!((evaluated.at(t).unwrap()[0] - height(t)).abs() < 1e-11, "{t}");
    }
}

#[test]
fn zeros_of_an_oscillator_are_found_to_nine_digits() {
    use std::f64::consts::{FRAC_PI_2, PI};
    let field = shared(|[q, v]: [f64; 2], _t: f64| [v, -q]);
    let zero = |crossing| Event::new(|[q, _v]: &[f64; 2], _t| *q).crossing(crossing);
    for (from, to) in [(0.0_f64, 20.0_f64), (20.0, 0.0)] {
        let mut stepper = WithEvents::new(
            adaptive(DOPRI5.stepper(), 1e-12),
            vec![zero(Crossing::Both), zero(Crossing::Rising), zero(Crossing::Falling)],
        );
        let start = [from.cos(), -from.sin()];
        let end = solve(&field, &mut stepper, start, &grid(from, to, 1)).unwrap();
        assert!((end[0] - to.cos()).abs() < 1e-9);
        let mut exact: Vec<f64> = (0..6).map(|k| FRAC_PI_2 + PI * f64::from(k)).collect();
        if to < from {
            exact.reverse();
        }
        let of = |event: usize| -> Vec<f64> {
            stepper.occurrences().iter().filter(|found| found.event == event).map(|found| found.time).collect()
        };
        let close = |found: &[f64], exact: &[f64]| {
            assert_eq!(found.len(), exact.len(), "{found:?} {exact:?}");
            for (a, b) in found.iter().zip(exact) {
                assert!((a - b).abs() < 1e-9, "{a} {b}");
            }
        };
        close(&of(0), &exact);
        // cos falls at pi/2, 5 pi/2, ...; down in time it is the other way round: directions are those of the solve.
        let even: Vec<f64> = exact.iter().copied().filter(|t| (t / PI) as i64 % 2 == 0).collect();
        let odd: Vec<f64> = exact.iter().copied().filter(|t| (t / PI) as i64 % 2 == 1).collect();
        let (falling, rising) = if to > from { (even, odd) } else { (odd, even) };
        close(&of(1), &rising);
        close(&of(2), &falling);
        // In the order of the solve.
        let times: Vec<f64> = stepper.occurrences().iter().map(|found| found.time).collect();
        assert!(times.windows(2).all(|t| (t[1] - t[0]) * (to - from) >= 0.0), "{times:?}");
    }
}

#[test]
fn an_event_at_the_start_is_not_found_again() {
    use std::f64::consts::PI;
    let field = shared(|[q, v]: [f64; 2], _t: f64| [v, -q]);
    let zero = || Event::new(|[q, _v]: &[f64; 2], _t| *q);
    // sin starts at a zero, which does not count.
    let mut stepper = WithEvents::new(adaptive(DOPRI5.stepper(), 1e-11), vec![zero().terminal()]);
    let end = solve(&field, &mut stepper, [0.0, 1.0], &grid(0.0, 10.0, 1)).unwrap();
    assert_eq!(stepper.occurrences().len(), 1);
    assert!((stepper.stopped().unwrap() - PI).abs() < 1e-9);
    // From where it stopped, the next one is the next zero. The residual of the first is not a crossing.
    let mut stepper = WithEvents::new(adaptive(DOPRI5.stepper(), 1e-11), vec![zero().reset(|x, _t| x)]);
    solve(&field, &mut stepper, end, &grid(0.0, 10.0, 1)).unwrap();
    let times: Vec<f64> = stepper.occurrences().iter().map(|found| found.time).filter(|t| *t > 1e-6).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    for (k, time) in times.iter().enumerate() {
        assert!((time - PI * (k + 1) as f64).abs() < 1e-9, "{time}");
    }
    // From zero up and down through it in one step: left and met again.
    let arc = shared(|_x: f64, t: f64| 0.5 - 2.0 * t);
    let falling = Event::new(|x: &f64, _t| *x).crossing(Crossing::Falling);
    let mut stepper = WithEvents::new(RK4.stepper(), vec![falling]);
    solve(&arc, &mut stepper, 0.0, &grid(0.0, 1.0, 1)).unwrap();
    assert_eq!(stepper.occurrences().len(), 1);
    assert!((stepper.occurrences()[0].time - 0.5).abs() < 1e-14);
    // A residue on the wrong side is waited out.
    let bounce = Event::new(|[height, _speed]: &[f64; 2], _t| *height)
        .crossing(Crossing::Falling)
        .reset(|[_height, speed], _t| [-1e-13, -0.5 * speed]);
    let mut stepper = WithEvents::new(RK4.stepper(), vec![bounce]);
    solve(&shared(fall), &mut stepper, [5.0, 0.0], &grid(0.0, 2.3, 1)).unwrap();
    assert_eq!(stepper.occurrences().len(), 2);
    assert!((stepper.occurrences()[1].time - 2.0).abs() < 1e-12);
    // A zero exactly at a grid point is found once.
    let line = shared(|_x: f64, _t: f64| 1.0);
    let mut stepper = WithEvents::new(EULER.stepper(), vec![Event::new(|x: &f64, _t| *x)]);
    solve(&line, &mut stepper, -0.5, &grid(0.0, 1.0, 4)).unwrap();
    assert_eq!(stepper.occurrences().len(), 1);
    assert_eq!(stepper.occurrences()[0].time, 0.5);
}

#[test]
fn several_events_in_one_step_come_in_order() {
    for (from, to) in [(0.0, 10.0), (10.0, 0.0)] {
        let line = shared(|_x: f64, _t: f64| 1.0);
        let at = |level: f64| Event::new(move |x: &f64, _t| *x - level);
        let mut stepper = WithEvents::new(RK4.stepper(), vec![at(7.0), at(3.0), at(5.0), at(11.0)]);
        solve(&line, &mut stepper, from, &grid(from, to, 1)).unwrap();
        let mut order = vec![(1, 3.0), (2, 5.0), (0, 7.0)];
        if to < from {
            order.reverse();
        }
        let check = |stepper: &WithEvents<_, f64>, order: &[(usize, f64)]| {
            let found: Vec<(usize, f64)> = stepper.occurrences().iter().map(|e| (e.event, e.time)).collect();
            assert_eq!(found.len(), order.len(), "{found:?}");
            for ((event, time), (expected, exact)) in found.iter().zip(order) {
                // Round-off of a step of 10.
                assert!(event == expected && (time - exact).abs() < 3e-14, "{found:?}");
            }
        };
        check(&stepper, &order);
        // What would come after the end of the motion does not happen.
        let mut stepper = WithEvents::new(RK4.stepper(), vec![at(7.0), at(3.0), at(5.0).terminal(), at(11.0)]);
        let end = solve(&line, &mut stepper, from, &grid(from, to, 1)).unwrap();
        assert!((end - 5.0).abs() < 3e-14);
        assert!((stepper.stopped().unwrap() - 5.0).abs() < 3e-14);
        check(&stepper, &order[..2]);
        // The stopped process goes to the end of the grid, and a new solve moves again.
        let g = grid(from, to, 5);
        let states: Vec<f64> = trajectory(&line, &mut stepper, from, &g).map(|item| item.unwrap().1).collect();
        assert_eq!(states.len(), 6);
        assert!(states[3..].iter().all(|x| (x - 5.0).abs() < 1e-14), "{states:?}");
        assert!((states[1] - g.points()[1]).abs() < 1e-14);
    }
}

#[test]
fn events_of_one_moment_all_happen() {
    // A counter in the second place: two resets and a record at the same zero.
    let field = shared(|[_x, _n]: [f64; 2], _t: f64| [1.0, 0.0]);
    let at = || Event::new(|[x, _n]: &[f64; 2], _t| *x);
    let events = vec![at().reset(|[x, n], _t| [x, n + 1.0]), at(), at().reset(|[x, n], _t| [x, n * 10.0])];
    let mut stepper = WithEvents::new(RK4.stepper(), events);
    let end = solve(&field, &mut stepper, [-0.3, 2.0], &grid(0.0, 1.0, 1)).unwrap();
    assert_eq!(end[1], 30.0);
    let found: Vec<usize> = stepper.occurrences().iter().map(|e| e.event).collect();
    assert_eq!(found, [0, 1, 2]);
}

#[test]
fn two_crossings_in_one_step_are_seen_if_it_is_looked_into() {
    // x = (t - 0.4) (t - 0.6): one step sees two positive ends.
    let field = shared(|_x: f64, t: f64| 2.0 * t - 1.0);
    for (from, to, order) in [(0.0, 1.0, [0.4, 0.6]), (1.0, 0.0, [0.6, 0.4])] {
        let run = |looks| {
            let mut stepper = WithEvents::new(RK4.stepper(), vec![Event::new(|x: &f64, _t| *x)]).looks(looks);
            solve(&field, &mut stepper, 0.24, &grid(from, to, 1)).unwrap();
            stepper.take_occurrences()
        };
        assert!(run(1).is_empty() && run(0).is_empty());
        let found = run(8);
        assert_eq!(found.len(), 2);
        for (event, exact) in found.iter().zip(order) {
            assert!((event.time - exact).abs() < 1e-14, "{}", event.time);
        }
    }
}

#[test]
fn a_step_ends_at_an_event_that_moves_the_state() {
    let field = shared(fall);
    let g = grid(0.0, 1.5, 1);
    let stepper = WithEvents::new(RK4.stepper(), vec![bounce()]);
    let steps: Vec<(Times, [f64; 2])> = skeleton(&field, stepper, [5.0, 0.0], &g).collect::<Result<_, _>>().unwrap();
    assert_eq!(steps.len(), 3);
    assert!((steps[1].0.at(0) - 1.0).abs() < 1e-14);
    assert!(steps[1].1[0] == 0.0 && (steps[1].1[1] - 5.0).abs() < 1e-13);
    assert_eq!(steps[2].0, Times::Shared(1.5));
}

#[test]
fn functions_that_are_not_numbers_and_rows_with_own_times_are_errors() {
    let field = shared(|x: f64, _t: f64| -x);
    let nan = Event::new(|x: &f64, t| if t > 0.6 { f64::NAN } else { *x });
    let stepper = WithEvents::new(RK4.stepper(), vec![Event::new(|x: &f64, _t| *x), nan]);
    let error = solve(&field, stepper, 1.0, &grid(0.0, 1.0, 4)).unwrap_err();
    assert!(matches!(error, SolveError::EventFunction { event: 1, time: 0.75 }), "{error}");
    let mut stepper = WithEvents::new(RK4.stepper(), vec![Event::new(|x: &f64, _t| *x)]);
    let error = stepper.step(&field, 1.0, &Times::Each(vec![0.0]), &Times::Shared(1.0)).unwrap_err();
    assert!(matches!(error, SolveError::RowTimes { rows: 1 }), "{error}");
}
