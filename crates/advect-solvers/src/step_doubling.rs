use crate::linear::between;
use crate::{PathDriven, SolveError, Step, Stepper};
use advect_core::{State, Times, Tolerance};

/// Adaptive steps for SDEs: every step is made whole and in halves on the same path, and their difference is the error.
///
/// Gaines & Lyons, *Variable step size control in the numerical solution of stochastic differential equations*, 1997;
/// the path is a virtual tree, so that a rejected step reads the same path again and the law is kept. Accepted is the
/// state of the two halves: three steps of the method for two. The next step is the last times `0.9 e^(-1/(p + 1/2))`,
/// within [1/5, 5], where e is the error in units of the tolerance and p the strong order.
///
/// One step size for the batch. The stepper must be over a [`BrownianPath`](crate::BrownianPath): over white noise it
/// does not compile. For noise that depends on the state take a method of strong order 1 at least: with Euler-Maruyama
/// steps chosen by the path can converge to something else (Gaines & Lyons).
///
/// ```
/// use advect_solvers::{BrownianPath, Sde, Shark, StepDoubling, TimeGrid, Times, Tolerance, solve};
///
/// // Stiff at first, slow later.
/// let sde = Sde { drift: |x: f64, t: &Times| -x / (0.01 + t.at(0)), diffusion: |_t: f64| 0.1 };
/// let path = BrownianPath::new(7, vec![0], 0.0, 1.0, 40)?;
/// let mut stepper = StepDoubling::new(Shark::new(path), Tolerance::new(1e-3, 1e-3)?, 0.1)?;
/// let x = solve(&sde, &mut stepper, 1.0, &TimeGrid::uniform(0.0, 1.0, 1)?)?;
/// assert!(x.abs() < 1.0 && stepper.rejected() > 0);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StepDoubling<S> {
    inner: S,
    tolerance: Tolerance,
    first_step: f64,
    min_step: f64,
    max_steps: u64,
    /// The next step, without sign; none after a restart.
    step: Option<f64>,
    attempts: u64,
    accepted: u64,
    rejected: u64,
}

impl<S: PathDriven> StepDoubling<S> {
    /// Controls the steps of `inner`, beginning with `first_step`.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless `first_step` is finite and positive.
    pub fn new(inner: S, tolerance: Tolerance, first_step: f64) -> Result<Self, SolveError> {
        if !(first_step.is_finite() && first_step > 0.0) {
            let rule = "it must be finite and > 0; the direction is that of the grid";
            return Err(SolveError::Setting { name: "first_step", value: first_step, rule });
        }
        Ok(Self {
            inner,
            tolerance,
            first_step,
            min_step: 0.0,
            max_steps: 100_000,
            step: None,
            attempts: 0,
            accepted: 0,
            rejected: 0,
        })
    }
}

impl<S> StepDoubling<S> {
    /// Fails with [`SolveError::StepTooSmall`] rather than take smaller steps. Without it round-off of the time is
    /// the limit.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless it is finite and not negative.
    pub fn min_step(mut self, step: f64) -> Result<Self, SolveError> {
        if !(step.is_finite() && step >= 0.0) {
            return Err(SolveError::Setting { name: "min_step", value: step, rule: "it must be finite and >= 0" });
        }
        self.min_step = step;
        Ok(self)
    }

    /// Fails with [`SolveError::TooManySteps`] after so many attempts since the last restart; 100,000 if not set.
    #[must_use]
    pub fn max_steps(mut self, attempts: u64) -> Self {
        self.max_steps = attempts;
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

    /// The state of two half steps and its distance from that of the whole step, in units of the tolerance.
    fn attempt<G: ?Sized, X>(&mut self, generator: &G, x: &X, from: &Times, to: &Times) -> Result<(X, f64), SolveError>
    where
        X: State,
        S: Stepper<G, X>,
    {
        // Memory belongs to where the last step ended, which is not where this one begins.
        self.inner.restart();
        let whole = self.inner.step(generator, x.clone(), from, to)?.x;
        self.inner.restart();
        let middle = between(from, to, 0.5);
        let half = self.inner.step(generator, x.clone(), from, &middle)?.x;
        let fine = self.inner.step(generator, half, &middle, to)?.x;
        let norm = fine.clone().combine(1.0, &[(-1.0, &whole)]).scaled_norm(x, &fine, self.tolerance);
        Ok((fine, norm))
    }
}

impl<G: ?Sized, X, S> Stepper<G, X> for StepDoubling<S>
where
    X: State,
    S: Stepper<G, X> + PathDriven,
{
    fn step(&mut self, generator: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (time, end) = (from.range().0, to.range().0);
        let limit = self.min_step.max(16.0 * f64::EPSILON * time.abs()).max(f64::MIN_POSITIVE);
        let far = from.zip(to, |a, b| (b - a).abs()).range().1;
        let exponent = -1.0 / (self.inner.strong_order() + 0.5);
        let mut step = self.step.take().unwrap_or(self.first_step).max(limit);
        loop {
            if self.attempts >= self.max_steps {
                return Err(SolveError::TooManySteps { time, end, step, limit: self.max_steps });
            }
            self.attempts += 1;
            let toward = |a: f64, b: f64| if (b - a).abs() <= step { b } else { a + step.copysign(b - a) };
            // Stretched by a hundredth, so that no step of round-off size is left over.
            let cut = far <= 1.01 * step;
            let at = if cut { to.clone() } else { from.zip(to, toward) };
            let (next, norm) = match self.attempt(generator, &x, from, &at) {
                Ok((next, norm)) => (Some(next), norm),
                // The state left the numbers: the step was too long, unless it cannot be shorter.
                Err(SolveError::NotFinite { .. }) => (None, f64::NAN),
                Err(error) => return Err(error),
            };
            let used = step.min(far);
            match next {
                Some(next) if norm <= 1.0 => {
                    self.accepted += 1;
                    let planned = used * (0.9 * norm.powf(exponent)).clamp(0.2, 5.0);
                    // A step cut short by a grid point says nothing against the step that was planned.
                    self.step = Some(if cut { planned.max(step) } else { planned });
                    return Ok(Step { x: next, at });
                }
                _ if used <= limit && norm.is_finite() => {
                    return Err(SolveError::StepTooSmall { time, step: used, norm, limit });
                }
                _ if used <= limit => return Err(SolveError::NotFinite { time, step: used }),
                _ => {
                    self.rejected += 1;
                    // `max` drops a NaN.
                    step = (used * (0.9 * norm.powf(exponent)).clamp(0.2, 0.9)).max(limit);
                }
            }
        }
    }

    fn restart(&mut self) {
        self.inner.restart();
        self.step = None;
        self.attempts = 0;
    }
}
