use crate::controller::remembered;
use crate::{PidController, SolveError};
use advect_core::Tolerance;

/// The settings of step control, shared by the batch-wide and the row-wise adapter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepControl {
    pub(crate) tolerance: Tolerance,
    pub(crate) controller: PidController,
    pub(crate) first_step: Option<f64>,
    pub(crate) min_step: f64,
    pub(crate) max_steps: u64,
}

/// Attempts allowed between restarts unless `max_steps` says otherwise: far more than a well-posed problem takes.
pub(crate) const MAX_STEPS: u64 = 100_000;

impl StepControl {
    pub(crate) fn new(tolerance: Tolerance, controller: PidController) -> Self {
        Self { tolerance, controller, first_step: None, min_step: 0.0, max_steps: MAX_STEPS }
    }

    pub(crate) fn set_first_step(&mut self, step: f64) -> Result<(), SolveError> {
        if !(step.is_finite() && step > 0.0) {
            let rule = "it must be finite and > 0; the direction is that of the grid";
            return Err(SolveError::Setting { name: "first_step", value: step, rule });
        }
        self.first_step = Some(step);
        Ok(())
    }

    pub(crate) fn set_min_step(&mut self, step: f64) -> Result<(), SolveError> {
        if !(step.is_finite() && step >= 0.0) {
            return Err(SolveError::Setting { name: "min_step", value: step, rule: "it must be finite and >= 0" });
        }
        self.min_step = step;
        Ok(())
    }

    /// Below this a step drowns in the round-off of the time (Hairer's DOPRI5 stops at `0.1 |h| <= eps |t|`).
    #[inline]
    fn limit(&self, from: f64) -> f64 {
        self.min_step.max(16.0 * f64::EPSILON * from.abs()).max(f64::MIN_POSITIVE)
    }
}

/// The first step size of Hairer, Norsett & Wanner I, II.4, p. 169: (a) to (c).
///
/// Returns h0 from the norms of state and slope; `second` then turns it into the first step with the norm of the
/// difference of slopes over an Euler step of h0.
pub(crate) fn first_guess(state: f64, slope: f64, span: f64) -> f64 {
    let guess = if state < 1e-5 || slope < 1e-5 { 1e-6 } else { 0.01 * state / slope };
    guess.min(span)
}

/// The first step size of Hairer, Norsett & Wanner I, II.4, p. 169: (d) to (f).
pub(crate) fn second_guess(guess: f64, slope: f64, slope_change: f64, error_order: u32) -> f64 {
    let curvature = slope_change / guess;
    // `max` drops a NaN: the field may be undefined where the guess points, and the first attempt will find out.
    let largest = slope.max(curvature);
    let step = if largest <= 1e-15 {
        (guess * 1e-3).max(1e-6)
    } else {
        (0.01 / largest).powf(1.0 / f64::from(error_order + 1))
    };
    step.min(100.0 * guess)
}

/// The pace of one clock: of the whole batch, or of one row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// The next step, without sign.
    step: f64,
    /// The logarithms of the errors of the last two accepted steps, newest first.
    previous: [f64; 2],
    after_rejection: bool,
    attempts: u64,
}

impl Pace {
    pub(crate) fn new(step: f64) -> Self {
        Self { step, previous: [0.0; 2], after_rejection: false, attempts: 0 }
    }

    /// The next step, without sign.
    pub(crate) fn step(&self) -> f64 {
        self.step
    }

    /// Where the next attempt ends.
    #[inline]
    pub(crate) fn target(&self, from: f64, to: f64, control: &StepControl) -> f64 {
        let step = self.step.max(control.limit(from));
        // Stretched by a hundredth, so that no step of round-off size is left over (Hairer's DOPRI5).
        if (to - from).abs() <= 1.01 * step { to } else { from + step.copysign(to - from) }
    }

    /// Counts an attempt, before its cost is paid.
    #[inline]
    pub(crate) fn start(&mut self, from: f64, to: f64, control: &StepControl) -> Result<(), SolveError> {
        if self.attempts >= control.max_steps {
            let limit = control.max_steps;
            return Err(SolveError::TooManySteps { time: from, end: to, step: self.step, limit });
        }
        self.attempts += 1;
        Ok(())
    }

    /// Whether an attempt from `from` to `target`, on the way to `to`, is accepted with this error; plans the next.
    #[inline]
    pub(crate) fn judge(
        &mut self,
        norm: f64,
        (from, target, to): (f64, f64, f64),
        control: &StepControl,
        error_order: u32,
    ) -> Result<bool, SolveError> {
        let used = (target - from).abs();
        if norm <= 1.0 {
            let newest = norm.ln();
            let factor = control.controller.grow_by_logarithms(newest, self.previous, error_order);
            let next = used * if self.after_rejection { factor.min(1.0) } else { factor };
            // A step cut short by a grid point says nothing against the step that was planned. (Asked of `to`: by
            // round-off alone `used` is as often below the plan as above.)
            let cut = target == to && used < self.step;
            self.step = if cut { next.max(self.step) } else { next };
            self.previous = [remembered(newest), self.previous[0]];
            self.after_rejection = false;
            return Ok(true);
        }
        let limit = control.limit(from);
        // Asked of the plan too: by round-off a step of the limit may be a little longer than the limit.
        if used <= limit || self.step <= limit {
            let (time, step) = (from, target - from);
            return Err(if norm.is_finite() {
                SolveError::StepTooSmall { time, step, norm, limit }
            } else {
                SolveError::NotFinite { time, step }
            });
        }
        self.step = used * control.controller.shrink(norm, error_order);
        self.after_rejection = true;
        Ok(false)
    }
}
