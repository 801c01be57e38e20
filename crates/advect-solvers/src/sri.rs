use crate::linear::{add, between, size_and_length};
use crate::{DiagonalSde, PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Elementwise, Field, Refinable, SpaceTimeLevyArea, Times};

/// A stochastic Runge-Kutta method of strong order 1.5 for diagonal Ito noise: the coefficients of Rossler's SRI family.
///
/// Rossler, *Runge-Kutta methods for the strong approximation of solutions of stochastic differential equations*, SIAM
/// J. Numer. Anal. 48 (2010) (for one Wiener process, here one an element). With `h` the length of the step:
///
/// - `X_i = x + h sum_j a0_ij f(X_j, t + c0_j h) + I_10 / h sum_j b0_ij g(Y_j, t + c1_j h)`,
/// - `Y_i = x + h sum_j a1_ij f(X_j, t + c0_j h) + sqrt(h) sum_j b1_ij g(Y_j, t + c1_j h)`,
/// - end `x + h sum_i alpha_i f(X_i, ..) + sum_i (beta1_i I_1 + beta2_i I_11 / sqrt(h) + beta3_i I_10 / h +
///   beta4_i I_111 / h) g(Y_i, ..)`,
///
/// where `I_1 = dW`, `I_11 = (dW^2 - h) / 2`, `I_111 = (dW^3 - 3 h dW) / 6` and `I_10 = h (dW / 2 + H)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SriTableau {
    /// The name in the literature.
    pub name: &'static str,
    /// Of the drift in the stages of the drift, strictly lower triangular.
    pub a0: [[f64; 4]; 4],
    /// Of the diffusion in the stages of the drift, strictly lower triangular.
    pub b0: [[f64; 4]; 4],
    /// Of the drift in the stages of the diffusion, strictly lower triangular.
    pub a1: [[f64; 4]; 4],
    /// Of the diffusion in the stages of the diffusion, strictly lower triangular.
    pub b1: [[f64; 4]; 4],
    /// Times of the drift.
    pub c0: [f64; 4],
    /// Times of the diffusion.
    pub c1: [f64; 4],
    /// Weights of the drift.
    pub alpha: [f64; 4],
    /// Weights of the diffusion with the increment.
    pub beta1: [f64; 4],
    /// Weights of the diffusion with the double integral of the noise.
    pub beta2: [f64; 4],
    /// Weights of the diffusion with the area.
    pub beta3: [f64; 4],
    /// Weights of the diffusion with the triple integral of the noise.
    pub beta4: [f64; 4],
}

impl SriTableau {
    /// The stepper of this method, driven by noise with areas.
    #[must_use]
    pub fn stepper<B>(self, noise: B) -> Sri<B> {
        Sri { tableau: self, noise }
    }

    /// Whether stage i of the drift is asked for, and whether it is the slope at the start again.
    fn drift(&self, i: usize) -> (bool, bool) {
        let used = self.alpha[i] != 0.0 || (0..4).any(|j| self.a0[j][i] != 0.0 || self.a1[j][i] != 0.0);
        let still = |row: &[f64; 4]| row.iter().all(|v| *v == 0.0);
        (used, i > 0 && self.c0[i] == 0.0 && still(&self.a0[i]) && still(&self.b0[i]))
    }
}

/// The stepper of an [`SriTableau`].
#[derive(Debug, Clone)]
pub struct Sri<B> {
    tableau: SriTableau,
    noise: B,
}

impl<X, F, G, B> Stepper<DiagonalSde<F, G>, X> for Sri<B>
where
    X: Elementwise,
    F: Field<X>,
    G: Field<X>,
    B: SpaceTimeLevyArea<X>,
{
    fn step(&mut self, sde: &DiagonalSde<F, G>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let table = &self.tableau;
        let (size, length) = size_and_length(from, to);
        let root = length.map(f64::sqrt);
        let (noise, area) = self.noise.increment_and_area(&x, from, to);
        let area = noise.clone().combine(0.5, &[(1.0, &area)]);

        let mut slopes: Vec<X> = Vec::with_capacity(4);
        let mut spreads: Vec<X> = Vec::with_capacity(4);
        for i in 0..4 {
            let slope = match table.drift(i) {
                (true, false) => {
                    let stage = weighted(x.clone(), &size, &table.a0[i], &slopes);
                    let stage = match sum(&table.b0[i], &spreads) {
                        Some(spread) => add(stage, [(&Times::Shared(1.0), &spread.times(&area))]),
                        None => stage,
                    };
                    sde.drift.eval(stage, &between(from, to, table.c0[i]))
                }
                // Unused or equal to the first: no evaluation.
                _ => slopes[0].clone(),
            };
            let stage = weighted(x.clone(), &size, &table.a1[i], &slopes);
            let stage = weighted(stage, &root, &table.b1[i], &spreads);
            slopes.push(slope);
            spreads.push(sde.diffusion.eval(stage, &between(from, to, table.c1[i])));
        }

        let mut x = weighted(x, &size, &table.alpha, &slopes);
        let one = Times::Shared(1.0);
        if let Some(g) = sum(&table.beta1, &spreads) {
            x = add(x, [(&one, &g.times(&noise))]);
        }
        // A row that stands still must not divide by its step of zero.
        let over = |v: f64, h: f64| if h > 0.0 { v / h } else { 0.0 };
        if let Some(g) = sum(&table.beta2, &spreads) {
            let square = g.clone().times(&noise).times(&noise);
            x = add(x, [(&root.map(|r| over(0.5, r)), &square), (&root.map(|r| -0.5 * r), &g)]);
        }
        if let Some(g) = sum(&table.beta3, &spreads) {
            x = add(x, [(&one, &g.times(&area))]);
        }
        if let Some(g) = sum(&table.beta4, &spreads) {
            let g = g.times(&noise);
            let cube = g.clone().times(&noise).times(&noise);
            x = add(x, [(&length.map(|h| over(1.0 / 6.0, h)), &cube), (&Times::Shared(-0.5), &g)]);
        }
        arrive(x, from, to)
    }

    fn restart(&mut self) {}
}

/// `x + factor sum_j weights_j terms_j` over the terms there are.
fn weighted<X: Elementwise>(x: X, factor: &Times, weights: &[f64; 4], terms: &[X]) -> X {
    let used = weights.iter().zip(terms).filter(|(weight, _)| **weight != 0.0);
    used.fold(x, |x, (weight, term)| add(x, [(&factor.map(|f| weight * f), term)]))
}

/// `sum_j weights_j terms_j`, none if all weights are zero.
fn sum<X: Elementwise>(weights: &[f64; 4], terms: &[X]) -> Option<X> {
    let mut used = weights.iter().zip(terms).filter(|(weight, _)| **weight != 0.0);
    let (weight, term) = used.next()?;
    let first = term.clone().combine(*weight, &[]);
    Some(used.fold(first, |sum, (weight, term)| sum.combine(1.0, &[(*weight, term)])))
}

impl<B: Refinable> PathDriven for Sri<B> {
    fn strong_order(&self) -> f64 {
        1.5
    }
}
