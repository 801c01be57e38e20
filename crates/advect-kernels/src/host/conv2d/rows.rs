//! The input values that each tap of a kernel sees.
use super::shape::Conv2dShape;
use std::ops::Range;

/// A correlation: output pixel (y, x) sees, at tap (ky, kx), the input pixel (y stride + ky + offset, x stride + kx + offset), zero outside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correlation {
    pub channels: usize,
    pub input: [usize; 2],
    pub taps: [usize; 2],
    pub stride: [usize; 2],
    pub offset: [isize; 2],
    pub output: [usize; 2],
}

impl Correlation {
    /// The one that a convolution is.
    pub(super) fn of(shape: &Conv2dShape) -> Self {
        Self {
            channels: shape.channels_in,
            input: shape.input,
            taps: shape.kernel,
            stride: shape.stride,
            offset: shape.padding.map(|padding| -(padding as isize)),
            output: shape.output,
        }
    }

    /// Number of rows: channels times taps.
    pub(super) fn depth(&self) -> usize {
        self.channels * self.taps[0] * self.taps[1]
    }

    pub(super) fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    pub(super) fn input_len(&self) -> usize {
        self.channels * self.input[0] * self.input[1]
    }

    /// Cuts a batch into tiles that fit the second-level cache and give the product a few hundred pixels: some images, or strips of lines of one.
    pub(super) fn tiles(&self) -> Tiles {
        /// Pixels of a tile: with 64 channels of 3x3 taps its rows take about 60 KiB for each 64 pixels.
        const PIXELS: usize = 192;
        let [height, width] = self.output;
        let lines = if self.pixels() <= 2 * PIXELS { height } else { (PIXELS / width).clamp(1, height) };
        let strips =
            (0..height).step_by(lines.max(1)).map(|first| Rows::new(self, first..height.min(first + lines))).collect();
        Tiles { images: (PIXELS / self.pixels().max(1)).max(1), strips }
    }
}

/// How a batch is cut.
pub(super) struct Tiles {
    /// Images taken together.
    pub images: usize,
    pub strips: Vec<Rows>,
}

/// The rows of a strip of output lines of one image: `[channels, kx, phase, line, x]`, where input line `phase + stride * line` of the strip
/// is kept as `(phase, line)`, so that each tap sees consecutive lines whatever the stride.
pub(super) struct Rows {
    of: Correlation,
    /// The output lines of the strip.
    strip: Range<usize>,
    phases: usize,
    /// Input lines of each phase.
    lines: usize,
    /// Where each row begins, in the order (channel, ky, kx) of a weight.
    pub starts: Vec<usize>,
    /// For each kx, where lines follow each other without gaps.
    shifted: Vec<Shifted>,
}

impl Rows {
    fn new(of: &Correlation, strip: Range<usize>) -> Self {
        let ([taps_y, taps_x], [stride, _], [_, width]) = (of.taps, of.stride, of.output);
        let (phases, lines) = (stride.min(taps_y), ((strip.len().max(1) - 1) * stride + taps_y).div_ceil(stride));
        let mut starts = Vec::with_capacity(of.depth());
        for channel in 0..of.channels {
            for ky in 0..taps_y {
                for kx in 0..taps_x {
                    starts.push(((channel * taps_x + kx) * phases * lines + ky % stride * lines + ky / stride) * width);
                }
            }
        }
        let mut shifted = Vec::new();
        if of.stride == [1, 1] && width == of.input[1] {
            let top = strip.start as isize + of.offset[0];
            shifted.extend(
                (0..taps_x)
                    .map(|kx| Shifted::new(kx as isize + of.offset[1], width, clip(top, 1, lines, of.input[0]), top)),
            );
        }
        Self { of: *of, strip, phases, lines, starts, shifted }
    }

    pub(super) fn pixels(&self) -> usize {
        self.strip.len() * self.of.output[1]
    }

    /// Output pixels of an image before the strip.
    pub(super) fn first_pixel(&self) -> usize {
        self.strip.start * self.of.output[1]
    }

    /// Floats of one channel and kx.
    fn plane(&self) -> usize {
        self.phases * self.lines * self.of.output[1]
    }

    /// Floats of one channel.
    fn channel(&self) -> usize {
        self.of.taps[1] * self.plane()
    }

    /// Floats of one image.
    pub(super) fn len(&self) -> usize {
        self.of.channels * self.channel()
    }

    /// Fills `rows` for as many channels as `image` has.
    pub(super) fn fill(&self, image: &[f32], rows: &mut [f32]) {
        let plane = self.of.input[0] * self.of.input[1];
        for (channel, rows) in image.chunks_exact(plane).zip(rows.chunks_exact_mut(self.channel())) {
            for (kx, rows) in rows.chunks_exact_mut(self.plane()).enumerate() {
                match self.shifted.get(kx) {
                    Some(shifted) => shifted.copy(channel, rows),
                    None => self.fill_plane(channel, kx, rows),
                }
            }
        }
    }

    fn fill_plane(&self, channel: &[f32], kx: usize, plane: &mut [f32]) {
        let [height, width] = self.of.input;
        let out_width = self.of.output[1];
        let [stride_y, stride_x] = self.of.stride;
        let shift = kx as isize + self.of.offset[1];
        let seen = clip(shift, stride_x, out_width, width);
        for (phase, lines) in plane.chunks_exact_mut(self.lines * out_width).enumerate() {
            let top = (self.strip.start * stride_y + phase) as isize + self.of.offset[0];
            let inside = clip(top, stride_y, self.lines, height);
            lines[..inside.start * out_width].fill(0.0);
            lines[inside.end * out_width..].fill(0.0);
            for line in inside {
                let source = &channel[(top + (line * stride_y) as isize) as usize * width..][..width];
                let line = &mut lines[line * out_width..][..out_width];
                line[..seen.start].fill(0.0);
                line[seen.end..].fill(0.0);
                for x in seen.clone() {
                    line[x] = source[((x * stride_x) as isize + shift) as usize];
                }
            }
        }
    }
}

/// The copy of a plane whose lines follow each other in the source as in the rows: one piece, shifted, without the columns that wrap round.
struct Shifted {
    /// Floats of the rows that are above the image, written from the image, and of the image before the first one.
    above: usize,
    before: usize,
    source: usize,
    /// All bits of each float to copy, none of each that wraps round.
    mask: Vec<u32>,
}

impl Shifted {
    fn new(shift: isize, width: usize, inside: Range<usize>, top: isize) -> Self {
        let (above, len) = (inside.start * width, inside.len() * width);
        let from = (top + inside.start as isize) * width as isize + shift;
        let seen = clip(shift, 1, width, width);
        let mask: Vec<u32> = (0..len).map(|i| if seen.contains(&(i % width)) { u32::MAX } else { 0 }).collect();
        // What the mask leaves out at either end may lie outside the image: it must not even be read.
        let first = mask.iter().position(|m| *m != 0).unwrap_or(len);
        let last = mask.iter().rposition(|m| *m != 0).map_or(first, |i| i + 1);
        Self { above, before: first, source: (from + first as isize).max(0) as usize, mask: mask[first..last].to_vec() }
    }

    fn copy(&self, image: &[f32], plane: &mut [f32]) {
        let (begin, len) = (self.above + self.before, self.mask.len());
        plane[..begin].fill(0.0);
        plane[begin + len..].fill(0.0);
        if len == 0 {
            return;
        }
        for ((value, source), mask) in
            plane[begin..begin + len].iter_mut().zip(&image[self.source..self.source + len]).zip(&self.mask)
        {
            // Not a product with 0 or 1: the other end of the line may hold an infinity.
            *value = f32::from_bits(source.to_bits() & mask);
        }
    }
}

/// The indices i < `count` with 0 <= i stride + start < `limit`.
pub(super) fn clip(start: isize, stride: usize, count: usize, limit: usize) -> Range<usize> {
    let low = if start < 0 { start.unsigned_abs().div_ceil(stride) } else { 0 };
    let high = (limit as isize - start).max(0) as usize;
    let high = high.div_ceil(stride).min(count);
    low.min(high)..high
}
