//! Matrix products over rows: the inner loops of convolution.
use super::super::buffer::{Lines, filled_by};
use super::super::lanes;
use super::super::matrix::{BLOCK, VECTORS, multiply_add};
use super::super::threads;
use super::rows::{Correlation, Rows};
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Multiply-adds below which starting the other threads costs more than the work.
pub(super) const PARALLEL: usize = 1 << 18;

/// A matrix in blocks of eight rows, each block `[depth, 8]`: the eight factors of a step lie side by side.
pub(super) struct PackedRows {
    rows: usize,
    depth: usize,
    values: Vec<f32>,
}

impl PackedRows {
    /// Element (row, d) is `values[row * row_stride + starts[d]]`.
    pub(super) fn new(rows: usize, row_stride: usize, starts: &[usize], values: &[f32]) -> Self {
        let depth = starts.len();
        let mut packed = vec![0.0; rows.next_multiple_of(BLOCK) * depth];
        for row in 0..rows {
            let source = &values[row * row_stride..];
            let block = &mut packed[row / BLOCK * BLOCK * depth..];
            for (slot, start) in block.chunks_exact_mut(BLOCK).zip(starts) {
                slot[row % BLOCK] = source[*start];
            }
        }
        Self { rows, depth, values: packed }
    }
}

/// `out[image, m, pixel] = bias[m] + sum over k of weight[m, k] * row_k[pixel]` for each image of a batch.
pub(super) fn correlate(
    correlation: &Correlation,
    batch: usize,
    x: &[f32],
    weight: &PackedRows,
    bias: &[f32],
) -> Vec<f32> {
    let (tiles, image) = (correlation.tiles(), weight.rows * correlation.pixels());
    // SAFETY: the tiles cover all images, lines and rows of the weight, and each writes all of its pixels.
    unsafe {
        filled_by(batch * image, |out| {
            if out.is_empty() {
                return;
            }
            let chunk = tiles.images * image;
            let tile = |(index, out): (usize, &mut [MaybeUninit<f32>])| {
                let images = out.len() / image;
                let x = &x[index * tiles.images * correlation.input_len()..][..images * correlation.input_len()];
                Tile { correlation, strips: &tiles.strips, images, x, weight, bias, out: out.as_mut_ptr().cast() }
                    .dispatch();
            };
            if batch * image * weight.depth < PARALLEL {
                out.chunks_mut(chunk).enumerate().for_each(tile);
            } else {
                threads::for_each_chunk(out, chunk, |index, out| tile((index, out)));
            }
        })
    }
}

/// A few images, one strip of lines after the other.
struct Tile<'a> {
    correlation: &'a Correlation,
    strips: &'a [Rows],
    images: usize,
    x: &'a [f32],
    weight: &'a PackedRows,
    bias: &'a [f32],
    /// Valid for writes of `images` outputs.
    out: *mut f32,
}

/// A vector of output pixels: where its rows begin relative to the first image's, where it goes, how many of its lanes count.
#[derive(Clone, Copy, Default)]
struct Pixels {
    rows: usize,
    out: usize,
    count: usize,
}

impl SimdOp for Tile<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let vector = isa.f32().len();
        let image_out = self.weight.rows * self.correlation.pixels();
        let mut lines = Lines::default();
        let mut pixels = Vec::new();
        for rows in self.strips {
            // A vector that begins inside a row may end behind the last one.
            let buffer = lines.reserve(self.images * rows.len() + vector);
            for (image, rows_of) in
                self.x.chunks_exact(self.correlation.input_len()).zip(buffer.chunks_exact_mut(rows.len()))
            {
                rows.fill(image, rows_of);
            }
            pixels.clear();
            for image in 0..self.images {
                for at in (0..rows.pixels()).step_by(vector) {
                    let out = image * image_out + rows.first_pixel() + at;
                    pixels.push(Pixels { rows: image * rows.len() + at, out, count: rows.pixels() - at });
                }
            }
            // One output channel, or a few, need more vectors for as many accumulators. (Loops and no closures here: a closure may be compiled without
            // the vector instructions of its caller.)
            let rest = match self.weight.rows {
                1 => {
                    let (parts, rest) = pixels.as_chunks();
                    for part in parts {
                        self.block::<I, 1, 8>(isa, buffer, &rows.starts, 0, *part);
                    }
                    rest
                }
                2..=4 => {
                    let (parts, rest) = pixels.as_chunks();
                    for part in parts {
                        self.block::<I, 4, 4>(isa, buffer, &rows.starts, 0, *part);
                    }
                    rest
                }
                _ => &pixels,
            };
            // The 32 registers of AVX-512 hold a third more sums.
            let (parts, rest) = if vector == 16 { rest.as_chunks::<{ VECTORS + 1 }>() } else { (&[][..], rest) };
            for part in parts {
                self.blocks(isa, buffer, &rows.starts, *part);
            }
            let (parts, rest) = rest.as_chunks::<VECTORS>();
            for part in parts {
                self.blocks(isa, buffer, &rows.starts, *part);
            }
            for pixels in rest {
                self.blocks(isa, buffer, &rows.starts, [*pixels]);
            }
        }
    }
}

impl Tile<'_> {
    #[inline(always)]
    fn blocks<I: Isa, const N: usize>(&self, isa: I, buffer: &[f32], starts: &[usize], pixels: [Pixels; N]) {
        let mut row = 0;
        while row < self.weight.rows {
            match self.weight.rows - row {
                1 => self.block::<I, 1, N>(isa, buffer, starts, row, pixels),
                2..=4 => self.block::<I, 4, N>(isa, buffer, starts, row, pixels),
                _ => self.block::<I, BLOCK, N>(isa, buffer, starts, row, pixels),
            }
            row += BLOCK;
        }
    }

    #[inline(always)]
    fn block<I: Isa, const M: usize, const N: usize>(
        &self,
        isa: I,
        buffer: &[f32],
        starts: &[usize],
        row: usize,
        pixels: [Pixels; N],
    ) {
        let ops = isa.f32();
        let count = M.min(self.weight.rows - row);
        let mut sums = [[ops.zero(); N]; M];
        let bias = &self.bias[row..row + count];
        for (i, sums) in sums.iter_mut().enumerate() {
            // SAFETY: there are `count` of them.
            *sums = [ops.splat(unsafe { *bias.get_unchecked(i.min(count - 1)) }); N];
        }
        let factors = &self.weight.values[row * self.weight.depth..][..BLOCK * self.weight.depth];
        let (factors, base, starts) = (factors.as_ptr(), buffer.as_ptr(), &starts[..self.weight.depth]);
        // SAFETY: a block has `BLOCK` factors for each of `depth` steps, M <= BLOCK; each row is followed by a vector's length of the buffer at least.
        unsafe {
            multiply_add(
                isa,
                &mut sums,
                self.weight.depth,
                |i, d| factors.add(d * BLOCK + i),
                |j, d| base.add(*starts.get_unchecked(d) + pixels[j].rows),
            );
        }
        let plane = self.correlation.pixels();
        // Whole blocks have loops without conditions: the compiler keeps the sums in registers.
        if count == M && pixels.iter().all(|pixels| pixels.count >= ops.len()) {
            for (i, sums) in sums.iter().enumerate() {
                for (sum, pixels) in sums.iter().zip(&pixels) {
                    // SAFETY: as below.
                    unsafe { ops.store_ptr(*sum, self.out.add((row + i) * plane + pixels.out)) };
                }
            }
            return;
        }
        // A copy: sums that are asked for by a number would all lie in memory.
        let last = sums;
        for (i, sums) in last.iter().enumerate().take(count) {
            for (sum, pixels) in sums.iter().zip(&pixels) {
                // SAFETY: `out` holds `images` outputs, and `pixels` has `count` pixels of one of them at `out`.
                unsafe { lanes::store(ops, *sum, self.out.add((row + i) * plane + pixels.out), pixels.count) };
            }
        }
    }
}
