//! Two matrices in one: their sum with numbers of each row, and their columns side by side.
use super::buffer::filled_by;
use super::lanes::{load, store};
use super::threads::for_each_chunk;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Elements a task takes, about.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 16;
/// Rows whose numbers are written out at a time, one for each element, where a row is shorter than a vector.
const BLOCK: usize = 64;
/// The widest vector.
const LANES: usize = 16;

/// `a[r] x[r] + b[r] y[r]` for all rows r of `[rows, width]`.
pub(crate) fn mix(width: usize, [x, y]: [&[f32]; 2], [a, b]: [&[f32]; 2]) -> Vec<f32> {
    assert!(x.len() == y.len() && a.len() == b.len() && x.len() == a.len() * width && width > 0);
    // SAFETY: every row is written.
    unsafe {
        filled_by(x.len(), |out| {
            let piece = |first: usize, out: &mut [MaybeUninit<f32>]| {
                let rows = out.len() / width;
                let (x, y, out) = (x.as_ptr().add(first * width), y.as_ptr().add(first * width), out.as_mut_ptr());
                let (a, b) = (&a[first..first + rows], &b[first..first + rows]);
                Mix { width, x, y, a, b, out: out.cast() }.dispatch();
            };
            let rows = (PIECE / width).max(1);
            if out.len() < PARALLEL {
                piece(0, out);
            } else {
                for_each_chunk(out, rows * width, |index, out| piece(index * rows, out));
            }
        })
    }
}

struct Mix<'a> {
    width: usize,
    x: *const f32,
    y: *const f32,
    a: &'a [f32],
    b: &'a [f32],
    out: *mut f32,
}

impl SimdOp for Mix<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let Self { width, x, y, a, b, out } = self;
        let (ops, lanes) = (isa.f32(), isa.f32().len());
        assert!(lanes <= LANES);
        if width < lanes {
            let mut numbers = [[0.0_f32; BLOCK * LANES]; 2];
            for first in (0..a.len()).step_by(BLOCK) {
                let rows = BLOCK.min(a.len() - first);
                spread(&a[first..first + rows], width, &mut numbers[0]);
                spread(&b[first..first + rows], width, &mut numbers[1]);
                for at in (0..rows * width).step_by(lanes) {
                    let (left, place) = (rows * width - at, first * width + at);
                    // SAFETY: so many elements are left of these rows, and of their numbers.
                    unsafe {
                        let (a, b) = (
                            load(ops, numbers[0].as_ptr().add(at), left),
                            load(ops, numbers[1].as_ptr().add(at), left),
                        );
                        let sum = ops.mul(load(ops, x.add(place), left), a);
                        store(ops, ops.mul_add(load(ops, y.add(place), left), b, sum), out.add(place), left);
                    }
                }
            }
            return;
        }
        for (row, (a, b)) in a.iter().zip(b).enumerate() {
            let (a, b) = (ops.splat(*a), ops.splat(*b));
            for at in (0..width).step_by(lanes) {
                let (left, place) = (width - at, row * width + at);
                // SAFETY: so many elements are left of the row.
                unsafe {
                    let sum = ops.mul(load(ops, x.add(place), left), a);
                    store(ops, ops.mul_add(load(ops, y.add(place), left), b, sum), out.add(place), left);
                }
            }
        }
    }
}

/// Writes each number `width` times.
#[inline(always)]
fn spread(numbers: &[f32], width: usize, out: &mut [f32]) {
    match width {
        1 => out[..numbers.len()].copy_from_slice(numbers),
        2 => times::<2>(numbers, out),
        3 => times::<3>(numbers, out),
        4 => times::<4>(numbers, out),
        width => {
            for (number, out) in numbers.iter().zip(out.chunks_exact_mut(width)) {
                out.fill(*number);
            }
        }
    }
}

#[inline(always)]
fn times<const N: usize>(numbers: &[f32], out: &mut [f32]) {
    for (number, out) in numbers.iter().zip(out.as_chunks_mut::<N>().0) {
        *out = [*number; N];
    }
}

/// Rows of `W = M + N` numbers, of `M` and `N`.
fn join<const M: usize, const N: usize, const W: usize>(x: &[f32], y: &[f32], out: &mut [MaybeUninit<f32>]) {
    const { assert!(M + N == W) };
    let rows = x.as_chunks::<M>().0.iter().zip(y.as_chunks::<N>().0);
    for ((x, y), out) in rows.zip(out.as_chunks_mut::<W>().0) {
        *out = std::array::from_fn(|i| MaybeUninit::new(if i < M { x[i] } else { y[i - M] }));
    }
}

/// `[rows, m + n]` of `[rows, m]` and `[rows, n]`.
pub(crate) fn beside(rows: usize, x: &[f32], y: &[f32]) -> Vec<f32> {
    let (m, n) = (x.len() / rows, y.len() / rows);
    assert!(x.len() == rows * m && y.len() == rows * n && m > 0 && n > 0);
    let width = m + n;
    let piece = |first: usize, out: &mut [MaybeUninit<f32>]| {
        let rows = out.len() / width;
        let (x, y) = (&x[first * m..(first + rows) * m], &y[first * n..(first + rows) * n]);
        if width > LANES {
            for ((x, y), out) in x.chunks_exact(m).zip(y.chunks_exact(n)).zip(out.chunks_exact_mut(width)) {
                out[..m].write_copy_of_slice(x);
                out[m..].write_copy_of_slice(y);
            }
            return;
        }
        // A call for each copy of a few numbers would be most of the time.
        match (m, n) {
            (1, 1) => return join::<1, 1, 2>(x, y, out),
            (2, 1) => return join::<2, 1, 3>(x, y, out),
            (3, 1) => return join::<3, 1, 4>(x, y, out),
            _ => {}
        }
        let mut column = |from: &[f32], step: usize, at: usize, to: usize| {
            for (value, out) in from[at..].iter().step_by(step).zip(out[to..].iter_mut().step_by(width)) {
                out.write(*value);
            }
        };
        (0..m).for_each(|i| column(x, m, i, i));
        (0..n).for_each(|i| column(y, n, i, m + i));
    };
    // SAFETY: every column of every row is written.
    unsafe {
        filled_by(rows * width, |out| {
            let rows = (PIECE / width).max(1);
            if out.len() < PARALLEL {
                piece(0, out);
            } else {
                for_each_chunk(out, rows * width, |index, out| piece(index * rows, out));
            }
        })
    }
}
