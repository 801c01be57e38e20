use advect_paths::Schedule;

/// A time of a schedule in the coordinates of the semi-linear family: `x = alpha x_1 + sigma x_0` and
/// `lambda = ln(alpha / sigma)`, half the log signal-to-noise ratio.
///
/// Lu et al., 2022, "DPM-Solver", section 3: in lambda the probability-flow ODE has the exact solution
/// `x' = (sigma'/sigma) x + sigma' int e^l D(l) dl = (alpha'/alpha) x - alpha' int e^-l E(l) dl`, with D the data and
/// E the noise prediction along the way, so only the prediction has to be approximated. It holds for every schedule.
/// Lambda rises with t: minus infinity where alpha is zero, infinity where sigma is zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Coordinates {
    /// The time.
    pub t: f64,
    /// How much data.
    pub alpha: f64,
    /// How much noise.
    pub sigma: f64,
    /// `ln(alpha / sigma)`.
    pub lambda: f64,
}

impl Coordinates {
    /// The coordinates of `t` in [0, 1].
    #[must_use]
    pub fn at<S: Schedule + ?Sized>(schedule: &S, t: f64) -> Self {
        let c = schedule.at(t);
        Self { t, alpha: c.alpha, sigma: c.sigma, lambda: schedule.log_snr(t) / 2.0 }
    }

    /// The coordinates at a lambda, with lambda itself kept exactly.
    #[must_use]
    pub fn at_lambda<S: Schedule + ?Sized>(schedule: &S, lambda: f64) -> Self {
        Self { lambda, ..Self::at(schedule, schedule.time_at_log_snr(2.0 * lambda)) }
    }

    /// The noise level of Karras et al., 2022: `sigma / alpha = e^-lambda`, the standard deviation of the noise in
    /// `x / alpha`. Infinite where alpha is zero.
    #[must_use]
    pub fn level(&self) -> f64 {
        self.sigma / self.alpha
    }

    /// Whether lambda is finite: neither noise alone nor data alone.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.lambda.is_finite()
    }

    /// The coefficients `(on_x, on_data)` of the first-order step `x' = on_x x + on_data D`: exact if the data
    /// prediction is constant. Finite where `sigma > 0`.
    #[must_use]
    pub fn with_data(&self, to: &Self) -> (f64, f64) {
        let on_x = to.sigma / self.sigma;
        (on_x, to.alpha - self.alpha * on_x)
    }

    /// The coefficients `(on_x, on_noise)` of the same step written with the noise: `x' = on_x x + on_noise E`.
    /// Finite where `alpha > 0`.
    #[must_use]
    pub fn with_noise(&self, to: &Self) -> (f64, f64) {
        let on_x = to.alpha / self.alpha;
        (on_x, to.sigma - self.sigma * on_x)
    }
}
