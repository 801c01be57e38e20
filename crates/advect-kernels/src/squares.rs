//! Squares of numbers in the registers of AVX-512.
use std::arch::x86_64::*;

/// Transposes 16 vectors of 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose(rows: &mut [__m512i; 16]) {
    let mut a = [_mm512_setzero_si512(); 16];
    // Pairs of numbers, then fours, then eights: at each step the rows `i` and `i + distance` exchange halves.
    for i in 0..8 {
        a[2 * i] = _mm512_unpacklo_epi32(rows[2 * i], rows[2 * i + 1]);
        a[2 * i + 1] = _mm512_unpackhi_epi32(rows[2 * i], rows[2 * i + 1]);
    }
    let mut b = [_mm512_setzero_si512(); 16];
    for i in 0..4 {
        b[4 * i] = _mm512_unpacklo_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 1] = _mm512_unpackhi_epi64(a[4 * i], a[4 * i + 2]);
        b[4 * i + 2] = _mm512_unpacklo_epi64(a[4 * i + 1], a[4 * i + 3]);
        b[4 * i + 3] = _mm512_unpackhi_epi64(a[4 * i + 1], a[4 * i + 3]);
    }
    // b[4 i + j] holds, in its quarter q, column 4 q + j of the rows 4 i .. 4 i + 4.
    for j in 0..4 {
        let [r0, r1, r2, r3] = [b[j], b[4 + j], b[8 + j], b[12 + j]];
        let low01 = _mm512_shuffle_i32x4::<0x44>(r0, r1);
        let high01 = _mm512_shuffle_i32x4::<0xee>(r0, r1);
        let low23 = _mm512_shuffle_i32x4::<0x44>(r2, r3);
        let high23 = _mm512_shuffle_i32x4::<0xee>(r2, r3);
        rows[j] = _mm512_shuffle_i32x4::<0x88>(low01, low23);
        rows[4 + j] = _mm512_shuffle_i32x4::<0xdd>(low01, low23);
        rows[8 + j] = _mm512_shuffle_i32x4::<0x88>(high01, high23);
        rows[12 + j] = _mm512_shuffle_i32x4::<0xdd>(high01, high23);
    }
}

/// The columns of 16 rows of 8 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn columns_of_eight(rows: &[[u32; 8]; 16]) -> [__m512i; 8] {
    // Rows 8 apart lie in the halves of a vector, so that each half is a square of its own.
    let mut a = [_mm512_setzero_si512(); 8];
    for i in 0..8 {
        // SAFETY: a row is 32 bytes.
        let [low, high] = [i, i + 8].map(|row| unsafe { _mm256_loadu_si256(rows[row].as_ptr().cast()) });
        a[i] = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high);
    }
    let mut b = [_mm512_setzero_si512(); 8];
    for i in 0..4 {
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    // c[4 i + j] holds, in its quarters, columns j and 4 + j of the rows 4 i .. 4 i + 4 of both squares.
    let mut c = [_mm512_setzero_si512(); 8];
    for i in 0..2 {
        c[4 * i] = _mm512_unpacklo_epi64(b[4 * i], b[4 * i + 2]);
        c[4 * i + 1] = _mm512_unpackhi_epi64(b[4 * i], b[4 * i + 2]);
        c[4 * i + 2] = _mm512_unpacklo_epi64(b[4 * i + 1], b[4 * i + 3]);
        c[4 * i + 3] = _mm512_unpackhi_epi64(b[4 * i + 1], b[4 * i + 3]);
    }
    let lower = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
    let upper = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
    std::array::from_fn(|i| _mm512_permutex2var_epi64(c[i % 4], if i < 4 { lower } else { upper }, c[4 + i % 4]))
}
