//! The GELU activations.
use burn::tensor::{Tensor, activation};
use std::f64::consts::PI;

/// GELU (Hendrycks and Gimpel 2016), exact: `x * P(N <= x)` for a standard normal N, by the error function.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activation::gelu(x)
}

/// GELU in its tanh form: `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))` (Hendrycks and Gimpel 2016, section 2), which DiT, SiT and
/// Stable Diffusion 3 use.
///
/// # Shapes
///
/// Any shape; the output has the shape of `x`.
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let cube = x.clone() * x.clone() * x.clone();
    let inner = (x.clone() + cube * 0.044_715) * (2.0 / PI).sqrt();
    x * 0.5 * (inner.tanh() + 1.0)
}
