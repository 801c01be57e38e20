//! Self-attention between the pixels of an image.

use burn::module::Module;
use burn::nn::{GroupNorm, Linear, LinearConfig};
use burn::tensor::{Device, Tensor};

use advect_kernels::self_attention;

use crate::layers::{image_of, linear, new_norm, norm, pixels_of};

/// Multi-head self-attention over the pixels of a feature map, with a residual connection.
///
/// Dhariwal and Nichol 2021 (`AttentionBlock` of guided-diffusion in its new order: queries, keys and values are split
/// first, heads after); diffusers' `Attention` holds the three parts of `qkv` as `to_q`, `to_k`, `to_v`.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Over the channels.
    pub norm: GroupNorm,
    /// `[channels, 3 * channels]`: queries, keys, values, each ordered by head.
    pub qkv: Linear,
    /// `[channels, channels]`, zero at first.
    pub out: Linear,
    /// The channels of each head.
    pub head_channels: usize,
}

impl SelfAttention {
    /// Attention over `channels`, which `groups` and `head_channels` divide.
    pub(crate) fn new(channels: usize, groups: usize, head_channels: usize, device: &Device) -> Self {
        Self {
            norm: new_norm(groups, channels, device),
            qkv: LinearConfig::new(channels, 3 * channels).init(device),
            out: LinearConfig::new(channels, channels).init(device),
            head_channels,
        }
    }

    /// Adds to each pixel what it finds in the others.
    ///
    /// # Shapes
    ///
    /// - `x`: `[batch, channels, height, width]`
    /// - output: `[batch, channels, height, width]`
    ///
    /// # Panics
    ///
    /// If `x` has another number of channels.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        if batch == 0 {
            return x; // [0, channels, height, width]
        }
        let y = pixels_of(norm(&self.norm, x.clone())); // [batch, pixels, channels]
        let y = linear(&self.qkv, y); // [batch, pixels, 3 * channels]
        let y = self_attention(y, channels / self.head_channels); // [batch, pixels, channels]
        x + image_of(linear(&self.out, y), [height, width]) // [batch, channels, height, width]
    }
}
