//! Burn's parameter structs on this project's kernels.
//!
//! The structs stay Burn's, so that records and parameter names look familiar; what runs is a function call.

use advect_kernels::{conv2d, group_norm, group_norm_silu, modulated_group_norm_silu, on_processor, permute, silu};
use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Initializer, Linear, PaddingConfig2d};
use burn::tensor::{DType, Device, Tensor};

/// Half precision as f32, for what needs more digits than it has: an angle of 999 radians in bf16 is off by two of them.
pub(crate) fn widen<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

/// `x` as numbers of this type.
pub(crate) fn cast<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// A convolution with a `kernel` x `kernel` window (odd), zero-padded by half of it.
pub(crate) fn new_conv(from: usize, to: usize, kernel: usize, stride: usize, device: &Device) -> Conv2d {
    let pad = kernel / 2;
    Conv2dConfig::new([from, to], [kernel, kernel])
        .with_stride([stride, stride])
        .with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad))
        .init(device)
}

/// A group normalization with the usual epsilon of 1e-5.
pub(crate) fn new_norm(groups: usize, channels: usize, device: &Device) -> GroupNorm {
    GroupNormConfig::new(groups, channels).init(device)
}

/// What a backbone makes of no images: nothing, of this shape. A matrix product of Flex that had no rows was seen to
/// read memory that it does not own, so no linear layer and no attention may see them.
pub(crate) fn nothing<const D: usize, const E: usize>(x: &Tensor<D>, shape: [usize; E]) -> Tensor<E> {
    Tensor::zeros(shape, (&x.device(), x.dtype()))
}

/// Zeros in the place of a weight, made as late as any weight: when they are first used.
pub(crate) fn zeroed<const D: usize>(weight: &Param<Tensor<D>>) -> Param<Tensor<D>> {
    Initializer::Zeros.init(weight.lazy_shape(), &weight.lazy_device())
}

/// The channels of two images, one behind the other.
///
/// Convolutions on a card make images whose channels lie side by side, and want them so: joined in that order, nothing is copied into another.
///
/// # Shapes
///
/// - `x`: `[batch, m, height, width]`, `y`: `[batch, n, height, width]`
/// - output: `[batch, m + n, height, width]`
pub(crate) fn join_channels(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    if on_processor(&x) {
        return Tensor::cat(vec![x, y], 1); // [batch, m + n, height, width]
    }
    let last = [x, y].map(|x| permute(x, [0, 2, 3, 1])); // [batch, height, width, m or n]
    permute(Tensor::cat(last.into(), 3), [0, 3, 1, 2]) // [batch, m + n, height, width]
}

/// `x` plus a number for each channel.
///
/// # Shapes
///
/// - `x` and output: `[batch, channels, height, width]`
/// - `shift`: `[batch or 1, channels]`
pub(crate) fn shift_channels(x: Tensor<4>, shift: Tensor<2>) -> Tensor<4> {
    let [rows, channels] = shift.dims();
    if on_processor(&x) {
        return x + shift.reshape([rows, channels, 1, 1]); // [batch, channels, height, width]
    }
    // In the order in which both lie, see `join_channels`: so a card reads several numbers at a time.
    let x = permute(x, [0, 2, 3, 1]) + shift.reshape([rows, 1, 1, channels]); // [batch, height, width, channels]
    permute(x, [0, 3, 1, 2]) // [batch, channels, height, width]
}

/// The pixels of an image as rows.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`
/// - output: `[batch, height * width, channels]`
pub(crate) fn pixels_of(x: Tensor<4>) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    // A view of what a card has, see `join_channels`.
    permute(x, [0, 2, 3, 1]).reshape([batch, height * width, channels])
}

/// The way back of [`pixels_of`].
///
/// # Shapes
///
/// - `pixels`: `[batch, height * width, channels]`
/// - output: `[batch, channels, height, width]`
pub(crate) fn image_of(pixels: Tensor<3>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [batch, _, channels] = pixels.dims();
    if on_processor(&pixels) {
        return pixels.swap_dims(1, 2).reshape([batch, channels, height, width]); // [batch, channels, height, width]
    }
    permute(pixels.reshape([batch, height, width, channels]), [0, 3, 1, 2]) // [batch, channels, height, width]
}

/// Applies a convolution made by [`new_conv`].
///
/// # Shapes
///
/// - `x`: `[batch, from, height, width]`
/// - output: `[batch, to, ceil(height / stride), ceil(width / stride)]`
pub(crate) fn conv(layer: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    biased_conv(layer, x, layer.bias.as_ref().map(|bias| bias.val()))
}

/// [`conv`] plus a number for each channel, `[to]`.
pub(crate) fn conv_and_shift(layer: &Conv2d, x: Tensor<4>, shift: Tensor<1>) -> Tensor<4> {
    let bias = match &layer.bias {
        Some(bias) => bias.val() + shift,
        None => shift,
    };
    biased_conv(layer, x, Some(bias))
}

fn biased_conv(layer: &Conv2d, x: Tensor<4>, bias: Option<Tensor<1>>) -> Tensor<4> {
    let [rows, columns] = layer.kernel_size;
    conv2d(x, layer.weight.val(), bias, layer.stride, [rows / 2, columns / 2])
}

/// Group normalization: `[batch, channels, height, width]` to the same.
pub(crate) fn norm(layer: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    match (&layer.gamma, &layer.beta) {
        (Some(gamma), Some(beta)) => group_norm(x, layer.num_groups, gamma.val(), beta.val(), layer.epsilon),
        _ => layer.forward(x),
    }
}

/// Group normalization, then SiLU: `[batch, channels, height, width]` to the same.
pub(crate) fn norm_silu(layer: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    match (&layer.gamma, &layer.beta) {
        (Some(gamma), Some(beta)) => group_norm_silu(x, layer.num_groups, gamma.val(), beta.val(), layer.epsilon),
        _ => silu(layer.forward(x)),
    }
}

/// Group normalization, then `z (1 + scale) + shift` for each channel of each image, then SiLU.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`, and so is the output
/// - `shift`, `scale`: `[batch or 1, channels]`
pub(crate) fn modulated_norm_silu(layer: &GroupNorm, x: Tensor<4>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<4> {
    match (&layer.gamma, &layer.beta) {
        (Some(gamma), Some(beta)) => {
            modulated_group_norm_silu(x, layer.num_groups, gamma.val(), beta.val(), shift, scale, layer.epsilon)
        }
        _ => {
            let [shift, scale] = [shift, scale].map(|t| t.unsqueeze_dims::<4>(&[2, 3])); // [batch or 1, channels, 1, 1]
            silu(layer.forward(x) * (scale + 1.0) + shift) // [batch, channels, height, width]
        }
    }
}

/// A linear layer: `[.., from]` to `[.., to]`.
pub(crate) fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    advect_kernels::linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// SiLU, then a linear layer: `[.., from]` to `[.., to]`.
pub(crate) fn silu_linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    advect_kernels::silu_linear(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// A linear layer, GELU in its tanh form, and another: `[.., from]` to `[.., to]`.
pub(crate) fn feed_forward<const D: usize>(up: &Linear, down: &Linear, x: Tensor<D>) -> Tensor<D> {
    let values = |layer: &Linear| (layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()));
    advect_kernels::feed_forward(x, values(up), values(down))
}
