use crate::denoiser::{predict, stochastic_ends};
use crate::error::check;
use crate::history::History;
use crate::reverse::{Reverse, unit};
use crate::{Denoiser, DiffusionError, Order};
use advect_core::{Brownian, State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// SDE-DPM-Solver++ of order one, two (2M) or three (3M): multistep, on the data prediction, with fresh noise.
///
/// Lu et al., 2022, "DPM-Solver++", SDE-DPM-Solver++ (orders 1 and 2, tau = 1); 3M and the share of noise as
/// in k-diffusion (its `eta` is `tau^2`). 2M takes the authors' form `D + (D - D_1) / 2r`, 3M integrates the polynomial
/// exactly. With tau = 0 it is [`DpmSolverPpMultistep`](crate::DpmSolverPpMultistep). The order is that of the drift;
/// strong and weak order are 1. One evaluation a step. A step to data alone ends at the predicted mean.
/// Use 2M with 15 to 50 steps where samples are to vary and errors to be forgotten, 3M with more.
#[derive(Debug, Clone)]
pub struct SdeDpmSolverPp<X, B> {
    order: Order,
    tau: f64,
    noise: B,
    history: History<X>,
}

impl<X, B> SdeDpmSolverPp<X, B> {
    /// The method of an order, with a share tau of noise: 0 none, 1 the reverse SDE of the diffusion.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless tau is finite and not negative.
    pub fn new(order: Order, tau: f64, noise: B) -> Result<Self, DiffusionError> {
        check(tau.is_finite() && tau >= 0.0, "tau", tau, "it must be finite and >= 0: 1 is the reverse SDE")?;
        Ok(Self { order, tau, noise, history: History::default() })
    }

    /// The method of an order with tau = 1.
    #[must_use]
    pub fn reverse_sde(order: Order, noise: B) -> Self {
        Self { order, tau: 1.0, noise, history: History::default() }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized, B: Brownian<X>> Stepper<G, X> for SdeDpmSolverPp<X, B> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = stochastic_ends(model, from, to)?;
        let kernel = Reverse::new(&start, &end, self.tau);
        self.history.push(start.lambda, predict(model, Prediction::Data, &x, &start)?, self.order);
        let terms = match self.history.finite() {
            [(now, data), (before, older)] if end.is_inside() => {
                let half = kernel.on_data * (end.lambda - start.lambda) / (now - before) / 2.0;
                vec![(kernel.on_data + half, data), (-half, older)]
            }
            _ => self.history.exponential(&start, &end, kernel.on_data, kernel.rate, kernel.rate * end.alpha),
        };
        let mean = x.combine(kernel.on_x, &terms);
        if kernel.noise == 0.0 {
            return arrive(mean, from, to);
        }
        let noise = unit(&mut self.noise, &mean, start.t, end.t);
        arrive(mean.combine(1.0, &[(kernel.noise, &noise)]), from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHODS: [Method; 3] = [
    Method {
        name: "sde-dpm-solver-pp-1",
        title: "SDE-DPM-Solver++ of order 1",
        family: Family::DiffusionSde,
        order: 1.0,
        weak_order: Some(1.0),
        evaluations: 1.0,
        source: "Lu et al. 2022b",
        use_when: "as the baseline of the reverse SDE",
    },
    Method {
        name: "sde-dpm-solver-pp-2m",
        title: "SDE-DPM-Solver++(2M)",
        family: Family::DiffusionSde,
        order: 1.0,
        weak_order: Some(2.0),
        evaluations: 1.0,
        source: "Lu et al. 2022b",
        use_when: "with 15 to 50 steps",
    },
    Method {
        name: "sde-dpm-solver-pp-3m",
        title: "SDE-DPM-Solver++(3M)",
        family: Family::DiffusionSde,
        order: 1.0,
        weak_order: Some(2.0),
        evaluations: 1.0,
        source: "Lu et al. 2022b; k-diffusion",
        use_when: "with more than 30 steps",
    },
];
