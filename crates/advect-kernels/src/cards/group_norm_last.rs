//! Group normalisation of images whose channels lie side by side in memory, as convolutions on cards make and want them.
//!
//! Channels first, each norm between two convolutions would be a copy into that order before it and one back behind it, of as much memory as the norm itself reads.
//! A cube takes some groups that lie side by side, so that what it reads of a pixel fills a whole piece of memory; a unit stays with one channel.
use super::*;
use burn_cubecl::ops::permute_nhwc_to_nchw;

/// Channels that a cube takes where its groups are smaller: 64 bytes of a pixel in half precision.
const SLAB: usize = 32;
/// Those that it takes where that would be few cubes, and how many are few.
const LEAST: usize = 8;
const FEW: usize = 256;
/// Numbers of a unit whose mean is made before it joins the others, a multiple of 4.
const BLOCK: usize = 64;

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
    let fits = |k: &usize| {
        let slab = k * group;
        groups.is_multiple_of(*k) && slab <= SLAB && (slab <= LEAST || images * (groups / k) >= FEW)
    };
    let together = (1..=groups).rev().find(fits).unwrap_or(1);
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
    let first = start - channel % group;
    let (base, mean, rstd) =
        moments_last::<F>(x, start, first, pitch, pixels, lane, epsilon, &mut a, &mut b, group, slab, lanes);
    let own = if comptime![each] { image * channels + channel } else { channel };
    let scale = f32::cast_from(factor[own]) * rstd;
    let shift = f32::cast_from(offset[own]);
    let to = image * pixels * channels + channel;
    let mut i = lane;
    while i < pixels {
        let z = (f32::cast_from(x[start + i * pitch]) - base - mean) * scale + shift;
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
    let first = start - channel % group;
    let (base, mean, rstd) =
        moments_last::<F>(x, start, first, pitch, pixels, lane, epsilon, &mut a, &mut b, group, slab, lanes);
    let own = if comptime![each] { image * channels + channel } else { channel };
    let (f, o) = (f32::cast_from(factor[own]), f32::cast_from(offset[own]));
    let mut own_gh = 0.0f32;
    let mut own_g = 0.0f32;
    let mut i = lane;
    while i < pixels {
        let h = (f32::cast_from(x[start + i * pitch]) - base - mean) * rstd;
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
        let h = (f32::cast_from(x[start + i * pitch]) - base - mean) * rstd;
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

/// A number of the unit's group, how far the mean lies above it, and the reciprocal deviation, in one pass.
///
/// Each unit joins its numbers four by four, and these in blocks, by the formula of Chan, Golub and LeVeque (1979), in which nothing is subtracted from a sum of squares;
/// what the units have is joined likewise. So neither a large mean nor a first number far from the others costs digits, and no variance is negative.
#[cube]
fn moments_last<F: Float>(
    x: &Tensor<F>,
    start: usize,
    base: usize,
    pitch: usize,
    pixels: usize,
    lane: usize,
    epsilon: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] group: usize,
    #[comptime] slab: usize,
    #[comptime] lanes: usize,
) -> (f32, f32, f32) {
    let base = f32::cast_from(x[base]);
    // There are at least as many pixels as lanes.
    let zero = f32::cast_from(x[start + lane * pitch]);
    let mut own = 0.0f32;
    let mut mean = 0.0f32;
    let mut squares = 0.0f32;
    let step = lanes * pitch;
    let mut i = lane;
    while i < pixels {
        // A mean over thousands would take in less and less of each number.
        let mut count = 0.0f32;
        let mut middle = 0.0f32;
        let mut apart = 0.0f32;
        let end = min(pixels, i + comptime!(BLOCK * lanes));
        // Four loads at a time: one alone would wait for memory.
        while i + comptime!(3 * lanes) < end {
            let at = start + i * pitch;
            let first = f32::cast_from(x[at]) - zero;
            let second = f32::cast_from(x[at + step]) - zero;
            let third = f32::cast_from(x[at + 2 * step]) - zero;
            let fourth = f32::cast_from(x[at + 3 * step]) - zero;
            let four = ((first + second) + (third + fourth)) * 0.25f32;
            let (p, q, r, s) = (first - four, second - four, third - four, fourth - four);
            let (off, share) = (four - middle, 4.0f32 / (count + 4.0f32));
            middle += off * share;
            apart += ((p * p + q * q) + (r * r + s * s)) + off * off * (count * share);
            count += 4.0f32;
            i += comptime!(4 * lanes);
        }
        while i < end {
            let off = f32::cast_from(x[start + i * pitch]) - zero - middle;
            let share = 1.0f32 / (count + 1.0f32);
            middle += off * share;
            apart += off * off * (count * share);
            count += 1.0f32;
            i += lanes;
        }
        let (off, share) = (middle - mean, count / (own + count));
        mean += off * share;
        squares += apart + off * off * (own * share);
        own += count;
    }
    let many = f32::cast_from((pixels * group) as u32);
    let above = (zero - base) + mean;
    let of_group = sum_of_group(own * above, a, b, group, slab, lanes) / many;
    let off = above - of_group;
    let variance = sum_of_group(squares + own * off * off, a, b, group, slab, lanes) / many;
    (base, of_group, 1.0f32 / f32::sqrt(variance + epsilon))
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
