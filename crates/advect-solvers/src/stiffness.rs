use crate::step_control::{Pace, StepControl};
use crate::{Embedded, SolveError};
use advect_core::{Field, State, Times};

/// Explicit steps are stable while step times rate is below 2 (Heun-Euler) to about 5 (Dopri8); step control that is
/// held by stability hovers just below.
const STABLE: f64 = 1.5;

/// Tells a budget spent on a stiff field, [`SolveError::Stiff`], from one spent on accuracy.
///
/// In the manner of Hairer, Norsett & Wanner II (with Wanner), IV.2, eq. 2.6: the rate of the field in the direction of
/// the error, which a stiff field fills, times the step. Asked once, when the solve has failed: it costs an attempt and
/// two evaluations.
pub(crate) fn diagnose<S: Embedded, G: Field<S::State> + ?Sized>(
    error: SolveError,
    (inner, control, pace): (&S, &StepControl, &Pace),
    field: &G,
    x: &S::State,
    slope: S::State,
    (from, to): (&Times, &Times),
) -> SolveError {
    let SolveError::TooManySteps { time, end, step, limit } = error else { return error };
    let size = |a: f64, b: f64| if (b - a).abs() <= pace.step() { b } else { a + pace.step().copysign(b - a) };
    let attempt = inner.attempt(field, x, slope, from, &from.zip(to, size));
    let norm = |v: &S::State| v.scaled_norm(x, x, control.tolerance);
    let (mut direction, mut rate) = (attempt.error, 0.0);
    // Two rounds of the power method.
    for _ in 0..2 {
        let length = norm(&direction);
        if !(length.is_normal()) {
            return error;
        }
        // As long as the tolerance: the field is linear over that, and round-off is far below.
        let moved = x.clone().combine(1.0, &[(1.0 / length, &direction)]);
        direction = field.eval(moved, from).combine(1.0, &[(-1.0, &attempt.slope)]);
        rate = norm(&direction);
    }
    if rate * step > STABLE { SolveError::Stiff { time, end, step, rate, limit } } else { error }
}
