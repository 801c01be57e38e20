use crate::linear::{add, size_and_length};
use crate::{Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Field, Refinable, Sde, SpaceTimeLevyArea, State, Times};

/// The shifted Euler method for additive noise: the drift is taken at the mean of the noise over the step.
///
/// Foster, dos Reis & Strange, *High order splitting methods for SDEs satisfying a commutativity condition*, 2023:
/// `x + h f(x + g (dW / 2 + H)) + g dW`. Strong order 1, weak order 1, one evaluation a step: Euler-Maruyama with
/// a smaller error, for the price of the area H. [`Shark`](crate::Shark) has order 1.5 at two evaluations.
#[derive(Debug, Clone)]
pub struct Sea<B> {
    noise: B,
}

impl<B> Sea<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, D, B> Stepper<Sde<F, D>, X> for Sea<B>
where
    X: State,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: SpaceTimeLevyArea<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let diffusion = from.map(&sde.diffusion);
        let (noise, area) = self.noise.increment_and_area(&x, from, to);
        let shift = noise.clone().combine(0.5, &[(1.0, &area)]);
        let drift = sde.drift.eval(add(x.clone(), [(&diffusion, &shift)]), from);
        arrive(add(x, [(&size, &drift), (&diffusion, &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for Sea<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "sea",
    title: "SEA",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Foster, dos Reis & Strange (2023)",
    use_when: "at one evaluation, when paths count",
};
