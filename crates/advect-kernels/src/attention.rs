//! Scaled dot-product attention.
use crate::kernels::Kernels;
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Attention: `softmax(q k^T / sqrt(size)) v`, for each head of each batch entry (Vaswani et al. 2017, equation 1).
///
/// On Flex in `f32` a few queries at a time meet all keys of their head, forward and backward, so that memory grows with the number of tokens and not
/// with its square; the backward pass keeps the inputs only. The inputs may be views whose tokens lie apart, as after a reshape to heads and `swap_dims`,
/// and the output lies in memory as `[batch, queries, heads, width]`, so that joining the heads again copies nothing.
///
/// # Shapes
///
/// - `q`: `[batch, heads, queries, size]`
/// - `k`: `[batch, heads, keys, size]`
/// - `v`: `[batch, heads, keys, width]`
/// - output: `[batch, heads, queries, width]`
///
/// # Panics
///
/// If the shapes disagree.
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let ([batch, heads, _, size], [_, _, keys, width]) = (q.dims(), v.dims());
    assert!(
        k.dims() == [batch, heads, keys, size] && v.dims() == [batch, heads, keys, width],
        "queries {:?}, keys {:?} and values {:?} do not fit together",
        q.dims(),
        k.dims(),
        v.dims()
    );
    let (q, k, v) = (q.into_dispatch(), k.into_dispatch(), v.into_dispatch());
    Tensor::from_dispatch(if route::listed(&q) {
        <Dispatch as Kernels>::dot_product_attention(q, k, v)
    } else {
        composed::attention::<Dispatch>(q, k, v)
    })
}
