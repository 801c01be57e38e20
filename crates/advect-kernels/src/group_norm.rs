//! Group normalisation.
use crate::kernels::{Kernels, NormOptions};
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Group normalisation: the channels of an image are cut into `groups` runs of neighbours, and each run is shifted and
/// scaled to mean 0 and variance 1 (over its channels and pixels), then channel by channel scaled by `gamma` and
/// shifted by `beta`.
///
/// The variance is the biased one, plus `epsilon`, as in PyTorch. On Flex in `f32` a group is read from memory once:
/// mean, then squared distances from it, then the output, while it is in the cache. The backward pass keeps the inputs
/// only.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`, and so is the output
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
///
/// If `groups` does not divide `channels`, or `gamma` or `beta` have another length than `channels`.
pub fn group_norm(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<4> {
    run(x, gamma, beta, NormOptions { groups, epsilon, silu: false })
}

/// [Group normalisation](group_norm) and then [SiLU](crate::silu), in one pass over the memory.
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`, and so is the output
/// - `gamma`, `beta`: `[channels]`
///
/// # Panics
///
/// If `groups` does not divide `channels`, or `gamma` or `beta` have another length than `channels`.
pub fn group_norm_silu(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<4> {
    run(x, gamma, beta, NormOptions { groups, epsilon, silu: true })
}

/// [Group normalisation](group_norm), a [modulation](crate::modulate) `z (1 + scale) + shift` with a shift and a scale
/// for each channel of each image, and then [SiLU](crate::silu), in one pass over the memory: "adaptive group
/// normalization" (Dhariwal and Nichol 2021, section 3.1).
///
/// # Shapes
///
/// - `x`: `[batch, channels, height, width]`, and so is the output
/// - `gamma`, `beta`: `[channels]`
/// - `shift`, `scale`: `[batch, channels]`, or `[1, channels]` for the whole batch
///
/// # Panics
///
/// If `groups` does not divide `channels`, or the shapes disagree.
pub fn modulated_group_norm_silu(
    x: Tensor<4>,
    groups: usize,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    shift: Tensor<2>,
    scale: Tensor<2>,
    epsilon: f64,
) -> Tensor<4> {
    check(&x, groups, &gamma, &beta);
    let ([batch, channels, ..], [images, _]) = (x.dims(), scale.dims());
    assert!(
        (images == batch || images == 1) && shift.dims() == [images, channels] && scale.dims() == [images, channels],
        "shift {:?} and scale {:?} do not fit images {:?}",
        shift.dims(),
        scale.dims(),
        x.dims()
    );
    let options = NormOptions { groups, epsilon, silu: true };
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    let (shift, scale) = (shift.into_dispatch(), scale.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::modulated_group_norm(x, gamma, beta, shift, scale, options)
    } else {
        composed::modulated_group_norm::<Dispatch>(x, gamma, beta, shift, scale, options)
    })
}

fn check(x: &Tensor<4>, groups: usize, gamma: &Tensor<1>, beta: &Tensor<1>) {
    let channels = x.dims()[1];
    assert!(groups > 0 && channels.is_multiple_of(groups), "{groups} groups do not divide {channels} channels");
    assert!(
        gamma.dims() == [channels] && beta.dims() == [channels],
        "gamma {:?} and beta {:?} do not fit {channels} channels",
        gamma.dims(),
        beta.dims()
    );
}

fn run(x: Tensor<4>, gamma: Tensor<1>, beta: Tensor<1>, options: NormOptions) -> Tensor<4> {
    check(&x, options.groups, &gamma, &beta);
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::group_norm(x, gamma, beta, options)
    } else {
        composed::group_norm::<Dispatch>(x, gamma, beta, options)
    })
}
