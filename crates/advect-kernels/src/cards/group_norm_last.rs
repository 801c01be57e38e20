//! Group normalisation of images whose channels lie side by side in memory, as convolutions on cards make and want them.
//!
//! Channels first, each norm between two convolutions would be a copy into that order before it and one back behind it, of as much memory as the norm itself reads.
//! A cube takes some groups that lie side by side, so that what it reads of a pixel fills a whole piece of memory; a unit stays with one channel.
use super::*;
use burn_cubecl::ops::permute_nhwc_to_nchw;

/// Channels that a cube takes where its groups are smaller: 64 bytes of a pixel in half precision.
const SLAB: usize = 32;

/// How the work is cut.
#[derive(Clone, Copy)]
struct Sizes {
    images: usize,
    channels: usize,
    pixels: usize,
    group: usize,
    /// Channels of a cube.
    slab: usize,
    /// Units for each of them.
    lanes: usize,
}

impl Sizes {
    fn cubes(self) -> usize {
        self.images * (self.channels / self.slab)
    }

    fn units(self) -> usize {
        self.slab * self.lanes
    }
}

/// None where the channels do not lie side by side, or a group has more than a cube has units.
fn sizes(x: &CubeTensor, groups: usize) -> Option<Sizes> {
    let shape = x.meta.shape();
    let [images, channels] = [shape[0], shape[1]];
    let (group, pixels) = (channels / groups, shape.num_elements() / (images * channels));
    // Of one channel, or one pixel, both orders are the same.
    let last = channels > 1 && pixels > 1 && evenly_spaced(&permute_nchw_to_nhwc(x.clone()));
    if !last || group > UNITS {
        return None;
    }
    let together = (1..=groups).rev().find(|k| groups.is_multiple_of(*k) && k * group <= SLAB).unwrap_or(1);
    let slab = together * group;
    Some(Sizes { images, channels, pixels, group, slab, lanes: (UNITS / slab).min(pixels) })
}

/// `[images, channels, ..]` of the same shape, whose channels lie side by side.
fn like(x: &CubeTensor) -> CubeTensor {
    permute_nhwc_to_nchw(empty(x, permute_nchw_to_nhwc(x.clone()).meta.shape().clone(), x.dtype))
}

/// As in [`group_norm`], or None.
pub(super) fn forward(
    x: &CubeTensor,
    factor: &CubeTensor,
    offset: &CubeTensor,
    options: NormOptions,
) -> Option<CubeTensor> {
    let sizes = sizes(x, options.groups)?;
    let [factor, offset] = [factor.clone(), offset.clone()].map(into_contiguous);
    let y = like(x);
    let each = factor.meta.shape().num_elements() > sizes.channels;
    let (values, pitch) = lines(permute_nchw_to_nhwc(x.clone()));
    let (out, _) = lines(permute_nchw_to_nhwc(y.clone()));
    normalise_last::launch(
        &x.client.clone(),
        cubes(sizes.cubes()),
        CubeDim::new_1d(sizes.units() as u32),
        values.into_tensor_arg(),
        factor.clone().into_tensor_arg(),
        offset.into_tensor_arg(),
        out.into_tensor_arg(),
        pitch,
        sizes.pixels as u32,
        sizes.channels as u32,
        sizes.cubes() as u32,
        options.epsilon as f32,
        each,
        options.silu,
        sizes.group,
        sizes.slab,
        sizes.lanes,
        [elem(x.dtype), elem(factor.dtype)],
    );
    Some(y)
}

#[cube(launch)]
fn normalise_last<F: Float, P: Float>(
    x: &Tensor<F>,
    factor: &Tensor<P>,
    offset: &Tensor<P>,
    y: &mut Tensor<F>,
    pitch: u32,
    pixels: u32,
    channels: u32,
    count: u32,
    epsilon: f32,
    #[comptime] each: bool,
    #[comptime] silu: bool,
    #[comptime] group: usize,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (cube, pitch, pixels, channels) = (CUBE_POS as usize, pitch as usize, pixels as usize, channels as usize);
    if cube >= count as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(comptime!(slab * lanes));
    let mut b = Shared::new_slice(slab);
    let (image, channel, lane) = place(cube, channels, slab);
    let start = image * pixels * pitch + channel;
    let (mean, rstd) = moments_last::<F>(x, start, pitch, pixels, lane, epsilon, &mut a, &mut b, group, slab, lanes);
    let own = if comptime![each] { image * channels + channel } else { channel };
    let scale = f32::cast_from(factor[own]) * rstd;
    let shift = f32::cast_from(offset[own]);
    let to = image * pixels * channels + channel;
    let mut i = lane;
    while i < pixels {
        let z = (f32::cast_from(x[start + i * pitch]) - mean) * scale + shift;
        let z = if comptime![silu] { z * sigmoid(z) } else { z };
        y[to + i * channels] = F::cast_from(z);
        i += lanes;
    }
}

/// As in [`group_norm`], or None.
pub(super) fn backward(
    x: &CubeTensor,
    factor: &CubeTensor,
    offset: &CubeTensor,
    gradient: &CubeTensor,
    options: NormOptions,
) -> Option<(CubeTensor, CubeTensor, CubeTensor)> {
    let sizes = sizes(x, options.groups)?;
    let [factor, offset] = [factor.clone(), offset.clone()].map(into_contiguous);
    let dx = like(x);
    let sums = group_norm::sums(x.meta.shape());
    let (sum_gh, sum_g) = (empty(x, sums.clone(), DType::F32), empty(x, sums, DType::F32));
    let each = factor.meta.shape().num_elements() > sizes.channels;
    let (values, pitch) = lines(permute_nchw_to_nhwc(x.clone()));
    let (slopes, slope_pitch) = lines(permute_nchw_to_nhwc(gradient.clone()));
    let (out, _) = lines(permute_nchw_to_nhwc(dx.clone()));
    differentiate_last::launch(
        &x.client.clone(),
        cubes(sizes.cubes()),
        CubeDim::new_1d(sizes.units() as u32),
        values.into_tensor_arg(),
        factor.clone().into_tensor_arg(),
        offset.into_tensor_arg(),
        slopes.into_tensor_arg(),
        out.into_tensor_arg(),
        sum_gh.clone().into_tensor_arg(),
        sum_g.clone().into_tensor_arg(),
        pitch,
        slope_pitch,
        sizes.pixels as u32,
        sizes.channels as u32,
        sizes.cubes() as u32,
        options.epsilon as f32,
        each,
        options.silu,
        sizes.group,
        sizes.slab,
        sizes.lanes,
        [elem(x.dtype), elem(factor.dtype)],
    );
    Some((dx, sum_gh, sum_g))
}

/// The formula is that of [`group_norm`].
#[cube(launch)]
fn differentiate_last<F: Float, P: Float>(
    x: &Tensor<F>,
    factor: &Tensor<P>,
    offset: &Tensor<P>,
    gradient: &Tensor<F>,
    dx: &mut Tensor<F>,
    sums_gh: &mut Tensor<f32>,
    sums_g: &mut Tensor<f32>,
    pitch: u32,
    slope_pitch: u32,
    pixels: u32,
    channels: u32,
    count: u32,
    epsilon: f32,
    #[comptime] each: bool,
    #[comptime] silu: bool,
    #[comptime] group: usize,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (cube, pitch, pixels, channels) = (CUBE_POS as usize, pitch as usize, pixels as usize, channels as usize);
    let slope_pitch = slope_pitch as usize;
    if cube >= count as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(comptime!(slab * lanes));
    let mut b = Shared::new_slice(slab);
    let (image, channel, lane) = place(cube, channels, slab);
    let start = image * pixels * pitch + channel;
    let slopes = image * pixels * slope_pitch + channel;
    let (mean, rstd) = moments_last::<F>(x, start, pitch, pixels, lane, epsilon, &mut a, &mut b, group, slab, lanes);
    let own = if comptime![each] { image * channels + channel } else { channel };
    let (f, o) = (f32::cast_from(factor[own]), f32::cast_from(offset[own]));
    let mut own_gh = 0.0f32;
    let mut own_g = 0.0f32;
    let mut i = lane;
    while i < pixels {
        let h = (f32::cast_from(x[start + i * pitch]) - mean) * rstd;
        let g = group_norm::before(f32::cast_from(gradient[slopes + i * slope_pitch]), h * f + o, silu);
        own_gh += g * h;
        own_g += g;
        i += lanes;
    }
    let sum_gh = sum_of_channel(own_gh, &mut a, &mut b, slab, lanes);
    let sum_g = sum_of_channel(own_g, &mut a, &mut b, slab, lanes);
    if lane == 0 {
        sums_gh[image * channels + channel] = sum_gh;
        sums_g[image * channels + channel] = sum_g;
    }
    let many = f32::cast_from((pixels * group) as u32);
    let sum_fgh = sum_of_group(f * own_gh, &mut a, &mut b, group, slab, lanes) / many;
    let sum_fg = sum_of_group(f * own_g, &mut a, &mut b, group, slab, lanes) / many;
    let to = image * pixels * channels + channel;
    let mut i = lane;
    while i < pixels {
        let h = (f32::cast_from(x[start + i * pitch]) - mean) * rstd;
        let g = group_norm::before(f32::cast_from(gradient[slopes + i * slope_pitch]), h * f + o, silu);
        dx[to + i * channels] = F::cast_from((f * g - sum_fg - h * sum_fgh) * rstd);
        i += lanes;
    }
}

/// The image, the channel and the first pixel of a unit.
#[cube]
fn place(cube: usize, channels: usize, #[comptime] slab: usize) -> (usize, usize, usize) {
    let (slabs, unit) = (channels / slab, UNIT_POS as usize);
    (cube / slabs, cube % slabs * slab + unit % slab, unit / slab)
}

/// Mean and reciprocal deviation of the unit's group, in one pass: each unit adds up its numbers and their squares, less its first one, so that a
/// large mean costs no digits; what the units have is joined by the formula of Chan, Golub and LeVeque (1979).
#[cube]
fn moments_last<F: Float>(
    x: &Tensor<F>,
    start: usize,
    pitch: usize,
    pixels: usize,
    lane: usize,
    epsilon: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] group: usize,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
) -> (f32, f32) {
    // There are at least as many pixels as lanes.
    let zero = f32::cast_from(x[start + lane * pitch]);
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    let step = lanes * pitch;
    let mut i = lane;
    // Four at a time: one alone would wait for memory.
    while i + comptime!(3 * lanes) < pixels {
        let at = start + i * pitch;
        let first = f32::cast_from(x[at]) - zero;
        let second = f32::cast_from(x[at + step]) - zero;
        let third = f32::cast_from(x[at + 2 * step]) - zero;
        let fourth = f32::cast_from(x[at + 3 * step]) - zero;
        sum += (first + second) + (third + fourth);
        squares += (first * first + second * second) + (third * third + fourth * fourth);
        i += comptime!(4 * lanes);
    }
    while i < pixels {
        let off = f32::cast_from(x[start + i * pitch]) - zero;
        sum += off;
        squares += off * off;
        i += lanes;
    }
    let own = f32::cast_from(((pixels - lane + comptime!(lanes - 1)) / lanes) as u32);
    let many = f32::cast_from((pixels * group) as u32);
    let off = sum / own;
    let mean = sum_of_group(own * zero + sum, a, b, group, slab, lanes) / many;
    let apart = zero + off - mean;
    let variance = sum_of_group(squares - sum * off + own * apart * apart, a, b, group, slab, lanes) / many;
    (mean, 1.0f32 / f32::sqrt(variance + epsilon))
}

/// The sum over the units of the unit's channel.
#[cube]
fn sum_of_channel(
    value: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
) -> f32 {
    channels_of_cube(value, a, b, slab, lanes);
    let sum = b[UNIT_POS as usize % slab];
    // Nobody writes before all have read.
    sync_cube();
    sum
}

/// The sum over the units of the unit's group.
#[cube]
fn sum_of_group(
    value: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] group: usize,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
) -> f32 {
    channels_of_cube(value, a, b, slab, lanes);
    let first = UNIT_POS as usize % slab / group * group;
    let mut sum = 0.0f32;
    let mut k = 0usize;
    while k < group {
        sum += b[first + k];
        k += 1;
    }
    sync_cube();
    sum
}

/// Leaves the sums of all channels in `b`.
#[cube]
fn channels_of_cube(
    value: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
) {
    let unit = UNIT_POS as usize;
    a[unit] = value;
    sync_cube();
    if unit < slab {
        let mut sum = 0.0f32;
        let mut lane = 0usize;
        while lane < lanes {
            sum += a[lane * slab + unit];
            lane += 1;
        }
        b[unit] = sum;
    }
    sync_cube();
}
