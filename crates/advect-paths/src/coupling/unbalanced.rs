use super::scaling::{positive, scale};
use super::{Cost, CostMatrix, Coupling, Pairing, Plan, SquaredEuclidean, Stop, Uncoupled};
use crate::{PathError, SourceLaw};

/// Unbalanced entropic transport: marginals may give way, at a price; pairs are drawn from the normalised plan.
///
/// Chizat et al. (2018), "Scaling algorithms for unbalanced optimal transport problems", algorithm 1 with KL
/// marginals; in flow matching by Eyring et al. (2024), "Unbalancedness in neural Monge maps improves unpaired domain
/// translation". What is too far from everything else is drawn less often, so outliers are left out; the price is
/// that **both marginals of the pairs change**. An infinite rho keeps that marginal, as for a noise that must stay
/// N(0, I).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnbalancedSinkhorn<C = SquaredEuclidean> {
    cost: C,
    epsilon: f64,
    rho: [f64; 2],
    stop: Stop,
}

impl<C: Cost> UnbalancedSinkhorn<C> {
    /// The coupling of a cost, a regularization, the prices of the two marginals and a stopping rule.
    ///
    /// # Errors
    /// [`PathError::CouplingNumber`] unless `epsilon` is positive and finite and both rho are positive (or infinite).
    pub fn new(cost: C, epsilon: f64, rho_noise: f64, rho_data: f64, stop: Stop) -> Result<Self, PathError> {
        for (what, value) in [("rho_noise", rho_noise), ("rho_data", rho_data)] {
            if value.is_nan() || value <= 0.0 {
                return Err(PathError::CouplingNumber { what, value, range: "positive (it may be infinite)" });
            }
        }
        Ok(Self { cost, epsilon: positive("epsilon", epsilon)?, rho: [rho_noise, rho_data], stop })
    }

    /// The plan that minimizes `<P, C> + epsilon KL(P | a b^T) + rho_noise KL(P 1 | a) + rho_data KL(P^T 1 | b)`, for
    /// uniform a and b, with `KL(p | q) = sum p ln(p / q) - p + q`.
    ///
    /// # Errors
    /// [`PathError::NotConverged`] if the iterations do not suffice.
    pub fn plan(&self, cost: &CostMatrix) -> Result<Plan, PathError> {
        scale(cost, self.epsilon, self.rho, self.stop)
    }
}

impl<const D: usize, C: Cost> Coupling<D> for UnbalancedSinkhorn<C> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = batch.rows()?;
        let plan = self.plan(&self.cost.matrix(&noise, &data)?)?;
        plan.pairs(data.count(), &mut batch.key.rng(batch.step, 0))
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
