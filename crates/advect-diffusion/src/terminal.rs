use crate::denoiser::{ends, first_order, predict};
use crate::{Coordinates, Denoiser};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{SolveError, Step, Stepper, arrive};

/// What a step does that ends at data alone, where sigma is zero and lambda infinite.
///
/// The samplers here end with [`Terminal::Mean`] of their own accord, unless their formula has a limit of its order
/// (EDM Heun and LMS work with sigma itself; Heun drops its second stage). [`Ended`] makes another choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Terminal {
    /// The mean `E[x_1 | x]`, the predicted data: Tweedie's formula `(x + sigma^2 score) / alpha`, the first-order
    /// exponential step. No noise is left over.
    #[default]
    Mean,
    /// An Euler step of the velocity in t: the mean on the linear path, elsewhere it leaves noise or takes too much.
    /// It needs a finite velocity at the start of the step only.
    Euler,
}

/// What is left of a sample once the noise of its time is taken off: the predicted data, `E[x_1 | x]`. One evaluation.
///
/// Tweedie's formula (Robbins, 1956; Efron, 2011). Samplers that arrive at `sigma = 0` need it not; those of schedules
/// that end with some noise (variance exploding, EDM with `sigma_min > 0`), or that stop before t = 1, do.
///
/// # Errors
/// [`DiffusionError::Path`](crate::DiffusionError::Path) where the data cannot be read off the model, wrapped.
pub fn denoised<X: State, G: Denoiser<X> + ?Sized>(model: &G, x: &X, t: f64) -> Result<X, SolveError> {
    predict(model, Prediction::Data, x, &Coordinates::at(model.schedule(), t))
}

/// A sampler with another last step: where a step ends at `sigma = 0` the policy makes it, elsewhere the sampler.
///
/// Orders and evaluations of the sampler; one evaluation for the last step.
#[derive(Debug, Clone, Copy)]
pub struct Ended<M> {
    sampler: M,
    terminal: Terminal,
}

impl<M> Ended<M> {
    /// A sampler and its last step.
    #[must_use]
    pub fn new(sampler: M, terminal: Terminal) -> Self {
        Self { sampler, terminal }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, M: Stepper<G, X>> Stepper<G, X> for Ended<M> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if end.sigma > 0.0 {
            return self.sampler.step(model, x, from, to);
        }
        self.sampler.restart();
        let x = match self.terminal {
            Terminal::Mean => first_order(model, x, &start, &end)?,
            Terminal::Euler => {
                let (on_x, on_output) = model.conversion(Prediction::Velocity, start.t)?;
                let (h, output) = (end.t - start.t, model.output(x.clone(), start.t));
                x.combine(1.0 + h * on_x, &[(h * on_output, &output)])
            }
        };
        arrive(x, from, to)
    }

    fn restart(&mut self) {
        self.sampler.restart();
    }
}
