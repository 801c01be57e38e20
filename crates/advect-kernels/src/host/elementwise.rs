//! A function of each element, and its gradient, over slices.
use super::activation::Function;
use super::buffer::filled_by;
use super::lanes::{load, store};
use super::threads::for_each_chunk;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};
use std::mem::MaybeUninit;

/// Elements a task takes: 128 KiB in and out stay in the second-level cache.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 15;

/// `f(x)`.
pub(crate) fn map<F: Function>(f: F, x: &[f32]) -> Vec<f32> {
    let piece = |x: &[f32], out: &mut [MaybeUninit<f32>]| {
        Map { f, x: x.as_ptr(), out: out.as_mut_ptr().cast(), len: x.len().min(out.len()) }.dispatch();
    };
    // SAFETY: the pieces of `out` and `x` pair up, and `Map` writes as many elements as it reads.
    unsafe {
        filled_by(x.len(), |out| {
            if x.len() < PARALLEL {
                piece(x, out);
            } else {
                for_each_chunk(out, PIECE, |index, out| piece(&x[index * PIECE..], out));
            }
        })
    }
}

/// `f(x)` over `x` itself.
pub(crate) fn map_in_place<F: Function>(f: F, x: &mut [f32]) {
    let piece = |x: &mut [f32]| {
        // One pointer for reading and writing: a second borrow would end the first.
        let (len, out) = (x.len(), x.as_mut_ptr());
        Map { f, x: out.cast_const(), out, len }.dispatch();
    };
    if x.len() < PARALLEL { piece(x) } else { for_each_chunk(x, PIECE, |_, x| piece(x)) }
}

/// `gradient * f'(x)`.
pub(crate) fn backward<F: Function>(f: F, x: &[f32], gradient: &[f32]) -> Vec<f32> {
    assert!(x.len() == gradient.len(), "{} inputs have no {} gradients", x.len(), gradient.len());
    let piece = |x: &[f32], gradient: &[f32], out: &mut [MaybeUninit<f32>]| {
        let len = out.len().min(x.len()).min(gradient.len());
        Backward { f, x: x.as_ptr(), gradient: gradient.as_ptr(), out: out.as_mut_ptr().cast(), len }.dispatch();
    };
    // SAFETY: the pieces of the three slices pair up, and `Backward` writes every element of its output.
    unsafe {
        filled_by(x.len(), |out| {
            if x.len() < PARALLEL {
                piece(x, gradient, out);
            } else {
                for_each_chunk(out, PIECE, |index, out| piece(&x[index * PIECE..], &gradient[index * PIECE..], out));
            }
        })
    }
}

/// `gradient * f'(x)` over `gradient` itself.
pub(crate) fn backward_in_place<F: Function>(f: F, x: &[f32], gradient: &mut [f32]) {
    assert!(x.len() == gradient.len(), "{} inputs have no {} gradients", x.len(), gradient.len());
    let piece = |x: &[f32], gradient: &mut [f32]| {
        let (len, out) = (x.len().min(gradient.len()), gradient.as_mut_ptr());
        Backward { f, x: x.as_ptr(), gradient: out.cast_const(), out, len }.dispatch();
    };
    if x.len() < PARALLEL {
        piece(x, gradient);
    } else {
        for_each_chunk(gradient, PIECE, |index, gradient| piece(&x[index * PIECE..], gradient));
    }
}

/// A function over a few elements, as part of another operator.
#[derive(Clone, Copy)]
pub(crate) struct Pointwise {
    /// `f(x)` from the first pointer to the second.
    ///
    /// # Safety
    ///
    /// The first is valid for reads of so many elements, the second for writes.
    pub(super) value: unsafe fn(*const f32, *mut f32, usize),
    /// `f(x)` and `f'(x)`, to the second and the third.
    ///
    /// # Safety
    ///
    /// The first is valid for reads of so many elements, the others for writes.
    pub(super) both: unsafe fn(*const f32, *mut f32, *mut f32, usize),
}

impl Pointwise {
    /// That of a function without fields.
    pub(crate) fn of<F: Function + Default>(_: F) -> Self {
        Self {
            value: |x, out, len| Map { f: F::default(), x, out, len }.dispatch(),
            both: |x, value, slope, len| Both { f: F::default(), x, value, slope, len }.dispatch(),
        }
    }
}

/// Work on `len` elements, a vector at a time. (A method, and no closure: one that is called from several places is not always compiled with the vector
/// instructions of its caller.)
trait Vectors: Sized {
    fn len(&self) -> usize;

    /// The elements from `at` on: a vector of them, or the `left` ones that are left.
    fn vector<I: Isa>(&self, isa: I, at: usize, left: usize);

    /// All elements: at first pairs of whole vectors, which need no conditions.
    #[inline(always)]
    fn run<I: Isa>(self, isa: I) {
        let (lanes, len) = (isa.f32().len(), self.len());
        let (mut at, pairs) = (0, len / (2 * lanes) * 2 * lanes);
        while at < pairs {
            self.vector(isa, at, lanes);
            self.vector(isa, at + lanes, lanes);
            at += 2 * lanes;
        }
        while at < len {
            self.vector(isa, at, len - at);
            at += lanes;
        }
    }
}

/// `value = f(x)`, `slope = f'(x)`.
struct Both<F> {
    f: F,
    x: *const f32,
    value: *mut f32,
    slope: *mut f32,
    len: usize,
}

impl<F: Function> SimdOp for Both<F> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        self.run(isa);
    }
}

impl<F: Function> Vectors for Both<F> {
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn vector<I: Isa>(&self, isa: I, at: usize, left: usize) {
        let ops = isa.f32();
        // SAFETY: the pointers are valid for `len` elements, of which `left` are left.
        unsafe {
            let (value, slope) = self.f.both(isa, load(ops, self.x.add(at), left));
            store(ops, value, self.value.add(at), left);
            store(ops, slope, self.slope.add(at), left);
        }
    }
}

/// `out = f(x)`; `x` and `out` may be the same memory.
struct Map<F> {
    f: F,
    x: *const f32,
    out: *mut f32,
    len: usize,
}

impl<F: Function> SimdOp for Map<F> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        self.run(isa);
    }
}

impl<F: Function> Vectors for Map<F> {
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn vector<I: Isa>(&self, isa: I, at: usize, left: usize) {
        let ops = isa.f32();
        // SAFETY: both pointers are valid for `len` elements, of which `left` are left; a vector is read before it
        // is written.
        unsafe {
            let x = load(ops, self.x.add(at), left);
            store(ops, self.f.value(isa, x), self.out.add(at), left);
        }
    }
}

/// `out = gradient * f'(x)`; `gradient` and `out` may be the same memory.
struct Backward<F> {
    f: F,
    x: *const f32,
    gradient: *const f32,
    out: *mut f32,
    len: usize,
}

impl<F: Function> SimdOp for Backward<F> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        self.run(isa);
    }
}

impl<F: Function> Vectors for Backward<F> {
    fn len(&self) -> usize {
        self.len
    }

    #[inline(always)]
    fn vector<I: Isa>(&self, isa: I, at: usize, left: usize) {
        let ops = isa.f32();
        // SAFETY: the three pointers are valid for `len` elements, of which `left` are left; a vector of the
        // gradient is read before it is written.
        unsafe {
            let d = self.f.derivative(isa, load(ops, self.x.add(at), left));
            let g = load(ops, self.gradient.add(at), left);
            store(ops, ops.mul(d, g), self.out.add(at), left);
        }
    }
}
