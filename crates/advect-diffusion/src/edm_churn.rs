use crate::denoiser::stochastic_ends;
use crate::edm_heun::heun;
use crate::error::check;
use crate::renoise::amount;
use crate::reverse::unit;
use crate::{Coordinates, Denoiser, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// By which share the noise level rises before a step.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Increase {
    Step(f64),
    /// For each unit of lambda that the step goes.
    Lambda(f64),
}

/// The most of the paper, `sqrt 2 - 1`.
const MOST: f64 = std::f64::consts::SQRT_2 - 1.0;

/// How much noise the stochastic sampler of EDM adds before a step, and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Churn {
    increase: Increase,
    low: f64,
    high: f64,
    scale: f64,
}

impl Churn {
    /// `S_churn` of the paper spread over the `steps` of the grid, for every noise level.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `churn` is finite and not negative, and `steps` is positive.
    pub fn new(churn: f64, steps: usize) -> Result<Self, DiffusionError> {
        check(churn.is_finite() && churn >= 0.0, "churn", churn, "it must be finite and >= 0")?;
        check(steps > 0, "steps", 0.0, "it must be the number of steps of the grid, at least 1")?;
        Ok(Self { increase: Increase::Step(churn / steps as f64), ..Self::default() })
    }

    /// A rise of the level by `rate` for each unit of lambda (each factor e of the level) that a step takes it down:
    /// the same process on every grid, in the limit an SDE.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `rate` is finite and not negative.
    pub fn rate(rate: f64) -> Result<Self, DiffusionError> {
        check(rate.is_finite() && rate >= 0.0, "rate", rate, "it must be finite and >= 0")?;
        Ok(Self { increase: Increase::Lambda(rate), ..Self::default() })
    }

    /// Only where the noise level lies between `S_tmin` and `S_tmax`.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= low <= high`.
    pub fn between(self, low: f64, high: f64) -> Result<Self, DiffusionError> {
        check(low >= 0.0 && low <= high, "low", low, "the noise levels must fulfil 0 <= low <= high")?;
        Ok(Self { low, high, ..self })
    }

    /// Noise of standard deviation `S_noise` instead of 1: a little above, against the loss of detail.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless it is finite and positive.
    pub fn scaled(self, scale: f64) -> Result<Self, DiffusionError> {
        check(scale.is_finite() && scale > 0.0, "scale", scale, "it must be finite and > 0")?;
        Ok(Self { scale, ..self })
    }
}

/// [`Churn::rate`] 1.
impl Default for Churn {
    fn default() -> Self {
        Self { increase: Increase::Lambda(1.0), low: 0.0, high: f64::INFINITY, scale: 1.0 }
    }
}

/// The stochastic sampler of EDM: noise is added, then Heun's method removes more.
///
/// Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", algorithm 2, for
/// `x / alpha` of any schedule: the level rises by the factor `1 + min(S_churn / N, sqrt 2 - 1)`, but not above that of
/// t = 0. Two evaluations a step, one for the step to data alone. Without churn it is [`EdmHeun`](crate::EdmHeun).
/// Order 2 without churn; the noise itself has the exact law.
/// Use it with many steps, for models whose errors noise can wash out.
#[derive(Debug, Clone)]
pub struct EdmChurn<B> {
    churn: Churn,
    noise: B,
}

impl<B> EdmChurn<B> {
    /// The sampler with this churn, driven by this noise.
    #[must_use]
    pub fn new(churn: Churn, noise: B) -> Self {
        Self { churn, noise }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for EdmChurn<B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let Churn { increase, low, high, scale } = self.churn;
        let level = start.level();
        let increase = match increase {
            Increase::Step(share) => share.min(MOST),
            Increase::Lambda(rate) => (rate * (end.lambda - start.lambda)).min(MOST),
        };
        if increase == 0.0 || !start.is_inside() || level < low || level > high {
            return arrive(heun(model, x, &start, &end)?, from, to);
        }
        let noisiest = Coordinates::at(model.schedule(), 0.0);
        let raised = Coordinates::at_lambda(model.schedule(), start.lambda - increase.ln_1p());
        let raised = if raised.lambda < noisiest.lambda { noisiest } else { raised };
        let (on_x, on_noise) = amount(&start, &raised);
        let noise = unit(&mut self.noise, &x, start.t, end.t);
        let x = x.combine(on_x, &[(scale * on_noise, &noise)]);
        arrive(heun(model, x, &raised, &end)?, from, to)
    }

    fn restart(&mut self) {}
}

pub(crate) const METHOD: Method = Method {
    name: "edm-churn",
    title: "EDM with churn",
    family: Family::DiffusionSde,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Karras et al. 2022, alg. 2",
    use_when: "with many steps, for models whose errors noise washes out",
};
