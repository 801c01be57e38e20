use crate::Denoiser;
use crate::denoiser::{ends, first_order, predict};
use crate::history::History;
use crate::{Order, pndm::transferred};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// iPNDM: PNDM without its Runge-Kutta start, so that every step costs one evaluation.
///
/// Zhang & Chen, 2023, "Fast Sampling of Diffusion Models with Exponential Integrator" (improved PNDM): DDIM steps with
/// the Adams-Bashforth mean of the noise predictions in t, of orders 1, 2, 3 while the history fills, then 4; on grids
/// that are not uniform the weights are those of the grid. Order 2, as [`Pndm`](crate::Pndm): only the mean is of
/// fourth order, the transfer is not. A step from noise alone is of first order.
/// Use it at 5 to 20 evaluations where the noise prediction is smooth in t: on the Gaussian mixtures of
/// `examples/work-precision` (linear path) it was the best of all on a grid alone; [`Deis`](crate::Deis) has exponential
/// weights instead.
#[derive(Debug, Clone)]
pub struct Ipndm<X> {
    history: History<X>,
}

impl<X> Default for Ipndm<X> {
    fn default() -> Self {
        Self { history: History::default() }
    }
}

impl<X> Ipndm<X> {
    /// The method with its history empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for Ipndm<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.alpha == 0.0 || end.alpha == 0.0 {
            self.history.clear();
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        self.history.push(start.t, predict(model, Prediction::Noise, &x, &start)?, Order::Four);
        arrive(transferred(x, &self.history, &start, &end), from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHOD: Method = Method {
    name: "ipndm",
    title: "iPNDM",
    family: Family::Diffusion,
    order: 2.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Zhang & Chen 2023",
    use_when: "on the linear path without guidance, at 5 to 20 evaluations",
};
