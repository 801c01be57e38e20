use crate::watch::Patience;
use crate::{SolveError, Step, Stepper};
use advect_core::{TimeGrid, Times};

/// Moves `x0` from the start of the grid to its end and returns where it ends.
///
/// The one driver: which process is simulated is decided by the stepper and the generator it understands.
///
/// # Errors
/// What the stepper reports, and [`SolveError::NoProgress`] if it stands still. On a card a state that is not finite is found at most 16
/// steps late (see [`arrive`](crate::arrive)).
///
/// ```
/// use advect_solvers::{RK4, TimeGrid, Times, solve};
///
/// let field = |x: f64, _t: &Times| -x;
/// let x = solve(&field, RK4.stepper(), 1.0, &TimeGrid::uniform(0.0, 1.0, 20)?)?;
/// assert!((x - (-1.0_f64).exp()).abs() < 1e-7);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
pub fn solve<G: ?Sized, X, S: Stepper<G, X>>(
    generator: &G,
    mut stepper: S,
    x0: X,
    grid: &TimeGrid,
) -> Result<X, SolveError> {
    stepper.restart();
    let patience = Patience::begin();
    let mut x = x0;
    for pair in grid.points().windows(2) {
        let to = Times::Shared(pair[1]);
        let mut at = Times::Shared(pair[0]);
        while !at.reached(&to) {
            Step { x, at } = advance(generator, &mut stepper, x, &at, &to)?;
        }
    }
    patience.end()?;
    Ok(x)
}

/// One step, which must make progress.
#[inline]
pub(crate) fn advance<G: ?Sized, X, S: Stepper<G, X>>(
    generator: &G,
    stepper: &mut S,
    x: X,
    from: &Times,
    to: &Times,
) -> Result<Step<X>, SolveError> {
    let step = stepper.step(generator, x, from, to)?;
    // `reached` compares Shared with Each, which `==` does not. A batch without rows is everywhere at once.
    if step.at.reached(from) && !step.at.reached(to) {
        Err(SolveError::NoProgress { time: from.range().0 })
    } else {
        Ok(step)
    }
}
