use crate::consistency::noised;
use crate::denoiser::{predict, stochastic_ends};
use crate::error::check;
use crate::{Coordinates, Denoiser, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// TCD, strategic stochastic sampling: a jump beyond the end of the step, then noise back to it.
///
/// Zheng et al., 2024, "Trajectory Consistency Distillation": with `1 - t` the way left, the jump goes to
/// `1 - s = (1 - gamma) (1 - t')` along the predicted data and noise, `x_s = alpha_s D + sigma_s E`, and noise takes it
/// from s to t'. Gamma = 0 is [`Ddim`](crate::Ddim), 1 is [`Consistency`](crate::Consistency) (where the path ends in
/// data). One evaluation a step, no memory; order 0 unless gamma is 0, for gamma does not shrink with the steps.
/// Use it for models distilled with it, with 2 to 20 steps: a smaller gamma keeps more detail, a larger one repairs
/// more.
#[derive(Debug, Clone)]
pub struct Tcd<B> {
    gamma: f64,
    noise: B,
}

impl<B> Tcd<B> {
    /// The sampler with this share of noise.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= gamma <= 1`.
    pub fn new(gamma: f64, noise: B) -> Result<Self, DiffusionError> {
        check((0.0..=1.0).contains(&gamma), "gamma", gamma, "it must be in [0, 1]: 0 is DDIM, 1 jumps to the data")?;
        Ok(Self { gamma, noise })
    }

    /// Gamma = 0.3.
    #[must_use]
    pub fn distilled(noise: B) -> Self {
        Self { gamma: 0.3, noise }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for Tcd<B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let data = predict(model, Prediction::Data, &x, &start)?;
        // Gamma 0 ends at `to` itself, 1 at the end of the path: neither may be missed by round-off.
        let s = end.t + self.gamma * (1.0 - end.t);
        let (on_x, on_data) = start.with_data(&Coordinates::at(model.schedule(), s));
        let x = x.combine(on_x, &[(on_data, &data)]);
        arrive(noised(&mut self.noise, x, model, s, (start.t, &end))?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "tcd",
    title: "TCD, gamma = 0.3",
    family: Family::FewStep,
    order: 0.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Zheng et al. 2024",
    use_when: "for models distilled with it, with 2 to 20 steps",
};
