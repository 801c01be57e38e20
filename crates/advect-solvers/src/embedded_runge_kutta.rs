use crate::runge_kutta::{add, fixed, plus, stage, stage_time, step_size, times, weighted};
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

    #[inline]
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
        let quartic = |size: &Times, slopes: &[&X]| weighted::<S, X>(size, self.method.quartic.as_ref()?, slopes);
        self.stages(field, x, slope, from, to, quartic)
    }
}

impl<const S: usize, X: State> EmbeddedRungeKutta<S, X> {
    /// An attempt, and what is `kept` of the stages: a function of the step and the slopes.
    #[inline]
    fn stages<G: Field<X> + ?Sized, W>(
        &self,
        field: &G,
        x: &X,
        slope: X,
        from: &Times,
        to: &Times,
        kept: impl Fn(&Times, &[&X]) -> W,
    ) -> (Attempt<X>, W) {
        if let (Times::Shared(from), Times::Shared(to)) = (from, to)
            && (2..=WRITTEN_OUT).contains(&S)
        {
            return self.shared_stages(field, x, slope, (*from, *to), kept);
        }
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
        let known: [&X; S] = std::array::from_fn(|i| slopes[i].as_ref().unwrap_or(x));
        let error = weighted::<S, X>(&size, error, &known).unwrap_or_else(|| x.clone().combine(0.0, &[]));
        let kept = kept(&size, &known);
        let end_slope = if fsal { slopes[S - 1].take() } else { None };
        (Attempt { x: end, error, slope, end_slope }, kept)
    }
    /// The same for the whole batch at one time.
    ///
    /// Stage by stage written out, with each slope a variable and each sum of a known number of terms: where the state
    /// is an array of numbers, that leaves little but arithmetic.
    #[inline]
    fn shared_stages<G: Field<X> + ?Sized, W>(
        &self,
        field: &G,
        x: &X,
        slope: X,
        (from, to): (f64, f64),
        kept: impl Fn(&Times, &[&X]) -> W,
    ) -> (Attempt<X>, W) {
        let EmbeddedTableau { tableau, error, .. } = &self.method;
        let (h, fsal) = (to - from, self.first_same_as_last);
        // The end is assigned: a schedule may end exactly there.
        let time = |c: f64| Times::Shared(if c == 1.0 { to } else { from + c * h });
        let mut end = None;
        macro_rules! stages {
            // Slope by slope until there are S of them.
            ([$($k:ident)*] $last:ident; $i:literal $new:ident $($rest:tt)*) => {
                if S == $i {
                    stages!([$($k)*] $last;)
                } else {
                    let state = plus(x, h, &tableau.a[$i], [&slope, $(&$k,)* &$last]);
                    if fsal && $i + 1 == S {
                        // The last stage stands where the step ends.
                        end = Some(state.clone());
                    }
                    let $new = field.eval(state, &time(tableau.c[$i]));
                    stages!([$($k)* $last] $new; $($rest)*)
                }
            };
            ([$($k:ident)*] $last:ident;) => {{
                let slopes = [&slope, $(&$k,)* &$last];
                let x = end.unwrap_or_else(|| plus(x, h, &tableau.b, slopes));
                let error = times(h, error, slopes);
                let kept = kept(&Times::Shared(h), &slopes);
                (Attempt { x, error, slope, end_slope: fsal.then_some($last) }, kept)
            }};
        }
        let state = plus(x, h, &tableau.a[1], [&slope]);
        if fsal && S == 2 {
            end = Some(state.clone());
        }
        let k1 = field.eval(state, &time(tableau.c[1]));
        stages!([] k1; 2 k2 3 k3 4 k4 5 k5 6 k6 7 k7 8 k8 9 k9 10 k10 11 k11 12 k12)
    }
}

/// The most stages that [`EmbeddedRungeKutta::shared_stages`] writes out.
const WRITTEN_OUT: usize = 13;
