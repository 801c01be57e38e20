use super::{CostMatrix, Pairing};
use crate::PathError;
use rand::{Rng, RngExt};

/// A transport plan: how much mass goes from each noise row to each data row.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    masses: Vec<f64>,
    rows: usize,
}

impl Plan {
    pub(super) fn new(masses: Vec<f64>, rows: usize) -> Self {
        Self { masses, rows }
    }

    /// The masses, one row for each noise row.
    #[must_use]
    pub fn masses(&self) -> &[f64] {
        &self.masses
    }

    /// The mass that leaves each noise row.
    #[must_use]
    pub fn noise_marginal(&self) -> Vec<f64> {
        self.chunks().map(|row| row.iter().sum()).collect()
    }

    /// The mass that arrives at each data row.
    #[must_use]
    pub fn data_marginal(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.columns()];
        for row in self.chunks() {
            for (sum, mass) in sums.iter_mut().zip(row) {
                *sum += mass;
            }
        }
        sums
    }

    /// The transport cost, sum of mass times cost.
    ///
    /// # Panics
    /// Panics if the costs are of another shape.
    #[must_use]
    pub fn cost(&self, cost: &CostMatrix) -> f64 {
        assert_eq!((self.rows, self.columns()), (cost.rows(), cost.columns()), "plan and costs must be of one shape");
        self.masses.iter().zip(cost.values()).map(|(p, c)| p * c).sum()
    }

    /// `count` pairs from the normalised plan: each pair (i, j) is expected `count P_ij / sum P` times.
    ///
    /// Data rows are drawn by one systematic sweep over their marginal (Kitagawa, 1996), so that with equal marginals
    /// and one pair a data row each comes exactly once, in order; then the noise row of each from its conditional
    /// law. Pairs drawn independently, as is common, lose 37 % of the data of a batch and double others.
    ///
    /// # Errors
    /// [`PathError::NoMass`] if the plan carries no mass.
    pub fn pairs(&self, count: usize, rng: &mut impl Rng) -> Result<Pairing, PathError> {
        let marginal = self.data_marginal();
        let total: f64 = marginal.iter().sum();
        if !(total.is_finite() && total > 0.0) {
            return Err(PathError::NoMass { mass: total });
        }
        let offset: f64 = rng.random();
        let (mut data, mut noise) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut column, mut reached) = (0, marginal[0]);
        for pair in 0..count {
            let goal = total * (pair as f64 + offset) / count as f64;
            while reached <= goal && column + 1 < marginal.len() {
                column += 1;
                reached += marginal[column];
            }
            data.push(column);
            noise.push(self.noise_of(column, marginal[column] * rng.random::<f64>()));
        }
        Ok(Pairing { noise, data })
    }

    /// The noise row in which the mass of a column, summed from the top, exceeds a goal.
    fn noise_of(&self, column: usize, goal: f64) -> usize {
        let (mut reached, mut last) = (0.0, 0);
        for (row, masses) in self.chunks().enumerate() {
            if masses[column] > 0.0 {
                last = row;
                reached += masses[column];
                if reached > goal {
                    break;
                }
            }
        }
        last
    }

    fn chunks(&self) -> impl Iterator<Item = &[f64]> {
        self.masses.chunks_exact(self.columns())
    }

    fn columns(&self) -> usize {
        self.masses.len() / self.rows
    }
}
