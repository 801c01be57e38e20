//! Activation functions of a vector, and their derivatives.
#[cfg(target_arch = "x86_64")]
use super::avx512;
use rten_simd::ops::{BitOps, FloatOps, IntOps, NumOps};
use rten_simd::{Isa, Simd, SimdUnaryOp};
use rten_vecmath::Exp;

/// A function of one variable.
pub(crate) trait Function: Copy + Send + Sync {
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32;
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32;

    /// Value and derivative, with what they share computed once.
    #[inline(always)]
    fn both<I: Isa>(self, isa: I, x: I::F32) -> (I::F32, I::F32) {
        (self.value(isa, x), self.derivative(isa, x))
    }
}

/// `x * sigmoid(x)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        over_one_plus_exp(isa, x, x)
    }

    /// `s (1 + x (1 - s))` with `s = sigmoid(x)`.
    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let one = ops.one();
        let s = sigmoid(isa, x);
        ops.mul(s, ops.mul_add(x, ops.sub(one, s), one))
    }

    #[inline(always)]
    fn both<I: Isa>(self, isa: I, x: I::F32) -> (I::F32, I::F32) {
        let ops = isa.f32();
        let s = over_one_plus_exp(isa, ops.one(), x);
        let value = ops.mul(x, s);
        (value, ops.mul_add(value, ops.sub(ops.one(), s), s))
    }
}

/// `x P(N <= x)` for a standard normal N.
#[derive(Clone, Copy, Default)]
pub(crate) struct Gelu;

impl Gelu {
    /// `P(N <= x)`, and `exp(-x^2 / 2)` on the way.
    #[inline(always)]
    fn normal<I: Isa>(isa: I, x: I::F32) -> (I::F32, I::F32) {
        // P(N <= -a) = exp(-a^2 / 2) t(a) q(t(a)) with t(a) = 1 / (1 + 0.3 a): q is a minimax fit for 0 <= a <= 14.5,
        // off by 1.7e-7 of its value. Unlike 1 + erf it keeps its digits in the tail.
        const Q: [f32; 8] = [
            0.119_632_006,
            0.120_712_14,
            0.100_175_954,
            0.127_691_76,
            -0.052_033_946,
            0.204_556_7,
            -0.156_158_39,
            0.035_423_722,
        ];
        let ops = isa.f32();
        let (one, a) = (ops.one(), ops.abs(x));
        let density = exp_of_negative(isa, ops.mul(ops.mul(x, x), ops.splat(-0.5)));
        let t = reciprocal(isa, ops.mul_add(a, ops.splat(0.3), one));
        let tail = ops.mul(ops.mul(density, t), polynomial(isa, t, Q));
        // Not x >= 0, which a NaN fails: it must come out of either branch, and does, through t.
        (ops.select(tail, ops.sub(one, tail), ops.lt(x, ops.zero())), density)
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        isa.f32().mul(x, Self::normal(isa, x).0)
    }

    /// `P(N <= x) + x p(x)`, with the density p.
    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        self.both(isa, x).1
    }

    #[inline(always)]
    fn both<I: Isa>(self, isa: I, x: I::F32) -> (I::F32, I::F32) {
        /// 1 / sqrt(2 pi)
        const PEAK: f32 = 0.398_942_3;
        let ops = isa.f32();
        let (below, density) = Self::normal(isa, x);
        (ops.mul(x, below), ops.mul_add(ops.mul(x, ops.splat(PEAK)), density, below))
    }
}

/// `x / 2 (1 + tanh(u))` with `u = sqrt(2 / pi) (x + 0.044715 x^3)`, which is `x * sigmoid(2 u)`.
#[derive(Clone, Copy, Default)]
pub(crate) struct GeluTanh;

impl GeluTanh {
    /// `2 sqrt(2 / pi)`.
    const SLOPE: f32 = 1.595_769;
    const CUBIC: f32 = 0.044_715;

    /// `y sigmoid(2 u)`.
    #[inline(always)]
    fn gated<I: Isa>(isa: I, y: I::F32, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let (slope, cubic) = (ops.splat(Self::SLOPE), ops.splat(Self::SLOPE * Self::CUBIC));
        over_one_plus_exp(isa, y, ops.mul(x, ops.mul_add(ops.mul(x, x), cubic, slope)))
    }
}

impl Function for GeluTanh {
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        Self::gated(isa, x, x)
    }

    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        self.both(isa, x).1
    }

    /// The derivative is `s + x s (1 - s) 2 u'` with `s = sigmoid(2 u)`.
    #[inline(always)]
    fn both<I: Isa>(self, isa: I, x: I::F32) -> (I::F32, I::F32) {
        let ops = isa.f32();
        let s = Self::gated(isa, ops.one(), x);
        // Far out s (1 - s) is 0, and x^3 must not overflow before it is multiplied with that.
        let near = ops.min(ops.max(x, ops.splat(-20.0)), ops.splat(20.0));
        let rise = ops.mul_add(ops.mul(near, near), ops.splat(3.0 * Self::SLOPE * Self::CUBIC), ops.splat(Self::SLOPE));
        (ops.mul(x, s), ops.mul_add(ops.mul(s, ops.sub(ops.one(), s)), ops.mul(near, rise), s))
    }
}

/// `1 / (1 + exp(-x))`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        sigmoid(isa, x)
    }

    /// `e / (1 + e)^2` with `e = exp(-|x|)`: `s (1 - s)` would lose its digits where s is close to 1.
    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        let e = exp_of_negative(isa, ops.neg(ops.abs(x)));
        let below = ops.add(e, ops.one());
        quotient(isa, e, ops.mul(below, below))
    }
}

/// The hyperbolic tangent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tanh;

impl Function for Tanh {
    /// `-t / (2 + t)` with `t = exp(-2 |x|) - 1`, and the sign of x.
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        #[cfg(target_arch = "x86_64")]
        if avx512::has::<I>() {
            // SAFETY: asked for above.
            return unsafe { avx512::tanh::<I>(x, EXP_MINUS_ONE) };
        }
        let ops = isa.f32();
        let t = exp_minus_one_of_negative(isa, ops.mul(ops.abs(x), ops.splat(-2.0)));
        let size = ops.div(t, ops.add(t, ops.splat(2.0)));
        ops.select(size, ops.neg(size), ops.lt(x, ops.zero()))
    }

    /// `4 e / (1 + e)^2` with `e = exp(-2 |x|)`.
    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        let ops = isa.f32();
        ops.mul(ops.splat(4.0), Sigmoid.derivative(isa, ops.add(x, x)))
    }
}

/// `log(1 + exp(x))`.
#[derive(Clone, Copy, Default)]
pub(crate) struct Softplus;

impl Function for Softplus {
    /// `max(x, 0) + log(1 + e)` with `e = exp(-|x|)`.
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        // log(1 + e) = 2 artanh(s) with s = e / (2 + e) <= 1/3: a minimax fit in s^2, off by 4e-9 of its value.
        const P: [f32; 5] = [1.0, 0.333_331_6, 0.200_124_55, 0.139_803, 0.140_891_67];
        let ops = isa.f32();
        let e = exp_of_negative(isa, ops.neg(ops.abs(x)));
        let s = quotient(isa, e, ops.add(e, ops.splat(2.0)));
        ops.mul_add(ops.add(s, s), polynomial(isa, ops.mul(s, s), P), ops.max(x, ops.zero()))
    }

    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        sigmoid(isa, x)
    }
}

/// The exponential.
#[derive(Clone, Copy, Default)]
pub(crate) struct Exponential;

impl Function for Exponential {
    #[inline(always)]
    fn value<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        #[cfg(target_arch = "x86_64")]
        if avx512::has::<I>() {
            // SAFETY: asked for above.
            return unsafe { avx512::exp::<I>(x) };
        }
        Exp::apply(isa, x)
    }

    #[inline(always)]
    fn derivative<I: Isa>(self, isa: I, x: I::F32) -> I::F32 {
        self.value(isa, x)
    }
}

/// `1 / (1 + exp(-x))`.
#[inline(always)]
pub(super) fn sigmoid<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    over_one_plus_exp(isa, isa.f32().one(), x)
}

/// `y / (1 + exp(-x))`.
#[inline(always)]
fn over_one_plus_exp<I: Isa>(isa: I, y: I::F32, x: I::F32) -> I::F32 {
    #[cfg(target_arch = "x86_64")]
    if avx512::has::<I>() {
        // SAFETY: asked for above.
        return unsafe { avx512::over_one_plus_exp::<I>(y, x) };
    }
    let ops = isa.f32();
    ops.div(y, ops.add(ops.one(), Exp::apply(isa, ops.neg(x))))
}

/// `y / x` for numbers of the usual sizes.
#[inline(always)]
fn quotient<I: Isa>(isa: I, y: I::F32, x: I::F32) -> I::F32 {
    #[cfg(target_arch = "x86_64")]
    if avx512::has::<I>() {
        // SAFETY: asked for above.
        return isa.f32().mul(y, unsafe { avx512::reciprocal::<I>(x) });
    }
    isa.f32().div(y, x)
}

/// `1 / x` for numbers of the usual sizes.
#[inline(always)]
fn reciprocal<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    #[cfg(target_arch = "x86_64")]
    if avx512::has::<I>() {
        // SAFETY: asked for above.
        return unsafe { avx512::reciprocal::<I>(x) };
    }
    isa.f32().div(isa.f32().one(), x)
}

/// `exp(x)` for x <= 0, within 2 ulp; below -87.7 0, or a denormal number.
#[inline(always)]
pub(super) fn exp_of_negative<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    #[cfg(target_arch = "x86_64")]
    if avx512::has::<I>() {
        // SAFETY: asked for above.
        return unsafe { avx512::exp_of_negative::<I>(x) };
    }
    // A minimax fit of exp(r), off by 9.2e-8.
    const P: [f32; 6] = [1.0, 0.999_999_7, 0.499_991_5, 0.166_676_37, 0.041_897_975, 0.008_290_306];
    let (r, power) = reduced(isa, x);
    isa.f32().mul(polynomial(isa, r, P), power)
}

/// A minimax fit of (exp(r) - 1) / r for |r| <= ln 2 / 2, off by 1.1e-8.
const EXP_MINUS_ONE: [f32; 6] = [1.0, 0.499_999_97, 0.166_665_06, 0.041_667_137, 0.008_369_076, 0.001_388_887_3];

/// `exp(x) - 1` for x <= 0, to as many digits where that is small.
#[inline(always)]
fn exp_minus_one_of_negative<I: Isa>(isa: I, x: I::F32) -> I::F32 {
    let ops = isa.f32();
    let (r, power) = reduced(isa, x);
    ops.mul_add(power, ops.mul(r, polynomial(isa, r, EXP_MINUS_ONE)), ops.sub(power, ops.one()))
}

/// Adding the magic number leaves k = round(x / ln 2) in the lowest bits of the sum.
pub(super) const MAGIC: f32 = 12_582_912.0;
/// The natural logarithm of 2, in two parts.
pub(super) const LN2_HIGH: f32 = 0.693_145_75;
pub(super) const LN2_LOW: f32 = 1.428_606_8e-6;

/// `(r, 2^k)` with `exp(x) = 2^k exp(r)` and |r| <= ln 2 / 2, for x <= 0; below -87.7 the power is 0.
#[inline(always)]
fn reduced<I: Isa>(isa: I, x: I::F32) -> (I::F32, I::F32) {
    let (ops, ints) = (isa.f32(), isa.i32());
    // At -127 ln 2 the exponent's bits are all 0. (Not `max`, which may lose a NaN.)
    let least = ops.splat(-127.0 * std::f32::consts::LN_2);
    let x = ops.select(least, x, ops.lt(x, least));
    let shifted = ops.mul_add(x, ops.splat(std::f32::consts::LOG2_E), ops.splat(MAGIC));
    let k = ops.sub(shifted, ops.splat(MAGIC));
    let r = ops.mul_add(k, ops.splat(-LN2_HIGH), x);
    let r = ops.mul_add(k, ops.splat(-LN2_LOW), r);
    let bits: I::I32 = shifted.reinterpret_cast();
    (r, ints.add(ints.shift_left::<23>(bits), ints.splat(127 << 23)).reinterpret_cast())
}

/// `c[0] + c[1] x + c[2] x^2 + ..`.
#[inline(always)]
fn polynomial<I: Isa, const N: usize>(isa: I, x: I::F32, c: [f32; N]) -> I::F32 {
    let ops = isa.f32();
    let mut sum = ops.splat(c[N - 1]);
    for c in c[..N - 1].iter().rev() {
        sum = ops.mul_add(sum, x, ops.splat(*c));
    }
    sum
}
