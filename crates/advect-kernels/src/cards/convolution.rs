//! Convolutions: by a kernel of ours where it takes them, otherwise Burn's.
use super::*;
use crate::kernels::ConvSteps;

fn pays(x: &Shape, weight: &Shape, given: &FloatTensor<Cube>, steps: ConvSteps) -> bool {
    hopper::takes_convolution(x, weight, given.dtype(), steps) && hopper::runs(&given.device())
}

pub(crate) fn convolution(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    bias: FloatTensor<Cube>,
    steps: ConvSteps,
) -> FloatTensor<Cube> {
    let alike = x.dtype() == weight.dtype() && x.dtype() == bias.dtype();
    if alike && takes([&x, &weight, &bias]) && pays(&x.shape(), &weight.shape(), &x, steps) {
        return Cube::card_convolution(x, weight, bias, steps);
    }
    composed::conv2d::<Cube>(x, weight, bias, steps)
}

pub(crate) fn convolution_input_gradient(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    steps: ConvSteps,
) -> FloatTensor<Cube> {
    let alike = weight.dtype() == gradient.dtype();
    if alike && takes([&x, &weight, &gradient]) && pays(&x.shape(), &weight.shape(), &gradient, steps) {
        return Cube::card_convolution_images(weight, gradient, steps, x.shape().dims());
    }
    composed::conv2d_input_gradient::<Cube>(x, weight, gradient, steps)
}

pub(crate) fn convolution_weight_gradient(
    x: FloatTensor<Cube>,
    weight: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    steps: ConvSteps,
) -> FloatTensor<Cube> {
    let alike = x.dtype() == gradient.dtype();
    if alike && takes([&x, &weight, &gradient]) && pays(&x.shape(), &weight.shape(), &x, steps) {
        return Cube::card_convolution_kernel(x, gradient, steps, weight.shape().dims());
    }
    composed::conv2d_weight_gradient::<Cube>(x, weight, gradient, steps)
}

/// The shape of a convolution's output.
#[cfg_attr(not(feature = "fusion"), allow(dead_code))]
pub(super) fn out(x: &Shape, weight: &Shape, steps: ConvSteps) -> Shape {
    let side = |i: usize| (x[i] + 2 * steps.padding[i - 2] - weight[i]) / steps.stride[i - 2] + 1;
    Shape::new([x[0], weight[0], side(2), side(3)])
}
