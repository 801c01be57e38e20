//! Activation functions.
use crate::kernels::{Activation, Kernels};
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// SiLU (also called swish): `x * sigmoid(x)` for each element.
///
/// On Flex in `f32` the exponential is a polynomial accurate to an ulp, in vectors; a tensor that nobody else holds is
/// overwritten. The backward pass keeps the input only and computes `s (1 + x (1 - s))` from it, with `s = sigmoid(x)`.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Silu)
}

/// GELU (Hendrycks and Gimpel 2016), exact: `x * P(N <= x)` for a standard normal N, by the error function.
///
/// On Flex in `f32` the probability is good to 1e-6 of its value for |x| < 5, and to 1e-5 of it further out, where `1 +
/// erf` has lost its digits.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Gelu)
}

/// GELU in its tanh form: `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016, section 2),
/// which DiT, SiT and Stable Diffusion 3 use.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::GeluTanh)
}

/// The sigmoid `1 / (1 + exp(-x))` of each element.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn sigmoid<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Sigmoid)
}

/// The hyperbolic tangent of each element.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Tanh)
}

/// Softplus, `log(1 + exp(x))`, of each element; it overflows nowhere.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn softplus<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Softplus)
}

/// The exponential of each element.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn exp<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Exp)
}

/// Softmax: exponentials divided by their sum along the axis `dim`. The largest element is subtracted first, so that
/// none overflows.
///
/// On Flex in `f32` it is fastest along the last axis. The backward pass keeps the output only.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
///
/// # Panics
///
/// If `x` has no axis `dim`.
pub fn softmax<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    assert!(dim < D, "a tensor of {D} axes has no axis {dim}");
    let x = x.swap_dims(dim, D - 1).into_dispatch();
    let y = if route::listed(&x) { <Dispatch as Kernels>::row_softmax(x) } else { composed::softmax::<Dispatch>(x) };
    Tensor::from_dispatch(y).swap_dims(dim, D - 1)
}

pub(crate) fn run<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::activation(x, function)
    } else {
        composed::activation::<Dispatch>(x, function)
    })
}
