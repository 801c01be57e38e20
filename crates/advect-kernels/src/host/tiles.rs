//! Products of f32 matrices on the matrix units of Intel's processors (AMX), which multiply bfloat16 only.
//!
//! A float is the exact sum of three bfloat16 numbers of eight bits each, `a = a1 + a2 + a3`. Of the nine products of two such sums, the six
//! `a1 b1 + a1 b2 + a2 b1 + a2 b2 + a1 b3 + a3 b1` are taken; the other three are below 2^-21 of `|a b|`, and 2^-24 on average, as much as the rounding of an f32
//! product (Henry, Tang & Heinecke 2019, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations"). The units add in f32. So
//! a sum is as good as one of f32 products. The units do 16 times as many multiplications as those of vectors; with their six products and with the parts
//! that must be made first, a large product runs at 1.1 to 1.5 times of what the multiply-add units of vectors could do at best, which vectors reach nine tenths of.
//!
//! Numbers that are infinite or not numbers have no such parts, and a product with one is refused: the caller takes the way of vectors. Below 2^-110 or so
//! the smallest parts are flushed to zero, as are sums and products below 2^-126.
mod pack;
pub(super) mod small;

use self::pack::{Lines, Order, pack};
use super::buffer::{self, Room, Shared};
use super::threads;
use std::arch::asm;
use std::arch::x86_64::*;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Rows, and columns, of a block of the result: two tiles of 16 in each direction, four accumulators.
const BLOCK: usize = 32;
/// Steps of the depth that one instruction takes.
pub(super) const STEP: usize = 32;
/// Floats' parts of a block and a step: three parts of two tiles of 16 lines of 32.
const PIECE: usize = 3 * 2 * 16 * 32;
/// Steps of a pass over the depth: 96 KiB of parts of a block on each side. Fewer would stay in the first-level cache, but sums would be read and written more
/// often, which costs more.
const PASS: usize = 16;
/// Rows of the left matrix that a task takes, at most: 768 KiB of parts in a pass, which stay in the second-level cache while the right matrix comes by.
const ROWS: usize = 256;
/// Lines of 64 bytes in a piece.
const LINES: usize = PIECE / 32;
/// Lines of the next pieces of the right matrix that are asked for in each step: the blocks of a task, if there are as many as there can be, together ask for all of them.
const AHEAD: usize = LINES * BLOCK / ROWS;
// The instructions that ask are written out.
const _: () = assert!(AHEAD == 12 && LINES == 96);
/// Pieces of the right matrix that are packed at a time, at most, 6 MiB (one pass at least).
const PACKED: usize = 1024;
/// Blocks of columns of the right matrix that a task packs.
const GROUP: usize = 4;
/// Multiply-adds below which vectors are faster.
const LARGE: usize = 1 << 22;

/// Whether the units are there and a product is large enough for them: cutting the numbers into parts takes as long as some twenty multiplications of each.
pub(super) fn pays([m, k, n]: [usize; 3]) -> bool {
    m * k * n >= LARGE.max(20 * (m * k + k * n + m * n)) && available()
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
        // SAFETY: the call asks the kernel for the right of this process to use the tiles' registers; later stacks for signals must have room for them.
        vectors && tiles && unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) } == 0
    })
}

/// `out = left right`, plus `bias` in each row, for `[m, k]` and `[k, n]`; false, with `out` in any state, if there are numbers that are not finite.
///
/// # Safety
///
/// [`pays`] said so; `out` is valid for writes of `m * n` floats, `bias` for reads of `n`.
pub(super) unsafe fn product(
    [m, k, n]: [usize; 3],
    left: Operand<'_>,
    right: Operand<'_>,
    out: *mut f32,
    bias: Option<&[f32]>,
) -> bool {
    let finite = AtomicBool::new(true);
    let out = Shared(out);
    let (rows, columns) = (m.div_ceil(BLOCK), n.div_ceil(BLOCK));
    // Whole blocks of it.
    let bias: Option<Vec<f32>> = bias.map(|bias| bias.iter().copied().chain([0.0; BLOCK]).collect());
    // As many rows a task as let the threads end together, then columns; what a number of the result is does not depend on it.
    let threads = rayon::current_num_threads();
    let tasks = m.div_ceil(ROWS).next_multiple_of(threads).min(rows);
    let (many, wide) = (rows.div_ceil(tasks), columns.div_ceil(threads.div_ceil(tasks).min(columns)));
    let (tasks, across) = (rows.div_ceil(many), columns.div_ceil(wide));
    let span = (PACKED / columns / PASS * PASS).max(PASS);
    let mut packed_right = Room::<Piece>::new(columns * span.min(k.div_ceil(STEP)));
    for start in (0..k.div_ceil(STEP)).step_by(span) {
        let steps = span.min(k.div_ceil(STEP) - start);
        // The pieces of a pass lie together: [pass, block of columns, step].
        let room_of_right = Places(packed_right.as_mut_ptr());
        let groups = columns.div_ceil(GROUP);
        threads::for_each(groups * steps.div_ceil(PASS), |task| {
            let (pass, group) = (task / groups * PASS, task % groups * GROUP);
            let count = [GROUP.min(columns - group), PASS.min(steps - pass)];
            let lines = Lines { of: right, first: (group * BLOCK, (start + pass) * STEP), end: (n, k) };
            // SAFETY: there is room for all of the passes; these pieces belong to this task alone.
            if !unsafe { pack(&lines, Order::Pairs, room_of_right.at(columns * pass + group * count[1]).0, count) } {
                finite.store(false, Ordering::Relaxed);
            }
        });
        // The parts of the left matrix, and the sums of all blocks between two passes: at a place of their own, where tiles are whole lines of the cache.
        let between = if steps > PASS { many * wide } else { 0 };
        let rooms = || (Room::<Piece>::new(many * PASS.min(steps)), Room::<Block>::new(between));
        threads::for_each_given(tasks * across, rooms, |(packed, sums), task| {
            let (task, part) = (task / across, task % across);
            let (first, blocks) = (task * many, many.min(rows - task * many));
            let part = part * wide..columns.min((part + 1) * wide);
            // SAFETY: the pieces of the right matrix are written, those of the left one belong to this task as do the rows and columns of the result.
            unsafe {
                let (a, sums) = (Places(packed.as_mut_ptr()), sums.as_mut_ptr().cast::<f32>());
                configure();
                for pass in (0..steps).step_by(PASS) {
                    let count = [blocks, PASS.min(steps - pass)];
                    let lines = Lines { of: left, first: (first * BLOCK, (start + pass) * STEP), end: (m, k) };
                    if !pack(&lines, Order::Lines, a.0, count) {
                        finite.store(false, Ordering::Relaxed);
                    }
                    for column in part.clone() {
                        let b = room_of_right.at(columns * pass + column * count[1]);
                        for block in 0..blocks {
                            let (row, at) = ((first + block) * BLOCK, column * BLOCK);
                            let size = [BLOCK.min(m - row), BLOCK.min(n - at)];
                            let result = Place { start: out.at(row * n + at), line: n, size };
                            let between = sums.wrapping_add(((column - part.start) * blocks + block) * BLOCK * BLOCK);
                            let between = Place { start: between, line: BLOCK, size: [BLOCK; 2] };
                            let begin = match &bias {
                                _ if pass > 0 => Begin::Sums(between),
                                _ if start > 0 => Begin::Sums(result),
                                Some(bias) => Begin::Row(bias.as_ptr().add(at)),
                                None => Begin::Zero,
                            };
                            let end = if pass + PASS < steps { between } else { result };
                            let rows = if pass > 0 { between.start.wrapping_add(BLOCK * BLOCK) } else { end.start };
                            let line = if pass > 0 { between.line } else { end.line };
                            let pieces = b.0.wrapping_add(count[1]).wrapping_byte_add(64 * AHEAD * count[1] * block);
                            let ahead = Ahead::new(pieces, rows, line);
                            multiply(count[1], a.at(block * count[1]).0, b.0, begin, end, ahead);
                        }
                    }
                }
                release();
            }
        });
    }
    finite.into_inner()
}

/// The largest left matrix, in numbers, that [`products`] keeps in parts: 1.5 MiB, in the second-level cache.
const KEPT: usize = 1 << 18;
/// Pieces of the right matrix that a task of [`products`] packs, about: 192 KiB.
const SOME: usize = 32;

/// Whether [`products`] can do it, and should.
pub(super) fn many_pay([m, k, n]: [usize; 3]) -> bool {
    m.next_multiple_of(BLOCK) * k.next_multiple_of(STEP) <= KEPT && pays([m, k, n])
}

/// `out = left right`, plus `bias` in each column, for one `[m, k]` and as many `[k, n]` as there are in `right`, one after the other; false, with `out` in
/// any state, if there are numbers that are not finite.
///
/// # Safety
///
/// [`many_pay`] said so; `out` is valid for writes of `m * n` floats for each product, and `bias` has `m`.
pub(super) unsafe fn products(
    [m, k, n]: [usize; 3],
    left: Operand<'_>,
    right: &[f32],
    out: *mut f32,
    bias: &[f32],
) -> bool {
    let finite = AtomicBool::new(true);
    let out = Shared(out);
    let (rows, columns, steps) = (m.div_ceil(BLOCK), n.div_ceil(BLOCK), k.div_ceil(STEP));
    let mut packed_left = Room::<Piece>::new(rows * steps);
    let a = Places(packed_left.as_mut_ptr());
    threads::for_each(rows, |block| {
        let lines = Lines { of: left, first: (block * BLOCK, 0), end: (m, k) };
        // SAFETY: there is room for all blocks, and this one belongs to this task alone.
        if !unsafe { pack(&lines, Order::Lines, a.at(block * steps).0, [1, steps]) } {
            finite.store(false, Ordering::Relaxed);
        }
    });
    // [block, row, column]
    let mut biases = buffer::Lines::default();
    for (row, bias) in biases.reserve(rows * BLOCK * BLOCK).chunks_exact_mut(BLOCK).zip(bias) {
        row.fill(*bias);
    }
    let biases = Shared(biases.reserve(rows * BLOCK * BLOCK).as_mut_ptr());
    let wide = (SOME / steps).clamp(1, columns);
    let parts = columns.div_ceil(wide);
    let room = || Room::<Piece>::new(wide * steps);
    threads::for_each_given(right.len() / (k * n) * parts, room, |packed, task| {
        let (product, first) = (task / parts, task % parts * wide);
        let columns = wide.min(columns - first);
        let right = Operand { values: &right[product * k * n..][..k * n], line: 1, deep: n, page: Page::ONE };
        let lines = Lines { of: right, first: (first * BLOCK, 0), end: (n, k) };
        // SAFETY: the pieces of the left matrix are written, those of the right one belong to this task as do the columns of the result.
        unsafe {
            let b = Places(packed.as_mut_ptr());
            if !pack(&lines, Order::Pairs, b.0, [columns, steps]) {
                finite.store(false, Ordering::Relaxed);
            }
            configure();
            for column in 0..columns {
                for block in 0..rows {
                    let (row, at) = (block * BLOCK, (first + column) * BLOCK);
                    let size = [BLOCK.min(m - row), BLOCK.min(n - at)];
                    let end = Place { start: out.at((product * m + row) * n + at), line: n, size };
                    let begin = Place { start: biases.at(block * BLOCK * BLOCK), line: BLOCK, size: [BLOCK; 2] };
                    let (a, b) = (a.at(block * steps).0, b.at(column * steps).0);
                    // Two rows a step: after more steps they would be rows of the next product.
                    let line = if steps > PASS { 0 } else { end.line };
                    let ahead = Ahead::new(a.wrapping_add(steps), end.start, line);
                    multiply(steps, a, b, Begin::Sums(begin), end, ahead);
                }
            }
            release();
        }
    });
    finite.into_inner()
}

/// The parts of 32 lines and 32 steps: `[part, tile, line or pair, ..]`.
#[repr(C, align(64))]
struct Piece([u16; PIECE]);

/// Where pieces lie, some of them not written yet.
#[derive(Clone, Copy)]
struct Places(*mut Piece);

// SAFETY: a pointer alone does nothing; whoever writes through it sees to it that no two threads touch the same piece.
unsafe impl Send for Places {}
// SAFETY: as above.
unsafe impl Sync for Places {}

impl Places {
    /// # Safety
    ///
    /// The place lies in the same allocation.
    unsafe fn at(self, count: usize) -> Self {
        // SAFETY: as the caller promises.
        Self(unsafe { self.0.add(count) })
    }
}

/// A matrix as lines (rows of the left one, columns of the right one) with the depth along them.
#[derive(Clone, Copy)]
pub(super) struct Operand<'a> {
    pub values: &'a [f32],
    /// From a line to the next, and from a step of the depth to the next. One of them is 1.
    pub line: usize,
    pub deep: usize,
    pub page: Page,
}

/// The depth in pages of so many steps, a multiple of 32, each so many floats behind the one before.
#[derive(Clone, Copy)]
pub(super) struct Page {
    pub steps: usize,
    pub floats: usize,
}

impl Page {
    /// The whole depth.
    pub(super) const ONE: Self = Self { steps: usize::MAX, floats: 0 };

    fn place(self, step: usize, deep: usize) -> usize {
        step / self.steps * self.floats + step % self.steps * deep
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

/// 32 x 32 sums.
#[repr(C, align(64))]
struct Block([f32; BLOCK * BLOCK]);

/// Where a block lies: lines so many floats apart, of which so many rows and columns are there.
#[derive(Clone, Copy)]
struct Place {
    start: *mut f32,
    line: usize,
    size: [usize; 2],
}

impl Place {
    /// Whether not all of it is there.
    fn part(&self) -> bool {
        self.size != [BLOCK; 2]
    }

    fn whole(block: &mut Block) -> Self {
        Self { start: block.0.as_mut_ptr(), line: BLOCK, size: [BLOCK; 2] }
    }

    /// Copies the rows and columns that are in both.
    ///
    /// # Safety
    ///
    /// They can be read at `from`, and written here.
    unsafe fn copy(self, from: Self) {
        for i in 0..self.size[0].min(from.size[0]) {
            // SAFETY: as the caller promises.
            unsafe {
                let to = self.start.add(i * self.line);
                to.copy_from_nonoverlapping(from.start.add(i * from.line), self.size[1].min(from.size[1]));
            }
        }
    }
}

/// What the sums of a block begin with.
#[derive(Clone, Copy)]
enum Begin {
    Zero,
    /// These 32 numbers in each row.
    Row(*const f32),
    /// What is there.
    Sums(Place),
}

/// The product of two tiles, and requests for eight lines: of the `$part`th twelfth of the next piece on this side.
macro_rules! one {
    ($tiles:literal, $side:literal, $part:expr) => {
        concat!(
            "tdpbf16ps ",
            $tiles,
            "\n",
            ".irp line, 0, 1, 2, 3, 4, 5, 6, 7\n",
            "prefetcht0 [{",
            $side,
            "} + {piece} + 512 * ",
            $part,
            " + 64 * \\line]\n",
            ".endr\n",
        )
    };
}

/// The products of two tiles of the left matrix (tmm4, tmm5) with two of the right one (tmm6, tmm7), and requests for the `$third`th third of the next piece.
macro_rules! four {
    ($side:literal, $third:literal) => {
        concat!(
            one!("tmm0, tmm4, tmm6", $side, concat!("(4 * ", $third, ")")),
            one!("tmm2, tmm5, tmm6", $side, concat!("(4 * ", $third, " + 1)")),
            one!("tmm1, tmm4, tmm7", $side, concat!("(4 * ", $third, " + 2)")),
            one!("tmm3, tmm5, tmm7", $side, concat!("(4 * ", $third, " + 3)")),
        )
    };
}

/// What is asked for ahead while a block is multiplied, beside the pieces of its next step.
#[derive(Clone, Copy)]
struct Ahead {
    /// Pieces that come after this block, the more of them the more steps it has.
    pieces: *const i8,
    /// The first of the rows that are written or read next, and from one to the next.
    row: *const i8,
    line: usize,
}

impl Ahead {
    fn new(pieces: *const Piece, rows: *const f32, line: usize) -> Self {
        Self { pieces: pieces.cast(), row: rows.cast(), line: 4 * line }
    }
}

/// A block of the result.
///
/// Meanwhile it asks for what comes next, at more places than the processor foresees by itself: waiting for them would cost an eighth of the time.
///
/// # Safety
///
/// The tiles are configured; `a` and `b` have so many pieces; what `begin` names can be read, and the place at the end written.
#[inline(always)]
unsafe fn multiply(steps: usize, a: *const Piece, b: *const Piece, begin: Begin, end: Place, ahead: Ahead) {
    // SAFETY: as the caller promises.
    unsafe {
        // Sums that are read at an edge of the result may end in a whole block, if they go on in another pass.
        if end.part() || matches!(begin, Begin::Sums(from) if from.part()) {
            multiply_part(steps, a, b, begin, end, ahead);
        } else {
            multiply_block(steps, a, b, begin, end, ahead);
        }
    }
}

/// A block at an edge of the result, of which not all is there.
///
/// # Safety
///
/// As for [`multiply`].
#[cold]
unsafe fn multiply_part(steps: usize, a: *const Piece, b: *const Piece, begin: Begin, end: Place, ahead: Ahead) {
    let mut block = Block([0.0; BLOCK * BLOCK]);
    let whole = Place::whole(&mut block);
    // SAFETY: as the caller promises.
    unsafe {
        let begin = match begin {
            Begin::Sums(from) if from.part() => {
                whole.copy(from);
                Begin::Sums(whole)
            }
            other => other,
        };
        multiply_block(steps, a, b, begin, whole, ahead);
        end.copy(whole);
    }
}

/// # Safety
///
/// As for [`multiply`], with whole blocks.
#[inline(always)]
unsafe fn multiply_block(steps: usize, a: *const Piece, b: *const Piece, begin: Begin, end: Place, ahead: Ahead) {
    debug_assert!(steps > 0 && !end.part() && !matches!(begin, Begin::Sums(from) if from.part()));
    // SAFETY: as the caller promises; pieces have six tiles of 1,024 bytes.
    unsafe {
        self::begin(begin);
        // The smallest products first, while their left or right tiles are there.
        asm!(
            ".p2align 6",
            "2:",
            "tileloadd tmm4, [{a} + {stride}]",
            "tileloadd tmm6, [{b} + {stride} + 4096]",
            "tileloadd tmm5, [{a} + {stride} + 1024]",
            "tileloadd tmm7, [{b} + {stride} + 5120]",
            four!("a", "0"),
            "prefetcht1 [{ahead} + 0]",
            "prefetcht1 [{ahead} + 64]",
            "tileloadd tmm6, [{b} + {stride} + 2048]",
            "tileloadd tmm7, [{b} + {stride} + 3072]",
            four!("a", "1"),
            "prefetcht1 [{ahead} + 128]",
            "prefetcht1 [{ahead} + 192]",
            "prefetchw [{row}]",
            "prefetchw [{row} + 64]",
            "tileloadd tmm4, [{a} + {stride} + 2048]",
            "tileloadd tmm5, [{a} + {stride} + 3072]",
            four!("a", "2"),
            "prefetcht1 [{ahead} + 256]",
            "prefetcht1 [{ahead} + 320]",
            "prefetchw [{row} + {line}]",
            "prefetchw [{row} + {line} + 64]",
            "tileloadd tmm6, [{b} + {stride}]",
            "tileloadd tmm7, [{b} + {stride} + 1024]",
            four!("b", "0"),
            "prefetcht1 [{ahead} + 384]",
            "prefetcht1 [{ahead} + 448]",
            "tileloadd tmm4, [{a} + {stride} + 4096]",
            "tileloadd tmm5, [{a} + {stride} + 5120]",
            four!("b", "1"),
            "prefetcht1 [{ahead} + 512]",
            "prefetcht1 [{ahead} + 576]",
            "tileloadd tmm4, [{a} + {stride}]",
            "tileloadd tmm5, [{a} + {stride} + 1024]",
            four!("b", "2"),
            "prefetcht1 [{ahead} + 640]",
            "prefetcht1 [{ahead} + 704]",
            "add {a}, {piece}",
            "add {b}, {piece}",
            "add {ahead}, 64 * {some}",
            "lea {row}, [{row} + 2 * {line}]",
            "dec {steps}",
            "jnz 2b",
            a = inout(reg) a => _, b = inout(reg) b => _, steps = inout(reg) steps => _,
            ahead = inout(reg) ahead.pieces => _, row = inout(reg) ahead.row => _, line = in(reg) ahead.line,
            stride = in(reg) 64_usize, piece = const size_of::<Piece>(), some = const AHEAD,
            options(nostack, readonly),
        );
        self::end(end);
    }
}

/// Fills the four tiles of sums.
///
/// # Safety
///
/// The tiles are configured; what `begin` names can be read, and is a whole block.
#[inline(always)]
unsafe fn begin(begin: Begin) {
    // SAFETY: as the caller promises.
    unsafe {
        match begin {
            Begin::Sums(Place { start, line, .. }) => asm!(
                "tileloadd tmm0, [{top} + {line}]",
                "tileloadd tmm1, [{top} + {line} + 64]",
                "tileloadd tmm2, [{bottom} + {line}]",
                "tileloadd tmm3, [{bottom} + {line} + 64]",
                top = in(reg) start, bottom = in(reg) start.add(16 * line), line = in(reg) 4 * line,
                options(nostack, readonly, preserves_flags),
            ),
            // Lines that are 0 bytes apart.
            Begin::Row(row) => asm!(
                "tileloadd tmm0, [{row} + {none}]",
                "tileloadd tmm1, [{row} + {none} + 64]",
                "tileloadd tmm2, [{row} + {none}]",
                "tileloadd tmm3, [{row} + {none} + 64]",
                row = in(reg) row, none = in(reg) 0_usize,
                options(nostack, readonly, preserves_flags),
            ),
            Begin::Zero => asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem, preserves_flags)
            ),
        }
    }
}

/// Writes the four tiles of sums to a whole block.
///
/// # Safety
///
/// The tiles are configured, and the place can be written.
#[inline(always)]
unsafe fn end(Place { start, line, .. }: Place) {
    // SAFETY: as the caller promises.
    unsafe {
        asm!(
            "tilestored [{top} + {line}], tmm0",
            "tilestored [{top} + {line} + 64], tmm1",
            "tilestored [{bottom} + {line}], tmm2",
            "tilestored [{bottom} + {line} + 64], tmm3",
            top = in(reg) start, bottom = in(reg) start.add(16 * line), line = in(reg) 4 * line,
            options(nostack, preserves_flags),
        );
    }
}
