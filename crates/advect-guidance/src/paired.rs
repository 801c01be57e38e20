use crate::guided::mix;
use advect_core::{Batched, Field, RowField, Times};

/// [`Guided`](crate::Guided) with one network call: both parts of the guidance are rows of one batch.
///
/// `both` is a field over `2 * rows` rows: its first half carries the conditions of the strong field, its second half
/// those of the weak one (such as the null label). A call evaluates only what it needs: 2n rows in general, the n
/// strong ones where w = 1, the n weak ones where w = 0, and with a time for each row whatever each row needs.
#[derive(Debug, Clone)]
pub struct Paired<F, G> {
    both: F,
    rows: usize,
    pub(crate) scale: G,
}

impl<F, G> Paired<F, G> {
    /// A field over `rows` rows from one over `2 * rows` rows, and the guidance weight `Fn(f64) -> f64`.
    pub fn new(both: F, rows: usize, scale: G) -> Self {
        Self { both, rows, scale }
    }
}

/// # Panics
/// `eval` panics if the state does not have the number of rows that was given.
impl<X, F, G> Field<X> for Paired<F, G>
where
    X: Batched,
    F: RowField<X>,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        let n = self.checked_rows(&x);
        let weight = t.map(&self.scale);
        let mut called = Vec::with_capacity(2 * n);
        // Where the parts of each row stand in the output. A part that is not called for has the weight 0; the row
        // takes its own other part there, so that no row touches a neighbour's number, finite or not.
        let (mut strong, mut weak) = (vec![0; n], vec![0; n]);
        for r in (0..n).filter(|&r| weight.at(r) != 0.0) {
            (strong[r], weak[r]) = (called.len(), called.len());
            called.push(r);
        }
        for r in (0..n).filter(|&r| weight.at(r) != 1.0) {
            weak[r] = called.len();
            if weight.at(r) == 0.0 {
                strong[r] = called.len();
            }
            called.push(n + r);
        }
        let rows: Vec<usize> = called.iter().map(|r| r % n).collect();
        let output = self.call(&called, x.gather(&rows), &t.select(&rows));
        mix(&weight, output.gather(&strong), output.gather(&weak))
    }
}

impl<F, G> Paired<F, G> {
    /// How many rows there are.
    ///
    /// # Panics
    /// Panics if the state has others.
    pub(crate) fn checked_rows<X: Batched>(&self, x: &X) -> usize {
        let n = self.rows;
        assert_eq!(x.rows(), n, "Paired was made for {n} rows and evaluated on {}", x.rows());
        n
    }

    /// The chosen rows of the doubled batch; in full and in order there is nothing to select.
    pub(crate) fn call<X>(&self, rows: &[usize], x: X, t: &Times) -> X
    where
        F: RowField<X>,
    {
        if rows.len() == 2 * self.rows { self.both.eval(x, t) } else { self.both.select(rows).eval(x, t) }
    }
}

impl<X, F, G> RowField<X> for Paired<F, G>
where
    X: Batched,
    F: RowField<X>,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        let doubled: Vec<usize> = rows.iter().copied().chain(rows.iter().map(|r| self.rows + r)).collect();
        Self { both: self.both.select(&doubled), rows: rows.len(), scale: self.scale.clone() }
    }
}
