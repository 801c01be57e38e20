use crate::linear::{add, between, combine, size_and_length};
use crate::quadrature::{integrate, panels};
use crate::{Family, Method, PathDriven, SolveError, Step, Stepper, UnderdampedLangevin, arrive};
use advect_core::{Field, Refinable, SpaceTimeLevyArea, State, Times};

/// UBU, a splitting of underdamped Langevin dynamics of strong order 2: half a step without force exactly, a kick, half
/// a step without force.
///
/// Zapatero, *Word series for the numerical integration of stochastic differential equations*, 2017; Sanz-Serna &
/// Zygalakis, *Wasserstein distance estimates for the distributions of numerical approximations to ergodic stochastic
/// differential equations*, 2021. Strong order 2, weak order 2, one evaluation of the force a step. For
/// high accuracy in Wasserstein distance, and where paths are compared (multilevel, coupling).
///
/// The noise of the exact parts, a pair of Gaussians for each half step, is a rotation of its increment and area: exact
/// in law, and on a path right to strong order 2.
#[derive(Debug, Clone)]
pub struct Ubu<B> {
    noise: B,
}

impl<B> Ubu<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }

    /// The motion without force, exactly.
    fn free<X: State, F>(
        &mut self,
        langevin: &UnderdampedLangevin<F>,
        (q, p): (X, X),
        from: &Times,
        to: &Times,
    ) -> (X, X)
    where
        B: SpaceTimeLevyArea<X>,
    {
        let (size, _) = size_and_length(from, to);
        let over = |h: &f64| Free::over(*h, langevin.friction, langevin.temperature);
        let rows: Vec<Free> = match &size {
            Times::Shared(h) => vec![over(h)],
            Times::Each(h) => h.iter().map(over).collect(),
        };
        let free = |pick: fn(&Free) -> f64| match &size {
            Times::Shared(_) => Times::Shared(rows.iter().map(pick).sum()),
            Times::Each(_) => Times::Each(rows.iter().map(pick).collect()),
        };
        let (noise, area) = self.noise.increment_and_area(&q, from, to);
        let [q_noise, q_area, p_noise, p_area] =
            [free(|f| f.noise[1][0]), free(|f| f.noise[1][1]), free(|f| f.noise[0][0]), free(|f| f.noise[0][1])];
        let q = add(q, [(&free(|f| f.reach), &p), (&q_noise, &noise), (&q_area, &area)]);
        let p = combine(p, &free(|f| f.decay), [(&p_noise, &noise), (&p_area, &area)]);
        (q, p)
    }
}

impl<X, F, B> Stepper<UnderdampedLangevin<F>, (X, X)> for Ubu<B>
where
    X: State,
    F: Field<X>,
    B: SpaceTimeLevyArea<X>,
{
    fn step(
        &mut self,
        langevin: &UnderdampedLangevin<F>,
        x: (X, X),
        from: &Times,
        to: &Times,
    ) -> Result<Step<(X, X)>, SolveError> {
        let (size, _) = size_and_length(from, to);
        let middle = between(from, to, 0.5);
        let (q, p) = self.free(langevin, x, from, &middle);
        let force = langevin.force.eval(q.clone(), &middle);
        let p = add(p, [(&size, &force)]);
        arrive(self.free(langevin, (q, p), &middle, to), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for Ubu<B> {
    fn strong_order(&self) -> f64 {
        2.0
    }
}

/// The motion without force over one step: `p` decays, `q` gains `reach p`, and rows of `noise` (p, then q) multiply
/// (increment, area).
#[derive(Debug, Clone, Copy)]
struct Free {
    decay: f64,
    reach: f64,
    noise: [[f64; 2]; 2],
}

impl Free {
    /// Over the signed step h. With v the time left in units of h and x = friction h, the noise of p is the integral of
    /// `exp(-x v)` against the path, that of q is h times the integral of `(1 - exp(-x v)) / x`.
    fn over(h: f64, friction: f64, temperature: f64) -> Self {
        let x = friction * h;
        let kernels: [&dyn Fn(f64) -> f64; 2] =
            [&|v| (-x * v).exp(), &|v| if x == 0.0 { v } else { -(-x * v).exp_m1() / x }];
        let mean = |f: &dyn Fn(f64) -> f64| integrate(0.0, 1.0, panels(2.0 * x), f);
        // The variance of both in units of |h| (and h^2 for q), and its Cholesky factor.
        let pair = |i: usize, j: usize| mean(&|v| kernels[i](v) * kernels[j](v));
        let a = pair(0, 0).sqrt();
        let b = pair(0, 1) / a;
        let c = (pair(1, 1) - b * b).max(0.0).sqrt();
        // The best approximation by increment and area, sqrt(|h|) and sqrt(|h| / 12) wide: the Legendre coefficients.
        let part = kernels.map(|k| [mean(k), 3.0_f64.sqrt() * mean(&|v| k(v) * (2.0 * v - 1.0))]);
        // Its nearest rotation keeps the law exact: the polar factor of (Cholesky factor)^-1 (approximation).
        let first = part[0].map(|v| v / a);
        let second = [0, 1].map(|i| (part[1][i] - b * first[i]) / c);
        let (cos, sin) = (first[0] + second[1], second[0] - first[1]);
        let (cos, sin) = (cos / cos.hypot(sin), sin / cos.hypot(sin));
        let sigma = (2.0 * friction * temperature).sqrt();
        // H is sqrt(12) narrower than the increment.
        let row = |u: f64, v: f64, scale: f64| {
            [sigma * scale * (u * cos + v * sin), sigma * scale * (v * cos - u * sin) * 12.0_f64.sqrt()]
        };
        Self { decay: (-x).exp(), reach: h * mean(kernels[0]), noise: [row(a, 0.0, 1.0), row(b, c, h)] }
    }
}

pub(crate) const METHOD: Method = Method {
    name: "ubu",
    title: "UBU",
    family: Family::Langevin,
    order: 2.0,
    weak_order: Some(2.0),
    evaluations: 1.0,
    source: "Sanz-Serna & Zygalakis (2021)",
    use_when: "for accurate paths and couplings",
};
