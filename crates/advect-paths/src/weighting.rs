use crate::{Coefficients, PathError, Prediction};

/// How much an error counts at each time: the weight of a regression loss.
///
/// All predictions of one network differ by an affine map in x, so a loss "in another space" is the same loss with
/// another weight. A weighting states its weight twice, on the squared error of the data prediction and on that of the
/// noise prediction; the two differ by the signal-to-noise ratio `SNR = alpha^2 / sigma^2`, and between them no end of
/// the path divides by zero. [`weighted_loss`](crate::weighted_loss) applies it to any prediction.
///
/// Papers call the time by its noise level: here `sigma_n = sigma / alpha` where they write sigma (EDM), and
/// `sigma / (alpha + sigma)`, which is `1 - t` on the linear path, where they write the time of a rectified flow (SD3).
pub trait Weighting {
    /// The weight on the squared error of the data prediction.
    fn on_data(&self, at: &Coefficients) -> f64;

    /// The weight on the squared error of the noise prediction: [`Weighting::on_data`] divided by SNR.
    fn on_noise(&self, at: &Coefficients) -> f64;
}

impl<W: Weighting + ?Sized> Weighting for &W {
    fn on_data(&self, at: &Coefficients) -> f64 {
        (**self).on_data(at)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        (**self).on_noise(at)
    }
}

/// A weighting chosen at run time: `Box<dyn Weighting>`.
impl<W: Weighting + ?Sized> Weighting for Box<W> {
    fn on_data(&self, at: &Coefficients) -> f64 {
        (**self).on_data(at)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        (**self).on_noise(at)
    }
}

fn square(x: f64) -> f64 {
    x * x
}

/// SNR, infinite where sigma is zero.
fn snr(at: &Coefficients) -> f64 {
    square(at.alpha / at.sigma)
}

/// 1 / SNR, infinite where alpha is zero.
fn nsr(at: &Coefficients) -> f64 {
    square(at.sigma / at.alpha)
}

/// `alpha d_sigma - sigma d_alpha`, which relates errors of the velocity to those of data (by 1 / sigma) and noise
/// (by 1 / alpha); never positive. On the linear path it is -1.
fn wronskian(at: &Coefficients) -> f64 {
    at.alpha * at.d_sigma - at.sigma * at.d_alpha
}

/// The weight on the squared error of a prediction. An error of v or of the velocity is one of the data times a factor
/// over sigma, or one of the noise times it over alpha; that is taken which is far from zero.
pub(crate) fn weight_on(have: Prediction, at: &Coefficients, weighting: &impl Weighting) -> f64 {
    let (alpha, sigma) = (at.alpha, at.sigma);
    let scaled = || {
        if sigma < alpha { weighting.on_noise(at) * alpha * alpha } else { weighting.on_data(at) * sigma * sigma }
    };
    match have {
        Prediction::Data => weighting.on_data(at),
        Prediction::Noise | Prediction::Score => weighting.on_noise(at),
        Prediction::V => scaled() / (alpha * alpha + sigma * sigma).powi(2),
        Prediction::Velocity => scaled() / wronskian(at).powi(2),
    }
}

/// All errors of the data prediction alike: x-prediction with its own loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DataWeighting;

impl Weighting for DataWeighting {
    fn on_data(&self, _at: &Coefficients) -> f64 {
        1.0
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        nsr(at)
    }
}

/// All errors of the noise prediction alike: the "simple" loss of diffusion models.
///
/// Ho et al., 2020, "Denoising Diffusion Probabilistic Models", equation 14. It is the weight `lambda = sigma^2` of
/// denoising score matching (Song et al., 2021, equation 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoiseWeighting;

impl Weighting for NoiseWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        snr(at)
    }

    fn on_noise(&self, _at: &Coefficients) -> f64 {
        1.0
    }
}

/// All errors of v alike, `SNR + 1` on the data prediction where `alpha^2 + sigma^2 = 1`.
///
/// Salimans & Ho, 2022, "Progressive Distillation", section 4 ("SNR+1 weighting").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VWeighting;

impl Weighting for VWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        square((square(at.alpha) + square(at.sigma)) / at.sigma)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        square((square(at.alpha) + square(at.sigma)) / at.alpha)
    }
}

/// All errors of the velocity alike: the flow-matching loss, for any prediction.
///
/// Lipman et al., 2023, equation 9. With a data prediction it is the "x-prediction, v-loss" of Li & He, 2025, "Back to
/// Basics: Let Denoising Generative Models Denoise" (JiT): weight `1 / (1 - t)^2` on the linear path. That has no
/// bound at t = 1, so they divide by no less than 0.05: `VelocityWeighting::floored(0.05)`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct VelocityWeighting {
    floor: f64,
}

impl VelocityWeighting {
    /// The plain weight, infinite on the data prediction where sigma is 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Divides by no sigma below `floor`. Below it, errors of the velocity count less and those of data count alike.
    ///
    /// # Errors
    /// [`PathError::Weighting`] unless `floor` is finite and not negative.
    pub fn floored(floor: f64) -> Result<Self, PathError> {
        if floor.is_finite() && floor >= 0.0 {
            Ok(Self { floor })
        } else {
            Err(PathError::Weighting { what: "the floor of sigma", value: floor, need: "finite and 0 or above" })
        }
    }
}

impl Weighting for VelocityWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        square(wronskian(at) / at.sigma.max(self.floor))
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        // sigma / max(sigma, floor) is 1 at sigma = 0 without a floor.
        let kept = if at.sigma >= self.floor { 1.0 } else { at.sigma / self.floor };
        square(kept * wronskian(at) / at.alpha)
    }
}

/// The likelihood weight `g^2` on the squared error of the score: half of it, integrated over t, bounds -ln p.
///
/// Song et al., 2021, "Maximum Likelihood Training of Score-Based Diffusion Models", theorem 1, with the diffusion of
/// the path's own noising process, `g^2 = 2 sigma (sigma d_alpha / alpha - d_sigma)` in our time (beta for VP). On the
/// data prediction it is `d SNR / dt`, the weight of Kingma et al., 2021, "Variational Diffusion Models".
/// It grows like `1 / (t (1 - t))` on the noise prediction of the linear path, so its integral diverges at both ends:
/// draw clipped times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LikelihoodWeighting;

impl Weighting for LikelihoodWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        -2.0 * wronskian(at) * at.alpha / at.sigma.powi(3)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        -2.0 * wronskian(at) / (at.alpha * at.sigma)
    }
}

fn positive(what: &'static str, value: f64) -> Result<f64, PathError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(PathError::Weighting { what, value, need: "finite and above 0" })
    }
}

/// Min-SNR: `min(SNR, gamma)` on the data prediction.
///
/// Hang et al., 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"; 5 is their gamma. On
/// the noise prediction `min(1, gamma / SNR)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MinSnrWeighting {
    gamma: f64,
}

impl MinSnrWeighting {
    /// The weight with the bound `gamma`.
    ///
    /// # Errors
    /// [`PathError::Weighting`] unless `gamma` is finite and positive.
    pub fn new(gamma: f64) -> Result<Self, PathError> {
        Ok(Self { gamma: positive("gamma", gamma)? })
    }
}

impl Weighting for MinSnrWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        snr(at).min(self.gamma)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        (self.gamma * nsr(at)).min(1.0)
    }
}

/// Soft min-SNR: `SNR gamma / (SNR + gamma)` on the data prediction, min-SNR without its corner.
///
/// Crowson et al., 2024, "Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers",
/// with gamma = 4, the inverse of the data's variance, is theirs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SoftMinSnrWeighting {
    gamma: f64,
}

impl SoftMinSnrWeighting {
    /// The weight with the bound `gamma`.
    ///
    /// # Errors
    /// [`PathError::Weighting`] unless `gamma` is finite and positive.
    pub fn new(gamma: f64) -> Result<Self, PathError> {
        Ok(Self { gamma: positive("gamma", gamma)? })
    }
}

impl Weighting for SoftMinSnrWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        self.gamma / (1.0 + self.gamma * nsr(at))
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        self.gamma / (snr(at) + self.gamma)
    }
}

/// EDM: `(sigma_n^2 + sigma_data^2) / (sigma_n sigma_data)^2` on the data prediction.
///
/// Karras et al., 2022, table 1: the weight that makes the loss of their preconditioned network of unit size at every
/// noise level. On the data prediction it is `SNR + 1 / sigma_data^2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EdmWeighting {
    sigma_data: f64,
}

impl EdmWeighting {
    /// The weight for data of standard deviation `sigma_data` (0.5 for images in [-1, 1]).
    ///
    /// # Errors
    /// [`PathError::Weighting`] unless `sigma_data` is finite and positive.
    pub fn new(sigma_data: f64) -> Result<Self, PathError> {
        Ok(Self { sigma_data: positive("sigma_data", sigma_data)? })
    }
}

impl Weighting for EdmWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        snr(at) + 1.0 / square(self.sigma_data)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        1.0 + nsr(at) / square(self.sigma_data)
    }
}

/// SD3's "sigma-sqrt": `1 / sigma^2` on the squared error of the velocity, with `sigma / (alpha + sigma)` for sigma.
///
/// `sigma_sqrt` of the training scripts of Esser et al., 2024. It leans to the data and has no bound there: draw
/// clipped times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SigmaSqrtWeighting;

impl Weighting for SigmaSqrtWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        square((at.alpha + at.sigma) * wronskian(at) / square(at.sigma))
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        square((at.alpha + at.sigma) * wronskian(at) / (at.sigma * at.alpha))
    }
}

/// SD3's "CosMap": `2 / (pi (1 - 2 s + 2 s^2))` on the squared error of the velocity, `s = sigma / (alpha + sigma)`.
///
/// Esser et al., 2024, section 3.1: the density of times that the cosine schedule has on the linear path, as a weight.
/// [`CosineTime`](crate::CosineTime) draws from it instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CosMapWeighting;

impl CosMapWeighting {
    fn on_velocity(at: &Coefficients) -> f64 {
        // 1 - 2 s + 2 s^2 = s^2 + (1 - s)^2.
        let mass = square(at.alpha + at.sigma) / (square(at.alpha) + square(at.sigma));
        std::f64::consts::FRAC_2_PI * mass
    }
}

impl Weighting for CosMapWeighting {
    fn on_data(&self, at: &Coefficients) -> f64 {
        Self::on_velocity(at) * square(wronskian(at) / at.sigma)
    }

    fn on_noise(&self, at: &Coefficients) -> f64 {
        Self::on_velocity(at) * square(wronskian(at) / at.alpha)
    }
}
