//! The softmax of rows.
use super::activation::exp_of_negative;
use super::buffer::{Shared, filled_by};
use super::lanes::{load, store};
use super::threads;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

/// Elements a task takes at least; it always takes whole rows.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 15;

/// The softmax of rows of `len` elements.
pub(crate) fn softmax(x: &[f32], len: usize) -> Vec<f32> {
    // SAFETY: the pieces cover all rows, and `Softmax` writes every element of its rows.
    unsafe {
        filled_by(x.len(), |out| {
            let out = Shared(out.as_mut_ptr().cast());
            each(x.len(), len, |first, rows| {
                let (from, to) = (x[first..first + rows * len].as_ptr(), out.at(first));
                Softmax { from, to, rows, len, pitch: len, scale: 1.0 }.dispatch();
            });
        })
    }
}

/// The gradient of the input, from the output and its gradient.
pub(crate) fn backward(y: &[f32], gradient: &[f32], len: usize) -> Vec<f32> {
    // SAFETY: as in `softmax`.
    unsafe {
        filled_by(y.len(), |out| {
            let out = Shared(out.as_mut_ptr().cast());
            each(y.len(), len, |first, rows| {
                let part = first..first + rows * len;
                let (weights, from, to) = (y[part.clone()].as_ptr(), gradient[part].as_ptr(), out.at(first));
                SoftmaxBackward { weights, from, to, rows, len, pitch: len, scale: 1.0 }.dispatch();
            });
        })
    }
}

/// Calls `task` for pieces of whole rows, with the first element and the number of rows.
fn each(total: usize, len: usize, task: impl Fn(usize, usize) + Sync) {
    let rows = (PIECE / len).max(1);
    let piece = |index: usize| {
        let first = index * rows * len;
        task(first, rows.min((total - first) / len));
    };
    let count = (total / len).div_ceil(rows);
    if total < PARALLEL {
        (0..count).for_each(piece);
    } else {
        threads::for_each(count, piece);
    }
}

/// The softmax of rows, multiplied with a scale first; `from` and `to` may be the same memory.
pub(super) struct Softmax {
    pub from: *const f32,
    pub to: *mut f32,
    pub rows: usize,
    pub len: usize,
    /// From a row to the next.
    pub pitch: usize,
    pub scale: f32,
}

impl SimdOp for Softmax {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let (lanes, scale) = (ops.len(), ops.splat(self.scale));
        for row in 0..self.rows {
            // SAFETY: each row has `len` elements, of which `left` are left.
            unsafe {
                let (from, to) = (self.from.add(row * self.pitch), self.to.add(row * self.pitch));
                let mut most = ops.splat(f32::NEG_INFINITY);
                let mut at = 0;
                while at + lanes <= self.len {
                    most = ops.max(most, ops.load_ptr(from.add(at)));
                    at += lanes;
                }
                if at < self.len {
                    let mask = ops.first_n_mask(self.len - at);
                    most = ops.max(most, ops.select(ops.load_ptr_mask(from.add(at), mask), most, mask));
                }
                let most = ops.splat(largest(most, lanes));
                let mut sum = ops.zero();
                let mut at = 0;
                while at < self.len {
                    let left = self.len - at;
                    let value = exp_of_negative(isa, ops.mul(ops.sub(load(ops, from.add(at), left), most), scale));
                    store(ops, value, to.add(at), left);
                    let counts =
                        if left >= lanes { value } else { ops.select(value, ops.zero(), ops.first_n_mask(left)) };
                    sum = ops.add(sum, counts);
                    at += lanes;
                }
                let part = ops.splat(1.0 / ops.sum(sum));
                let mut at = 0;
                while at < self.len {
                    let left = self.len - at;
                    store(ops, ops.mul(load(ops, to.add(at), left), part), to.add(at), left);
                    at += lanes;
                }
            }
        }
    }
}

/// The largest element of a vector.
#[inline(always)]
fn largest<S: Simd<Elem = f32>>(vector: S, mut len: usize) -> f32 {
    let mut values = vector.to_array();
    while len > 1 {
        len /= 2;
        for i in 0..len {
            values[i] = if values[i + len] > values[i] { values[i + len] } else { values[i] };
        }
    }
    values[0]
}

/// The gradient of the input of a softmax from its output and the gradient of that, `P (dP - sum(P dP)) scale`, row by
/// row; `from` and `to` may be the same memory.
pub(super) struct SoftmaxBackward {
    pub weights: *const f32,
    pub from: *const f32,
    pub to: *mut f32,
    pub rows: usize,
    pub len: usize,
    /// From a row to the next.
    pub pitch: usize,
    pub scale: f32,
}

impl SimdOp for SoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        for row in 0..self.rows {
            // SAFETY: each row has `len` elements, of which `left` are left.
            unsafe {
                let weights = self.weights.add(row * self.pitch);
                let (from, to) = (self.from.add(row * self.pitch), self.to.add(row * self.pitch));
                let mut sum = ops.zero();
                let mut at = 0;
                while at < self.len {
                    let left = self.len - at;
                    sum = ops.mul_add(load(ops, weights.add(at), left), load(ops, from.add(at), left), sum);
                    at += ops.len();
                }
                let (mean, scale) = (ops.splat(ops.sum(sum)), ops.splat(self.scale));
                let mut at = 0;
                while at < self.len {
                    let left = self.len - at;
                    let slope = ops.sub(load(ops, from.add(at), left), mean);
                    let weight = ops.mul(load(ops, weights.add(at), left), scale);
                    store(ops, ops.mul(weight, slope), to.add(at), left);
                    at += ops.len();
                }
            }
        }
    }
}
