//! Exponentials and quotients with the instructions that AVX-512 has for them: powers of 2 from a table of 32, and reciprocals to 14 bits.
//!
//! A polynomial and a division, as on other processors, take about twice as long.
use super::activation;
use rten_simd::Isa;
use std::arch::x86_64::*;

/// 2^(k / 32) for k below 32.
#[repr(align(64))]
struct Powers([f32; 32]);

static POWERS: Powers = Powers([
    1.0,
    1.021_897_2,
    1.044_273_7,
    1.067_140_5,
    1.090_507_7,
    1.114_386_8,
    1.138_788_6,
    1.163_724_9,
    1.189_207_1,
    1.215_247_4,
    1.241_857_8,
    1.269_051,
    1.296_839_6,
    1.325_236_7,
    1.354_255_6,
    1.383_91,
    std::f32::consts::SQRT_2,
    1.445_180_8,
    1.476_826_2,
    1.509_164_5,
    1.542_210_8,
    1.575_980_9,
    1.610_490_3,
    1.645_755_5,
    1.681_792_9,
    1.718_619_3,
    1.756_252_2,
    1.794_709_1,
    1.834_008_1,
    1.874_167_7,
    1.915_206_6,
    1.957_144_1,
]);

/// Adding it to a number leaves how many 32nds that is in the lowest bits of the sum.
const MAGIC: f32 = 393_216.0;
/// What log2(e) has behind the digits of an `f32`.
const REST: f32 = 1.925_963e-8;
/// 2^r - 1 = r (SLOPE + CURVE r) for |r| <= 1/64, off by 6e-8.
const SLOPE: f32 = 0.693_157_3;
const CURVE: f32 = 0.240_226_5;

/// Whether the vectors are those of AVX-512.
#[inline(always)]
pub(super) fn has<I: Isa>() -> bool {
    // No other family has vectors of 64 bytes, and `rten_simd` takes this one if the F, VL, BW and DQ parts are there.
    size_of::<I::F32>() == size_of::<__m512>()
}

/// # Safety
///
/// [`has`] is true.
#[inline(always)]
unsafe fn inner<I: Isa>(x: I::F32) -> __m512 {
    // SAFETY: both are 16 floats, as the caller promises.
    unsafe { std::mem::transmute_copy(&x) }
}

/// # Safety
///
/// [`has`] is true.
#[inline(always)]
unsafe fn outer<I: Isa>(x: __m512) -> I::F32 {
    // SAFETY: both are 16 floats, as the caller promises.
    unsafe { std::mem::transmute_copy(&x) }
}

/// `2^(r + k)` for |r| <= 1/64, where `shifted` is k plus [`MAGIC`], and k.
#[inline(always)]
unsafe fn power(r: __m512, shifted: __m512, k: __m512) -> __m512 {
    // SAFETY: as the caller promises, AVX-512 is there.
    unsafe {
        let (low, high) = (_mm512_load_ps(POWERS.0.as_ptr()), _mm512_load_ps(POWERS.0.as_ptr().add(16)));
        let part = _mm512_permutex2var_ps(low, _mm512_castps_si512(shifted), high);
        let slope = _mm512_fmadd_ps(r, _mm512_set1_ps(CURVE), _mm512_set1_ps(SLOPE));
        // What is left of k in the power of the table is less than 1, and this rounds k down.
        _mm512_scalef_ps(_mm512_fmadd_ps(_mm512_mul_ps(part, r), slope, part), k)
    }
}

/// `exp(x)` for x <= 0 (or as far as 200), within 2 ulp.
///
/// # Safety
///
/// [`has`] is true.
#[inline(always)]
pub(super) unsafe fn exp_of_negative<I: Isa>(x: I::F32) -> I::F32 {
    // SAFETY: as the caller promises.
    unsafe {
        let log = _mm512_set1_ps(std::f32::consts::LOG2_E);
        // The second operand is what comes out if one is NaN.
        let x = _mm512_max_ps(_mm512_set1_ps(-200.0), inner::<I>(x));
        let shifted = _mm512_fmadd_ps(x, log, _mm512_set1_ps(MAGIC));
        let k = _mm512_sub_ps(shifted, _mm512_set1_ps(MAGIC));
        let r = _mm512_fmadd_ps(x, _mm512_set1_ps(REST), _mm512_fmsub_ps(x, log, k));
        outer::<I>(power(r, shifted, k))
    }
}

/// `exp(x)`, within 2 ulp.
///
/// # Safety
///
/// [`has`] is true.
#[inline(always)]
pub(super) unsafe fn exp<I: Isa>(x: I::F32) -> I::F32 {
    // SAFETY: as the caller promises; the second operand is what comes out if one is NaN.
    unsafe { exp_of_negative::<I>(outer::<I>(_mm512_min_ps(_mm512_set1_ps(200.0), inner::<I>(x)))) }
}

/// `y / (1 + exp(-x))`, within 4 ulp.
///
/// # Safety
///
/// [`has`] is true.
#[inline(always)]
pub(super) unsafe fn over_one_plus_exp<I: Isa>(y: I::F32, x: I::F32) -> I::F32 {
    // SAFETY: as the caller promises.
    unsafe {
        let log = _mm512_set1_ps(-std::f32::consts::LOG2_E);
        // Infinities would make r a NaN. The second operand is what comes out if one is NaN.
        let x = _mm512_min_ps(_mm512_set1_ps(126.0), _mm512_max_ps(_mm512_set1_ps(-126.0), inner::<I>(x)));
        let shifted = _mm512_fmadd_ps(x, log, _mm512_set1_ps(MAGIC));
        let k = _mm512_sub_ps(shifted, _mm512_set1_ps(MAGIC));
        let r = _mm512_fnmadd_ps(x, _mm512_set1_ps(REST), _mm512_fmsub_ps(x, log, k));
        let below = _mm512_add_ps(power(r, shifted, k), _mm512_set1_ps(1.0));
        // A step of Newton's, which an infinity, whose reciprocal is 0 already, must not take.
        let finite = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(below, _mm512_set1_ps(f32::INFINITY));
        let reciprocal = _mm512_rcp14_ps(below);
        let step = _mm512_maskz_fnmadd_ps(finite, below, reciprocal, _mm512_set1_ps(2.0));
        outer::<I>(_mm512_mul_ps(_mm512_mul_ps(inner::<I>(y), reciprocal), step))
    }
}

/// `1 / x` for x from 2^-126 to 2^126, within 1 ulp, and for infinities and NaN.
///
/// # Safety
///
/// [`has`] is true.
#[inline(always)]
pub(super) unsafe fn reciprocal<I: Isa>(x: I::F32) -> I::F32 {
    // SAFETY: as the caller promises.
    unsafe {
        let x = inner::<I>(x);
        let first = _mm512_rcp14_ps(x);
        let finite = _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(x, _mm512_set1_ps(f32::INFINITY));
        outer::<I>(_mm512_mul_ps(first, _mm512_maskz_fnmadd_ps(finite, x, first, _mm512_set1_ps(2.0))))
    }
}

/// `-t / (2 + t)` with `t = exp(-2 |x|) - 1`, and the sign of x: the hyperbolic tangent, within 4 ulp; `fit` is that of `(exp(r) - 1) / r`.
///
/// # Safety
///
/// [`has`] is true.
#[inline(always)]
pub(super) unsafe fn tanh<I: Isa>(x: I::F32, fit: [f32; 6]) -> I::F32 {
    // SAFETY: as the caller promises.
    unsafe {
        let x = _mm512_castps_si512(inner::<I>(x));
        let sign = _mm512_set1_epi32(i32::MIN);
        let negative = _mm512_castsi512_ps(_mm512_or_si512(x, sign));
        // At -127 ln 2 the exponent's bits are all 0. The second operand is what comes out if one is NaN.
        let least = _mm512_set1_ps(-127.0 * std::f32::consts::LN_2);
        let twice = _mm512_max_ps(least, _mm512_add_ps(negative, negative));
        let magic = _mm512_set1_ps(activation::MAGIC);
        let shifted = _mm512_fmadd_ps(twice, _mm512_set1_ps(std::f32::consts::LOG2_E), magic);
        let k = _mm512_sub_ps(shifted, magic);
        let r = _mm512_fnmadd_ps(k, _mm512_set1_ps(activation::LN2_HIGH), twice);
        let r = _mm512_fnmadd_ps(k, _mm512_set1_ps(activation::LN2_LOW), r);
        let bits = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
        let power = _mm512_castsi512_ps(_mm512_add_epi32(bits, _mm512_set1_epi32(127 << 23)));
        let mut sum = _mm512_set1_ps(fit[5]);
        for c in fit[..5].iter().rev() {
            sum = _mm512_fmadd_ps(sum, r, _mm512_set1_ps(*c));
        }
        let t = _mm512_fmadd_ps(power, _mm512_mul_ps(r, sum), _mm512_sub_ps(power, _mm512_set1_ps(1.0)));
        let below = _mm512_add_ps(t, _mm512_set1_ps(2.0));
        let reciprocal = _mm512_rcp14_ps(below);
        let step = _mm512_fnmadd_ps(below, reciprocal, _mm512_set1_ps(2.0));
        let size = _mm512_mul_ps(_mm512_mul_ps(t, reciprocal), step);
        // The sign from x, the rest from the size: sign ? x : size.
        let value = _mm512_ternarylogic_epi32::<0xca>(sign, x, _mm512_castps_si512(size));
        outer::<I>(_mm512_castsi512_ps(value))
    }
}

/// The product of `[rows, depth]` with the transpose of `[TO, depth]`, plus a bias: sums over whole vectors of the depth, where a tile of columns would
/// have most of its lanes idle. A number depends on its row and column alone.
///
/// # Safety
///
/// AVX-512 is there. `x` is valid for reads of `rows * depth` floats, `weight` of `TO * pitch` with zeros behind the depth in each row of
/// `pitch = depth.next_multiple_of(16)`, `bias` of `TO`; `out` is valid for writes of `rows * TO`.
#[inline(always)]
pub(super) unsafe fn dots<const TO: usize>(
    [rows, depth]: [usize; 2],
    x: *const f32,
    weight: *const f32,
    bias: *const f32,
    out: *mut f32,
) {
    let (pitch, group) = (depth.next_multiple_of(16), 16 / TO);
    // SAFETY: as the caller promises; masks end with a row of `x` and with the last row of `out`.
    unsafe {
        let last = mask(depth - (pitch - 16));
        let mut biases = [0.0_f32; 16];
        for (i, value) in biases.iter_mut().enumerate() {
            *value = *bias.add(i % TO);
        }
        let biases = _mm512_loadu_ps(biases.as_ptr());
        for first in (0..rows).step_by(group) {
            let mut sums = [_mm512_setzero_ps(); 16];
            for i in 0..16 / TO {
                // Rows behind the end are the last one again, and are not stored.
                let x = x.add((first + i).min(rows - 1) * depth);
                let mut own = [_mm512_setzero_ps(); TO];
                for at in (0..pitch - 16).step_by(16) {
                    let x = _mm512_loadu_ps(x.add(at));
                    for (to, sum) in own.iter_mut().enumerate() {
                        *sum = _mm512_fmadd_ps(x, _mm512_load_ps(weight.add(to * pitch + at)), *sum);
                    }
                }
                let x = _mm512_maskz_loadu_ps(last, x.add(pitch - 16));
                for (to, sum) in own.iter_mut().enumerate() {
                    *sum = _mm512_fmadd_ps(x, _mm512_load_ps(weight.add(to * pitch + pitch - 16)), *sum);
                }
                sums[i * TO..(i + 1) * TO].copy_from_slice(&own);
            }
            let left = (rows - first).min(group) * TO;
            _mm512_mask_storeu_ps(out.add(first * TO), mask(left), _mm512_add_ps(sums_of_lanes(sums), biases));
        }
    }
}

/// The first `count` of 16 lanes.
#[inline(always)]
fn mask(count: usize) -> __mmask16 {
    ((1_u32 << count) - 1) as __mmask16
}

/// The sum of each vector's lanes, all in the same order.
///
/// # Safety
///
/// AVX-512 is there.
#[inline(always)]
unsafe fn sums_of_lanes(v: [__m512; 16]) -> __m512 {
    // SAFETY: as the caller promises.
    unsafe {
        // Two vectors become one with half the lanes to add up for each, until 16 have become one. In quarters of a vector at first: [v0 v1 v0 v1].
        let mut twos = [v[0]; 8];
        for (i, two) in twos.iter_mut().enumerate() {
            let (a, b) = (v[2 * i], v[2 * i + 1]);
            *two = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        }
        // [v0 v1 v2 v3].
        let mut fours = [v[0]; 4];
        for (i, four) in fours.iter_mut().enumerate() {
            let (a, b) = (twos[2 * i], twos[2 * i + 1]);
            *four = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
        }
        // Then whole quarters: [0..4 0..4 4..8 4..8], and [0..4 4..8 8..12 12..16].
        let mut eights = [v[0]; 2];
        for (i, eight) in eights.iter_mut().enumerate() {
            let (a, b) = (fours[2 * i], fours[2 * i + 1]);
            *eight = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
        }
        let [a, b] = eights;
        _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b))
    }
}
