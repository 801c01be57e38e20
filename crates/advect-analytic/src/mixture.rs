//! A Gaussian mixture as data: every quantity of a probability path in closed form, in d dimensions.
//!
//! With x_1 ~ sum w_k N(mu_k, S_k) and independent x_0 ~ N(0, I), x_t ~ sum w_k N(m_k, C_k), m_k = alpha mu_k,
//! C_k = alpha^2 S_k + sigma^2 I. Given x_t and the component, (x_0, x_1) is Gaussian; so every conditional
//! expectation is a regression in each component, averaged over the responsibilities. Nothing is divided by
//! alpha or sigma, so all holds at both ends of the path as well.

pub use crate::gaussian::Affine;

/// What is wrong with the parameters of a mixture.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MixtureError {
    /// The lists of parameters do not fit each other, or are empty.
    #[error(
        "weights, means and covariances must be equal in number (at least one), and of one dimension (at least one)"
    )]
    Sizes,
    /// A weight is not positive.
    #[error("the weight of component {component} must be positive and finite")]
    Weight {
        /// The component.
        component: usize,
    },
    /// A covariance is not symmetric and positive definite.
    #[error("the covariance of component {component} is not symmetric and positive definite")]
    Covariance {
        /// The component.
        component: usize,
    },
}

/// Data x_1 ~ sum w_k N(mu_k, S_k) and independent noise x_0 ~ N(0, I).
#[derive(Debug, Clone, PartialEq)]
pub struct Mixture {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    covariances: Vec<Matrix>,
}

impl Mixture {
    /// A mixture with a full covariance (rows) for each component. Weights are normalised.
    ///
    /// # Errors
    /// [`MixtureError`] if sizes differ, a weight is not positive or a covariance not positive definite.
    pub fn new(weights: &[f64], means: &[Vec<f64>], covariances: &[Vec<Vec<f64>>]) -> Result<Self, MixtureError> {
        let d = means.first().map_or(0, Vec::len);
        let square = |c: &Vec<Vec<f64>>| c.len() == d && c.iter().all(|row| row.len() == d);
        let fit = weights.len() == means.len() && weights.len() == covariances.len();
        if d == 0 || !fit || means.iter().any(|m| m.len() != d) || !covariances.iter().all(square) {
            return Err(MixtureError::Sizes);
        }
        if let Some(component) = weights.iter().position(|w| !(w.is_finite() && *w > 0.0)) {
            return Err(MixtureError::Weight { component });
        }
        let covariances: Vec<Matrix> = covariances.iter().map(|rows| Matrix { d, a: rows.concat() }).collect();
        let broken = |c: &Matrix| !c.symmetric() || c.cholesky().a.iter().any(|v| !v.is_finite());
        if let Some(component) = covariances.iter().position(broken) {
            return Err(MixtureError::Covariance { component });
        }
        let total: f64 = weights.iter().sum();
        Ok(Self { weights: weights.iter().map(|w| w / total).collect(), means: means.to_vec(), covariances })
    }

    /// A mixture of round components N(mu_k, std_k^2 I). Weights are normalised.
    ///
    /// # Errors
    /// [`MixtureError`] if sizes differ or a weight or standard deviation is not positive.
    pub fn isotropic(weights: &[f64], means: &[Vec<f64>], stds: &[f64]) -> Result<Self, MixtureError> {
        let d = means.first().map_or(0, Vec::len);
        let round = |s: &f64| (0..d).map(|i| (0..d).map(|j| if i == j { s * s } else { 0.0 }).collect()).collect();
        let covariances: Vec<Vec<Vec<f64>>> = stds.iter().map(round).collect();
        Self::new(weights, means, &covariances)
    }

    /// The mixture of some of the components, with their weights normalised: the law of the data given a label.
    ///
    /// # Errors
    /// [`MixtureError::Sizes`] if there is none, or one is out of range.
    pub fn subset(&self, components: &[usize]) -> Result<Self, MixtureError> {
        if components.is_empty() || components.iter().any(|&k| k >= self.weights.len()) {
            return Err(MixtureError::Sizes);
        }
        let total: f64 = components.iter().map(|&k| self.weights[k]).sum();
        Ok(Self {
            weights: components.iter().map(|&k| self.weights[k] / total).collect(),
            means: components.iter().map(|&k| self.means[k].clone()).collect(),
            covariances: components.iter().map(|&k| self.covariances[k].clone()).collect(),
        })
    }

    /// The dimension d.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.means[0].len()
    }

    /// The weights, which sum to one.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// ln p_t(x).
    #[must_use]
    pub fn log_density(&self, at: Affine, x: &[f64]) -> f64 {
        log_sum_exp(&self.log_joint(&self.fit(at, x)))
    }

    /// The probability of each component given x_t = x.
    #[must_use]
    pub fn responsibilities(&self, at: Affine, x: &[f64]) -> Vec<f64> {
        self.posterior(&self.fit(at, x))
    }

    /// The score, the gradient of ln p_t at x: `-sum r_k C_k^-1 (x - m_k)`.
    #[must_use]
    pub fn score(&self, at: Affine, x: &[f64]) -> Vec<f64> {
        self.expect(at, x, |_, fit| fit.pull.iter().map(|p| -p).collect())
    }

    /// The denoiser E\[x_1 | x_t = x\] = `sum r_k [mu_k + alpha S_k C_k^-1 (x - m_k)]`.
    #[must_use]
    pub fn data(&self, at: Affine, x: &[f64]) -> Vec<f64> {
        self.expect(at, x, |k, fit| self.component_data(at, k, fit))
    }

    /// The noise E\[x_0 | x_t = x\] = `sum r_k sigma C_k^-1 (x - m_k)`.
    #[must_use]
    pub fn noise(&self, at: Affine, x: &[f64]) -> Vec<f64> {
        self.expect(at, x, |_, fit| fit.pull.iter().map(|p| at.sigma * p).collect())
    }

    /// The marginal velocity E\[d_alpha x_1 + d_sigma x_0 | x_t = x\], which is the optimum of conditional flow matching.
    #[must_use]
    pub fn velocity(&self, at: Affine, x: &[f64]) -> Vec<f64> {
        self.expect(at, x, |k, fit| self.component_velocity(at, k, fit))
    }

    /// The trace of the covariance of `d_alpha x_1 + d_sigma x_0` given x_t = x. Its mean over x is the least
    /// flow-matching loss (summed over the d elements).
    #[must_use]
    pub fn velocity_variance(&self, at: Affine, x: &[f64]) -> f64 {
        let fits = self.fit(at, x);
        let d = self.dimension();
        let mean = self.velocity(at, x);
        let rate = (at.d_alpha * at.sigma - at.alpha * at.d_sigma).powi(2);
        let total = |(k, r): (usize, f64)| {
            // Within a component: (d_alpha sigma - alpha d_sigma)^2 S C^-1, the matrix form of the Gaussian's.
            let within: f64 = (0..d).map(|j| fits[k].root.solve(&self.covariances[k].column(j))[j]).sum();
            let off: f64 =
                self.component_velocity(at, k, &fits[k]).iter().zip(&mean).map(|(v, m)| (v - m).powi(2)).sum();
            r * (rate * within + off)
        };
        self.posterior(&fits).into_iter().enumerate().map(total).sum()
    }

    /// The mean of x_t.
    #[must_use]
    pub fn mean(&self, at: Affine) -> Vec<f64> {
        let element = |i: usize| self.weights.iter().zip(&self.means).map(|(w, m)| w * at.alpha * m[i]).sum();
        (0..self.dimension()).map(element).collect()
    }

    /// The covariance of x_t, as rows.
    #[must_use]
    pub fn covariance(&self, at: Affine) -> Vec<Vec<f64>> {
        let (d, mean) = (self.dimension(), self.mean(at));
        let entry = |i: usize, j: usize| {
            let component = |k: usize| {
                let off = (at.alpha * self.means[k][i] - mean[i]) * (at.alpha * self.means[k][j] - mean[j]);
                self.weights[k] * (self.spread(at, k).a[i * d + j] + off)
            };
            (0..self.weights.len()).map(component).sum()
        };
        (0..d).map(|i| (0..d).map(|j| entry(i, j)).collect()).collect()
    }

    /// One data point from a uniform number in [0, 1), which picks the component, and d standard normal numbers.
    /// Returns the component and the point.
    #[must_use]
    pub fn sample(&self, uniform: f64, normals: &[f64]) -> (usize, Vec<f64>) {
        let mut reached = 0.0;
        let passed = |w: &&f64| {
            reached += **w;
            reached <= uniform
        };
        let k = self.weights.iter().take_while(passed).count().min(self.weights.len() - 1);
        let root = self.covariances[k].cholesky();
        let moved = root.lower_times(normals);
        (k, self.means[k].iter().zip(moved).map(|(m, v)| m + v).collect())
    }

    /// C_k at a time.
    fn spread(&self, at: Affine, k: usize) -> Matrix {
        let s = &self.covariances[k];
        let mut c = Matrix { d: s.d, a: s.a.iter().map(|v| at.alpha * at.alpha * v).collect() };
        for i in 0..s.d {
            c.a[i * s.d + i] += at.sigma * at.sigma;
        }
        c
    }

    fn fit(&self, at: Affine, x: &[f64]) -> Vec<Fit> {
        let component = |k: usize| {
            let root = self.spread(at, k).cholesky();
            let off: Vec<f64> = x.iter().zip(&self.means[k]).map(|(x, m)| x - at.alpha * m).collect();
            let pull = root.solve(&off);
            let distance: f64 = off.iter().zip(&pull).map(|(o, p)| o * p).sum();
            let log_density = -0.5 * (distance + root.d as f64 * std::f64::consts::TAU.ln()) - root.log_diagonal();
            Fit { root, pull, log_density }
        };
        (0..self.weights.len()).map(component).collect()
    }

    fn log_joint(&self, fits: &[Fit]) -> Vec<f64> {
        self.weights.iter().zip(fits).map(|(w, fit)| w.ln() + fit.log_density).collect()
    }

    fn posterior(&self, fits: &[Fit]) -> Vec<f64> {
        let joint = self.log_joint(fits);
        let total = log_sum_exp(&joint);
        joint.iter().map(|l| (l - total).exp()).collect()
    }

    fn component_data(&self, at: Affine, k: usize, fit: &Fit) -> Vec<f64> {
        let regressed = self.covariances[k].times(&fit.pull);
        self.means[k].iter().zip(regressed).map(|(m, v)| m + at.alpha * v).collect()
    }

    fn component_velocity(&self, at: Affine, k: usize, fit: &Fit) -> Vec<f64> {
        let data = self.component_data(at, k, fit);
        data.iter().zip(&fit.pull).map(|(d, p)| at.d_alpha * d + at.d_sigma * at.sigma * p).collect()
    }

    fn expect(&self, at: Affine, x: &[f64], value: impl Fn(usize, &Fit) -> Vec<f64>) -> Vec<f64> {
        let fits = self.fit(at, x);
        let mut sum = vec![0.0; self.dimension()];
        for (k, r) in self.posterior(&fits).into_iter().enumerate() {
            for (s, v) in sum.iter_mut().zip(value(k, &fits[k])) {
                *s += r * v;
            }
        }
        sum
    }
}

/// One component at (x, t).
struct Fit {
    /// The Cholesky factor of C_k.
    root: Matrix,
    /// C_k^-1 (x - m_k).
    pull: Vec<f64>,
    log_density: f64,
}

/// A small square matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
struct Matrix {
    d: usize,
    a: Vec<f64>,
}

impl Matrix {
    fn symmetric(&self) -> bool {
        (0..self.d).all(|i| (0..i).all(|j| self.a[i * self.d + j] == self.a[j * self.d + i]))
    }

    fn column(&self, j: usize) -> Vec<f64> {
        (0..self.d).map(|i| self.a[i * self.d + j]).collect()
    }

    fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.d).map(|i| (0..self.d).map(|j| self.a[i * self.d + j] * x[j]).sum()).collect()
    }

    /// The lower factor L with L L^T = self; not finite, or zero on the diagonal, if there is none.
    fn cholesky(&self) -> Self {
        let d = self.d;
        let mut l = vec![0.0; d * d];
        for i in 0..d {
            for j in 0..=i {
                let dot: f64 = (0..j).map(|k| l[i * d + k] * l[j * d + k]).sum();
                let rest = self.a[i * d + j] - dot;
                l[i * d + j] =
                    if i == j { if rest > 0.0 { rest.sqrt() } else { f64::NAN } } else { rest / l[j * d + j] };
            }
        }
        Self { d, a: l }
    }

    /// For a Cholesky factor: L x.
    fn lower_times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.d).map(|i| (0..=i).map(|j| self.a[i * self.d + j] * x[j]).sum()).collect()
    }

    /// For a Cholesky factor: the solution of L L^T y = b.
    fn solve(&self, b: &[f64]) -> Vec<f64> {
        let d = self.d;
        let mut y = b.to_vec();
        for i in 0..d {
            let dot: f64 = (0..i).map(|j| self.a[i * d + j] * y[j]).sum();
            y[i] = (y[i] - dot) / self.a[i * d + i];
        }
        for i in (0..d).rev() {
            let dot: f64 = (i + 1..d).map(|j| self.a[j * d + i] * y[j]).sum();
            y[i] = (y[i] - dot) / self.a[i * d + i];
        }
        y
    }

    /// For a Cholesky factor: ln det L.
    fn log_diagonal(&self) -> f64 {
        (0..self.d).map(|i| self.a[i * self.d + i].ln()).sum()
    }
}

fn log_sum_exp(values: &[f64]) -> f64 {
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + values.iter().map(|v| (v - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tilted() -> Mixture {
        let covariances = [vec![vec![0.5, 0.2], vec![0.2, 0.3]], vec![vec![0.2, -0.1], vec![-0.1, 0.8]]];
        Mixture::new(&[1.0, 3.0], &[vec![2.0, 0.5], vec![-1.5, 1.0]], &covariances).unwrap()
    }

    #[test]
    fn the_score_is_the_gradient_of_the_log_density() {
        let mixture = tilted();
        let h = 1e-5;
        for (t, x) in [(0.0, [0.3, -1.0]), (0.5, [0.2, 0.4]), (1.0, [0.7, 0.9])] {
            let at = Affine::linear(t);
            let gradient = [
                (mixture.log_density(at, &[x[0] + h, x[1]]) - mixture.log_density(at, &[x[0] - h, x[1]])) / (2.0 * h),
                (mixture.log_density(at, &[x[0], x[1] + h]) - mixture.log_density(at, &[x[0], x[1] - h])) / (2.0 * h),
            ];
            for (score, gradient) in mixture.score(at, &x).into_iter().zip(gradient) {
                assert!((score - gradient).abs() < 1e-7, "{score} vs {gradient}");
            }
        }
    }

    #[test]
    fn the_density_integrates_to_one_and_the_denoiser_is_a_posterior_mean() {
        // By quadrature over the data in one dimension: no closed form of ours but the normal density.
        let mixture = Mixture::isotropic(&[0.3, 0.7], &[vec![-1.0], vec![1.5]], &[0.4, 0.7]).unwrap();
        let normal = |x: f64, m: f64, s: f64| (-((x - m) / s).powi(2) / 2.0).exp() / (s * std::f64::consts::TAU.sqrt());
        let at = Affine::linear(0.6);
        let h = 0.001;
        for x in [-0.5, 0.2, 1.1] {
            let (mut density, mut data, mut noise, mut velocity) = (0.0, 0.0, 0.0, 0.0);
            for i in -8000..8000 {
                let z = f64::from(i) * h;
                let prior = 0.3 * normal(z, -1.0, 0.4) + 0.7 * normal(z, 1.5, 0.7);
                let weight = h * prior * normal(x, 0.6 * z, 0.4);
                let e = (x - 0.6 * z) / 0.4;
                density += weight;
                data += weight * z;
                noise += weight * e;
                velocity += weight * (z - e);
            }
            assert!((mixture.log_density(at, &[x]) - density.ln()).abs() < 1e-9);
            assert!((mixture.data(at, &[x])[0] - data / density).abs() < 1e-9);
            assert!((mixture.noise(at, &[x])[0] - noise / density).abs() < 1e-9);
            assert!((mixture.velocity(at, &[x])[0] - velocity / density).abs() < 1e-9);
        }
    }

    #[test]
    fn sampling_picks_the_component_and_stretches_the_noise() {
        let mixture = tilted();
        assert_eq!(mixture.sample(0.1, &[0.0, 0.0]), (0, vec![2.0, 0.5]));
        assert_eq!(mixture.sample(0.25, &[0.0, 0.0]), (1, vec![-1.5, 1.0]));
        // L [1, 0] is the first column of the Cholesky factor: (sqrt(a), c / sqrt(a)).
        let (_, x) = mixture.sample(0.0, &[1.0, 0.0]);
        assert!((x[0] - 2.0 - 0.5_f64.sqrt()).abs() < 1e-12 && (x[1] - 0.5 - 0.2 / 0.5_f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn bad_parameters_are_errors() {
        let one = |weight: f64, covariance: Vec<Vec<f64>>| Mixture::new(&[weight], &[vec![0.0, 0.0]], &[covariance]);
        let round = || vec![vec![1.0, 0.0], vec![0.0, 1.0]];
        assert_eq!(one(0.0, round()), Err(MixtureError::Weight { component: 0 }));
        assert_eq!(one(1.0, vec![vec![1.0]]), Err(MixtureError::Sizes));
        assert_eq!(one(1.0, vec![vec![1.0, 2.0], vec![2.0, 1.0]]), Err(MixtureError::Covariance { component: 0 }));
        assert_eq!(one(1.0, vec![vec![1.0, 0.5], vec![0.4, 1.0]]), Err(MixtureError::Covariance { component: 0 }));
        assert_eq!(one(1.0, round()).unwrap().subset(&[1]), Err(MixtureError::Sizes));
    }
}
