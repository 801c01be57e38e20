//! Normalisation over the last axis, and what adaLN does before and after a block.
use crate::kernels::{Kernels, RowOptions};
use crate::{composed, route};
use burn::backend::{Dispatch, DispatchTensor};
use burn::tensor::Tensor;

/// Layer normalisation (Ba et al. 2016): each row of the last axis is shifted and scaled to mean 0 and variance 1 (the
/// biased one, plus `epsilon`), then scaled by `gamma` and shifted by `beta`.
///
/// On Flex in `f32` a row is read from memory once: mean, then squared distances from it, then the output, while it is
/// in the cache. The backward pass keeps the input and `gamma` only.
///
/// # Shapes
///
/// - `x`: `[.., features]`, and so is the output
/// - `gamma`, `beta`: `[features]`
///
/// # Panics
///
/// If `gamma` or `beta` have another length than `features`.
pub fn layer_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, beta: Tensor<1>, epsilon: f64) -> Tensor<D> {
    fits(&x, &gamma, "gamma");
    fits(&x, &beta, "beta");
    let (x, gamma, beta) = (x.into_dispatch(), gamma.into_dispatch(), beta.into_dispatch());
    normalised(x, gamma, beta, RowOptions { epsilon, plus_one: false })
}

/// Root-mean-square normalisation (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + epsilon) * gamma` over the last
/// axis.
///
/// # Shapes
///
/// - `x`: `[.., features]`, and so is the output
/// - `gamma`: `[features]`
///
/// # Panics
///
/// If `gamma` has another length than `features`.
pub fn rms_norm<const D: usize>(x: Tensor<D>, gamma: Tensor<1>, epsilon: f64) -> Tensor<D> {
    fits(&x, &gamma, "gamma");
    let (x, gamma) = (x.into_dispatch(), gamma.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::rms_norm(x, gamma, epsilon)
    } else {
        composed::rms_norm::<Dispatch>(x, gamma, epsilon)
    })
}

/// `x (1 + scale) + shift`, the modulation of adaLN (Peebles and Xie 2023, section 3.2): one shift and scale for all
/// tokens of a batch entry.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, features]`, and so is the output
/// - `shift`, `scale`: `[batch, features]`, or `[1, features]` for the whole batch
///
/// # Panics
///
/// If the shapes disagree.
pub fn modulate(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>) -> Tensor<3> {
    shared(&x, [&shift, &scale], "shift and scale");
    let (x, shift, scale) = (x.into_dispatch(), shift.into_dispatch(), scale.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::modulate(x, shift, scale)
    } else {
        composed::modulate::<Dispatch>(x, shift, scale)
    })
}

/// [Modulation](modulate) of a layer normalisation without parameters of its own, `norm(x) (1 + scale) + shift`, in one
/// pass.
///
/// # Shapes
///
/// - `x`: `[batch, tokens, features]`, and so is the output
/// - `shift`, `scale`: `[batch, features]`, or `[1, features]` for the whole batch
///
/// # Panics
///
/// If the shapes disagree.
pub fn modulated_layer_norm(x: Tensor<3>, shift: Tensor<2>, scale: Tensor<2>, epsilon: f64) -> Tensor<3> {
    shared(&x, [&shift, &scale], "shift and scale");
    let (x, shift, scale) = (x.into_dispatch(), shift.into_dispatch(), scale.into_dispatch());
    normalised(x, scale, shift, RowOptions { epsilon, plus_one: true })
}

/// `x + gate y`, the end of an adaLN block: one gate for all tokens of a batch entry.
///
/// # Shapes
///
/// - `x`, `y`: `[batch, tokens, features]`, and so is the output
/// - `gate`: `[batch, features]`, or `[1, features]` for the whole batch
///
/// # Panics
///
/// If the shapes disagree.
pub fn gated_residual(x: Tensor<3>, gate: Tensor<2>, y: Tensor<3>) -> Tensor<3> {
    shared(&x, [&gate], "a gate");
    assert!(x.dims() == y.dims(), "tokens {:?} and {:?} cannot be added", x.dims(), y.dims());
    let (x, gate, y) = (x.into_dispatch(), gate.into_dispatch(), y.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::gated_residual(x, gate, y)
    } else {
        composed::gated_residual::<Dispatch>(x, gate, y)
    })
}

fn normalised<const D: usize>(
    x: DispatchTensor,
    scale: DispatchTensor,
    shift: DispatchTensor,
    options: RowOptions,
) -> Tensor<D> {
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::row_norm(x, scale, shift, options)
    } else {
        composed::layer_norm::<Dispatch>(x, scale, shift, options)
    })
}

fn fits<const D: usize>(x: &Tensor<D>, parameter: &Tensor<1>, name: &str) {
    let features = x.dims()[D - 1];
    assert!(parameter.dims() == [features], "{name} {:?} does not fit {features} features", parameter.dims());
}

fn shared<const N: usize>(x: &Tensor<3>, parameters: [&Tensor<2>; N], name: &str) {
    let [batch, _, features] = x.dims();
    let [rows, _] = parameters[0].dims();
    assert!(
        (rows == batch || rows == 1) && parameters.iter().all(|p| p.dims() == [rows, features]),
        "{name} {:?} do not fit tokens {:?}",
        parameters.map(|p| p.dims()),
        x.dims()
    );
}
