use std::f64::consts::LOG2_E;

/// `e^x` for x up to 700, to a few units in the last place, without branches: a loop of it runs in whole vectors, where the
/// standard library's goes one by one. Below -708 it is zero.
///
/// x = k ln 2 + r with |r| < 0.35 (Cody & Waite 1980), a Taylor polynomial for e^r, and k put into the exponent.
#[inline(always)]
pub(super) fn exp(x: f64) -> f64 {
    /// 1.5 2^52: added to a number it leaves the nearest whole one in the last bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; the first has zeros at its end, so that its product with k is exact.
    const LN_2_HIGH: f64 = 6.931_471_803_691_238e-1;
    const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;
    /// 1 / k!, from k = 13 down.
    const TERMS: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let (x, kept) = if x < -708.0 { (-708.0, 0.0) } else { (x, 1.0) };
    let shifted = x * LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut sum = 0.0;
    for term in TERMS {
        sum = sum * r + term;
    }
    // The last twelve bits of `shifted` are those of k.
    kept * sum * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

#[cfg(test)]
mod tests {
    use super::exp;

    #[test]
    fn it_is_the_standard_librarys_to_round_off() {
        for k in -70_800..=70_000 {
            let x = f64::from(k) / 100.0 + 1e-3 * f64::from(k).sin();
            let (found, exact) = (exp(x), x.exp());
            if x > -708.0 {
                assert!((found / exact - 1.0).abs() < 1e-15, "e^{x} = {exact}, not {found}");
            }
        }
        assert_eq!((exp(0.0), exp(-708.01), exp(-1e300), exp(f64::NEG_INFINITY)), (1.0, 0.0, 0.0, 0.0));
        assert!(exp(f64::NAN).is_nan());
    }
}
