use crate::Coordinates;
use advect_core::{Brownian, State, Times};

/// The exact step of the reverse SDE with constant data prediction: `x' = on_x x + on_data D + noise z`.
///
/// Of all the SDEs with the right marginals, the one that adds the share tau of fresh noise:
/// `x' = (sigma'/sigma) e^(-tau^2 h) x + (1 + tau^2) alpha' int e^((1 + tau^2)(l - lambda')) D(l) dl
/// + sigma' sqrt(1 - e^(-2 tau^2 h)) z` (Xue et al., 2023, "SA-Solver", section 4).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reverse {
    pub(crate) on_x: f64,
    pub(crate) on_data: f64,
    pub(crate) noise: f64,
    /// `1 + tau^2`: the kernel is `rate alpha' e^(rate (l - lambda'))`.
    pub(crate) rate: f64,
}

impl Reverse {
    /// Toward the data, so `from.sigma > 0`.
    pub(crate) fn new(from: &Coordinates, to: &Coordinates, tau: f64) -> Self {
        let (square, ratio) = (tau * tau, to.sigma / from.sigma);
        // h may be infinite: without fresh noise it must not meet a zero.
        let (decay, fresh) = if square == 0.0 {
            (1.0, 0.0)
        } else {
            let h = to.lambda - from.lambda;
            ((-square * h).exp(), (-(-2.0 * square * h).exp_m1()).sqrt())
        };
        let on_x = ratio * decay;
        Self { on_x, on_data: to.alpha - from.alpha * on_x, noise: to.sigma * fresh, rate: 1.0 + square }
    }
}

/// Standard normal numbers of a step: the Brownian increment over the square root of its length.
pub(crate) fn unit<X: State, B: Brownian<X>>(noise: &mut B, like: &X, from: f64, to: f64) -> X {
    let increment = noise.increment(like, &Times::Shared(from), &Times::Shared(to));
    increment.combine(1.0 / (to - from).abs().sqrt(), &[])
}
