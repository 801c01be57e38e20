use crate::watch::Patience;
use crate::{DenseStep, DenseStepper, Interpolant, SolveError, Way};
use advect_core::{Field, State, TimeGrid};

/// A solution at every time of its span, made by [`solve_dense`]: one [`Interpolant`] a step.
///
/// Continuous, with a continuous slope where the solution is smooth; where an event moved the state, the value at that
/// time is the one before.
#[derive(Debug, Clone)]
pub struct Dense<X> {
    start: f64,
    end: f64,
    steps: Vec<Interpolant<X>>,
}

/// Solves as [`solve`](crate::solve) does and keeps the solution at all times.
///
/// Each step keeps two states, two slopes and the quartic term if the method has one; tensors are shared, not copied.
/// Evaluations: those of the stepper, and at most one in all for Runge-Kutta methods (see [`DenseStepper`]). Time may
/// run down.
///
/// # Errors
/// What the stepper reports, and [`SolveError::NoProgress`] if it stands still. On a card a state that is not finite is found at most 16
/// steps late, as by [`solve`](crate::solve()).
///
/// ```
/// use advect_solvers::{Adaptive, DOPRI5, PiController, TimeGrid, Tolerance, shared, solve_dense};
///
/// let pendulum = shared(|[q, v]: [f64; 2], _t: f64| [v, -q]);
/// let tolerance = Tolerance::new(1e-9, 1e-9)?;
/// let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
/// let solution = solve_dense(&pendulum, stepper, [1.0, 0.0], &TimeGrid::uniform(0.0, 10.0, 1)?)?;
/// for t in [0.1, 3.0, 7.77] {
///     assert!((solution.at(t)?[0] - t.cos()).abs() < 1e-6);
/// }
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
pub fn solve_dense<G: Field<X> + ?Sized, X: State, S: DenseStepper<G, X>>(
    field: &G,
    mut stepper: S,
    x0: X,
    grid: &TimeGrid,
) -> Result<Dense<X>, SolveError> {
    stepper.restart();
    let patience = Patience::begin();
    let mut steps = Vec::new();
    // The last step: the next one may know the slope where it ended.
    let mut open: Option<Open<X>> = None;
    let mut x = x0;
    for pair in grid.points().windows(2) {
        let [mut at, to] = [pair[0], pair[1]];
        while at != to {
            let start = x.clone();
            let mut step = advance_dense(field, &mut stepper, x, at, to)?;
            if let Some(last) = open.take() {
                steps.push(last.close(field, &mut step.way));
            }
            let end = step.at;
            x = step.x.clone();
            open = Some(Open { from: at, start, step });
            at = end;
        }
    }
    if let Some(Open { from, start, step }) = open {
        steps.push(step.way.interpolant(field, (from, start), (step.at, step.x)));
    }
    patience.end()?;
    Ok(Dense { start: grid.start(), end: grid.end(), steps })
}

/// A step whose interpolant waits for the next step.
struct Open<X> {
    from: f64,
    start: X,
    step: DenseStep<X>,
}

impl<X: State> Open<X> {
    /// Its interpolant. A slope that it and the next step share is evaluated once at most.
    fn close<G: Field<X> + ?Sized>(self, field: &G, next: &mut Way<X>) -> Interpolant<X> {
        let Self { from, start, step: DenseStep { x, at, mut way } } = self;
        let smooth = matches!(way, Way::Smooth { .. });
        if let (Way::Smooth { end_slope: end @ None, .. }, Way::Smooth { start_slope, .. }) = (&mut way, &*next) {
            *end = start_slope.clone();
        }
        let interpolant = way.interpolant(field, (from, start), (at, x));
        match next {
            Way::Smooth { start_slope: start @ None, .. } if smooth => *start = Some(interpolant.end_slope().clone()),
            _ => {}
        }
        interpolant
    }
}

impl<X: State> Dense<X> {
    /// The state at `t`.
    ///
    /// # Errors
    /// [`SolveError::OutsideSpan`] if `t` is not between the ends of the solution.
    pub fn at(&self, t: f64) -> Result<X, SolveError> {
        let (start, end) = (self.start, self.end);
        let before = |a: f64, b: f64| if start < end { a < b } else { a > b };
        let first = self.steps.partition_point(|step| before(step.end(), t));
        match self.steps.get(first) {
            Some(step) if !before(t, start) && !t.is_nan() => Ok(step.at(t)),
            _ => Err(SolveError::OutsideSpan { time: t, start, end }),
        }
    }

    /// Where the solution starts.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.start
    }

    /// Where it ends.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.end
    }

    /// The steps, in the order of the solve.
    #[must_use]
    pub fn steps(&self) -> &[Interpolant<X>] {
        &self.steps
    }
}

/// One step, which must make progress.
pub(crate) fn advance_dense<G: ?Sized, X, S: DenseStepper<G, X>>(
    generator: &G,
    stepper: &mut S,
    x: X,
    from: f64,
    to: f64,
) -> Result<DenseStep<X>, SolveError> {
    let step = stepper.dense_step(generator, x, from, to)?;
    if step.at == from { Err(SolveError::NoProgress { time: from }) } else { Ok(step) }
}
