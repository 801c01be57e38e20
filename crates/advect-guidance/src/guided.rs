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
///
/// For w other than 0 and 1 the guided field is that of `p(x) p(y | x)^w` at each time, but these are not the marginals
/// of one process: samples drift away from the mode that was asked for, to the side where it is surest. On three modes
/// of standard deviation 0.2 at a distance of 2 from the centre their mean is off by 0.17 at w = 2 and by 0.35 at w =
/// 4, with exact fields; limited intervals and [`Projected`](crate::Projected) guidance are for that.
///
/// Autoguidance: the weak field is a worse model with the same condition.
///
/// ```
/// use advect_core::{Field, Times, shared};
/// use advect_guidance::{Guided, constant};
/// let model = shared(|x: f64, _t: f64| 1.0 - x);
/// let early_checkpoint = shared(|x: f64, _t: f64| 0.8 - x);
/// let guided = Guided { strong: model, weak: early_checkpoint, scale: constant(2.0) };
/// assert!((guided.eval(0.0, &Times::Shared(0.5)) - 1.2).abs() < 1e-12);
/// ```
///
/// A negative prompt: the weak field has a condition to stay away from, in place of none.
///
/// ```
/// # use advect_core::{Field, Times};
/// # use advect_guidance::{Guided, constant};
/// let prompted = |prompt: f64| move |x: f64, _t: &Times| prompt - x;
/// let guided = Guided { strong: prompted(3.0), weak: prompted(-1.0), scale: constant(1.5) };
/// assert_eq!(guided.eval(0.0, &Times::Shared(0.5)), 5.0);
/// ```
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
