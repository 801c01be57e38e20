//! The output, or the gradient of the input: transform, 36 products, transform back.
use super::super::super::buffer::{self, Shared, filled_by};
use super::super::super::lanes::load;
use super::super::super::matrix::{self, Left, Right, Target, VECTORS, multiply_ahead};
use super::super::super::threads;
use super::super::product::PARALLEL;
use super::super::rows::Correlation;
use super::blocks::{Block, Grid};
use super::transforms::{self, PRODUCTS, SEEN, TAPS, TILE};
use super::window::{Strip, Window};
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Floats of a block's transformed input and of its products with some panels, at most: a megabyte and a half.
const BLOCK: usize = 372_000;
/// Tiles of a block, at most: more leave the second-level cache, fewer read the transformed weight too often.
const TILES: usize = 32;
/// Panels of the right matrix whose products are made, and transformed back, together.
const PANELS: usize = 2;
/// Floats between one of the 36 matrices and the next beyond its own: matrices a power of two apart would share lines
/// of the first-level cache.
pub(super) const GAP: usize = 16;

/// How a weight lies in memory: tap (y, x) from channel `from` to channel `to` is at
/// `from * from_step + to * to_step + 3 y + x`, or at the opposite tap.
#[derive(Clone, Copy)]
pub(crate) struct WeightView<'a> {
    pub values: &'a [f32],
    pub from_step: usize,
    pub to_step: usize,
    /// Where the first tap lies, and the step to the next: 0 and 1, or 8 and -1.
    pub taps: [isize; 2],
}

/// `out[image, to] = bias[to] + sum over channels of the correlations with weight[from, to]`, for a 3x3 weight.
pub(in super::super) fn correlate(
    of: &Correlation,
    batch: usize,
    x: &[f32],
    weight: WeightView<'_>,
    bias: &[f32],
) -> Vec<f32> {
    let (lanes, channels_out) = (matrix::lanes(), bias.len());
    let (padded, width) = (of.channels.next_multiple_of(lanes), PANELS * VECTORS * lanes);
    let grid = Grid::new(of, batch, (BLOCK / (PRODUCTS * (padded + width))).min(TILES));
    let panels = channels_out.div_ceil(width);
    assert!(x.len() == batch * of.input_len() && of.taps == [TAPS; 2] && of.stride == [1, 1]);
    let serial = batch * of.pixels() * channels_out * of.depth() < PARALLEL;
    let points = weight_points(&weight, of.channels, channels_out, width, serial);
    let mut bias = bias.to_vec();
    bias.resize(panels * width, 0.0);
    // SAFETY: the blocks cover all images and tiles, and each writes all pixels of its own.
    unsafe {
        filled_by(batch * channels_out * of.pixels(), |out| {
            let out = Shared(out.as_mut_ptr().cast());
            let work =
                Correlate { of, lanes, grid: &grid, padded, width, channels_out, x, points: &points, bias: &bias, out };
            let run = |scratch: &mut Scratch, index: usize| work.block(scratch, grid.block(index));
            if serial {
                let mut scratch = Scratch::default();
                (0..grid.blocks()).for_each(|index| run(&mut scratch, index));
            } else {
                threads::for_each_init(grid.blocks(), Scratch::default, run);
            }
        })
    }
}

/// What a task keeps between its blocks.
#[derive(Default)]
struct Scratch {
    window: buffer::Lines,
    points: buffer::Lines,
    products: buffer::Lines,
    pixels: buffer::Lines,
}

struct Correlate<'a> {
    of: &'a Correlation,
    grid: &'a Grid,
    lanes: usize,
    /// Input channels, rounded up to whole vectors.
    padded: usize,
    /// Output channels of a panel.
    width: usize,
    channels_out: usize,
    x: &'a [f32],
    points: &'a [f32],
    bias: &'a [f32],
    out: Shared,
}

impl Correlate<'_> {
    fn block(&self, scratch: &mut Scratch, block: Block) {
        let (of, across, panel) = (self.of, self.grid.tiles[1], self.width / PANELS);
        let per_image = block.rows * across;
        let (tiles, most) = (block.images * per_image, self.grid.most());
        let (input_step, product_step) = (most * self.padded + GAP, most * self.width + GAP);
        let first_line = block.first_row * TILE;
        let window = Window {
            channels: of.channels,
            padded: self.padded,
            image: of.input,
            from: [of.offset[0] + first_line as isize, of.offset[1]],
            size: [block.rows * TILE + SEEN - TILE, across * TILE + SEEN - TILE],
        };
        let seen = scratch.window.reserve(window.len());
        let input = scratch.points.reserve(PRODUCTS * input_step);
        for image in 0..block.images {
            window.read(&self.x[(block.first_image + image) * of.input_len()..][..of.input_len()], seen);
            Inputs {
                tiles: [block.rows, across],
                padded: self.padded,
                seen,
                points: &mut input[image * per_image * self.padded..],
                step: input_step,
            }
            .dispatch();
        }
        let products = scratch.products.reserve(PRODUCTS * product_step);
        let lines = (of.output[0] - first_line).min(block.rows * TILE);
        let pixels = scratch.pixels.reserve(per_image * TILE * TILE * self.width);
        for first in (0..self.channels_out).step_by(self.width) {
            let columns = self.width.min(self.channels_out - first);
            for k in 0..PRODUCTS {
                let points = &self.points[(first / self.width * PRODUCTS + k) * of.channels * self.width..]
                    [..of.channels * self.width];
                // SAFETY: a matrix holds `most` tiles of `padded` channels in, or of `width` channels out; the weight's
                // holds a panel for each channel in.
                unsafe {
                    let left = Left { start: input[k * input_step..].as_ptr(), row_step: self.padded, depth_step: 1 };
                    let right = Right { start: points.as_ptr(), panel_step: of.channels * panel, depth_step: panel };
                    let target =
                        Target { start: products[k * product_step..].as_mut_ptr(), row_step: self.width, add: false };
                    multiply_ahead(
                        [tiles, of.channels, columns],
                        left,
                        right,
                        points.as_ptr().wrapping_add(points.len()),
                        target,
                    );
                }
            }
            for image in 0..block.images {
                Outputs {
                    tiles: [block.rows, across],
                    width: self.width,
                    columns,
                    products: &products[image * per_image * self.width..],
                    step: product_step,
                    bias: &self.bias[first..],
                    pixels,
                }
                .dispatch();
                let strip = Strip {
                    channels: 0,
                    padded: self.lanes,
                    lines,
                    columns: across * TILE,
                    width: of.output[1],
                    plane: of.pixels(),
                };
                for channel in (0..columns).step_by(self.lanes) {
                    let strip = Strip { channels: self.lanes.min(columns - channel), ..strip };
                    let at = ((block.first_image + image) * self.channels_out + first + channel) * of.pixels();
                    let from = pixels[channel * per_image * TILE * TILE..].as_ptr();
                    // SAFETY: the lines of these channels belong to this block alone.
                    unsafe { strip.write(from, self.out.at(at + first_line * of.output[1])) };
                }
            }
        }
    }
}

/// `V = B^T d B` for rows of tiles of an image.
pub(super) struct Inputs<'a> {
    pub tiles: [usize; 2],
    pub padded: usize,
    /// The pixels that the tiles see, `[line, pixel, channel]`.
    pub seen: &'a [f32],
    /// 36 matrices `[tile, channel]`, `step` apart.
    pub points: &'a mut [f32],
    pub step: usize,
}

impl SimdOp for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let ([rows, across], lanes) = (self.tiles, ops.len());
        let line = (across * TILE + SEEN - TILE) * self.padded;
        assert!(self.padded.is_multiple_of(lanes) && self.seen.len() >= (rows * TILE + SEEN - TILE) * line);
        assert!(self.points.len() >= (PRODUCTS - 1) * self.step + rows * across * self.padded);
        for row in 0..rows {
            for channel in (0..self.padded).step_by(lanes) {
                let mut columns = [[ops.zero(); SEEN]; SEEN];
                for tile in 0..across {
                    // Two columns of a tile are the last ones of the tile before.
                    let known = if tile == 0 { 0 } else { SEEN - TILE };
                    for x in 0..known {
                        columns[x] = columns[x + TILE];
                    }
                    for x in known..SEEN {
                        let mut d = [ops.zero(); SEEN];
                        for (y, d) in d.iter_mut().enumerate() {
                            // SAFETY: the pixel lies inside the window; the channels of a pixel are whole vectors.
                            *d = unsafe {
                                let at = (row * TILE + y) * line + (tile * TILE + x) * self.padded + channel;
                                ops.load_ptr(self.seen.as_ptr().add(at))
                            };
                        }
                        columns[x] = transforms::input(isa, d);
                    }
                    let at = (row * across + tile) * self.padded + channel;
                    for y in 0..SEEN {
                        let mut d = [ops.zero(); SEEN];
                        for (d, column) in d.iter_mut().zip(&columns) {
                            *d = column[y];
                        }
                        for (x, value) in transforms::input(isa, d).into_iter().enumerate() {
                            // SAFETY: each of the matrices has this tile and these channels.
                            unsafe {
                                ops.store_ptr(value, self.points.as_mut_ptr().add((y * SEEN + x) * self.step + at));
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `Y = A^T M A` and the bias, for rows of tiles of an image.
struct Outputs<'a> {
    tiles: [usize; 2],
    /// Channels from a tile to the next, and those that count.
    width: usize,
    columns: usize,
    /// 36 matrices `[tile, channel]`, `step` apart.
    products: &'a [f32],
    step: usize,
    bias: &'a [f32],
    /// `[vector of channels, line, pixel, channel]`.
    pixels: &'a mut [f32],
}

impl SimdOp for Outputs<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let ([rows, across], lanes) = (self.tiles, ops.len());
        assert!(self.products.len() >= (PRODUCTS - 1) * self.step + rows * across * self.width);
        assert!(self.pixels.len() >= rows * across * TILE * TILE * self.width && self.width.is_multiple_of(lanes));
        assert!(self.bias.len() >= self.width);
        for channel in (0..self.columns).step_by(lanes) {
            // SAFETY: the bias is as long as a panel.
            let bias = unsafe { ops.load_ptr(self.bias.as_ptr().add(channel)) };
            for row in 0..rows {
                for tile in 0..across {
                    let at = (row * across + tile) * self.width + channel;
                    let mut lines = [[ops.zero(); TILE]; SEEN];
                    for (y, line) in lines.iter_mut().enumerate() {
                        let mut m = [ops.zero(); SEEN];
                        for (x, m) in m.iter_mut().enumerate() {
                            // SAFETY: each of the matrices has this tile and these channels.
                            *m = unsafe { ops.load_ptr(self.products.as_ptr().add((y * SEEN + x) * self.step + at)) };
                        }
                        *line = transforms::output(isa, m);
                    }
                    for x in 0..TILE {
                        let mut m = [ops.zero(); SEEN];
                        for (m, line) in m.iter_mut().zip(&lines) {
                            *m = line[x];
                        }
                        for (y, value) in transforms::output(isa, m).into_iter().enumerate() {
                            let pixel = (row * TILE + y) * across * TILE + tile * TILE + x;
                            // SAFETY: the pixel lies inside, its channels are whole vectors.
                            unsafe {
                                let to =
                                    self.pixels.as_mut_ptr().add(pixel * lanes + channel * rows * across * TILE * TILE);
                                ops.store_ptr(ops.add(value, bias), to);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `U = G g G^T` as `[panel, point, channel in, channel out of the panel]`, with zeros behind the last channel out.
fn weight_points(weight: &WeightView<'_>, from: usize, to: usize, width: usize, serial: bool) -> Vec<f32> {
    let panel = PRODUCTS * from * width;
    // SAFETY: each panel writes all of its points.
    unsafe {
        filled_by(to.div_ceil(width) * panel, |out| {
            let out = Shared(out.as_mut_ptr().cast());
            // A piece is some channels in of a panel.
            let pieces = from.div_ceil(PIECE);
            let run = |index: usize| {
                let (first, channel) = (index / pieces * width, index % pieces * PIECE);
                Points {
                    weight,
                    from: channel..from.min(channel + PIECE),
                    to: first..to.min(first + width),
                    width,
                    step: from * width,
                    out: Shared(out.at(index / pieces * panel)),
                }
                .dispatch();
            };
            let count = to.div_ceil(width) * pieces;
            if serial { (0..count).for_each(run) } else { threads::for_each(count, run) }
        })
    }
}

/// Channels in whose weights are transformed by one task.
const PIECE: usize = 32;

struct Points<'a> {
    weight: &'a WeightView<'a>,
    from: std::ops::Range<usize>,
    to: std::ops::Range<usize>,
    width: usize,
    /// From a point to the next.
    step: usize,
    out: Shared,
}

impl SimdOp for Points<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let lanes = ops.len();
        let WeightView { values, from_step, to_step, taps: [first_tap, tap_step] } = *self.weight;
        let panel = self.width / PANELS;
        let mut gathered = [0.0f32; TAPS * TAPS * MOST_LANES];
        assert!(lanes <= MOST_LANES && self.width.is_multiple_of(lanes));
        for from in self.from.clone() {
            for column in (0..self.width).step_by(lanes) {
                let channels = self.to.len().saturating_sub(column).min(lanes);
                if channels < lanes {
                    gathered.fill(0.0);
                }
                for i in 0..channels {
                    let taps = &values[from * from_step + (self.to.start + column + i) * to_step..][..TAPS * TAPS];
                    for tap in 0..TAPS * TAPS {
                        gathered[tap * lanes + i] = taps[(first_tap + tap as isize * tap_step) as usize];
                    }
                }
                let mut lines = [[ops.zero(); SEEN]; TAPS];
                for (y, line) in lines.iter_mut().enumerate() {
                    let mut g = [ops.zero(); TAPS];
                    for (x, g) in g.iter_mut().enumerate() {
                        // SAFETY: the nine taps have a vector each.
                        *g = unsafe { load(ops, gathered.as_ptr().add((y * TAPS + x) * lanes), lanes) };
                    }
                    *line = transforms::weight(isa, g);
                }
                for x in 0..SEEN {
                    for (y, value) in
                        transforms::weight(isa, [lines[0][x], lines[1][x], lines[2][x]]).into_iter().enumerate()
                    {
                        let at = (y * SEEN + x) * self.step
                            + column / panel * self.step / PANELS
                            + from * panel
                            + column % panel;
                        // SAFETY: a panel has a vector here for each point and channel in, and belongs to this piece.
                        unsafe { ops.store_ptr(value, self.out.at(at)) };
                    }
                }
            }
        }
    }
}

/// The longest vector there is.
pub(super) const MOST_LANES: usize = 64;
