use crate::denoiser::{ends, first_order, predict};
use crate::{Coordinates, Denoiser};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// Heun's method in the noise level `sigma / alpha`: the deterministic sampler of EDM.
///
/// Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 1, for
/// `x / alpha` of any schedule. Order 2, two evaluations a step, no memory; a step to `sigma = 0` is an Euler step with
/// one, which is the mean; so is a step from noise alone.
/// Use it with the grid of the paper (rho = 7) for models of the EDM family.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EdmHeun;

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for EdmHeun {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        arrive(heun(model, x, &start, &end)?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) fn heun<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    x: X,
    start: &Coordinates,
    end: &Coordinates,
) -> Result<X, SolveError> {
    if !(start.is_inside() && end.is_inside()) {
        return first_order(model, x, start, end);
    }
    let (on_x, on_noise) = start.with_noise(end);
    let slope = predict(model, Prediction::Noise, &x, start)?;
    let euler = x.clone().combine(on_x, &[(on_noise, &slope)]);
    let other = predict(model, Prediction::Noise, &euler, end)?;
    Ok(x.combine(on_x, &[(on_noise / 2.0, &slope), (on_noise / 2.0, &other)]))
}

pub(crate) const METHOD: Method = Method {
    name: "edm-heun",
    title: "EDM Heun",
    family: Family::Diffusion,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Karras et al. 2022, alg. 1",
    use_when: "for models of the EDM family",
};
