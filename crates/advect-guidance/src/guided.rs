use advect_core::{Field, RowField, State, Times};

/// Guidance of one field by another: `weak + w(t) (strong - weak)`.
///
/// Ho & Salimans, 2022, "Classifier-Free Diffusion Guidance" (strong with the condition, weak without; in their
/// notation the weight is w - 1); Karras et al., 2024, "Guiding a Diffusion Model with a Bad Version of Itself"
/// (autoguidance: weak is a smaller or less trained model); a negative prompt is a weak field with that prompt.
///
/// Both fields must predict the same quantity. Where w = 1 only `strong` is evaluated, where w = 0 only `weak`. Rows at
/// different times have their own weights; then both are evaluated unless all rows agree on needing only one.
/// [`Paired`](crate::Paired) makes one network call of both.
#[derive(Debug, Clone)]
pub struct Guided<S, W, G> {
    /// The field to follow, such as the conditional model.
    pub strong: S,
    /// The field to move away from, such as the unconditional model.
    pub weak: W,
    /// The weight at each time: `Fn(f64) -> f64`.
    pub scale: G,
}

impl<X, S, W, G> Field<X> for Guided<S, W, G>
where
    X: State,
    S: Field<X>,
    W: Field<X>,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        let weight = t.map(&self.scale);
        match weight.range() {
            (1.0, 1.0) => self.strong.eval(x, t),
            (0.0, 0.0) => self.weak.eval(x, t),
            _ => {
                let strong = self.strong.eval(x.clone(), t);
                let weak = self.weak.eval(x, t);
                mix(&weight, strong, weak)
            }
        }
    }
}

impl<X, S, W, G> RowField<X> for Guided<S, W, G>
where
    X: State,
    S: RowField<X>,
    W: RowField<X>,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self { strong: self.strong.select(rows), weak: self.weak.select(rows), scale: self.scale.clone() }
    }
}

/// `weak + w (strong - weak)`, as one linear combination.
pub(crate) fn mix<X: State>(weight: &Times, strong: X, weak: X) -> X {
    match weight {
        Times::Shared(w) => weak.combine(1.0 - w, &[(*w, &strong)]),
        Times::Each(w) => {
            let rest: Vec<f64> = w.iter().map(|w| 1.0 - w).collect();
            weak.combine_rows(&rest, &[(w, &strong)])
        }
    }
}
