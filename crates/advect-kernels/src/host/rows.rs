//! Operators over the last axis whose parameters are shared by all rows, or by the rows of a batch entry: layer and RMS
//! normalisation, modulation, gated residuals.
use super::buffer::{Shared, filled_by};
use super::lanes::{load, store, sum};
use super::threads;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, SimdOp};

/// Elements a task takes.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 15;

/// Rows of `features` elements; `rows` of them, one behind the other, share an entry of the parameters.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    pub features: usize,
    pub rows: usize,
    pub entries: usize,
}

/// Neighbouring rows of one entry.
#[derive(Clone, Copy)]
struct Unit {
    index: usize,
    entry: usize,
    first: usize,
    count: usize,
}

impl Rows {
    fn len(&self) -> usize {
        self.entries * self.rows * self.features
    }

    /// Rows of a unit, and units of an entry: from the shape of an entry alone.
    fn units(&self) -> (usize, usize) {
        let rows = (PIECE / self.features.max(1)).clamp(1, self.rows.max(1));
        (rows, self.rows.div_ceil(rows))
    }

    /// Calls `task` for all units.
    fn each(&self, task: impl Fn(Unit) + Sync) {
        let (rows, units) = self.units();
        let unit = |index: usize| {
            let (entry, first) = (index / units, index % units * rows);
            task(Unit { index, entry, first: entry * self.rows + first, count: rows.min(self.rows - first) });
        };
        let count = units * self.entries;
        if self.len() < PARALLEL {
            (0..count).for_each(unit);
        } else {
            let least = PIECE / (rows * self.features).max(1);
            let least = least.max(1);
            threads::for_each(count.div_ceil(least), |group| {
                (group * least..count.min((group + 1) * least)).for_each(unit);
            });
        }
    }

    /// The gradients of two parameters: `work` is told where each unit leaves its sums over the rows, two rows for
    /// each, zero at first.
    fn sums(&self, work: impl FnOnce(Shared)) -> [Vec<f32>; 2] {
        let (_, units) = self.units();
        let mut parts = vec![0.0f32; self.entries * units * 2 * self.features];
        work(Shared(parts.as_mut_ptr()));
        let mut sums = [(); 2].map(|()| vec![0.0f32; self.entries * self.features]);
        // In one order, whichever thread was first.
        for (index, part) in parts.chunks_exact((2 * self.features).max(1)).enumerate() {
            let entry = index / units * self.features;
            for (sum, part) in sums.iter_mut().zip(part.chunks_exact(self.features)) {
                for (sum, part) in sum[entry..].iter_mut().zip(part) {
                    *sum += part;
                }
            }
        }
        sums
    }
}

/// A normalisation of rows: `(x - mean) / sd (scale + offset) + shift`.
#[derive(Clone, Copy)]
pub(crate) struct RowNorm<'a> {
    pub rows: Rows,
    /// `[entries, features]`, as `shift` is.
    pub scale: &'a [f32],
    pub shift: &'a [f32],
    /// Added to each scale: 1 in a modulation, else 0.
    pub offset: f32,
    /// Whether the mean is subtracted; otherwise `sd` is the root of the mean square.
    pub centred: bool,
    pub epsilon: f32,
}

impl RowNorm<'_> {
    pub(crate) fn forward(&self, x: &[f32]) -> Vec<f32> {
        assert!(x.len() == self.rows.len() && self.fits());
        // SAFETY: the units cover all rows, and `NormForward` writes every element of its rows.
        unsafe {
            filled_by(x.len(), |out| {
                let out = Shared(out.as_mut_ptr().cast());
                self.rows.each(|unit| NormForward { norm: self, unit, x, out }.dispatch());
            })
        }
    }

    /// The gradients of x, the scale and the shift.
    pub(crate) fn backward(&self, x: &[f32], gradient: &[f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
        assert!(x.len() == self.rows.len() && gradient.len() == x.len() && self.fits());
        let mut sums = [Vec::new(), Vec::new()];
        // SAFETY: as in `forward`.
        let dx = unsafe {
            filled_by(x.len(), |out| sums = self.run_backward(x, gradient.as_ptr(), Shared(out.as_mut_ptr().cast())))
        };
        (dx, sums)
    }

    /// The gradient of x over `gradient` itself, and those of the scale and the shift.
    pub(crate) fn backward_in_place(&self, x: &[f32], gradient: &mut [f32]) -> [Vec<f32>; 2] {
        assert!(x.len() == self.rows.len() && gradient.len() == x.len() && self.fits());
        let out = gradient.as_mut_ptr();
        self.run_backward(x, out.cast_const(), Shared(out))
    }

    fn run_backward(&self, x: &[f32], gradient: *const f32, out: Shared) -> [Vec<f32>; 2] {
        let gradient = Shared(gradient.cast_mut());
        self.rows.sums(|sums| {
            self.rows.each(|unit| NormBackward { norm: self, unit, x, gradient, out, sums }.dispatch());
        })
    }

    fn fits(&self) -> bool {
        let len = self.rows.entries * self.rows.features;
        self.scale.len() == len && self.shift.len() == len
    }

    /// Mean (or 0) and reciprocal deviation of a row: in two passes over data that is in the cache, since one pass
    /// cancels when the mean is far from zero.
    #[inline(always)]
    fn moments<I: Isa>(&self, isa: I, x: &[f32]) -> (f32, f32) {
        let ops = isa.f32();
        let mean = if self.centred { sum(isa, x, |v| v) / x.len() as f32 } else { 0.0 };
        let shift = ops.splat(mean);
        let squares = sum(isa, x, |v| {
            let d = ops.sub(v, shift);
            ops.mul(d, d)
        });
        (mean, 1.0 / (squares / x.len() as f32 + self.epsilon).sqrt())
    }
}

struct NormForward<'a> {
    norm: &'a RowNorm<'a>,
    unit: Unit,
    x: &'a [f32],
    out: Shared,
}

impl SimdOp for NormForward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { norm, unit, x, out } = self;
        let features = norm.rows.features;
        let scales = norm.scale[unit.entry * features..][..features].as_ptr();
        let shifts = norm.shift[unit.entry * features..][..features].as_ptr();
        let offset = ops.splat(norm.offset);
        for row in unit.first..unit.first + unit.count {
            let x = &x[row * features..][..features];
            let (mean, rstd) = norm.moments(isa, x);
            let (mean, rstd) = (ops.splat(mean), ops.splat(rstd));
            let mut at = 0;
            while at < features {
                let left = features - at;
                // SAFETY: `left` elements are left of the row and of its parameters; the row of the output is this
                // unit's.
                unsafe {
                    let h = ops.mul(ops.sub(load(ops, x.as_ptr().add(at), left), mean), rstd);
                    let scale = ops.add(load(ops, scales.add(at), left), offset);
                    let y = ops.mul_add(h, scale, load(ops, shifts.add(at), left));
                    store(ops, y, out.at(row * features + at), left);
                }
                at += ops.len();
            }
        }
    }
}

struct NormBackward<'a> {
    norm: &'a RowNorm<'a>,
    unit: Unit,
    x: &'a [f32],
    /// May be `out`: a vector of it is read for the last time before the same vector is written.
    gradient: Shared,
    out: Shared,
    sums: Shared,
}

impl SimdOp for NormBackward<'_> {
    type Output = ();

    // With h = (x - mean) rstd, y = s h + t and g = dL/dy: ds = sum over rows of g h, dt = sum over rows of g, and with
    // u = s g dx = rstd (u - mean(u) - h mean(u h)), the means over a row; without mean(u) where the norm does not
    // subtract its mean.
    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let lanes = ops.len();
        let Self { norm, unit, x, gradient, out, sums } = self;
        let features = norm.rows.features;
        let scales = norm.scale[unit.entry * features..][..features].as_ptr();
        let offset = ops.splat(norm.offset);
        // SAFETY: each unit has two rows of the sums.
        let (by_h, alone) = unsafe { (sums.at(unit.index * 2 * features), sums.at((unit.index * 2 + 1) * features)) };
        for row in unit.first..unit.first + unit.count {
            let x = &x[row * features..][..features];
            let (mean, rstd) = norm.moments(isa, x);
            let (mean, rstd) = (ops.splat(mean), ops.splat(rstd));
            let (mut sum_u, mut sum_uh) = (ops.zero(), ops.zero());
            let mut at = 0;
            while at < features {
                let left = features - at;
                // SAFETY: `left` elements are left of the row, of its parameters and of the unit's sums.
                unsafe {
                    let g = load(ops, gradient.at(row * features + at), left);
                    let h = ops.mul(ops.sub(load(ops, x.as_ptr().add(at), left), mean), rstd);
                    store(ops, ops.mul_add(g, h, load(ops, by_h.add(at), left)), by_h.add(at), left);
                    store(ops, ops.add(g, load(ops, alone.add(at), left)), alone.add(at), left);
                    // Lanes behind the end hold g = 0 (a masked load), so they add nothing.
                    let u = ops.mul(g, ops.add(load(ops, scales.add(at), left), offset));
                    sum_u = ops.add(sum_u, u);
                    sum_uh = ops.mul_add(u, h, sum_uh);
                }
                at += lanes;
            }
            let mean_u = if norm.centred { ops.sum(sum_u) / features as f32 } else { 0.0 };
            let (mean_u, mean_uh) = (ops.splat(mean_u), ops.splat(ops.sum(sum_uh) / features as f32));
            let mut at = 0;
            while at < features {
                let left = features - at;
                // SAFETY: as above; the row of the output is this unit's.
                unsafe {
                    let g = load(ops, gradient.at(row * features + at), left);
                    let h = ops.mul(ops.sub(load(ops, x.as_ptr().add(at), left), mean), rstd);
                    let u = ops.mul(g, ops.add(load(ops, scales.add(at), left), offset));
                    let d = ops.mul(rstd, ops.sub(ops.sub(u, mean_u), ops.mul(h, mean_uh)));
                    store(ops, d, out.at(row * features + at), left);
                }
                at += lanes;
            }
        }
    }
}

/// What is added to a row that was multiplied with its entry's factors.
#[derive(Clone, Copy)]
pub(crate) enum Add<'a> {
    /// A row for each entry.
    Entry(&'a [f32]),
    /// A row for each row.
    Row(&'a [f32]),
}

/// `x (factor + offset) + add`, with a row of factors for each entry.
#[derive(Clone, Copy)]
pub(crate) struct RowAffine<'a> {
    pub rows: Rows,
    /// `[entries, features]`.
    pub factor: &'a [f32],
    /// Added to each factor: 1 in a modulation, 0 in a gate.
    pub offset: f32,
}

impl RowAffine<'_> {
    pub(crate) fn forward(&self, x: &[f32], add: Add<'_>) -> Vec<f32> {
        // SAFETY: the units cover all rows, and `AffineForward` writes every element of its rows.
        unsafe { filled_by(x.len(), |out| self.run_forward(x, add, Shared(out.as_mut_ptr().cast()))) }
    }

    /// The gradients of x, the factors, and what is added to an entry.
    pub(crate) fn backward(&self, x: &[f32], gradient: &[f32]) -> (Vec<f32>, [Vec<f32>; 2]) {
        assert!(x.len() == self.rows.len() && gradient.len() == x.len() && self.fits());
        let mut sums = [Vec::new(), Vec::new()];
        // SAFETY: the units cover all rows, and `AffineBackward` writes every element of its rows.
        let dx = unsafe {
            filled_by(x.len(), |out| {
                let out = Shared(out.as_mut_ptr().cast());
                sums = self.rows.sums(|sums| {
                    self.rows.each(|unit| AffineBackward { affine: self, unit, x, gradient, out, sums }.dispatch());
                });
            })
        };
        (dx, sums)
    }

    fn run_forward(&self, x: &[f32], add: Add<'_>, out: Shared) {
        let added = match add {
            Add::Entry(add) => add.len() == self.rows.entries * self.rows.features,
            Add::Row(add) => add.len() == x.len(),
        };
        assert!(x.len() == self.rows.len() && added && self.fits());
        self.rows.each(|unit| AffineForward { affine: self, unit, x, add, out }.dispatch());
    }

    fn fits(&self) -> bool {
        self.factor.len() == self.rows.entries * self.rows.features
    }
}

struct AffineForward<'a> {
    affine: &'a RowAffine<'a>,
    unit: Unit,
    x: &'a [f32],
    add: Add<'a>,
    out: Shared,
}

impl SimdOp for AffineForward<'_> {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { affine, unit, x, add, out } = self;
        let features = affine.rows.features;
        let factors = affine.factor[unit.entry * features..][..features].as_ptr();
        let offset = ops.splat(affine.offset);
        for row in unit.first..unit.first + unit.count {
            let x = x[row * features..][..features].as_ptr();
            let add = match add {
                Add::Entry(add) => &add[unit.entry * features..][..features],
                Add::Row(add) => &add[row * features..][..features],
            }
            .as_ptr();
            let mut at = 0;
            while at < features {
                let left = features - at;
                // SAFETY: `left` elements are left of the row and of its parameters; the row of the output is this
                // unit's.
                unsafe {
                    let factor = ops.add(load(ops, factors.add(at), left), offset);
                    let y = ops.mul_add(load(ops, x.add(at), left), factor, load(ops, add.add(at), left));
                    store(ops, y, out.at(row * features + at), left);
                }
                at += ops.len();
            }
        }
    }
}

struct AffineBackward<'a> {
    affine: &'a RowAffine<'a>,
    unit: Unit,
    x: &'a [f32],
    gradient: &'a [f32],
    out: Shared,
    sums: Shared,
}

impl SimdOp for AffineBackward<'_> {
    type Output = ();

    // With g the gradient of the output: dx = g (factor + offset), dfactor = sum over rows of g x, and sum over rows of
    // g.
    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let Self { affine, unit, x, gradient, out, sums } = self;
        let features = affine.rows.features;
        let factors = affine.factor[unit.entry * features..][..features].as_ptr();
        let offset = ops.splat(affine.offset);
        // SAFETY: each unit has two rows of the sums.
        let (by_x, alone) = unsafe { (sums.at(unit.index * 2 * features), sums.at((unit.index * 2 + 1) * features)) };
        for row in unit.first..unit.first + unit.count {
            let (x, gradient) =
                (x[row * features..][..features].as_ptr(), gradient[row * features..][..features].as_ptr());
            let mut at = 0;
            while at < features {
                let left = features - at;
                // SAFETY: `left` elements are left of the row, of its parameters and of the unit's sums; the row of the
                // output is this unit's.
                unsafe {
                    let g = load(ops, gradient.add(at), left);
                    let x = load(ops, x.add(at), left);
                    store(ops, ops.mul_add(g, x, load(ops, by_x.add(at), left)), by_x.add(at), left);
                    store(ops, ops.add(g, load(ops, alone.add(at), left)), alone.add(at), left);
                    let factor = ops.add(load(ops, factors.add(at), left), offset);
                    store(ops, ops.mul(g, factor), out.at(row * features + at), left);
                }
                at += ops.len();
            }
        }
    }
}
