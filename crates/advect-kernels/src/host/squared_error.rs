//! The mean squared error, and its gradient.
use super::buffer::filled_by;
use super::lanes::{load, store};
use super::threads;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Elements of a piece, whose squares are summed by one task: fixed, so that the number of threads changes no bit.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 16;

/// The mean of `(x - y)^2` over as many elements, one at least.
pub(crate) fn mean(x: &[f32], y: &[f32]) -> f32 {
    assert!(x.len() == y.len() && !x.is_empty());
    let piece = |index: usize| {
        let part = |x: &[f32]| index * PIECE..x.len().min((index + 1) * PIECE);
        Squares { x: &x[part(x)], y: &y[part(y)] }.dispatch()
    };
    let pieces = x.len().div_ceil(PIECE);
    let sum: f64 = if x.len() < PARALLEL {
        (0..pieces).map(|index| f64::from(piece(index))).sum()
    } else {
        threads::map(pieces, piece).into_iter().map(f64::from).sum()
    };
    (sum / x.len() as f64) as f32
}

/// `factor (x - y)`.
pub(crate) fn gradient(x: &[f32], y: &[f32], factor: f32) -> Vec<f32> {
    assert!(x.len() == y.len());
    let piece = |first: usize, out: &mut [MaybeUninit<f32>]| {
        let part = first..first + out.len();
        Difference { x: &x[part.clone()], y: &y[part], factor, out: out.as_mut_ptr().cast() }.dispatch();
    };
    // SAFETY: every element is written.
    unsafe {
        filled_by(x.len(), |out| {
            if out.len() < PARALLEL {
                piece(0, out);
            } else {
                threads::for_each_chunk(out, PIECE, |index, out| piece(index * PIECE, out));
            }
        })
    }
}

/// The sum of `(x - y)^2`.
struct Squares<'a> {
    x: &'a [f32],
    y: &'a [f32],
}

impl SimdOp for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        let (ops, Self { x, y }) = (isa.f32(), self);
        let mut sums = [ops.zero(); 4];
        for (i, at) in (0..x.len()).step_by(ops.len()).enumerate() {
            // SAFETY: so many elements are left of both; lanes behind the end are 0 in both.
            let difference = unsafe {
                let left = x.len() - at;
                ops.sub(load(ops, x.as_ptr().add(at), left), load(ops, y.as_ptr().add(at), left))
            };
            sums[i % 4] = ops.mul_add(difference, difference, sums[i % 4]);
        }
        ops.sum(ops.add(ops.add(sums[0], sums[1]), ops.add(sums[2], sums[3])))
    }
}

struct Difference<'a> {
    x: &'a [f32],
    y: &'a [f32],
    factor: f32,
    /// As many elements.
    out: *mut f32,
}

impl SimdOp for Difference<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, Self { x, y, factor, out }) = (isa.f32(), self);
        let factor = ops.splat(factor);
        for at in (0..x.len()).step_by(ops.len()) {
            // SAFETY: so many elements are left of all three.
            unsafe {
                let left = x.len() - at;
                let difference = ops.sub(load(ops, x.as_ptr().add(at), left), load(ops, y.as_ptr().add(at), left));
                store(ops, ops.mul(difference, factor), out.add(at), left);
            }
        }
    }
}
