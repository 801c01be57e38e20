//! The operators made of Burn's: the bodies of every backend without a faster one, and of tensor types without a faster one.
//!
//! Half-precision tensors are computed in f32 where sums or exponentials would lose digits, and come back in their own type.
use crate::kernels::{ConvSteps, NormOptions};
use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::{DType, FloatDType, Shape, ops::ConvOptions};

/// `x / (1 + exp(-x))`, and not Burn's sigmoid, which passes through f32 even for f64.
pub(crate) fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = widen::<B>(x);
    let y = B::float_div(x.clone(), one_plus_exp_minus::<B>(x));
    narrow::<B>(y, dtype)
}

pub(crate) fn silu_backward<B: Backend>(x: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = x.dtype();
    let d = silu_derivative::<B>(widen::<B>(x));
    narrow::<B>(B::float_mul(d, widen::<B>(gradient)), dtype)
}

pub(crate) fn group_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    options: NormOptions,
) -> FloatTensor<B> {
    let (dtype, shape) = (x.dtype(), x.shape());
    if shape.num_elements() == 0 {
        // Nothing to normalise, but autodiff must still find its way to the parameters.
        return affine::<B>(x, gamma, beta, &shape);
    }
    let (h, _) = normalise::<B>(widen::<B>(x), options);
    let z = affine::<B>(h, widen::<B>(gamma), widen::<B>(beta), &shape);
    narrow::<B>(if options.silu { silu::<B>(z) } else { z }, dtype)
}

/// With h the normalised input, z = gamma h + beta and g = dL/dz: dgamma = sum g h, dbeta = sum g,
/// dx = (gamma g - mean(gamma g) - h mean(gamma g h)) / sd, the means over a group.
pub(crate) fn group_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: NormOptions,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (dtype, shape) = (x.dtype(), x.shape());
    if shape.num_elements() == 0 {
        let zeros = || B::float_zeros(gamma.shape(), &gamma.device(), FloatDType::from(dtype));
        return (x, zeros(), zeros());
    }
    let channels = gamma.shape();
    let (h, rstd) = normalise::<B>(widen::<B>(x), options);
    let (gamma, mut g) = (widen::<B>(gamma), widen::<B>(gradient));
    if options.silu {
        let z = affine::<B>(h.clone(), gamma.clone(), widen::<B>(beta), &shape);
        g = B::float_mul(g, silu_derivative::<B>(z));
    }
    let over_images = |t: FloatTensor<B>| {
        B::float_reshape(B::float_sum_dim(B::float_sum_dim(B::float_sum_dim(t, 3), 2), 0), channels.clone())
    };
    let d_gamma = over_images(B::float_mul(g.clone(), h.clone()));
    let d_beta = over_images(g.clone());
    let gamma = B::float_reshape(gamma, Shape::new([1, shape[1], 1, 1]));
    let by_group = grouped(&shape, options.groups);
    let g = B::float_reshape(B::float_mul(g, gamma), by_group.clone());
    let h = B::float_reshape(h, by_group);
    let mean_gh = B::float_mean_dim(B::float_mul(g.clone(), h.clone()), 2);
    let centred = B::float_sub(g.clone(), B::float_mean_dim(g, 2));
    let dx = B::float_mul(B::float_sub(centred, B::float_mul(h, mean_gh)), rstd);
    (narrow::<B>(B::float_reshape(dx, shape), dtype), narrow::<B>(d_gamma, dtype), narrow::<B>(d_beta, dtype))
}

pub(crate) fn conv2d<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    steps: ConvSteps,
) -> FloatTensor<B> {
    if x.shape()[0] == 0 {
        let (image, kernel) = (x.shape(), weight.shape());
        let side =
            |i: usize| (image[i] + 2 * steps.padding[i - 2]).saturating_sub(kernel[i]) / steps.stride[i - 2].max(1) + 1;
        let shape = Shape::new([0, kernel[0], side(2), side(3)]);
        let empty = B::float_zeros(shape, &x.device(), FloatDType::from(x.dtype()));
        // Autodiff must still find its way to the parameters.
        let weight = B::float_reshape(B::float_sum(weight), Shape::new([1, 1, 1, 1]));
        return B::float_add(B::float_add(empty, weight), B::float_reshape(bias, Shape::new([1, kernel[0], 1, 1])));
    }
    B::conv2d(x, weight, Some(bias), options(steps))
}

pub(crate) fn conv2d_input_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    steps: ConvSteps,
) -> FloatTensor<B> {
    if x.shape()[0] == 0 {
        return x;
    }
    B::conv2d_x_backward(x, weight, gradient, options(steps))
}

pub(crate) fn conv2d_weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    steps: ConvSteps,
) -> FloatTensor<B> {
    if x.shape()[0] == 0 {
        return B::float_zeros(weight.shape(), &weight.device(), FloatDType::from(weight.dtype()));
    }
    B::conv2d_weight_backward(x, weight, gradient, options(steps))
}

pub(crate) fn conv2d_bias_gradient<B: Backend>(gradient: FloatTensor<B>) -> FloatTensor<B> {
    let channels = Shape::new([gradient.shape()[1]]);
    if gradient.shape()[0] == 0 {
        return B::float_zeros(channels, &gradient.device(), FloatDType::from(gradient.dtype()));
    }
    B::float_reshape(B::float_sum_dim(B::float_sum_dim(B::float_sum_dim(gradient, 3), 2), 0), channels)
}

fn options(steps: ConvSteps) -> ConvOptions<2> {
    ConvOptions::new(steps.stride, steps.padding, [1, 1], 1)
}

fn one_plus_exp_minus<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add_scalar(B::float_exp(B::float_neg(x)), 1.0.into())
}

/// `s (1 + x (1 - s))` with `s = sigmoid(x)`.
fn silu_derivative<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let s = B::float_recip(one_plus_exp_minus::<B>(x.clone()));
    let rest = B::float_add_scalar(B::float_neg(s.clone()), 1.0.into());
    B::float_mul(s, B::float_add_scalar(B::float_mul(x, rest), 1.0.into()))
}

/// Images, groups, and what a group holds.
fn grouped(shape: &Shape, groups: usize) -> Shape {
    Shape::new([shape[0], groups, shape[1] / groups * shape[2] * shape[3]])
}

/// The normalised input, in its own shape, and one over the standard deviation, `[batch, groups, 1]`.
fn normalise<B: Backend>(x: FloatTensor<B>, options: NormOptions) -> (FloatTensor<B>, FloatTensor<B>) {
    let shape = x.shape();
    let x = B::float_reshape(x, grouped(&shape, options.groups));
    let x = B::float_sub(x.clone(), B::float_mean_dim(x, 2));
    let variance = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), 2);
    let rstd = B::float_recip(B::float_sqrt(B::float_add_scalar(variance, options.epsilon.into())));
    (B::float_reshape(B::float_mul(x, rstd.clone()), shape), rstd)
}

fn affine<B: Backend>(h: FloatTensor<B>, gamma: FloatTensor<B>, beta: FloatTensor<B>, shape: &Shape) -> FloatTensor<B> {
    let channels = Shape::new([1, shape[1], 1, 1]);
    B::float_add(B::float_mul(h, B::float_reshape(gamma, channels.clone())), B::float_reshape(beta, channels))
}

fn widen<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    if matches!(x.dtype(), DType::F16 | DType::BF16) { B::float_cast(x, FloatDType::F32) } else { x }
}

fn narrow<B: Backend>(x: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if x.dtype() == dtype { x } else { B::float_cast(x, FloatDType::from(dtype)) }
}
