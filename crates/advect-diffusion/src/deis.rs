use crate::denoiser::{ends, first_order, predict};
use crate::history::History;
use crate::{Denoiser, Order};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// DEIS in log-rho (lambda): multistep, on the noise prediction.
///
/// Zhang & Chen, 2023, "Fast Sampling of Diffusion Models with Exponential Integrator", tAB-DEIS eq. 14 with the
/// polynomial in `log(sigma / alpha)`; its integral is exact here. Orders 1 to 4 after a start of lower order, one
/// evaluation a step. A step from noise alone or to data alone is of first order.
/// Use it without guidance at 10 to 20 evaluations.
#[derive(Debug, Clone)]
pub struct Deis<X> {
    order: Order,
    history: History<X>,
}

impl<X> Deis<X> {
    /// The method of an order.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self { order, history: History::default() }
    }

    /// Changes the order from the next step on, such as to one for the last step.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for Deis<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.alpha == 0.0 {
            self.history.clear();
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        self.history.push(start.lambda, predict(model, Prediction::Noise, &x, &start)?, self.order);
        let (on_x, on_noise) = start.with_noise(&end);
        let x = x.combine(on_x, &self.history.exponential(&start, &end, on_noise, -1.0, -end.sigma));
        arrive(x, from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHODS: [Method; 2] = [
    Method {
        name: "deis-2",
        title: "DEIS (log-rho) of order 2",
        family: Family::Diffusion,
        order: 2.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Zhang & Chen 2023, eq. 14",
        use_when: "without guidance, at 10 evaluations",
    },
    Method {
        name: "deis-3",
        title: "DEIS (log-rho) of order 3",
        family: Family::Diffusion,
        order: 3.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Zhang & Chen 2023, eq. 14",
        use_when: "without guidance, at 10 to 20 evaluations",
    },
];
