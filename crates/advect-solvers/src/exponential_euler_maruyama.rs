use crate::linear::combine;
use crate::quadrature::{integrate, panels};
use crate::{Family, Method, PathDriven, SemilinearSde, SolveError, Step, Stepper, arrive};
use advect_core::{Brownian, Field, Refinable, State, Times};

/// The exponential Euler-Maruyama method: the linear part and its noise exactly, the rest of the drift frozen.
///
/// `exp(A(t + h) - A(t)) x + f(x, t) int exp(A(t + h) - A(s)) ds + xi`, where the noise xi has the exact variance
/// `int exp(2 (A(t + h) - A(s))) g(s)^2 ds` of the linear equation and is a multiple of dW (Jentzen & Kloeden, *The
/// numerical approximation of stochastic partial differential equations*, 2009; Lord & Tambue, 2013). The
/// integrals are of host functions, by quadrature to about 1e-12.
///
/// Strong order 1, weak order 1, one evaluation a step; without `drift` the law of every step is exact, however long it
/// is. For a stiff linear part: Ornstein-Uhlenbeck processes, the noising of diffusion models.
#[derive(Debug, Clone)]
pub struct ExponentialEulerMaruyama<B> {
    noise: B,
}

impl<B> ExponentialEulerMaruyama<B> {
    /// The method driven by this noise.
    #[must_use]
    pub fn new(noise: B) -> Self {
        Self { noise }
    }
}

impl<X, A, F, G, B> Stepper<SemilinearSde<A, F, G>, X> for ExponentialEulerMaruyama<B>
where
    X: State,
    A: Fn(f64) -> f64,
    F: Field<X>,
    G: Fn(f64) -> f64,
    B: Brownian<X>,
{
    fn step(&mut self, sde: &SemilinearSde<A, F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let growth = &sde.growth;
        let change = |a: f64, b: f64| growth(b) - growth(a);
        let scale = from.zip(to, |a, b| change(a, b).exp());
        let on_drift = from.zip(to, |a, b| integrate(a, b, panels(change(a, b)), |s| change(s, b).exp()));
        let on_noise = from.zip(to, |a, b| {
            let density = |s: f64| (change(s, b).exp() * (sde.diffusion)(s)).powi(2);
            let variance = integrate(a, b, panels(2.0 * change(a, b)), density) / (b - a);
            // The sign of g does not matter for the law, but for the path.
            if a == b { 0.0 } else { variance.sqrt().copysign((sde.diffusion)(a)) }
        });
        let noise = self.noise.increment(&x, from, to);
        let drift = sde.drift.eval(x.clone(), from);
        arrive(combine(x, &scale, [(&on_drift, &drift), (&on_noise, &noise)]), from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable> PathDriven for ExponentialEulerMaruyama<B> {
    fn strong_order(&self) -> f64 {
        1.0
    }
}

pub(crate) const METHOD: Method = Method {
    name: "exponential-euler-maruyama",
    title: "exponential Euler-Maruyama",
    family: Family::Sde,
    order: 1.0,
    weak_order: Some(1.0),
    evaluations: 1.0,
    source: "Jentzen & Kloeden (2009)",
    use_when: "for a stiff linear part: exact in law for it",
};
