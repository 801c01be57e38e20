use crate::denoiser::{predict, stochastic_ends};
use crate::reverse::{Reverse, unit};
use crate::{Coordinates, Denoiser};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// SEEDS-2 on the data prediction: a singlestep exponential method for the reverse SDE, with a stage in the middle.
///
/// Gonzalez et al., 2023, "SEEDS: Exponential SDE Solvers for Fast High-Quality Sampling from Diffusion Models",
/// in the form of the data prediction. Stage and step share one Brownian path: the noise of the stage
/// decays into that of the step, and the second half adds its own. The drift has order 2; strong order 1. Two
/// evaluations a step, no memory; one where a step starts at noise alone or ends at data alone, which is its mean.
/// Use it where samples are to vary and a method must have no memory.
#[derive(Debug, Clone)]
pub struct Seeds<B> {
    noise: B,
}

impl<B> Seeds<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for Seeds<B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let data = predict(model, Prediction::Data, &x, &start)?;
        let whole = Reverse::new(&start, &end, 1.0);
        if !(start.is_inside() && end.is_inside()) {
            let noise = unit(&mut self.noise, &x, start.t, end.t);
            return arrive(x.combine(whole.on_x, &[(whole.on_data, &data), (whole.noise, &noise)]), from, to);
        }
        let middle = Coordinates::at_lambda(model.schedule(), (start.lambda + end.lambda) / 2.0);
        let (first, second) = (Reverse::new(&start, &middle, 1.0), Reverse::new(&middle, &end, 1.0));
        let noise = unit(&mut self.noise, &x, start.t, middle.t);
        let stage = x.clone().combine(first.on_x, &[(first.on_data, &data), (first.noise, &noise)]);
        // With the stage in the middle, D + (D_s - D) / 2r is D_s.
        let data = predict(model, Prediction::Data, &stage, &middle)?;
        let more = unit(&mut self.noise, &x, middle.t, end.t);
        let decayed = second.on_x * first.noise;
        let x = x.combine(whole.on_x, &[(whole.on_data, &data), (decayed, &noise), (second.noise, &more)]);
        arrive(x, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "seeds-2",
    title: "SEEDS-2",
    family: Family::DiffusionSde,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Gonzalez et al. 2023",
    use_when: "with noise, where there may be no memory",
};
