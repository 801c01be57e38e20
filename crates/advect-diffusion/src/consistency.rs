use crate::Denoiser;
use crate::denoiser::{predict, stochastic_ends};
use crate::renoise::amount;
use crate::reverse::unit;
use crate::{Coordinates, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// Multistep consistency sampling: each step jumps to the end of the path, then noise takes it back to its own end.
///
/// Song et al., 2023, "Consistency Models", algorithm 1: `x' = f(x) + sqrt(sigma'^2 - sigma_1^2) z` where the path ends
/// at noise `sigma_1`; on any schedule, by [`renoise`](crate::renoise()) from t = 1. The data prediction of the model is
/// taken for the consistency function f, which maps a point of a trajectory to its end (Luo et al., 2023, "Latent
/// Consistency Models", sample so too). For such a model every step is exact in law, one is enough, and more
/// wash out its errors. On a plain denoiser it has order 0: its samples stay blurred however many steps are taken.
/// One evaluation a step, no memory. Use it for consistency models and LCMs, with 1 to 8 steps.
#[derive(Debug, Clone)]
pub struct Consistency<B> {
    noise: B,
}

impl<B> Consistency<B> {
    /// The sampler driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for Consistency<B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let data = predict(model, Prediction::Data, &x, &start)?;
        arrive(noised(&mut self.noise, data, model, 1.0, (start.t, &end))?, from, to)
    }

    fn restart(&mut self) {}
}

/// `x` at time `at` with the noise that is missing to the end of a step; the draw belongs to the step.
pub(crate) fn noised<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>>(
    noise: &mut B,
    x: X,
    model: &G,
    at: f64,
    (start, end): (f64, &Coordinates),
) -> Result<X, DiffusionError> {
    if at == end.t {
        return Ok(x);
    }
    let (on_x, on_noise) = amount(&Coordinates::at(model.schedule(), at), end);
    let noise = unit(noise, &x, start, end.t);
    Ok(x.combine(on_x, &[(on_noise, &noise)]))
}

pub(crate) const METHOD: Method = Method {
    name: "consistency",
    title: "Multistep consistency sampling (LCM)",
    family: Family::FewStep,
    order: 0.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Song et al. 2023, alg. 1; Luo et al. 2023",
    use_when: "for consistency models and LCMs, with 1 to 8 steps",
};
