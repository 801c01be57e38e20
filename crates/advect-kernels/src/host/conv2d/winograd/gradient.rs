//! The gradient of the weight: G^T (sum over tiles of (B^T d B) (A dY A^T)) G.
use super::super::super::buffer::{self, Shared, filled_by};
use super::super::super::matrix::{self, Left, Right, Target, VECTORS, multiply};
use super::super::super::threads;
use super::super::product::PARALLEL;
use super::super::rows::Correlation;
use super::blocks::{Block, Grid};
use super::correlate::{GAP, Inputs, MOST_LANES};
use super::transforms::{self, PRODUCTS, SEEN, TAPS, TILE};
use super::window::Window;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Floats of a block's tiles, transformed, of input and gradient together: half a megabyte.
const BLOCK: usize = 1 << 17;
/// Channels, in and out, whose sums a task keeps: 36 matrices that take 0.6 MB.
const CHANNELS: usize = 64;
/// Tasks to share among the threads, if there are so many tiles.
const TASKS: usize = 8;

/// The gradient of a 3x3 weight `[channels_out, of.channels]`, from that of the output.
pub(in super::super) fn weight_gradient(
    of: &Correlation,
    batch: usize,
    channels_out: usize,
    x: &[f32],
    gradient: &[f32],
) -> Vec<f32> {
    assert!(x.len() == batch * of.input_len() && gradient.len() == batch * channels_out * of.pixels());
    assert!(of.taps == [TAPS; 2] && of.stride == [1, 1]);
    let lanes = matrix::lanes();
    let chunk = CHANNELS.next_multiple_of(VECTORS * lanes);
    let grid = Grid::new(of, batch, BLOCK / (2 * PRODUCTS * chunk));
    let chunks = [of.channels.div_ceil(chunk), channels_out.div_ceil(chunk)];
    let pairs = chunks[0] * chunks[1];
    // Blocks whose sums are added up apart: by the sizes alone, so that the number of threads changes no bit.
    let groups = TASKS.div_ceil(pairs).clamp(1, grid.blocks().max(1));
    let each = grid.blocks().div_ceil(groups);
    let len = PRODUCTS * (chunk * chunk + GAP);
    let serial = batch * of.pixels() * channels_out * of.depth() < PARALLEL;
    let work = Work { of, grid: &grid, chunk, channels_out, x, gradient };
    let mut sums = buffer::Lines::default();
    let sums = sums.reserve(pairs * groups * len);
    let run = |scratch: &mut Scratch, (task, sums): (usize, &mut [f32])| {
        let (pair, group) = (task / groups, task % groups);
        let first = [pair / chunks[1] * chunk, pair % chunks[1] * chunk];
        for index in group * each..grid.blocks().min((group + 1) * each) {
            work.block(scratch, grid.block(index), first, sums, index > group * each);
        }
    };
    if serial {
        let mut scratch = Scratch::default();
        sums.chunks_exact_mut(len).enumerate().for_each(|task| run(&mut scratch, task));
    } else {
        threads::for_each_chunk_init(sums, len, Scratch::default, |scratch, task, sums| run(scratch, (task, sums)));
    }
    // SAFETY: the chunks and their channels cover the weight; each writes all of its taps.
    unsafe {
        filled_by(channels_out * of.depth(), |out| {
            let out = Shared(out.as_mut_ptr().cast());
            let run = |index: usize| {
                let (to, from) = (index / chunks[0] * lanes, index % chunks[0]);
                let pair = from * chunks[1] + to / chunk;
                Taps {
                    sums: &sums[pair * groups * len..][..groups * len],
                    len,
                    chunk,
                    from: from * chunk..of.channels.min((from + 1) * chunk),
                    to: to..channels_out.min(to + lanes),
                    channels: of.channels,
                    out,
                }
                .dispatch();
            };
            let count = channels_out.div_ceil(lanes) * chunks[0];
            if serial { (0..count).for_each(run) } else { threads::for_each(count, run) }
        })
    }
}

#[derive(Default)]
struct Scratch {
    window: buffer::Lines,
    inputs: buffer::Lines,
    gradients: buffer::Lines,
}

struct Work<'a> {
    of: &'a Correlation,
    grid: &'a Grid,
    /// Channels of a task.
    chunk: usize,
    channels_out: usize,
    x: &'a [f32],
    gradient: &'a [f32],
}

impl Work<'_> {
    /// Adds what a block of tiles contributes to the sums `[point, channel in, channel out]` of a pair of chunks.
    fn block(&self, scratch: &mut Scratch, block: Block, first: [usize; 2], sums: &mut [f32], add: bool) {
        let (of, chunk, across) = (self.of, self.chunk, self.grid.tiles[1]);
        let (per_image, first_line) = (block.rows * across, block.first_row * TILE);
        let step = self.grid.most() * chunk + GAP;
        let [from, to] = [chunk.min(of.channels - first[0]), chunk.min(self.channels_out - first[1])];
        let seen = Window {
            channels: from,
            padded: chunk,
            image: of.input,
            from: [of.offset[0] + first_line as isize, of.offset[1]],
            size: [block.rows * TILE + SEEN - TILE, across * TILE + SEEN - TILE],
        };
        let own = Window {
            channels: to,
            padded: chunk,
            image: of.output,
            from: [first_line as isize, 0],
            size: [block.rows * TILE, across * TILE],
        };
        let (window, inputs) = (scratch.window.reserve(seen.len()), scratch.inputs.reserve(PRODUCTS * step));
        let gradients = scratch.gradients.reserve(PRODUCTS * step);
        for image in 0..block.images {
            let at = per_image * image * chunk;
            let x = (block.first_image + image) * of.input_len() + first[0] * of.input[0] * of.input[1];
            seen.read(&self.x[x..], window);
            Inputs { tiles: [block.rows, across], padded: chunk, seen: window, points: &mut inputs[at..], step }
                .dispatch();
            let y = ((block.first_image + image) * self.channels_out + first[1]) * of.pixels();
            own.read(&self.gradient[y..], window);
            Gradients {
                tiles: [block.rows, across],
                padded: chunk,
                pixels: window,
                points: &mut gradients[at..],
                step,
            }
            .dispatch();
        }
        for k in 0..PRODUCTS {
            // SAFETY: a matrix holds `most` tiles of `chunk` channels, and the sums `chunk` times as many.
            unsafe {
                let left = Left { start: inputs[k * step..].as_ptr(), row_step: 1, depth_step: chunk };
                let right = Right {
                    start: gradients[k * step..].as_ptr(),
                    panel_step: VECTORS * matrix::lanes(),
                    depth_step: chunk,
                };
                let start = sums[k * (chunk * chunk + GAP)..].as_mut_ptr();
                multiply(from, block.images * per_image, to, left, right, Target { start, row_step: chunk, add });
            }
        }
    }
}

/// `A dY A^T` for rows of tiles of an image.
struct Gradients<'a> {
    tiles: [usize; 2],
    padded: usize,
    /// `[line, pixel, channel]`, with zeros behind the edge of the image.
    pixels: &'a [f32],
    /// 36 matrices `[tile, channel]`, `step` apart.
    points: &'a mut [f32],
    step: usize,
}

impl SimdOp for Gradients<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let ([rows, across], lanes) = (self.tiles, ops.len());
        assert!(self.padded.is_multiple_of(lanes));
        assert!(self.pixels.len() >= rows * across * TILE * TILE * self.padded);
        assert!(self.points.len() >= (PRODUCTS - 1) * self.step + rows * across * self.padded);
        for row in 0..rows {
            for channel in (0..self.padded).step_by(lanes) {
                for tile in 0..across {
                    let mut columns = [[ops.zero(); SEEN]; TILE];
                    for (x, column) in columns.iter_mut().enumerate() {
                        let mut y = [ops.zero(); TILE];
                        for (line, y) in y.iter_mut().enumerate() {
                            let pixel = (row * TILE + line) * across * TILE + tile * TILE + x;
                            // SAFETY: the pixel lies inside; its channels are whole vectors.
                            *y = unsafe { ops.load_ptr(self.pixels.as_ptr().add(pixel * self.padded + channel)) };
                        }
                        *column = transforms::output_adjoint(isa, y);
                    }
                    let at = (row * across + tile) * self.padded + channel;
                    for y in 0..SEEN {
                        let line = [columns[0][y], columns[1][y], columns[2][y], columns[3][y]];
                        for (x, value) in transforms::output_adjoint(isa, line).into_iter().enumerate() {
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

/// Adds up the groups and goes back to taps, for a vector of channels out.
struct Taps<'a> {
    /// The sums of each group, `len` apart: 36 matrices `[channel in, channel out]`.
    sums: &'a [f32],
    len: usize,
    chunk: usize,
    from: std::ops::Range<usize>,
    to: std::ops::Range<usize>,
    channels: usize,
    out: Shared,
}

impl SimdOp for Taps<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let lanes = ops.len();
        let mut taps = [0.0f32; TAPS * TAPS * MOST_LANES];
        assert!(lanes <= MOST_LANES && self.to.start % self.chunk + lanes <= self.chunk);
        assert!(self.from.len() <= self.chunk && self.len >= PRODUCTS * (self.chunk * self.chunk + GAP));
        for (row, from) in self.from.clone().enumerate() {
            let mut lines = [[ops.zero(); TAPS]; SEEN];
            for (y, line) in lines.iter_mut().enumerate() {
                let mut s = [ops.zero(); SEEN];
                for (x, s) in s.iter_mut().enumerate() {
                    let at = (y * SEEN + x) * (self.chunk * self.chunk + GAP)
                        + row * self.chunk
                        + self.to.start % self.chunk;
                    for group in self.sums.chunks_exact(self.len) {
                        // SAFETY: a group has 36 matrices of `chunk` rows and columns, `chunk` being whole vectors.
                        *s = ops.add(*s, unsafe { ops.load_ptr(group.as_ptr().add(at)) });
                    }
                }
                *line = transforms::weight_adjoint(isa, s);
            }
            for x in 0..TAPS {
                let mut s = [ops.zero(); SEEN];
                for (s, line) in s.iter_mut().zip(&lines) {
                    *s = line[x];
                }
                for (y, value) in transforms::weight_adjoint(isa, s).into_iter().enumerate() {
                    // SAFETY: there is a vector for each tap.
                    unsafe { ops.store_ptr(value, taps.as_mut_ptr().add((y * TAPS + x) * lanes)) };
                }
            }
            for (i, to) in self.to.clone().enumerate() {
                for tap in 0..TAPS * TAPS {
                    // SAFETY: the weight has these channels, and they belong to this task.
                    unsafe { *self.out.at((to * self.channels + from) * TAPS * TAPS + tap) = taps[tap * lanes + i] };
                }
            }
        }
    }
}
