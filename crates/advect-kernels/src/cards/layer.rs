//! Linear layers and products: by a kernel of ours where it takes them, otherwise Burn's.
use super::*;
use crate::kernels::{Activation, Wanted};

/// The products of the matrices of two tensors.
pub(super) fn product(a: FloatTensor<Cube>, b: FloatTensor<Cube>, turned: Turned) -> FloatTensor<Cube> {
    if takes([&a, &b]) && a.dtype() == b.dtype() && pays(&a, &b, turned) {
        return Cube::card_product(a, b, turned);
    }
    let swapped = |x: FloatTensor<Cube>| {
        let last = x.shape().num_dims() - 1;
        Cube::float_swap_dims(x, last - 1, last)
    };
    match turned {
        Turned::Neither => Cube::float_matmul(a, b),
        Turned::Left => Cube::float_matmul(swapped(a), b),
        Turned::Right => Cube::float_matmul(a, swapped(b)),
    }
}

fn pays(a: &FloatTensor<Cube>, b: &FloatTensor<Cube>, turned: Turned) -> bool {
    hopper::takes_product(&a.shape(), &b.shape(), a.dtype(), turned) && hopper::runs(&a.device())
}

/// A linear layer: its product with the bias in it where the kernel takes it.
pub(crate) fn linear(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    bias: FloatTensor<Cube>,
    function: Option<Activation>,
) -> FloatTensor<Cube> {
    if !layer_pays(&x, &weight, &bias) {
        return composed::linear::<Cube>(x, weight, bias, function);
    }
    let x = match function {
        Some(function) => composed::activation::<Cube>(x, function),
        None => x,
    };
    Cube::card_linear(x, weight, bias)
}

/// `f(x weight + bias)`, with f where the product is written if the kernel takes it.
pub(crate) fn activated_linear(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    bias: FloatTensor<Cube>,
    function: Activation,
) -> FloatTensor<Cube> {
    if takes_gelu(&x, &weight, &bias, function) {
        return Cube::card_gelu(x, weight, bias);
    }
    composed::activation::<Cube>(linear(x, weight, bias, None), function)
}

/// The same, and what f takes.
pub(crate) fn activated_linear_kept(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    bias: FloatTensor<Cube>,
    function: Activation,
) -> (FloatTensor<Cube>, FloatTensor<Cube>) {
    if takes_gelu(&x, &weight, &bias, function) {
        return Cube::card_gelu_kept(x, weight, bias);
    }
    let y = linear(x, weight, bias, None);
    (composed::activation::<Cube>(y.clone(), function), y)
}

fn takes_gelu(
    x: &FloatTensor<Cube>,
    weight: &FloatTensor<Cube>,
    bias: &FloatTensor<Cube>,
    function: Activation,
) -> bool {
    matches!(function, Activation::GeluTanh) && layer_pays(x, weight, bias)
}

fn layer_pays(x: &FloatTensor<Cube>, weight: &FloatTensor<Cube>, bias: &FloatTensor<Cube>) -> bool {
    let alike = x.dtype() == weight.dtype() && x.dtype() == bias.dtype();
    alike && takes([x, weight, bias]) && pays(x, weight, Turned::Neither)
}

pub(crate) fn linear_backward(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    function: Option<Activation>,
    wanted: Wanted,
) -> (FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>) {
    let alike = x.dtype() == weight.dtype() && x.dtype() == gradient.dtype();
    let ours = alike
        && takes([&x, &weight, &gradient])
        && pays(&gradient, &weight, Turned::Right)
        && pays(&x, &gradient, Turned::Left);
    if !ours {
        return composed::linear_backward_by::<Cube>(x, weight, gradient, function, wanted, row_sum);
    }
    let unwanted = || gradient.clone();
    // The function and its slope stand side by side, so that fusion makes both in one pass over x.
    let dy = wanted.x.then(|| Cube::card_product(gradient.clone(), weight, Turned::Right));
    let y = wanted.weight.then(|| match function {
        Some(function) => composed::activation::<Cube>(x.clone(), function),
        None => x.clone(),
    });
    let dx = match (dy, function) {
        (Some(dy), Some(function)) => composed::activation_backward::<Cube>(x, dy, function),
        (Some(dy), None) => dy,
        (None, _) => unwanted(),
    };
    let d_weight = y.map_or_else(unwanted, |y| Cube::card_product(y, gradient.clone(), Turned::Left));
    let d_bias = if wanted.bias { row_sum(gradient.clone()) } else { unwanted() };
    (dx, d_weight, d_bias)
}
