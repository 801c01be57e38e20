//! The residual block of a U-Net, and the two ways to change the resolution.

use advect_kernels::{columns, on_processor, row_major};
use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{GroupNorm, Linear, LinearConfig};
use burn::tensor::module::{avg_pool2d, interpolate};
use burn::tensor::ops::{AvgPoolOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::layers::{conv, conv_and_shift, linear, modulated_norm_silu, new_conv, new_norm, norm_silu, shift_channels};

/// How time and class enter a residual block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditioning {
    /// Added to the features between the two convolutions (Ho et al. 2020).
    Add,
    /// A scale and a shift of the normalized features: `norm(h) (1 + scale) + shift`
    /// (Dhariwal and Nichol 2021, equation 4, "adaptive group normalization").
    ScaleShift,
}

/// How a U-Net goes from one resolution to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resampling {
    /// Down: a 3x3 convolution with stride 2. Up: nearest neighbors, then a 3x3 convolution (Ho et al. 2020).
    Conv,
    /// A residual block that pools (down) or repeats (up) the pixels of both of its branches
    /// (Song et al. 2021, "BigGAN blocks"). Needs heights and widths that can be halved at each level.
    ResidualBlock,
}

/// What a residual block does to the resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Nothing.
    Keep,
    /// Halves it: the mean of each 2x2 block of pixels.
    Down,
    /// Doubles it: each pixel four times.
    Up,
}

/// Two convolutions with a residual connection, told the time and the class in between.
///
/// `ResBlock` of guided-diffusion, `ResnetBlock2D` of diffusers:
/// `x + conv2(silu(modulated norm2(conv1(silu(norm1(x))))))`. The last convolution is zero at first.
#[derive(Module, Debug)]
pub struct ResidualBlock {
    /// Over the input's channels.
    pub norm1: GroupNorm,
    /// 3x3, input's to output's channels.
    pub conv1: Conv2d,
    /// From the embedding to what modulates: `[embedding, to]` or `[embedding, 2 * to]` (scale, then shift).
    pub embedding: Linear,
    /// Over the output's channels.
    pub norm2: GroupNorm,
    /// 3x3, zero at first.
    pub conv2: Conv2d,
    /// 1x1, where the number of channels changes.
    pub shortcut: Option<Conv2d>,
    /// How the embedding enters.
    #[module(skip)]
    pub conditioning: Conditioning,
    /// What happens to the resolution.
    #[module(skip)]
    pub resize: Resize,
}

/// The widths that the blocks of one network share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockShape {
    pub(crate) embedding: usize,
    pub(crate) groups: usize,
    pub(crate) conditioning: Conditioning,
}

impl ResidualBlock {
    /// A block from `from` channels to `to` channels, both of which `shape.groups` divides.
    pub(crate) fn new(from: usize, to: usize, shape: BlockShape, resize: Resize, device: &Device) -> Self {
        let modulation = match shape.conditioning {
            Conditioning::Add => to,
            Conditioning::ScaleShift => 2 * to,
        };
        Self {
            norm1: new_norm(shape.groups, from, device),
            conv1: new_conv(from, to, 3, 1, device),
            embedding: LinearConfig::new(shape.embedding, modulation).init(device),
            norm2: new_norm(shape.groups, to, device),
            conv2: new_conv(to, to, 3, 1, device),
            shortcut: (from != to).then(|| new_conv(from, to, 1, 1, device)),
            conditioning: shape.conditioning,
            resize,
        }
    }

    /// The block's output.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, from, height, width]`
    /// - `embedding`: `[batch, embedding]` or `[1, embedding]`, SiLU already applied
    /// - output: `[batch, to, height, width]`, height and width halved or doubled if the block does that
    ///
    /// # Panics
    ///
    /// If the shapes disagree, or if a block that halves the resolution gets an odd height or width.
    pub fn forward(&self, x: Tensor<4>, embedding: Tensor<2>) -> Tensor<4> {
        let h = self.resize(norm_silu(&self.norm1, x.clone())); // [batch, from, height', width']
        let x = self.resize(x); // [batch, from, height', width']

        let e = linear(&self.embedding, embedding); // [batch or 1, to or 2 * to]
        let [rows, size] = e.dims();
        let h = match self.conditioning {
            // On a card what all images share is part of the bias, and no pass of its own over the features. (On the processor an image's bits do not depend on
            // whether others of its batch share its time.)
            Conditioning::Add if rows == 1 && !on_processor(&h) => {
                norm_silu(&self.norm2, conv_and_shift(&self.conv1, h, e.reshape([size]))) // [batch, to, height', width']
            }
            Conditioning::Add => {
                let h = shift_channels(conv(&self.conv1, h), e); // [batch, to, height', width']
                norm_silu(&self.norm2, h) // [batch, to, height', width']
            }
            Conditioning::ScaleShift => {
                let h = conv(&self.conv1, h); // [batch, to, height', width']
                let parts = columns(e, 2); // scale and shift, each [batch or 1, to]
                modulated_norm_silu(&self.norm2, h, parts[1].clone(), parts[0].clone()) // [batch, to, height', width']
            }
        };
        let h = conv(&self.conv2, h); // [batch, to, height', width']

        let x = match &self.shortcut {
            Some(shortcut) => conv(shortcut, x), // [batch, to, height', width']
            None => x,                           // [batch, to, height', width']
        };
        x + h // [batch, to, height', width']
    }

    fn resize(&self, x: Tensor<4>) -> Tensor<4> {
        match self.resize {
            Resize::Keep => x,        // [batch, channels, height, width]
            Resize::Down => halve(x), // [batch, channels, height / 2, width / 2]
            Resize::Up => {
                let [_, _, height, width] = x.dims();
                enlarge(x, [2 * height, 2 * width]) // [batch, channels, 2 * height, 2 * width]
            }
        }
    }
}

/// The step between two levels of a U-Net.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a network has a handful of these")]
pub enum Resample {
    /// [`Resampling::Conv`].
    Conv(Conv2d),
    /// [`Resampling::ResidualBlock`].
    Block(ResidualBlock),
}

impl Resample {
    /// A step for `channels`; `resize` is [`Resize::Down`] or [`Resize::Up`].
    pub(crate) fn new(kind: Resampling, channels: usize, shape: BlockShape, resize: Resize, device: &Device) -> Self {
        let stride = if resize == Resize::Down { 2 } else { 1 };
        match kind {
            Resampling::Conv => Self::Conv(new_conv(channels, channels, 3, stride, device)),
            Resampling::ResidualBlock => Self::Block(ResidualBlock::new(channels, channels, shape, resize, device)),
        }
    }

    /// To the next coarser level; `Conv` rounds an odd size up.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - `embedding`: `[batch, embedding]` or `[1, embedding]`, SiLU already applied
    /// - output: `[batch, channels, ceil(height / 2), ceil(width / 2)]`
    ///
    /// # Panics
    ///
    /// If a residual block gets an odd height or width.
    pub fn down(&self, x: Tensor<4>, embedding: Tensor<2>) -> Tensor<4> {
        match self {
            Self::Conv(layer) => conv(layer, x), // [batch, channels, ceil(height / 2), ceil(width / 2)]
            Self::Block(block) => block.forward(x, embedding), // [batch, channels, height / 2, width / 2]
        }
    }

    /// To the next finer level, whose height and width are `size`: twice as large, or one less where the way down
    /// rounded up.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - `embedding`: `[batch, embedding]` or `[1, embedding]`, SiLU already applied
    /// - output: `[batch, channels, size[0], size[1]]`
    pub fn up(&self, x: Tensor<4>, embedding: Tensor<2>, size: [usize; 2]) -> Tensor<4> {
        match self {
            Self::Conv(layer) => conv(layer, enlarge(x, size)), // [batch, channels, size[0], size[1]]
            Self::Block(block) => block.forward(x, embedding),  // [batch, channels, size[0], size[1]]
        }
    }
}

/// The mean of each 2x2 block of pixels.
///
/// # Panics
///
/// If the height or width is odd: the way back up would not know the size.
fn halve(x: Tensor<4>) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    assert!(
        height.is_multiple_of(2) && width.is_multiple_of(2),
        "a residual block cannot halve {height} x {width}: use heights and widths that are multiples of \
         2^(levels - 1), or `Resampling::Conv`"
    );
    row_major(avg_pool2d(row_major(x), AvgPoolOptions::new([2, 2]).with_stride([2, 2]))) // [batch, channels, height / 2, width / 2]
}

/// The nearest pixel, on a grid of `size`.
pub(crate) fn enlarge(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    // For sizes of 2 n or 2 n - 1 this repeats each pixel twice and drops the surplus (pixel i comes from i / 2).
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_align_corners(false).with_output_size(size);
    row_major(interpolate(row_major(x), options)) // [batch, channels, ..size]
}
