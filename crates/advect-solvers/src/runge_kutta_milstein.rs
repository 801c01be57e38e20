use crate::linear::{add, size_and_length};
use crate::{DiagonalSde, Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Brownian, Elementwise, Field, Refinable, Times};

/// The Milstein method without derivatives: Ito, diagonal noise, strong order 1, weak order 1.
///
/// Kloeden & Platen, 11.1: `x + h f + g dW + (g(y) - g) (dW^2 - |h|) / (2 sqrt|h|)`, `y = x + h f + sqrt|h| g`. One
/// evaluation of the drift and two of the diffusion a step. The first choice for multiplicative noise.
#[derive(Debug, Clone)]
pub struct RungeKuttaMilstein<B> {
    noise: B,
}

impl<B> RungeKuttaMilstein<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, G, B> Stepper<DiagonalSde<F, G>, X> for RungeKuttaMilstein<B>
where
    X: Elementwise,
    F: Field<X>,
    G: Field<X>,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &DiagonalSde<F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, length) = size_and_length(from, to);
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let diffusion = sde.diffusion.eval(x.clone(), from);
        let support = add(x.clone(), [(&size, &drift), (&length.map(f64::sqrt), &diffusion)]);
        let change = sde.diffusion.eval(support, from).combine(1.0, &[(-1.0, &diffusion)]);
        let second = change.clone().times(&noise).times(&noise);
        let first = diffusion.times(&noise);
        let (one, share, correction) =
            (Times::Shared(1.0), length.map(|h| 0.5 / h.sqrt()), length.map(|h| -0.5 * h.sqrt()));
        // A row that stands still must not divide by its step of zero.
        let share = share.map(|s| if s.is_finite() { s } else { 0.0 });
        arrive(add(x, [(&size, &drift), (&one, &first), (&share, &second), (&correction, &change)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for RungeKuttaMilstein<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "runge-kutta-milstein",
    title: "Runge-Kutta Milstein",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Kloeden & Platen 11.1",
    use_when: "at one evaluation of the drift, no derivatives",
};
