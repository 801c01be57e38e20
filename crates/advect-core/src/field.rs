use crate::{Batched, State, Times};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A time-dependent map of states to states of the same kind: a velocity, a score, a denoiser.
///
/// Closures `|x: X, t: &Times| -> X` are fields; [`shared`] makes one of a closure with a scalar time. What the
/// output means (velocity, noise, ...) travels beside the field, in a `Predictor` of `advect-paths`.
pub trait Field<X> {
    /// The value at `(x, t)`.
    fn eval(&self, x: X, t: &Times) -> X;
}

impl<X, F: Fn(X, &Times) -> X> Field<X> for F {
    #[inline]
    fn eval(&self, x: X, t: &Times) -> X {
        self(x, t)
    }
}

impl<X> Field<X> for Box<dyn Field<X> + '_> {
    fn eval(&self, x: X, t: &Times) -> X {
        (**self).eval(x, t)
    }
}

/// A field whose rows may be chosen: conditions (labels, prompts) follow their rows.
///
/// A closure cannot do this, a struct can. A field that has no conditions becomes one with [`unconditional`].
pub trait RowField<X>: Field<X> + Sized {
    /// The field of the chosen rows.
    #[must_use]
    fn select(&self, rows: &[usize]) -> Self;
}

/// See [`unconditional`].
#[derive(Debug, Clone)]
pub struct Unconditional<F>(F);

/// Declares that a field treats all rows alike, so that rows may leave the batch.
pub fn unconditional<F: Clone>(field: F) -> Unconditional<F> {
    Unconditional(field)
}

impl<X, F: Field<X>> Field<X> for Unconditional<F> {
    fn eval(&self, x: X, t: &Times) -> X {
        self.0.eval(x, t)
    }
}

impl<X, F: Field<X> + Clone> RowField<X> for Unconditional<F> {
    fn select(&self, _rows: &[usize]) -> Self {
        self.clone()
    }
}

/// See [`shared`].
#[derive(Debug, Clone)]
pub struct Shared<F>(F);

/// A field from a closure with a scalar time.
///
/// Rows that stand at different times are evaluated one by one: correct, not fast. Write a closure over
/// [`Times`] where that matters.
///
/// ```
/// use advect_core::{Field, Times, shared};
/// let decay = shared(|x: f64, t: f64| -t * x);
/// assert_eq!(decay.eval(3.0, &Times::Shared(2.0)), -6.0);
/// ```
pub fn shared<F>(f: F) -> Shared<F> {
    Shared(f)
}

impl<X: Batched, F: Fn(X, f64) -> X> Field<X> for Shared<F> {
    #[inline]
    fn eval(&self, x: X, t: &Times) -> X {
        match t {
            Times::Shared(t) => (self.0)(x, *t),
            Times::Each(times) => match times.split_first() {
                None => x,
                Some((&first, rest)) if rest.iter().all(|&t| t == first) => (self.0)(x, first),
                Some(_) => {
                    let mut out = x.clone();
                    for (row, &t) in times.iter().enumerate() {
                        out = out.scatter(&[row], (self.0)(x.gather(&[row]), t));
                    }
                    out
                }
            },
        }
    }
}

/// Counts evaluations: of the whole batch, and of single rows.
///
/// A clone counts on, and so does the field of chosen rows ([`RowField::select`]): all of them show what was evaluated together.
///
/// ```
/// use advect_core::{Counted, Field, Times};
/// let field = Counted::new(|x: f64, _t: &Times| -x);
/// field.eval(1.0, &Times::Shared(0.0));
/// assert_eq!((field.calls(), field.rows()), (1, 1));
/// ```
#[derive(Debug, Clone, Default)]
pub struct Counted<F> {
    field: F,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    rows: AtomicU64,
}

impl<F> Counted<F> {
    /// Starts at zero.
    pub fn new(field: F) -> Self {
        Self { field, counts: Arc::default() }
    }

    /// How often the field was evaluated, whatever the batch size.
    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Relaxed)
    }

    /// How many rows were evaluated: the cost, where rows leave the batch.
    pub fn rows(&self) -> u64 {
        self.counts.rows.load(Relaxed)
    }
}

impl<X: State, F: Field<X>> Field<X> for Counted<F> {
    #[inline]
    fn eval(&self, x: X, t: &Times) -> X {
        self.counts.calls.fetch_add(1, Relaxed);
        self.counts.rows.fetch_add(x.rows() as u64, Relaxed);
        self.field.eval(x, t)
    }
}

impl<X: State, F: RowField<X>> RowField<X> for Counted<F> {
    fn select(&self, rows: &[usize]) -> Self {
        Self { field: self.field.select(rows), counts: Arc::clone(&self.counts) }
    }
}

/// The directional derivative of a field in `x`, by central differences:
/// `(f(x + h d) - f(x - h d)) / 2h`, with `h = step`.
///
/// Two ordinary evaluations, hence itself differentiable by Burn's first-order reverse mode. The bias is
/// `h^2 / 6` times the third derivative along `d`; round-off adds about `eps |f| / h`. For f32 a step of `1e-2`
/// on inputs of unit size balances the two, for f64 `1e-5`.
pub fn jvp<X: State>(field: &impl Field<X>, x: &X, direction: &X, t: &Times, step: f64) -> X {
    let plus = field.eval(x.clone().combine(1.0, &[(step, direction)]), t);
    let minus = field.eval(x.clone().combine(1.0, &[(-step, direction)]), t);
    plus.combine(0.5 / step, &[(-0.5 / step, &minus)])
}
