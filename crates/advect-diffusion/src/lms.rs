use crate::denoiser::{ends, first_order, predict};
use crate::history::History;
use crate::{Denoiser, Order};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// LMS: the Adams-Bashforth method in the noise level `sigma / alpha`, on any grid.
///
/// The linear multistep method of k-diffusion for `d(x / alpha) / d(sigma / alpha) = E` (Karras et al., 2022, eq. 1;
/// Hairer, Norsett & Wanner I, III.5). Orders 1 to 4 after a start of lower order, one evaluation a step. Regular at
/// `sigma = 0`: the last step keeps its order. A step from noise alone is of first order.
/// Use it where the noise level falls slowly (fine grids); at few steps the exponential methods are better.
#[derive(Debug, Clone)]
pub struct Lms<X> {
    order: Order,
    history: History<X>,
}

impl<X> Lms<X> {
    /// The method of an order.
    #[must_use]
    pub fn new(order: Order) -> Self {
        Self { order, history: History::default() }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for Lms<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.alpha == 0.0 || end.alpha == 0.0 {
            self.history.clear();
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        self.history.push(start.level(), predict(model, Prediction::Noise, &x, &start)?, self.order);
        let terms = self.history.integral(start.level(), end.level(), 0.0, end.alpha);
        arrive(x.combine(end.alpha / start.alpha, &terms), from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHODS: [Method; 2] = [
    Method {
        name: "lms-3",
        title: "LMS of order 3",
        family: Family::Diffusion,
        order: 3.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Karras et al. 2022, eq. 1; k-diffusion",
        use_when: "on fine grids of the noise level",
    },
    Method {
        name: "lms-4",
        title: "LMS of order 4",
        family: Family::Diffusion,
        order: 4.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Karras et al. 2022, eq. 1; k-diffusion",
        use_when: "on fine grids of the noise level",
    },
];
