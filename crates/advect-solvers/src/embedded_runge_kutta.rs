use crate::runge_kutta::{add, fixed, stage, stage_time, step_size, weighted};
use crate::{Attempt, Embedded, EmbeddedTableau, SolveError, Step, Stepper};
use advect_core::{Field, State, Times};
use std::marker::PhantomData;

/// An embedded Runge-Kutta method, made by [`EmbeddedTableau::stepper`].
///
/// By itself it takes fixed steps and evaluates no stage for an error estimate that nobody reads.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedRungeKutta<const S: usize, X> {
    method: EmbeddedTableau<S>,
    /// Read off the coefficients once.
    first_same_as_last: bool,
    state: PhantomData<fn(X) -> X>,
}

impl<const S: usize, X> EmbeddedRungeKutta<S, X> {
    /// The stepper of an embedded tableau.
    #[must_use]
    pub fn new(method: EmbeddedTableau<S>) -> Self {
        Self { method, first_same_as_last: method.first_same_as_last(), state: PhantomData }
    }
}

impl<const S: usize, X: State, G: Field<X> + ?Sized> Stepper<G, X> for EmbeddedRungeKutta<S, X> {
    fn step(&mut self, field: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        fixed(&self.method.tableau, field, x, from, to)
    }

    fn restart(&mut self) {}
}

impl<const S: usize, X: State> Embedded for EmbeddedRungeKutta<S, X> {
    type State = X;

    fn error_order(&self) -> u32 {
        self.method.error_order
    }

    fn attempt<G: Field<X> + ?Sized>(&self, field: &G, x: &X, slope: X, from: &Times, to: &Times) -> Attempt<X> {
        self.stages(field, x, slope, from, to, |_, _| ()).0
    }

    fn attempt_dense<G: Field<X> + ?Sized>(
        &self,
        field: &G,
        x: &X,
        slope: X,
        from: &Times,
        to: &Times,
    ) -> (Attempt<X>, Option<X>) {
        let quartic = |size: &Times, slopes: &[Option<X>; S]| weighted(size, self.method.quartic.as_ref()?, slopes);
        self.stages(field, x, slope, from, to, quartic)
    }
}

impl<const S: usize, X: State> EmbeddedRungeKutta<S, X> {
    /// An attempt, and what is `kept` of the stages: a function of the step and the slopes.
    fn stages<G: Field<X> + ?Sized, W>(
        &self,
        field: &G,
        x: &X,
        slope: X,
        from: &Times,
        to: &Times,
        kept: impl Fn(&Times, &[Option<X>; S]) -> W,
    ) -> (Attempt<X>, W) {
        let EmbeddedTableau { tableau, error, .. } = &self.method;
        let size = step_size(from, to);
        let fsal = self.first_same_as_last;
        let mut slopes = [const { None }; S];
        let mut end = None;
        slopes[0] = Some(slope.clone());
        for i in 1..S {
            let state = stage(tableau, i, x.clone(), &size, &slopes);
            if fsal && i + 1 == S {
                // The last stage stands where the step ends.
                end = Some(state.clone());
            }
            slopes[i] = Some(field.eval(state, &stage_time(tableau.c[i], from, to)));
        }
        let end = end.unwrap_or_else(|| add(x.clone(), &size, &tableau.b, &slopes));
        let error = weighted(&size, error, &slopes).unwrap_or_else(|| x.clone().combine(0.0, &[]));
        let kept = kept(&size, &slopes);
        let end_slope = if fsal { slopes[S - 1].take() } else { None };
        (Attempt { x: end, error, slope, end_slope }, kept)
    }
}
