use crate::error::{GuidanceError, checked};
use advect_core::{Batched, State};
use advect_kernels::row_major;
use advect_paths::Schedule;
use burn::tensor::Tensor;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;

/// What of the data was seen: a linear map A of each row whose rows are orthogonal and of equal length.
///
/// That is, `A A^T = gram * I` on the range of A, so that `A^T / gram` is its pseudo-inverse. Masks, averages over
/// blocks, subsampled orthogonal transforms are of this kind.
pub trait LinearOperator<X> {
    /// `A x`.
    fn apply(&self, x: X) -> X;

    /// `A^T y`.
    fn adjoint(&self, y: X) -> X;

    /// The number `A A^T` multiplies by.
    fn gram(&self) -> f64;
}

/// Inpainting: elements where the mask is 1 are seen, those where it is 0 are not (and read 0).
///
/// # Shapes
/// - `mask`: `[1, ...]` for all rows, in the rest that of the data or 1
#[derive(Debug, Clone)]
pub struct Inpainting<const D: usize> {
    mask: Tensor<D>,
}

impl<const D: usize> Inpainting<D> {
    /// A mask of zeros and ones.
    pub fn new(mask: Tensor<D>) -> Self {
        Self { mask }
    }
}

impl<const D: usize> LinearOperator<Tensor<D>> for Inpainting<D> {
    fn apply(&self, x: Tensor<D>) -> Tensor<D> {
        x * self.mask.clone()
    }

    fn adjoint(&self, y: Tensor<D>) -> Tensor<D> {
        y * self.mask.clone()
    }

    fn gram(&self) -> f64 {
        1.0
    }
}

/// Super-resolution: averages over blocks of `factor` by `factor` pixels are seen.
///
/// # Shapes
/// - data: `[batch, channels, height, width]`, sides multiples of `factor`; seen: sides divided by it
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AveragePool {
    factor: usize,
}

impl AveragePool {
    /// Blocks of `factor` by `factor` pixels.
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] if `factor` is 0.
    pub fn new(factor: usize) -> Result<Self, GuidanceError> {
        checked("factor", factor as f64, "the side of a block, at least 1", factor > 0)?;
        Ok(Self { factor })
    }
}

/// # Panics
/// `apply` panics (Burn's reshape) if a side is no multiple of the factor.
impl LinearOperator<Tensor<4>> for AveragePool {
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let side = [self.factor, self.factor];
        row_major(avg_pool2d(row_major(x), AvgPoolOptions::new(side).with_stride(side)))
    }

    fn adjoint(&self, y: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = y.dims();
        let f = self.factor;
        let blocks: Tensor<6> = (y * self.gram()).reshape([batch, channels, height, 1, width, 1]);
        blocks.repeat_dim(3, f).repeat_dim(5, f).reshape([batch, channels, height * f, width * f])
    }

    fn gram(&self) -> f64 {
        1.0 / (self.factor * self.factor) as f64
    }
}

/// A measurement `y = A x_1 + noise` of the data, with Gaussian noise.
#[derive(Debug, Clone)]
pub struct Measurement<A, X> {
    pub(crate) operator: A,
    pub(crate) seen: X,
    pub(crate) noise: f64,
}

impl<A, X> Measurement<A, X> {
    /// What was seen through `operator`, with noise of standard deviation `noise` on each element (0 for none).
    ///
    /// # Shapes
    /// - `seen`: that of `operator.apply(data)`, or (tensors) one row for all
    ///
    /// # Errors
    /// [`GuidanceError::Parameter`] if `noise` is negative or not finite.
    pub fn new(operator: A, seen: X, noise: f64) -> Result<Self, GuidanceError> {
        let range = "a standard deviation of at least 0";
        let noise = checked("noise", noise, range, noise >= 0.0 && noise.is_finite())?;
        Ok(Self { operator, seen, noise })
    }

    /// The variance of `y - A E[x_1 | x_t]` if x_1 has the standard deviation `spread` about its expectation.
    pub(crate) fn variance(&self, spread: f64) -> f64
    where
        A: LinearOperator<X>,
    {
        spread * spread * self.operator.gram() + self.noise * self.noise
    }

    /// `y - A x`.
    pub(crate) fn residual(&self, x: X) -> X
    where
        X: State,
        A: LinearOperator<X>,
    {
        self.operator.apply(x).combine(-1.0, &[(1.0, &self.seen)])
    }

    /// The measurements of the chosen rows.
    pub(crate) fn select(&self, rows: &[usize]) -> Self
    where
        X: Batched,
        A: Clone,
    {
        // One row that was seen stands for all.
        let seen = if self.seen.rows() == 1 { self.seen.gather(&vec![0; rows.len()]) } else { self.seen.gather(rows) };
        Self { operator: self.operator.clone(), seen, noise: self.noise }
    }
}

/// The spread of the data about their expectation given x_t if they have the variance 1: `sigma / sqrt(alpha^2 +
/// sigma^2)`.
///
/// Song et al., 2023, "Pseudoinverse-Guided Diffusion Models for Inverse Problems", section 3.3.
pub fn unit_spread<S: Schedule + Clone>(schedule: S) -> impl Fn(f64) -> f64 + Clone {
    move |t| {
        let c = schedule.at(t);
        c.sigma / c.alpha.hypot(c.sigma)
    }
}
