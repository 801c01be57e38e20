use crate::contrast::blend;
use crate::error::GuidanceError;
use advect_core::{Field, RowField, State, Times};
use advect_paths::{Prediction, Predictor, Schedule, SourceLaw, convert};
use burn::tensor::Tensor;

/// The gradient in x of a log-likelihood by autodiff, as a field. See [`gradient`].
#[derive(Debug, Clone)]
pub struct Gradient<L>(L);

/// The field `grad_x ln p_t(y | x)` of a closure `(x, t) -> ln p_t(y | x)` that yields one number a row.
///
/// By Burn's reverse mode: the closure may call a classifier, a reward model or a denoiser on any device with an
/// autodiff form; x arrives on it. One forward and one backward pass. The result is off the tape.
///
/// Rows must not look at each other (batch norms in training mode do): the gradient is that of the sum over rows.
///
/// # Shapes
/// - x, gradient: `[batch, ...]`; the closure's output: `[batch]`
///
/// ```
/// use advect_core::{Field, Times};
/// use advect_guidance::gradient;
/// use burn::tensor::{Device, Tensor};
/// // ln N(x; 0, 1) has the gradient -x.
/// let field = gradient(|x: Tensor<2>, _t: &Times| (x.clone() * x).sum_dim(1).squeeze_dim::<1>(1) * -0.5);
/// let x = Tensor::<2>::from_data([[1.0, -2.0]], &Device::default());
/// let value = field.eval(x.clone(), &Times::Shared(0.5));
/// assert_eq!(value.into_data(), x.neg().into_data());
/// ```
pub fn gradient<const D: usize, L: Fn(Tensor<D>, &Times) -> Tensor<1>>(log_likelihood: L) -> Gradient<L> {
    Gradient(log_likelihood)
}

impl<const D: usize, L: Fn(Tensor<D>, &Times) -> Tensor<1>> Field<Tensor<D>> for Gradient<L> {
    fn eval(&self, x: Tensor<D>, t: &Times) -> Tensor<D> {
        let x = leaf(x);
        pulled_back(&x, self.0(x.clone(), t).sum())
    }
}

/// A tensor that gathers its gradient; on its own tape, if it has one.
pub(crate) fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    x.autodiff().detach().require_grad()
}

/// The gradient of a sum in a leaf: zero if it does not depend on it.
pub(crate) fn pulled_back<const D: usize>(x: &Tensor<D>, sum: Tensor<1>) -> Tensor<D> {
    let gradient = if sum.is_tracked() { x.grad(&sum.backward()) } else { None };
    gradient.unwrap_or_else(|| x.clone().inner().zeros_like())
}

/// Guidance by a gradient added to the score: classifier guidance, rewards, energies.
///
/// Dhariwal & Nichol, 2021, "Diffusion Models Beat GANs on Image Synthesis", section 4; Song et al., 2021, equation 14:
/// `score + w(t) grad ln p_t(y | x)`. For a field that predicts something else the gradient is multiplied by the
/// coefficient of the score in that prediction ([`convert`] from the score); for a velocity it is `sigma (sigma d_alpha
/// - alpha d_sigma) / alpha`, on the linear path (1 - t) / t. With the exact classifier of x_t and w = 1 the result is
/// the conditional field exactly. A classifier of clean data is not that: see
/// [`PosteriorSampling`](crate::PosteriorSampling).
///
/// Evaluations: one of the field, and one of the gradient unless w = 0.
#[derive(Debug, Clone)]
pub struct GradientGuided<F, S, H, G> {
    predictor: Predictor<F, S>,
    gradient: H,
    scale: G,
}

impl<F, S: Schedule, H, G> GradientGuided<F, S, H, G> {
    /// Adds `scale(t)` times `gradient` (any field, such as one of [`gradient`](fn@gradient)) to the score, for times
    /// between `from` and `to`. The output is of the prediction that `predictor` says.
    ///
    /// # Errors
    /// [`GuidanceError::Path`] if the source law permits no score, or if the factor is infinite at an end: for a
    /// velocity it is at t = 0, where x says nothing of the data, so start a little later.
    pub fn new(predictor: Predictor<F, S>, gradient: H, scale: G, from: f64, to: f64) -> Result<Self, GuidanceError> {
        score_factors(&predictor.schedule, predictor.prediction, predictor.source, [from, to])?;
        Ok(Self { predictor, gradient, scale })
    }
}

impl<X, F, S, H, G> Field<X> for GradientGuided<F, S, H, G>
where
    X: State,
    F: Field<X>,
    S: Schedule,
    H: Field<X>,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        let Predictor { field, prediction, schedule, .. } = &self.predictor;
        if t.map(&self.scale).range() == (0.0, 0.0) {
            return field.eval(x, t);
        }
        let factor = t.map(|t| guided_factor(schedule, *prediction, &self.scale, t));
        let gradient = self.gradient.eval(x.clone(), t);
        blend(field.eval(x, t), &Times::Shared(1.0), &gradient, &factor)
    }
}

impl<X, F, S, H, G> RowField<X> for GradientGuided<F, S, H, G>
where
    X: State,
    F: RowField<X>,
    S: Schedule + Clone,
    H: RowField<X>,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        let Predictor { field, prediction, schedule, source } = &self.predictor;
        let (prediction, source) = (*prediction, *source);
        Self {
            predictor: Predictor { field: field.select(rows), prediction, schedule: schedule.clone(), source },
            gradient: self.gradient.select(rows),
            scale: self.scale.clone(),
        }
    }
}

/// Whether a score may be added to the prediction at these times.
pub(crate) fn score_factors<S: Schedule>(
    schedule: &S,
    prediction: Prediction,
    source: SourceLaw,
    times: [f64; 2],
) -> Result<(), GuidanceError> {
    source.permits(Prediction::Score, prediction)?;
    for t in times {
        convert(schedule, t, Prediction::Score, prediction)?;
    }
    Ok(())
}

/// The weight times the coefficient of the score in a prediction; NaN where it has none and the weight is not 0.
pub(crate) fn guided_factor<S: Schedule>(
    schedule: &S,
    prediction: Prediction,
    scale: &impl Fn(f64) -> f64,
    t: f64,
) -> f64 {
    match scale(t) {
        0.0 => 0.0,
        w => w * convert(schedule, t, Prediction::Score, prediction).map_or(f64::NAN, |(_, on_score)| on_score),
    }
}
