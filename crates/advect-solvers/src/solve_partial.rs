use crate::solve::advance;
use crate::{SolveError, Step, Stepper};
use advect_core::{TimeGrid, Times};

/// What a solve reached, and why it went no further.
#[derive(Debug, Clone)]
#[must_use]
pub struct Reached<X> {
    /// The state after the last step that was made.
    pub x: X,
    /// Its time; row by row where rows stand at different times.
    pub at: Times,
    /// Why the solve stopped there; none at the end of the grid.
    pub error: Option<SolveError>,
}

/// Moves `x0` along the grid as [`solve`](crate::solve()) does, and where a step fails returns what was reached.
///
/// The state before each step is kept until the step is made: one clone a step, which for tensors is a handle.
///
/// ```
/// use advect_solvers::{Adaptive, DOPRI5, PidController, SolveError, TimeGrid, Times, Tolerance, solve_partial};
///
/// // Blows up at t = 1.
/// let field = |x: f64, _t: &Times| x * x;
/// let stepper = Adaptive::new(DOPRI5.stepper(), Tolerance::new(1e-8, 1e-8)?, PidController::standard());
/// let reached = solve_partial(&field, stepper.max_steps(100), 1.0, &TimeGrid::uniform(0.0, 2.0, 1)?);
/// assert!(matches!(reached.error, Some(SolveError::TooManySteps { .. })));
/// let t = reached.at.at(0);
/// assert!((reached.x * (1.0 - t) - 1.0).abs() < 1e-4);
/// # Ok::<(), SolveError>(())
/// ```
pub fn solve_partial<G: ?Sized, X: Clone, S: Stepper<G, X>>(
    generator: &G,
    mut stepper: S,
    x0: X,
    grid: &TimeGrid,
) -> Reached<X> {
    stepper.restart();
    let mut x = x0;
    let mut at = Times::Shared(grid.start());
    for &to in &grid.points()[1..] {
        let to = Times::Shared(to);
        while !at.reached(&to) {
            match advance(generator, &mut stepper, x.clone(), &at, &to) {
                Ok(step) => Step { x, at } = step,
                Err(error) => return Reached { x, at, error: Some(error) },
            }
        }
        // Every row stands at the grid point: the next step may share its time.
        at = to;
    }
    Reached { x, at, error: None }
}
