//! Scaled dot-product attention.
use burn::tensor::{Tensor, activation::softmax};

/// Attention: `softmax(q k^T / sqrt(size)) v`, for each head of each batch entry (Vaswani et al. 2017, equation 1).
///
/// # Shapes
///
/// - `q`: `[batch, heads, queries, size]`
/// - `k`: `[batch, heads, keys, size]`
/// - `v`: `[batch, heads, keys, width]`
/// - output: `[batch, heads, queries, width]`
pub fn attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = 1.0 / (q.dims()[3] as f64).sqrt();
    softmax((q * scale).matmul(k.swap_dims(2, 3)), 3).matmul(v)
}
