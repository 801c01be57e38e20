use crate::DiffusionError;
use crate::error::check;
use advect_core::TimeGrid;
use advect_paths::Schedule;

/// A rule that places the points of a time grid, for any schedule and any number of steps.
///
/// The trait is object safe, so a program may choose at run time.
///
/// ```
/// use advect_diffusion::{Karras, Spacing};
/// use advect_paths::Linear;
///
/// let grid = Karras::EDM.grid(&Linear, 18)?;
/// assert_eq!((grid.steps(), grid.end()), (18, 1.0));
/// # Ok::<(), advect_diffusion::DiffusionError>(())
/// ```
pub trait Spacing {
    /// A grid of `steps` steps from noise to data.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] if there are no steps or the schedule does not reach a noise level,
    /// [`DiffusionError::Grid`] if two points coincide in f64.
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError>;
}

impl<S: Spacing + ?Sized> Spacing for &S {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        (**self).grid(schedule, steps)
    }
}

impl<S: Spacing + ?Sized> Spacing for Box<S> {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        (**self).grid(schedule, steps)
    }
}

/// The grid of another spacing without its last step: it ends at the last noise level instead of at the data.
///
/// For solvers that must not evaluate the model at t = 1, such as Runge-Kutta on a velocity read off the data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WithoutLast<S>(pub S);

impl<S: Spacing> Spacing for WithoutLast<S> {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        at_least_one(steps)?;
        let full = self.0.grid(schedule, steps + 1)?;
        Ok(TimeGrid::new(full.points()[..=steps].to_vec())?)
    }
}

/// A grid with other ends, between which its other points must lie.
pub(super) fn ends(grid: &TimeGrid, start: f64, end: f64) -> Result<TimeGrid, DiffusionError> {
    span(start, end)?;
    let inside = &grid.points()[1..grid.steps()];
    let outside = inside.iter().find(|&&t| t <= start || t >= end);
    if let Some(&t) = outside {
        check(
            false,
            "t",
            t,
            "the grid has a point beyond the ends asked for: choose ends further out, or another grid",
        )?;
    }
    Ok(TimeGrid::new(std::iter::once(start).chain(inside.iter().copied()).chain([end]).collect())?)
}

/// `steps` must not be zero.
pub(super) fn at_least_one(steps: usize) -> Result<(), DiffusionError> {
    check(steps > 0, "steps", steps as f64, "a grid needs at least one step")
}

/// The two ends of a grid in time.
pub(super) fn span(start: f64, end: f64) -> Result<(), DiffusionError> {
    check((0.0..1.0).contains(&start), "start", start, "a grid must start in [0, 1)")?;
    check(end > start && end <= 1.0, "end", end, "a grid must end after its start and not after 1")
}

/// `steps` steps from `start` to `end`, which are met exactly; `warp` maps (0, 1) to itself.
pub(super) fn warped(
    start: f64,
    end: f64,
    steps: usize,
    warp: impl Fn(f64) -> f64,
) -> Result<TimeGrid, DiffusionError> {
    at_least_one(steps)?;
    let point = |i: usize| match i {
        0 => start,
        i if i == steps => end,
        i => start + (end - start) * warp(i as f64 / steps as f64),
    };
    Ok(TimeGrid::new((0..=steps).map(point).collect())?)
}
