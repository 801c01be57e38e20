//! 1x1 taps: for each image, one matrix product `[channel out, channel in] x [channel in, pixel]`.
use super::super::buffer::{Lines, Shared, filled_by};
use super::super::matrix::{self, Left, Right, Target, VECTORS, multiply_biased};
use super::super::threads;
use super::super::tiles::{self, Operand, Page};
use super::product::PARALLEL;
use super::rows::Correlation;

/// Floats of a block of pixels: a quarter of a megabyte, beside the weight in the second-level cache.
const BLOCK: usize = 1 << 16;

/// Where the weight from an input to an output channel lies.
#[derive(Clone, Copy)]
pub(super) struct Weight<'a> {
    pub values: &'a [f32],
    pub by_output: usize,
    pub by_input: usize,
}

/// Whether each output pixel sees the input pixel at its place, and no other.
pub(super) fn suits(of: &Correlation) -> bool {
    of.taps == [1, 1] && of.stride == [1, 1] && of.offset == [0, 0] && of.input == of.output
}

/// `out[image, to, pixel] = bias[to] + sum over from of weight[to, from] x[image, from, pixel]`.
pub(super) fn correlate(of: &Correlation, batch: usize, x: &[f32], weight: Weight<'_>, bias: &[f32]) -> Vec<f32> {
    let (from, to, pixels) = (of.channels, bias.len(), of.pixels());
    assert!(x.len() == batch * of.input_len() && weight.values.len() == from * to && suits(of));
    if batch > 0 && tiles::many_pay([to, from, pixels]) {
        let Weight { values, by_output, by_input } = weight;
        let left = Operand { values, line: by_output, deep: by_input, page: Page::ONE };
        let mut out = Vec::with_capacity(batch * to * pixels);
        crate::memory::grown();
        // SAFETY: there is room for so many, and all of them are written if the answer is yes.
        unsafe {
            if tiles::products([to, from, pixels], left, x, out.as_mut_ptr(), bias) {
                out.set_len(batch * to * pixels);
                return out;
            }
        }
    }
    let panel = VECTORS * matrix::lanes();
    let block = (BLOCK / from).next_multiple_of(panel).min(pixels.next_multiple_of(panel));
    let blocks = pixels.div_ceil(block);
    // SAFETY: the blocks cover all pixels of all images, and each writes all channels of its own.
    unsafe {
        filled_by(batch * to * pixels, |out| {
            let out = Shared(out.as_mut_ptr().cast());
            let run = |scratch: &mut Lines, index: usize| {
                let (image, first) = (index / blocks, index % blocks * block);
                let count = block.min(pixels - first);
                // Panels [channel, pixel]: what a vector reads behind the last pixel counts for none.
                let panels = scratch.reserve(from * block);
                for (at, panels) in (0..count).step_by(panel).zip(panels.chunks_exact_mut(from * panel)) {
                    let count = panel.min(count - at);
                    let lines = x[image * of.input_len()..][..of.input_len()].chunks_exact(pixels);
                    for (line, panel) in lines.zip(panels.chunks_exact_mut(panel)) {
                        panel[..count].copy_from_slice(&line[first + at..][..count]);
                    }
                }
                let left =
                    Left { start: weight.values.as_ptr(), row_step: weight.by_output, depth_step: weight.by_input };
                let right = Right { start: panels.as_ptr(), panel_step: from * panel, depth_step: panel };
                let start = out.at(image * to * pixels + first);
                let target = Target { start, row_step: pixels, add: false };
                multiply_biased([to, from, count], left, right, bias.as_ptr(), target);
            };
            if batch * pixels * from * to < PARALLEL {
                let mut scratch = Lines::default();
                (0..batch * blocks).for_each(|index| run(&mut scratch, index));
            } else {
                threads::for_each_init(batch * blocks, Lines::default, run);
            }
        })
    }
}

/// `out[to, from] = sum over images and pixels of gradient[image, to, pixel] x[image, from, pixel]`, where the processor has a fast way for it.
pub(super) fn weight_gradient(
    of: &Correlation,
    batch: usize,
    to: usize,
    x: &[f32],
    gradient: &[f32],
) -> Option<Vec<f32>> {
    let (from, pixels) = (of.channels, of.pixels());
    assert!(x.len() == batch * of.input_len() && gradient.len() == batch * to * pixels);
    // A step of the depth lies within an image.
    if batch == 0 || !suits(of) || !pixels.is_multiple_of(tiles::STEP) || !tiles::pays([to, batch * pixels, from]) {
        return None;
    }
    let operand = |values, channels: usize| {
        let page = Page { steps: pixels, floats: channels * pixels };
        Operand { values, line: pixels, deep: 1, page }
    };
    let mut out = Vec::with_capacity(to * from);
    // SAFETY: there is room for so many, and all of them are written if the answer is yes.
    unsafe {
        let sizes = [to, batch * pixels, from];
        let done = tiles::product(sizes, operand(gradient, to), operand(x, from), out.as_mut_ptr(), None);
        done.then(|| {
            out.set_len(to * from);
            out
        })
    }
}
