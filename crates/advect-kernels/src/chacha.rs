//! The generator of keyed noise, for many keys at once.

/// Keys that are worked on side by side: the words of a vector of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Eight rounds over the words of `$x`, by three operations on a word of all keys: sum, exclusive or, and turn to the left by so many bits. Written out, so that the
/// compiler keeps the words in registers.
macro_rules! rounds {
    ($x:ident, $add:expr, $xor:expr, |$value:ident, $BITS:ident| $turn:expr) => {{
        macro_rules! step {
            ($to:literal, $from:literal, $turned:literal, $bits:literal) => {
                $x[$to] = $add($x[$to], $x[$from]);
                $x[$turned] = {
                    const $BITS: i32 = $bits;
                    let $value = $xor($x[$turned], $x[$to]);
                    $turn
                };
            };
        }
        macro_rules! quarter {
            ($a:literal, $b:literal, $c:literal, $d:literal) => {
                step!($a, $b, $d, 16);
                step!($c, $d, $b, 12);
                step!($a, $b, $d, 8);
                step!($c, $d, $b, 7);
            };
        }
        for _ in 0..4 {
            quarter!(0, 4, 8, 12);
            quarter!(1, 5, 9, 13);
            quarter!(2, 6, 10, 14);
            quarter!(3, 7, 11, 15);
            quarter!(0, 5, 10, 15);
            quarter!(1, 6, 11, 12);
            quarter!(2, 7, 8, 13);
            quarter!(3, 4, 9, 14);
        }
    }};
}

/// One word of the state of each key.
type Word = [u32; LANES];

/// The first 16 words of the ChaCha8 stream `stream` of each key (Bernstein 2008, with 8 rounds; the block counter, 64 bits, begins at 0, and the stream is the 64-bit
/// nonce, as in the crate `rand_chacha`).
///
/// A generator that is asked for a few numbers of each of many keys spends its time on setting up and on blocks that nobody reads; here the keys share the vectors of the
/// processor (AVX-512 or AVX2, found at run time).
#[must_use]
pub fn chacha8_heads(keys: &[[u32; 8]], stream: u64) -> Vec<[u32; 16]> {
    let mut heads = vec![[0; 16]; keys.len()];
    let block = best();
    let (groups, rest) = keys.as_chunks();
    let (heads_of_groups, heads_of_rest) = heads.as_chunks_mut();
    for (keys, heads) in groups.iter().zip(heads_of_groups) {
        block(keys, stream, heads);
    }
    if !rest.is_empty() {
        let mut padded = [[0; 8]; LANES];
        padded[..rest.len()].copy_from_slice(rest);
        let mut all = [[0; 16]; LANES];
        block(&padded, stream, &mut all);
        heads_of_rest.copy_from_slice(&all[..rest.len()]);
    }
    heads
}

/// The constants, which come before the key.
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// The counter and the stream, which come behind it.
fn nonce(stream: u64) -> [u32; 4] {
    [0, 0, stream as u32, (stream >> 32) as u32]
}

/// The first words of so many keys.
type Block = fn(&[[u32; 8]; LANES], u64, &mut [[u32; 16]; LANES]);

/// With the state's words in memory.
fn in_memory(keys: &[[u32; 8]; LANES], stream: u64, heads: &mut [[u32; 16]; LANES], block: impl Fn(&mut [Word; 16])) {
    let mut words = [[0; LANES]; 8];
    transpose(keys, &mut words);
    let mut state = [[0; LANES]; 16];
    let values = CONSTANTS.map(|value| [value; LANES]).into_iter().chain(words);
    for (word, value) in state.iter_mut().zip(values.chain(nonce(stream).map(|value| [value; LANES]))) {
        *word = value;
    }
    block(&mut state);
    transpose(&state, heads);
}

/// Writes rows as columns, in squares of four: word by word it would take as long as the rounds.
fn transpose<const M: usize, const N: usize>(from: &[[u32; N]; M], to: &mut [[u32; M]; N]) {
    const { assert!(M.is_multiple_of(4) && N.is_multiple_of(4)) };
    for row in (0..M).step_by(4) {
        for column in (0..N).step_by(4) {
            let square = std::array::from_fn(|i| std::array::from_fn(|j| from[row + i][column + j]));
            for (i, turned) in transpose_square(square).into_iter().enumerate() {
                to[column + i][row..row + 4].copy_from_slice(&turned);
            }
        }
    }
}

/// The compiler makes shuffles of it.
fn transpose_square(rows: [[u32; 4]; 4]) -> [[u32; 4]; 4] {
    std::array::from_fn(|i| rows.map(|row| row[i]))
}

/// The fastest form of a block on this processor.
#[allow(unsafe_code)] // Vector loads and stores of whole words, and calls of functions for processors that have been found to be there.
fn best() -> Block {
    #[cfg(target_arch = "x86_64")]
    {
        use crate::squares;
        use std::arch::x86_64::*;

        #[target_feature(enable = "avx512f")]
        fn avx512(keys: &[[u32; 8]; LANES], stream: u64, heads: &mut [[u32; 16]; LANES]) {
            let mut start = [_mm512_setzero_si512(); 16];
            let (outside, words) = ([CONSTANTS, nonce(stream)], squares::columns_of_eight(keys));
            for i in 0..4 {
                start[i] = _mm512_set1_epi32(outside[0][i] as i32);
                start[12 + i] = _mm512_set1_epi32(outside[1][i] as i32);
            }
            start[4..12].copy_from_slice(&words);
            let mut x = start;
            rounds!(x, _mm512_add_epi32, _mm512_xor_si512, |v, BITS| _mm512_rol_epi32::<BITS>(v));
            for (x, start) in x.iter_mut().zip(start) {
                *x = _mm512_add_epi32(*x, start);
            }
            squares::transpose(&mut x);
            for (head, x) in heads.iter_mut().zip(x) {
                // SAFETY: a head is 64 bytes.
                unsafe { _mm512_storeu_si512(head.as_mut_ptr().cast(), x) };
            }
        }

        #[target_feature(enable = "avx2")]
        fn avx2(state: &mut [Word; 16]) {
            for half in [0, LANES / 2] {
                // SAFETY: a half of a word of the state is 32 bytes.
                let load = |word: &Word| unsafe { _mm256_loadu_si256(word.as_ptr().add(half).cast()) };
                let start = state.each_ref().map(load);
                let mut x = start;
                rounds!(x, _mm256_add_epi32, _mm256_xor_si256, |v, BITS| {
                    _mm256_or_si256(_mm256_slli_epi32::<BITS>(v), _mm256_srli_epi32::<{ 32 - BITS }>(v))
                });
                for ((word, x), start) in state.iter_mut().zip(x).zip(start) {
                    // SAFETY: as above.
                    unsafe { _mm256_storeu_si256(word.as_mut_ptr().add(half).cast(), _mm256_add_epi32(x, start)) };
                }
            }
        }

        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            return |keys, stream, heads| unsafe { avx512(keys, stream, heads) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return |keys, stream, heads| in_memory(keys, stream, heads, |state| unsafe { avx2(state) });
        }
    }
    |keys, stream, heads| in_memory(keys, stream, heads, plain)
}

fn plain(state: &mut [Word; 16]) {
    fn each(a: Word, b: Word, f: impl Fn(u32, u32) -> u32) -> Word {
        std::array::from_fn(|lane| f(a[lane], b[lane]))
    }
    let (sum, differ) = (|a, b| each(a, b, u32::wrapping_add), |a, b| each(a, b, |a, b| a ^ b));
    let mut x = *state;
    rounds!(x, sum, differ, |word, BITS| word.map(|value| value.rotate_left(BITS as u32)));
    for (word, x) in state.iter_mut().zip(x) {
        *word = sum(*word, x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whichever form the processor runs, the others are right too.
    #[test]
    fn the_plain_form_is_the_fastest_one() {
        let word = |i: usize| (i as u32 + 1).wrapping_mul(2_654_435_769);
        let keys: [[u32; 8]; LANES] = std::array::from_fn(|lane| std::array::from_fn(|i| word(8 * lane + i)));
        let [mut plainly, mut fast] = [[[0; 16]; LANES]; 2];
        in_memory(&keys, 7 << 40 | 5, &mut plainly, plain);
        best()(&keys, 7 << 40 | 5, &mut fast);
        assert_eq!(plainly, fast);
    }
}
