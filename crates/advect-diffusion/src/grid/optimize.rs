use super::Pilot;
use super::dynamic_programming::cheapest_path;
use super::nelder_mead::minimize;
use super::pilot::distance;
use advect_core::{State, TimeGrid};
use advect_solvers::{SolveError, Stepper, solve};

/// A time grid made for one model, one method and one number of steps.
#[derive(Debug, Clone, PartialEq)]
pub struct OptimizedGrid {
    /// The grid.
    pub grid: TimeGrid,
    /// The root mean square error of the pilot batch at the end: optimistic, since the grid was chosen on this batch.
    pub error: f64,
    /// How many solves of the pilot batch the search took.
    pub solves: usize,
}

/// The grid whose single steps have the least sum of errors on a pilot batch, by dynamic programming.
///
/// The cost of a step from one point of the pilot to another is the root mean square distance between where one step of
/// the method takes the true state and where it truly is: Chen et al., 2024, "On the Trajectory Regularity of ODE-based
/// Diffusion Sampling" (GITS), with the error in place of the mean curvature. The candidates are the
/// points of the pilot: with 40 of them about 800 steps are tried. A method with memory is judged by its first step.
///
/// # Errors
/// What the stepper reports, and [`SolveError::Generator`] if there are more steps than gaps between candidates.
pub fn local_error_grid<G: ?Sized, X: State, S: Stepper<G, X>>(
    generator: &G,
    mut stepper: S,
    pilot: &Pilot<X>,
    steps: usize,
) -> Result<TimeGrid, SolveError> {
    let last = pilot.times().len() - 1;
    let cost = |i: usize, j: usize| -> Result<f64, Fault> {
        stepper.restart();
        let step = stepper.step(generator, pilot.states()[i].clone(), &pilot.shared(i), &pilot.shared(j));
        match step {
            Ok(step) => Ok(distance(&step.x, &pilot.states()[j])),
            // A step that blows up is a step not to take.
            Err(SolveError::NotFinite { .. }) => Ok(f64::INFINITY),
            Err(error) => Err(Fault(error)),
        }
    };
    let path = cheapest_path(last, steps, cost).map_err(|fault| fault.0)?;
    Ok(TimeGrid::new(path.indices.iter().map(|&i| pilot.times()[i]).collect())?)
}

/// Carries both kinds of error through the dynamic programming.
struct Fault(SolveError);

impl From<crate::DiffusionError> for Fault {
    fn from(error: crate::DiffusionError) -> Self {
        Self(error.into())
    }
}

/// The grid with the least error at the end on a pilot batch, for a method, a model and a number of steps.
///
/// Begins with the best of `guesses` (such as Karras', or that of [`local_error_grid`]; equal steps of the pilot's fine
/// grid are always tried) and varies the steps by the simplex method, up to `solves` solves of the pilot batch. The
/// steps vary smoothly over the fine grid with at most seven degrees of freedom, so that a small pilot is not
/// overfitted. Like Align Your Steps (Sabour et al., 2024) and LD3 (Tong et al., 2024) in aim: a grid for one model,
/// found once. Use it where a model is sampled more often than some hundred pilot batches, with 5 to 20 evaluations.
///
/// # Errors
/// What the stepper reports, other than a state that is not finite; [`SolveError::Generator`] if `steps` is zero.
pub fn optimize_grid<G: ?Sized, X: State, S: Stepper<G, X>>(
    generator: &G,
    mut stepper: S,
    pilot: &Pilot<X>,
    guesses: &[TimeGrid],
    steps: usize,
    solves: usize,
) -> Result<OptimizedGrid, SolveError> {
    search(pilot, guesses, steps, solves, |grid| match solve(generator, &mut stepper, pilot.start().clone(), grid) {
        Ok(end) => Ok(pilot.error(&end)),
        Err(SolveError::NotFinite { .. }) => Ok(f64::INFINITY),
        Err(error) => Err(error),
    })
}

/// The most unknowns of a search: more would fit the pilot batch rather than the model.
const UNKNOWNS: usize = 7;

/// Minimizes `error` over grids of `steps` steps on the fine grid of a pilot.
pub(super) fn search<X: State>(
    pilot: &Pilot<X>,
    guesses: &[TimeGrid],
    steps: usize,
    solves: usize,
    mut error: impl FnMut(&TimeGrid) -> Result<f64, SolveError>,
) -> Result<OptimizedGrid, SolveError> {
    super::spacing::at_least_one(steps)?;
    let mut best: Option<OptimizedGrid> = None;
    let mut spent = 0;
    let mut judge = |grid: &TimeGrid| -> Result<f64, SolveError> {
        let value = error(grid)?;
        spent += 1;
        if best.as_ref().is_none_or(|b| value < b.error) {
            best = Some(OptimizedGrid { grid: grid.clone(), error: value, solves: 0 });
        }
        // Errors differ by orders of magnitude between grids; the simplex should see ratios.
        Ok(value.ln())
    };
    let count = steps.min(UNKNOWNS);
    let mut start = (vec![0.0; count], judge(&from_log_gaps(pilot, &vec![0.0; count], steps)?)?);
    for guess in guesses {
        let gaps = log_gaps(pilot, guess, count);
        let value = judge(&from_log_gaps(pilot, &gaps, steps)?)?;
        if value < start.1 {
            start = (gaps, value);
        }
        // As it is, too: its shape may have more detail than the unknowns can say.
        if guess.steps() == steps && guess.start() == pilot.times()[0] {
            judge(guess)?;
        }
    }
    if count > 1 {
        // Twice, the second time with a small simplex: the first may have collapsed early.
        let half = solves / 2;
        let f = |x: &[f64]| judge(&from_log_gaps(pilot, x, steps)?);
        let (x, _) = minimize(f, &start.0, 0.7, half)?;
        let f = |x: &[f64]| judge(&from_log_gaps(pilot, x, steps)?);
        minimize(f, &x, 0.2, solves - half)?;
    }
    // `judge` was called at least once.
    best.map(|found| OptimizedGrid { solves: spent, ..found })
        .ok_or_else(|| SolveError::Core(advect_core::CoreError::GridTooShort { points: 0 }))
}

/// The grid whose gaps, in positions on the fine grid, are the exponentials of a line through `gaps`.
fn from_log_gaps<X: State>(pilot: &Pilot<X>, gaps: &[f64], steps: usize) -> Result<TimeGrid, SolveError> {
    let last = pilot.times().len() - 1;
    let log_gap = |i: usize| {
        let at = if steps > 1 { i as f64 * (gaps.len() - 1) as f64 / (steps - 1) as f64 } else { 0.0 };
        let whole = (at as usize).min(gaps.len().saturating_sub(2));
        let next = gaps[(whole + 1).min(gaps.len() - 1)];
        gaps[whole] + (at - whole as f64) * (next - gaps[whole])
    };
    let logs: Vec<f64> = (0..steps).map(log_gap).collect();
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // No gap below a fiftieth of the mean one: the points of a grid must stay apart in f64.
    let parts: Vec<f64> = logs.iter().map(|l| (l - top).exp()).collect();
    let (total, floor) = (parts.iter().sum::<f64>(), 0.02 / steps as f64);
    let mut points = vec![pilot.times()[0]];
    let mut reached = 0.0;
    for part in &parts[..steps - 1] {
        reached += floor + (1.0 - 0.02) * part / total;
        points.push(pilot.time_at(reached * last as f64));
    }
    points.push(pilot.times()[last]);
    Ok(TimeGrid::new(points)?)
}

/// The logarithms of `count` gaps that describe a grid: the inverse of [`from_log_gaps`], as far as there is one.
fn log_gaps<X: State>(pilot: &Pilot<X>, grid: &TimeGrid, count: usize) -> Vec<f64> {
    let up = pilot.times()[1] > pilot.times()[0];
    let last = pilot.times().len() - 1;
    let position = |t: f64| {
        let after = pilot.times().partition_point(|&p| if up { p <= t } else { p >= t }).clamp(1, last);
        let (a, b) = (pilot.times()[after - 1], pilot.times()[after]);
        (after - 1) as f64 + ((t - a) / (b - a)).clamp(0.0, 1.0)
    };
    let positions: Vec<f64> = grid.points().iter().map(|&t| position(t)).collect();
    let gap = |i: usize| (positions[i + 1] - positions[i]).max(1e-3).ln();
    let center = |k: usize| {
        let at = if count > 1 { k as f64 * (grid.steps() - 1) as f64 / (count - 1) as f64 } else { 0.0 };
        let whole = at as usize;
        let next = gap((whole + 1).min(grid.steps() - 1));
        gap(whole) + (at - whole as f64) * (next - gap(whole))
    };
    (0..count).map(center).collect()
}
