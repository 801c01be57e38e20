use crate::prediction::{Rates, combine_at};
use crate::{PathError, Prediction, Predictor, Schedule};
use advect_core::{Field, RowField, State, Times};

impl<F, S: Schedule> Predictor<F, S> {
    /// The same model on another schedule, without training: a change of schedule after the fact.
    ///
    /// Lipman et al., 2024, "Flow Matching Guide and Code", "post-training velocity scheduler change". At the times t
    /// of the trained schedule and r of the new one that have the same signal-to-noise ratio, the two paths are the
    /// same up to the scale `s = sigma_r / sigma_t = alpha_r / alpha_t`. So the field is asked at `(x / s, t)`, and its
    /// answer read on the new schedule; for a velocity this is `(s' / s) x + s t' u(x / s, t)`, here from the two
    /// schedules' own derivatives, with no quotient that is 0 / 0 at an end. The prediction stays what it was. True for
    /// every source law: nothing but the pairs' linear mixture is used.
    ///
    /// Checked at the times `from` and `to`, between which the result is meant to be used. Where the signal-to-noise
    /// ratio of the new schedule lies outside that of the trained one, the model was never taught; start a solve at
    /// `schedule.time_at_log_snr(trained.log_snr(0.0))`, with noise of size `schedule.at(..).sigma`.
    ///
    /// # Errors
    /// [`PathError::NoEqualSnr`] where the schedules do not overlap, [`PathError::Singular`] where the answer cannot be
    /// read on the new schedule, [`PathError::Time`] outside [0, 1].
    ///
    /// ```
    /// use advect_core::{Field, Times, shared};
    /// use advect_paths::{Cosine, Linear, Prediction, Predictor, SourceLaw};
    ///
    /// // Data N(0, 1), trained on the linear path: u = (2 t - 1) x / (t^2 + (1 - t)^2).
    /// let field = shared(|x: f64, t: f64| (2.0 * t - 1.0) * x / (t * t + (1.0 - t) * (1.0 - t)));
    /// let source = SourceLaw::GaussianIndependent;
    /// let trained = Predictor { field, prediction: Prediction::Velocity, schedule: Linear, source };
    /// // The cosine path of such data does not move at all.
    /// let moved = trained.reschedule(Cosine, 0.0, 1.0)?;
    /// let velocity = moved.field(Prediction::Velocity, 0.0, 1.0)?;
    /// assert!(velocity.eval(0.7, &Times::Shared(0.3)).abs() < 1e-14);
    /// # Ok::<(), advect_paths::PathError>(())
    /// ```
    pub fn reschedule<T: Schedule + Clone>(
        self,
        schedule: T,
        from: f64,
        to: f64,
    ) -> Result<Predictor<Rescheduled<F, S, T>, T>, PathError> {
        let (prediction, source) = (self.prediction, self.source);
        let field = Rescheduled { field: self.field, prediction, trained: self.schedule, schedule: schedule.clone() };
        for r in [from, to] {
            field.match_at(r)?;
        }
        Ok(Predictor { field, prediction, schedule, source })
    }
}

/// A field trained on one schedule, as the field of another. See [`Predictor::reschedule`].
#[derive(Debug, Clone)]
pub struct Rescheduled<F, S, T> {
    field: F,
    prediction: Prediction,
    trained: S,
    schedule: T,
}

/// What belongs together at a time r of the new schedule.
struct Match {
    /// The trained schedule's time.
    t: f64,
    /// The new path is this times the trained one.
    scale: f64,
    /// The coefficients on x (of the new path) and on the field's output.
    on: (f64, f64),
}

impl<F, S: Schedule, T: Schedule> Rescheduled<F, S, T> {
    fn match_at(&self, r: f64) -> Result<Match, PathError> {
        if !(0.0..=1.0).contains(&r) {
            return Err(PathError::Time { t: r });
        }
        let log_snr = self.schedule.log_snr(r);
        let (least, most) = (self.trained.log_snr(0.0), self.trained.log_snr(1.0));
        // Rounding of equal ends must not refuse them.
        let slack = 1e-9;
        if log_snr < least - slack * (1.0 + least.abs()) || log_snr > most + slack * (1.0 + most.abs()) {
            return Err(PathError::NoEqualSnr { t: r, log_snr, least, most });
        }
        let t = self.trained.time_at_log_snr(log_snr);
        let (old, new) = (Rates::at(&self.trained, t), Rates::at(&self.schedule, r));
        // alpha_r / alpha_t and sigma_r / sigma_t are equal; their sum's quotient is, too, and never 0 / 0.
        let scale = (new.c.alpha + new.c.sigma) / (old.c.alpha + old.c.sigma);
        let on =
            match self.prediction {
                Prediction::Data | Prediction::Noise => (0.0, 1.0),
                // The gradient in x of a density of scale * x.
                Prediction::Score => (0.0, 1.0 / scale),
                Prediction::Velocity | Prediction::V => old
                    .read_on(&new, self.prediction)
                    .ok_or(PathError::Singular { have: self.prediction, want: self.prediction, t: r })?,
            };
        Ok(Match { t, scale, on })
    }
}

impl<X, F, S, T> Field<X> for Rescheduled<F, S, T>
where
    X: State,
    F: Field<X>,
    S: Schedule,
    T: Schedule,
{
    fn eval(&self, x: X, times: &Times) -> X {
        // A field cannot fail: what has no value is NaN. The ends were checked before.
        let nothing = || Match { t: f64::NAN, scale: f64::NAN, on: (f64::NAN, f64::NAN) };
        let at = |r: f64| self.match_at(r).unwrap_or_else(|_| nothing());
        let ask = |x: X| match times {
            Times::Shared(r) => {
                let Match { t, scale, .. } = at(*r);
                self.field.eval(x.combine(1.0 / scale, &[]), &Times::Shared(t))
            }
            Times::Each(each) => {
                let (t, shrink): (Vec<f64>, Vec<f64>) =
                    each.iter().map(|&r| at(r)).map(|m| (m.t, 1.0 / m.scale)).unzip();
                self.field.eval(x.combine_rows(&shrink, &[]), &Times::Each(t))
            }
        };
        let lost = x.clone();
        combine_at(x, times, |x| Ok(ask(x)), |r| Ok(at(r).on)).unwrap_or_else(|_| lost.combine(f64::NAN, &[]))
    }
}

impl<X, F, S, T> RowField<X> for Rescheduled<F, S, T>
where
    X: State,
    F: RowField<X>,
    S: Schedule + Clone,
    T: Schedule + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            field: self.field.select(rows),
            prediction: self.prediction,
            trained: self.trained.clone(),
            schedule: self.schedule.clone(),
        }
    }
}
