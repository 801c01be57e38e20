//! Activation functions.
use crate::kernels::{Activation, Kernels};
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// SiLU (also called swish): `x * sigmoid(x)` for each element.
///
/// On Flex in `f32` the exponential is a polynomial accurate to an ulp, in vectors; a tensor that nobody else holds is overwritten. The backward pass
/// keeps the input only and computes `s (1 + x (1 - s))` from it, with `s = sigmoid(x)`.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Silu)
}

/// GELU (Hendrycks and Gimpel 2016), exact: `x * P(N <= x)` for a standard normal N, by the error function.
///
/// On Flex in `f32` the probability is good to 1e-6 of its value for |x| < 5, and to 1e-5 of it further out, where `1 + erf` has lost its digits.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::Gelu)
}

/// GELU in its tanh form: `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016, section 2), which DiT, SiT and
/// Stable Diffusion 3 use.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    run(x, Activation::GeluTanh)
}

fn run<const D: usize>(x: Tensor<D>, function: Activation) -> Tensor<D> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::activation(x, function)
    } else {
        composed::activation::<Dispatch>(x, function)
    })
}
