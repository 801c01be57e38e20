use crate::linear::{add, size_and_length};
use crate::{DiagonalSde, Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Brownian, Elementwise, Field, Refinable, Times};

/// Platen's explicit method of weak order 2 without derivatives: Ito, diagonal noise.
///
/// Kloeden & Platen, 15.1, with Gaussian increments; time is a component of the state that has no noise.
/// Strong order 1, weak order 2; two evaluations of the drift and three of the diffusion a step. Where expectations
/// count and not paths, under multiplicative noise. For additive noise it is
/// [`StochasticHeun`](crate::StochasticHeun).
#[derive(Debug, Clone)]
pub struct PlatenWeak2<B> {
    noise: B,
}

impl<B> PlatenWeak2<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, G, B> Stepper<DiagonalSde<F, G>, X> for PlatenWeak2<B>
where
    X: Elementwise,
    F: Field<X>,
    G: Field<X>,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &DiagonalSde<F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, length) = size_and_length(from, to);
        let one = Times::Shared(1.0);
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let diffusion = sde.diffusion.eval(x.clone(), from);
        let moved = add(x.clone(), [(&size, &drift)]);
        let (up, down) = (length.map(f64::sqrt), length.map(|h| -h.sqrt()));
        let above = sde.diffusion.eval(add(moved.clone(), [(&up, &diffusion)]), to);
        let below = sde.diffusion.eval(add(moved.clone(), [(&down, &diffusion)]), to);
        let first = diffusion.clone().times(&noise);
        let end_drift = sde.drift.eval(add(moved, [(&one, &first)]), to);

        let mean = above.clone().combine(0.25, &[(0.25, &below), (0.5, &diffusion)]).times(&noise);
        let change = above.combine(0.25, &[(-0.25, &below)]);
        let second = change.clone().times(&noise).times(&noise);
        // A row that stands still must not divide by its step of zero.
        let share = up.map(|root| if root > 0.0 { 1.0 / root } else { 0.0 });
        let half_size = size.map(|h| 0.5 * h);
        let x = add(x, [(&half_size, &drift), (&half_size, &end_drift), (&one, &mean)]);
        arrive(add(x, [(&share, &second), (&down, &change)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for PlatenWeak2<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "platen-weak2",
    title: "Platen, weak order 2",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Kloeden & Platen 15.1",
    use_when: "for expectations, without areas",
};
