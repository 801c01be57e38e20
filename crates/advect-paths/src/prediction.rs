use crate::{Coefficients, PathError, Schedule};
use advect_core::{State, Times};

/// What the output of a network means: an expectation given `x_t = x`.
///
/// All of them carry the same information as long as the coefficients of the path allow it; see [`convert`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prediction {
    /// `u = E[d_alpha x_1 + d_sigma x_0 | x]`, the marginal velocity.
    Velocity,
    /// `grad log p_t(x)`. It is `-E[x_0 | x] / sigma` only for a Gaussian source that is independent of the data.
    Score,
    /// `E[x_0 | x]`, the noise.
    Noise,
    /// `E[x_1 | x]`, the denoiser.
    Data,
    /// `E[alpha x_0 - sigma x_1 | x]`, "v-prediction" of Salimans & Ho, 2022, "Progressive Distillation", section 4.
    ///
    /// Where `alpha^2 + sigma^2 = 1` it is orthogonal to x and, unlike noise and data, says something at both ends. It
    /// is not the velocity: on the cosine path the velocity is -pi/2 times it.
    V,
}

impl Prediction {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Velocity, Self::Score, Self::Noise, Self::Data, Self::V];
}

impl std::fmt::Display for Prediction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Velocity => "velocity",
            Self::Score => "score",
            Self::Noise => "noise",
            Self::Data => "data",
            Self::V => "v",
        })
    }
}

/// What the pairs (x_0, x_1) of a run were: decides whether a score can be read off a trained model.
///
/// For N(0, 1) to N(0, 4) on the linear path at t = 1/2 the true score is `-0.444 x`, for the coupling that optimal
/// transport makes (x_1 = 2 x_0) as for any other that ends in this marginal; read off that coupling's (correct)
/// velocity as if the pairs were independent it comes out as `-1.333 x`. So those conversions are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceLaw {
    /// x_0 is standard normal and independent of x_1.
    GaussianIndependent,
    /// Anything else: another source, or a coupling (optimal transport, immiscible, reflow).
    Other,
}

impl SourceLaw {
    /// Whether the conversion is true for this source law.
    ///
    /// Velocity, noise, data and v are linear in the pair itself, so they convert under every coupling; a score is not.
    ///
    /// # Errors
    /// [`PathError::NoScore`] if either side is a score and the source is [`SourceLaw::Other`].
    pub fn permits(self, have: Prediction, want: Prediction) -> Result<(), PathError> {
        let score = have == Prediction::Score || want == Prediction::Score;
        if self == Self::Other && score { Err(PathError::NoScore { have, want }) } else { Ok(()) }
    }
}

/// The coefficients `(on_x, on_output)` with `wanted = on_x * x + on_output * output`.
///
/// One 2x2 solve for all pairs: a prediction is a row (a, b) of `a data + b noise`, namely Data (1, 0), Noise (0, 1),
/// Velocity (d_alpha, d_sigma), V (-sigma, alpha), and `x` is the row (alpha, sigma). Where a finite limit exists at
/// t = 0 or 1 it is returned, such as score to velocity at t = 1 of the linear path: (1, 0).
///
/// This is algebra and knows no [`SourceLaw`]: with a score on either side it is true only for a Gaussian source
/// independent of the data. `Predictor` asks first.
///
/// # Errors
/// [`PathError::Time`] outside [0, 1]; [`PathError::Singular`] where there is no finite value.
///
/// ```
/// use advect_paths::{Linear, Prediction, convert};
/// // On the linear path x_1 = x + (1 - t) u.
/// assert_eq!(convert(&Linear, 0.25, Prediction::Velocity, Prediction::Data)?, (1.0, 0.75));
/// // At t = 0 x is noise alone: nothing about the data can be read off the noise.
/// assert!(convert(&Linear, 0.0, Prediction::Noise, Prediction::Velocity).is_err());
/// # Ok::<(), advect_paths::PathError>(())
/// ```
pub fn convert<S: Schedule + ?Sized>(
    schedule: &S,
    t: f64,
    have: Prediction,
    want: Prediction,
) -> Result<(f64, f64), PathError> {
    if !(0.0..=1.0).contains(&t) {
        return Err(PathError::Time { t });
    }
    Rates::at(schedule, t).convert(have, want).ok_or(PathError::Singular { have, want, t })
}

/// All that a conversion needs to know of a schedule at one time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) c: Coefficients,
    /// Finite at t = 1 even where `d_sigma` is not.
    sigma_d_sigma: f64,
}

impl Rates {
    pub(crate) fn at<S: Schedule + ?Sized>(schedule: &S, t: f64) -> Self {
        Self { c: schedule.at(t), sigma_d_sigma: schedule.sigma_d_sigma(t) }
    }

    /// See [`convert`]; `None` where there is no finite value.
    pub(crate) fn convert(&self, have: Prediction, want: Prediction) -> Option<(f64, f64)> {
        use Prediction::{Data, Noise, Score, V, Velocity};
        let (alpha, sigma, d_alpha) = (self.c.alpha, self.c.sigma, self.c.d_alpha);
        let (on_x, on_output) = match (have, want) {
            _ if have == want => (0.0, 1.0),
            // Parallel rows: no determinant.
            (Noise, Score) => (0.0, -1.0 / sigma),
            (Score, Noise) => (0.0, -sigma),
            // Where x is data alone or noise alone, that one is known whatever the output says. This is the limit:
            // the row of any output turns to that of x more slowly than sigma or alpha vanishes.
            (_, Data) if sigma == 0.0 => (1.0 / alpha, 0.0),
            (_, Noise) if alpha == 0.0 => (1.0 / sigma, 0.0),
            (_, Score) if alpha == 0.0 => (-1.0 / (sigma * sigma), 0.0),
            // Where sigma falls like a root, the velocity outgrows the noise: x_0 = u / d_sigma vanishes, and so does
            // v.
            (Velocity, Noise | V) if self.c.d_sigma.is_infinite() => (0.0, 0.0),
            // The sigma carried by the score cancels one of the determinant: sigma * d_sigma is all that is needed.
            (Velocity, Score) => {
                let det = alpha * self.sigma_d_sigma - sigma * sigma * d_alpha;
                (d_alpha / det, -alpha / det)
            }
            (Score, Velocity) => {
                let det = alpha * self.sigma_d_sigma - sigma * sigma * d_alpha;
                (d_alpha / alpha, -det / alpha)
            }
            // The score is the noise, carried as -sigma * score.
            (Score, _) => {
                let (on_x, on_output) = self.solve(Noise, want);
                (on_x, -sigma * on_output)
            }
            (_, Score) => {
                let (on_x, on_output) = self.solve(have, Noise);
                (-on_x / sigma, -on_output / sigma)
            }
            _ => self.solve(have, want),
        };
        (on_x.is_finite() && on_output.is_finite()).then_some((on_x, on_output))
    }

    /// A prediction on this schedule as the same prediction on another, at a time of equal signal-to-noise ratio: the
    /// coefficients on the other path's x and on the output. `None` where there is no finite value.
    pub(crate) fn read_on(&self, other: &Self, prediction: Prediction) -> Option<(f64, f64)> {
        let (on_x, on_output) = solve(&other.c, self.row(prediction), other.row(prediction));
        (on_x.is_finite() && on_output.is_finite()).then_some((on_x, on_output))
    }

    fn solve(&self, have: Prediction, want: Prediction) -> (f64, f64) {
        solve(&self.c, self.row(have), self.row(want))
    }

    /// (a, b) of `a data + b noise`; a score is carried as the noise.
    pub(crate) fn row(&self, prediction: Prediction) -> (f64, f64) {
        match prediction {
            Prediction::Velocity => (self.c.d_alpha, self.c.d_sigma),
            Prediction::Data => (1.0, 0.0),
            Prediction::Noise | Prediction::Score => (0.0, 1.0),
            Prediction::V => (-self.c.sigma, self.c.alpha),
        }
    }
}

/// The 2x2 solve: `wanted = a data + b noise` from `x = alpha data + sigma noise`, `output = c data + e noise`.
fn solve(x: &Coefficients, (c, e): (f64, f64), (a, b): (f64, f64)) -> (f64, f64) {
    let det = x.alpha * e - x.sigma * c;
    ((a * e - b * c) / det, (b * x.alpha - a * x.sigma) / det)
}

/// [`convert`] carried out on a state, row by row: `on_x(t) * x + on_output(t) * output`.
///
/// # Shapes
/// - `x`, `output`, result: `[batch, ...]`, equal
/// - `times`: shared, or one a row
///
/// # Errors
/// Those of [`convert`], and [`PathError::Rows`] if there is not one time a row.
pub fn convert_output<X: State, S: Schedule + ?Sized>(
    schedule: &S,
    times: &Times,
    have: Prediction,
    want: Prediction,
    x: X,
    output: &X,
) -> Result<X, PathError> {
    combine_at(x, times, |_| Ok(output.clone()), |t| convert(schedule, t, have, want))
}

/// `on_x(t) x + on_output(t) output(x)`; the output is not asked for where no row needs it.
pub(crate) fn combine_at<X: State>(
    x: X,
    times: &Times,
    output: impl FnOnce(X) -> Result<X, PathError>,
    coefficients: impl Fn(f64) -> Result<(f64, f64), PathError>,
) -> Result<X, PathError> {
    match times {
        Times::Shared(t) => match coefficients(*t)? {
            (0.0, on_output) => {
                let output = output(x)?;
                Ok(if on_output == 1.0 { output } else { output.combine(on_output, &[]) })
            }
            (on_x, 0.0) => Ok(x.combine(on_x, &[])),
            (on_x, on_output) => {
                let output = output(x.clone())?;
                Ok(x.combine(on_x, &[(on_output, &output)]))
            }
        },
        Times::Each(times) => {
            if times.len() != x.rows() {
                return Err(PathError::Rows { rows: x.rows(), times: times.len() });
            }
            let pairs: Vec<(f64, f64)> = times.iter().map(|&t| coefficients(t)).collect::<Result<_, _>>()?;
            let (on_x, on_output): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
            if on_output.iter().all(|&f| f == 0.0) {
                return Ok(x.combine_rows(&on_x, &[]));
            }
            let output = output(x.clone())?;
            if on_x.iter().all(|&f| f == 0.0) {
                return Ok(output.combine_rows(&on_output, &[]));
            }
            Ok(x.combine_rows(&on_x, &[(&on_output, &output)]))
        }
    }
}
