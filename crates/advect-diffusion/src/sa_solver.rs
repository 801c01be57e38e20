use crate::denoiser::{predict, stochastic_ends};
use crate::error::check;
use crate::history::{History, integral};
use crate::reverse::{Reverse, unit};
use crate::{Coordinates, Denoiser, DiffusionError, Order};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// SA-Solver: stochastic Adams, a multistep predictor and a corrector, with a share tau of fresh noise.
///
/// Xue et al., 2023, "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models", algorithm 1,
/// with tau constant and the integrals exact. The predictor goes through p predictions; the corrector
/// through the new one and p earlier ones, at the start of the next step, with the same noise, so that a step costs
/// one evaluation. Without noise order p + 1 (p without the corrector); with noise strong order 1 where tau does
/// not vanish. A step to data alone ends at the predicted mean; the last state is not corrected.
/// Use it at 20 to 60 evaluations, with tau from 0.2 to 1.
#[derive(Debug, Clone)]
pub struct SaSolver<X, B> {
    order: Order,
    tau: f64,
    noise: B,
    history: History<X>,
    last: Option<Last<X>>,
}

/// Where the last step started, from which state, and its noise.
#[derive(Debug, Clone)]
struct Last<X> {
    start: Coordinates,
    x: X,
    noise: Option<X>,
}

impl<X, B> SaSolver<X, B> {
    /// The method of a predictor's order and a share tau of noise: 0 none, 1 the reverse SDE of the diffusion.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless tau is finite and not negative, or for order four, whose corrector would
    /// need five predictions.
    pub fn new(order: Order, tau: f64, noise: B) -> Result<Self, DiffusionError> {
        check(tau.is_finite() && tau >= 0.0, "tau", tau, "it must be finite and >= 0: 1 is the reverse SDE")?;
        check(order < Order::Four, "order", order.get() as f64, "the predictor has order one to three")?;
        Ok(Self { order, tau, noise, history: History::default(), last: None })
    }

    /// Order two with tau = 1.
    #[must_use]
    pub fn reverse_sde(noise: B) -> Self {
        Self { order: Order::Two, tau: 1.0, noise, history: History::default(), last: None }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for SaSolver<X, B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let data = predict(model, Prediction::Data, &x, &start)?;
        let x = match self.last.take() {
            None => x,
            Some(last) => {
                let kernel = Reverse::new(&last.start, &start, self.tau);
                let mut known = vec![(start.lambda, data.clone())];
                known.extend_from_slice(self.history.finite());
                let (low, high) = (last.start.lambda, start.lambda);
                let mut terms = integral(&known, low, high, kernel.rate, kernel.rate * start.alpha);
                terms.extend(last.noise.as_ref().map(|noise| (kernel.noise, noise)));
                last.x.combine(kernel.on_x, &terms)
            }
        };
        self.history.push(start.lambda, data, self.order);
        let kernel = Reverse::new(&start, &end, self.tau);
        let mut terms = self.history.exponential(&start, &end, kernel.on_data, kernel.rate, kernel.rate * end.alpha);
        let noise = (kernel.noise > 0.0).then(|| unit(&mut self.noise, &x, start.t, end.t));
        terms.extend(noise.as_ref().map(|noise| (kernel.noise, noise)));
        let next = x.clone().combine(kernel.on_x, &terms);
        if start.is_inside() && end.is_inside() {
            self.last = Some(Last { start, x, noise });
        }
        arrive(next, from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
        self.last = None;
    }
}

pub(crate) const METHOD: Method = Method {
    name: "sa-solver",
    title: "SA-Solver, predictor of order 2, tau = 1",
    family: Family::DiffusionSde,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 1.0,
    source: "Xue et al. 2023, alg. 1",
    use_when: "at 20 to 60 evaluations",
};
