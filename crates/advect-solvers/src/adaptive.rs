use crate::step_control::{Pace, StepControl, first_guess, second_guess};
use crate::stiffness::diagnose;
use crate::{Attempt, Embedded, PidController, SolveError, Step, Stepper};
use advect_core::{Field, State, Times, Tolerance};

/// Step control for the whole batch: one step size, one error norm over all rows.
///
/// Hairer, Norsett & Wanner I, II.4, with a [`PidController`]. The first step is found by their algorithm (p. 169,
/// one more evaluation) unless it is given. A call of `step` makes one accepted step. Rows at different times move
/// by the same step, and those that reached their end wait; take [`AdaptiveRows`](crate::AdaptiveRows) where that
/// matters, or where a row must not depend on its neighbours.
///
/// ```
/// use advect_solvers::{Adaptive, DOPRI5, PiController, TimeGrid, Times, Tolerance, solve};
///
/// let field = |x: f64, _t: &Times| -x;
/// let tolerance = Tolerance::new(1e-8, 1e-8)?;
/// let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
/// let x = solve(&field, &mut stepper, 1.0, &TimeGrid::uniform(0.0, 1.0, 1)?)?;
/// assert!((x - (-1.0_f64).exp()).abs() < 1e-8);
/// assert!(stepper.accepted() < 20);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
///
/// A method without an error estimate has nothing to control:
///
/// ```compile_fail,E0277
/// use advect_solvers::{Adaptive, EULER, PiController, Tolerance};
///
/// let tolerance = Tolerance::new(1e-8, 1e-8)?;
/// let stepper = Adaptive::new(EULER.stepper::<f64>(), tolerance, PiController::standard());
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Adaptive<S: Embedded> {
    inner: S,
    control: StepControl,
    pace: Option<Pace>,
    /// The field where the last step ended.
    slope: Option<S::State>,
    accepted: u64,
    rejected: u64,
}

impl<S: Embedded> Adaptive<S> {
    /// Controls the steps of `inner` so that its error estimate stays within `tolerance`, step by step.
    #[must_use]
    pub fn new(inner: S, tolerance: Tolerance, controller: PidController) -> Self {
        let control = StepControl::new(tolerance, controller);
        Self { inner, control, pace: None, slope: None, accepted: 0, rejected: 0 }
    }

    /// Starts with this step (without sign) instead of looking for one.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless it is finite and positive.
    pub fn first_step(mut self, step: f64) -> Result<Self, SolveError> {
        self.control.set_first_step(step)?;
        Ok(self)
    }

    /// Fails with [`SolveError::StepTooSmall`] rather than take smaller steps. Without it round-off of the time is
    /// the limit.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless it is finite and not negative.
    pub fn min_step(mut self, step: f64) -> Result<Self, SolveError> {
        self.control.set_min_step(step)?;
        Ok(self)
    }

    /// Fails with [`SolveError::TooManySteps`], or [`SolveError::Stiff`] where explicit steps are held by stability,
    /// after so many attempts since the last restart; 100,000 if not set.
    #[must_use]
    pub fn max_steps(mut self, attempts: u64) -> Self {
        self.control.max_steps = attempts;
        self
    }

    /// How many steps were accepted since it was made.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many attempts were rejected since it was made.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    fn first_pace<G: Field<S::State> + ?Sized>(
        &self,
        field: &G,
        x: &S::State,
        slope: &S::State,
        from: &Times,
        to: &Times,
    ) -> Result<Pace, SolveError> {
        let tolerance = self.control.tolerance;
        // Device reads, once a solve.
        let state_norm = x.scaled_norm(x, x, tolerance);
        let slope_norm = slope.scaled_norm(x, x, tolerance);
        if !(state_norm.is_finite() && slope_norm.is_finite()) {
            return Err(SolveError::NotFinite { time: from.range().0, step: 0.0 });
        }
        if let Some(step) = self.control.first_step {
            return Ok(Pace::new(step));
        }
        let (clock, end) = farthest(from, to);
        let guess = first_guess(state_norm, slope_norm, (end - clock).abs());
        let at = toward(from, to, guess);
        let size = from.zip(&at, |a, b| b - a);
        let euler = match &size {
            Times::Shared(h) => x.clone().combine(1.0, &[(*h, slope)]),
            Times::Each(h) => x.clone().combine_rows(&vec![1.0; h.len()], &[(h, slope)]),
        };
        let change = field.eval(euler, &at).combine(1.0, &[(-1.0, slope)]);
        let change_norm = change.scaled_norm(x, x, tolerance);
        Ok(Pace::new(second_guess(guess, slope_norm, change_norm, self.inner.error_order())))
    }
}

impl<S: Embedded> Adaptive<S> {
    /// One accepted step, the slope where it began and what else `attempt` says of it.
    #[inline]
    pub(crate) fn accepted_step<G: Field<S::State> + ?Sized, W>(
        &mut self,
        field: &G,
        x: &S::State,
        from: &Times,
        to: &Times,
        attempt: impl Fn(&S, &G, &S::State, S::State, &Times, &Times) -> (Attempt<S::State>, W),
    ) -> Result<(Step<S::State>, S::State, W), SolveError> {
        let (clock, end) = farthest(from, to);
        let mut slope = self.slope.take().unwrap_or_else(|| field.eval(x.clone(), from));
        let mut pace = match self.pace.take() {
            Some(pace) => pace,
            None => self.first_pace(field, x, &slope, from, to)?,
        };
        loop {
            if let Err(error) = pace.start(clock, end, &self.control) {
                let parts = (&self.inner, &self.control, &pace);
                return Err(diagnose(error, parts, field, x, slope, (from, to)));
            }
            let target = pace.target(clock, end, &self.control);
            let at = match from {
                Times::Shared(_) if matches!(to, Times::Shared(_)) => Times::Shared(target),
                _ if target == end => to.clone(),
                _ => toward(from, to, (target - clock).abs()),
            };
            let (attempt, with) = attempt(&self.inner, field, x, slope, from, &at);
            let Attempt { x: next, error, slope: start_slope, end_slope } = attempt;
            let norm = error.scaled_norm(x, &next, self.control.tolerance);
            if pace.judge(norm, (clock, target, end), &self.control, self.inner.error_order())? {
                self.accepted += 1;
                self.slope = end_slope;
                self.pace = Some(pace);
                return Ok((Step { x: next, at }, start_slope, with));
            }
            self.rejected += 1;
            slope = start_slope;
        }
    }

    /// The field where the last step ended, if the method has it.
    pub(crate) fn end_slope(&self) -> Option<&S::State> {
        self.slope.as_ref()
    }
}

impl<S: Embedded, G: Field<S::State> + ?Sized> Stepper<G, S::State> for Adaptive<S> {
    #[inline]
    fn step(&mut self, field: &G, x: S::State, from: &Times, to: &Times) -> Result<Step<S::State>, SolveError> {
        let attempt = |inner: &S, field: &G, x: &S::State, slope, from: &Times, to: &Times| {
            (inner.attempt(field, x, slope, from, to), ())
        };
        self.accepted_step(field, &x, from, to, attempt).map(|(step, _, ())| step)
    }

    fn restart(&mut self) {
        self.pace = None;
        self.slope = None;
    }
}

/// Start and end of the row that has the longest way to go: the clock of the batch.
#[inline]
fn farthest(from: &Times, to: &Times) -> (f64, f64) {
    match (from, to) {
        (Times::Shared(a), Times::Shared(b)) => (*a, *b),
        (Times::Each(times), _) | (_, Times::Each(times)) => (0..times.len())
            .map(|row| (from.at(row), to.at(row)))
            .max_by(|(a, b), (c, d)| (b - a).abs().total_cmp(&(d - c).abs()))
            .unwrap_or((0.0, 0.0)),
    }
}

/// Every row by `step` toward its end; the end itself if that is nearer.
#[inline]
fn toward(from: &Times, to: &Times, step: f64) -> Times {
    from.zip(to, |a, b| if (b - a).abs() <= step { b } else { a + step.copysign(b - a) })
}
