//! Layers of small networks on the matrix units, a block of 32 rows at a time.
//!
//! The parts of a weight are made once, those of a block of rows between its activation and its product, in the first-level cache. (Work of vectors between the
//! products of the units gains nothing: these block one of the two ports that vectors of 64 bytes go through.)
use super::super::buffer::Room;
use super::pack::{Lines, Order, pack, split};
use super::{BLOCK, Begin, Block, Operand, Page, Piece, Place, STEP, available, begin, configure, end, release};
use std::arch::asm;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// Rows of a block.
pub(in super::super) const ROWS: usize = BLOCK;
/// Rows, and elements of a weight, below which vectors are faster.
const FEW: usize = 5 * ROWS;
const SMALL: usize = 2 * STEP * BLOCK;
/// Numbers of a vector.
const LANES: usize = 16;

/// Whether a layer of these sizes is faster on the units. What a row becomes depends on the number of rows by this alone.
pub(in super::super) fn pays([rows, from, to]: [usize; 3]) -> bool {
    rows >= FEW && from * to >= SMALL && from.is_multiple_of(STEP) && to.is_multiple_of(BLOCK) && available()
}

/// The weight of a layer, cut into parts.
pub(in super::super) struct Weight {
    /// `[block of columns, step]`
    pieces: Room<Piece>,
    steps: usize,
    columns: usize,
}

impl Weight {
    /// Of `[from, to]`; None if one of its numbers is not finite.
    pub(in super::super) fn new(weight: &[f32], [from, to]: [usize; 2]) -> Option<Self> {
        assert!(weight.len() == from * to && pays([FEW, from, to]));
        let (steps, columns) = (from / STEP, to / BLOCK);
        let of = Operand { values: weight, line: 1, deep: to, page: Page::ONE };
        let mut pieces = Room::new(columns * steps);
        // SAFETY: with the units there is AVX-512; there is room for the pieces, and all of them are written.
        let finite = unsafe {
            let lines = Lines { of, first: (0, 0), end: (to, from) };
            pack(&lines, Order::Pairs, pieces.as_mut_ptr(), [columns, steps])
        };
        finite.then_some(Self { pieces, steps, columns })
    }
}

/// The units of this thread, ready for blocks of rows, and room for their parts. (The pointer keeps it on its thread.)
pub(in super::super) struct Units(Room<Piece>, PhantomData<*mut Piece>);

impl Units {
    /// For rows of so many features, or fewer.
    ///
    /// # Safety
    ///
    /// [`pays`] said so, and until this is dropped nothing else on this thread configures or releases the units.
    pub(in super::super) unsafe fn new(features: usize) -> Self {
        // SAFETY: as the caller promises.
        unsafe { configure() };
        Self(Room::new(features / STEP), PhantomData)
    }

    /// One product of what there is: after half a microsecond without work the units do their next products at half the rate.
    #[inline(always)]
    pub(in super::super) fn keep_awake(&mut self) {
        // SAFETY: the units are configured, and nobody counts on what the tile holds.
        unsafe { asm!("tdpbf16ps tmm0, tmm4, tmm6", options(nostack, nomem, preserves_flags)) };
    }

    /// `out = x weight + bias` for a block of rows or a part of one; false, with `out` in any state, if there are numbers that are not finite.
    ///
    /// # Safety
    ///
    /// `x`, `bias` and `out` are valid for reads and writes of so many rows, of no more features than there is room for.
    #[target_feature(enable = "avx512f")]
    pub(in super::super) unsafe fn layer(
        &mut self,
        rows: usize,
        x: *const f32,
        weight: &Weight,
        bias: *const f32,
        out: *mut f32,
    ) -> bool {
        let &Weight { ref pieces, steps, columns } = weight;
        debug_assert!(rows <= ROWS && steps <= self.0.count());
        let (left, line, mut sums) = (self.0.as_mut_ptr(), columns * BLOCK, [_mm512_setzero_ps(); 2]);
        // SAFETY: as the caller promises. Rows behind the end are what they were, and become no more than rows behind the end.
        unsafe {
            for row in 0..rows {
                for step in 0..steps {
                    let x = x.add((row * steps + step) * STEP);
                    let (low, high) = (_mm512_loadu_si512(x.cast()), _mm512_loadu_si512(x.add(LANES).cast()));
                    split(low, high, left.add(step).cast::<__m512i>().add(row), &mut sums);
                }
            }
            self.keep_awake();
            for column in 0..columns {
                let at = column * BLOCK;
                let place = Place { start: out.add(at), line, size: [rows, BLOCK] };
                let right = pieces.as_ptr().add(column * steps);
                multiply(steps, left, right, Begin::Row(bias.add(at)), place);
            }
        }
        _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(sums[0], sums[1]) == 0
    }
}

impl Drop for Units {
    fn drop(&mut self) {
        // SAFETY: the units are there.
        unsafe { release() };
    }
}

/// Four products of tiles, the left ones in tmm4 and tmm5, the right ones in tmm6 and tmm7, after some of them were loaded: from `a` or `b`, from so many bytes on.
macro_rules! four {
    ($($tile:literal = $from:literal + $bytes:literal),*) => {
        concat!(
            $("tileloadd tmm", $tile, ", [{", $from, "} + {stride} + ", $bytes, "]\n",)*
            "tdpbf16ps tmm0, tmm4, tmm6\n",
            "tdpbf16ps tmm2, tmm5, tmm6\n",
            "tdpbf16ps tmm1, tmm4, tmm7\n",
            "tdpbf16ps tmm3, tmm5, tmm7\n",
        )
    };
}

/// A block of the result. (What it reads is in the cache: nothing is asked for ahead.)
///
/// # Safety
///
/// The tiles are configured; `a` and `b` have so many pieces; what `first` names can be read, and the place at the end written.
#[inline(always)]
unsafe fn multiply(steps: usize, a: *const Piece, b: *const Piece, first: Begin, last: Place) {
    // SAFETY: as the caller promises.
    unsafe {
        begin(first);
        asm!(
            "2:",
            // The smallest products first, while their left or right tiles are there.
            four!("4" = "a" + "0", "6" = "b" + "4096", "5" = "a" + "1024", "7" = "b" + "5120"),
            four!("6" = "b" + "2048", "7" = "b" + "3072"),
            four!("4" = "a" + "2048", "5" = "a" + "3072"),
            four!("6" = "b" + "0", "7" = "b" + "1024"),
            four!("4" = "a" + "4096", "5" = "a" + "5120"),
            four!("4" = "a" + "0", "5" = "a" + "1024"),
            "add {a}, {piece}",
            "add {b}, {piece}",
            "dec {steps}",
            "jnz 2b",
            a = inout(reg) a => _, b = inout(reg) b => _, steps = inout(reg) steps => _,
            stride = in(reg) 64_usize, piece = const size_of::<Piece>(),
            options(nostack, readonly),
        );
        if last.part() {
            let mut block = Block([0.0; BLOCK * BLOCK]);
            let whole = Place::whole(&mut block);
            end(whole);
            last.copy(whole);
        } else {
            end(last);
        }
    }
}
