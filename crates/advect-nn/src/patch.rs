//! Images as sequences of patches, and back.

use advect_kernels::permute;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::tensor::module::linear;
use burn::tensor::{Device, Tensor};

/// The embedding of patches: a convolution whose window and stride are the patch.
pub(crate) fn new_patches(channels: usize, width: usize, patch: usize, device: &Device) -> Conv2d {
    Conv2dConfig::new([channels, width], [patch, patch]).with_stride([patch, patch]).init(device)
}

/// Applies an embedding made by [`new_patches`]: as its windows do not overlap, one linear layer on all patches.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`
/// - output: `[batch, tokens, features]`, row by row of patches
///
/// # Panics
///
/// If the height or the width is no multiple of the patch.
pub(crate) fn embed_patches(layer: &Conv2d, x: Tensor<4>) -> Tensor<3> {
    let weight = layer.weight.val(); // [features, channels, patch, patch]
    let [features, channels, patch, _] = weight.dims();
    let weight = weight.reshape([features, channels * patch * patch]).transpose(); // [channels * patch^2, features]
    linear(patchify(x, patch), weight, layer.bias.as_ref().map(|bias| bias.val())) // [batch, tokens, features]
}

/// Cuts images into patches; the numbers of each are ordered as those of a convolution's window: channel, row, column.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`
/// - output: `[batch, height / patch * width / patch, channels * patch^2]`
///
/// # Panics
///
/// If the height or the width is no multiple of `patch`.
fn patchify(x: Tensor<4>, patch: usize) -> Tensor<3> {
    let [batch, channels, height, width] = x.dims();
    assert!(
        height.is_multiple_of(patch) && width.is_multiple_of(patch),
        "an image of {height} x {width} is no whole number of patches of {patch} x {patch}"
    );
    let [rows, columns] = [height / patch, width / patch];
    let x = x.reshape([batch, channels, rows, patch, columns, patch]); // [batch, channels, rows, patch, columns, patch]
    let x = permute(x, [0, 2, 4, 1, 3, 5]); // [batch, rows, columns, channels, patch, patch]
    x.reshape([batch, rows * columns, channels * patch * patch]) // [batch, tokens, channels * patch^2]
}

/// Puts patches together to images; the numbers of each are ordered as in DiT's last layer: row, column, channel.
///
/// # Shapes
///
/// - `x`: `[batch, rows * columns, patch^2 * channels]`
/// - output: `[batch, channels, rows * patch, columns * patch]`
pub(crate) fn unpatchify(x: Tensor<3>, [rows, columns]: [usize; 2], patch: usize) -> Tensor<4> {
    let [batch, _, features] = x.dims();
    let channels = features / (patch * patch);
    let x = x.reshape([batch, rows, columns, patch, patch, channels]); // [batch, rows, columns, patch, patch, channels]
    let x = permute(x, [0, 5, 1, 3, 2, 4]); // [batch, channels, rows, patch, columns, patch]
    x.reshape([batch, channels, rows * patch, columns * patch]) // [batch, channels, height, width]
}
