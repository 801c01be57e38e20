//! A Gaussian mixture with diagonal covariances: its exact denoiser and velocity for some dot products a component.
//!
//! [`Mixture`](crate::mixture::Mixture) factorizes a matrix at each evaluation, which is right for a few numbers and
//! too slow for benchmarks in 64 dimensions.

use crate::gaussian::Affine;
use crate::mixture::{Mixture, MixtureError};

/// Data x_1 ~ sum w_k N(mu_k, diag(std_k^2)).
#[derive(Debug, Clone, PartialEq)]
pub struct DiagonalMixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    variances: Vec<Vec<f64>>,
}

impl DiagonalMixture {
    /// A mixture with a standard deviation for each component and axis. Weights are normalised.
    ///
    /// # Errors
    /// [`MixtureError`] if sizes differ or a weight or standard deviation is not positive.
    pub fn new(weights: &[f64], means: &[Vec<f64>], stds: &[Vec<f64>]) -> Result<Self, MixtureError> {
        let d = means.first().map_or(0, Vec::len);
        let fit = weights.len() == means.len() && weights.len() == stds.len();
        if d == 0 || !fit || means.iter().chain(stds).any(|row| row.len() != d) {
            return Err(MixtureError::Sizes);
        }
        let positive = |v: &f64| v.is_finite() && *v > 0.0;
        if let Some(component) = weights.iter().position(|w| !positive(w)) {
            return Err(MixtureError::Weight { component });
        }
        if let Some(component) = stds.iter().position(|row| !row.iter().all(positive)) {
            return Err(MixtureError::Covariance { component });
        }
        let total: f64 = weights.iter().sum();
        let square = |row: &Vec<f64>| row.iter().map(|s| s * s).collect();
        Ok(Self {
            weights: weights.iter().map(|w| w / total).collect(),
            means: means.to_vec(),
            variances: stds.iter().map(square).collect(),
        })
    }

    /// The dimension d.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// The same law with full covariances.
    ///
    /// # Errors
    /// None for a mixture that was built.
    pub fn full(&self) -> Result<Mixture, MixtureError> {
        let d = self.dimension();
        let full = |row: &Vec<f64>| -> Vec<Vec<f64>> {
            (0..d).map(|i| (0..d).map(|j| if i == j { row[i] } else { 0.0 }).collect()).collect()
        };
        Mixture::new(&self.weights, &self.means, &self.variances.iter().map(full).collect::<Vec<_>>())
    }

    /// All that does not depend on x, at one time of a path.
    #[must_use]
    pub fn at(&self, at: Affine) -> Marginal<'_> {
        let spread = |v: &f64| at.alpha * at.alpha * v + at.sigma * at.sigma;
        let precisions: Vec<Vec<f64>> =
            self.variances.iter().map(|row| row.iter().map(|v| 1.0 / spread(v)).collect()).collect();
        let log_weight =
            |k: usize| self.weights[k].ln() - 0.5 * self.variances[k].iter().map(|v| spread(v).ln()).sum::<f64>();
        let log_weights = (0..self.weights.len()).map(log_weight).collect();
        Marginal { mixture: self, at, precisions, log_weights }
    }
}

/// The law of x_t, at one time. See [`DiagonalMixture::at`].
#[derive(Debug, Clone)]
pub struct Marginal<'a> {
    mixture: &'a DiagonalMixture,
    at: Affine,
    precisions: Vec<Vec<f64>>,
    log_weights: Vec<f64>,
}

impl Marginal<'_> {
    /// The denoiser E\[x_1 | x_t = x\] into `out`.
    pub fn data(&self, x: &[f64], out: &mut [f64]) {
        self.expect((1.0, 0.0), x, out);
    }

    /// The velocity E\[d_alpha x_1 + d_sigma x_0 | x_t = x\] into `out`.
    pub fn velocity(&self, x: &[f64], out: &mut [f64]) {
        self.expect((self.at.d_alpha, self.at.d_sigma), x, out);
    }

    /// E\[a x_1 + b x_0 | x_t = x\]. Nothing is divided by alpha or sigma, so it is regular at both ends.
    fn expect(&self, (a, b): (f64, f64), x: &[f64], out: &mut [f64]) {
        let (alpha, sigma) = (self.at.alpha, self.at.sigma);
        let joint: Vec<f64> = (0..self.log_weights.len())
            .map(|k| self.log_weights[k] - 0.5 * distance(x, alpha, &self.mixture.means[k], &self.precisions[k]))
            .collect();
        let top = joint.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = joint.iter().map(|l| (l - top).exp()).sum();
        out.fill(0.0);
        for (k, log) in joint.iter().enumerate() {
            let share = (log - top).exp() / total;
            // Far components are most of the work and none of the sum.
            if share < 1e-18 {
                continue;
            }
            let (means, variances, precisions) =
                (&self.mixture.means[k], &self.mixture.variances[k], &self.precisions[k]);
            for (i, out) in out.iter_mut().enumerate() {
                let pull = (x[i] - alpha * means[i]) * precisions[i];
                *out += share * (a * (means[i] + alpha * variances[i] * pull) + b * sigma * pull);
            }
        }
    }
}

/// The squared distance of x from alpha times a mean, in units of the spread; four sums at a time.
fn distance(x: &[f64], alpha: f64, mean: &[f64], precision: &[f64]) -> f64 {
    let term = |x: f64, m: f64, p: f64| (x - alpha * m) * (x - alpha * m) * p;
    let mut sums = [0.0; 4];
    let whole = x.len() / 4 * 4;
    for i in (0..whole).step_by(4) {
        for (j, sum) in sums.iter_mut().enumerate() {
            *sum += term(x[i + j], mean[i + j], precision[i + j]);
        }
    }
    let rest: f64 = (whole..x.len()).map(|i| term(x[i], mean[i], precision[i])).sum();
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denoiser_and_velocity_are_those_of_the_full_mixture() {
        // Ten axes: sums are taken in blocks of four.
        let row = |seed: f64| -> Vec<f64> { (0..10).map(|i| (seed + 1.7 * f64::from(i)).sin()).collect() };
        let stds = |seed: f64| -> Vec<f64> { row(seed).iter().map(|v| 0.6 + 0.5 * v).collect() };
        let mixture = DiagonalMixture::new(&[1.0, 2.0], &[row(0.1), row(2.0)], &[stds(0.4), stds(5.0)]).unwrap();
        let full = mixture.full().unwrap();
        for t in [0.0, 0.3, 0.8, 1.0] {
            let at = Affine::linear(t);
            let x = row(9.0);
            let mut out = vec![0.0; 10];
            mixture.at(at).data(&x, &mut out);
            for (ours, exact) in out.iter().zip(full.data(at, &x)) {
                assert!((ours - exact).abs() < 1e-10, "t = {t}: {ours} vs {exact}");
            }
            mixture.at(at).velocity(&x, &mut out);
            for (ours, exact) in out.iter().zip(full.velocity(at, &x)) {
                assert!((ours - exact).abs() < 1e-10, "t = {t}: {ours} vs {exact}");
            }
        }
    }
}
