use crate::error::{GuidanceError, checked};
use crate::products::flat;
use advect_core::{Field, RowField, State, Times};
use burn::tensor::Tensor;

/// Dynamic thresholding of a data prediction: rows that leave the range of the data are clipped and shrunk.
///
/// Saharia et al., 2022, "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding" (Imagen),
/// section 2.3: with s the `quantile` of the absolute elements of a row, but at least `bound`, the row is clipped to
/// [-s, s] and multiplied by `bound / s`. For guided pixels in [-bound, bound] at large weights; not for latents, which
/// have no range. Over a data prediction only: wrap the field in a `Predictor` to have a velocity of it again.
///
/// Evaluations: one.
#[derive(Debug, Clone)]
pub struct DynamicThreshold<F> {
    denoiser: F,
    quantile: f64,
    bound: f64,
}

impl<F> DynamicThreshold<F> {
    /// The usual quantile is 0.995, the usual bound 1.
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] if `quantile` is not in [0, 1] or `bound` is not positive and finite.
    pub fn new(denoiser: F, quantile: f64, bound: f64) -> Result<Self, GuidanceError> {
        let share = (0.0..=1.0).contains(&quantile);
        let quantile = checked("quantile", quantile, "a share in [0, 1], such as 0.995", share)?;
        let bound = checked("bound", bound, "a positive number, such as 1", bound > 0.0 && bound.is_finite())?;
        Ok(Self { denoiser, quantile, bound })
    }
}

impl<X: Threshold, F: Field<X>> Field<X> for DynamicThreshold<F> {
    fn eval(&self, x: X, t: &Times) -> X {
        self.denoiser.eval(x, t).threshold(self.quantile, self.bound)
    }
}

impl<X: Threshold, F: RowField<X>> RowField<X> for DynamicThreshold<F> {
    fn select(&self, rows: &[usize]) -> Self {
        Self { denoiser: self.denoiser.select(rows), ..*self }
    }
}

/// A state whose rows can be clipped by a quantile of their own: see [`DynamicThreshold`].
pub trait Threshold: State {
    /// Clips each row to [-s, s] and multiplies it by `bound / s`, where s is the `quantile` of its absolute elements
    /// (linear between neighbours), but at least `bound`.
    #[must_use]
    fn threshold(self, quantile: f64, bound: f64) -> Self;
}

/// The two neighbours of a quantile of n sorted numbers and the share of the second.
fn neighbours(quantile: f64, n: usize) -> (usize, usize, f64) {
    let last = n.saturating_sub(1);
    let place = quantile * last as f64;
    let low = (place.floor() as usize).min(last);
    (low, (low + 1).min(last), place - low as f64)
}

impl Threshold for f64 {
    fn threshold(self, quantile: f64, bound: f64) -> Self {
        let [x] = [self].threshold(quantile, bound);
        x
    }
}

impl<const N: usize> Threshold for [f64; N] {
    fn threshold(self, quantile: f64, bound: f64) -> Self {
        if N == 0 {
            return self;
        }
        let mut size = self.map(f64::abs);
        size.sort_by(f64::total_cmp);
        let (low, high, share) = neighbours(quantile, N);
        let s = (size[low] + share * (size[high] - size[low])).max(bound);
        self.map(|x| x.clamp(-s, s) * (bound / s))
    }
}

impl<X: Threshold> Threshold for Vec<X> {
    fn threshold(self, quantile: f64, bound: f64) -> Self {
        self.into_iter().map(|row| row.threshold(quantile, bound)).collect()
    }
}

/// Sorts each row, which some backends do on the host: a device read there.
///
/// # Shapes
/// - `[batch, ...]`
impl<const D: usize> Threshold for Tensor<D> {
    fn threshold(self, quantile: f64, bound: f64) -> Self {
        let (dims, [rows, width]) = (self.dims(), flat(&self));
        if rows * width == 0 {
            return self;
        }
        let x = self.reshape([rows, width]);
        let size = x.clone().abs().sort(1);
        let (low, high, share) = neighbours(quantile, width);
        let (low, high) = (size.clone().narrow(1, low, 1), size.narrow(1, high, 1));
        let s = (low.clone() + (high - low) * share).clamp_min(bound);
        let clipped = x.min_pair(s.clone()).max_pair(s.clone().neg());
        (clipped * (s.recip() * bound)).reshape(dims)
    }
}
