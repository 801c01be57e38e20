use crate::runge_kutta::{add, stage_time};
use crate::{Separable, SolveError, Step, Stepper, arrive};
use advect_core::{Field, State, Times};

/// A composition of leapfrog steps (kick, drift, kick) of the given parts of the step: a symplectic method as data.
///
/// Hairer, Lubich & Wanner, *Geometric Numerical Integration*, II.4, eq. 4.1. With parts that read the same from both
/// ends the method is symmetric, and forward and back returns to the start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Composition<const S: usize> {
    /// The name of the method.
    pub name: &'static str,
    /// The parts of the step; their sum is 1.
    pub parts: [f64; S],
    /// The order of the step.
    pub order: u32,
}

impl<const S: usize> Composition<S> {
    /// A stepper of fixed steps on pairs `(q, p)` under a [`Separable`].
    #[must_use]
    pub fn stepper<X>(self) -> Splitting<S, X> {
        Splitting { method: self, force: None }
    }
}

/// A symplectic method, made by [`Composition::stepper`].
///
/// The force where a step ended is the first of the next: `S` evaluations of force and of velocity a step.
#[derive(Debug, Clone)]
pub struct Splitting<const S: usize, X> {
    method: Composition<S>,
    force: Option<X>,
}

impl<const S: usize, X, V, F> Stepper<Separable<V, F>, (X, X)> for Splitting<S, X>
where
    X: State,
    V: Field<X>,
    F: Field<X>,
{
    fn step(
        &mut self,
        system: &Separable<V, F>,
        (mut q, mut p): (X, X),
        from: &Times,
        to: &Times,
    ) -> Result<Step<(X, X)>, SolveError> {
        let size = from.zip(to, |a, b| b - a);
        let mut force = [self.force.take().or_else(|| Some(system.force.eval(q.clone(), from)))];
        let mut done = 0.0;
        for (i, part) in self.method.parts.iter().enumerate() {
            let end = if i + 1 == S { 1.0 } else { done + part };
            p = add(p, &size, &[0.5 * part], &force);
            let velocity = [Some(system.velocity.eval(p.clone(), &stage_time(done + 0.5 * part, from, to)))];
            q = add(q, &size, &[*part], &velocity);
            force = [Some(system.force.eval(q.clone(), &stage_time(end, from, to)))];
            p = add(p, &size, &[0.5 * part], &force);
            done = end;
        }
        let [force] = force;
        self.force = force;
        arrive((q, p), from, to)
    }

    fn restart(&mut self) {
        self.force = None;
    }
}
