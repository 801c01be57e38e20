use crate::linear::{add, size_and_length};
use crate::{DiagonalSde, Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Brownian, Elementwise, Field, Refinable, Times};

/// The Milstein method with a given derivative: `x + h f + g dW + 1/2 g g' (dW^2 - |h|)`, Ito, diagonal noise.
///
/// Milstein (1974); Kloeden & Platen, 10.3. Strong order 1, weak order 1; one evaluation of the drift, of the
/// diffusion and of its derivative a step. For multiplicative noise whose derivative is at hand; otherwise
/// [`RungeKuttaMilstein`](crate::RungeKuttaMilstein).
///
/// ```
/// use advect_solvers::{DiagonalSde, Milstein, TimeGrid, Times, WhiteNoise, solve};
///
/// let gbm = DiagonalSde { drift: |x: f64, _t: &Times| 0.1 * x, diffusion: |x: f64, _t: &Times| 0.3 * x };
/// let stepper = Milstein::new(WhiteNoise::new(7, vec![0]), |_x: f64, _t: &Times| 0.3);
/// let x = solve(&gbm, stepper, 1.0, &TimeGrid::uniform(0.0, 1.0, 50)?)?;
/// assert!(x > 0.0);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Milstein<B, D> {
    noise: B,
    derivative: D,
}

impl<B, D> Milstein<B, D> {
    /// The method driven by this noise, with the derivative of element i of the diffusion by element i of the state.
    #[must_use]
    pub fn new(noise: B, derivative: D) -> Self {
        Self { noise, derivative }
    }
}

impl<X, F, G, B, D> Stepper<DiagonalSde<F, G>, X> for Milstein<B, D>
where
    X: Elementwise,
    F: Field<X>,
    G: Field<X>,
    B: Brownian<X>,
    D: Field<X>,
{
    fn step(&mut self, sde: &DiagonalSde<F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, length) = size_and_length(from, to);
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        let diffusion = sde.diffusion.eval(x.clone(), from);
        let slope = self.derivative.eval(x.clone(), from).times(&diffusion);
        let second = slope.clone().times(&noise).times(&noise);
        let first = diffusion.times(&noise);
        let (one, half, correction) = (Times::Shared(1.0), Times::Shared(0.5), length.map(|h| -0.5 * h));
        arrive(add(x, [(&size, &drift), (&one, &first), (&half, &second), (&correction, &slope)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable, D> PathDriven for Milstein<B, D> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "milstein",
    title: "Milstein",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Milstein (1974); Kloeden & Platen 10.3",
    use_when: "where the derivative of the diffusion is at hand",
};
