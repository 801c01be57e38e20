use crate::linear::{add, size_and_length};
use crate::{DiagonalSde, Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Brownian, Elementwise, Field, Refinable, Sde, State, Times};

/// The Euler-Maruyama method: `x + h f(x, t) + g dW`, Ito. One evaluation a step.
///
/// Maruyama (1955); Kloeden & Platen, *Numerical Solution of Stochastic Differential Equations*, 10.2. Strong order 1
/// for the additive noise of an [`Sde`], 1/2 for a [`DiagonalSde`]; weak order 1. The method to begin with, and to
/// compare with. Down in time `dW` has variance `|h|`.
///
/// The noise is an argument: [`WhiteNoise`](crate::WhiteNoise) for a fixed grid,
/// [`BrownianPath`](crate::BrownianPath) where grids are compared. `restart` does not rewind it.
///
/// ```
/// use advect_solvers::{EulerMaruyama, Sde, TimeGrid, Times, WhiteNoise, solve};
///
/// let ou = Sde { drift: |x: f64, _t: &Times| -x, diffusion: |_t| 0.5 };
/// let stepper = EulerMaruyama::new(WhiteNoise::new(7, vec![0]));
/// let x = solve(&ou, stepper, 1.0, &TimeGrid::uniform(0.0, 1.0, 100)?)?;
/// assert!(x.abs() < 3.0);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct EulerMaruyama<B> {
    noise: B,
}

impl<B> EulerMaruyama<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, D, B> Stepper<Sde<F, D>, X> for EulerMaruyama<B>
where
    X: State,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let diffusion = from.map(&sde.diffusion);
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        arrive(add(x, [(&size, &drift), (&diffusion, &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<X, F, D, B> Stepper<DiagonalSde<F, D>, X> for EulerMaruyama<B>
where
    X: Elementwise,
    F: Field<X>,
    D: Field<X>,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &DiagonalSde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let noise = self.noise.increment(&x, from, to);
        let noise = sde.diffusion.eval(x.clone(), from).times(&noise);
        let drift = sde.drift.eval(x.clone(), from);
        arrive(add(x, [(&size, &drift), (&Times::Shared(1.0), &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for EulerMaruyama<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const ADDITIVE: Method = Method {
    name: "euler-maruyama",
    title: "Euler-Maruyama",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Maruyama (1955); Kloeden & Platen 10.2",
    use_when: "to begin and to compare with; rough drifts",
};

pub(crate) const DIAGONAL: Method = Method {
    name: "euler-maruyama",
    title: "Euler-Maruyama",
    family: Family::Sde,
    order: 0.5,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Maruyama (1955); Kloeden & Platen 10.2",
    use_when: "to begin and to compare with",
};
