use crate::RowProducts;
use crate::contrast::{Contrast, bent, scaled};
use crate::guided::mix;
use crate::products::Factors;
use advect_core::{Field, RowField, Times};

/// Guidance with the weak velocity scaled to fit the strong one, and none at first: CFG-Zero*.
///
/// Fan et al., 2025, "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models":
/// `s weak + w (strong - s weak)` with `s = <strong, weak> / |weak|^2` for each row, which makes `strong - s weak`
/// orthogonal to `weak`; and the velocity 0 at times before `zero_until`, where a model that is not yet well trained is
/// worse than standing still. For velocities of flow matching.
///
/// `zero_until` is a time, not a number of steps: 0 switches it off, and the second point of the grid zeroes the first
/// step of a method that evaluates only where a step begins (Euler). Methods with later stages look there too.
///
/// Evaluations: none before `zero_until`; one (of the strong field) where w = 1, two elsewhere.
#[derive(Debug, Clone)]
pub struct ZeroStar<C> {
    /// A [`Guided`](crate::Guided) or [`Paired`](crate::Paired) of velocities.
    pub guided: C,
    /// The velocity is 0 where t < `zero_until`.
    pub zero_until: f64,
}

impl<X: RowProducts, C: Contrast<X>> Field<X> for ZeroStar<C> {
    fn eval(&self, x: X, t: &Times) -> X {
        let (first, last) = t.range();
        if last < self.zero_until {
            return x.combine(0.0, &[]);
        }
        let velocity = bent(&self.guided, x, t, |weight, strong, weak| {
            let fit = strong.row_dot(&weak).ratio(&weak.row_dot(&weak), 1.0);
            mix(&weight, strong, weak.times(&fit))
        });
        if first < self.zero_until {
            return scaled(velocity, &t.map(|t| if t < self.zero_until { 0.0 } else { 1.0 }));
        }
        velocity
    }
}

impl<X: RowProducts, C: Contrast<X> + RowField<X>> RowField<X> for ZeroStar<C> {
    fn select(&self, rows: &[usize]) -> Self {
        Self { guided: self.guided.select(rows), zero_until: self.zero_until }
    }
}
