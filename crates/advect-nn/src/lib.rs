//! Backbones for flow and diffusion models on Burn: [`Mlp`] for points, [`UNet`] and [`DiT`] for images and latents,
//! [`MmDiT`] for images and latents with a text.
//! And where latents come from: [`AutoencoderKl`], with what its training needs ([`Vae`], [`AutoencoderObjective`]).
//!
//! A backbone is a configuration, `init(&device)` and `forward(x, t, class)`. It returns its raw output: whether that is
//! a velocity, noise or a score is the objective's choice, not the network's. Times lie in `[0, 1]`, 0 being noise.
//! [`MmDiT`] takes the embeddings of a text in place of a class.
//!
//! ```
//! use advect_nn::UNetConfig;
//! use burn::tensor::{Device, Distribution, Int, Tensor};
//!
//! # fn main() -> Result<(), advect_nn::NnError> {
//! let device = Device::flex();
//! let unet = UNetConfig::digits().init(&device)?;
//!
//! let x = Tensor::<4>::random([2, 1, 8, 8], Distribution::Normal(0.0, 1.0), &device); // [batch, channels, height, width]
//! let t = Tensor::<1>::from_floats([0.25, 0.75], &device); // [batch]
//! let class = Tensor::<1, Int>::from_ints([3, 10], &device); // [batch]; 10 = no class
//! let output = unet.forward(x, t, Some(class)); // [batch, channels, height, width]
//! assert_eq!(output.dims(), [2, 1, 8, 8]);
//! # Ok(())
//! # }
//! ```
//!
//! # Classes
//!
//! A network with `classes` classes has one row more in its embedding: index `classes` is the null class of
//! classifier-free guidance, and `class: None` means the null class for every row.
//!
//! # Weights
//!
//! The parameters are those of Burn's own `Conv2d`, `GroupNorm`, `Linear` and `Embedding`; what runs on them are the
//! operators of `advect-kernels`. The field names of the modules are the names in a checkpoint.

pub mod checkpoint;

mod attention;
mod autoencoder;
mod autoencoder_layout;
mod autoencoder_loss;
mod discriminator;
mod dit;
mod dit_layout;
mod embedding;
mod error;
mod fourier;
mod layers;
mod mlp;
mod mm_dit;
mod mm_dit_layout;
mod patch;
mod position;
mod residual;
mod transformer;
mod unet;
mod unet_layout;

pub use attention::SelfAttention;
pub use autoencoder::{
    AutoencoderKl, AutoencoderKlConfig, CoderBlock, CoderLevel, CoderMiddle, Decoder, Encoder, LatentDistribution,
};
pub use autoencoder_loss::{AutoencoderObjective, Reconstruction, Vae, autoencoder_loss};
pub use discriminator::{
    PatchDiscriminator, PatchDiscriminatorConfig, PatchLayer, discriminator_hinge_loss, generator_hinge_loss,
};
pub use dit::{DiT, DiTBlock, DiTCondition, DiTConditioning, DiTConfig, Probe};
pub use embedding::{ClassEmbedding, NumberEmbedding, TimeEmbedding, sinusoidal};
pub use error::NnError;
pub use fourier::{FourierFeatures, Frequencies};
pub use mlp::{Mlp, MlpConfig};
pub use mm_dit::{JointBlock, JointStream, LastText, MmDiT, MmDiTConfig, PooledEmbedding, TextStream};
pub use position::{Positions, Rotation, sin_cos_2d};
pub use residual::{Conditioning, Resample, Resampling, ResidualBlock, Resize};
pub use transformer::{Activation, CrossAttention, FeedForward, Norm, QkNorm, QkNorms, TokenAttention, TokenNorm};
pub use unet::{Level, Middle, UNet, UNetConfig};

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
