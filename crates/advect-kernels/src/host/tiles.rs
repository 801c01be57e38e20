//! Products of f32 matrices on the matrix units of Intel's processors (AMX), which multiply bfloat16 only.
//!
//! A float is the exact sum of three bfloat16 numbers of eight bits each, `a = a1 + a2 + a3`. Of the nine products of two such sums, the six
//! `a1 b1 + a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1` are taken; the other three are below 2^-23 of `|a b|`, the rounding of an f32 product (Henry, Tang &
//! Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"). The units add in f32. So a sum is as good
//! as one of f32 products, and takes 0.7 to 0.8 of the time of vectors of 16 floats, for the units do 16 times as many multiplications.
//!
//! Numbers that are infinite or not numbers have no such parts, and a product with one is refused: the caller takes the way of vectors. Below 2^-110 or so
//! the smallest parts are flushed to zero.
use super::buffer::Shared;
use super::product::Matrix;
use super::threads;
use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows, and columns, of a block of the result: two tiles of 16 in each direction, four accumulators.
const BLOCK: usize = 32;
/// Steps of the depth that one instruction takes.
const STEP: usize = 32;
/// Floats' parts of a block and a step: three parts of two tiles of 16 lines of 32.
const PIECE: usize = 3 * 2 * 16 * 32;
/// Rows of the left matrix that a task packs, at most, and of the depth, in one pass: 1.2 MiB of parts, which stay in the second-level cache while the right
/// matrix passes by.
const ROWS: usize = 256;
const DEPTH: usize = 768;

/// Whether the units are there and a product is large enough for them: cutting the numbers into parts takes as long as some 60 multiplications of each.
pub(super) fn pays([m, k, n]: [usize; 3]) -> bool {
    m * k * n > 64 * (m * k + k * n + m * n) && available()
}

/// Whether this processor has the units, and the system lets us use them.
fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const TILE_DATA: libc::c_long = 18;
        let vectors = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        // Leaf 7: bits 22 and 24 of EDX say bfloat16 products and tiles.
        let tiles = __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx >> 22 & 5 == 5;
        // SAFETY: the call asks the kernel for the right of this process to use the tiles' registers and has no other effect.
        vectors && tiles && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
    })
}

/// `out += left right`, or `out = left right`, for `[m, k]` and `[k, n]`; false, with `out` in any state, if there are numbers that are not finite.
///
/// # Safety
///
/// [`pays`] said so; `out` is valid for writes of `m * n` floats, and holds them if they are added to.
pub(super) unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Matrix<'_>,
    right: Matrix<'_>,
    out: *mut f32,
    add: bool,
) -> bool {
    let finite = AtomicBool::new(true);
    let out = Shared(out);
    let mut packed_right: Vec<Piece> = Vec::new();
    for first in (0..k).step_by(DEPTH) {
        let depth = DEPTH.min(k - first);
        let steps = depth.div_ceil(STEP);
        let columns = n.div_ceil(BLOCK);
        packed_right.clear();
        packed_right.reserve(columns * steps);
        let pieces = &mut packed_right.spare_capacity_mut()[..columns * steps];
        threads::for_each_chunk(pieces, GROUP * steps, |group, pieces| {
            let lines = Lines {
                matrix: right,
                line: right.by_column,
                deep: right.by_row,
                first: (group * GROUP * BLOCK, first),
                end: (n, first + depth),
            };
            // SAFETY: as the caller promises.
            if !unsafe { pack(&lines, Order::Pairs, pieces, steps) } {
                finite.store(false, Ordering::Relaxed);
            }
        });
        // SAFETY: each was written.
        unsafe { packed_right.set_len(columns * steps) };
        let right = &packed_right;
        // As many rows a task as make their numbers even; what a number of the result is does not depend on it.
        let threads = rayon::current_num_threads();
        let tasks = m.div_ceil(ROWS).next_multiple_of(threads).min(m.div_ceil(BLOCK));
        let many = m.div_ceil(BLOCK).div_ceil(tasks) * BLOCK;
        threads::for_each_init(m.div_ceil(many), Vec::new, |packed: &mut Vec<Piece>, task| {
            let rows = task * many..m.min((task + 1) * many);
            let blocks = rows.len().div_ceil(BLOCK);
            packed.clear();
            packed.reserve(blocks * steps);
            let lines = Lines {
                matrix: left,
                line: left.by_row,
                deep: left.by_column,
                first: (rows.start, first),
                end: (rows.end, first + depth),
            };
            // SAFETY: as the caller promises.
            if !unsafe { pack(&lines, Order::Lines, &mut packed.spare_capacity_mut()[..blocks * steps], steps) } {
                finite.store(false, Ordering::Relaxed);
            }
            // SAFETY: each was written; the rows of the result belong to this task alone.
            unsafe {
                packed.set_len(blocks * steps);
                configure();
                for column in 0..columns {
                    for block in 0..blocks {
                        let (row, at) = (rows.start + block * BLOCK, column * BLOCK);
                        let size = [BLOCK.min(m - row), BLOCK.min(n - at)];
                        let (a, b) = (&packed[block * steps..][..steps], &right[column * steps..][..steps]);
                        multiply(a, b, out.at(row * n + at), n, size, add || first > 0);
                    }
                }
                release();
            }
        });
    }
    finite.into_inner()
}

/// The parts of 32 lines and 32 steps: `[part, tile, line or pair, ..]`.
#[repr(C, align(64))]
struct Piece([u16; PIECE]);

/// Lines of a matrix (rows of the left, columns of the right), with the depth along them.
struct Lines<'a> {
    matrix: Matrix<'a>,
    /// From a line to the next, and from a step of the depth to the next.
    line: usize,
    deep: usize,
    first: (usize, usize),
    end: (usize, usize),
}

/// Blocks of columns of the right matrix that a task packs.
const GROUP: usize = 4;

/// How a tile lies in memory.
#[derive(Clone, Copy, PartialEq)]
enum Order {
    /// Line by line, each of 32 steps.
    Lines,
    /// Two steps at a time, each pair of all 16 lines.
    Pairs,
}

/// Writes the parts of as many blocks of lines as there are `pieces` for, `steps` of each; false if one of the numbers is not finite.
///
/// # Safety
///
/// The processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack(lines: &Lines<'_>, order: Order, pieces: &mut [MaybeUninit<Piece>], steps: usize) -> bool {
    let (blocks, by_line) = (pieces.len() / steps, lines.deep == 1);
    let mut wrong = 0;
    // Along what lies side by side in memory.
    if by_line {
        for tile in 0..2 * blocks {
            for step in 0..steps {
                // SAFETY: as the caller promises.
                wrong |= unsafe { pack_tile(lines, order, tile, step, &mut pieces[tile / 2 * steps + step]) };
            }
        }
    } else {
        for step in 0..steps {
            for tile in 0..2 * blocks {
                // SAFETY: as the caller promises.
                wrong |= unsafe { pack_tile(lines, order, tile, step, &mut pieces[tile / 2 * steps + step]) };
            }
        }
    }
    wrong == 0
}

/// One of the two tiles of a piece; not 0 if one of the numbers is not finite.
///
/// # Safety
///
/// The processor has AVX-512.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn pack_tile(
    lines: &Lines<'_>,
    order: Order,
    tile: usize,
    step: usize,
    piece: &mut MaybeUninit<Piece>,
) -> __mmask16 {
    let by_line = lines.deep == 1;
    let first = (lines.first.0 + 16 * tile, lines.first.1 + STEP * step);
    let count = (lines.end.0.saturating_sub(first.0).min(16), lines.end.1.saturating_sub(first.1).min(STEP));
    let mut wrong = 0;
    // Line by line, or pair by pair: as the matrix lies.
    let mut parts = [[_mm512_setzero_si512(); 16]; 3];
    if count.0 > 0 {
        let last = (first.0 + count.0 - 1) * lines.line + (first.1 + count.1 - 1) * lines.deep;
        debug_assert!(last < lines.matrix.values.len());
        // SAFETY: the elements that are read are inside.
        unsafe {
            let from = lines.matrix.values.as_ptr().add(first.0 * lines.line + first.1 * lines.deep);
            wrong = if by_line {
                read_lines(from, lines.line, count, &mut parts)
            } else {
                read_pairs(from, lines.deep, count, &mut parts)
            };
        }
    }
    let out = piece.as_mut_ptr().cast::<u16>();
    for (part, vectors) in parts.iter_mut().enumerate() {
        if by_line != (order == Order::Lines) {
            transpose(vectors);
        }
        for (i, vector) in vectors.iter().enumerate() {
            // SAFETY: a piece has three parts of two tiles of 16 vectors, at places that are multiples of 64 bytes.
            unsafe { _mm512_store_si512(out.add(((part * 2 + tile % 2) * 16 + i) * 32).cast(), *vector) };
        }
    }
    wrong
}

/// The three parts of 16 floats, each in the upper half of its lane; and which are not finite.
#[inline]
#[target_feature(enable = "avx512f")]
fn split(x: __m512) -> ([__m512i; 3], __mmask16) {
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let cut = |x: __m512| _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(x), upper));
    // Cut and not rounded: nothing overflows, and the differences are exact.
    let first = cut(x);
    let rest = _mm512_sub_ps(x, first);
    let second = cut(rest);
    let third = _mm512_sub_ps(rest, second);
    // What is infinite minus itself is not a number.
    let wrong = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(rest, rest);
    ([_mm512_castps_si512(first), _mm512_castps_si512(second), _mm512_castps_si512(third)], wrong)
}

/// 16 lines of 32 steps, which lie side by side.
///
/// # Safety
///
/// `count` lines of `count` floats can be read.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn read_lines(
    from: *const f32,
    line: usize,
    count: (usize, usize),
    parts: &mut [[__m512i; 16]; 3],
) -> __mmask16 {
    let mask = |done: usize| ((1_u32 << count.1.saturating_sub(done).min(16)) - 1) as __mmask16;
    let masks = [mask(0), mask(16)];
    let mut wrong = 0;
    for i in 0..count.0 {
        // SAFETY: as the caller promises; what the mask leaves out is not read.
        let [left, right] = unsafe {
            let from = from.add(i * line);
            // Sixteen lines at once are more than the processor foresees.
            for ahead in [128, 144] {
                _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(ahead).cast());
            }
            [_mm512_maskz_loadu_ps(masks[0], from), _mm512_maskz_loadu_ps(masks[1], from.wrapping_add(16))]
        };
        let ([left, right], bad) = {
            let ((a, x), (b, y)) = (split(left), split(right));
            ([a, b], x | y)
        };
        wrong |= bad;
        for part in 0..3 {
            let half = |x: __m512i| _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(x));
            let low = _mm512_castsi256_si512(half(left[part]));
            parts[part][i] = _mm512_inserti64x4::<1>(low, half(right[part]));
        }
    }
    wrong
}

/// 16 lines of 32 steps, each step's lines side by side: vector `p` holds steps 2p and 2p + 1 of each line.
///
/// # Safety
///
/// `count` steps of `count` floats can be read.
#[target_feature(enable = "avx512f")]
unsafe fn read_pairs(
    from: *const f32,
    deep: usize,
    count: (usize, usize),
    parts: &mut [[__m512i; 16]; 3],
) -> __mmask16 {
    let mask = ((1_u32 << count.0) - 1) as __mmask16;
    let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
    let mut wrong = 0;
    for pair in 0..count.1.div_ceil(2) {
        let second = if 2 * pair + 1 < count.1 { mask } else { 0 };
        // SAFETY: as the caller promises; what the masks leave out is not read.
        let [even, odd] = unsafe {
            let from = from.add(2 * pair * deep);
            [_mm512_maskz_loadu_ps(mask, from), _mm512_maskz_loadu_ps(second, from.wrapping_add(deep))]
        };
        let ((even, a), (odd, b)) = (split(even), split(odd));
        wrong |= a | b;
        for part in 0..3 {
            let low = _mm512_srli_epi32::<16>(even[part]);
            parts[part][pair] = _mm512_or_si512(low, _mm512_and_si512(odd[part], upper));
        }
    }
    wrong
}

/// Transposes 16 vectors of 16 numbers.
#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512i; 16]) {
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

/// Eight tiles of 16 lines of 64 bytes.
///
/// # Safety
///
/// The units are available.
unsafe fn configure() {
    #[repr(C, align(64))]
    struct Configuration {
        palette: u8,
        start: u8,
        reserved: [u8; 14],
        bytes: [u16; 16],
        rows: [u8; 16],
    }
    let mut configuration = Configuration { palette: 1, start: 0, reserved: [0; 14], bytes: [0; 16], rows: [0; 16] };
    configuration.bytes[..8].fill(64);
    configuration.rows[..8].fill(16);
    // SAFETY: the instruction reads these 64 bytes.
    unsafe {
        asm!("ldtilecfg [{}]", in(reg) &raw const configuration, options(nostack, readonly, preserves_flags));
    }
}

/// # Safety
///
/// The units are available.
unsafe fn release() {
    // SAFETY: it gives the registers of the tiles back.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
}

/// A block of the result, of `size` at most 32 x 32.
///
/// # Safety
///
/// The tiles are configured; `out` is valid for `size` floats in lines of `line`, and holds numbers if they are added to.
unsafe fn multiply(a: &[Piece], b: &[Piece], out: *mut f32, line: usize, size: [usize; 2], add: bool) {
    debug_assert!(a.len() == b.len() && !a.is_empty());
    if size == [BLOCK, BLOCK] {
        // SAFETY: as the caller promises.
        return unsafe { multiply_block(a, b, out, line, add) };
    }
    let mut block = Block([0.0; BLOCK * BLOCK]);
    // SAFETY: as the caller promises; the block has room for 32 x 32.
    unsafe {
        if add {
            for i in 0..size[0] {
                block.0.as_mut_ptr().add(i * BLOCK).copy_from_nonoverlapping(out.add(i * line), size[1]);
            }
        }
        multiply_block(a, b, block.0.as_mut_ptr(), BLOCK, add);
        for i in 0..size[0] {
            out.add(i * line).copy_from_nonoverlapping(block.0.as_ptr().add(i * BLOCK), size[1]);
        }
    }
}

#[repr(C, align(64))]
struct Block([f32; BLOCK * BLOCK]);

/// # Safety
///
/// As for [`multiply`], with a whole block.
unsafe fn multiply_block(a: &[Piece], b: &[Piece], out: *mut f32, line: usize, add: bool) {
    // SAFETY: as the caller promises; pieces have six tiles of 1,024 bytes.
    unsafe {
        let [top, right] = [out, out.add(16)];
        let [bottom, corner] = [out.add(16 * line), out.add(16 * line + 16)];
        if add {
            asm!(
                "tileloadd tmm0, [{top} + {line}]",
                "tileloadd tmm1, [{right} + {line}]",
                "tileloadd tmm2, [{bottom} + {line}]",
                "tileloadd tmm3, [{corner} + {line}]",
                top = in(reg) top, right = in(reg) right, bottom = in(reg) bottom, corner = in(reg) corner, line = in(reg) 4 * line,
                options(nostack, readonly, preserves_flags),
            );
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem, preserves_flags)
            );
        }
        // The smallest products first, while their left or right tiles are there.
        asm!(
            "2:",
            "tileloadd tmm4, [{a} + {stride}]",
            "tileloadd tmm6, [{b} + {stride} + 4096]",
            "tileloadd tmm5, [{a} + {stride} + 1024]",
            "tileloadd tmm7, [{b} + {stride} + 5120]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b} + {stride} + 2048]",
            "tileloadd tmm7, [{b} + {stride} + 3072]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a} + {stride} + 2048]",
            "tileloadd tmm5, [{a} + {stride} + 3072]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm6, [{b} + {stride}]",
            "tileloadd tmm7, [{b} + {stride} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a} + {stride} + 4096]",
            "tileloadd tmm5, [{a} + {stride} + 5120]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "tileloadd tmm4, [{a} + {stride}]",
            "tileloadd tmm5, [{a} + {stride} + 1024]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, {piece}",
            "add {b}, {piece}",
            "dec {steps}",
            "jnz 2b",
            a = inout(reg) a.as_ptr() => _, b = inout(reg) b.as_ptr() => _, steps = inout(reg) a.len() => _,
            stride = in(reg) 64_usize, piece = const size_of::<Piece>(),
            options(nostack, readonly),
        );
        asm!(
            "tilestored [{top} + {line}], tmm0",
            "tilestored [{right} + {line}], tmm1",
            "tilestored [{bottom} + {line}], tmm2",
            "tilestored [{corner} + {line}], tmm3",
            top = in(reg) top, right = in(reg) right, bottom = in(reg) bottom, corner = in(reg) corner, line = in(reg) 4 * line,
            options(nostack, preserves_flags),
        );
    }
}
