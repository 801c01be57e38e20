use advect_core::{Field, State, Times};

/// A method with an error estimate: what [`Adaptive`](crate::Adaptive) and [`AdaptiveRows`](crate::AdaptiveRows)
/// control.
///
/// An attempt is a pure function; what is remembered between steps (the slope where the last step ended) belongs to
/// the step control, which knows which attempt was accepted and which rows took part.
pub trait Embedded {
    /// What moves.
    type State: State;

    /// The order of the embedded solution: the error estimate of a step h falls like h^(order + 1).
    fn error_order(&self) -> u32;

    /// One step from `x` at `from` to exactly `to`; `slope` is the field at `(x, from)`.
    fn attempt<G: Field<Self::State> + ?Sized>(
        &self,
        field: &G,
        x: &Self::State,
        slope: Self::State,
        from: &Times,
        to: &Times,
    ) -> Attempt<Self::State>;

    /// [`Embedded::attempt`], and the quartic term of the method's own [`Interpolant`](crate::Interpolant) if it has
    /// one. By default it has none: the interpolant is the cubic.
    fn attempt_dense<G: Field<Self::State> + ?Sized>(
        &self,
        field: &G,
        x: &Self::State,
        slope: Self::State,
        from: &Times,
        to: &Times,
    ) -> (Attempt<Self::State>, Option<Self::State>) {
        (self.attempt(field, x, slope, from, to), None)
    }
}

/// What an attempted step gives.
#[derive(Debug, Clone)]
pub struct Attempt<X> {
    /// The state at the end.
    pub x: X,
    /// The estimate of its error.
    pub error: X,
    /// The slope at the start, handed back for another attempt.
    pub slope: X,
    /// The slope at the end, where the method has it (first same as last).
    pub end_slope: Option<X>,
}
