//! The Ornstein-Uhlenbeck process dX = -theta X dt + sigma dW.

/// The process; both parameters are positive.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OrnsteinUhlenbeck {
    /// The rate of mean reversion.
    pub theta: f64,
    /// The diffusion.
    pub sigma: f64,
}

impl OrnsteinUhlenbeck {
    /// `E[X_t]` from `X_0 = x0`.
    #[must_use]
    pub fn mean(&self, x0: f64, t: f64) -> f64 {
        x0 * (-self.theta * t).exp()
    }

    /// `Var[X_t]` from a fixed start.
    #[must_use]
    pub fn variance(&self, t: f64) -> f64 {
        self.stationary_variance() * -(-2.0 * self.theta * t).exp_m1()
    }

    /// The variance of the stationary law, `sigma^2 / (2 theta)`.
    #[must_use]
    pub fn stationary_variance(&self) -> f64 {
        self.sigma * self.sigma / (2.0 * self.theta)
    }

    /// `E[X_n]` of Euler-Maruyama after `n` steps of `h`, exactly: `x0 (1 - theta h)^n`.
    #[must_use]
    pub fn euler_mean(&self, x0: f64, h: f64, n: i32) -> f64 {
        x0 * (1.0 - self.theta * h).powi(n)
    }

    /// `Var[X_n]` of Euler-Maruyama after `n` steps of `h`, exactly: a geometric sum.
    #[must_use]
    pub fn euler_variance(&self, h: f64, n: i32) -> f64 {
        self.euler_stationary_variance(h) * (1.0 - (1.0 - self.theta * h).powi(2 * n))
    }

    /// The stationary variance of Euler-Maruyama with step `h`: `sigma^2 / (2 theta - theta^2 h)`.
    #[must_use]
    pub fn euler_stationary_variance(&self, h: f64) -> f64 {
        self.sigma * self.sigma / (2.0 * self.theta - self.theta * self.theta * h)
    }
}
