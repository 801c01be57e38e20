//! Adaptive steps on a Brownian path.

use crate::sde_problems::Each;
use advect_solvers::{
    BrownianPath, DiagonalSde, EulerMaruyama, RungeKuttaMilstein, SRI1W1, Sde, Shark, SolveError, SpaceTimeLevyArea,
    StepDoubling, Stepper, TimeGrid, Times, Tolerance, solve, trajectory,
};

const N: usize = 32;
type Paths = [f64; N];
const CELLS: usize = 1024;
const SEED: u64 = 41;

fn path() -> BrownianPath {
    BrownianPath::on_grid(SEED, vec![0], &TimeGrid::uniform(0.0, 1.0, CELLS).unwrap(), 30)
}

fn rms(a: &Paths, b: &Paths) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / N as f64).sqrt()
}

/// dX = -r(t) X dt + 0.2 dW, where r = 0.5 / (t + 0.01) is steep at first: X(1) = m(0, 1) x0 + 0.2 int m(s, 1) dW with
/// m(s, t) = sqrt((s + 0.01) / (t + 0.01)), on the path by two Legendre coefficients in each cell.
fn steep() -> (Sde<Each, fn(f64) -> f64>, Paths) {
    let sde = Sde { drift: Each(|x, t| -0.5 * x / (t + 0.01)), diffusion: (|_t| 0.2) as fn(f64) -> f64 };
    let m = |s: f64| ((s + 0.01) / 1.01).sqrt();
    let mut x = [m(0.0); N];
    let h = 1.0 / CELLS as f64;
    let grid = TimeGrid::uniform(0.0, 1.0, CELLS).unwrap();
    let mut path = path();
    for pair in grid.points().windows(2) {
        let (w, area) = path.increment_and_area(&[0.0; N], &pair[0].into(), &pair[1].into());
        let (a, b, c) = (m(pair[0]), m(pair[0] + 0.5 * h), m(pair[1]));
        for i in 0..N {
            x[i] += 0.2 * ((a + 4.0 * b + c) / 6.0 * w[i] + (a - c) * area[i]);
        }
    }
    (sde, x)
}

#[test]
fn the_error_follows_the_tolerance_at_fewer_evaluations_than_equal_steps() {
    let (sde, exact) = steep();
    let grid = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    let mut errors = Vec::new();
    for tolerance in [1e-2, 1e-3, 1e-4] {
        let tolerance = Tolerance::new(0.0, tolerance).unwrap();
        let mut stepper = StepDoubling::new(Shark::new(path()), tolerance, 0.1).unwrap();
        let end = solve(&sde, &mut stepper, [1.0; N], &grid).unwrap();
        let steps = 3 * (stepper.accepted() + stepper.rejected());
        let equal = TimeGrid::uniform(0.0, 1.0, steps as usize).unwrap();
        let fixed = rms(&solve(&sde, Shark::new(path()), [1.0; N], &equal).unwrap(), &exact);
        let error = rms(&end, &exact);
        println!("{tolerance:?}: {error:.2e}, {steps} steps, as many equal ones {fixed:.2e}");
        assert!(stepper.rejected() > 0);
        assert!(error < fixed, "{error:.2e} {fixed:.2e}");
        errors.push(error);
    }
    assert!(errors[0] < 1e-2 && errors[1] < 1e-3 && errors[2] < 1e-4, "{errors:?}");
}

#[test]
fn noise_that_depends_on_the_state_converges_to_the_solution() {
    // Geometric Brownian motion on its path: x0 exp((mu - s^2 / 2) t + s W).
    let gbm = DiagonalSde { drift: Each(|x, _| 0.5 * x), diffusion: Each(|x, _| 0.7 * x) };
    let exact = path().value(&[0.0; N], &Times::Shared(1.0)).map(|w| (0.5 - 0.245 + 0.7 * w).exp());
    let grid = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    let tolerance = |t| Tolerance::new(t, t).unwrap();
    let milstein = |t| {
        let stepper = StepDoubling::new(RungeKuttaMilstein::new(path()), tolerance(t), 0.1).unwrap();
        rms(&solve(&gbm, stepper, [1.0; N], &grid).unwrap(), &exact)
    };
    let sri = |t| {
        let stepper = StepDoubling::new(SRI1W1.stepper(path()), tolerance(t), 0.1).unwrap();
        rms(&solve(&gbm, stepper, [1.0; N], &grid).unwrap(), &exact)
    };
    // Errors of steps add up: the global one falls like tolerance^(p / (p + 1/2)), 0.22 a decade for p = 1.
    let errors = [milstein(1e-2), milstein(1e-3), sri(1e-2), sri(1e-3)];
    println!("{errors:?}");
    assert!(errors[1] < 0.4 * errors[0] && errors[1] < 5e-2, "{errors:?}");
    assert!(errors[3] < 0.4 * errors[2] && errors[3] < 1e-2, "{errors:?}");
}

#[test]
fn grid_points_are_met_and_both_directions_work() {
    let sde = Sde { drift: Each(|x, t| (3.0 * t).cos() - x), diffusion: |t: f64| 0.3 + t };
    for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
        let grid = TimeGrid::uniform(from, to, 7).unwrap();
        let stepper = StepDoubling::new(EulerMaruyama::new(path()), Tolerance::new(1e-3, 1e-3).unwrap(), 0.3).unwrap();
        let states: Vec<_> = trajectory(&sde, stepper, [0.5; N], &grid).collect::<Result<_, _>>().unwrap();
        let times: Vec<Times> = grid.points().iter().map(|&t| t.into()).collect();
        assert_eq!(states.iter().map(|s| s.0.clone()).collect::<Vec<_>>(), times);
        // Against the same path in many steps of a better method.
        let fine = solve(&sde, Shark::new(path()), [0.5; N], &TimeGrid::uniform(from, to, CELLS).unwrap()).unwrap();
        let error = rms(&states[7].1, &fine);
        assert!(error < 2e-2, "{error:.2e}");
    }
    // Rows at their own times arrive at their own ends.
    let each = Sde { drift: Each(|x, t| (3.0 * t).cos() - x), diffusion: |t: f64| 0.3 + t };
    let path = BrownianPath::new(SEED, vec![0, 1], 0.0, 1.0, 30).unwrap();
    let mut stepper = StepDoubling::new(Shark::new(path), Tolerance::new(1e-3, 1e-3).unwrap(), 0.1).unwrap();
    let to = Times::Each(vec![1.0, 0.2]);
    let mut at = Times::Each(vec![0.0, 0.6]);
    let mut x = vec![0.5, 0.5];
    while !at.reached(&to) {
        let step = stepper.step(&each, x, &at, &to).unwrap();
        (x, at) = (step.x, step.at);
    }
    assert!(x.iter().all(|x| x.is_finite()));
}

#[test]
fn failures_say_where_and_why() {
    let grid = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    let tolerance = Tolerance::new(1e-6, 1e-6).unwrap();
    let make = || StepDoubling::new(Shark::new(path()), tolerance, 0.1).unwrap();
    let sde = Sde { drift: Each(|x, t| -x / (t + 1e-3)), diffusion: |_t: f64| 0.5 };
    let end = solve(&sde, make().max_steps(20), [1.0; N], &grid);
    assert!(matches!(end, Err(SolveError::TooManySteps { limit: 20, .. })), "{end:?}");
    let end = solve(&sde, make().min_step(0.05).unwrap(), [1.0; N], &grid);
    assert!(matches!(end, Err(SolveError::StepTooSmall { limit: 0.05, .. })), "{end:?}");
    let broken = Sde { drift: Each(|x, t| if t < 0.5 { -x } else { f64::NAN }), diffusion: |_t: f64| 0.5 };
    let loose = StepDoubling::new(Shark::new(path()), Tolerance::new(1e-1, 1e-1).unwrap(), 0.1).unwrap();
    let end = solve(&broken, loose.min_step(1e-4).unwrap(), [1.0; N], &grid);
    let Err(SolveError::NotFinite { time, .. }) = end else { panic!("{end:?}") };
    assert!((0.49..=0.5).contains(&time), "{time}");
    for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            StepDoubling::new(Shark::new(path()), tolerance, step),
            Err(SolveError::Setting { name: "first_step", .. })
        ));
    }
    assert!(matches!(make().min_step(f64::NAN), Err(SolveError::Setting { name: "min_step", .. })));
}
