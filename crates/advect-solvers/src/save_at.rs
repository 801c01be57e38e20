use crate::dense::advance_dense;
use crate::{DenseStepper, Interpolant, SolveError, Way};
use advect_core::{Field, State, TimeGrid};
use std::iter::FusedIterator;

/// The states of a solve at given times, which need not be grid points and do not shorten a step.
///
/// Where the stepper steps over a time, the state comes from its interpolant. Only the present step is kept. It goes
/// on as far as the last time asked for.
///
/// # Errors
/// [`SolveError::OutsideSpan`] for a time outside of the grid, [`SolveError::SaveOrder`] if the times do not run the
/// way of the grid (equal times are fine); then what the stepper reports, as an item after which the iterator ends.
///
/// ```
/// use advect_solvers::{RK4, TimeGrid, Times, save_at};
///
/// let field = |x: f64, _t: &Times| -x;
/// let grid = TimeGrid::uniform(0.0, 1.0, 20)?;
/// for saved in save_at(&field, RK4.stepper(), 1.0, &grid, &[0.0, 0.123, 0.77])? {
///     let (t, x) = saved?;
///     assert!((x - (-t).exp()).abs() < 1e-6);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
pub fn save_at<'a, G: Field<X> + ?Sized, X: State, S: DenseStepper<G, X>>(
    field: &'a G,
    mut stepper: S,
    x0: X,
    grid: &'a TimeGrid,
    times: &'a [f64],
) -> Result<SaveAt<'a, G, X, S>, SolveError> {
    let (start, end) = (grid.start(), grid.end());
    let along = |a: f64, b: f64| if start < end { a <= b } else { a >= b };
    if let Some(&time) = times.iter().find(|&&t| !(along(start, t) && along(t, end))) {
        return Err(SolveError::OutsideSpan { time, start, end });
    }
    if let Some(index) = times.windows(2).position(|pair| !along(pair[0], pair[1])) {
        return Err(SolveError::SaveOrder { index: index + 1, before: times[index], after: times[index + 1] });
    }
    stepper.restart();
    Ok(SaveAt { field, stepper, points: grid.points(), times, at: start, x: Some(x0), last: Last::None })
}

/// See [`save_at`].
#[derive(Debug)]
pub struct SaveAt<'a, G: ?Sized, X, S> {
    field: &'a G,
    stepper: S,
    /// The grid points from the one last reached on.
    points: &'a [f64],
    /// The times that are still to come.
    times: &'a [f64],
    at: f64,
    /// None after an error: the state is lost with the step that failed.
    x: Option<X>,
    last: Last<X>,
}

/// The last step.
#[derive(Debug)]
enum Last<X> {
    None,
    /// Nobody looked into it yet.
    Closed(Way<X>, (f64, X)),
    Open(Interpolant<X>),
}

impl<G: Field<X> + ?Sized, X: State, S: DenseStepper<G, X>> SaveAt<'_, G, X, S> {
    /// Whether `t` lies ahead of the last step.
    fn ahead(&self, t: f64) -> bool {
        match self.points {
            [from, to, ..] => (t > self.at) == (to > from) && t != self.at,
            _ => false,
        }
    }

    /// One step; false if it failed before, or the grid is at its end.
    fn step(&mut self) -> Result<bool, SolveError> {
        let [_, to, ..] = *self.points else { return Ok(false) };
        let Some(x) = self.x.take() else { return Ok(false) };
        let from = (self.at, x.clone());
        let step = advance_dense(self.field, &mut self.stepper, x, self.at, to)?;
        self.at = step.at;
        if step.at == to {
            self.points = &self.points[1..];
        }
        self.last = Last::Closed(step.way, from);
        self.x = Some(step.x);
        Ok(true)
    }

    /// The state at a time that is not ahead.
    fn read(&mut self, t: f64) -> Option<X> {
        let end = self.x.clone()?;
        if t == self.at {
            return Some(end);
        }
        let interpolant = match std::mem::replace(&mut self.last, Last::None) {
            Last::None => return None,
            Last::Closed(way, from) => way.interpolant(self.field, from, (self.at, end)),
            Last::Open(interpolant) => interpolant,
        };
        let x = interpolant.at(t);
        self.last = Last::Open(interpolant);
        Some(x)
    }
}

impl<G: Field<X> + ?Sized, X: State, S: DenseStepper<G, X>> Iterator for SaveAt<'_, G, X, S> {
    type Item = Result<(f64, X), SolveError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (&t, rest) = self.times.split_first()?;
        while self.ahead(t) {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.times = &[];
                    return Some(Err(error));
                }
            }
        }
        self.times = rest;
        self.read(t).map(|x| Ok((t, x)))
    }
}

impl<G: Field<X> + ?Sized, X: State, S: DenseStepper<G, X>> FusedIterator for SaveAt<'_, G, X, S> {}
