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

#[cfg(test)]
mod tests {
    use super::OrnsteinUhlenbeck;

    #[test]
    fn the_discretised_process_by_its_recursion_and_in_the_limit() {
        let ou = OrnsteinUhlenbeck { theta: 1.5, sigma: 0.8 };
        let (mut mean, mut variance) = (2.0, 0.0);
        for _ in 0..10 {
            mean *= 1.0 - 0.15;
            variance = variance * (1.0_f64 - 0.15).powi(2) + 0.64 * 0.1;
        }
        assert!((ou.euler_mean(2.0, 0.1, 10) - mean).abs() < 1e-14);
        assert!((ou.euler_variance(0.1, 10) - variance).abs() < 1e-14);
        assert!((ou.euler_variance(1e-6, 1_000_000) - ou.variance(1.0)).abs() < 1e-6);
        assert!((ou.euler_mean(2.0, 1e-6, 1_000_000) - ou.mean(2.0, 1.0)).abs() < 1e-5);
        // dV/dt = sigma^2 - 2 theta V.
        let slope = (ou.variance(0.3 + 1e-5) - ou.variance(0.3 - 1e-5)) / 2e-5;
        assert!((slope - (0.64 - 3.0 * ou.variance(0.3))).abs() < 1e-9);
        assert!((ou.variance(50.0) - ou.stationary_variance()).abs() < 1e-15);
    }
}
