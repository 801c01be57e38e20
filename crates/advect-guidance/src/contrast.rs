use crate::guided::Guided;
use crate::paired::Paired;
use advect_core::{Batched, Field, RowField, State, Times};

/// A strong field, a weak one and a weight: what the rules of guidance bend.
///
/// [`Guided`] is one made of two fields, [`Paired`] one made of a network that is called once. A rule such as
/// [`Rescaled`](crate::Rescaled) is a decorator over either, and evaluates both fields on all rows unless every weight
/// is 1.
pub trait Contrast<X>: Field<X> {
    /// The weight at each time: 1 is the strong field, 0 the weak one.
    fn weight(&self, t: &Times) -> Times;

    /// The strong field alone.
    fn strong(&self, x: X, t: &Times) -> X;

    /// The strong and the weak field, in this order, for all rows.
    fn both(&self, x: X, t: &Times) -> (X, X);
}

impl<X: State, S: Field<X>, W: Field<X>, G: Fn(f64) -> f64> Contrast<X> for Guided<S, W, G> {
    fn weight(&self, t: &Times) -> Times {
        t.map(&self.scale)
    }

    fn strong(&self, x: X, t: &Times) -> X {
        self.strong.eval(x, t)
    }

    fn both(&self, x: X, t: &Times) -> (X, X) {
        let strong = self.strong.eval(x.clone(), t);
        (strong, self.weak.eval(x, t))
    }
}

/// # Panics
/// `strong` and `both` panic if the state does not have the number of rows that was given.
impl<X: Batched, F: RowField<X>, G: Fn(f64) -> f64> Contrast<X> for Paired<F, G> {
    fn weight(&self, t: &Times) -> Times {
        t.map(&self.scale)
    }

    fn strong(&self, x: X, t: &Times) -> X {
        let rows: Vec<usize> = (0..self.checked_rows(&x)).collect();
        self.call(&rows, x, t)
    }

    fn both(&self, x: X, t: &Times) -> (X, X) {
        let n = self.checked_rows(&x);
        let twice: Vec<usize> = (0..2 * n).map(|r| r % n).collect();
        let all: Vec<usize> = (0..2 * n).collect();
        let output = self.call(&all, x.gather(&twice), &t.select(&twice));
        (output.gather(&all[..n]), output.gather(&all[n..]))
    }
}

/// `bend(x, weight, strong, weak)`, but the strong field alone, at one evaluation, where all weights are 1.
pub(crate) fn bent<X: State, C: Contrast<X>>(guided: &C, x: X, t: &Times, bend: impl FnOnce(Times, X, X) -> X) -> X {
    let weight = guided.weight(t);
    if weight.range() == (1.0, 1.0) {
        return guided.strong(x, t);
    }
    let (strong, weak) = guided.both(x, t);
    bend(weight, strong, weak)
}

/// `a x + b y`, with factors for the batch or for each row.
pub(crate) fn blend<X: State>(x: X, a: &Times, y: &X, b: &Times) -> X {
    match (a, b) {
        (Times::Shared(a), Times::Shared(b)) => x.combine(*a, &[(*b, y)]),
        _ => {
            let rows = x.rows();
            x.combine_rows(&a.to_vec(rows), &[(&b.to_vec(rows), y)])
        }
    }
}

/// `a x`, with factors for the batch or for each row.
pub(crate) fn scaled<X: State>(x: X, a: &Times) -> X {
    match a {
        Times::Shared(a) => x.combine(*a, &[]),
        Times::Each(a) => x.combine_rows(a, &[]),
    }
}
