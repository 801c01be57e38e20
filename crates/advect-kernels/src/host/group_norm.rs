//! Group normalisation with an optional SiLU behind it.
use super::activation::{Function, Silu};
use super::buffer::filled_by;
use super::lanes::{load, store, sum};
use super::threads;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Elements a task takes at least; it always takes whole groups.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 15;

/// A group normalisation of `[batch, channels, pixels]`.
#[derive(Clone, Copy)]
pub(crate) struct GroupNorm<'a> {
    /// Channels that share a mean and a variance.
    pub channels: usize,
    pub groups: usize,
    pub pixels: usize,
    /// `[channels]`, or `[batch, channels]` where each image has its own; `beta` likewise.
    pub gamma: &'a [f32],
    pub beta: &'a [f32],
    pub epsilon: f32,
    /// Whether SiLU follows.
    pub silu: bool,
}

/// The gradients of a group normalisation.
pub(crate) struct Gradients {
    pub x: Vec<f32>,
    /// Those of gamma and beta that each channel of each image adds, in pairs: `[batch, channels]`.
    pub sums: Vec<[f32; 2]>,
}

impl Gradients {
    /// The gradients of gamma and beta that all images share, each image's part multiplied with `factor(image,
    /// channel)`.
    pub(crate) fn shared(&self, channels: usize, factor: impl Fn(usize, usize) -> f32) -> [Vec<f32>; 2] {
        let mut totals = vec![[0.0f64; 2]; channels];
        for (image, sums) in self.sums.chunks_exact(channels.max(1)).enumerate() {
            for (channel, (total, sum)) in totals.iter_mut().zip(sums).enumerate() {
                let factor = f64::from(factor(image, channel));
                total[0] += factor * f64::from(sum[0]);
                total[1] += factor * f64::from(sum[1]);
            }
        }
        [0, 1].map(|which| totals.iter().map(|total| total[which] as f32).collect())
    }
}

impl GroupNorm<'_> {
    /// Channels and elements of one group of one image: the groups lie one behind the other in memory.
    fn unit(&self) -> (usize, usize) {
        let channels = self.channels / self.groups;
        (channels, channels * self.pixels)
    }

    /// Groups a task takes.
    fn piece(&self) -> usize {
        PIECE.div_ceil(self.unit().1.max(1)).max(1)
    }

    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        if x.is_empty() {
            return Vec::new();
        }
        let piece = self.piece();
        let chunk = piece * self.unit().1;
        let task = |index: usize, out: &mut [MaybeUninit<f32>]| {
            let x = &x[index * chunk..][..out.len()];
            Forward { norm: *self, first: index * piece, x, out }.dispatch()
        };
        // SAFETY: `Forward` writes every element of its piece of the output, and the pieces cover it.
        unsafe {
            filled_by(x.len(), |out| {
                if x.len() < PARALLEL {
                    task(0, out);
                } else {
                    threads::for_each_chunk(out, chunk, task);
                }
            })
        }
    }

    pub(crate) fn backward(&self, x: &[f32], gradient: &[f32]) -> Gradients {
        if x.is_empty() {
            return Gradients { x: Vec::new(), sums: Vec::new() };
        }
        let (channels, unit) = self.unit();
        let piece = self.piece();
        let chunk = piece * unit;
        // A pair of sums (of the gradients of gamma and beta) for each channel of each image: added up below in one
        // order.
        let mut sums = vec![[0.0f32; 2]; x.len() / self.pixels];
        let task = |index: usize, out: &mut [MaybeUninit<f32>], sums: &mut [[f32; 2]]| {
            let [x, gradient] = [x, gradient].map(|all| &all[index * chunk..][..out.len()]);
            Backward { norm: *self, first: index * piece, x, gradient, out, sums }.dispatch();
        };
        // SAFETY: `Backward` writes every element of its piece of the output, and the pieces cover it.
        let dx = unsafe {
            filled_by(x.len(), |out| {
                if x.len() < PARALLEL {
                    task(0, out, &mut sums);
                } else {
                    threads::for_each_chunk_pair((out, chunk), (&mut sums, piece * channels), task);
                }
            })
        };
        Gradients { x: dx, sums }
    }
}

/// Mean and reciprocal standard deviation: in two passes over data that is in the cache, since one pass cancels when
/// the mean is far from zero.
#[inline(always)]
fn moments<I: Isa>(isa: I, x: &[f32], epsilon: f32) -> (f32, f32) {
    let ops = isa.f32();
    let mean = sum(isa, x, |v| v) / x.len() as f32;
    let shift = ops.splat(mean);
    let squares = sum(isa, x, |v| {
        let d = ops.sub(v, shift);
        ops.mul(d, d)
    });
    (mean, 1.0 / (squares / x.len() as f32 + epsilon).sqrt())
}

struct Forward<'a> {
    norm: GroupNorm<'a>,
    /// The index of the first group of the piece, counted over all images.
    first: usize,
    x: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { norm, first, x, out } = self;
        let (channels, unit) = norm.unit();
        for (index, (x, out)) in x.chunks_exact(unit).zip(out.chunks_exact_mut(unit)).enumerate() {
            let (mean, rstd) = moments(isa, x, norm.epsilon);
            let channel = (first + index) * channels % norm.gamma.len();
            let shift = ops.splat(mean);
            for (c, (x, out)) in x.chunks_exact(norm.pixels).zip(out.chunks_exact_mut(norm.pixels)).enumerate() {
                let scale = ops.splat(norm.gamma[channel + c] * rstd);
                let offset = ops.splat(norm.beta[channel + c]);
                let mut at = 0;
                while at < x.len() {
                    let left = x.len() - at;
                    // SAFETY: `left` elements are left of both slices, which are equally long.
                    unsafe {
                        // The mean goes first: x scale + (beta - mean scale) would cancel where the mean is large.
                        let z = ops.mul_add(ops.sub(load(ops, x.as_ptr().add(at), left), shift), scale, offset);
                        let y = if norm.silu { Silu.value(isa, z) } else { z };
                        store(ops, y, out.as_mut_ptr().cast::<f32>().add(at), left);
                    }
                    at += ops.len();
                }
            }
        }
    }
}

struct Backward<'a> {
    norm: GroupNorm<'a>,
    /// The index of the first group of the piece, counted over all images.
    first: usize,
    x: &'a [f32],
    gradient: &'a [f32],
    out: &'a mut [MaybeUninit<f32>],
    sums: &'a mut [[f32; 2]],
}

impl SimdOp for Backward<'_> {
    type Output = ();

    // With h = (x - mean) rstd, z = gamma h + beta and g = dL/dz:
    // dgamma = sum g h, dbeta = sum g, dx = rstd (gamma g - mean(gamma g) - h mean(gamma g h)), the means over the
    // group.
    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let lanes = ops.len();
        let Self { norm, first, x, gradient, out, sums } = self;
        let (channels, unit) = norm.unit();
        let groups = x
            .chunks_exact(unit)
            .zip(gradient.chunks_exact(unit))
            .zip(out.chunks_exact_mut(unit))
            .zip(sums.chunks_exact_mut(channels));
        for (index, (((x, gradient), out), sums)) in groups.enumerate() {
            let (mean, rstd) = moments(isa, x, norm.epsilon);
            let (shift, scale) = (ops.splat(mean), ops.splat(rstd));
            let channel = (first + index) * channels % norm.gamma.len();
            let (out, mut total) = (out.as_mut_ptr().cast::<f32>(), [0.0f32; 2]);
            for (c, sum) in sums.iter_mut().enumerate() {
                let (gamma, beta) = (norm.gamma[channel + c], norm.beta[channel + c]);
                let (gammas, betas) = (ops.splat(gamma), ops.splat(beta));
                let (mut by_h, mut alone) = (ops.zero(), ops.zero());
                let mut at = c * norm.pixels;
                let end = at + norm.pixels;
                while at < end {
                    let left = end - at;
                    // SAFETY: `left` elements of the channel are left in all three buffers.
                    unsafe {
                        let mut g = load(ops, gradient.as_ptr().add(at), left);
                        let h = ops.mul(ops.sub(load(ops, x.as_ptr().add(at), left), shift), scale);
                        if norm.silu {
                            g = ops.mul(g, Silu.derivative(isa, ops.mul_add(h, gammas, betas)));
                        }
                        // Lanes behind the end hold g = 0 (a masked load), so they add nothing.
                        by_h = ops.mul_add(g, h, by_h);
                        alone = ops.add(alone, g);
                        store(ops, ops.mul(g, gammas), out.add(at), left);
                    }
                    at += lanes;
                }
                *sum = [ops.sum(by_h), ops.sum(alone)];
                total = [total[0] + gamma * sum[0], total[1] + gamma * sum[1]];
            }
            let (mean_h, mean_g) = (ops.splat(total[0] / unit as f32), ops.splat(total[1] / unit as f32));
            let mut at = 0;
            while at < unit {
                let left = unit - at;
                // SAFETY: `left` elements of the group are left in both buffers; those of the output were written
                // above.
                unsafe {
                    let h = ops.mul(ops.sub(load(ops, x.as_ptr().add(at), left), shift), scale);
                    let g = load(ops, out.add(at).cast_const(), left);
                    let d = ops.mul(scale, ops.sub(ops.sub(g, mean_g), ops.mul(h, mean_h)));
                    store(ops, d, out.add(at), left);
                }
                at += lanes;
            }
        }
    }
}
