//! One Gaussian as data: every quantity of a probability path in closed form, in one dimension.

/// The coefficients of `x_t = alpha x_1 + sigma x_0` at one time, and their derivatives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    /// How much data.
    pub alpha: f64,
    /// How much noise.
    pub sigma: f64,
    /// d alpha / dt.
    pub d_alpha: f64,
    /// d sigma / dt.
    pub d_sigma: f64,
}

impl Affine {
    /// The coefficients in the order alpha, sigma, d alpha / dt, d sigma / dt.
    #[must_use]
    pub fn new(alpha: f64, sigma: f64, d_alpha: f64, d_sigma: f64) -> Self {
        Self { alpha, sigma, d_alpha, d_sigma }
    }

    /// The linear path at t.
    #[must_use]
    pub fn linear(t: f64) -> Self {
        Self::new(t, 1.0 - t, 1.0, -1.0)
    }
}

/// Data x_1 ~ N(mean, std^2) and independent noise x_0 ~ N(0, 1).
///
/// (x_0, x_1, x_t) are jointly Gaussian, so every conditional expectation is linear regression on x_t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gaussian {
    /// Mean of the data.
    pub mean: f64,
    /// Standard deviation of the data.
    pub std: f64,
}

impl Gaussian {
    /// Mean and variance of x_t.
    #[must_use]
    pub fn marginal(&self, at: Affine) -> (f64, f64) {
        (at.alpha * self.mean, (at.alpha * self.std).powi(2) + at.sigma * at.sigma)
    }

    /// ln p_t(x).
    #[must_use]
    pub fn log_density(&self, at: Affine, x: f64) -> f64 {
        let (mean, variance) = self.marginal(at);
        -0.5 * ((x - mean).powi(2) / variance + (std::f64::consts::TAU * variance).ln())
    }

    /// The score d/dx ln p_t(x).
    #[must_use]
    pub fn score(&self, at: Affine, x: f64) -> f64 {
        let (mean, variance) = self.marginal(at);
        -(x - mean) / variance
    }

    /// The denoiser E\[x_1 | x_t = x\].
    #[must_use]
    pub fn data(&self, at: Affine, x: f64) -> f64 {
        let (mean, variance) = self.marginal(at);
        self.mean + at.alpha * self.std * self.std / variance * (x - mean)
    }

    /// The noise E\[x_0 | x_t = x\].
    #[must_use]
    pub fn noise(&self, at: Affine, x: f64) -> f64 {
        let (mean, variance) = self.marginal(at);
        at.sigma / variance * (x - mean)
    }

    /// The marginal velocity E\[d_alpha x_1 + d_sigma x_0 | x_t = x\].
    #[must_use]
    pub fn velocity(&self, at: Affine, x: f64) -> f64 {
        let (mean, variance) = self.marginal(at);
        let covariance = at.alpha * at.d_alpha * self.std * self.std + at.sigma * at.d_sigma;
        at.d_alpha * self.mean + covariance / variance * (x - mean)
    }

    /// The flow map of the marginal velocity: where a point that is at `x` at the time of `from` is at that of `to`.
    #[must_use]
    pub fn flow(&self, from: Affine, to: Affine, x: f64) -> f64 {
        let ((mean, variance), (new_mean, new_variance)) = (self.marginal(from), self.marginal(to));
        new_mean + (new_variance / variance).sqrt() * (x - mean)
    }

    /// The variance of `d_alpha x_1 + d_sigma x_0` given x_t, the same for every x_t: the least flow-matching loss.
    #[must_use]
    pub fn velocity_variance(&self, at: Affine) -> f64 {
        let (_, variance) = self.marginal(at);
        (self.std * (at.d_alpha * at.sigma - at.alpha * at.d_sigma)).powi(2) / variance
    }
}
