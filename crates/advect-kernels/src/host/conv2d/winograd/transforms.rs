//! The one-dimensional transforms between coefficients and values at six points: 0, a, -a, b, -b and infinity.
use rten_simd::Isa;
use rten_simd::ops::{BitOps, NumOps};

/// Output pixels of a tile along an axis.
pub(super) const TILE: usize = 4;
/// Input pixels that a tile sees along an axis, and points at which polynomials are evaluated.
pub(super) const SEEN: usize = 6;
/// Products of a tile.
pub(super) const PRODUCTS: usize = SEEN * SEEN;
/// Taps along an axis.
pub(super) const TAPS: usize = 3;

/// The points; all that follows from them by additions and products is exact.
const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// What the weight is divided by at each point p: the product of its differences from the others. Its transform takes
/// all divisions, because it is done once.
const AT_0: f32 = 1.0 / (A2 * B2);
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// `B^T d`: what the six pixels contribute at each point.
#[inline(always)]
pub(super) fn input<I: Isa>(isa: I, d: [I::F32; SEEN]) -> [I::F32; SEEN] {
    let ops = isa.f32();
    let (product, sum) = (ops.splat(A2 * B2), ops.splat(-(A2 + B2)));
    let first = ops.mul_add(product, d[0], ops.mul_add(sum, d[2], d[4]));
    let last = ops.mul_add(product, d[1], ops.mul_add(sum, d[3], d[5]));
    let (even, odd) = (ops.mul_add(ops.splat(-B2), d[2], d[4]), ops.mul_add(ops.splat(-B2), d[1], d[3]));
    let (a, minus_a) = (ops.mul_add(ops.splat(A), odd, even), ops.mul_add(ops.splat(-A), odd, even));
    let (even, odd) = (ops.mul_add(ops.splat(-A2), d[2], d[4]), ops.mul_add(ops.splat(-A2), d[1], d[3]));
    let (b, minus_b) = (ops.mul_add(ops.splat(B), odd, even), ops.mul_add(ops.splat(-B), odd, even));
    [first, a, minus_a, b, minus_b, last]
}

/// `G g`: three taps at each point.
#[inline(always)]
pub(super) fn weight<I: Isa>(isa: I, g: [I::F32; TAPS]) -> [I::F32; SEEN] {
    let ops = isa.f32();
    let even = ops.mul(ops.splat(AT_A), ops.mul_add(ops.splat(A2), g[2], g[0]));
    let (odd, a) = (ops.mul(ops.splat(AT_A * A), g[1]), even);
    let (a, minus_a) = (ops.add(a, odd), ops.sub(a, odd));
    let even = ops.mul(ops.splat(AT_B), ops.mul_add(ops.splat(B2), g[2], g[0]));
    let odd = ops.mul(ops.splat(AT_B * B), g[1]);
    [ops.mul(ops.splat(AT_0), g[0]), a, minus_a, ops.add(even, odd), ops.sub(even, odd), g[2]]
}

/// `A^T m`: four pixels from the values at the points.
#[inline(always)]
pub(super) fn output<I: Isa>(isa: I, m: [I::F32; SEEN]) -> [I::F32; TILE] {
    let ops = isa.f32();
    let (even_a, odd_a) = (ops.add(m[1], m[2]), ops.sub(m[1], m[2]));
    let (even_b, odd_b) = (ops.add(m[3], m[4]), ops.sub(m[3], m[4]));
    [
        ops.add(m[0], ops.add(even_a, even_b)),
        ops.mul_add(ops.splat(A), odd_a, ops.mul(ops.splat(B), odd_b)),
        ops.mul_add(ops.splat(A2), even_a, ops.mul(ops.splat(B2), even_b)),
        ops.add(m[5], ops.mul_add(ops.splat(A * A2), odd_a, ops.mul(ops.splat(B * B2), odd_b))),
    ]
}

/// `A y`, the adjoint of [`output`]: the gradient of the values from that of four pixels.
#[inline(always)]
pub(super) fn output_adjoint<I: Isa>(isa: I, y: [I::F32; TILE]) -> [I::F32; SEEN] {
    let ops = isa.f32();
    let even = ops.mul_add(ops.splat(A2), y[2], y[0]);
    let odd = ops.mul_add(ops.splat(A * A2), y[3], ops.mul(ops.splat(A), y[1]));
    let (a, minus_a) = (ops.add(even, odd), ops.sub(even, odd));
    let even = ops.mul_add(ops.splat(B2), y[2], y[0]);
    let odd = ops.mul_add(ops.splat(B * B2), y[3], ops.mul(ops.splat(B), y[1]));
    [y[0], a, minus_a, ops.add(even, odd), ops.sub(even, odd), y[3]]
}

/// `G^T s`, the adjoint of [`weight`]: the gradient of three taps from that at the points.
#[inline(always)]
pub(super) fn weight_adjoint<I: Isa>(isa: I, s: [I::F32; SEEN]) -> [I::F32; TAPS] {
    let ops = isa.f32();
    let (even_a, odd_a) = (ops.add(s[1], s[2]), ops.sub(s[1], s[2]));
    let (even_b, odd_b) = (ops.add(s[3], s[4]), ops.sub(s[3], s[4]));
    let (even_a, even_b) = (ops.mul(ops.splat(AT_A), even_a), ops.mul(ops.splat(AT_B), even_b));
    [
        ops.mul_add(ops.splat(AT_0), s[0], ops.add(even_a, even_b)),
        ops.mul_add(ops.splat(AT_A * A), odd_a, ops.mul(ops.splat(AT_B * B), odd_b)),
        ops.add(s[5], ops.mul_add(ops.splat(A2), even_a, ops.mul(ops.splat(B2), even_b))),
    ]
}
