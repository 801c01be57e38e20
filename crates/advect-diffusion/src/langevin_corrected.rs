use crate::denoiser::{predict, stochastic_ends};
use crate::error::check;
use crate::{Denoiser, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{SolveError, Step, Stepper, arrive};

/// A predictor-corrector sampler: after each step of a sampler, Langevin steps at the new time.
///
/// Song et al., 2021, "Score-Based Generative Modeling through SDEs", algorithms 2 to 5: `x + e s(x) + sqrt(2 e) z`
/// with the score s. Their step `2 (r |z| / |s|)^2` is here `2 (r sigma)^2`, its value for the mean lengths of noise
/// and score, so that a sample depends neither on its own noise nor on the batch. `corrections` evaluations a step
/// more; none where sigma is zero. The law of a corrected state is off by a share of order r^2, as that of any
/// unadjusted Langevin step. The corrections make a predictor forget its history, so give it one without. Use it with
/// many steps, where the predictor's errors must be forgotten.
#[derive(Debug, Clone)]
pub struct LangevinCorrected<M, B> {
    predictor: M,
    corrections: usize,
    ratio: f64,
    noise: B,
}

impl<M, B> LangevinCorrected<M, B> {
    /// A sampler with this number of corrections a step, each of the signal-to-noise ratio r (0.16 in the paper).
    ///
    /// The noise must be fresh each time it is asked for the same times: [`WhiteNoise`](advect_core::WhiteNoise).
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 < ratio < 1`: beyond it the steps do not converge.
    pub fn new(predictor: M, corrections: usize, ratio: f64, noise: B) -> Result<Self, DiffusionError> {
        check(ratio > 0.0 && ratio < 1.0, "ratio", ratio, "the signal-to-noise ratio must be in (0, 1)")?;
        Ok(Self { predictor, corrections, ratio, noise })
    }
}

impl<X, G, M, B> Stepper<G, X> for LangevinCorrected<M, B>
where
    X: State,
    G: Denoiser<X> + ?Sized,
    M: Stepper<G, X>,
    B: Brownian<X>,
{
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        stochastic_ends(model, from, to)?;
        let Step { mut x, at } = self.predictor.step(model, x, from, to)?;
        let (start, here) = stochastic_ends(model, from, &at)?;
        if here.sigma == 0.0 {
            return Ok(Step { x, at });
        }
        let size = 2.0 * (self.ratio * here.sigma).powi(2);
        for _ in 0..self.corrections {
            let score = predict(model, Prediction::Score, &x, &here)?;
            // Unit noise, whatever the length of the step.
            let spread = (2.0 * size / (here.t - start.t)).sqrt();
            let noise = self.noise.increment(&x, from, &at);
            x = x.combine(1.0, &[(size, &score), (spread, &noise)]);
        }
        // The state was moved from outside: what the predictor remembers belongs to another.
        self.predictor.restart();
        arrive(x, from, &at)
    }

    fn restart(&mut self) {
        self.predictor.restart();
    }
}
