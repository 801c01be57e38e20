//! SiLU, x * sigmoid(x), and its derivative.
use super::buffer::filled_by;
use super::lanes::{load, store};
use rayon::prelude::*;
use rten_simd::ops::{BitOps, FloatOps, NumOps};
use rten_simd::{Isa, SimdOp, SimdUnaryOp};
use rten_vecmath::{Exp, Silu};
use std::mem::MaybeUninit;

/// Elements a task takes: 128 KiB in and out stay in the second-level cache.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 16;

/// `x * sigmoid(x)`.
pub(crate) fn silu(x: &[f32]) -> Vec<f32> {
    // SAFETY: the pieces of `out` and `x` pair up, and `map` writes as many elements as it reads.
    unsafe {
        filled_by(x.len(), |out| {
            if x.len() < PARALLEL {
                Silu {}.map(x, out);
            } else {
                out.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(out, x)| {
                    Silu {}.map(x, out);
                });
            }
        })
    }
}

/// `x * sigmoid(x)` over `x` itself.
pub(crate) fn silu_in_place(x: &mut [f32]) {
    if x.len() < PARALLEL {
        Silu {}.map_mut(x);
    } else {
        x.par_chunks_mut(PIECE).for_each(|x| Silu {}.map_mut(x));
    }
}

/// `gradient * silu'(x)`.
pub(crate) fn silu_backward(x: &[f32], gradient: &[f32]) -> Vec<f32> {
    // SAFETY: the pieces of the three slices pair up, and `Backward` writes every element of its output.
    unsafe {
        filled_by(x.len(), |out| {
            if x.len() < PARALLEL {
                backward_piece(x, gradient, out);
            } else {
                out.par_chunks_mut(PIECE)
                    .zip(x.par_chunks(PIECE).zip(gradient.par_chunks(PIECE)))
                    .for_each(|(out, (x, gradient))| backward_piece(x, gradient, out));
            }
        })
    }
}

/// `gradient * silu'(x)` over `gradient` itself.
pub(crate) fn silu_backward_in_place(x: &[f32], gradient: &mut [f32]) {
    let piece = |(x, gradient): (&[f32], &mut [f32])| {
        // One pointer for reading and writing: a second borrow would end the first.
        let (len, out) = (x.len().min(gradient.len()), gradient.as_mut_ptr());
        Backward { x: x.as_ptr(), gradient: out.cast_const(), out, len }.dispatch();
    };
    if x.len() < PARALLEL {
        piece((x, gradient));
    } else {
        x.par_chunks(PIECE).zip(gradient.par_chunks_mut(PIECE)).for_each(piece);
    }
}

fn backward_piece(x: &[f32], gradient: &[f32], out: &mut [MaybeUninit<f32>]) {
    let len = out.len().min(x.len()).min(gradient.len());
    Backward { x: x.as_ptr(), gradient: gradient.as_ptr(), out: out.as_mut_ptr().cast(), len }.dispatch();
}

/// SiLU of a vector.
#[inline(always)]
pub(super) fn value<I: Isa>(isa: I, z: I::F32) -> I::F32 {
    Silu {}.eval(isa, z)
}

/// The derivative `s (1 + z (1 - s))` with `s = sigmoid(z)`.
#[inline(always)]
pub(super) fn derivative<I: Isa>(isa: I, z: I::F32) -> I::F32 {
    let ops = isa.f32();
    let one = ops.one();
    let s = ops.div(one, ops.add(one, Exp::apply(isa, ops.neg(z))));
    ops.mul(s, ops.mul_add(z, ops.sub(one, s), one))
}

/// `out = gradient * silu'(x)`; `gradient` and `out` may be the same memory.
struct Backward {
    x: *const f32,
    gradient: *const f32,
    out: *mut f32,
    len: usize,
}

impl SimdOp for Backward {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let mut at = 0;
        while at < self.len {
            let left = self.len - at;
            // SAFETY: the three pointers are valid for `len` elements, of which `left` are left; a vector of the gradient is read before it is written.
            unsafe {
                let d = derivative(isa, load(ops, self.x.add(at), left));
                let g = load(ops, self.gradient.add(at), left);
                store(ops, ops.mul(d, g), self.out.add(at), left);
            }
            at += ops.len();
        }
    }
}
