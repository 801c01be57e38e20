use crate::SolveError;
use advect_core::Times;

/// Where a step really ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Step<X> {
    /// The new state.
    pub x: X,
    /// Its time: the end that was asked for, or before it (an event, a jump, an adaptive step).
    pub at: Times,
}

/// Advances a state under a generator; owned by value, with its memory.
///
/// `G` is what the stepper understands: a field for Runge-Kutta, an `Sde` for Euler-Maruyama, anything of your own.
/// `X` is what moves. The contract:
///
/// - `step` goes from `from` toward `to`, up or down in time, and may stop early; the driver calls again until every
///   row stands at its end. The end is *assigned*, not added up to, so that it is met bit for bit.
/// - Every step moves at least one row.
/// - Memory (a slope that is used again, a history, a step size) belongs to the state and time where the last step
///   ended. Whoever moves the state from outside calls `restart`. A solve starts with `restart`.
///
/// `&mut S` is a stepper too, so that what a stepper counted can be read after the solve.
pub trait Stepper<G: ?Sized, X> {
    /// One step from `x` at `from` toward `to`.
    ///
    /// # Errors
    /// [`SolveError`] if the step cannot be made; the stepper is then to be restarted.
    fn step(&mut self, generator: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError>;

    /// Forgets all memory that influences results.
    fn restart(&mut self);
}

impl<G: ?Sized, X, S: Stepper<G, X> + ?Sized> Stepper<G, X> for &mut S {
    fn step(&mut self, generator: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        (**self).step(generator, x, from, to)
    }

    fn restart(&mut self) {
        (**self).restart();
    }
}

impl<G: ?Sized, X, S: Stepper<G, X> + ?Sized> Stepper<G, X> for Box<S> {
    fn step(&mut self, generator: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        (**self).step(generator, x, from, to)
    }

    fn restart(&mut self) {
        (**self).restart();
    }
}
