//! The SiLU activation.
use crate::{composed, kernels::Kernels, route};
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
    let x = x.into_dispatch();
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::silu(x)
    } else {
        composed::silu::<Dispatch>(x)
    })
}
