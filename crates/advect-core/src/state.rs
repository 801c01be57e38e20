use crate::Tolerance;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// All that a solver knows of what it moves: linear combination and a norm.
///
/// A state has rows (the batch, axis 0); a plain number is one row. Solvers are generic over `State`, so the same
/// stepper runs on `f64` (order tests to round-off), on `[f64; N]` (a system), on `Vec<f64>` (a batch of numbers),
/// on `Tensor<D>` of any rank and on pairs such as `(Tensor<D>, Tensor<1>)` for a flow with its log-density.
pub trait State: Clone {
    /// `scale * self + sum of c_i * d_i`.
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self;

    /// The root mean square of `self` (an error estimate) over all elements, each divided by its
    /// [`Tolerance::scale`]. One device read. NaN if anything is not finite or cannot be read.
    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64;

    /// Whether no element is NaN or infinite. One device read.
    fn all_finite(&self) -> bool {
        self.scaled_norm(self, self, Tolerance::UNIT).is_finite()
    }

    /// [`State::all_finite`] to be asked for later, where asking now would stop a card. Nothing where asking costs little.
    fn finite_later(&self) -> Option<Box<dyn Fn() -> bool>> {
        None
    }

    /// How many rows there are. A state that is not a batch is one row.
    fn rows(&self) -> usize {
        1
    }

    /// [`State::combine`] with one factor a row: `factors[r]` multiplies row `r`.
    ///
    /// The default serves states of one row.
    fn combine_rows(self, scale: &[f64], terms: &[(&[f64], &Self)]) -> Self {
        let terms: Vec<(f64, &Self)> = terms.iter().map(|(c, d)| (c[0], *d)).collect();
        self.combine(scale[0], &terms)
    }

    /// [`State::scaled_norm`] of every row on its own. One device read.
    ///
    /// The default serves states of one row.
    fn scaled_norm_rows(&self, before: &Self, after: &Self, tolerance: Tolerance) -> Vec<f64> {
        vec![self.scaled_norm(before, after, tolerance)]
    }
}

/// A state whose rows may leave, return and be resampled.
pub trait Batched: State {
    /// The chosen rows, in the given order; a row may be chosen more than once.
    ///
    /// # Panics
    /// Panics if a row is out of range.
    #[must_use]
    fn gather(&self, rows: &[usize]) -> Self;

    /// `self` with row `rows[i]` replaced by row `i` of `part`.
    ///
    /// # Panics
    /// Panics if a row is out of range or `part` does not have `rows.len()` rows.
    #[must_use]
    fn scatter(self, rows: &[usize], part: Self) -> Self;
}

fn rms(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { (sum / count as f64).sqrt() }
}

impl State for f64 {
    #[inline]
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        terms.iter().fold(scale * self, |sum, (c, d)| sum + c * **d)
    }

    #[inline]
    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        (self / tolerance.scale(*before, *after)).abs()
    }

    #[inline]
    fn all_finite(&self) -> bool {
        self.is_finite()
    }
}

impl Batched for f64 {
    fn gather(&self, rows: &[usize]) -> Self {
        assert!(rows.iter().all(|&r| r == 0), "a number has one row, asked for rows {rows:?}");
        *self
    }

    fn scatter(self, rows: &[usize], part: Self) -> Self {
        assert!(rows.iter().all(|&r| r == 0), "a number has one row, asked for rows {rows:?}");
        if rows.is_empty() { self } else { part }
    }
}

/// A system of `N` numbers: one row.
impl<const N: usize> State for [f64; N] {
    #[inline]
    fn combine(mut self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        // Term by term: the loops over elements have a known length and are unrolled.
        for x in &mut self {
            *x *= scale;
        }
        for (c, d) in terms {
            for (x, d) in self.iter_mut().zip(*d) {
                *x += c * d;
            }
        }
        self
    }

    #[inline]
    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        let scaled = |i: usize| self[i] / tolerance.scale(before[i], after[i]);
        if N == 1 {
            // What is decided by it waits for no root.
            return scaled(0).abs();
        }
        rms((0..N).map(|i| scaled(i).powi(2)).sum(), N)
    }

    #[inline]
    fn all_finite(&self) -> bool {
        self.iter().all(|x| x.is_finite())
    }
}

impl<const N: usize> Batched for [f64; N] {
    fn gather(&self, rows: &[usize]) -> Self {
        assert!(rows.iter().all(|&r| r == 0), "an array has one row, asked for rows {rows:?}");
        *self
    }

    fn scatter(self, rows: &[usize], part: Self) -> Self {
        assert!(rows.iter().all(|&r| r == 0), "an array has one row, asked for rows {rows:?}");
        if rows.is_empty() { self } else { part }
    }
}

/// A batch of states that are one row each: `Vec<f64>`, `Vec<[f64; 2]>`.
impl<X: State> State for Vec<X> {
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        // Term by term, so that nothing is allocated for a row.
        let row = |(i, x): (usize, X)| {
            let start = if scale == 1.0 { x } else { x.combine(scale, &[]) };
            terms.iter().fold(start, |x, (c, d)| x.combine(1.0, &[(*c, &d[i])]))
        };
        self.into_iter().enumerate().map(row).collect()
    }

    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        let norms = self.scaled_norm_rows(before, after, tolerance);
        rms(norms.iter().map(|n| n * n).sum(), norms.len())
    }

    fn all_finite(&self) -> bool {
        self.iter().all(State::all_finite)
    }

    fn rows(&self) -> usize {
        self.len()
    }

    fn combine_rows(self, scale: &[f64], terms: &[(&[f64], &Self)]) -> Self {
        let row = |(i, x): (usize, X)| {
            let start = if scale[i] == 1.0 { x } else { x.combine(scale[i], &[]) };
            terms.iter().fold(start, |x, (c, d)| x.combine(1.0, &[(c[i], &d[i])]))
        };
        self.into_iter().enumerate().map(row).collect()
    }

    fn scaled_norm_rows(&self, before: &Self, after: &Self, tolerance: Tolerance) -> Vec<f64> {
        (0..self.len()).map(|i| self[i].scaled_norm(&before[i], &after[i], tolerance)).collect()
    }
}

impl<X: State> Batched for Vec<X> {
    fn gather(&self, rows: &[usize]) -> Self {
        rows.iter().map(|&r| self[r].clone()).collect()
    }

    fn scatter(mut self, rows: &[usize], part: Self) -> Self {
        assert_eq!(rows.len(), part.len(), "scatter: {} rows named, {} given", rows.len(), part.len());
        for (&r, x) in rows.iter().zip(part) {
            self[r] = x;
        }
        self
    }
}

/// # Shapes
/// - `self`, terms, `before`, `after`: `[batch, ...]`, equal
impl<const D: usize> State for Tensor<D> {
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        advect_kernels::weighted_sum(self, scale, terms)
    }

    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        if self.shape().num_elements() == 0 {
            return 0.0;
        }
        // A device read, once a trial step: whether to accept it is decided on the host.
        scaled(self, before, after, tolerance).mean().try_into_scalar::<f64>().map_or(f64::NAN, f64::sqrt)
    }

    fn all_finite(&self) -> bool {
        // A device read. Zero times anything is zero, unless it is NaN or infinite.
        (self.clone().detach() * 0.0).sum().try_into_scalar::<f64>().is_ok_and(|sum| sum == 0.0)
    }

    fn finite_later(&self) -> Option<Box<dyn Fn() -> bool>> {
        if advect_kernels::on_processor(self) {
            return None;
        }
        let x = self.clone();
        Some(Box::new(move || x.all_finite()))
    }

    fn rows(&self) -> usize {
        self.dims()[0]
    }

    fn combine_rows(self, scale: &[f64], terms: &[(&[f64], &Self)]) -> Self {
        advect_kernels::weighted_sum_rows(self, scale, terms)
    }

    fn scaled_norm_rows(&self, before: &Self, after: &Self, tolerance: Tolerance) -> Vec<f64> {
        let rows = self.dims()[0];
        let width: usize = self.dims()[1..].iter().product();
        if rows == 0 || width == 0 {
            return vec![0.0; rows];
        }
        let squares = scaled(self, before, after, tolerance).reshape([rows, width]).mean_dim(1);
        // A device read, once a trial step: whether to accept it is decided on the host.
        match squares.try_into_vec_as::<f64>() {
            Ok(values) => values.into_iter().map(f64::sqrt).collect(),
            Err(_) => vec![f64::NAN; rows],
        }
    }
}

/// The squares of the error in units of its tolerance. Autodiff has no business in step control.
fn scaled<const D: usize>(error: &Tensor<D>, before: &Tensor<D>, after: &Tensor<D>, tolerance: Tolerance) -> Tensor<D> {
    let size = before.clone().detach().abs().max_pair(after.clone().detach().abs());
    let unit = error.clone().detach() / (size * tolerance.rtol() + tolerance.atol());
    unit.clone() * unit
}

impl<const D: usize> Batched for Tensor<D> {
    fn gather(&self, rows: &[usize]) -> Self {
        let count = self.dims()[0];
        // Slices and repetitions upload no indices to a card.
        match rows {
            [first, ..] if rows.iter().enumerate().all(|(i, r)| *r == first + i) => {
                self.clone().narrow(0, *first, rows.len())
            }
            _ if !rows.is_empty()
                && count > 0
                && rows.len().is_multiple_of(count)
                && rows.iter().enumerate().all(|(i, r)| *r == i % count) =>
            {
                self.clone().repeat_dim(0, rows.len() / count)
            }
            _ => self.clone().select(0, indices(rows, &self.device())),
        }
    }

    fn scatter(self, rows: &[usize], part: Self) -> Self {
        let count = self.dims()[0];
        let mut from: Vec<usize> = (0..count).collect();
        for (i, &r) in rows.iter().enumerate() {
            from[r] = count + i;
        }
        // One select over both keeps every row bit for bit, which adding a difference would not.
        let device = self.device();
        Tensor::cat(vec![self, part], 0).select(0, indices(&from, &device))
    }
}

fn indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i64> = rows.iter().map(|&r| r as i64).collect();
    let count = rows.len();
    Tensor::from_data(TensorData::new(rows, [count]), device)
}

/// Two states that move together, such as a sample and its log-density. Their rows agree.
impl<A: State, B: State> State for (A, B) {
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        let first: Vec<_> = terms.iter().map(|(c, d)| (*c, &d.0)).collect();
        let second: Vec<_> = terms.iter().map(|(c, d)| (*c, &d.1)).collect();
        (self.0.combine(scale, &first), self.1.combine(scale, &second))
    }

    /// The larger of the two norms: neither part may hide behind the size of the other.
    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        let first = self.0.scaled_norm(&before.0, &after.0, tolerance);
        larger(first, self.1.scaled_norm(&before.1, &after.1, tolerance))
    }

    fn all_finite(&self) -> bool {
        self.0.all_finite() && self.1.all_finite()
    }

    fn finite_later(&self) -> Option<Box<dyn Fn() -> bool>> {
        match (self.0.finite_later(), self.1.finite_later()) {
            (None, None) => None,
            (first, second) => {
                let now = (first.is_some() || self.0.all_finite()) && (second.is_some() || self.1.all_finite());
                let looks = [first, second];
                Some(Box::new(move || now && looks.iter().flatten().all(|look| look())))
            }
        }
    }

    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn combine_rows(self, scale: &[f64], terms: &[(&[f64], &Self)]) -> Self {
        let first: Vec<_> = terms.iter().map(|(c, d)| (*c, &d.0)).collect();
        let second: Vec<_> = terms.iter().map(|(c, d)| (*c, &d.1)).collect();
        (self.0.combine_rows(scale, &first), self.1.combine_rows(scale, &second))
    }

    fn scaled_norm_rows(&self, before: &Self, after: &Self, tolerance: Tolerance) -> Vec<f64> {
        let first = self.0.scaled_norm_rows(&before.0, &after.0, tolerance);
        let second = self.1.scaled_norm_rows(&before.1, &after.1, tolerance);
        first.into_iter().zip(second).map(|(a, b)| larger(a, b)).collect()
    }
}

/// `f64::max` forgets NaN; an error estimate must not.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

impl<A: Batched, B: Batched> Batched for (A, B) {
    fn gather(&self, rows: &[usize]) -> Self {
        (self.0.gather(rows), self.1.gather(rows))
    }

    fn scatter(self, rows: &[usize], part: Self) -> Self {
        (self.0.scatter(rows, part.0), self.1.scatter(rows, part.1))
    }
}
