use crate::RowProducts;
use crate::contrast::{Contrast, blend, scaled};
use crate::error::{GuidanceError, checked};
use crate::products::Factors;
use advect_core::{Batched, Field, RowField, Times};
use advect_paths::{Prediction, Predictor, Schedule, convert};

/// Adaptive projected guidance (APG): large weights without over-saturation.
///
/// Sadat et al., 2025, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models", section
/// 4, algorithm 1. In data predictions D, the difference `d = D_strong - D_weak` of each row is added to [`Momentum`],
/// shortened to the norm `threshold`, and split into the part along D_strong, which over-saturates, and the rest, which
/// guides; the result is `D_strong + (w - 1) (orthogonal + eta parallel)`. With `eta` = 1, no threshold and no momentum
/// it is plain guidance. The paper uses eta = 0, momentum -0.75 to -0.5, thresholds 2.5 to 15 (latents).
///
/// The field may predict anything: differences of predictions are multiples of each other, so only the direction
/// D_strong is converted, and the output is of the same prediction as before.
///
/// Evaluations: one (of the strong field) where w = 1, two elsewhere. As a [`Field`] it has no memory; see
/// [`Momentum`].
///
/// ```
/// use advect_core::{State, Times, shared};
/// use advect_guidance::{Guided, Momentum, Projected, constant};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
///
/// let strong = shared(|x: [f64; 2], t: f64| [(3.0 - x[0]) / (1.0 - t), (1.0 - x[1]) / (1.0 - t)]);
/// let weak = shared(|x: [f64; 2], t: f64| [-x[0] / (1.0 - t), -x[1] / (1.0 - t)]);
/// let predictor = Predictor {
///     field: Guided { strong, weak, scale: constant(4.0) },
///     prediction: Prediction::Velocity,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// let guided = Projected::new(predictor, 0.0, 0.0, 0.9)?.with_threshold(2.5)?;
/// // Who makes the steps owns the memory.
/// let mut momentum = Momentum::new(-0.5)?;
/// let mut x = [0.2, -0.4];
/// for step in 0..10 {
///     let velocity = guided.eval_with(x, &Times::Shared(0.1 * f64::from(step)), &mut momentum);
///     x = x.combine(1.0, &[(0.1, &velocity)]);
/// }
/// // All of the difference is along the data (3, 1), so none of it is added.
/// assert!((x[0] - 3.0).abs() < 1e-9 && (x[1] - 1.0).abs() < 1e-9);
/// # Ok::<(), advect_guidance::GuidanceError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Projected<C, S> {
    predictor: Predictor<C, S>,
    eta: f64,
    threshold: f64,
}

/// The running difference of [`Projected`] guidance: what the steps before remember.
///
/// A field has no memory, so this belongs to whoever makes the steps, like the history of a multistep method: give it
/// to [`Projected::eval_with`] once a step, and restart it with the solve. It is only as right as the steps are alike:
/// use it with one evaluation a step (Euler, multistep methods), not with stages or rejected steps.
#[derive(Debug, Clone)]
pub struct Momentum<X> {
    beta: f64,
    difference: Option<X>,
}

impl<X> Momentum<X> {
    /// `difference <- new + beta * difference`; negative `beta` is the reverse momentum of the paper.
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] unless -1 < `beta` < 1: the sum of the past has to stay finite.
    pub fn new(beta: f64) -> Result<Self, GuidanceError> {
        let beta = checked("beta", beta, "a number between -1 and 1, such as -0.5", beta.abs() < 1.0)?;
        Ok(Self { beta, difference: None })
    }

    /// Forgets the past.
    pub fn restart(&mut self) {
        self.difference = None;
    }

    /// The memory of the chosen rows, for when rows leave the batch.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self
    where
        X: Batched,
    {
        Self { beta: self.beta, difference: self.difference.as_ref().map(|d| d.gather(rows)) }
    }
}

impl<C, S: Schedule> Projected<C, S> {
    /// APG over a guided field that predicts what `predictor` says, for times between `from` and `to`.
    ///
    /// # Errors
    /// [`GuidanceError::Path`] if the data cannot be read off the prediction at an end, and
    /// [`GuidanceError::Parameter`] if `eta` is not finite.
    pub fn new(predictor: Predictor<C, S>, eta: f64, from: f64, to: f64) -> Result<Self, GuidanceError> {
        let eta = checked("eta", eta, "a finite number, such as 0", eta.is_finite())?;
        for t in [from, to] {
            convert(&predictor.schedule, t, predictor.prediction, Prediction::Data)?;
        }
        Ok(Self { predictor, eta, threshold: f64::INFINITY })
    }

    /// Shortens longer differences of data predictions to this norm (over all elements of a row).
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] if it is not positive.
    pub fn with_threshold(self, threshold: f64) -> Result<Self, GuidanceError> {
        let threshold = checked("threshold", threshold, "a positive norm, such as 2.5", threshold > 0.0)?;
        Ok(Self { threshold, ..self })
    }

    /// The value at `(x, t)`, given and adding to the memory of earlier steps.
    ///
    /// Where w = 1 the memory is left as it is. Where a difference of outputs says nothing of the data (a velocity at
    /// t = 1 of the linear path) nothing is remembered either.
    pub fn eval_with<X: RowProducts>(&self, x: X, t: &Times, momentum: &mut Momentum<X>) -> X
    where
        C: Contrast<X>,
    {
        let Predictor { field, prediction, schedule, .. } = &self.predictor;
        let weight = field.weight(t);
        if weight.range() == (1.0, 1.0) {
            return field.strong(x, t);
        }
        let to_data = |t| convert(schedule, t, *prediction, Prediction::Data).unwrap_or((f64::NAN, f64::NAN));
        let (on_x, on_output) = (t.map(|t| to_data(t).0), t.map(|t| to_data(t).1));
        let (strong, weak) = field.both(x.clone(), t);
        let data = blend(x, &on_x, &strong, &on_output);
        let mut difference = strong.clone().combine(1.0, &[(-1.0, &weak)]);
        if momentum.beta != 0.0 {
            if let Some(before) = &momentum.difference {
                // The past is kept as data, the difference is one of outputs.
                let weight = on_output.map(|k| if k == 0.0 { 0.0 } else { momentum.beta / k });
                difference = blend(difference, &Times::Shared(1.0), before, &weight);
            }
            momentum.difference = Some(scaled(difference.clone(), &on_output));
        }
        if self.threshold.is_finite() {
            let of_data = scaled(difference.clone(), &on_output);
            let norm = of_data.row_dot(&of_data).sqrt();
            let shorter = norm.clone().affine(0.0, self.threshold).ratio(&norm, 1.0).at_most(1.0);
            difference = difference.times(&shorter);
        }
        let along = difference.row_dot(&data).ratio(&data.row_dot(&data), 0.0);
        let update = difference.combine(1.0, &[(self.eta - 1.0, &data.times(&along))]);
        blend(strong, &Times::Shared(1.0), &update, &weight.map(|w| w - 1.0))
    }
}

impl<X: RowProducts, C: Contrast<X>, S: Schedule> Field<X> for Projected<C, S> {
    fn eval(&self, x: X, t: &Times) -> X {
        self.eval_with(x, t, &mut Momentum { beta: 0.0, difference: None })
    }
}

impl<X, C, S> RowField<X> for Projected<C, S>
where
    X: RowProducts,
    C: Contrast<X> + RowField<X>,
    S: Schedule + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        let predictor = Predictor {
            field: self.predictor.field.select(rows),
            prediction: self.predictor.prediction,
            schedule: self.predictor.schedule.clone(),
            source: self.predictor.source,
        };
        Self { predictor, eta: self.eta, threshold: self.threshold }
    }
}
