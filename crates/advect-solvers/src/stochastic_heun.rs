use crate::linear::{add, size_and_length};
use crate::{Family, Method, PathDriven, SolveError, Step, Stepper, StratonovichSde, arrive};
use advect_core::{Brownian, Elementwise, Field, Refinable, Sde, State, Times};

/// The stochastic Heun method: the trapezoidal rule over an Euler-Maruyama step, in the sense of **Stratonovich**.
///
/// Rumelin, *Numerical treatment of stochastic differential equations*, 1982.
/// Strong order 1 and weak order 1 for a [`StratonovichSde`]; for the additive noise of an [`Sde`], which has one
/// reading, strong order 1 and weak order 2. Two evaluations a step. The robust choice: order 2 where the noise
/// vanishes, no derivatives, no areas.
#[derive(Debug, Clone)]
pub struct StochasticHeun<B> {
    noise: B,
}

impl<B> StochasticHeun<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, G, B> Stepper<StratonovichSde<F, G>, X> for StochasticHeun<B>
where
    X: Elementwise,
    F: Field<X>,
    G: Field<X>,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &StratonovichSde<F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let (one, half) = (Times::Shared(1.0), Times::Shared(0.5));
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let first = sde.diffusion.eval(x.clone(), from).times(&noise);
        let predicted = add(x.clone(), [(&size, &drift), (&one, &first)]);
        let second = sde.diffusion.eval(predicted.clone(), to).times(&noise);
        let end_drift = sde.drift.eval(predicted, to);
        let half_size = size.map(|h| 0.5 * h);
        let terms = [(&half_size, &drift), (&half_size, &end_drift), (&half, &first), (&half, &second)];
        arrive(add(x, terms), from, to)
    }

    fn restart(&mut self) {}
}

impl<X, F, D, B> Stepper<Sde<F, D>, X> for StochasticHeun<B>
where
    X: State,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let (start, end) = (from.map(&sde.diffusion), to.map(&sde.diffusion));
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let predicted = add(x.clone(), [(&size, &drift), (&start, &noise)]);
        let end_drift = sde.drift.eval(predicted, to);
        let half_size = size.map(|h| 0.5 * h);
        let diffusion = start.zip(&end, |a, b| 0.5 * (a + b));
        arrive(add(x, [(&half_size, &drift), (&half_size, &end_drift), (&diffusion, &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for StochasticHeun<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const ADDITIVE: Method = Method {
    name: "stochastic-heun",
    title: "stochastic Heun",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Rumelin (1982); Kloeden & Platen 15.1",
    use_when: "for expectations; simple noise without areas",
};

pub(crate) const DIAGONAL: Method = Method {
    name: "stochastic-heun",
    title: "stochastic Heun",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 2.0,
    source: "Rumelin (1982)",
    use_when: "for Stratonovich noise",
};
