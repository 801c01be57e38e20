//! Linear combinations in one pass.
use super::buffer::filled_by;
use super::lanes::{load, store};
use super::threads::for_each_chunk;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Elements a task takes.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 16;
/// Vectors that are summed side by side.
const WIDE: usize = 4;

/// `scale x + sum of c d`; all slices have one length.
pub(crate) fn weighted_sum(x: &[f32], scale: f32, terms: &[(f32, &[f32])]) -> Vec<f32> {
    check(x.len(), terms);
    // SAFETY: every element is written.
    unsafe {
        filled_by(x.len(), |out| {
            let piece = |first: usize, out: &mut [MaybeUninit<f32>]| {
                // SAFETY: the piece begins inside of every slice, and ends there.
                Sum { x: x.as_ptr().add(first), scale, terms, first, out: out.as_mut_ptr().cast(), len: out.len() }
                    .dispatch();
            };
            if out.len() < PARALLEL {
                piece(0, out);
            } else {
                for_each_chunk(out, PIECE, |index, out| piece(index * PIECE, out));
            }
        })
    }
}

/// The same over `x` itself.
pub(crate) fn weighted_sum_in_place(x: &mut [f32], scale: f32, terms: &[(f32, &[f32])]) {
    check(x.len(), terms);
    let piece = |first: usize, x: &mut [f32]| {
        // One pointer for reading and writing: a second borrow would end the first.
        let (len, out) = (x.len(), x.as_mut_ptr());
        Sum { x: out.cast_const(), scale, terms, first, out, len }.dispatch();
    };
    if x.len() < PARALLEL { piece(0, x) } else { for_each_chunk(x, PIECE, |index, x| piece(index * PIECE, x)) }
}

fn check(len: usize, terms: &[(f32, &[f32])]) {
    assert!(terms.iter().all(|(_, d)| d.len() == len), "the terms of a sum of {len} elements have others");
}

/// A piece of the sum, from element `first` of the terms on; `x` and `out` point at it, and may be the same memory.
struct Sum<'a> {
    x: *const f32,
    scale: f32,
    terms: &'a [(f32, &'a [f32])],
    first: usize,
    out: *mut f32,
    len: usize,
}

impl SimdOp for Sum<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let (lanes, scale) = (ops.len(), ops.splat(self.scale));
        let mut at = 0;
        while self.len - at >= WIDE * lanes {
            let mut sums = [ops.zero(); WIDE];
            // SAFETY: so many elements are left in `x`, in `out`, and in the terms from `first` on.
            unsafe {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = ops.mul(ops.load_ptr(self.x.add(at + i * lanes)), scale);
                }
                for (c, d) in self.terms {
                    let (c, d) = (ops.splat(*c), d.as_ptr().add(self.first + at));
                    for (i, sum) in sums.iter_mut().enumerate() {
                        *sum = ops.mul_add(c, ops.load_ptr(d.add(i * lanes)), *sum);
                    }
                }
                for (i, sum) in sums.into_iter().enumerate() {
                    ops.store_ptr(sum, self.out.add(at + i * lanes));
                }
            }
            at += WIDE * lanes;
        }
        while at < self.len {
            let left = self.len - at;
            // SAFETY: as above.
            unsafe {
                let mut sum = ops.mul(load(ops, self.x.add(at), left), scale);
                for (c, d) in self.terms {
                    sum = ops.mul_add(ops.splat(*c), load(ops, d.as_ptr().add(self.first + at), left), sum);
                }
                store(ops, sum, self.out.add(at), left);
            }
            at += lanes;
        }
    }
}
