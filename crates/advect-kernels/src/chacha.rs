//! The generator of keyed noise, for many keys at once.

/// Keys that are worked on side by side: the words of a vector of AVX-512, two of AVX2.
const LANES: usize = 16;

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
    for (keys, heads) in keys.chunks(LANES).zip(heads.chunks_mut(LANES)) {
        let mut state = [[0; LANES]; 16];
        for (word, value) in state.iter_mut().zip([0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]) {
            *word = [value; LANES];
        }
        for (lane, key) in keys.iter().enumerate() {
            for (word, value) in state[4..12].iter_mut().zip(key) {
                word[lane] = *value;
            }
        }
        state[14] = [stream as u32; LANES];
        state[15] = [(stream >> 32) as u32; LANES];
        block(&mut state);
        for (lane, head) in heads.iter_mut().enumerate() {
            for (value, word) in head.iter_mut().zip(&state) {
                *value = word[lane];
            }
        }
    }
    heads
}

/// The fastest form of a block on this processor.
#[allow(unsafe_code)] // Two calls of functions for processors that have been found to be there.
fn best() -> fn(&mut [Word; 16]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn avx512(state: &mut [Word; 16]) {
            block(state);
        }
        #[target_feature(enable = "avx2")]
        fn avx2(state: &mut [Word; 16]) {
            block(state);
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has it.
            return |state| unsafe { avx512(state) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has it.
            return |state| unsafe { avx2(state) };
        }
    }
    block
}

#[inline(always)]
fn block(state: &mut [Word; 16]) {
    let mut x = *state;
    for _ in 0..4 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter(&mut x, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter(&mut x, a, b, c, d);
        }
    }
    for (word, x) in state.iter_mut().zip(x) {
        for (value, x) in word.iter_mut().zip(x) {
            *value = value.wrapping_add(x);
        }
    }
}

#[inline(always)]
fn quarter(x: &mut [Word; 16], a: usize, b: usize, c: usize, d: usize) {
    for [to, from, turned, by] in [[a, b, d, 16], [c, d, b, 12], [a, b, d, 8], [c, d, b, 7]] {
        for lane in 0..LANES {
            x[to][lane] = x[to][lane].wrapping_add(x[from][lane]);
            x[turned][lane] = (x[turned][lane] ^ x[to][lane]).rotate_left(by as u32);
        }
    }
}
