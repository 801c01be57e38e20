use crate::State;
use burn::tensor::Tensor;

/// A state whose elements can be multiplied one by one: what noise that depends on the state needs.
///
/// # Shapes
/// - both factors and the product are equal in shape
pub trait Elementwise: State {
    /// The products of the elements of two states of one shape.
    #[must_use]
    fn times(self, other: &Self) -> Self;
}

impl Elementwise for f64 {
    fn times(self, other: &Self) -> Self {
        self * other
    }
}

impl<const N: usize> Elementwise for [f64; N] {
    fn times(mut self, other: &Self) -> Self {
        self.iter_mut().zip(other).for_each(|(a, b)| *a *= b);
        self
    }
}

impl<X: Elementwise> Elementwise for Vec<X> {
    fn times(self, other: &Self) -> Self {
        self.into_iter().zip(other).map(|(a, b)| a.times(b)).collect()
    }
}

impl<const D: usize> Elementwise for Tensor<D> {
    fn times(self, other: &Self) -> Self {
        self * other.clone()
    }
}

impl<A: Elementwise, B: Elementwise> Elementwise for (A, B) {
    fn times(self, other: &Self) -> Self {
        (self.0.times(&other.0), self.1.times(&other.1))
    }
}
