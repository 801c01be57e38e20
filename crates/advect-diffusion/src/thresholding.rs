use crate::error::check;
use crate::{Denoiser, DiffusionError};
use advect_core::State;
use advect_paths::{Prediction, Schedule, SourceLaw};
use burn::tensor::{Tensor, TensorData};

/// A state whose elements can be clipped, row by row.
pub trait Clip: State {
    /// Row `r` with every element cut to `[-limits[r], limits[r]]`.
    #[must_use]
    fn clip(self, limits: &[f64]) -> Self;

    /// For each row the quantile `q` in [0, 1] of the magnitudes of its elements, interpolated between neighbours.
    fn magnitude_quantile(&self, q: f64) -> Vec<f64>;
}

impl Clip for f64 {
    fn clip(self, limits: &[f64]) -> Self {
        cut(self, limits[0])
    }

    fn magnitude_quantile(&self, _q: f64) -> Vec<f64> {
        vec![self.abs()]
    }
}

impl<const N: usize> Clip for [f64; N] {
    fn clip(self, limits: &[f64]) -> Self {
        self.map(|x| cut(x, limits[0]))
    }

    fn magnitude_quantile(&self, q: f64) -> Vec<f64> {
        vec![quantile(self.iter().map(|x| x.abs()).collect(), q)]
    }
}

impl<X: Clip> Clip for Vec<X> {
    fn clip(self, limits: &[f64]) -> Self {
        self.into_iter().zip(limits).map(|(x, limit)| x.clip(&[*limit])).collect()
    }

    fn magnitude_quantile(&self, q: f64) -> Vec<f64> {
        self.iter().flat_map(|x| x.magnitude_quantile(q)).collect()
    }
}

/// # Shapes
/// - `[batch, ...]`
impl<const D: usize> Clip for Tensor<D> {
    fn clip(self, limits: &[f64]) -> Self {
        let mut shape = [1; D];
        shape[0] = limits.len();
        let data = TensorData::new(limits.to_vec(), [limits.len()]);
        let limit = Tensor::<1>::from_data(data, (&self.device(), self.dtype())).reshape(shape).expand(self.dims());
        self.min_pair(limit.clone()).max_pair(-limit)
    }

    fn magnitude_quantile(&self, q: f64) -> Vec<f64> {
        let rows = self.dims()[0];
        let width: usize = self.dims()[1..].iter().product();
        // A device read, once an evaluation: NaN where it fails, which the sampler reports.
        match self.clone().detach().abs().try_into_vec_as::<f64>() {
            Ok(values) if width > 0 => values.chunks(width).map(|row| quantile(row.to_vec(), q)).collect(),
            _ => vec![f64::NAN; rows],
        }
    }
}

/// NaN stays NaN.
fn cut(x: f64, limit: f64) -> f64 {
    if x > limit {
        limit
    } else if x < -limit {
        -limit
    } else {
        x
    }
}

fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return 0.0 };
    let place = q * last as f64;
    // A quantile lies between two indices, which are small numbers.
    let low = place.floor() as usize;
    let (a, b) = (values[low.min(last)], values[(low + 1).min(last)]);
    a + (place - place.floor()) * (b - a)
}

/// How predicted data are kept in the range of the data, [-1, 1].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholding {
    quantile: Option<f64>,
    most: f64,
}

impl Thresholding {
    /// Cut to `[-1, 1]`: `clip_sample` of DDPM.
    #[must_use]
    pub fn fixed() -> Self {
        Self { quantile: None, most: 1.0 }
    }

    /// Cut each row to `[-s, s]` and divide by s, with s the quantile (0.995) of its magnitudes, but in `[1, most]`.
    ///
    /// Saharia et al., 2022, "Photorealistic Text-to-Image Diffusion Models" (Imagen), section 2.3. For models of
    /// pixels, not of latents.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `0 <= quantile <= 1` and `most >= 1`.
    pub fn dynamic(quantile: f64, most: f64) -> Result<Self, DiffusionError> {
        check((0.0..=1.0).contains(&quantile), "quantile", quantile, "it must be in [0, 1]")?;
        check(most >= 1.0, "most", most, "it must be at least 1, the range of the data")?;
        Ok(Self { quantile: Some(quantile), most })
    }

    /// The predicted data in range.
    #[must_use]
    pub fn apply<X: Clip>(&self, data: X) -> X {
        match self.quantile {
            None => {
                let limits = vec![1.0; data.rows()];
                data.clip(&limits)
            }
            Some(q) => {
                let limits: Vec<f64> =
                    data.magnitude_quantile(q).into_iter().map(|s| s.max(1.0).min(self.most)).collect();
                let inverse: Vec<f64> = limits.iter().map(|s| 1.0 / s).collect();
                data.clip(&limits).combine_rows(&inverse, &[])
            }
        }
    }
}

/// A model whose predicted data are kept in range; noise and velocity are read off those.
#[derive(Debug, Clone)]
pub struct Thresholded<M> {
    model: M,
    thresholding: Thresholding,
}

impl<M> Thresholded<M> {
    /// A model (such as a [`Predictor`](advect_paths::Predictor)) and the rule.
    #[must_use]
    pub fn new(model: M, thresholding: Thresholding) -> Self {
        Self { model, thresholding }
    }
}

impl<X: Clip, M: Denoiser<X>> Denoiser<X> for Thresholded<M> {
    fn schedule(&self) -> &dyn Schedule {
        self.model.schedule()
    }

    fn source(&self) -> SourceLaw {
        self.model.source()
    }

    fn conversion(&self, want: Prediction, t: f64) -> Result<(f64, f64), DiffusionError> {
        // That the data can be read off the model is asked first: `output` cannot fail.
        self.model.conversion(Prediction::Data, t)?;
        self.model.source().permits(Prediction::Data, want)?;
        Ok(advect_paths::convert(self.model.schedule(), t, Prediction::Data, want)?)
    }

    fn output(&self, x: X, t: f64) -> X {
        let (on_x, on_output) = self.model.conversion(Prediction::Data, t).unwrap_or((f64::NAN, f64::NAN));
        let output = self.model.output(x.clone(), t);
        self.thresholding.apply(x.combine(on_x, &[(on_output, &output)]))
    }
}
