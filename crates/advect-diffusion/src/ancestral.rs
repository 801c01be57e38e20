use crate::denoiser::{predict, stochastic_ends};
use crate::error::check;
use crate::reverse::unit;
use crate::{Denoiser, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DDIM with noise, the ancestral sampler: `x' = alpha' D + sqrt(sigma'^2 - s^2) E + s z`.
///
/// Song et al., 2021, "Denoising Diffusion Implicit Models", eq. 12 and 16, for any schedule:
/// `s = eta sigma' sqrt(1 - (alpha sigma' / alpha' sigma)^2)`. With eta = 1 it is the ancestral sampling of DDPM (Ho et
/// al., 2020, algorithm 2, with the posterior variance) and, in `x / alpha`, the ancestral Euler method of k-diffusion;
/// with eta = 0 it is [`Ddim`](crate::Ddim). Weak order 1, one evaluation a step. The step to data alone adds nothing.
/// Use it where errors of early steps are to be forgotten, with 50 or more steps.
///
/// The noise is an argument: [`WhiteNoise`](advect_core::WhiteNoise), or a [`BrownianPath`](advect_core::BrownianPath)
/// where grids are compared.
#[derive(Debug, Clone)]
pub struct Ancestral<B> {
    eta: f64,
    noise: B,
}

impl<B> Ancestral<B> {
    /// The sampler with a share eta of the noise of DDPM.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= eta <= 1`.
    pub fn new(eta: f64, noise: B) -> Result<Self, DiffusionError> {
        check((0.0..=1.0).contains(&eta), "eta", eta, "it must be in [0, 1]: 0 is DDIM, 1 is DDPM")?;
        Ok(Self { eta, noise })
    }

    /// Eta = 1.
    #[must_use]
    pub fn ddpm(noise: B) -> Self {
        Self { eta: 1.0, noise }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for Ancestral<B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let data = predict(model, Prediction::Data, &x, &start)?;
        let kept = start.alpha * end.sigma / (end.alpha * start.sigma);
        let fresh = self.eta * end.sigma * ((1.0 - kept) * (1.0 + kept)).max(0.0).sqrt();
        // E = (x - alpha D) / sigma.
        let on_x = (end.sigma * end.sigma - fresh * fresh).max(0.0).sqrt() / start.sigma;
        let mean = x.combine(on_x, &[(end.alpha - on_x * start.alpha, &data)]);
        if fresh == 0.0 {
            return arrive(mean, from, to);
        }
        let noise = unit(&mut self.noise, &mean, start.t, end.t);
        arrive(mean.combine(1.0, &[(fresh, &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "ancestral",
    title: "Ancestral Euler (DDPM, DDIM with eta = 1)",
    family: Family::DiffusionSde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Song et al. 2021, eq. 16",
    use_when: "to forget errors, with 50 or more steps",
};
