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
    let alike = x.dtype() == weight.dtype() && x.dtype() == bias.dtype();
    if !alike || !takes([&x, &weight, &bias]) || !pays(&x, &weight, Turned::Neither) {
        return composed::linear::<Cube>(x, weight, bias, function);
    }
    let x = match function {
        Some(function) => composed::activation::<Cube>(x, function),
        None => x,
    };
    Cube::card_linear(x, weight, bias)
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
    let d_weight = if wanted.weight {
        let y = match function {
            Some(function) => composed::activation::<Cube>(x.clone(), function),
            None => x.clone(),
        };
        Cube::card_product(y, gradient.clone(), Turned::Left)
    } else {
        unwanted()
    };
    let d_bias = if wanted.bias { row_sum(gradient.clone()) } else { unwanted() };
    let dx = if wanted.x {
        let dy = Cube::card_product(gradient, weight, Turned::Right);
        match function {
            Some(function) => composed::activation_backward::<Cube>(x, dy, function),
            None => dy,
        }
    } else {
        unwanted()
    };
    (dx, d_weight, d_bias)
}
