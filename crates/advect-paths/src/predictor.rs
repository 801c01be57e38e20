use crate::held::Held;
use crate::prediction::combine_at;
use crate::{PathError, Prediction, Schedule, SourceLaw, convert};
use advect_core::{Field, RowField, Sde, State, Times};

/// A field together with what its output means: the prediction, the schedule and the source law of its training.
///
/// ```
/// use advect_core::{Field, Times, shared};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
///
/// // Data at one point, 3: the denoiser is constant, whatever x is.
/// let predictor = Predictor {
///     field: shared(|_x: f64, _t: f64| 3.0),
///     prediction: Prediction::Data,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// // At t = 1 the velocity (3 - x) / (1 - t) has no value, so a solve must stop before; asked for, that is an error.
/// assert!(predictor.field(Prediction::Velocity, 0.0, 1.0).is_err());
/// let velocity = predictor.field(Prediction::Velocity, 0.0, 0.99)?;
/// assert!((velocity.eval(1.0, &Times::Shared(0.5)) - 4.0).abs() < 1e-12);
/// # Ok::<(), advect_paths::PathError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Predictor<F, S> {
    /// The network, or any other field.
    pub field: F,
    /// What its output means.
    pub prediction: Prediction,
    /// The schedule it was trained on.
    pub schedule: S,
    /// The law of the pairs it was trained on.
    pub source: SourceLaw,
}

impl<F, S: Schedule + Clone> Predictor<F, S> {
    /// The wanted quantity as a field on the times between `from` and `to`.
    ///
    /// Both ends are checked here, before a solve; schedules are regular inside. The field has no value (NaN)
    /// where the conversion is singular or t is outside [0, 1].
    ///
    /// # Errors
    /// [`PathError::NoScore`] if the source law does not allow it, [`PathError::Singular`] or [`PathError::Time`]
    /// if an end has no finite value.
    pub fn field(&self, want: Prediction, from: f64, to: f64) -> Result<Converted<'_, F, S>, PathError> {
        self.source.permits(self.prediction, want)?;
        for t in [from, to] {
            convert(&self.schedule, t, self.prediction, want)?;
        }
        Ok(Converted {
            field: Held::Borrowed(&self.field),
            have: self.prediction,
            want,
            schedule: self.schedule.clone(),
        })
    }

    /// [`Predictor::field`], owning the network: for a field that outlives the predictor.
    ///
    /// # Errors
    /// Those of [`Predictor::field`].
    pub fn into_field(self, want: Prediction, from: f64, to: f64) -> Result<Converted<'static, F, S>, PathError> {
        self.field(want, from, to)?;
        Ok(Converted { field: Held::Owned(self.field), have: self.prediction, want, schedule: self.schedule })
    }

    /// The SDE with drift `u + g^2/2 score` and diffusion `g`, whose marginals are those of the flow for every `g`.
    ///
    /// Song et al., 2021, appendix D.1; Lipman et al., 2024, section 10 ("SDE extension"). Runs from `from` to `to`;
    /// running down (`from > to`) the sign of the score term turns, as time reversal demands. One evaluation of the
    /// network yields both parts.
    ///
    /// At the ends: where g is exactly 0 the drift is the velocity alone. That is the limit as long as
    /// g falls faster than the square root of sigma, which the practical choice `g = c sigma` does. Any
    /// other g must stop short of an end where the score is singular (t = 1, unless the path is VP or LinearVP and
    /// the network predicts velocity or score). `g` has the units of the state per square root of time.
    ///
    /// # Errors
    /// [`PathError::NoScore`] unless the source is [`SourceLaw::GaussianIndependent`];
    /// [`PathError::SingularDrift`] or [`PathError::Time`] if the drift has no finite value at an end;
    /// [`PathError::Diffusion`] if `g` is negative or not finite there.
    pub fn sde<G: Fn(f64) -> f64 + Clone>(
        &self,
        g: G,
        from: f64,
        to: f64,
    ) -> Result<Sde<Drift<'_, F, S, G>, G>, PathError> {
        self.source.permits(self.prediction, Prediction::Score)?;
        let drift = Drift {
            field: Held::Borrowed(&self.field),
            have: self.prediction,
            schedule: self.schedule.clone(),
            diffusion: g.clone(),
            direction: if to >= from { 1.0 } else { -1.0 },
        };
        for t in [from, to] {
            drift.coefficients(t)?;
        }
        Ok(Sde { drift, diffusion: g })
    }
}

/// A field read as another prediction. See [`Predictor::field`].
#[derive(Debug, Clone)]
pub struct Converted<'a, F, S> {
    field: Held<'a, F>,
    have: Prediction,
    want: Prediction,
    schedule: S,
}

impl<X: State, F: Field<X>, S: Schedule> Field<X> for Converted<'_, F, S> {
    fn eval(&self, x: X, t: &Times) -> X {
        if self.have == self.want {
            return self.field.eval(x, t);
        }
        let coefficients = |t| convert(&self.schedule, t, self.have, self.want);
        or_nan(x, t, &*self.field, coefficients)
    }
}

impl<X: State, F: RowField<X>, S: Schedule + Clone> RowField<X> for Converted<'_, F, S> {
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            field: Held::Owned(self.field.select(rows)),
            have: self.have,
            want: self.want,
            schedule: self.schedule.clone(),
        }
    }
}

/// The drift `u + g^2/2 score` as a field. See [`Predictor::sde`].
#[derive(Debug, Clone)]
pub struct Drift<'a, F, S, G> {
    field: Held<'a, F>,
    have: Prediction,
    schedule: S,
    diffusion: G,
    direction: f64,
}

impl<F, S: Schedule, G: Fn(f64) -> f64> Drift<'_, F, S, G> {
    fn coefficients(&self, t: f64) -> Result<(f64, f64), PathError> {
        let g = (self.diffusion)(t);
        if !(g.is_finite() && g >= 0.0) {
            return Err(PathError::Diffusion { t, g });
        }
        let singular = |error| match error {
            PathError::Singular { have, t, .. } => PathError::SingularDrift { have, t, g },
            other => other,
        };
        let velocity = convert(&self.schedule, t, self.have, Prediction::Velocity).map_err(singular)?;
        if g == 0.0 {
            return Ok(velocity);
        }
        let score = convert(&self.schedule, t, self.have, Prediction::Score).map_err(singular)?;
        let weight = self.direction * g * g / 2.0;
        Ok((velocity.0 + weight * score.0, velocity.1 + weight * score.1))
    }
}

impl<X: State, F: Field<X>, S: Schedule, G: Fn(f64) -> f64> Field<X> for Drift<'_, F, S, G> {
    fn eval(&self, x: X, t: &Times) -> X {
        or_nan(x, t, &*self.field, |t| self.coefficients(t))
    }
}

impl<X, F, S, G> RowField<X> for Drift<'_, F, S, G>
where
    X: State,
    F: RowField<X>,
    S: Schedule + Clone,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            field: Held::Owned(self.field.select(rows)),
            have: self.have,
            schedule: self.schedule.clone(),
            diffusion: self.diffusion.clone(),
            direction: self.direction,
        }
    }
}

/// A field cannot fail: rows without a value say so with NaN. The ends were checked before the solve, so this is
/// reached only outside the checked times.
fn or_nan<X: State>(
    x: X,
    t: &Times,
    field: &impl Field<X>,
    coefficients: impl Fn(f64) -> Result<(f64, f64), PathError>,
) -> X {
    let nothing = x.clone();
    let coefficients = |t| Ok(coefficients(t).unwrap_or((f64::NAN, f64::NAN)));
    combine_at(x, t, |x| Ok(field.eval(x, t)), coefficients).unwrap_or_else(|_| nothing.combine(f64::NAN, &[]))
}
