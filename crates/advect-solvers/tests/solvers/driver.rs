//! The driver: progress, errors, trajectories.

use advect_solvers::{
    CoreError, EULER, RK4, SolveError, Step, Stepper, TimeGrid, Times, shared, skeleton, solve, trajectory,
};

fn grid(from: f64, to: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(from, to, steps).unwrap()
}

/// Moves a counter at given event times, and stops there.
struct Events {
    times: Vec<f64>,
    restarts: usize,
}

impl Stepper<(), u32> for Events {
    fn step(&mut self, (): &(), x: u32, from: &Times, to: &Times) -> Result<Step<u32>, SolveError> {
        let (from, to) = (from.at(0), to.at(0));
        match self.times.iter().find(|&&t| t > from && t <= to) {
            Some(&t) => Ok(Step { x: x + 1, at: t.into() }),
            None => Ok(Step { x, at: to.into() }),
        }
    }

    fn restart(&mut self) {
        self.restarts += 1;
    }
}

#[test]
fn a_step_may_end_early() {
    let mut events = Events { times: vec![0.1, 0.5, 0.75, 1.5], restarts: 0 };
    assert_eq!(solve(&(), &mut events, 0, &grid(0.0, 1.0, 2)).unwrap(), 3);
    assert_eq!(events.restarts, 1);
    let g = grid(0.0, 1.0, 2);
    let times = |items: Vec<(Times, u32)>| items.into_iter().map(|(t, n)| (t.at(0), n)).collect::<Vec<_>>();
    let points = times(trajectory(&(), &mut events, 0, &g).collect::<Result<_, _>>().unwrap());
    assert_eq!(points, [(0.0, 0), (0.5, 2), (1.0, 3)]);
    let steps = times(skeleton(&(), &mut events, 0, &g).collect::<Result<_, _>>().unwrap());
    assert_eq!(steps, [(0.0, 0), (0.1, 1), (0.5, 2), (0.75, 3), (1.0, 3)]);
    assert_eq!(events.restarts, 3);
}

#[test]
fn a_step_without_progress_is_an_error() {
    /// Stands still at the second grid point; if told so, behind the other kind of time, so that `==` sees a change.
    struct Stuck {
        hides: bool,
        calls: usize,
    }
    impl Stepper<(), f64> for Stuck {
        fn step(&mut self, (): &(), x: f64, from: &Times, to: &Times) -> Result<Step<f64>, SolveError> {
            self.calls += 1;
            assert!(self.calls < 10, "the driver loops");
            let at = match from {
                _ if from.at(0) < 0.5 => to.clone(),
                Times::Shared(t) if self.hides => Times::Each(vec![*t]),
                Times::Each(t) if self.hides => Times::Shared(t[0]),
                _ => from.clone(),
            };
            Ok(Step { x, at })
        }
        fn restart(&mut self) {}
    }
    for hides in [true, false] {
        let error = solve(&(), Stuck { hides, calls: 0 }, 1.0, &grid(0.0, 1.0, 2)).unwrap_err();
        assert!(matches!(error, SolveError::NoProgress { time: 0.5 }), "{error}");
        let g = grid(0.0, 1.0, 2);
        let mut items = trajectory(&(), Stuck { hides, calls: 0 }, 1.0, &g);
        assert!(items.next().is_some_and(|i| i.is_ok()) && items.next().is_some_and(|i| i.is_ok()));
        assert!(items.next().is_some_and(|i| i.is_err()));
        assert!(items.next().is_none() && items.next().is_none());
    }
}

#[test]
fn what_is_not_finite_names_its_step() {
    let field = shared(|x: f64, t: f64| if t >= 0.5 { f64::INFINITY } else { -x });
    let error = solve(&field, EULER.stepper(), 1.0, &grid(0.0, 1.0, 4)).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { time: 0.5, step: 0.25 }), "{error}");
    let error = solve(&field, RK4.stepper(), 1.0, &grid(1.0, 0.0, 4)).unwrap_err();
    assert!(matches!(error, SolveError::NotFinite { time: 1.0, step: -0.25 }), "{error}");
    // Large is not infinite.
    let still = shared(|_x: f64, _t: f64| 0.0);
    assert_eq!(solve(&still, EULER.stepper(), 1e200, &grid(0.0, 1.0, 4)).unwrap(), 1e200);
}

#[test]
fn a_trajectory_ends_where_solve_ends() {
    let field = shared(|x: f64, t: f64| -x * t);
    let g = grid(1.0, 0.0, 7);
    let items: Vec<_> = trajectory(&field, RK4.stepper(), 2.0, &g).collect::<Result<_, _>>().unwrap();
    let times: Vec<f64> = items.iter().map(|(t, _)| t.at(0)).collect();
    assert_eq!(times, g.points());
    assert_eq!(items[0].1, 2.0);
    assert_eq!(items[7].1, solve(&field, RK4.stepper(), 2.0, &g).unwrap());
    // Early stop is an adapter.
    let early = trajectory(&field, RK4.stepper(), 2.0, &g).take_while(|i| matches!(i, Ok((_, x)) if *x < 2.5)).count();
    assert!(early > 1 && early < 7);
}

#[test]
fn errors_of_other_crates_pass_through() {
    let error = SolveError::generator(std::io::Error::other("the bound of the rate is violated"));
    assert_eq!(error.to_string(), "the bound of the rate is violated");
    let grid_error = TimeGrid::new(vec![0.0]).map_err(SolveError::from).unwrap_err();
    assert!(matches!(grid_error, SolveError::Core(CoreError::GridTooShort { points: 1 })));
    fn is_send<T: Send + Sync>(_: &T) {}
    is_send(&error);
}
