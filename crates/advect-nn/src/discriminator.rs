//! A discriminator that judges an image patch by patch, and the losses of both sides.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, Initializer, PaddingConfig2d};
use burn::tensor::activation::{leaky_relu, relu};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use advect_kernels::conv2d;

use crate::error::{NnError, counted, divides, sized};
use crate::layers::{new_norm, norm};

/// The slope of the activations below zero.
const SLOPE: f64 = 0.2;

/// The standard deviation of new weights (Isola et al. 2017, section 6.2).
const DEVIATION: f64 = 0.02;

/// More layers than any image has octaves.
const MAX_LAYERS: usize = 16;

/// The shape of a [`PatchDiscriminator`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchDiscriminatorConfig {
    /// The channels of the image.
    pub in_channels: usize,
    /// The width of the first layer; each layer doubles it, up to eight times this. Default: 64.
    #[serde(default = "default_channels")]
    pub channels: usize,
    /// How often the resolution is halved. A verdict is about a patch of 16, 34, 70, 142 pixels along each side for 1,
    /// 2, 3, 4 layers. Default: 3.
    #[serde(default = "default_layers")]
    pub layers: usize,
    /// The groups of each group normalization. Default: 32.
    #[serde(default = "default_groups")]
    pub groups: usize,
}

fn default_channels() -> usize {
    64
}

fn default_layers() -> usize {
    3
}

fn default_groups() -> usize {
    32
}

impl PatchDiscriminatorConfig {
    /// For images of `in_channels` channels: the discriminator of pix2pix, whose verdicts are about patches of 70 x 70.
    pub fn new(in_channels: usize) -> Self {
        Self { in_channels, channels: default_channels(), layers: default_layers(), groups: default_groups() }
    }

    /// For the 28x28 gray digits of MNIST: 43 thousand parameters, patches of 34 x 34.
    pub fn mnist() -> Self {
        Self { in_channels: 1, channels: 16, layers: 2, groups: 8 }
    }

    /// Checks that the configuration describes a network.
    pub fn validate(&self) -> Result<(), NnError> {
        sized("in_channels", self.in_channels)?;
        sized("channels", self.channels)?;
        counted("layers", self.layers)?;
        sized("groups", self.groups)?;
        if self.layers > MAX_LAYERS {
            return Err(NnError::TooManyLevels { levels: self.layers, max: MAX_LAYERS });
        }
        divides("groups", self.groups, 2 * self.channels, "the second layer")
    }

    /// The input's and the output's channels of each layer but the last.
    fn plan(&self) -> Vec<[usize; 2]> {
        let width = |layer: usize| self.channels << layer.min(3);
        let first = [self.in_channels, self.channels];
        std::iter::once(first).chain((1..=self.layers).map(|layer| [width(layer - 1), width(layer)])).collect()
    }

    /// The number of parameters, without making them.
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn num_params(&self) -> usize {
        let conv = |from: usize, to: usize| 16 * from * to + to;
        let plan = self.plan();
        let layers: usize = plan.iter().map(|&[from, to]| conv(from, to)).sum();
        let norms: usize = plan.iter().skip(1).map(|&[_, to]| 2 * to).sum();
        layers + norms + plan.last().map_or(0, |&[_, to]| conv(to, 1))
    }

    /// A network with random weights: N(0, 0.02^2), without bias.
    pub fn init(&self, device: &Device) -> Result<PatchDiscriminator, NnError> {
        self.validate()?;
        let plan = self.plan();
        let layer = |(index, &[from, to]): (usize, &[usize; 2])| {
            let stride = if index < self.layers { 2 } else { 1 };
            PatchLayer {
                conv: new_conv(from, to, stride, device),
                norm: (index > 0).then(|| new_norm(self.groups, to, device)),
            }
        };
        let last = plan.last().map_or(0, |&[_, to]| to);
        Ok(PatchDiscriminator {
            layers: plan.iter().enumerate().map(layer).collect(),
            conv_out: new_conv(last, 1, 1, device),
        })
    }
}

/// A 4x4 convolution, zero-padded by one pixel, whose bias starts at zero.
fn new_conv(from: usize, to: usize, stride: usize, device: &Device) -> Conv2d {
    let mut conv = Conv2dConfig::new([from, to], [4, 4])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
        .with_initializer(Initializer::Normal { mean: 0.0, std: DEVIATION })
        .init(device);
    conv.bias = Some(Initializer::Zeros.init([to], device));
    conv
}

/// Applies a convolution made by [`new_conv`].
fn conv(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    conv2d(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()), layer.stride, [1, 1])
}

/// A layer of a [`PatchDiscriminator`].
#[derive(Module, Debug)]
pub struct PatchLayer {
    /// 4x4, with stride 2 but in the last layer.
    pub conv: Conv2d,
    /// Over the output's channels, but in the first layer.
    pub norm: Option<GroupNorm>,
}

/// A discriminator without a view of the whole: one verdict for each patch of an image.
///
/// "PatchGAN" of Isola et al. 2017 (pix2pix, section 3.2.2), with group instead of batch normalization: so a verdict
/// does not depend on the other images of the batch, and there are no running statistics.
#[derive(Module, Debug)]
pub struct PatchDiscriminator {
    /// From the image on.
    pub layers: Vec<PatchLayer>,
    /// 4x4, to the verdicts.
    pub conv_out: Conv2d,
}

impl PatchDiscriminator {
    /// The verdicts: high where a patch looks real.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`
    /// - output: `[batch, 1, height', width']`, where `height' = height / 2^layers - 2` and likewise the width, for
    ///   multiples of 2^layers
    ///
    /// # Panics
    ///
    /// If `x` has another number of channels, or is too small for one verdict (height or width below 3 * 2^layers).
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = x;
        for layer in &self.layers {
            x = conv(&layer.conv, x); // [batch, channels * 2^layer, height', width']
            if let Some(layer) = &layer.norm {
                x = norm(layer, x); // [batch, channels * 2^layer, height', width']
            }
            x = leaky_relu(x, SLOPE); // [batch, channels * 2^layer, height', width']
        }
        conv(&self.conv_out, x) // [batch, 1, height / 2^layers - 2, width / 2^layers - 2]
    }
}

/// The discriminator's loss, from its verdicts on real images and on made ones:
/// `(mean(max(0, 1 - real)) + mean(max(0, 1 + fake))) / 2`.
///
/// The hinge loss of Lim and Ye 2017 ("Geometric GAN"), halved as in latent diffusion (Esser et
/// al. 2021). Detach the made images before: the discriminator's step is not the autoencoder's.
///
/// # Shapes
///
/// - `real`, `fake`: `[batch, 1, height, width]`, of [`PatchDiscriminator::forward`]
/// - output: `[1]`
pub fn discriminator_hinge_loss(real: Tensor<4>, fake: Tensor<4>) -> Tensor<1> {
    (relu(-real + 1.0).mean() + relu(fake + 1.0).mean()) * 0.5 // [1]
}

/// The maker's loss, from the discriminator's verdicts on what it made: `-mean(fake)`.
///
/// The hinge loss of Lim and Ye 2017 ("Geometric GAN"). Add it, with a weight, to an autoencoder's loss.
///
/// # Shapes
///
/// - `fake`: `[batch, 1, height, width]`, of [`PatchDiscriminator::forward`]
/// - output: `[1]`
pub fn generator_hinge_loss(fake: Tensor<4>) -> Tensor<1> {
    -fake.mean() // [1]
}
