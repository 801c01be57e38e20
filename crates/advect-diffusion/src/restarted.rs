use crate::denoiser::stochastic_ends;
use crate::error::check;
use crate::renoise::amount;
use crate::reverse::unit;
use crate::{Coordinates, Denoiser, DiffusionError};
use advect_core::{Brownian, State, Times};
use advect_solvers::{SolveError, Step, Stepper, arrive};

/// Restart sampling: on arrival at a time, noise takes the samples back, and the way is gone again, K times.
///
/// Xu et al., 2023, "Restart Sampling for Improving Generative Processes", algorithm 1, around any deterministic
/// sampler: the noise forgets errors, the sampler makes few. One interval; wrap again for more. It adds
/// `repeats * steps` steps of the sampler to a solve, equal in lambda.
/// Use it with models whose samples are better with noise, at fewer evaluations than an SDE needs.
#[derive(Debug, Clone)]
pub struct Restarted<M, B> {
    sampler: M,
    noisy: f64,
    clean: f64,
    steps: usize,
    repeats: usize,
    noise: B,
}

impl<M, B> Restarted<M, B> {
    /// A sampler that goes `repeats` times from `clean` back to `noisy` (both times, `noisy < clean`) and from there to
    /// `clean` in `steps`.
    ///
    /// The noise must be fresh each time it is asked for the same times: [`WhiteNoise`](advect_core::WhiteNoise).
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 < noisy < clean < 1` and `steps` is positive.
    pub fn new(
        sampler: M,
        (noisy, clean): (f64, f64),
        steps: usize,
        repeats: usize,
        noise: B,
    ) -> Result<Self, DiffusionError> {
        check(noisy > 0.0 && noisy < 1.0, "noisy", noisy, "it must be a time inside (0, 1)")?;
        check(clean > noisy && clean < 1.0, "clean", clean, "it must be a time after `noisy` and before 1")?;
        check(steps > 0, "steps", 0.0, "the way back takes at least one step")?;
        Ok(Self { sampler, noisy, clean, steps, repeats, noise })
    }
}

impl<X, G, M, B> Stepper<G, X> for Restarted<M, B>
where
    X: State,
    G: Denoiser<X> + ?Sized,
    M: Stepper<G, X>,
    B: Brownian<X>,
{
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        if !(start.t < self.clean && self.clean <= end.t) {
            return self.sampler.step(model, x, from, to);
        }
        // The step ends early, at the clean time; the driver goes on from there.
        let clean = Times::Shared(self.clean);
        let mut x = walk(&mut self.sampler, model, x, from, &clean)?;
        let schedule = model.schedule();
        let (low, high) = (Coordinates::at(schedule, self.noisy), Coordinates::at(schedule, self.clean));
        let (on_x, on_noise) = amount(&high, &low);
        for _ in 0..self.repeats {
            let noise = unit(&mut self.noise, &x, high.t, low.t);
            x = x.combine(on_x, &[(on_noise, &noise)]);
            self.sampler.restart();
            let mut at = Times::Shared(low.t);
            for i in 1..=self.steps {
                let share = i as f64 / self.steps as f64;
                let lambda = low.lambda + share * (high.lambda - low.lambda);
                let next = if i == self.steps { clean.clone() } else { schedule.time_at_log_snr(2.0 * lambda).into() };
                x = walk(&mut self.sampler, model, x, &at, &next)?;
                at = next;
            }
        }
        self.sampler.restart();
        arrive(x, from, &clean)
    }

    fn restart(&mut self) {
        self.sampler.restart();
    }
}

/// All the steps that a sampler takes to arrive.
pub(crate) fn walk<X, G: ?Sized, M: Stepper<G, X>>(
    sampler: &mut M,
    model: &G,
    mut x: X,
    from: &Times,
    to: &Times,
) -> Result<X, SolveError> {
    let mut at = from.clone();
    while !at.reached(to) {
        let step = sampler.step(model, x, &at, to)?;
        if step.at == at {
            return Err(SolveError::NoProgress { time: at.range().0 });
        }
        Step { x, at } = step;
    }
    Ok(x)
}
