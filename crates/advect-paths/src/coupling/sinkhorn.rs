use super::scaling::{positive, scale};
use super::{Cost, CostMatrix, Coupling, Pairing, Plan, SquaredEuclidean, Stop, Uncoupled};
use crate::{PathError, SourceLaw};

/// Entropic optimal transport between uniform marginals, by Sinkhorn's algorithm in the log domain; pairs are drawn
/// from the plan.
///
/// Cuturi (2013), "Sinkhorn distances"; the coupling of SB-CFM in Tong et al. (2024), where a bridge of diffusion
/// sigma takes `epsilon = 2 sigma^2` with the squared Euclidean cost. Epsilon is in units of the cost. As it falls,
/// the plan tends to [`ExactOt`](super::ExactOt)'s and the iterations grow like 1 / epsilon; as it grows, to
/// [`Independent`](super::Independent). Both marginals are kept; each data row comes once, a noise row once on
/// average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sinkhorn<C = SquaredEuclidean> {
    cost: C,
    epsilon: f64,
    stop: Stop,
}

impl<C: Cost> Sinkhorn<C> {
    /// The coupling of a cost, a regularization and a stopping rule.
    ///
    /// # Errors
    /// [`PathError::CouplingNumber`] unless `epsilon` is positive and finite.
    pub fn new(cost: C, epsilon: f64, stop: Stop) -> Result<Self, PathError> {
        Ok(Self { cost, epsilon: positive("epsilon", epsilon)?, stop })
    }

    /// The plan that minimizes `<P, C> + epsilon KL(P | a b^T)` among those with uniform marginals a and b.
    ///
    /// # Errors
    /// [`PathError::NotConverged`] if the iterations do not suffice.
    pub fn plan(&self, cost: &CostMatrix) -> Result<Plan, PathError> {
        scale(cost, self.epsilon, [f64::INFINITY; 2], self.stop)
    }
}

impl<const D: usize, C: Cost> Coupling<D> for Sinkhorn<C> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let (noise, data) = batch.rows()?;
        let plan = self.plan(&self.cost.matrix(&noise, &data)?)?;
        plan.pairs(data.count(), &mut batch.key.rng(batch.step, 0))
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
