//! The mean squared error.
use crate::kernels::Kernels;
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// The mean of `(x - y)^2` over all elements, with one step on the tape.
///
/// Of no elements it is NaN. In half precision squares and their slopes, 2 over the number of elements, are as large and as small as these numbers allow: widen first.
/// On Flex in `f32` one pass each way; the sum is made in fixed pieces, so that its last bit does not depend on the threads.
///
/// # Shapes
///
/// - `x` and `y`: any shape, the same
/// - output: `[1]`
///
/// # Panics
///
/// If the shapes differ.
pub fn mean_squared_error<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<1> {
    assert!(x.dims() == y.dims(), "there is no error between {:?} and {:?}", x.dims(), y.dims());
    let (x, y) = (x.into_dispatch(), y.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::mean_squared_error(x, y)
    } else {
        composed::mean_squared_error::<Dispatch>(x, y)
    })
}
