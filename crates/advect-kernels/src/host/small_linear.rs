//! Linear layers with a small weight: activation, product and bias, and all their gradients, in one pass over blocks of rows.
//!
//! Between the activation and the product a block of rows stays in the first-level cache, the weight beside it. A number of the output does not depend on
//! the other rows, nor on how many there are but for the choice between vectors and matrix units.
#[cfg(target_arch = "x86_64")]
use super::avx512;
use super::buffer::{Lines, Shared, filled_by};
use super::elementwise::Pointwise;
use super::lanes::{load, load_if, store_if};
use super::linear::Linear;
use super::matrix::{Left, Right, TALL, VECTORS, lanes};
use super::panels::{panels, tiles, transposed_panels};
use super::threads;
use super::tiles::small::{self, Units, Weight};
use crate::kernels::Wanted;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Elements of a weight, at most, that stays in the cache.
const SMALL: usize = 1 << 14;
/// Rows of a block.
const BLOCK: usize = 48;
/// Rows whose gradients are summed by one task, about: a function of the shape, so that the number of threads changes no bit.
const ROWS: usize = 512;
/// Multiply-adds below which one thread is faster.
const PARALLEL: usize = 1 << 17;

/// Pieces in which the sums of the tasks are added up.
const PIECES: usize = 4;

/// The gradients of a layer; None where nobody asked.
pub(crate) struct Gradients {
    /// `[rows, from]`
    pub x: Option<Vec<f32>>,
    /// `[from, to]`
    pub weight: Option<Vec<f32>>,
    /// `[to]`
    pub bias: Option<Vec<f32>>,
}

/// Whether the weight is small enough for this way.
pub(crate) fn pays(sizes: &Linear) -> bool {
    sizes.from * sizes.to <= SMALL
}

/// A layer of a chain: `f(x) weight + bias`.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a> {
    pub f: Option<Pointwise>,
    /// `[from, to]`
    pub weight: &'a [f32],
    /// `[to]`
    pub bias: &'a [f32],
}

/// What layers make of `x`, one after the other: a block of rows passes them all before the next one comes.
pub(crate) fn forward(rows: usize, layers: &[Layer<'_>], x: &[f32]) -> Vec<f32> {
    let mut packed: Vec<Lines> = layers.iter().map(|_| Lines::default()).collect();
    let (mut from, mut widest) = (x.len() / rows, x.len() / rows);
    let (mut work, mut deepest) = (0, None);
    let mut links = Vec::with_capacity(layers.len());
    for (layer, packed) in layers.iter().zip(&mut packed) {
        let Layer { f, weight, bias } = *layer;
        let to = bias.len();
        assert!(from * to == weight.len() && to > 0);
        let narrow = narrow([from, to]);
        let right = if narrow { turned(packed, weight, to) } else { panels(packed, weight, [from, to]) };
        // A layer alone is most often one of a training step, whose other products, on vectors, take longer after those of the units: the processor slows down for these.
        let units = (layers.len() > 1 && small::pays([rows, from, to])).then_some(weight);
        deepest = deepest.max(units.map(|_| from));
        links.push(Link { from, to, f, narrow, right, bias: bias.as_ptr(), units });
        work += rows * from * to;
        (from, widest) = (to, widest.max(to));
    }
    assert!(x.len() == rows * links.first().map_or(0, |link| link.from));
    let (links, to, from) = (&links[..], from, x.len() / rows);
    let block = if deepest.is_some() { small::ROWS } else { BLOCK };
    let task = if work < PARALLEL { rows } else { balanced(rows, block, rayon::current_num_threads()) };
    // Each thread makes the parts of the weights for itself: those of another one would have to come out of its cache, and to leave this one before they are
    // written the next time, which takes longer.
    let parts = |link: &Link<'_>| link.units.and_then(|weight| Weight::new(weight, [link.from, link.to]));
    let room = || {
        let weights: Vec<_> = links.iter().map(parts).collect();
        // SAFETY: the units are there if they pay for a link, and no task multiplies by others.
        (Lines::default(), weights, deepest.map(|from| unsafe { Units::new(from) }))
    };
    // SAFETY: every row of each task is written.
    unsafe {
        filled_by(rows * to, |out| {
            let out = Shared(out.as_mut_ptr().cast());
            threads::for_each_init(rows.div_ceil(task), room, |(scratch, weights, units), index| {
                let first = index * task;
                let rows = task.min(rows - first);
                let scratch = scratch.room(2 * block * widest).as_mut_ptr().cast::<f32>();
                // The rows belong to this task; the slices have the lengths asserted above.
                let (x, out) = (x.as_ptr().add(first * from), out.at(first * to));
                let scratch = [scratch, scratch.add(block * widest)];
                Forward { rows, x, links, weights, out, block, scratch, units: units.as_mut() }.dispatch();
            });
        })
    }
}

/// Whether a layer has so few columns that sums along the rows are faster than tiles.
fn narrow([from, to]: [usize; 2]) -> bool {
    cfg!(target_arch = "x86_64") && lanes() == 16 && from >= 16 && to <= 4
}

/// Whether all of so many numbers are finite.
///
/// # Safety
///
/// They can be read.
unsafe fn finite(x: *const f32, count: usize) -> bool {
    // SAFETY: as the caller promises.
    unsafe { std::slice::from_raw_parts(x, count) }.iter().all(|x| x.is_finite())
}

/// The columns of a weight, one after the other, with zeros behind each up to a whole vector.
fn turned(packed: &mut Lines, weight: &[f32], to: usize) -> Right {
    let pitch = (weight.len() / to).next_multiple_of(lanes());
    let out = packed.reserve(to * pitch);
    for (column, out) in out.chunks_exact_mut(pitch).enumerate() {
        for (value, out) in weight[column..].iter().step_by(to).zip(out) {
            *out = *value;
        }
    }
    Right { start: out.as_ptr(), panel_step: pitch, depth_step: 1 }
}

/// Rows of a task: whole tiles, a block at most, and such that so many threads end together. (The matrix units take a whole block at a time.)
fn balanced(rows: usize, block: usize, threads: usize) -> usize {
    let last = |task: usize| rows.div_ceil(task).div_ceil(threads) * task;
    let tile = if block.is_multiple_of(TALL) { TALL } else { block };
    (1..=block / tile).map(|tiles| tiles * tile).rev().min_by_key(|task| last(*task)).unwrap_or(block)
}

/// The gradients of `x`, `weight` and the bias, from the gradient of the output.
pub(crate) fn backward(
    sizes: &Linear,
    f: Option<Pointwise>,
    x: &[f32],
    weight: &[f32],
    gradient: &[f32],
    wanted: Wanted,
) -> Gradients {
    let Linear { rows, from, to } = *sizes;
    assert!(x.len() == rows * from && weight.len() == from * to && gradient.len() == rows * to);
    let (lanes, padded) = (lanes(), to.next_multiple_of(VECTORS * lanes()));
    // A few columns would leave most lanes of a tile idle: their gradient is computed as rows.
    let turned = to < lanes && from.is_multiple_of(VECTORS * lanes);
    let mut packed = Lines::default();
    let transposed = wanted.x.then(|| transposed_panels(&mut packed, weight, [from, to]));
    // An even number of tasks, so that two threads end together.
    let tasks = rows.div_ceil(2 * ROWS) * 2;
    let task = rows.div_ceil(tasks).next_multiple_of(TALL).max(BLOCK);
    let mut parts: Vec<(Vec<f32>, Vec<f32>)> = Vec::new();
    let mut run = |dx: Option<Shared>| {
        let part = |index: usize| {
            let first = index * task;
            let rows = task.min(rows - first);
            let dw = if turned { to } else { padded } * from;
            let mut dw = vec![0.0_f32; if wanted.weight { dw } else { 0 }];
            let mut db = vec![0.0_f32; if wanted.bias { padded } else { 0 }];
            let mut scratch = Lines::default();
            // Values and slopes of the activation, and the gradient where its rows are no whole vectors.
            let (values, gradients) = (BLOCK * from.next_multiple_of(lanes), BLOCK * padded);
            let scratch = scratch.room(2 * values + gradients).as_mut_ptr().cast::<f32>();
            // SAFETY: the rows belong to this task; the slices have the lengths asserted above, the scratch has three parts.
            unsafe {
                Backward {
                    rows,
                    from,
                    to,
                    padded,
                    turned,
                    f,
                    x: x.as_ptr().add(first * from),
                    gradient: gradient.as_ptr().add(first * to),
                    transposed,
                    dx: dx.map(|dx| dx.at(first * from)),
                    dw: wanted.weight.then_some(dw.as_mut_ptr()),
                    db: wanted.bias.then_some(db.as_mut_ptr()),
                    scratch: [scratch, scratch.add(values), scratch.add(2 * values)],
                }
                .dispatch();
            }
            (dw, db)
        };
        let count = rows.div_ceil(task);
        parts = if rows * from * to < PARALLEL { (0..count).map(part).collect() } else { threads::map(count, part) };
    };
    let dx = if wanted.x {
        // SAFETY: every row of each task is written.
        Some(unsafe { filled_by(rows * from, |out| run(Some(Shared(out.as_mut_ptr().cast())))) })
    } else {
        run(None);
        None
    };
    let mut parts = parts.into_iter();
    let (mut dw, mut db) = parts.next().unwrap_or_default();
    let others: Vec<_> = parts.collect();
    others.iter().for_each(|(_, part)| add(&mut db, part));
    // In pieces, since another thread has half of it in its cache; each number's sum goes through the parts in their order.
    let piece = if others.len() * dw.len() < PARALLEL / 4 { dw.len().max(1) } else { dw.len().div_ceil(PIECES) };
    threads::for_each_chunk(&mut dw, piece, |index, sums| {
        others.iter().for_each(|(part, _)| add(sums, &part[index * piece..]));
    });
    db.truncate(to);
    let dw = if turned && !dw.is_empty() {
        (0..from * to).map(|i| dw[i % to * from + i / to]).collect()
    } else if padded == to {
        dw
    } else {
        dw.chunks_exact(padded).flat_map(|row| &row[..to]).copied().collect()
    };
    Gradients { x: dx, weight: wanted.weight.then_some(dw), bias: wanted.bias.then_some(db) }
}

fn add(sums: &mut [f32], parts: &[f32]) {
    for (sum, part) in sums.iter_mut().zip(parts) {
        *sum += part;
    }
}

/// A layer as the tasks see it.
struct Link<'a> {
    from: usize,
    to: usize,
    f: Option<Pointwise>,
    /// Whether `right` holds columns and not panels.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    narrow: bool,
    right: Right,
    bias: *const f32,
    /// The weight, if the matrix units are faster.
    units: Option<&'a [f32]>,
}

// SAFETY: a pointer alone does nothing; what it points at is only read, by `Forward` while `forward` holds it.
unsafe impl Sync for Link<'_> {}

struct Forward<'a> {
    rows: usize,
    x: *const f32,
    links: &'a [Link<'a>],
    /// Those for the matrix units.
    weights: &'a [Option<Weight>],
    out: *mut f32,
    /// Rows of a block.
    block: usize,
    /// Two blocks of rows of the widest layer, which nobody has written before.
    scratch: [*mut f32; 2],
    units: Option<&'a mut Units>,
}

impl SimdOp for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(mut self, isa: I) {
        let ops = isa.f32();
        let [Some(first), Some(last)] = [self.links.first(), self.links.last()] else { return };
        for row in (0..self.rows).step_by(self.block) {
            let rows = self.block.min(self.rows - row);
            // SAFETY: the pointers are valid for these rows, as `forward` sees to; loads and stores end with a row.
            unsafe {
                let mut x = self.x.add(row * first.from);
                for (index, link) in self.links.iter().enumerate() {
                    let &Link { from, to, right, bias, .. } = link;
                    let [mut own, mut other] = self.scratch;
                    if index % 2 == 1 {
                        (own, other) = (other, own);
                    }
                    if let Some(f) = link.f {
                        // What the layer before left is needed by nobody else; what the first one is given belongs to the caller.
                        let room = if index == 0 { other } else { x.cast_mut() };
                        (f.value)(x, room, rows * from);
                        if let Some(units) = &mut self.units {
                            units.keep_awake();
                        }
                        x = room;
                    }
                    let out = if index + 1 == self.links.len() { self.out.add(row * last.to) } else { own };
                    #[cfg(target_arch = "x86_64")]
                    if link.narrow && avx512::has::<I>() {
                        match to {
                            1 => avx512::dots::<1>([rows, from], x, right.start, bias, out),
                            2 => avx512::dots::<2>([rows, from], x, right.start, bias, out),
                            3 => avx512::dots::<3>([rows, from], x, right.start, bias, out),
                            _ => avx512::dots::<4>([rows, from], x, right.start, bias, out),
                        }
                        x = out;
                        continue;
                    }
                    // None without them; false if there are numbers that have no parts, whose rows are left to the vectors.
                    let by_units = match (&self.weights[index], &mut self.units) {
                        (Some(weight), Some(units)) => Some(units.layer(rows, x, weight, bias, out)),
                        _ => None,
                    };
                    let some = if by_units.is_some() { 1 } else { rows };
                    for first in (0..rows).step_by(some) {
                        let (x, out) = (x.add(first * from), out.add(first * to));
                        let left_out = by_units.is_some_and(|good| good || finite(x, from));
                        if left_out {
                            continue;
                        }
                        tiles(
                            isa,
                            [some, from, to],
                            Left { start: x, row_step: from, depth_step: 1 },
                            right,
                            |_, column, whole| load_if(ops, bias.add(column), to - column, whole),
                            |row, column, sum, whole| {
                                store_if(ops, sum, out.add(row * to + column), to - column, whole)
                            },
                        );
                    }
                    x = out;
                }
            }
        }
    }
}

struct Backward {
    rows: usize,
    from: usize,
    to: usize,
    /// Columns of `dw` and `db`: `to`, rounded up.
    padded: usize,
    /// Whether `dw` is `[to, from]`, and `from` whole vectors.
    turned: bool,
    f: Option<Pointwise>,
    x: *const f32,
    gradient: *const f32,
    /// The transpose of the weight, where `dx` is asked for.
    transposed: Option<Right>,
    dx: Option<*mut f32>,
    dw: Option<*mut f32>,
    db: Option<*mut f32>,
    scratch: [*mut f32; 3],
}

impl SimdOp for Backward {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let (ops, &Self { from, to, padded, scratch: [values, slopes, copied], .. }) = (isa.f32(), &self);
        let lanes = ops.len();
        for first in (0..self.rows).step_by(BLOCK) {
            let rows = BLOCK.min(self.rows - first);
            // SAFETY: the pointers are valid for these rows, as `backward` sees to; loads and stores end with a row, or with its padding.
            unsafe {
                let x = self.x.add(first * from);
                let own = self.gradient.add(first * to);
                if let Some(f) = self.f {
                    // Both whatever is asked for, since the value alone may have other last bits.
                    (f.both)(x, values, slopes, rows * from);
                }
                // Rows that can be read in whole vectors.
                let (gradient, step) = if to.is_multiple_of(lanes) {
                    (own, to)
                } else {
                    for row in 0..rows {
                        for column in (0..padded).step_by(lanes) {
                            let left = to.saturating_sub(column);
                            let value =
                                if left == 0 { ops.zero() } else { load(ops, own.add(row * to + column), left) };
                            ops.store_ptr(value, copied.add(row * padded + column));
                        }
                    }
                    (copied.cast_const(), padded)
                };
                let input = if self.f.is_some() { values.cast_const() } else { x };
                if let (Some(dw), true) = (self.dw, self.turned) {
                    tiles(
                        isa,
                        [to, rows, from],
                        Left { start: gradient, row_step: 1, depth_step: step },
                        Right { start: input, panel_step: VECTORS * lanes, depth_step: from },
                        |row, column, _| ops.load_ptr(dw.add(row * from + column)),
                        |row, column, sum, _| ops.store_ptr(sum, dw.add(row * from + column)),
                    );
                } else if let Some(dw) = self.dw {
                    tiles(
                        isa,
                        [from, rows, to],
                        Left { start: input, row_step: 1, depth_step: from },
                        Right { start: gradient, panel_step: VECTORS * lanes, depth_step: step },
                        |row, column, _| ops.load_ptr(dw.add(row * padded + column)),
                        |row, column, sum, _| ops.store_ptr(sum, dw.add(row * padded + column)),
                    );
                }
                if let Some(db) = self.db {
                    for column in (0..to).step_by(lanes) {
                        let mut sum = ops.load_ptr(db.add(column));
                        for row in 0..rows {
                            sum = ops.add(sum, ops.load_ptr(gradient.add(row * step + column)));
                        }
                        ops.store_ptr(sum, db.add(column));
                    }
                }
                if let (Some(dx), Some(transposed)) = (self.dx, self.transposed) {
                    let dx = dx.add(first * from);
                    let with_slopes = self.f.is_some();
                    tiles(
                        isa,
                        [rows, to, from],
                        Left { start: gradient, row_step: step, depth_step: 1 },
                        transposed,
                        |_, _, _| ops.zero(),
                        |row, column, sum, whole| {
                            let (at, left) = (row * from + column, from - column);
                            let slope = || load_if(ops, slopes.add(at), left, whole);
                            let sum = if with_slopes { ops.mul(sum, slope()) } else { sum };
                            store_if(ops, sum, dx.add(at), left, whole);
                        },
                    );
                }
            }
        }
    }
}
