//! The autoencoder of latent diffusion: images to small latents and back.
//!
//! Longer than other files, so that encoder and decoder, which mirror each other, are read side by side.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Initializer, Linear, PaddingConfig2d};
use burn::tensor::ops::PadMode;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use advect_kernels::conv2d;

use crate::attention::SelfAttention;
use crate::error::{NnError, counted, divides, sized};
use crate::layers::{conv, new_conv, norm_silu, nothing, widen};
use crate::residual::enlarge;

/// The shape of an [`AutoencoderKl`].
///
/// ```
/// use advect_nn::AutoencoderKlConfig;
///
/// let config = AutoencoderKlConfig::new(3, 64, vec![1, 2, 4], 8).with_blocks(1).with_latent_scale(0.0, 0.5);
/// assert!(config.validate().is_ok());
/// assert_eq!(config.factor(), 4);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoencoderKlConfig {
    /// The channels of the image: 1 for gray, 3 for color.
    pub in_channels: usize,
    /// The channels of the latents.
    pub latent_channels: usize,
    /// The base width.
    pub channels: usize,
    /// For each level, from the finest to the coarsest, its channels in units of `channels`.
    /// Each level has half the resolution of the one before; the coarsest is that of the latents.
    pub multipliers: Vec<usize>,
    /// The residual blocks of each level of the encoder; the decoder has one more. Default: 2.
    #[serde(default = "default_blocks")]
    pub blocks: usize,
    /// The groups of each group normalization. Default: 32.
    #[serde(default = "default_groups")]
    pub groups: usize,
    /// Whether there is attention (of one head) at the coarsest level. Default: yes.
    #[serde(default = "default_true")]
    pub attention: bool,
    /// Whether 1x1 convolutions come after the encoder and before the decoder: in the autoencoders of Stable Diffusion
    /// up to XL, not in later ones. Default: yes.
    #[serde(default = "default_true")]
    pub quant_convs: bool,
    /// A diffusion model sees `(z - shift) * scale`: the mean of the latents of the training images. Default: 0.
    #[serde(default)]
    pub shift: f64,
    /// A diffusion model sees `(z - shift) * scale`: one over the standard deviation of the latents of the training
    /// images (Rombach et al. 2022, appendix G). Default: 1.
    #[serde(default = "default_scale")]
    pub scale: f64,
}

fn default_blocks() -> usize {
    2
}

fn default_groups() -> usize {
    32
}

fn default_true() -> bool {
    true
}

fn default_scale() -> f64 {
    1.0
}

/// More levels than any image has octaves; keeps the downsampling factor representable.
const MAX_LEVELS: usize = 16;

/// The epsilon of every group normalization here.
const EPSILON: f64 = 1e-6;

/// The least and the greatest log-variance of a latent, as in the original.
const LOG_VARIANCE: [f64; 2] = [-30.0, 20.0];

/// One level: what `init` builds and `num_params` counts.
#[derive(Debug)]
struct LevelPlan {
    /// The input's and the output's channels of each block.
    blocks: Vec<[usize; 2]>,
    /// The channels of the convolution to the next level, but for the last one.
    resample: Option<usize>,
}

impl AutoencoderKlConfig {
    /// A network for images of `in_channels` channels, with base width `channels`, one level for each multiplier, and
    /// latents of `latent_channels` channels.
    pub fn new(in_channels: usize, channels: usize, multipliers: Vec<usize>, latent_channels: usize) -> Self {
        Self {
            in_channels,
            latent_channels,
            channels,
            multipliers,
            blocks: default_blocks(),
            groups: default_groups(),
            attention: true,
            quant_convs: true,
            shift: 0.0,
            scale: default_scale(),
        }
    }

    /// Of Stable Diffusion 1.x and 2.x, with its fine-tuned successors (`sd-vae-ft-mse`, `sd-vae-ft-ema`) that DiT and
    /// SiT use: 83.65 million parameters, 3 x 8n x 8m pixels to 4 x n x m.
    pub fn sd1() -> Self {
        Self::new(3, 128, vec![1, 2, 4, 4], 4).with_latent_scale(0.0, 0.18215)
    }

    /// Of Stable Diffusion XL: the network of [`sd1`](Self::sd1) with other weights and another scale.
    pub fn sdxl() -> Self {
        Self::sd1().with_latent_scale(0.0, 0.13025)
    }

    /// Of Stable Diffusion 3 and 3.5: 16 latent channels, no 1x1 convolutions, 83.82 million parameters.
    pub fn sd3() -> Self {
        Self::new(3, 128, vec![1, 2, 4, 4], 16).with_quant_convs(false).with_latent_scale(0.0609, 1.5305)
    }

    /// Of FLUX.1: the network of [`sd3`](Self::sd3) with other weights, another shift and scale.
    pub fn flux() -> Self {
        Self::sd3().with_latent_scale(0.1159, 0.3611)
    }

    /// For the 28x28 gray digits of MNIST: 1 x 28 x 28 pixels to 4 x 7 x 7, 0.24 million parameters.
    ///
    /// Its shift and scale are 0 and 1: measure the latents of the training images once it is trained, and set them.
    pub fn mnist() -> Self {
        Self::new(1, 16, vec![1, 2, 2], 4).with_blocks(1).with_groups(8).with_quant_convs(false)
    }

    /// Sets the residual blocks of each level of the encoder.
    pub fn with_blocks(mut self, blocks: usize) -> Self {
        self.blocks = blocks;
        self
    }

    /// Sets the groups of each group normalization.
    pub fn with_groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Sets whether there is attention at the coarsest level.
    pub fn with_attention(mut self, attention: bool) -> Self {
        self.attention = attention;
        self
    }

    /// Sets whether 1x1 convolutions come after the encoder and before the decoder.
    pub fn with_quant_convs(mut self, quant_convs: bool) -> Self {
        self.quant_convs = quant_convs;
        self
    }

    /// Sets what a diffusion model sees of the latents: `(z - shift) * scale`.
    pub fn with_latent_scale(mut self, shift: f64, scale: f64) -> Self {
        self.shift = shift;
        self.scale = scale;
        self
    }

    /// Checks that the configuration describes a network.
    pub fn validate(&self) -> Result<(), NnError> {
        sized("in_channels", self.in_channels)?;
        sized("latent_channels", self.latent_channels)?;
        sized("channels", self.channels)?;
        counted("blocks", self.blocks)?;
        sized("groups", self.groups)?;
        if self.multipliers.is_empty() {
            return Err(NnError::Empty { field: "multipliers" });
        }
        if self.multipliers.len() > MAX_LEVELS {
            return Err(NnError::TooManyLevels { levels: self.multipliers.len(), max: MAX_LEVELS });
        }
        for &multiplier in &self.multipliers {
            sized("multipliers", multiplier)?;
            sized("multipliers * channels", multiplier * self.channels)?;
            divides("groups", self.groups, multiplier * self.channels, "a level")?;
        }
        if !(self.scale.is_finite() && self.scale > 0.0) {
            return Err(NnError::LatentScale { field: "scale", value: self.scale });
        }
        if !self.shift.is_finite() {
            return Err(NnError::LatentScale { field: "shift", value: self.shift });
        }
        Ok(())
    }

    /// How many pixels of the image, along each side, one pixel of the latents stands for: 2^(levels - 1).
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn factor(&self) -> usize {
        1 << self.multipliers.len().saturating_sub(1)
    }

    /// The channels of each level, from the finest to the coarsest.
    fn widths(&self) -> Vec<usize> {
        self.multipliers.iter().map(|multiplier| multiplier * self.channels).collect()
    }

    /// The levels of the encoder, and those of the decoder, in the order in which they run.
    fn plan(&self) -> (Vec<LevelPlan>, Vec<LevelPlan>) {
        fn plan(widths: &[usize], blocks: usize) -> Vec<LevelPlan> {
            let before = widths.first().into_iter().chain(widths);
            let level = |(index, (&from, &to)): (usize, (&usize, &usize))| LevelPlan {
                blocks: (0..blocks).map(|block| [if block == 0 { from } else { to }, to]).collect(),
                resample: (index + 1 < widths.len()).then_some(to),
            };
            before.zip(widths).enumerate().map(level).collect()
        }
        let mut widths = self.widths();
        let down = plan(&widths, self.blocks);
        widths.reverse();
        (down, plan(&widths, self.blocks + 1))
    }

    /// The channels of the finest level and of the coarsest; 0 without levels.
    fn ends(&self) -> [usize; 2] {
        let widths = self.widths();
        [widths.first(), widths.last()].map(|end| end.copied().unwrap_or(0))
    }

    /// The number of parameters, without making them.
    ///
    /// Meaningful for a configuration that [`validate`](Self::validate) accepts.
    pub fn num_params(&self) -> usize {
        let conv = |from: usize, to: usize, kernel: usize| from * to * kernel * kernel + to;
        let norm = |channels: usize| 2 * channels;
        let block = |[from, to]: [usize; 2]| {
            let shortcut = if from == to { 0 } else { conv(from, to, 1) };
            norm(from) + conv(from, to, 3) + norm(to) + conv(to, to, 3) + shortcut
        };
        let level = |plan: &LevelPlan| {
            let blocks: usize = plan.blocks.iter().copied().map(block).sum();
            blocks + plan.resample.map_or(0, |channels| conv(channels, channels, 3))
        };

        let ([fine, coarse], latent) = (self.ends(), self.latent_channels);
        let attention = if self.attention { norm(coarse) + 4 * conv(coarse, coarse, 1) } else { 0 };
        let middle = 2 * block([coarse, coarse]) + attention;
        let (down, up) = self.plan();
        let encoder = conv(self.in_channels, fine, 3) + norm(coarse) + conv(coarse, 2 * latent, 3);
        let decoder = conv(latent, coarse, 3) + norm(fine) + conv(fine, self.in_channels, 3);
        let quant = if self.quant_convs { conv(2 * latent, 2 * latent, 1) + conv(latent, latent, 1) } else { 0 };
        encoder + decoder + down.iter().chain(&up).map(level).sum::<usize>() + 2 * middle + quant
    }

    /// A network with random weights. Each residual branch starts at zero.
    pub fn init(&self, device: &Device) -> Result<AutoencoderKl, NnError> {
        self.validate()?;
        let level = |plan: &LevelPlan, down: bool| CoderLevel {
            blocks: plan.blocks.iter().map(|&shape| CoderBlock::new(shape, self.groups, device)).collect(),
            resample: plan.resample.map(|channels| {
                if down { new_halving(channels, device) } else { new_conv(channels, channels, 3, 1, device) }
            }),
        };
        let ([fine, coarse], latent) = (self.ends(), self.latent_channels);
        let middle = || CoderMiddle {
            block1: CoderBlock::new([coarse, coarse], self.groups, device),
            attention: self.attention.then(|| SelfAttention {
                norm: new_norm(self.groups, coarse, device),
                ..SelfAttention::new(coarse, self.groups, coarse, device)
            }),
            block2: CoderBlock::new([coarse, coarse], self.groups, device),
        };
        let quant = |channels| self.quant_convs.then(|| new_conv(channels, channels, 1, 1, device));

        let (down, up) = self.plan();
        let network = AutoencoderKl {
            encoder: Encoder {
                conv_in: new_conv(self.in_channels, fine, 3, 1, device),
                down: down.iter().map(|plan| level(plan, true)).collect(),
                middle: middle(),
                norm_out: new_norm(self.groups, coarse, device),
                conv_out: new_conv(coarse, 2 * latent, 3, 1, device),
            },
            quant_conv: quant(2 * latent),
            post_quant_conv: quant(latent),
            decoder: Decoder {
                conv_in: new_conv(latent, coarse, 3, 1, device),
                middle: middle(),
                up: up.iter().map(|plan| level(plan, false)).collect(),
                norm_out: new_norm(self.groups, fine, device),
                conv_out: new_conv(fine, self.in_channels, 3, 1, device),
            },
            shift: self.shift,
            scale: self.scale,
        };
        Ok(initialize(network, device))
    }
}

/// Everything about a new network's weights that differs from Burn's defaults, which are PyTorch's.
///
/// The last layer of each residual branch (a block's second convolution, an attention's output) is zero, weight and
/// bias, so that each branch is the identity at first and the depth does not amplify signal or gradient, as in the
/// U-Net. The last convolutions of encoder and decoder are not: from zero latents the decoder could tell the encoder
/// nothing.
fn initialize(mut network: AutoencoderKl, device: &Device) -> AutoencoderKl {
    // Made anew rather than filled: a weight that nobody has looked at yet stays unallocated.
    let zero_block = |block: &mut CoderBlock| {
        block.conv2.weight = Initializer::Zeros.init(block.conv2.weight.lazy_shape(), device);
        block.conv2.bias = block.conv2.bias.as_ref().map(|bias| Initializer::Zeros.init(bias.lazy_shape(), device));
    };
    let zero_linear = |layer: &mut Linear| {
        layer.weight = Initializer::Zeros.init(layer.weight.lazy_shape(), device);
        layer.bias = layer.bias.as_ref().map(|bias| Initializer::Zeros.init(bias.lazy_shape(), device));
    };

    for level in network.encoder.down.iter_mut().chain(&mut network.decoder.up) {
        level.blocks.iter_mut().for_each(zero_block);
    }
    for middle in [&mut network.encoder.middle, &mut network.decoder.middle] {
        zero_block(&mut middle.block1);
        middle.attention.iter_mut().for_each(|attention| zero_linear(&mut attention.out));
        zero_block(&mut middle.block2);
    }
    network
}

/// A group normalization with the epsilon of autoencoders.
fn new_norm(groups: usize, channels: usize, device: &Device) -> GroupNorm {
    GroupNormConfig::new(groups, channels).with_epsilon(EPSILON).init(device)
}

/// A 3x3 convolution with stride 2, zero-padded at the right and the bottom only.
fn new_halving(channels: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([channels, channels], [3, 3])
        .with_stride([2, 2])
        .with_padding(PaddingConfig2d::Explicit(0, 0, 1, 1))
        .init(device)
}

/// Applies a convolution made by [`new_halving`] to even heights and widths.
fn halve(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let x = x.pad([(0, 1), (0, 1)], PadMode::Constant(0.0)); // [batch, channels, height + 1, width + 1]
    let bias = layer.bias.as_ref().map(|bias| bias.val());
    conv2d(x, layer.weight.val(), bias, layer.stride, [0, 0]) // [batch, channels, height / 2, width / 2]
}

/// Two convolutions with a residual connection: `x + conv2(silu(norm2(conv1(silu(norm1(x))))))`.
///
/// `ResnetBlock2D` of diffusers without a time embedding. The last convolution is zero at first.
#[derive(Module, Debug)]
pub struct CoderBlock {
    /// Over the input's channels.
    pub norm1: GroupNorm,
    /// 3x3, input's to output's channels.
    pub conv1: Conv2d,
    /// Over the output's channels.
    pub norm2: GroupNorm,
    /// 3x3, zero at first.
    pub conv2: Conv2d,
    /// 1x1, where the number of channels changes.
    pub shortcut: Option<Conv2d>,
}

impl CoderBlock {
    /// A block from `from` channels to `to` channels, both of which `groups` divides.
    fn new([from, to]: [usize; 2], groups: usize, device: &Device) -> Self {
        Self {
            norm1: new_norm(groups, from, device),
            conv1: new_conv(from, to, 3, 1, device),
            norm2: new_norm(groups, to, device),
            conv2: new_conv(to, to, 3, 1, device),
            shortcut: (from != to).then(|| new_conv(from, to, 1, 1, device)),
        }
    }

    /// The block's output.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, from, height, width]`
    /// - output: `[batch, to, height, width]`
    ///
    /// # Panics
    ///
    /// If `x` has another number of channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = norm_silu(&self.norm1, x.clone()); // [batch, from, height, width]
        let h = conv(&self.conv1, h); // [batch, to, height, width]
        let h = norm_silu(&self.norm2, h); // [batch, to, height, width]
        let h = conv(&self.conv2, h); // [batch, to, height, width]
        let x = match &self.shortcut {
            Some(shortcut) => conv(shortcut, x), // [batch, to, height, width]
            None => x,                           // [batch, to, height, width]
        };
        x + h // [batch, to, height, width]
    }
}

/// The blocks at one resolution, of an encoder or a decoder.
#[derive(Module, Debug)]
pub struct CoderLevel {
    /// The residual blocks.
    pub blocks: Vec<CoderBlock>,
    /// 3x3, to the next level, but for the last one: with stride 2 in an encoder, after a doubling in a decoder.
    pub resample: Option<Conv2d>,
}

impl CoderLevel {
    fn blocks(&self, x: Tensor<4>) -> Tensor<4> {
        self.blocks.iter().fold(x, |x, block| block.forward(x)) // [batch, channels, height, width]
    }

    /// To the next coarser level.
    fn down(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks(x); // [batch, channels, height, width]
        match &self.resample {
            Some(layer) => halve(layer, x), // [batch, channels, height / 2, width / 2]
            None => x,                      // [batch, channels, height, width]
        }
    }

    /// To the next finer level.
    fn up(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks(x); // [batch, channels, height, width]
        let [_, _, height, width] = x.dims();
        match &self.resample {
            Some(layer) => conv(layer, enlarge(x, [2 * height, 2 * width])), // [batch, channels, 2 * height, 2 * width]
            None => x,                                                       // [batch, channels, height, width]
        }
    }
}

/// What an encoder or a decoder does at the coarsest level: a block, attention, a block.
#[derive(Module, Debug)]
pub struct CoderMiddle {
    /// The first block.
    pub block1: CoderBlock,
    /// Attention of one head between the two.
    pub attention: Option<SelfAttention>,
    /// The second block.
    pub block2: CoderBlock,
}

impl CoderMiddle {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.block1.forward(x); // [batch, channels, height, width]
        let x = match &self.attention {
            Some(attention) => attention.forward(x), // [batch, channels, height, width]
            None => x,                               // [batch, channels, height, width]
        };
        self.block2.forward(x) // [batch, channels, height, width]
    }
}

/// From an image to the mean and the log-variance of its latents.
#[derive(Module, Debug)]
pub struct Encoder {
    /// 3x3, from the image.
    pub conv_in: Conv2d,
    /// From the finest level to the coarsest.
    pub down: Vec<CoderLevel>,
    /// The coarsest level.
    pub middle: CoderMiddle,
    /// Before the last convolution.
    pub norm_out: GroupNorm,
    /// 3x3, to means and log-variances.
    pub conv_out: Conv2d,
}

impl Encoder {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let mut x = conv(&self.conv_in, x); // [batch, channels * multiplier, height, width]
        for level in &self.down {
            x = level.down(x); // [batch, channels * multiplier, height', width']
        }
        let x = self.middle.forward(x); // [batch, channels * multiplier, height / factor, width / factor]
        let x = norm_silu(&self.norm_out, x); // [batch, channels * multiplier, height / factor, width / factor]
        conv(&self.conv_out, x) // [batch, 2 * latent_channels, height / factor, width / factor]
    }
}

/// From latents to an image.
#[derive(Module, Debug)]
pub struct Decoder {
    /// 3x3, from the latents.
    pub conv_in: Conv2d,
    /// The coarsest level.
    pub middle: CoderMiddle,
    /// From the coarsest level to the finest.
    pub up: Vec<CoderLevel>,
    /// Before the last convolution.
    pub norm_out: GroupNorm,
    /// 3x3, to the image.
    pub conv_out: Conv2d,
}

impl Decoder {
    fn forward(&self, z: Tensor<4>) -> Tensor<4> {
        let x = conv(&self.conv_in, z); // [batch, channels * multiplier, height, width]
        let mut x = self.middle.forward(x); // [batch, channels * multiplier, height, width]
        for level in &self.up {
            x = level.up(x); // [batch, channels * multiplier, height', width']
        }
        let x = norm_silu(&self.norm_out, x); // [batch, channels * multiplier, factor * height, factor * width]
        conv(&self.conv_out, x) // [batch, in_channels, factor * height, factor * width]
    }
}

/// An autoencoder whose latents are Gaussian: residual blocks down to a coarse resolution, and others up again.
///
/// The first stage of latent diffusion (Rombach et al. 2022, section 3.1 and appendix G, "KL-reg."): diffusers'
/// `AutoencoderKL`, with which the tests compare it, and CompVis' class of the same name. Values of images are usually
/// in `[-1, 1]`.
///
/// ```
/// use advect_nn::AutoencoderKlConfig;
/// use burn::tensor::{Device, Distribution, Tensor};
///
/// # fn main() -> Result<(), advect_nn::NnError> {
/// let device = Device::flex();
/// let autoencoder = AutoencoderKlConfig::mnist().init(&device)?;
///
/// let x = Tensor::<4>::random([2, 1, 28, 28], Distribution::Uniform(-1.0, 1.0), &device);
/// let z = autoencoder.latents(x); // [batch, latent_channels, height / factor, width / factor]
/// assert_eq!(z.dims(), [2, 4, 7, 7]);
/// let x = autoencoder.decode_latents(z); // [batch, channels, height, width]
/// assert_eq!(x.dims(), [2, 1, 28, 28]);
/// # Ok(())
/// # }
/// ```
#[derive(Module, Debug)]
pub struct AutoencoderKl {
    /// From an image to the mean and the log-variance of its latents.
    pub encoder: Encoder,
    /// 1x1, after the encoder.
    pub quant_conv: Option<Conv2d>,
    /// 1x1, before the decoder.
    pub post_quant_conv: Option<Conv2d>,
    /// From latents to an image.
    pub decoder: Decoder,
    /// What [`normalize`](Self::normalize) takes away from a latent.
    pub shift: f64,
    /// What [`normalize`](Self::normalize) multiplies with after.
    pub scale: f64,
}

impl AutoencoderKl {
    /// How many pixels of the image, along each side, one pixel of the latents stands for: 2^(levels - 1).
    pub fn factor(&self) -> usize {
        1 << self.encoder.down.len().saturating_sub(1)
    }

    /// The distribution of the latents of each image.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`, height and width multiples of [`factor`](Self::factor)
    /// - output: of `[batch, latent_channels, height / factor, width / factor]`
    ///
    /// # Panics
    ///
    /// If `x` has another number of channels, or its height or width is no multiple of the factor.
    pub fn encode(&self, x: Tensor<4>) -> LatentDistribution {
        let ([batch, _, height, width], factor) = (x.dims(), self.factor());
        assert!(
            height.is_multiple_of(factor) && width.is_multiple_of(factor),
            "an autoencoder that shrinks images {factor} times cannot encode {height} x {width}: crop or resize to \
             multiples of {factor}"
        );
        if batch == 0 {
            let latent = self.encoder.conv_out.weight.dims()[0] / 2;
            let z = nothing(&x, [0, latent, height / factor, width / factor]); // [0, latent_channels, height', width']
            return LatentDistribution::new(z.clone(), z);
        }
        let x = self.encoder.forward(x); // [batch, 2 * latent_channels, height / factor, width / factor]
        let x = match &self.quant_conv {
            Some(layer) => conv(layer, x), // [batch, 2 * latent_channels, height / factor, width / factor]
            None => x,                     // [batch, 2 * latent_channels, height / factor, width / factor]
        };
        let latent = x.dims()[1] / 2;
        LatentDistribution::new(x.clone().narrow(1, 0, latent), x.narrow(1, latent, latent))
    }

    /// The images of latents, which are not [normalized](Self::normalize).
    ///
    /// # Shapes
    ///
    /// - `z`: `[batch, latent_channels, height, width]`
    /// - output: `[batch, in_channels, factor * height, factor * width]`
    ///
    /// # Panics
    ///
    /// If `z` has another number of channels.
    pub fn decode(&self, z: Tensor<4>) -> Tensor<4> {
        let ([batch, _, height, width], factor) = (z.dims(), self.factor());
        if batch == 0 {
            let channels = self.decoder.conv_out.weight.dims()[0];
            return nothing(&z, [0, channels, factor * height, factor * width]); // [0, in_channels, height', width']
        }
        let z = match &self.post_quant_conv {
            Some(layer) => conv(layer, z), // [batch, latent_channels, height, width]
            None => z,                     // [batch, latent_channels, height, width]
        };
        self.decoder.forward(z) // [batch, in_channels, factor * height, factor * width]
    }

    /// Latents as a diffusion model sees them: `(z - shift) * scale`, which is about standard normal.
    ///
    /// # Shapes
    ///
    /// - `z`: `[batch, latent_channels, height, width]`, and so is the output
    pub fn normalize(&self, z: Tensor<4>) -> Tensor<4> {
        (z - self.shift) * self.scale
    }

    /// The inverse of [`normalize`](Self::normalize): `z / scale + shift`.
    ///
    /// # Shapes
    ///
    /// - `z`: `[batch, latent_channels, height, width]`, and so is the output
    pub fn denormalize(&self, z: Tensor<4>) -> Tensor<4> {
        z / self.scale + self.shift
    }

    /// Images as a diffusion model sees them: the [normalized](Self::normalize) mean of their latents.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, in_channels, height, width]`, height and width multiples of [`factor`](Self::factor)
    /// - output: `[batch, latent_channels, height / factor, width / factor]`
    ///
    /// # Panics
    ///
    /// As [`encode`](Self::encode).
    pub fn latents(&self, x: Tensor<4>) -> Tensor<4> {
        self.normalize(self.encode(x).mean())
    }

    /// The images of what a diffusion model gives: [`decode`](Self::decode) of [`denormalize`](Self::denormalize).
    ///
    /// # Shapes
    ///
    /// - `z`: `[batch, latent_channels, height, width]`
    /// - output: `[batch, in_channels, factor * height, factor * width]`
    ///
    /// # Panics
    ///
    /// If `z` has another number of channels.
    pub fn decode_latents(&self, z: Tensor<4>) -> Tensor<4> {
        self.decode(self.denormalize(z))
    }
}

/// What an encoder says about each image: latents that are independent and Gaussian (Kingma and Welling 2014,
/// appendix B).
#[derive(Debug, Clone)]
pub struct LatentDistribution {
    mean: Tensor<4>,
    log_variance: Tensor<4>,
}

impl LatentDistribution {
    /// Gaussians with these means, and these log-variances clamped to `[-30, 20]`.
    ///
    /// # Shapes
    ///
    /// - `mean`, `log_variance`: `[batch, latent_channels, height, width]`
    pub fn new(mean: Tensor<4>, log_variance: Tensor<4>) -> Self {
        let [least, greatest] = LOG_VARIANCE;
        Self { mean, log_variance: log_variance.clamp(least, greatest) }
    }

    /// The means, which are the most likely latents: `[batch, latent_channels, height, width]`.
    pub fn mean(&self) -> Tensor<4> {
        self.mean.clone()
    }

    /// The logarithms of the variances, in `[-30, 20]`: `[batch, latent_channels, height, width]`.
    pub fn log_variance(&self) -> Tensor<4> {
        self.log_variance.clone()
    }

    /// Latents drawn with standard normal `noise`: `mean + exp(log_variance / 2) * noise` (Kingma and Welling 2014,
    /// section 2.4).
    ///
    /// # Shapes
    ///
    /// - `noise`: `[batch, latent_channels, height, width]`, and so is the output
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean() + (self.log_variance() * 0.5).exp() * noise
    }

    /// The Kullback-Leibler divergence from the standard normal distribution, in nats: the sum over an image's latents
    /// of `(mean^2 + exp(log_variance) - log_variance - 1) / 2` (Kingma and Welling 2014, appendix B).
    ///
    /// # Shapes
    ///
    /// - output: `[batch]`, in f32 for half-precision latents
    pub fn kl(&self) -> Tensor<1> {
        self.divergence().sum_dims_squeeze(&[1, 2, 3]) * 0.5 // [batch]
    }

    /// Twice the divergence of each latent: `[batch, latent_channels, height, width]`. In f32 for half precision: the
    /// greatest variance, e^20, is beyond f16.
    pub(crate) fn divergence(&self) -> Tensor<4> {
        let (mean, log_variance) = (widen(self.mean()), widen(self.log_variance()));
        mean.square() + log_variance.clone().exp() - log_variance - 1.0
    }
}
