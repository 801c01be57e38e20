use crate::solve::advance;
use crate::{SolveError, Step, Stepper};
use advect_core::{TimeGrid, Times};
use std::iter::FusedIterator;

/// The states of a solve at the points of the grid: first the start, then every grid point.
///
/// Saving, callbacks, progress bars and early stop are iterator adapters over it. After an error it ends.
///
/// ```
/// use advect_solvers::{RK4, TimeGrid, Times, trajectory};
///
/// let field = |x: f64, _t: &Times| -x;
/// let grid = TimeGrid::uniform(0.0, 1.0, 4)?;
/// let saved = trajectory(&field, RK4.stepper(), 1.0, &grid).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(saved.len(), 5);
/// assert_eq!(saved[0], (Times::Shared(0.0), 1.0));
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
pub fn trajectory<'a, G: ?Sized, X: Clone, S: Stepper<G, X>>(
    generator: &'a G,
    stepper: S,
    x0: X,
    grid: &'a TimeGrid,
) -> Trajectory<'a, G, X, S> {
    Trajectory(skeleton(generator, stepper, x0, grid))
}

/// The states of a solve after every step the stepper made: accepted steps, events, jumps, and the grid points.
///
/// First the start. Between grid points the time may differ from row to row ([`Times::Each`]).
pub fn skeleton<'a, G: ?Sized, X: Clone, S: Stepper<G, X>>(
    generator: &'a G,
    mut stepper: S,
    x0: X,
    grid: &'a TimeGrid,
) -> Skeleton<'a, G, X, S> {
    stepper.restart();
    Skeleton {
        generator,
        stepper,
        points: grid.points(),
        started: false,
        last: Some((Times::Shared(grid.start()), x0)),
    }
}

/// See [`trajectory`].
#[derive(Debug)]
pub struct Trajectory<'a, G: ?Sized, X, S>(Skeleton<'a, G, X, S>);

impl<G: ?Sized, X: Clone, S: Stepper<G, X>> Iterator for Trajectory<'_, G, X, S> {
    type Item = Result<(Times, X), SolveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.0.started {
            return self.0.next();
        }
        loop {
            match self.0.step()? {
                Err(error) => return Some(Err(error)),
                Ok(true) => return self.0.last.clone().map(Ok),
                Ok(false) => {}
            }
        }
    }
}

impl<G: ?Sized, X: Clone, S: Stepper<G, X>> FusedIterator for Trajectory<'_, G, X, S> {}

/// See [`skeleton`].
#[derive(Debug)]
pub struct Skeleton<'a, G: ?Sized, X, S> {
    generator: &'a G,
    stepper: S,
    /// The grid points from the one last reached on.
    points: &'a [f64],
    started: bool,
    /// None after an error: the state is lost with the step that failed.
    last: Option<(Times, X)>,
}

impl<G: ?Sized, X, S: Stepper<G, X>> Skeleton<'_, G, X, S> {
    /// One step; true if it ended at a grid point, none at the end of the grid or after an error.
    fn step(&mut self) -> Option<Result<bool, SolveError>> {
        let [_, to, ..] = *self.points else { return None };
        let (at, x) = self.last.take()?;
        let to = Times::Shared(to);
        let Step { x, at } = match advance(self.generator, &mut self.stepper, x, &at, &to) {
            Ok(step) => step,
            Err(error) => return Some(Err(error)),
        };
        let reached = at.reached(&to);
        if reached {
            self.points = &self.points[1..];
        }
        self.last = Some((if reached { to } else { at }, x));
        Some(Ok(reached))
    }
}

impl<G: ?Sized, X: Clone, S: Stepper<G, X>> Iterator for Skeleton<'_, G, X, S> {
    type Item = Result<(Times, X), SolveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.started {
            self.started = true;
            return self.last.clone().map(Ok);
        }
        match self.step()? {
            Ok(_) => self.last.clone().map(Ok),
            Err(error) => Some(Err(error)),
        }
    }
}

impl<G: ?Sized, X: Clone, S: Stepper<G, X>> FusedIterator for Skeleton<'_, G, X, S> {}
