//! The linear layer.
use crate::kernels::Kernels;
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// A linear layer: `x weight + bias` for each row of the last axis.
///
/// On Flex in `f32` the product is added to the bias where it is written; Burn's own product zeroes its output first, copies that, and the bias is another
/// pass. The backward pass keeps the input and the weight, and copies no transpose.
///
/// # Shapes
///
/// - `x`: `[.., from]`
/// - `weight`: `[from, to]`, as in Burn's `Linear`
/// - `bias`: `[to]`
/// - output: `[.., to]`
///
/// # Panics
///
/// If the shapes disagree.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let (shape, [from, to]) = (x.dims(), weight.dims());
    let rows: usize = shape[..D - 1].iter().product();
    assert!(shape[D - 1] == from, "rows of {} features do not fit a weight of {from} x {to}", shape[D - 1]);
    let bias = bias.unwrap_or_else(|| Tensor::zeros([to], (&x.device(), x.dtype())));
    assert!(bias.dims() == [to], "a bias of {:?} does not fit a weight of {from} x {to}", bias.dims());
    let (x, weight, bias) = (x.reshape([rows, from]).into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    let y = Tensor::<2>::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::linear_layer(x, weight, bias)
    } else {
        composed::linear::<Dispatch>(x, weight, bias)
    });
    let mut out = shape;
    out[D - 1] = to;
    y.reshape(out)
}
