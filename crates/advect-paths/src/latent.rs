use crate::PathError;
use std::f64::consts::PI;
use std::sync::Arc;

/// How much latent noise an [`Interpolant`](crate::Interpolant) holds at each time: gamma(t), zero at both ends.
///
/// Albergo, Boffi & Vanden-Eijnden, 2023, "Stochastic Interpolants: A Unifying Framework for Flows and Diffusions",
/// definition 2.1.
pub trait Latent {
    /// gamma at t in [0, 1].
    fn gamma(&self, t: f64) -> f64;

    /// d gamma / dt; infinite where gamma moves like a square root.
    fn d_gamma(&self, t: f64) -> f64;

    /// `gamma * d_gamma`, half the rate of the latent's variance. Finite at both ends: override it by the limit where
    /// `d_gamma` is not.
    fn gamma_d_gamma(&self, t: f64) -> f64 {
        self.gamma(t) * self.d_gamma(t)
    }
}

impl<L: Latent + ?Sized> Latent for &L {
    fn gamma(&self, t: f64) -> f64 {
        (**self).gamma(t)
    }

    fn d_gamma(&self, t: f64) -> f64 {
        (**self).d_gamma(t)
    }

    fn gamma_d_gamma(&self, t: f64) -> f64 {
        (**self).gamma_d_gamma(t)
    }
}

/// A latent chosen at run time: `Arc<dyn Latent>`.
impl<L: Latent + ?Sized> Latent for Arc<L> {
    fn gamma(&self, t: f64) -> f64 {
        (**self).gamma(t)
    }

    fn d_gamma(&self, t: f64) -> f64 {
        (**self).d_gamma(t)
    }

    fn gamma_d_gamma(&self, t: f64) -> f64 {
        (**self).gamma_d_gamma(t)
    }
}

/// The Brownian bridge: `gamma = sigma sqrt(t (1 - t))`.
///
/// Pinned at both ends, a Brownian motion of diffusion sigma has this spread. Tong et al., 2023, "Simulation-free
/// Schroedinger bridges via score and flow matching" (\[SF\]2M); `sqrt(a t (1 - t))` of Albergo et al., 2023.
/// Its `d_gamma` is infinite at both ends, and so is the velocity target there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BrownianBridge {
    sigma: f64,
}

impl BrownianBridge {
    /// The bridge of a Brownian motion with diffusion `sigma`, in units of state per square root of time.
    ///
    /// # Errors
    /// [`PathError::Latent`] unless `sigma` is finite and positive.
    pub fn new(sigma: f64) -> Result<Self, PathError> {
        if sigma.is_finite() && sigma > 0.0 { Ok(Self { sigma }) } else { Err(PathError::Latent { size: sigma }) }
    }

    /// The diffusion of the Brownian motion.
    #[must_use]
    pub fn sigma(&self) -> f64 {
        self.sigma
    }
}

impl Latent for BrownianBridge {
    fn gamma(&self, t: f64) -> f64 {
        self.sigma * (t * (1.0 - t)).sqrt()
    }

    fn d_gamma(&self, t: f64) -> f64 {
        self.sigma * (1.0 - 2.0 * t) / (2.0 * (t * (1.0 - t)).sqrt())
    }

    fn gamma_d_gamma(&self, t: f64) -> f64 {
        self.sigma * self.sigma * (1.0 - 2.0 * t) / 2.0
    }
}

/// A smooth latent: `gamma = size sin^2(pi t)`, whose velocity is finite at both ends.
///
/// One of the choices of Albergo et al., 2023.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SineSquared {
    size: f64,
}

impl SineSquared {
    /// The latent whose spread in the middle is `size`.
    ///
    /// # Errors
    /// [`PathError::Latent`] unless `size` is finite and positive.
    pub fn new(size: f64) -> Result<Self, PathError> {
        if size.is_finite() && size > 0.0 { Ok(Self { size }) } else { Err(PathError::Latent { size }) }
    }
}

impl Latent for SineSquared {
    fn gamma(&self, t: f64) -> f64 {
        // The nearer end, so that it is exactly zero at both.
        self.size * (PI * t.min(1.0 - t)).sin().powi(2)
    }

    fn d_gamma(&self, t: f64) -> f64 {
        let size = self.size * PI * (2.0 * PI * t.min(1.0 - t)).sin();
        if t > 0.5 { -size } else { size }
    }
}
