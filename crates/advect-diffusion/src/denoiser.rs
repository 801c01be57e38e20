use crate::{Coordinates, DiffusionError};
use advect_core::{Field, State, Times};
use advect_paths::{Prediction, Predictor, Schedule, SourceLaw, convert};
use advect_solvers::SolveError;

/// What a sampler needs of a model: its schedule, and its prediction read as another.
///
/// [`Predictor`] is one for every field and schedule. The trait is object safe, so a program may choose at run time.
pub trait Denoiser<X> {
    /// The schedule of the path.
    fn schedule(&self) -> &dyn Schedule;

    /// The law of the pairs of the training: a stochastic sampler asks for a Gaussian independent source.
    fn source(&self) -> SourceLaw;

    /// `(on_x, on_output)` with `wanted = on_x x + on_output output`.
    ///
    /// # Errors
    /// [`DiffusionError::Path`] where there is no finite value.
    fn conversion(&self, want: Prediction, t: f64) -> Result<(f64, f64), DiffusionError>;

    /// The output of the model, whatever it predicts.
    fn output(&self, x: X, t: f64) -> X;
}

impl<X: State, F: Field<X>, S: Schedule> Denoiser<X> for Predictor<F, S> {
    fn schedule(&self) -> &dyn Schedule {
        &self.schedule
    }

    fn source(&self) -> SourceLaw {
        self.source
    }

    fn conversion(&self, want: Prediction, t: f64) -> Result<(f64, f64), DiffusionError> {
        self.source.permits(self.prediction, want)?;
        Ok(convert(&self.schedule, t, self.prediction, want)?)
    }

    fn output(&self, x: X, t: f64) -> X {
        self.field.eval(x, &Times::Shared(t))
    }
}

/// The wanted prediction at a point. One evaluation.
pub(crate) fn predict<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    want: Prediction,
    x: &X,
    at: &Coordinates,
) -> Result<X, SolveError> {
    let (on_x, on_output) = model.conversion(want, at.t)?;
    let output = model.output(x.clone(), at.t);
    Ok(match (on_x, on_output) {
        (0.0, 1.0) => output,
        (0.0, on_output) => output.combine(on_output, &[]),
        (on_x, on_output) => x.clone().combine(on_x, &[(on_output, &output)]),
    })
}

/// The first-order step, exact if the prediction is constant: from noise alone written with the data, from data
/// alone with the noise, in between the same. One evaluation.
pub(crate) fn first_order<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    x: X,
    from: &Coordinates,
    to: &Coordinates,
) -> Result<X, SolveError> {
    let (want, (on_x, on_prediction)) = if from.sigma > 0.0 {
        (Prediction::Data, from.with_data(to))
    } else {
        (Prediction::Noise, from.with_noise(to))
    };
    let (more_x, on_output) = model.conversion(want, from.t)?;
    let output = model.output(x.clone(), from.t);
    Ok(x.combine(on_x + on_prediction * more_x, &[(on_prediction * on_output, &output)]))
}

/// The coordinates of both ends of a step.
pub(crate) fn ends<X, G: Denoiser<X> + ?Sized>(
    model: &G,
    from: &Times,
    to: &Times,
) -> Result<(Coordinates, Coordinates), SolveError> {
    let schedule = model.schedule();
    Ok((Coordinates::at(schedule, shared_time(from)?), Coordinates::at(schedule, shared_time(to)?)))
}

/// The ends of a stochastic step, which runs toward the data and needs a score.
pub(crate) fn stochastic_ends<X, G: Denoiser<X> + ?Sized>(
    model: &G,
    from: &Times,
    to: &Times,
) -> Result<(Coordinates, Coordinates), SolveError> {
    model.source().permits(Prediction::Data, Prediction::Score).map_err(DiffusionError::Path)?;
    let (from, to) = ends(model, from, to)?;
    if to.t < from.t {
        return Err(DiffusionError::TowardNoise { from: from.t, to: to.t }.into());
    }
    Ok((from, to))
}

/// The one time of the batch, inside [0, 1].
fn shared_time(times: &Times) -> Result<f64, DiffusionError> {
    let (low, high) = times.range();
    if low != high {
        return Err(DiffusionError::PerRow { low, high });
    }
    if !(0.0..=1.0).contains(&low) {
        return Err(advect_paths::PathError::Time { t: low }.into());
    }
    Ok(low)
}
