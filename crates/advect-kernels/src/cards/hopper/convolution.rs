//! Convolutions with steps of 1 as products, of images whose channels lie side by side (others are copied into that order): the copy engine brings
//! pixels shifted by a place of the kernel.
use super::product::{After, Cut, DEEP, HIGH, Job, Way};
use super::{Turned, aligned_lines, map};
use crate::cards::{elem, empty, row_sum};
use crate::kernels::ConvSteps;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::{permute, permute_nchw_to_nhwc, permute_nhwc_to_nchw};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Places of a kernel, at most.
const PLACES: usize = 64;

/// Whether a convolution of `[batch, from, height, width]` with `[to, from, height, width]` is for the kernel here.
pub(in crate::cards) fn takes(x: &Shape, weight: &Shape, steps: ConvSteps) -> bool {
    let ([_, from, high, wide], [to, _, kernel_high, kernel_wide]) = (x.dims(), weight.dims());
    let [out_high, out_wide] = out(x, weight, steps);
    // Gradients begin as far from the edge as the kernel reaches over it.
    let reaches = steps.padding[0] < kernel_high && steps.padding[1] < kernel_wide;
    let even = from.is_multiple_of(8) && to.is_multiple_of(8);
    let enough = from * to * kernel_high * kernel_wide >= 1 << 12 && high * wide * out_high * out_wide > 0;
    steps.stride == [1, 1] && reaches && even && enough && kernel_high * kernel_wide <= PLACES
}

fn out(x: &Shape, weight: &Shape, steps: ConvSteps) -> [usize; 2] {
    [0, 1].map(|i| (x[i + 2] + 2 * steps.padding[i] + 1).saturating_sub(weight[i + 2]))
}

/// How pixels are cut into tiles of at most so many: along height, width and the images.
fn tile_of(images: usize, [high, wide]: [usize; 2], most: usize) -> [usize; 3] {
    let across = wide.min(most);
    let down = high.min(most / across);
    let deep = if down == high { images.min(most / (across * down)) } else { 1 };
    [down, across, deep]
}

/// The kernel with its channels side by side, `[to, height, width, from]`.
fn kernel(weight: CubeTensor) -> CubeTensor {
    aligned_lines(into_contiguous(permute(weight, &[0, 2, 3, 1]))).0
}

/// Images for the copy engine: boxes of a tile's pixels with 64 channels.
fn pixels(x: CubeTensor, [down, across, deep]: [usize; 3]) -> TensorMapArg<Tiled> {
    let (x, pitch) = aligned_lines(permute_nchw_to_nhwc(x));
    let [images, high, wide, channels] = x.meta.shape().dims();
    let strides = [high * wide * pitch, wide * pitch, pitch, 1];
    map(&x, &[images, high, wide, channels], &strides, &[deep, down, across, DEEP], elem(x.dtype))
}

/// What the kernel's text calls `Images`: of pixels that are gone through in such tiles.
fn images(
    images: usize,
    [high, wide]: [usize; 2],
    [down, across, deep]: [usize; 3],
    weight: &Shape,
    padding: [usize; 2],
    channels: usize,
) -> [usize; 11] {
    let [_, _, kernel_high, kernel_wide] = weight.dims();
    let places = kernel_high * kernel_wide;
    [high, wide, images, down, across, deep, kernel_wide, places, padding[0], padding[1], channels]
}

fn tiles(images: usize, [high, wide]: [usize; 2], [down, across, deep]: [usize; 3]) -> usize {
    high.div_ceil(down) * wide.div_ceil(across) * images.div_ceil(deep)
}

/// `[batch, to, height, width]`, of which the channels lie side by side.
pub(in crate::cards) fn forward(x: CubeTensor, weight: CubeTensor, bias: CubeTensor, steps: ConvSteps) -> CubeTensor {
    let (shape, of_weight) = (x.meta.shape().clone(), weight.meta.shape().clone());
    let ([count, from, ..], [to, ..], sides) =
        (shape.dims::<4>(), of_weight.dims::<4>(), out(&shape, &of_weight, steps));
    let y = empty(&x, Shape::new([count, sides[0], sides[1], to]), x.dtype);
    let tile = tile_of(count, sides, HIGH);
    let (rows, places) = (tiles(count, sides, tile), of_weight[2] * of_weight[3]);
    let deep = places * from.div_ceil(DEEP);
    let cut = Cut::new(&x.client, rows, |wide| to.div_ceil(wide), deep, 0, false);
    let (weight, dtype) = (kernel(weight), x.dtype);
    let inner = places * from;
    let job = Job {
        b: map(&weight, &[1, to, inner], &[to * inner, inner, 1], &[1, cut.wide, DEEP], elem(dtype)),
        a: pixels(x, tile),
        way: Way::Image,
        turned: Turned::Right,
        cut,
        dtype,
        y: y.clone(),
        kept: None,
        bias: Some(bias),
        after: After::Nothing,
        sizes: [rows * HIGH, to, deep * DEEP, to, 1],
        images: images(count, sides, tile, &of_weight, steps.padding, from),
    };
    job.run();
    permute_nhwc_to_nchw(y)
}

/// The gradient of images of this shape.
pub(in crate::cards) fn slope_of_images(
    shape: &Shape,
    weight: CubeTensor,
    gradient: CubeTensor,
    steps: ConvSteps,
) -> CubeTensor {
    let of_weight = weight.meta.shape().clone();
    let ([count, from, high, wide], [to, ..]) = (shape.dims::<4>(), of_weight.dims::<4>());
    let dx = empty(&gradient, Shape::new([count, high, wide, from]), gradient.dtype);
    let (sides, places) = ([high, wide], of_weight[2] * of_weight[3]);
    let tile = tile_of(count, sides, HIGH);
    let (rows, deep) = (tiles(count, sides, tile), places * to.div_ceil(DEEP));
    let cut = Cut::new(&gradient.client, rows, |wide| from.div_ceil(wide), deep, 0, false);
    let (weight, dtype) = (kernel(weight), gradient.dtype);
    // The kernel turned round reaches over the other edge.
    let padding = [0, 1].map(|i| of_weight[i + 2] - 1 - steps.padding[i]);
    let job = Job {
        b: map(&weight, &[to, places, from], &[places * from, from, 1], &[DEEP, 1, 64], elem(dtype)),
        a: pixels(gradient, tile),
        way: Way::Slope,
        turned: Turned::Neither,
        cut,
        dtype,
        y: dx.clone(),
        kept: None,
        bias: None,
        after: After::Nothing,
        sizes: [rows * HIGH, from, deep * DEEP, from, 1],
        images: images(count, sides, tile, &of_weight, padding, to),
    };
    job.run();
    permute_nhwc_to_nchw(dx)
}

/// The gradient of a kernel of this shape.
pub(in crate::cards) fn slope_of_kernel(
    x: CubeTensor,
    of_weight: &Shape,
    gradient: CubeTensor,
    steps: ConvSteps,
) -> CubeTensor {
    let ([count, from, ..], [to, _, kernel_high, kernel_wide]) = (x.meta.shape().dims::<4>(), of_weight.dims::<4>());
    let (sides, places, dtype) = (out(x.meta.shape(), of_weight, steps), kernel_high * kernel_wide, x.dtype);
    let tile = tile_of(count, sides, DEEP);
    let (rows, deep, columns) = (to.div_ceil(HIGH), tiles(count, sides, tile), places * from);
    let cut = Cut::new(&x.client, rows, |wide| places * from.div_ceil(wide), deep, to * columns, true);
    let (span, parts) = (from.div_ceil(cut.wide) * cut.wide, cut.parts);
    let y = empty(&x, Shape::new([parts, to * columns]), if parts > 1 { DType::F32 } else { dtype });
    let job = Job {
        a: pixels(gradient, tile),
        b: pixels(x, tile),
        way: Way::Kernel,
        turned: Turned::Left,
        cut,
        dtype,
        y: y.clone(),
        kept: None,
        bias: None,
        after: After::Nothing,
        sizes: [to, places * span, deep * DEEP, columns, 1],
        images: images(count, sides, tile, of_weight, steps.padding, from),
    };
    job.run();
    let sum = if parts > 1 { row_sum::forward(y, dtype) } else { y };
    let shape = Shape::new([to, kernel_high, kernel_wide, from]);
    permute_nhwc_to_nchw(CubeTensor::new_contiguous(sum.client, sum.device, shape, sum.handle, dtype))
}
