use advect_core::State;
use burn::tensor::{DType, Tensor};

/// One number a row, where the state lives: for tensors on the device, so that guidance reads nothing back.
pub trait Factors: Clone {
    /// `self / by`, and `otherwise` where `by` is 0.
    #[must_use]
    fn ratio(self, by: &Self, otherwise: f64) -> Self;

    /// The square root.
    #[must_use]
    fn sqrt(self) -> Self;

    /// `scale * self + shift`.
    #[must_use]
    fn affine(self, scale: f64, shift: f64) -> Self;

    /// The smaller of each and `bound`; NaN stays NaN.
    #[must_use]
    fn at_most(self, bound: f64) -> Self;
}

/// A state whose rows have inner products: what rules of guidance need beyond linear combinations.
pub trait RowProducts: State {
    /// One number a row.
    type Factors: Factors;

    /// The inner product of each row with that of `other`.
    fn row_dot(&self, other: &Self) -> Self::Factors;

    /// Each row less its mean over the elements: its [`row_dot`](Self::row_dot) with itself is n times the variance.
    #[must_use]
    fn centered(self) -> Self;

    /// Each row times its number.
    #[must_use]
    fn times(self, factors: &Self::Factors) -> Self;
}

impl Factors for f64 {
    fn ratio(self, by: &Self, otherwise: f64) -> Self {
        if *by == 0.0 { otherwise } else { self / by }
    }

    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    fn affine(self, scale: f64, shift: f64) -> Self {
        scale * self + shift
    }

    fn at_most(self, bound: f64) -> Self {
        if self > bound { bound } else { self }
    }
}

impl<F: Factors> Factors for Vec<F> {
    fn ratio(self, by: &Self, otherwise: f64) -> Self {
        self.into_iter().zip(by).map(|(f, by)| f.ratio(by, otherwise)).collect()
    }

    fn sqrt(self) -> Self {
        self.into_iter().map(F::sqrt).collect()
    }

    fn affine(self, scale: f64, shift: f64) -> Self {
        self.into_iter().map(|f| f.affine(scale, shift)).collect()
    }

    fn at_most(self, bound: f64) -> Self {
        self.into_iter().map(|f| f.at_most(bound)).collect()
    }
}

/// # Shapes
/// - `[batch, 1, ...]`
impl<const D: usize> Factors for Tensor<D> {
    fn ratio(self, by: &Self, otherwise: f64) -> Self {
        let zero = by.clone().equal_elem(0.0);
        (self / by.clone().mask_fill(zero.clone(), 1.0)).mask_fill(zero, otherwise)
    }

    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    fn affine(self, scale: f64, shift: f64) -> Self {
        self * scale + shift
    }

    fn at_most(self, bound: f64) -> Self {
        self.clamp_max(bound)
    }
}

impl RowProducts for f64 {
    type Factors = Self;

    fn row_dot(&self, other: &Self) -> Self {
        self * other
    }

    fn centered(self) -> Self {
        0.0
    }

    fn times(self, factors: &Self) -> Self {
        self * factors
    }
}

impl<const N: usize> RowProducts for [f64; N] {
    type Factors = f64;

    fn row_dot(&self, other: &Self) -> f64 {
        self.iter().zip(other).map(|(a, b)| a * b).sum()
    }

    fn centered(self) -> Self {
        let mean = self.iter().sum::<f64>() / N as f64;
        self.map(|x| x - mean)
    }

    fn times(self, factor: &f64) -> Self {
        self.map(|x| x * factor)
    }
}

impl<X: RowProducts> RowProducts for Vec<X> {
    type Factors = Vec<X::Factors>;

    fn row_dot(&self, other: &Self) -> Self::Factors {
        self.iter().zip(other).map(|(a, b)| a.row_dot(b)).collect()
    }

    fn centered(self) -> Self {
        self.into_iter().map(X::centered).collect()
    }

    fn times(self, factors: &Self::Factors) -> Self {
        self.into_iter().zip(factors).map(|(x, f)| x.times(f)).collect()
    }
}

/// # Shapes
/// - state: `[batch, ...]`
/// - factors: `[batch, 1, ...]`, in f32 at least: sums over an image overflow f16 and are too coarse in bf16
impl<const D: usize> RowProducts for Tensor<D> {
    type Factors = Self;

    fn row_dot(&self, other: &Self) -> Self {
        row_sums(wide(self.clone()) * wide(other.clone()))
    }

    fn centered(self) -> Self {
        let (dtype, [rows, width]) = (self.dtype(), flat(&self));
        let wide = wide(self);
        let mean = row_sums(wide.clone()) / if rows == 0 { 1.0 } else { width.max(1) as f64 };
        (wide - mean).cast(dtype)
    }

    fn times(self, factors: &Self) -> Self {
        let dtype = self.dtype();
        self * factors.clone().cast(dtype)
    }
}

fn wide<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

/// Rows, and elements a row.
pub(crate) fn flat<const D: usize>(x: &Tensor<D>) -> [usize; 2] {
    let dims = x.dims();
    [dims[0], dims[1..].iter().product()]
}

/// `[batch, ...]` to `[batch, 1, ...]`.
fn row_sums<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let size = flat(&x);
    let mut shape = [1; D];
    shape[0] = size[0];
    x.reshape(size).sum_dim(1).reshape(shape)
}
