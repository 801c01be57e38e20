use crate::{PathError, PathSample, Prediction};
use advect_core::{State, Times};
use burn::tensor::Tensor;

/// The flow-matching loss: the mean of `|u_hat - (d_alpha x_1 + d_sigma x_0)|^2` over all elements, all times alike.
///
/// Lipman et al., 2023, "Flow Matching for Generative Modeling", equation 9 (conditional flow matching). The output
/// may be any prediction; reading it as a velocity only changes the weight of each row, see [`row_losses`].
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
    let losses = row_losses(output, sample, have, want)?;
    Ok(match &sample.times {
        Times::Shared(t) => losses.mean() * weight(*t),
        Times::Each(times) => {
            let weights: Vec<f64> = times.iter().map(|&t| weight(t)).collect();
            losses.combine_rows(&weights, &[]).mean()
        }
    })
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
    sample.source.permits(have, want)?;
    if output.dims() != sample.x.dims() {
        let (got, expected) = (output.dims().into(), sample.x.dims().into());
        return Err(PathError::Shape { what: "the output", got, expected });
    }
    // A score is carried as the noise -sigma * score, which stays finite at t = 1, as its target does not.
    let (output, carried) = match have {
        Prediction::Score => {
            let negative: Vec<f64> = sample.rates().iter().map(|r| -r.c.sigma).collect();
            (scale(output, &negative, &sample.times), Prediction::Noise)
        }
        other => (output, other),
    };
    let slopes = sample.rates().iter().enumerate().map(|(row, rates)| match rates.convert(carried, want) {
        Some((_, on_output)) => Ok(on_output),
        None => Err(PathError::Singular { have, want, t: sample.times.at(row) }),
    });
    let slopes: Vec<f64> = slopes.collect::<Result<_, _>>()?;
    let error = scale(output - sample.target(carried)?, &slopes, &sample.times);
    let rows = error.dims()[0];
    let width: usize = error.dims()[1..].iter().product();
    Ok((error.clone() * error).reshape([rows, width]).mean_dim(1).reshape([rows]))
}

fn scale<const D: usize>(x: Tensor<D>, factors: &[f64], times: &Times) -> Tensor<D> {
    match times {
        Times::Shared(_) => x.combine(factors[0], &[]),
        Times::Each(_) => x.combine_rows(factors, &[]),
    }
}
