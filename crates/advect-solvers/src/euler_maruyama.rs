use crate::{SolveError, Step, Stepper};
use advect_core::{Brownian, Field, Gaussian, Sde, Times};

/// The Euler-Maruyama method: `x + h f(x, t) + g(t) dW`, Ito, strong order 1 for the additive noise of an [`Sde`].
///
/// Maruyama (1955); Kloeden & Platen, *Numerical Solution of Stochastic Differential Equations*, 10.2. (Order 1/2
/// for multiplicative noise, which `g(t)` cannot express.) Down in time `dW` has variance `|h|`.
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
    X: Gaussian,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let size = from.zip(to, |a, b| b - a);
        let diffusion = from.map(&sde.diffusion);
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let x = match (&size, &diffusion) {
            (Times::Shared(h), Times::Shared(g)) => x.combine(1.0, &[(*h, &drift), (*g, &noise)]),
            (size, diffusion) => {
                let rows = x.rows();
                let (h, g) = (size.to_vec(rows), diffusion.to_vec(rows));
                x.combine_rows(&vec![1.0; rows], &[(&h, &drift), (&g, &noise)])
            }
        };
        // A device read a step: found here NaN has a time, found in the samples it has none.
        if x.all_finite() {
            Ok(Step { x, at: to.clone() })
        } else {
            Err(SolveError::NotFinite { time: from.range().0, step: size.range().0 })
        }
    }

    fn restart(&mut self) {}
}
