use crate::contrast::blend;
use crate::contrast::scaled;
use advect_core::{Field, RowField, State, Times};

/// Several conditions at once: `base + sum of w_i(t) (condition_i - base)`.
///
/// Liu et al., 2022, "Compositional Visual Generation with Composable Diffusion Models": in scores this
/// is `grad ln [p(x) prod (p(x | c_i) / p(x))^w_i]`. A positive weight asks for the condition (and), a negative
/// one for its absence (not). Exact as a score at each time when the conditions are independent given `x_t`; as a
/// sampler it is, like all guidance with other weights than one, an approximation. One condition is
/// [`Guided`](crate::Guided) by the same weight.
///
/// All fields must predict the same quantity. Evaluations: one for each condition whose weight is not 0, and one of
/// `base` unless the weights sum to exactly 1.
#[derive(Debug, Clone)]
pub struct Composed<B, F, G> {
    /// The unconditional field.
    pub base: B,
    /// The conditional fields (boxed, if they are of several kinds) and their weights `Fn(f64) -> f64`.
    pub conditions: Vec<(F, G)>,
}

impl<X, B, F, G> Field<X> for Composed<B, F, G>
where
    X: State,
    B: Field<X>,
    F: Field<X>,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        let weights: Vec<Times> = self.conditions.iter().map(|(_, scale)| t.map(scale)).collect();
        let rest = weights.iter().fold(t.map(|_| 1.0), |rest, w| rest.zip(w, |rest, w| rest - w));
        let absent = |w: &Times| w.range() == (0.0, 0.0);
        let mut sum = (!absent(&rest)).then(|| scaled(self.base.eval(x.clone(), t), &rest));
        for ((field, _), weight) in self.conditions.iter().zip(&weights).filter(|(_, w)| !absent(w)) {
            let value = field.eval(x.clone(), t);
            sum = Some(match sum {
                None => scaled(value, weight),
                Some(sum) => blend(sum, &Times::Shared(1.0), &value, weight),
            });
        }
        // The weights and the rest sum to one, so there was something to add, unless there are no rows.
        sum.unwrap_or(x)
    }
}

impl<X, B, F, G> RowField<X> for Composed<B, F, G>
where
    X: State,
    B: RowField<X>,
    F: RowField<X>,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        let conditions = self.conditions.iter().map(|(field, scale)| (field.select(rows), scale.clone())).collect();
        Self { base: self.base.select(rows), conditions }
    }
}
