use crate::linear::{add, between, size_and_length};
use crate::{Family, Method, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Field, Refinable, Sde, SpaceTimeLevyArea, State, Times};

/// ShARK, the shifted additive-noise Runge-Kutta method: strong order 1.5, weak order 2, two evaluations a step.
///
/// Foster, dos Reis & Strange, *High order splitting methods for SDEs satisfying a commutativity condition*, 2023:
/// stages at `x + g H` and `x + g H + 5/6 (h f_1 + g dW)`, weights 2/5 and 3/5. A diffusion that changes in time
/// enters the noise with both its ends, `(g_0 + g_1) / 2 dW - (g_1 - g_0) H`. The first choice for additive noise: the
/// smallest error constant of the two-stage methods of this order.
///
/// ```
/// use advect_solvers::{BrownianPath, Sde, Shark, TimeGrid, Times, solve};
///
/// let sde = Sde { drift: |x: f64, _t: &Times| x.sin() - x, diffusion: |t: f64| 0.5 + t };
/// let end = |steps| -> Result<f64, advect_solvers::SolveError> {
///     let path = BrownianPath::new(7, vec![0], 0.0, 1.0, 20)?;
///     solve(&sde, Shark::new(path), 1.0, &TimeGrid::uniform(0.0, 1.0, steps)?)
/// };
/// // The same path on two grids.
/// assert!((end(8)? - end(256)?).abs() < 0.01);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Shark<B> {
    noise: B,
}

impl<B> Shark<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, F, D, B> Stepper<Sde<F, D>, X> for Shark<B>
where
    X: State,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: SpaceTimeLevyArea<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let (start, end) = (from.map(&sde.diffusion), to.map(&sde.diffusion));
        let (noise, area) = self.noise.increment_and_area(&x, from, to);
        let shifted = add(x.clone(), [(&start, &area)]);
        let first = sde.drift.eval(shifted.clone(), from);
        let (ahead, spread) = (size.map(|h| 5.0 / 6.0 * h), start.map(|g| 5.0 / 6.0 * g));
        let stage = add(shifted, [(&ahead, &first), (&spread, &noise)]);
        let second = sde.drift.eval(stage, &between(from, to, 5.0 / 6.0));
        let (early, late) = (size.map(|h| 0.4 * h), size.map(|h| 0.6 * h));
        let (mean, change) = (start.zip(&end, |a, b| 0.5 * (a + b)), start.zip(&end, |a, b| a - b));
        arrive(add(x, [(&early, &first), (&late, &second), (&mean, &noise), (&change, &area)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for Shark<B> {
    fn strong_order(&self) -> f64 {
        1.5
    }
}

pub(crate) const METHOD: Method = Method {
    name: "shark",
    title: "ShARK",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Foster, dos Reis & Strange (2023)",
    use_when: "first choice for additive noise",
};
