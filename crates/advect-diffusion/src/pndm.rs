use crate::denoiser::{ends, first_order, predict};
use crate::history::History;
use crate::{Coordinates, Denoiser, Order};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// PNDM: pseudo linear multistep, a DDIM step with an Adams-Bashforth mean of the noise predictions in t.
///
/// Liu et al., 2022, "Pseudo Numerical Methods for Diffusion Models on Manifolds", eq. 9, 12, 13 (F-PNDM): a pseudo
/// Runge-Kutta step (four evaluations) for each of the first three, then one evaluation a step. The weights
/// (55, -59, 37, -9) / 24 are those of a uniform grid; on others they are the Adams-Bashforth weights of that grid.
/// Order 2: only the mean is of fourth order, the transfer is not. A step from noise alone is of first order.
/// Use it to reproduce results of the paper; DPM-Solver++ and UniPC are better at equal evaluations.
#[derive(Debug, Clone)]
pub struct Pndm<X> {
    history: History<X>,
    seen: usize,
}

impl<X> Default for Pndm<X> {
    fn default() -> Self {
        Self { history: History::default(), seen: 0 }
    }
}

impl<X> Pndm<X> {
    /// The method with its history empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for Pndm<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.alpha == 0.0 || end.alpha == 0.0 {
            self.restart_history();
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        let noise = predict(model, Prediction::Noise, &x, &start)?;
        self.history.push(start.t, noise.clone(), Order::Four);
        self.seen += 1;
        // The stages of the start need the noise at the end of the step, which data alone does not show.
        let x = if self.seen < 4 && end.sigma > 0.0 {
            runge_kutta(model, x, noise, &start, &end)?
        } else {
            transferred(x, &self.history, &start, &end)
        };
        arrive(x, from, to)
    }

    fn restart(&mut self) {
        self.restart_history();
    }
}

impl<X> Pndm<X> {
    fn restart_history(&mut self) {
        self.history.clear();
        self.seen = 0;
    }
}

/// The pseudo multistep step: a DDIM step with the Adams-Bashforth mean of the noise in t.
pub(crate) fn transferred<X: State>(x: X, history: &History<X>, start: &Coordinates, end: &Coordinates) -> X {
    let (on_x, on_noise) = start.with_noise(end);
    x.combine(on_x, &history.integral(start.t, end.t, 0.0, on_noise / (end.t - start.t)))
}

/// The pseudo Runge-Kutta step of order four: every move is a DDIM step.
fn runge_kutta<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    x: X,
    first: X,
    start: &Coordinates,
    end: &Coordinates,
) -> Result<X, SolveError> {
    let middle = Coordinates::at(model.schedule(), start.t + (end.t - start.t) / 2.0);
    let transfer = |noise: &X, to: &Coordinates| {
        let (on_x, on_noise) = start.with_noise(to);
        x.clone().combine(on_x, &[(on_noise, noise)])
    };
    let second = predict(model, Prediction::Noise, &transfer(&first, &middle), &middle)?;
    let third = predict(model, Prediction::Noise, &transfer(&second, &middle), &middle)?;
    let fourth = predict(model, Prediction::Noise, &transfer(&third, end), end)?;
    let mean = first.combine(1.0 / 6.0, &[(1.0 / 3.0, &second), (1.0 / 3.0, &third), (1.0 / 6.0, &fourth)]);
    Ok(transfer(&mean, end))
}

pub(crate) const METHOD: Method = Method {
    name: "pndm",
    title: "PNDM",
    family: Family::Diffusion,
    order: 2.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Liu et al. 2022, eq. 9, 12, 13",
    use_when: "to compare with papers",
};
