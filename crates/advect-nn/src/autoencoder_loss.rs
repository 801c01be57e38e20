//! What the training of an autoencoder minimizes.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::Tensor;

use crate::autoencoder::{AutoencoderKl, LatentDistribution};
use crate::layers::widen;

/// An autoencoder as the probabilistic model that its training fits: `p(x | z) = N(decode(z), exp(log_variance) I)`,
/// `q(z | x) = N(mean, exp(latent log-variance))` and the prior `N(0, I)` (Kingma and Welling 2014).
///
/// The decoder's log-variance, one number for all pixels, is learned along with the network ("Introduction to Flow
/// Matching and Diffusion Models", MIT 2026, chapter 6 and appendix D). The optimum is the logarithm of the mean
/// squared error, so the balance between reconstruction and latents needs no tuning (Rybkin et al. 2021, "sigma-VAE").
/// An optimizer like Adam moves it by about the learning rate a step, so from 0 it takes some thousand steps to get
/// there.
#[derive(Module, Debug)]
pub struct Vae {
    /// The network.
    pub autoencoder: AutoencoderKl,
    /// The logarithm of the variance of a pixel given the latents: `[1]`.
    pub log_variance: Param<Tensor<1>>,
}

/// Images, what their encoder says, and what the decoder makes of latents drawn from that.
#[derive(Debug, Clone)]
pub struct Reconstruction {
    /// The images: `[batch, in_channels, height, width]`.
    pub x: Tensor<4>,
    /// The distribution of their latents.
    pub latent: LatentDistribution,
    /// The images that come back: `[batch, in_channels, height, width]`.
    pub y: Tensor<4>,
}

impl Vae {
    /// A model with this network and the variance 1.
    pub fn new(autoencoder: AutoencoderKl) -> Self {
        let device = autoencoder.decoder.conv_out.weight.lazy_device();
        Self { autoencoder, log_variance: Initializer::Zeros.init([1], &device) }
    }

    /// Encodes, draws latents with standard normal `noise`, and decodes.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`, height and width multiples of the autoencoder's factor
    /// - `noise`: `[batch, latent_channels, height / factor, width / factor]`
    ///
    /// # Panics
    ///
    /// If the shapes disagree.
    pub fn reconstruct(&self, x: Tensor<4>, noise: Tensor<4>) -> Reconstruction {
        let latent = self.autoencoder.encode(x.clone());
        let y = self.autoencoder.decode(latent.sample(noise)); // [batch, in_channels, height, width]
        Reconstruction { x, latent, y }
    }
}

/// The loss of an autoencoder: the negative evidence lower bound, and what is added to it.
///
/// ```
/// use advect_nn::{AutoencoderKlConfig, AutoencoderObjective, Vae};
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// # fn main() -> Result<(), advect_nn::NnError> {
/// let device = Device::flex().autodiff();
/// let vae = Vae::new(AutoencoderKlConfig::mnist().init(&device)?);
/// let objective = AutoencoderObjective::new(0.1);
///
/// let x = Tensor::<4>::random([2, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
/// let noise = Tensor::<4>::random([2, 4, 7, 7], Distribution::Normal(0.0, 1.0), &device); // of the latents
/// let gradients = objective.loss(&vae, &vae.reconstruct(x, noise)).backward();
/// assert!(vae.log_variance.grad(&gradients).is_some());
/// # Ok(())
/// # }
/// ```
///
/// In a training loop (`Objective` of `advect-train`) it is a closure that draws the noise by the names of the rows:
/// `|vae: &Vae, batch: &Batch<4>| Ok(objective.loss(vae, &vae.reconstruct(batch.data.clone(), noise(&batch.ids))))`.
///
/// # A perceptual term
///
/// [`with_perceptual`](Self::with_perceptual) takes any function of two images, such as a distance between the features
/// of a trained network.
///
/// # An adversarial term
///
/// What looks sharp is learned against a discriminator, in turns:
///
/// ```
/// # use advect_nn::{AutoencoderKlConfig, AutoencoderObjective, NnError, PatchDiscriminatorConfig, Vae};
/// # use advect_nn::{discriminator_hinge_loss, generator_hinge_loss};
/// # use burn::tensor::{Device, Distribution, Tensor};
/// # fn main() -> Result<(), NnError> {
/// # let device = Device::flex().autodiff();
/// # let vae = Vae::new(AutoencoderKlConfig::mnist().init(&device)?);
/// # let objective = AutoencoderObjective::new(0.1);
/// # let x = Tensor::<4>::random([2, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
/// # let noise = Tensor::<4>::random([2, 4, 7, 7], Distribution::Normal(0.0, 1.0), &device);
/// let discriminator = PatchDiscriminatorConfig::mnist().init(&device)?;
///
/// let made = vae.reconstruct(x, noise);
/// let loss = objective.loss(&vae, &made) + generator_hinge_loss(discriminator.forward(made.y.clone())) * 0.1;
/// // .. a step of the autoencoder's optimizer, then of the discriminator's:
/// let fake = discriminator.forward(made.y.detach());
/// let loss_of_the_other = discriminator_hinge_loss(discriminator.forward(made.x), fake);
/// # loss.backward();
/// # loss_of_the_other.backward();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct AutoencoderObjective<P = fn(Tensor<4>, Tensor<4>) -> Tensor<1>> {
    /// The weight of the latents' term; see [`autoencoder_loss`].
    pub kl_weight: f64,
    /// The perceptual term's weight and function.
    pub perceptual: Option<(f64, P)>,
}

impl AutoencoderObjective {
    /// Squared error and divergence, with this weight of the latter; see [`autoencoder_loss`].
    pub fn new(kl_weight: f64) -> Self {
        Self { kl_weight, perceptual: None }
    }

    /// Adds `weight` times the mean of `perceptual(images, reconstructions)` to the mean squared error.
    pub fn with_perceptual<P>(self, weight: f64, perceptual: P) -> AutoencoderObjective<P>
    where
        P: Fn(Tensor<4>, Tensor<4>) -> Tensor<1>,
    {
        AutoencoderObjective { kl_weight: self.kl_weight, perceptual: Some((weight, perceptual)) }
    }
}

impl<P: Fn(Tensor<4>, Tensor<4>) -> Tensor<1>> AutoencoderObjective<P> {
    /// The loss of a batch.
    ///
    /// # Shapes
    ///
    /// - output: `[1]`
    pub fn loss(&self, vae: &Vae, made: &Reconstruction) -> Tensor<1> {
        let mut distortion = (made.x.clone() - made.y.clone()).square().mean(); // [1]
        if let Some((weight, perceptual)) = &self.perceptual {
            distortion = distortion + perceptual(made.x.clone(), made.y.clone()).mean() * *weight; // [1]
        }
        autoencoder_loss(distortion, vae.log_variance.val(), &made.latent, self.kl_weight) // [1]
    }
}

/// The loss of an autoencoder with a Gaussian decoder of learned log-variance s:
/// `distortion / exp(s) + s + kl_weight mean(mean^2 + exp(v) - v - 1)`, where v are the latents' log-variances.
///
/// The 2026 course notes' display (85) in the form of their lab (Holderrieth and Erives, "Introduction to Flow Matching
/// and Diffusion Models"): negative evidence lower bound with means over pixels and over latents instead of sums and
/// without the factors 1/2. As a mean over latents weighs more than its share of a sum over everything, the bound
/// itself is `kl_weight = latents / pixels` (counts of numbers): then this loss is 2 / pixels times the negative bound,
/// less ln(2 pi). A larger weight is that of a beta-VAE (Higgins et al. 2017).
///
/// The distortion is the mean squared error, to which latent diffusion adds a perceptual distance (Rombach et al.
/// 2022).
///
/// # Shapes
///
/// - `distortion`, `log_variance`: `[1]`
/// - output: `[1]`, in f32 for half precision
pub fn autoencoder_loss(
    distortion: Tensor<1>,
    log_variance: Tensor<1>,
    latent: &LatentDistribution,
    kl_weight: f64,
) -> Tensor<1> {
    let reconstruction = distortion * (-log_variance.clone()).exp() + log_variance; // [1]
    widen(reconstruction) + latent.divergence().mean() * kl_weight // [1]
}
