use crate::linear::{add, between, size_and_length};
use crate::{PathDriven, SolveError, Step, Stepper, arrive};
use advect_core::{Field, Refinable, Sde, SpaceTimeLevyArea, State, Times};

/// A stochastic Runge-Kutta method for additive noise: the coefficients of Rossler's SRA family.
///
/// Rossler, *Runge-Kutta methods for the strong approximation of solutions of stochastic differential equations*, SIAM
/// J. Numer. Anal. 48 (2010). With `I = int int dW ds / h = dW / 2 + H`:
///
/// - stages `X_i = x + h sum_j a_ij f(X_j, t + c_j h) + I sum_j b_ij g(t + d_j h)`,
/// - end `x + h sum_i alpha_i f(X_i, t + c_i h) + sum_i (beta_i dW + gamma_i I) g(t + d_i h)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SraTableau<const S: usize> {
    /// The name in the literature.
    pub name: &'static str,
    /// Of the drift in the stages, strictly lower triangular (A^(0)).
    pub a: [[f64; S]; S],
    /// Of the diffusion in the stages (B^(0)).
    pub b: [[f64; S]; S],
    /// Times of the drift (c^(0)).
    pub c: [f64; S],
    /// Times of the diffusion (c^(1)).
    pub d: [f64; S],
    /// Weights of the drift.
    pub alpha: [f64; S],
    /// Weights of the diffusion with the increment (beta^(1)).
    pub beta: [f64; S],
    /// Weights of the diffusion with the area (beta^(2)).
    pub gamma: [f64; S],
}

impl<const S: usize> SraTableau<S> {
    /// The stepper of this method, driven by noise with areas.
    #[must_use]
    pub fn stepper<B>(self, noise: B) -> Sra<B, S> {
        Sra { tableau: self, noise }
    }
}

/// The stepper of an [`SraTableau`].
#[derive(Debug, Clone)]
pub struct Sra<B, const S: usize> {
    tableau: SraTableau<S>,
    noise: B,
}

impl<X, F, D, B, const S: usize> Stepper<Sde<F, D>, X> for Sra<B, S>
where
    X: State,
    F: Field<X>,
    D: Fn(f64) -> f64,
    B: SpaceTimeLevyArea<X>,
{
    fn step(&mut self, sde: &Sde<F, D>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let SraTableau { a, b, c, d, alpha, beta, gamma, .. } = self.tableau;
        let (size, _) = size_and_length(from, to);
        let (noise, area) = self.noise.increment_and_area(&x, from, to);
        let area = noise.clone().combine(0.5, &[(1.0, &area)]);
        let diffusion = d.map(|d| between(from, to, d).map(&sde.diffusion));
        let weighted = |weights: &[f64; S]| {
            let sum = |sum: Times, (weight, g): (&f64, &Times)| {
                sum.zip(g, |sum, g| if *weight == 0.0 { sum } else { sum + weight * g })
            };
            weights.iter().zip(&diffusion).fold(Times::Shared(0.0), sum)
        };
        let mut slopes: Vec<X> = Vec::with_capacity(S);
        for i in 0..S {
            let mut stage = x.clone();
            for (a, slope) in a[i].iter().zip(&slopes).filter(|(a, _)| **a != 0.0) {
                stage = add(stage, [(&size.map(|h| a * h), slope)]);
            }
            if b[i].iter().any(|b| *b != 0.0) {
                stage = add(stage, [(&weighted(&b[i]), &area)]);
            }
            slopes.push(sde.drift.eval(stage, &between(from, to, c[i])));
        }
        let mut x = add(x, [(&weighted(&beta), &noise), (&weighted(&gamma), &area)]);
        for (alpha, slope) in alpha.iter().zip(&slopes) {
            x = add(x, [(&size.map(|h| alpha * h), slope)]);
        }
        arrive(x, from, to)
    }

    fn restart(&mut self) {}
}

impl<B: Refinable, const S: usize> PathDriven for Sra<B, S> {
    fn strong_order(&self) -> f64 {
        1.5
    }
}
