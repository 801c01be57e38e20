//! The gradients of a convolution.
use super::super::buffer::Lines;
use super::super::lanes;
use super::super::matrix::{BLOCK, TALL, VECTORS, WIDE, WIDE_ROWS, multiply_add};
use super::super::threads;
use super::pointwise;
use super::product::{PARALLEL, PackedRows, correlate};
use super::rows::{Correlation, Tiles};
use super::shape::Conv2dShape;
use super::winograd::{self, WeightView};
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::ops::Range;

/// Groups of images whose weight gradients are summed apart, at most: more share the work among more threads, and cost more additions at the end.
const GROUPS: usize = 16;
/// Pixels of a group at least: its sums are written and added up once, which must be little beside the products.
const GROUP_PIXELS: usize = 1 << 10;
/// Tasks to share among the threads, if there are so many channels.
const TASKS: usize = 8;
/// Sums that stay in the second-level cache: half a megabyte.
const BLOCK_SUMS: usize = 1 << 17;
/// Sums of the groups that one task adds up.
const PIECE: usize = 1 << 12;

/// The gradient of the bias, from that of the output as `[batch, channels, pixels]`: the sum over images and pixels.
pub(crate) fn bias_gradient(sizes: [usize; 3], gradient: &[f32]) -> Vec<f32> {
    let [batch, channels, pixels] = sizes;
    if gradient.len() < PARALLEL / 4 {
        return BiasSums { sizes, channels: 0..channels, gradient }.dispatch();
    }
    // Whoever sums a channel, it is summed in one order.
    let some = channels.div_ceil(8);
    let sums = threads::map(channels.div_ceil(some), |index| {
        let channels = index * some..channels.min((index + 1) * some);
        BiasSums { sizes: [batch, sizes[1], pixels], channels, gradient }.dispatch()
    });
    sums.concat()
}

struct BiasSums<'a> {
    sizes: [usize; 3],
    channels: Range<usize>,
    gradient: &'a [f32],
}

impl SimdOp for BiasSums<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> Vec<f32> {
        let [_, channels, pixels] = self.sizes;
        let mut totals = vec![0.0f64; self.channels.len()];
        if channels * pixels > 0 {
            for image in self.gradient.chunks_exact(channels * pixels) {
                let image = &image[self.channels.start * pixels..self.channels.end * pixels];
                for (total, channel) in totals.iter_mut().zip(image.chunks_exact(pixels)) {
                    *total += f64::from(lanes::sum(isa, channel, |v| v));
                }
            }
        }
        totals.into_iter().map(|t| t as f32).collect()
    }
}

/// The gradient of the input: for each phase of the stride, the correlation of the output's gradient with the taps that reach that phase, turned round.
pub(crate) fn input_gradient(shape: &Conv2dShape, weight: &[f32], gradient: &[f32]) -> Vec<f32> {
    let ([height, width], [stride_y, stride_x], [taps_y, taps_x]) = (shape.input, shape.stride, shape.kernel);
    let bias = vec![0.0; shape.channels_in];
    if shape.stride == [1, 1] {
        let (y, x) = (Phase::new(shape, 0, 0), Phase::new(shape, 1, 0));
        return phase_gradient(shape, weight, gradient, &bias, &y, &x);
    }
    let mut dx = vec![0.0; shape.batch * shape.channels_in * height * width];
    if dx.is_empty() {
        return dx;
    }
    for phase_y in 0..stride_y.min(height) {
        for phase_x in 0..stride_x.min(width) {
            let (y, x) = (Phase::new(shape, 0, phase_y), Phase::new(shape, 1, phase_x));
            // No tap of a kernel smaller than the stride may reach this phase: its gradient is zero.
            if y.taps(taps_y, stride_y) == 0 || x.taps(taps_x, stride_x) == 0 {
                continue;
            }
            let part = phase_gradient(shape, weight, gradient, &bias, &y, &x);
            for (plane, part) in dx.chunks_exact_mut(height * width).zip(part.chunks_exact(y.output * x.output)) {
                for (line, part) in part.chunks_exact(x.output).enumerate() {
                    let line = &mut plane[(phase_y + line * stride_y) * width..][..width];
                    for (value, part) in line[phase_x..].iter_mut().step_by(stride_x).zip(part) {
                        *value = *part;
                    }
                }
            }
        }
    }
    dx
}

/// Along one axis, the input pixels phase, phase + stride, ..: those that the taps first, first + stride, .. reach.
struct Phase {
    first: usize,
    /// The output pixel that the last of these taps takes to input pixel `phase`.
    offset: isize,
    output: usize,
}

impl Phase {
    fn new(shape: &Conv2dShape, axis: usize, phase: usize) -> Self {
        let (stride, taps) = (shape.stride[axis], shape.kernel[axis]);
        // Output o takes tap k to input o stride + k - padding, so k = phase + padding modulo the stride.
        let reach = phase + shape.padding[axis];
        let first = reach % stride;
        let count = taps.saturating_sub(first).div_ceil(stride);
        let offset = (reach / stride) as isize - (count as isize - 1);
        Self { first, offset, output: (shape.input[axis] - phase).div_ceil(stride) }
    }

    fn taps(&self, taps: usize, stride: usize) -> usize {
        taps.saturating_sub(self.first).div_ceil(stride)
    }
}

fn phase_gradient(
    shape: &Conv2dShape,
    weight: &[f32],
    gradient: &[f32],
    bias: &[f32],
    y: &Phase,
    x: &Phase,
) -> Vec<f32> {
    let ([stride_y, stride_x], [taps_y, taps_x]) = (shape.stride, shape.kernel);
    let taps = [y.taps(taps_y, stride_y), x.taps(taps_x, stride_x)];
    let correlation = Correlation {
        channels: shape.channels_out,
        input: shape.output,
        taps,
        stride: [1, 1],
        offset: [y.offset, x.offset],
        output: [y.output, x.output],
    };
    // A phase of a stride sees some of the weight's taps only.
    let all = shape.stride == [1, 1];
    if all && pointwise::suits(&correlation) {
        let weight = pointwise::Weight { values: weight, by_output: 1, by_input: shape.channels_in };
        return pointwise::correlate(&correlation, shape.batch, gradient, weight, bias);
    }
    if all && winograd::suits(&correlation, shape.channels_in) {
        let weight = WeightView { values: weight, from_step: 9 * shape.channels_in, to_step: 9, taps: [8, -1] };
        return winograd::correlate(&correlation, shape.batch, gradient, weight, bias);
    }
    let mut starts = Vec::with_capacity(correlation.depth());
    for out in 0..shape.channels_out {
        // The taps run backwards: the last one looks at the first output pixel.
        for ky in (0..taps[0]).rev().map(|tap| y.first + tap * stride_y) {
            for kx in (0..taps[1]).rev().map(|tap| x.first + tap * stride_x) {
                starts.push((out * shape.channels_in * taps_y + ky) * taps_x + kx);
            }
        }
    }
    let packed = PackedRows::new(shape.channels_in, taps_y * taps_x, &starts, weight);
    correlate(&correlation, shape.batch, gradient, &packed, bias)
}

/// The gradient of the weight: for each row, its products with the gradient of each output channel, summed over pixels and images.
pub(crate) fn weight_gradient(shape: &Conv2dShape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let all = Correlation::of(shape);
    if winograd::suits(&all, shape.channels_out) {
        return winograd::weight_gradient(&all, shape.batch, shape.channels_out, x, gradient);
    }
    pointwise::weight_gradient(&all, shape.batch, shape.channels_out, x, gradient)
        .unwrap_or_else(|| weight_gradient_by_rows(shape, x, gradient))
}

/// The same for all shapes, with vectors.
fn weight_gradient_by_rows(shape: &Conv2dShape, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    let (all, [from, to]) = (Correlation::of(shape), [shape.channels_in, shape.channels_out]);
    if from < to && pointwise::suits(&all) {
        // Input and gradient play the same part: the one with fewer channels is turned, and the result at the end.
        let other = Conv2dShape { channels_in: to, channels_out: from, ..*shape };
        let across = weight_gradient_by_rows(&other, gradient, x);
        return (0..to).flat_map(|channel| across[channel..].iter().step_by(to).copied()).collect();
    }
    let mut out = vec![0.0; shape.channels_out * all.depth()];
    if shape.batch == 0 {
        return out;
    }
    let taps = shape.kernel[0] * shape.kernel[1];
    let group = shape.batch.div_ceil(GROUPS).max(GROUP_PIXELS.div_ceil(all.pixels()));
    let groups = shape.batch.div_ceil(group);
    // Input channels whose sums stay in the second-level cache; fewer where that gives the threads too few tasks.
    let block =
        (BLOCK_SUMS / (taps * shape.channels_out)).min(shape.channels_in * groups / TASKS).clamp(1, shape.channels_in);
    let blocks = shape.channels_in.div_ceil(block);
    let tiles = Correlation { channels: block, ..all }.tiles();
    let part = |task: usize| {
        let (first_channel, first_image) = (task / groups * block, task % groups * group);
        Part {
            correlation: &Correlation { channels: block.min(shape.channels_in - first_channel), ..all },
            tiles: &tiles,
            channels: shape.channels_out,
            images: group.min(shape.batch - first_image),
            x_stride: all.input_len(),
            x: &x[first_image * all.input_len() + first_channel * shape.input[0] * shape.input[1]..],
            gradient: &gradient[first_image * shape.channels_out * all.pixels()..],
        }
        .dispatch()
    };
    let serial = gradient.len() * all.depth() < PARALLEL;
    let mut parts: Vec<Vec<f32>> =
        if serial { (0..blocks * groups).map(part).collect() } else { threads::map(blocks * groups, part) };
    for (index, parts) in parts.chunks_mut(groups).enumerate() {
        let Some((total, rest)) = parts.split_first_mut() else {
            continue;
        };
        let depth = block.min(shape.channels_in - index * block) * taps;
        let stride = total.len() / depth;
        let add = |(at, total): (usize, &mut [f32])| {
            for part in rest.iter() {
                for (total, part) in total.iter_mut().zip(&part[at * PIECE..]) {
                    *total += part;
                }
            }
        };
        if serial {
            total.chunks_mut(PIECE).enumerate().for_each(add);
        } else {
            threads::for_each_chunk(total, PIECE, |at, total| add((at, total)));
        }
        let turn = |(channel, out): (usize, &mut [f32])| {
            for (k, out) in out[index * block * taps..][..depth].iter_mut().enumerate() {
                *out = total[k * stride + channel];
            }
        };
        if serial {
            out.chunks_mut(all.depth()).enumerate().for_each(turn);
        } else {
            threads::for_each_chunk(&mut out, all.depth(), |channel, out| turn((channel, out)));
        }
    }
    out
}

/// Some images and some of their channels, whose contributions are summed in one buffer: `[row, output channel]`, the output channels rounded up to whole vectors.
struct Part<'a> {
    correlation: &'a Correlation,
    tiles: &'a Tiles,
    channels: usize,
    images: usize,
    /// Floats from one image of `x` to the next: `x` begins at the first channel of the first image.
    x_stride: usize,
    x: &'a [f32],
    gradient: &'a [f32],
}

impl SimdOp for Part<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> Vec<f32> {
        let vector = isa.f32().len();
        let padded = self.channels.next_multiple_of(vector);
        // Not a power of two: the channels of a strip's pixels would share a few lines of the first-level cache.
        let pitch = padded + vector;
        let mut sums = vec![0.0f32; self.correlation.depth() * padded];
        let (mut rows_of_images, mut gradients) = (Lines::default(), Lines::default());
        let (x_len, plane) = (self.correlation.input_len(), self.correlation.pixels());
        let gradient_len = self.channels * plane;
        for first_image in (0..self.images).step_by(self.tiles.images) {
            let images = self.tiles.images.min(self.images - first_image);
            for rows in &self.tiles.strips {
                let pixels = rows.pixels();
                let buffer = rows_of_images.reserve(images * rows.len());
                let turned = gradients.reserve(images * pixels * pitch);
                for image in 0..images {
                    let x = &self.x[(first_image + image) * self.x_stride..][..x_len];
                    rows.fill(x, &mut buffer[image * rows.len()..][..rows.len()]);
                    let gradient = &self.gradient[(first_image + image) * gradient_len..][..gradient_len];
                    turn(
                        gradient,
                        plane,
                        rows.first_pixel(),
                        pitch,
                        &mut turned[image * pixels * pitch..][..pixels * pitch],
                    );
                }
                let starts = &rows.starts[..self.correlation.depth()];
                let strip = Strip {
                    images,
                    pixels,
                    padded,
                    pitch,
                    rows_len: rows.len(),
                    rows: buffer,
                    starts,
                    gradient: turned,
                };
                let mut channel = 0;
                if vector == 16 {
                    while channel + WIDE * vector <= padded {
                        strip.wide::<I>(isa, &mut sums, channel);
                        channel += WIDE * vector;
                    }
                }
                while channel + VECTORS * vector <= padded {
                    strip.blocks::<I, VECTORS>(isa, &mut sums, channel);
                    channel += VECTORS * vector;
                }
                while channel < padded {
                    strip.blocks::<I, 1>(isa, &mut sums, channel);
                    channel += vector;
                }
            }
        }
        sums
    }
}

/// Copies a strip of an image `[channel, pixel]` to `[pixel, padded channel]`; what is behind the last channel stays as it is, and nothing reads sums made of it.
fn turn(image: &[f32], plane: usize, first: usize, padded: usize, turned: &mut [f32]) {
    let pixels = turned.len() / padded;
    let mut quads = image.chunks_exact(4 * plane);
    let mut channel = 0;
    for quad in &mut quads {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| &quad[i * plane + first..][..pixels]);
        // Four pixels of four channels at a time: the compiler makes shuffles of this.
        let lines =
            a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0).zip(c.as_chunks::<4>().0).zip(d.as_chunks::<4>().0);
        for ((((a, b), c), d), out) in lines.zip(turned.chunks_exact_mut(4 * padded)) {
            for (i, out) in out.chunks_exact_mut(padded).enumerate() {
                out[channel..channel + 4].copy_from_slice(&[a[i], b[i], c[i], d[i]]);
            }
        }
        for p in pixels / 4 * 4..pixels {
            turned[p * padded + channel..][..4].copy_from_slice(&[a[p], b[p], c[p], d[p]]);
        }
        channel += 4;
    }
    for source in quads.remainder().chunks_exact(plane) {
        for (pixel, value) in turned.chunks_exact_mut(padded).zip(&source[first..]) {
            pixel[channel] = *value;
        }
        channel += 1;
    }
}

/// The rows and the turned gradient, `[image, pixel, channel]`, of a strip of lines of a few images.
struct Strip<'a> {
    images: usize,
    pixels: usize,
    padded: usize,
    /// Floats from a pixel's gradient to the next.
    pitch: usize,
    rows_len: usize,
    rows: &'a [f32],
    starts: &'a [usize],
    gradient: &'a [f32],
}

impl Strip<'_> {
    #[inline(always)]
    fn wide<I: Isa>(&self, isa: I, sums: &mut [f32], channel: usize) {
        let mut row = 0;
        while row + WIDE_ROWS <= self.starts.len() {
            self.block::<I, WIDE_ROWS, WIDE>(isa, sums, row, channel);
            row += WIDE_ROWS;
        }
        while row + 2 <= self.starts.len() {
            self.block::<I, 2, WIDE>(isa, sums, row, channel);
            row += 2;
        }
        if row < self.starts.len() {
            self.block::<I, 1, WIDE>(isa, sums, row, channel);
        }
    }

    #[inline(always)]
    fn blocks<I: Isa, const N: usize>(&self, isa: I, sums: &mut [f32], channel: usize) {
        let mut row = 0;
        if isa.f32().len() == 16 {
            while row + TALL <= self.starts.len() {
                self.block::<I, TALL, N>(isa, sums, row, channel);
                row += TALL;
            }
        }
        while row + BLOCK <= self.starts.len() {
            self.block::<I, BLOCK, N>(isa, sums, row, channel);
            row += BLOCK;
        }
        while row < self.starts.len() {
            self.block::<I, 1, N>(isa, sums, row, channel);
            row += 1;
        }
    }

    #[inline(always)]
    fn block<I: Isa, const M: usize, const N: usize>(&self, isa: I, sums: &mut [f32], row: usize, channel: usize) {
        let ops = isa.f32();
        let vector = ops.len();
        let sums = &mut sums[row * self.padded..][..M * self.padded];
        let mut local = [[ops.zero(); N]; M];
        for (i, local) in local.iter_mut().enumerate() {
            for (j, local) in local.iter_mut().enumerate() {
                // SAFETY: the N vectors from `channel` on lie inside a row of `padded` sums.
                *local = unsafe { lanes::load(ops, sums.as_ptr().add(i * self.padded + channel + j * vector), vector) };
            }
        }
        let mut starts = [0; M];
        starts.copy_from_slice(&self.starts[row..row + M]);
        for image in 0..self.images {
            let rows = self.rows[image * self.rows_len..][..self.rows_len].as_ptr();
            let gradient = self.gradient[image * self.pixels * self.pitch..][..self.pixels * self.pitch].as_ptr();
            // SAFETY: a row has `pixels` values from its start on; a pixel's gradient has `padded` channels.
            unsafe {
                multiply_add(
                    isa,
                    &mut local,
                    self.pixels,
                    |i, d| rows.add(starts[i] + d),
                    |j, d| gradient.add(d * self.pitch + channel + j * vector),
                );
            }
        }
        for (i, local) in local.iter().enumerate() {
            for (j, local) in local.iter().enumerate() {
                // SAFETY: as for the loads.
                unsafe {
                    lanes::store(ops, *local, sums.as_mut_ptr().add(i * self.padded + channel + j * vector), vector)
                };
            }
        }
    }
}
