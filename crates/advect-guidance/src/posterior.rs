use crate::contrast::{blend, scaled};
use crate::error::GuidanceError;
use crate::gradient::{guided_factor, leaf, pulled_back, score_factors};
use crate::operator::{LinearOperator, Measurement};
use advect_core::{Batched, Field, RowField, State, Times};
use advect_paths::{Prediction, Predictor, Schedule, convert, convert_output};
use burn::tensor::Tensor;

/// Inverse problems by the gradient of the denoiser: DPS, and with a spread `PiGDM`.
///
/// Chung et al., 2023, "Diffusion Posterior Sampling for General Noisy Inverse Problems", equation 16; Song et al.,
/// 2023, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", section 3: to the score is added w(t) times the
/// gradient of `ln N(y; A D(x), r_t^2 A A^T + noise^2)`, with D the data prediction and r_t the `spread` of the data
/// about it.
///
/// DPS is the spread `|_| 0.0`: as if D were the data. It counts on the measurement too much at early times, by the
/// factor `1 + r_t^2 a / noise^2` with `A A^T = a I` for Gaussian data, and is right in the limit t -> 1. Its paper has
/// a step size in place of 1 / noise^2: the weight w. The true spread, or [`unit_spread`](crate::unit_spread) for data
/// of variance one, is right where the data given x_t are N(D, r_t^2 I): for Gaussian data of covariance c^2 I at all
/// times, with `r_t = c sigma / sqrt(alpha^2 c^2 + sigma^2)`.
///
/// Evaluations: one forward and one backward pass of the network, which has to be on a device with an autodiff form.
/// Without gradient: [`DataConsistent`].
///
/// ```
/// use advect_core::{Field, Times};
/// use advect_guidance::{Inpainting, Measurement, PosteriorSampling, constant, unit_spread};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
/// use burn::tensor::{Device, Tensor};
///
/// // Data N(0, 1) in each element: D = t x / (t^2 + (1 - t)^2), at t = 1/2 that is x.
/// let predictor = Predictor {
///     field: |x: Tensor<2>, t: &Times| x * (t.at(0) / (t.at(0).powi(2) + (1.0 - t.at(0)).powi(2))),
///     prediction: Prediction::Data,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// // The first element was seen to be 2, with noise of variance 1/2.
/// let device = Device::default();
/// let mask = Inpainting::new(Tensor::<2>::from_data([[1.0, 0.0]], &device));
/// let seen = Measurement::new(mask, Tensor::<2>::from_data([[2.0, 0.0]], &device), 0.5_f64.sqrt())?;
/// let guided = PosteriorSampling::new(predictor, seen, unit_spread(Linear), constant(1.0), 0.1, 1.0)?;
/// // Half-way between the prediction 0 and the measurement, as both have the variance 1/2; the rest as it was.
/// let data = guided.eval(Tensor::from_data([[0.0, 3.0]], &device), &Times::Shared(0.5));
/// let values = data.into_data().try_to_vec::<f32>()?;
/// assert!((values[0] - 1.0).abs() < 1e-6 && (values[1] - 3.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct PosteriorSampling<F, S, A, R, G, const D: usize> {
    predictor: Predictor<F, S>,
    measurement: Measurement<A, Tensor<D>>,
    spread: R,
    scale: G,
}

impl<F, S: Schedule, A, R, G, const D: usize> PosteriorSampling<F, S, A, R, G, D> {
    /// Steers a predictor to a measurement, for times between `from` and `to`. The output is of the prediction that
    /// `predictor` says.
    ///
    /// # Errors
    /// [`GuidanceError::Path`] if the source law permits no score, or if a conversion has no value at an end: for a
    /// velocity start a little after t = 0.
    pub fn new(
        predictor: Predictor<F, S>,
        measurement: Measurement<A, Tensor<D>>,
        spread: R,
        scale: G,
        from: f64,
        to: f64,
    ) -> Result<Self, GuidanceError> {
        score_factors(&predictor.schedule, predictor.prediction, predictor.source, [from, to])?;
        for t in [from, to] {
            convert(&predictor.schedule, t, predictor.prediction, Prediction::Data)?;
        }
        Ok(Self { predictor, measurement, spread, scale })
    }
}

impl<F, S, A, R, G, const D: usize> Field<Tensor<D>> for PosteriorSampling<F, S, A, R, G, D>
where
    F: Field<Tensor<D>>,
    S: Schedule,
    A: LinearOperator<Tensor<D>>,
    R: Fn(f64) -> f64,
    G: Fn(f64) -> f64,
{
    fn eval(&self, x: Tensor<D>, t: &Times) -> Tensor<D> {
        let Predictor { field, prediction, schedule, .. } = &self.predictor;
        if t.map(&self.scale).range() == (0.0, 0.0) {
            return field.eval(x, t);
        }
        let x = leaf(x);
        let output = field.eval(x.clone(), t);
        let value = output.clone().inner();
        let factor = t.map(|t| guided_factor(schedule, *prediction, &self.scale, t));
        let data = convert_output(schedule, t, *prediction, Prediction::Data, x.clone(), &output);
        let Ok(data) = data else {
            // A field cannot fail: outside the times that were checked it has no value.
            return value * f64::NAN;
        };
        let residual = self.measurement.residual(data);
        let precision = t.map(|t| -0.5 / self.measurement.variance((self.spread)(t)));
        let log_likelihood = scaled(residual.clone() * residual, &precision).sum();
        blend(value, &Times::Shared(1.0), &pulled_back(&x, log_likelihood), &factor)
    }
}

impl<F, S, A, R, G, const D: usize> RowField<Tensor<D>> for PosteriorSampling<F, S, A, R, G, D>
where
    F: RowField<Tensor<D>>,
    S: Schedule + Clone,
    A: LinearOperator<Tensor<D>> + Clone,
    R: Fn(f64) -> f64 + Clone,
    G: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        let Predictor { field, prediction, schedule, source } = &self.predictor;
        let (prediction, source) = (*prediction, *source);
        Self {
            predictor: Predictor { field: field.select(rows), prediction, schedule: schedule.clone(), source },
            measurement: self.measurement.select(rows),
            spread: self.spread.clone(),
            scale: self.scale.clone(),
        }
    }
}

/// Inverse problems without gradient: the data prediction moved towards what was seen.
///
/// Wang et al., 2023, "Zero-Shot Image Restoration Using Denoising Diffusion Null-Space Model" (DDNM), equation 13, and
/// with noise its Kalman form: `D + gain A^T (y - A D)`, `gain = r_t^2 / (r_t^2 a + noise^2)` with r_t the `spread` of
/// the data about D and `A A^T = a I`. Without noise the gain is 1 / a whatever the spread: what was seen is restored
/// exactly, the rest is the model's. It is the expectation of the data given x_t and y where they are N(D, r_t^2 I)
/// given x_t. It knows no correlations: what was seen does not speak for what was not, but through the network at later
/// steps.
///
/// Over a data prediction only (wrap the field in a `Predictor` to have a velocity of it again). Evaluations: one.
#[derive(Debug, Clone)]
pub struct DataConsistent<F, A, X, R> {
    /// The data prediction.
    pub denoiser: F,
    /// What was seen.
    pub measurement: Measurement<A, X>,
    /// The standard deviation of the data about the prediction: `Fn(f64) -> f64`.
    pub spread: R,
}

impl<X, F, A, R> Field<X> for DataConsistent<F, A, X, R>
where
    X: State,
    F: Field<X>,
    A: LinearOperator<X>,
    R: Fn(f64) -> f64,
{
    fn eval(&self, x: X, t: &Times) -> X {
        let Measurement { operator, noise, .. } = &self.measurement;
        let data = self.denoiser.eval(x, t);
        let gain = t.map(|t| {
            let spread = (self.spread)(t);
            if *noise == 0.0 { 1.0 / operator.gram() } else { spread * spread / self.measurement.variance(spread) }
        });
        let correction = operator.adjoint(self.measurement.residual(data.clone()));
        blend(data, &Times::Shared(1.0), &correction, &gain)
    }
}

impl<X, F, A, R> RowField<X> for DataConsistent<F, A, X, R>
where
    X: Batched,
    F: RowField<X>,
    A: LinearOperator<X> + Clone,
    R: Fn(f64) -> f64 + Clone,
{
    fn select(&self, rows: &[usize]) -> Self {
        Self {
            denoiser: self.denoiser.select(rows),
            measurement: self.measurement.select(rows),
            spread: self.spread.clone(),
        }
    }
}
