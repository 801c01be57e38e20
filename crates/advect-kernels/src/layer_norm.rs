//! Normalisation over the last axis, and what adaLN does before and after a block.
use burn::tensor::Tensor;

/// Layer normalisation (Ba et al. 2016): each row of the last axis is shifted and scaled to mean 0 and variance 1 (the biased one, plus `epsilon`), then
/// scaled by `gamma` and shifted by `beta`.
///
/// # Shapes
///
/// - `x`: `[.., features]`, and so is the output
/// - `gamma`, `beta`: `[features]`
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    normalized(x, epsilon) * gamma.unsqueeze() + beta.unsqueeze()
}

/// Root-mean-square normalisation (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * gamma` over the last axis.
///
/// # Shapes
///
/// - `x`: `[.., features]`, and so is the output
/// - `gamma`: `[features]`
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (square + epsilon).sqrt() * gamma.unsqueeze()
}

/// `x (1 + scale) + shift`, the modulation of adaLN (Peebles and Xie 2023, section 3.2): one shift and scale for all tokens of a batch entry.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, features]`, and so is the output
/// - `shift`, `scale`: `[batch, features]`
pub fn modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
    x * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1)
}

/// [Modulation](modulate) of a layer normalisation without parameters of its own: `norm(x) (1 + scale) + shift`.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, features]`, and so is the output
/// - `shift`, `scale`: `[batch, features]`
pub fn modulated_layer_norm(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>, epsilon: f64) -> Tensor<3> {
    modulate(normalized(x, epsilon), shift, scale)
}

/// `x + gate y`, the end of an adaLN block: one gate for all tokens of a batch entry.
///
/// # Shapes
///
/// - `x`, `y`: `[batch, tokens, features]`, and so is the output
/// - `gate`: `[batch, features]`
pub fn gated_residual(x: Tensor<3>, gate: Tensor<2>, y: Tensor<3>) -> Tensor<3> {
    x + y * gate.unsqueeze_dim::<3>(1)
}

fn normalized<const D: usize>(x: Tensor<D>, epsilon: f64) -> Tensor<D> {
    let x = x.clone() - x.mean_dim(D - 1);
    let variance = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (variance + epsilon).sqrt()
}
