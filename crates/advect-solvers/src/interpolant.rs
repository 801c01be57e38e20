use crate::SolveError;
use advect_core::{Field, State, Times};

/// The solution inside one step: a cubic Hermite polynomial through both states and slopes, and where the method has
/// one, its own quartic term.
///
/// With `s = (t - from) / h`:
/// `(1 + 2s)(1-s)^2 x_0 + s^2 (3-2s) x_1 + s (1-s)^2 h k_0 - s^2 (1-s) h k_1 + s^2 (1-s)^2 q`, where `q = h sum d_i
/// k_i` (Hairer, Norsett & Wanner I, II.6, eq. 6.7 for the cubic; every continuously differentiable quartic through
/// the same ends and slopes differs from it by the last term alone). It is `x_0` and `x_1` at the ends, bit for bit.
#[derive(Debug, Clone, PartialEq)]
pub struct Interpolant<X> {
    from: f64,
    /// Where the polynomial has its other end.
    to: f64,
    /// Where it stops to be the solution: before `to` if an event ended the step.
    until: f64,
    start: X,
    end: X,
    start_slope: X,
    end_slope: X,
    quartic: Option<X>,
}

impl<X: State> Interpolant<X> {
    /// The cubic through two states and slopes.
    #[must_use]
    pub fn hermite((from, start, start_slope): (f64, X, X), (to, end, end_slope): (f64, X, X)) -> Self {
        Self { from, to, until: to, start, end, start_slope, end_slope, quartic: None }
    }

    /// A state that stands still.
    pub(crate) fn constant(from: f64, to: f64, x: X) -> Self {
        let still = x.clone().combine(0.0, &[]);
        Self::hermite((from, x.clone(), still.clone()), (to, x, still))
    }

    /// The same polynomial, up to `until` only.
    pub(crate) fn cut(self, until: f64) -> Self {
        Self { until, ..self }
    }

    /// Where the step began.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.from
    }

    /// Where the step ended.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.until
    }

    /// The slope where the polynomial ends.
    pub(crate) fn end_slope(&self) -> &X {
        &self.end_slope
    }

    /// The state at `t`. Outside of the step this extrapolates.
    #[must_use]
    pub fn at(&self, t: f64) -> X {
        // Asked exactly: the part of the step may round to something near 0 or 1.
        if t == self.from {
            return self.start.clone();
        }
        if t == self.to {
            return self.end.clone();
        }
        let h = self.to - self.from;
        let s = (t - self.from) / h;
        let (r, bump) = (1.0 - s, s * (1.0 - s));
        let cubic =
            [(s * s * (3.0 - 2.0 * s), &self.end), (h * bump * r, &self.start_slope), (-h * bump * s, &self.end_slope)];
        let scale = (1.0 + 2.0 * s) * r * r;
        match &self.quartic {
            None => self.start.clone().combine(scale, &cubic),
            Some(quartic) => {
                let [a, b, c] = cubic;
                self.start.clone().combine(scale, &[a, b, c, (bump * bump, quartic)])
            }
        }
    }
}

/// What a step knows of the states between its ends.
#[derive(Debug, Clone)]
pub enum Way<X> {
    /// Smooth from the state before the step to the state after it. A slope that is not known is evaluated if needed.
    Smooth {
        /// The field at the start.
        start_slope: Option<X>,
        /// The field at the end.
        end_slope: Option<X>,
        /// The method's own quartic term, `h sum d_i k_i`; none for the cubic.
        quartic: Option<X>,
    },
    /// Already an interpolant, such as that of a step which an event cut short or after which the state jumped.
    Known(Interpolant<X>),
}

impl<X: State> Way<X> {
    /// A cubic of which no slope is known yet.
    #[must_use]
    pub fn unknown() -> Self {
        Self::Smooth { start_slope: None, end_slope: None, quartic: None }
    }

    /// The interpolant, for which missing slopes are evaluated.
    pub fn interpolant<G: Field<X> + ?Sized>(
        self,
        field: &G,
        (from, start): (f64, X),
        (to, end): (f64, X),
    ) -> Interpolant<X> {
        match self {
            Self::Known(interpolant) => interpolant,
            Self::Smooth { start_slope, end_slope, quartic } => {
                let start_slope = start_slope.unwrap_or_else(|| field.eval(start.clone(), &Times::Shared(from)));
                let end_slope = end_slope.unwrap_or_else(|| field.eval(end.clone(), &Times::Shared(to)));
                Interpolant { quartic, ..Interpolant::hermite((from, start, start_slope), (to, end, end_slope)) }
            }
        }
    }
}

/// The time that a whole batch shares.
pub(crate) fn shared_time(t: &Times) -> Result<f64, SolveError> {
    match t {
        Times::Shared(t) => Ok(*t),
        Times::Each(times) => Err(SolveError::RowTimes { rows: times.len() }),
    }
}
