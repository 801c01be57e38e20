use crate::denoiser::{first_order, predict};
use crate::history::integral;
use crate::{Coordinates, Denoiser};
use advect_core::State;
use advect_paths::Prediction;
use advect_solvers::SolveError;

/// Which prediction a method approximates by a polynomial in lambda.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Data,
    Noise,
}

impl Side {
    pub(crate) fn prediction(self) -> Prediction {
        match self {
            Self::Data => Prediction::Data,
            Self::Noise => Prediction::Noise,
        }
    }

    /// The coefficients of the first-order step, on x and on the prediction.
    pub(crate) fn first_order(self, from: &Coordinates, to: &Coordinates) -> (f64, f64) {
        match self {
            Self::Data => from.with_data(to),
            Self::Noise => from.with_noise(to),
        }
    }

    /// The exact solution is `on_x x + scale int e^(rate (l - lambda')) P(l) dl`: rate and scale.
    pub(crate) fn kernel(self, to: &Coordinates) -> (f64, f64) {
        match self {
            Self::Data => (1.0, to.alpha),
            Self::Noise => (-1.0, -to.sigma),
        }
    }
}

/// A singlestep method of order two with its stage at `lambda + ratio h`.
pub(crate) fn second<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    side: Side,
    ratio: f64,
    x: X,
    (start, end): (&Coordinates, &Coordinates),
) -> Result<X, SolveError> {
    if !(start.is_inside() && end.is_inside()) {
        return first_order(model, x, start, end);
    }
    let at = Coordinates::at_lambda(model.schedule(), start.lambda + ratio * (end.lambda - start.lambda));
    let first = predict(model, side.prediction(), &x, start)?;
    let (on_x, on_first) = side.first_order(start, &at);
    let stage = x.clone().combine(on_x, &[(on_first, &first)]);
    let second = predict(model, side.prediction(), &stage, &at)?;
    let (on_x, on_prediction) = side.first_order(start, end);
    let share = on_prediction / (2.0 * ratio);
    Ok(x.combine(on_x, &[(on_prediction - share, &first), (share, &second)]))
}

/// A singlestep method of order three with its stages at a third and two thirds of the way in lambda.
pub(crate) fn third<X: State, G: Denoiser<X> + ?Sized>(
    model: &G,
    side: Side,
    x: X,
    (start, end): (&Coordinates, &Coordinates),
) -> Result<X, SolveError> {
    if !(start.is_inside() && end.is_inside()) {
        return first_order(model, x, start, end);
    }
    let h = end.lambda - start.lambda;
    let one = Coordinates::at_lambda(model.schedule(), start.lambda + h / 3.0);
    let two = Coordinates::at_lambda(model.schedule(), start.lambda + 2.0 * h / 3.0);
    let first = predict(model, side.prediction(), &x, start)?;
    let (on_x, on_first) = side.first_order(start, &one);
    let stage = x.clone().combine(on_x, &[(on_first, &first)]);
    let known = [(start.lambda, first), (one.lambda, predict(model, side.prediction(), &stage, &one)?)];
    let stage = line(side, &known, &x, start, &two);
    let [(_, first), _] = known;
    let known = [(start.lambda, first), (two.lambda, predict(model, side.prediction(), &stage, &two)?)];
    Ok(line(side, &known, &x, start, end))
}

/// The step with the straight line through two predictions, integrated exactly.
fn line<X: State>(side: Side, known: &[(f64, X); 2], x: &X, start: &Coordinates, end: &Coordinates) -> X {
    let (on_x, _) = side.first_order(start, end);
    let (rate, scale) = side.kernel(end);
    x.clone().combine(on_x, &integral(known, start.lambda, end.lambda, rate, scale))
}
