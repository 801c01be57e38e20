//! Scaled dot-product attention.
use crate::kernels::Kernels;
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Attention: `softmax(q k^T / sqrt(size)) v`, for each head of each batch entry (Vaswani et al. 2017, equation 1).
///
/// On Flex in `f32` a few queries at a time meet all keys of their head, forward and backward, so that memory grows
/// with the number of tokens and not with its square; the backward pass keeps the inputs only. The inputs may be views
/// whose tokens lie apart, as after a reshape to heads and `swap_dims`, and the output lies in memory as `[batch,
/// queries, heads, width]`, so that joining the heads again copies nothing.
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

/// [Attention](attention) between the tokens of one sequence, whose queries, keys and values lie side by side as one
/// linear layer makes them.
///
/// The same as cutting `qkv` into parts and heads, and joining the heads of the output again; but the gradient of `qkv`
/// is written once, where those of three slices would each be as large as `qkv`, and added.
///
/// # Shapes
///
/// - `qkv`: `[batch, tokens, 3 * heads * size]`: queries, keys, values, each ordered by head
/// - output: `[batch, tokens, heads * size]`, ordered by head
///
/// # Panics
///
/// If `3 * heads` does not divide the features of `qkv`.
pub fn self_attention(qkv: Tensor<3>, heads: usize) -> Tensor<3> {
    let features = qkv.dims()[2];
    assert!(heads > 0 && features.is_multiple_of(3 * heads), "{features} features are not 3 x {heads} heads");
    let qkv = qkv.into_dispatch();
    Tensor::from_dispatch(if route::listed(&qkv) {
        <Dispatch as Kernels>::joined_attention(qkv, heads)
    } else {
        composed::self_attention::<Dispatch>(qkv, heads)
    })
}
