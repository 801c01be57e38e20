use super::scaling::positive;
use super::{Cost, Coupling, Pairing, Rows, SquaredEuclidean, Uncoupled};
use crate::{PathError, SourceLaw};
use advect_core::{NoiseKey, normal};

/// Semidiscrete optimal transport: all of N(0, I) to the whole data set, not batch to batch.
///
/// Mousavi-Hosseini et al. (2025), "Flow matching with semidiscrete couplings"; the stochastic ascent is Genevay et
/// al. (2016), "Stochastic optimization for large-scale optimal transport", algorithm 2. There is one potential g_j a
/// data row; noise x goes to the row with the least `c(x, y_j) - g_j`, and at the optimum every row gets the same
/// share of the noise. Fitted once; after that a pair costs one pass over the data set, and there is no batch to be
/// biased by.
///
/// The noise is exactly N(0, I), whatever the potentials; the data marginal is uniform as far as they are fitted
/// ([`shares`](Self::shares) measures it). Within a class the noise is not normal: for a model with conditions fit
/// one a class.
///
/// As a [`Coupling`], the data of a batch are the whole data set that it was fitted to, in the same order, and there
/// is one pair a noise row.
#[derive(Debug, Clone, PartialEq)]
pub struct Semidiscrete<C = SquaredEuclidean> {
    cost: C,
    data: Rows,
    potentials: Vec<f64>,
}

/// How potentials are fitted: averaged stochastic ascent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ascent {
    steps: usize,
    batch: usize,
    rate: f64,
}

impl Ascent {
    /// `steps` steps, each with `batch` fresh noise rows. In step k (from 1) the potential of a row that got the
    /// share s of them rises by `rate (1 - n s) / sqrt(k)`, n rows in all: so `rate` is in units of the cost, and
    /// about what the potential of a row gains that nothing reaches. The result is the mean over the second half.
    ///
    /// # Errors
    /// [`PathError::CouplingNumber`] unless all are positive and `rate` is finite.
    pub fn new(steps: usize, batch: usize, rate: f64) -> Result<Self, PathError> {
        positive("the number of steps", steps as f64)?;
        positive("the batch", batch as f64)?;
        Ok(Self { steps, batch, rate: positive("the rate", rate)? })
    }
}

impl<C: Cost> Semidiscrete<C> {
    /// Fits the potentials of a data set, with noise N(0, I) drawn by the key.
    ///
    /// # Errors
    /// [`PathError::Cost`] if a cost is not finite.
    pub fn fit(data: Rows, cost: C, ascent: &Ascent, key: NoiseKey) -> Result<Self, PathError> {
        let n = data.count();
        let mut fit = Self { cost, potentials: vec![0.0; n], data };
        let mut mean = vec![0.0; n];
        let first = ascent.steps / 2;
        for step in 0..ascent.steps {
            let shares = fit.shares(key, step as u64, ascent.batch)?;
            let rate = ascent.rate / ((step + 1) as f64).sqrt();
            for (g, share) in fit.potentials.iter_mut().zip(shares) {
                *g += rate * (1.0 - n as f64 * share);
            }
            if step >= first {
                let weight = 1.0 / (step - first + 1) as f64;
                for (mean, g) in mean.iter_mut().zip(&fit.potentials) {
                    *mean += weight * (g - *mean);
                }
            }
        }
        fit.potentials = mean;
        Ok(fit)
    }

    /// The potentials, one a data row. A constant added to all changes nothing.
    #[must_use]
    pub fn potentials(&self) -> &[f64] {
        &self.potentials
    }

    /// The data row of each noise row.
    ///
    /// # Errors
    /// [`PathError::Shape`] if the rows differ in width from the data; [`PathError::Cost`] if a cost is not finite.
    pub fn assign(&self, noise: &Rows) -> Result<Vec<usize>, PathError> {
        if noise.width() != self.data.width() {
            let (got, expected) = (vec![noise.count(), noise.width()], vec![noise.count(), self.data.width()]);
            return Err(PathError::Shape { what: "the noise", got, expected });
        }
        noise.iter().enumerate().map(|(i, x)| self.nearest(i, x)).collect()
    }

    /// The share of `count` fresh noise rows that goes to each data row: 1 / n each, if the potentials are right.
    ///
    /// # Errors
    /// [`PathError::Cost`] if a cost is not finite.
    pub fn shares(&self, key: NoiseKey, step: u64, count: usize) -> Result<Vec<f64>, PathError> {
        let mut shares = vec![0.0; self.data.count()];
        let mut rng = key.rng(step, 0);
        let mut x = vec![0.0; self.data.width()];
        for row in 0..count {
            x.fill_with(|| normal(&mut rng));
            shares[self.nearest(row, &x)?] += 1.0 / count as f64;
        }
        Ok(shares)
    }

    fn nearest(&self, row: usize, x: &[f64]) -> Result<usize, PathError> {
        let mut best = (f64::INFINITY, 0);
        for (j, (y, g)) in self.data.iter().zip(&self.potentials).enumerate() {
            let value = self.cost.between(x, y);
            if !value.is_finite() {
                return Err(PathError::Cost { noise: row, data: j, value });
            }
            if value - g < best.0 {
                best = (value - g, j);
            }
        }
        Ok(best.1)
    }
}

impl<const D: usize, C: Cost> Coupling<D> for Semidiscrete<C> {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        let rows = batch.data.dims()[0];
        if rows != self.data.count() {
            return Err(PathError::NotTheDataSet { rows, fitted: self.data.count() });
        }
        let noise = Rows::of(batch.noise)?;
        Ok(Pairing { data: self.assign(&noise)?, noise: (0..noise.count()).collect() })
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}
