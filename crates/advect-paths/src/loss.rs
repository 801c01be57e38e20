use crate::weighting::weight_on;
use crate::{PathError, PathSample, Prediction, Weighting};
use advect_core::{State, Times};
use advect_kernels::mean_squared_error;
use burn::tensor::{DType, Tensor};

/// The flow-matching loss: the mean of `|u_hat - (d_alpha x_1 + d_sigma x_0)|^2` over all elements, all times alike.
///
/// Lipman et al., 2023, "Flow Matching for Generative Modeling", equation 9 (conditional flow matching). The output
/// may be any prediction; reading it as a velocity only changes the weight of each row, see [`row_losses`].
///
/// Its mean over t exists where sigma ends smoothly. With `sigma = sqrt(1 - t)`, as in the course of MIT (6.S184), it
/// grows like `ln(1 / eps) / 4` with the distance eps that times keep from t = 1 (and the score's like `ln(1 / eps)`):
/// its level then says more about the clip than about the network. Draw times from
/// [`UniformTime::clipped`](crate::UniformTime::clipped), and compare levels at the same clip only.
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[1]`
///
/// # Errors
/// Those of [`row_losses`].
///
/// ```
/// use advect_core::Times;
/// use advect_paths::{AffinePath, Linear, Path, Prediction, SourceLaw, flow_matching_loss};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::default();
/// let noise: Tensor<2> = Tensor::from_data([[0.0, 0.0], [1.0, 1.0]], &device);
/// let data: Tensor<2> = Tensor::from_data([[2.0, 4.0], [1.0, 1.0]], &device);
/// let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
/// let sample = path.sample(noise, data, &Times::Each(vec![0.5, 0.25]))?;
/// // The velocity is data - noise = [[2, 4], [0, 0]]; an output of zero is wrong by (4 + 16 + 0 + 0) / 4.
/// let loss = flow_matching_loss(sample.x.zeros_like(), &sample, Prediction::Velocity)?;
/// assert_eq!(loss.into_scalar::<f32>(), 5.0);
/// # Ok::<(), advect_paths::PathError>(())
/// ```
pub fn flow_matching_loss<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    prediction: Prediction,
) -> Result<Tensor<1>, PathError> {
    prediction_loss(output, sample, prediction, Prediction::Velocity, |_| 1.0)
}

/// The denoising score-matching loss: the mean of `sigma^2 |score_hat + x_0 / sigma|^2` over all elements.
///
/// Vincent, 2011; the weight `lambda = sigma^2` is that of Song et al., 2021, equation 7. So it is the same as the
/// noise loss `|x_0_hat - x_0|^2` (the "simple" loss of Ho et al., 2020), and finite at t = 1 for an output that is a
/// score or the noise. The output may be any prediction.
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[1]`
///
/// # Errors
/// Those of [`row_losses`]; [`PathError::NoScore`] unless the source is Gaussian and independent of the data.
pub fn score_matching_loss<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    prediction: Prediction,
) -> Result<Tensor<1>, PathError> {
    sample.source.permits(prediction, Prediction::Score)?;
    prediction_loss(output, sample, prediction, Prediction::Noise, |_| 1.0)
}

/// The mean of `weight(t) |target_hat - target|^2` over all elements: an output that is a `have`, judged as a `want`.
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[1]`
///
/// # Errors
/// Those of [`row_losses`].
pub fn prediction_loss<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    want: Prediction,
    weight: impl Fn(f64) -> f64,
) -> Result<Tensor<1>, PathError> {
    // Before anybody is asked for a weight.
    let error = error_parts(output, sample, have, want)?;
    let times = match &sample.times {
        Times::Shared(t) => std::slice::from_ref(t),
        Times::Each(times) => times,
    };
    let weights: Vec<f64> = times.iter().map(|&t| weight(t)).collect();
    Ok(match weights.first() {
        Some(&first) if weights.len() == 1 || weights.iter().all(|weight| *weight == first) => {
            let mean = mean_square(error, sample);
            if first == 1.0 { mean } else { mean * first }
        }
        _ => mean_squares(difference(error, sample)).combine_rows(&weights, &[]).mean(),
    })
}

/// The mean of all squares: of a few at once, of many row by row. A sum of millions would depend on the threads that share it, and the reciprocal of their number is
/// nothing in half precision.
fn mean_square<const D: usize>(error: ErrorParts<D>, sample: &PathSample<D>) -> Tensor<1> {
    const FEW: usize = 1 << 16;
    let few = |x: &Tensor<D>| matches!(x.dtype(), DType::F32 | DType::F64) && x.dims().iter().product::<usize>() <= FEW;
    match error {
        (output, target, None) if few(&output) => mean_squared_error(output, target),
        error => {
            let error = difference(error, sample);
            if few(&error) { (error.clone() * error).mean() } else { mean_squares(error).mean() }
        }
    }
}

/// The loss of each row: the mean over its elements of `|want_hat - want|^2` for an output that is a `have`.
///
/// Output and target are converted by the same affine map, so their difference is converted by its slope alone:
/// `want_hat - want = on_output (output - have)`. The space a loss is measured in is a weight in t, nothing
/// more, and no precision is lost in a round trip. For a weight of your own (importance sampling, a mask) multiply the
/// rows and take the mean; for a weight in t see [`prediction_loss`].
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[batch]`
///
/// # Errors
/// [`PathError::Singular`] or [`PathError::Target`] where the slope or the target is infinite,
/// [`PathError::NoScore`] for a score unless the source is Gaussian and independent of the data,
/// [`PathError::Shape`] if the output is not shaped like `sample.x`.
pub fn row_losses<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    want: Prediction,
) -> Result<Tensor<1>, PathError> {
    Ok(mean_squares(error_as(output, sample, have, want)?))
}

/// An output, what it should have been, and what their difference is multiplied with: one number a row, or for all.
type ErrorParts<const D: usize> = (Tensor<D>, Tensor<D>, Option<Vec<f64>>);

/// `want_hat - want`, for an output that is a `have`.
fn error_as<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    want: Prediction,
) -> Result<Tensor<D>, PathError> {
    Ok(difference(error_parts(output, sample, have, want)?, sample))
}

fn difference<const D: usize>((output, target, slopes): ErrorParts<D>, sample: &PathSample<D>) -> Tensor<D> {
    match slopes {
        None => output - target,
        Some(slopes) => scale(output - target, &slopes, &sample.times),
    }
}

fn error_parts<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    want: Prediction,
) -> Result<ErrorParts<D>, PathError> {
    sample.source.permits(have, want)?;
    let (output, carried) = carry(output, sample, have)?;
    if carried == want {
        return Ok((output, sample.target(want)?, None));
    }
    let slopes = sample.rates().iter().enumerate().map(|(row, rates)| match rates.convert(carried, want) {
        Some((_, on_output)) => Ok(on_output),
        None => Err(PathError::Singular { have, want, t: sample.times.at(row) }),
    });
    let slopes: Vec<f64> = slopes.collect::<Result<_, _>>()?;
    Ok((output, sample.target(carried)?, Some(slopes)))
}

/// The output in the form in which it is compared: a score as the noise -sigma * score, which stays finite at t = 1, as
/// its target does not.
fn carry<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
) -> Result<(Tensor<D>, Prediction), PathError> {
    if output.dims() != sample.x.dims() {
        let (got, expected) = (output.dims().into(), sample.x.dims().into());
        return Err(PathError::Shape { what: "the output", got, expected });
    }
    Ok(match have {
        Prediction::Score => {
            let negative: Vec<f64> = sample.rates().iter().map(|r| -r.c.sigma).collect();
            (scale(output, &negative, &sample.times), Prediction::Noise)
        }
        other => (output, other),
    })
}

/// The mean of the squares of each row.
fn mean_squares<const D: usize>(error: Tensor<D>) -> Tensor<1> {
    let rows = error.dims()[0];
    let width: usize = error.dims()[1..].iter().product();
    (error.clone() * error).reshape([rows, width]).mean_dim(1).reshape([rows])
}

/// The mean over all elements of a [`Weighting`] times the squared error, for an output that is a `have`.
///
/// The same as [`prediction_loss`] with the weighting's own space and factor, but finite wherever the product is, such
/// as min-SNR of a noise prediction at t = 0, where the data error alone would be infinite.
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[1]`
///
/// # Errors
/// Those of [`weighted_row_losses`].
///
/// ```
/// use advect_core::Times;
/// use advect_paths::{AffinePath, Linear, MinSnrWeighting, Path, Prediction, SourceLaw, weighted_loss};
/// use burn::tensor::{Device, Tensor};
///
/// let device = Device::default();
/// let noise: Tensor<2> = Tensor::from_data([[0.0]], &device);
/// let data: Tensor<2> = Tensor::from_data([[2.0]], &device);
/// let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
/// // At t = 0.9 the signal-to-noise ratio is 81, of which min-SNR counts 5.
/// let sample = path.sample(noise, data, &Times::Shared(0.9))?;
/// let loss = weighted_loss(sample.x.zeros_like(), &sample, Prediction::Data, &MinSnrWeighting::new(5.0)?)?;
/// assert!((loss.into_scalar::<f32>() - 20.0).abs() < 1e-4);
/// # Ok::<(), advect_paths::PathError>(())
/// ```
pub fn weighted_loss<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    weighting: &impl Weighting,
) -> Result<Tensor<1>, PathError> {
    Ok(weighted_row_losses(output, sample, have, weighting)?.mean())
}

/// [`weighted_loss`] for each row. Multiply the rows by what else they should count (importance, a mask), or hand them
/// to [`uncertainty_loss`] or [`adaptive_loss`].
///
/// # Shapes
/// - `output`: `[batch, ...]`, like `sample.x`
/// - result: `[batch]`
///
/// # Errors
/// [`PathError::InfiniteWeight`] or [`PathError::Target`] where the weight on the output or its target is infinite,
/// [`PathError::NoScore`] for a score unless the source is Gaussian and independent of the data,
/// [`PathError::Shape`] if the output is not shaped like `sample.x`.
pub fn weighted_row_losses<const D: usize>(
    output: Tensor<D>,
    sample: &PathSample<D>,
    have: Prediction,
    weighting: &impl Weighting,
) -> Result<Tensor<1>, PathError> {
    sample.source.permits(have, have)?;
    let (output, carried) = carry(output, sample, have)?;
    let roots = sample.rates().iter().enumerate().map(|(row, rates)| {
        let weight = weight_on(carried, &rates.c, weighting);
        if weight.is_finite() {
            Ok(weight.sqrt())
        } else {
            Err(PathError::InfiniteWeight { have, t: sample.times.at(row) })
        }
    });
    let roots: Vec<f64> = roots.collect::<Result<_, _>>()?;
    Ok(mean_squares(scale(output - sample.target(carried)?, &roots, &sample.times)))
}

/// The mean of `e^-u loss + u` for a learned log-variance u of each row: the loss weighted by its own uncertainty.
///
/// Karras et al., 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2), after Kendall et
/// al., 2018. The network, or a small one beside it (Fourier features of the time and one linear layer; zero at the
/// start, dropped after training), says u as a function of the time. At its minimum `u = ln E[loss | t]`, so that every
/// time contributes a loss of 1; whatever weighting the rows had, its scale in t no longer matters.
///
/// # Shapes
/// - `rows`, `log_variance`: `[batch]`
/// - result: `[1]`
///
/// # Errors
/// [`PathError::Rows`] if their lengths differ.
pub fn uncertainty_loss(rows: Tensor<1>, log_variance: Tensor<1>) -> Result<Tensor<1>, PathError> {
    let ([count], [given]) = (rows.dims(), log_variance.dims());
    if count != given {
        return Err(PathError::Rows { rows: count, times: given });
    }
    Ok((rows * log_variance.clone().neg().exp() + log_variance).mean())
}

/// The mean of `loss / (loss + c)^p` with the denominator taken as a constant: each row weighted by its own size.
///
/// Geng et al., 2025, "Mean Flows for One-step Generative Modeling", their adaptive weighting (p = 1 and c = 1e-3 are
/// usual, p = 0 is the plain mean). They sum over the elements of a row, where our rows are means: divide their c by
/// the number of elements.
///
/// # Shapes
/// - `rows`: `[batch]`, not negative
/// - result: `[1]`
///
/// # Errors
/// [`PathError::Weighting`] unless `p` is finite and not negative, and `c` is finite and positive.
pub fn adaptive_loss(rows: Tensor<1>, p: f64, c: f64) -> Result<Tensor<1>, PathError> {
    if !(p.is_finite() && p >= 0.0) {
        return Err(PathError::Weighting { what: "the power p", value: p, need: "finite and 0 or above" });
    }
    if !(c.is_finite() && c > 0.0) {
        return Err(PathError::Weighting { what: "the offset c", value: c, need: "finite and above 0" });
    }
    let weights = ((rows.clone().detach() + c).log() * -p).exp();
    Ok((rows * weights).mean())
}

fn scale<const D: usize>(x: Tensor<D>, factors: &[f64], times: &Times) -> Tensor<D> {
    match times {
        Times::Shared(_) => x.combine(factors[0], &[]),
        Times::Each(_) => x.combine_rows(factors, &[]),
    }
}
