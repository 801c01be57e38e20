use crate::linear::{add, combine, size_and_length};
use crate::{Family, Method, PathDriven, SolveError, Step, Stepper, UnderdampedLangevin, arrive};
use advect_core::{Brownian, Field, Refinable, State, Times};

/// BAOAB, a splitting of underdamped Langevin dynamics: half a kick, half a drift, friction and noise exactly, half a
/// drift, half a kick.
///
/// Leimkuhler & Matthews, *Rational construction of stochastic numerical methods for molecular sampling*, 2013. Weak
/// order 2, strong order 1; one evaluation of the force a step, since the force at the end serves the next step. The
/// positions of a quadratic potential have the exact stationary variance at every stable step (h times frequency below
/// 2), and in general an error of order 4 at large friction. The first choice for sampling positions.
///
/// ```
/// use advect_solvers::{Baoab, TimeGrid, Times, UnderdampedLangevin, WhiteNoise, solve};
///
/// let well = UnderdampedLangevin { force: |q: f64, _t: &Times| -q, friction: 1.0, temperature: 1.0 };
/// let stepper = Baoab::new(WhiteNoise::new(7, vec![0]));
/// let (q, p) = solve(&well, stepper, (0.0, 0.0), &TimeGrid::uniform(0.0, 10.0, 20)?)?;
/// assert!(q.abs() < 6.0 && p.abs() < 6.0);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Baoab<B, X> {
    noise: B,
    /// The force where the last step ended.
    force: Option<X>,
}

impl<B, X> Baoab<B, X> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise, force: None }
    }
}

impl<X, F, B> Stepper<UnderdampedLangevin<F>, (X, X)> for Baoab<B, X>
where
    X: State,
    F: Field<X>,
    B: Brownian<X>,
{
    fn step(
        &mut self,
        langevin: &UnderdampedLangevin<F>,
        (q, p): (X, X),
        from: &Times,
        to: &Times,
    ) -> Result<Step<(X, X)>, SolveError> {
        let UnderdampedLangevin { force, friction, temperature } = langevin;
        let (size, _) = size_and_length(from, to);
        let half = size.map(|h| 0.5 * h);
        let decay = size.map(|h| (-friction * h).exp());
        // The exact variance of the noise, T (1 - exp(-2 friction h)), on an increment of variance |h|.
        let spread =
            size.map(|h| if h == 0.0 { 0.0 } else { (-temperature * (-2.0 * friction * h).exp_m1() / h).sqrt() });
        let noise = self.noise.increment(&q, from, to);
        let start = self.force.take().unwrap_or_else(|| force.eval(q.clone(), from));
        let p = add(p, [(&half, &start)]);
        let q = add(q, [(&half, &p)]);
        let p = combine(p, &decay, [(&spread, &noise)]);
        let q = add(q, [(&half, &p)]);
        let end = force.eval(q.clone(), to);
        let p = add(p, [(&half, &end)]);
        let step = arrive((q, p), from, to)?;
        self.force = Some(end);
        Ok(step)
    }

    fn restart(&mut self) {
        self.force = None;
    }
}

impl<B: Refinable, X> PathDriven for Baoab<B, X> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "baoab",
    title: "BAOAB",
    family: Family::Langevin,
    order: 1.0,
    weak_order: Some(2.0),
    evaluations: 1.0,
    source: "Leimkuhler & Matthews (2013)",
    use_when: "for sampling positions",
};
