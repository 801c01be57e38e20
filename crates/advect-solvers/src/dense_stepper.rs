use crate::interpolant::shared_time;
use crate::runge_kutta::fixed_with_slope;
use crate::{Adaptive, Embedded, EmbeddedRungeKutta, RungeKutta, SolveError, Step, Stepper, Way, arrive};
use advect_core::{Field, State, Times};

/// A step and what it knows of the way.
#[derive(Debug, Clone)]
pub struct DenseStep<X> {
    /// The new state.
    pub x: X,
    /// Its time: the end that was asked for, or before it.
    pub at: f64,
    /// The states in between.
    pub way: Way<X>,
}

/// A stepper that knows the solution between the ends of its steps, for one time shared by the batch.
///
/// Runge-Kutta methods of fixed steps have the cubic Hermite interpolant (order 3 between the steps), embedded ones
/// their own where the tableau has it ([`EmbeddedTableau::quartic`](crate::EmbeddedTableau::quartic)). Any other
/// stepper over a field becomes one inside [`Hermite`]. What each needs beyond its own evaluations:
///
/// | stepper | evaluations |
/// | --- | --- |
/// | `Adaptive`, first same as last | none |
/// | `Adaptive` otherwise, fixed steps | one a step that is looked into; in `solve_dense` one in all |
/// | `Hermite` | one a step |
///
/// [`AdaptiveRows`](crate::AdaptiveRows) is not dense: its rows are never at one time. Give it a grid of the times
/// wanted instead; it then ends a step at each.
pub trait DenseStepper<G: ?Sized, X>: Stepper<G, X> {
    /// One step from `x` at `from` toward `to`: the one that [`Stepper::step`] makes.
    ///
    /// # Errors
    /// As [`Stepper::step`].
    fn dense_step(&mut self, generator: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError>;
}

impl<G: ?Sized, X, S: DenseStepper<G, X> + ?Sized> DenseStepper<G, X> for &mut S {
    fn dense_step(&mut self, generator: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        (**self).dense_step(generator, x, from, to)
    }
}

impl<G: ?Sized, X, S: DenseStepper<G, X> + ?Sized> DenseStepper<G, X> for Box<S> {
    fn dense_step(&mut self, generator: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        (**self).dense_step(generator, x, from, to)
    }
}

impl<const S: usize, X: State, G: Field<X> + ?Sized> DenseStepper<G, X> for RungeKutta<S, X> {
    fn dense_step(&mut self, field: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        let (begin, end) = (Times::Shared(from), Times::Shared(to));
        let (Step { x, .. }, start_slope) = fixed_with_slope(self.tableau(), field, x, &begin, &end)?;
        Ok(DenseStep { x, at: to, way: Way::Smooth { start_slope, end_slope: None, quartic: None } })
    }
}

impl<const S: usize, X: State, G: Field<X> + ?Sized> DenseStepper<G, X> for EmbeddedRungeKutta<S, X> {
    fn dense_step(&mut self, field: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        let (begin, end) = (Times::Shared(from), Times::Shared(to));
        let slope = field.eval(x.clone(), &begin);
        // All stages: the interpolant may weigh the last one, which a fixed step alone would not evaluate.
        let (attempt, quartic) = self.attempt_dense(field, &x, slope, &begin, &end);
        let Step { x, .. } = arrive(attempt.x, &begin, &end)?;
        let way = Way::Smooth { start_slope: Some(attempt.slope), end_slope: attempt.end_slope, quartic };
        Ok(DenseStep { x, at: to, way })
    }
}

impl<S: Embedded, G: Field<S::State> + ?Sized> DenseStepper<G, S::State> for Adaptive<S> {
    fn dense_step(&mut self, field: &G, x: S::State, from: f64, to: f64) -> Result<DenseStep<S::State>, SolveError> {
        let (begin, end) = (Times::Shared(from), Times::Shared(to));
        let (Step { x, at }, start_slope, quartic) =
            self.accepted_step(field, &x, &begin, &end, |inner, field, x, slope, from, to| {
                inner.attempt_dense(field, x, slope, from, to)
            })?;
        let way = Way::Smooth { start_slope: Some(start_slope), end_slope: self.end_slope().cloned(), quartic };
        Ok(DenseStep { x, at: shared_time(&at)?, way })
    }
}

/// Makes any stepper over a field dense, by the cubic Hermite interpolant (Hairer, Norsett & Wanner I, II.6, eq. 6.7).
///
/// The interpolant is of order 3, its error in a step h^4: enough for methods up to order 4. It is meant for
/// multistep methods and steppers of your own; Runge-Kutta methods are dense by themselves. One more evaluation a
/// step that is looked into (the slope where it ended).
#[derive(Debug, Clone)]
pub struct Hermite<S>(S);

impl<S> Hermite<S> {
    /// `stepper`, made dense.
    pub fn new(stepper: S) -> Self {
        Self(stepper)
    }
}

impl<G: ?Sized, X, S: Stepper<G, X>> Stepper<G, X> for Hermite<S> {
    fn step(&mut self, generator: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        self.0.step(generator, x, from, to)
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

impl<G: Field<X> + ?Sized, X: State, S: Stepper<G, X>> DenseStepper<G, X> for Hermite<S> {
    fn dense_step(&mut self, field: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        let Step { x, at } = self.0.step(field, x, &Times::Shared(from), &Times::Shared(to))?;
        Ok(DenseStep { x, at: shared_time(&at)?, way: Way::unknown() })
    }
}
