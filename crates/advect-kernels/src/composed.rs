//! The operators made of Burn's: the bodies of every backend without a faster one, and of tensor types without a faster
//! one.
//!
//! Half-precision tensors are computed in f32 where sums or exponentials would lose digits, and come back in their own
//! type.
//!
//! Longer than other files, so that there is one place that says what each operator computes.
use crate::kernels::{Activation, ConvSteps, NormOptions, RowOptions, Wanted};
use crate::optimizer::AdamW;
use burn::backend::{Backend, TensorMetadata, tensor::FloatTensor};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{DType, FloatDType, Shape, Slice};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

pub(crate) fn activation<B: Backend>(x: FloatTensor<B>, function: Activation) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = widen::<B>(x);
    let y = match function {
        Activation::Silu => silu::<B>(x),
        Activation::Gelu => B::float_mul(x.clone(), normal_below::<B>(x)),
        Activation::GeluTanh => {
            let twice = twice_inner::<B>(x.clone());
            B::float_div(x, one_plus_exp_minus::<B>(twice))
        }
        Activation::Sigmoid => B::float_recip(one_plus_exp_minus::<B>(x)),
        Activation::Tanh => B::float_tanh(x),
        Activation::Softplus => {
            // max(x, 0) = (x + |x|) / 2, and no exponential overflows.
            let size = B::float_abs(x.clone());
            let above = B::float_mul_scalar(B::float_add(x, size.clone()), 0.5.into());
            B::float_add(above, B::float_log1p(B::float_exp(B::float_neg(size))))
        }
        Activation::Exp => B::float_exp(x),
    };
    narrow::<B>(y, dtype)
}

pub(crate) fn activation_backward<B: Backend>(
    x: FloatTensor<B>,
    gradient: FloatTensor<B>,
    function: Activation,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = widen::<B>(x);
    let d = match function {
        Activation::Silu => silu_derivative::<B>(x),
        // P(N <= x) + x p(x), with the density p.
        Activation::Gelu => {
            let half_square = B::float_mul_scalar(B::float_mul(x.clone(), x.clone()), (-0.5).into());
            let density = B::float_mul_scalar(B::float_exp(half_square), (2.0 * PI).sqrt().recip().into());
            B::float_add(normal_below::<B>(x.clone()), B::float_mul(x, density))
        }
        // s + x s (1 - s) 2 u' with s = sigmoid(2 u).
        Activation::GeluTanh => {
            let s = B::float_recip(one_plus_exp_minus::<B>(twice_inner::<B>(x.clone())));
            // Far out s (1 - s) is 0, and x^3 must not overflow before it is multiplied with that.
            let x = B::float_clamp(x, (-20.0).into(), 20.0.into());
            let square = B::float_mul(x.clone(), x.clone());
            let rise = B::float_mul_scalar(square, (3.0 * GELU_CUBIC).into());
            let rise = B::float_mul(x, B::float_add_scalar(rise, 1.0.into()));
            let rise = B::float_mul_scalar(rise, gelu_slope().into());
            let bend = B::float_mul(s.clone(), B::float_add_scalar(B::float_neg(s.clone()), 1.0.into()));
            B::float_add(s, B::float_mul(bend, rise))
        }
        Activation::Sigmoid => bump::<B>(x),
        Activation::Tanh => B::float_mul_scalar(bump::<B>(B::float_mul_scalar(x, 2.0.into())), 4.0.into()),
        Activation::Softplus => B::float_recip(one_plus_exp_minus::<B>(x)),
        Activation::Exp => B::float_exp(x),
    };
    narrow::<B>(B::float_mul(d, widen::<B>(gradient)), dtype)
}

/// The derivative `e / (1 + e)^2` of the sigmoid, with `e = exp(-|x|)`.
fn bump<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let e = B::float_exp(B::float_neg(B::float_abs(x)));
    let below = B::float_add_scalar(e.clone(), 1.0.into());
    B::float_div(e, B::float_mul(below.clone(), below))
}

pub(crate) fn softmax<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let (dtype, last) = (x.dtype(), x.shape().num_dims() - 1);
    if x.shape().num_elements() == 0 {
        return x;
    }
    let x = widen::<B>(x);
    let x = B::float_exp(B::float_sub(x.clone(), B::float_max_dim(x, last)));
    narrow::<B>(B::float_div(x.clone(), B::float_sum_dim(x, last)), dtype)
}

/// `y (g - sum(y g))`, row by row.
pub(crate) fn softmax_backward<B: Backend>(y: FloatTensor<B>, gradient: FloatTensor<B>) -> FloatTensor<B> {
    let (dtype, last) = (y.dtype(), y.shape().num_dims() - 1);
    if y.shape().num_elements() == 0 {
        return y;
    }
    let (y, g) = (widen::<B>(y), widen::<B>(gradient));
    let mean = B::float_sum_dim(B::float_mul(y.clone(), g.clone()), last);
    narrow::<B>(B::float_mul(y, B::float_sub(g, mean)), dtype)
}

const GELU_CUBIC: f64 = 0.044_715;

fn gelu_slope() -> f64 {
    2.0 * (2.0 / PI).sqrt()
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)`.
fn twice_inner<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let square = B::float_mul(x.clone(), x.clone());
    let factor = B::float_add_scalar(B::float_mul_scalar(square, GELU_CUBIC.into()), 1.0.into());
    B::float_mul_scalar(B::float_mul(x, factor), gelu_slope().into())
}

/// `P(N <= x)` for a standard normal N.
fn normal_below<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x, FRAC_1_SQRT_2.into()));
    B::float_mul_scalar(B::float_add_scalar(erf, 1.0.into()), 0.5.into())
}

/// `x / (1 + exp(-x))`, and not Burn's sigmoid, which passes through f32 even for f64.
fn silu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    B::float_div(x.clone(), one_plus_exp_minus::<B>(x))
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
        return affine::<B>(x, gamma, beta);
    }
    let (h, _) = normalise::<B>(widen::<B>(x), options);
    let z = affine::<B>(h, widen::<B>(gamma), widen::<B>(beta));
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
        let z = affine::<B>(h.clone(), gamma.clone(), widen::<B>(beta));
        g = B::float_mul(g, silu_derivative::<B>(z));
    }
    let over_images = |t: FloatTensor<B>| {
        B::float_reshape(B::float_sum_dim(B::float_sum_dim(B::float_sum_dim(t, 3), 2), 0), channels.clone())
    };
    let d_gamma = over_images(B::float_mul(g.clone(), h.clone()));
    let d_beta = over_images(g.clone());
    let dx = grouped_gradient::<B>(B::float_mul(g, by_channel::<B>(gamma)), h, rstd, &shape, options);
    (narrow::<B>(dx, dtype), narrow::<B>(d_gamma, dtype), narrow::<B>(d_beta, dtype))
}

/// The gradient of the input of a group normalisation from `g`, that of the normalised input `h`.
fn grouped_gradient<B: Backend>(
    g: FloatTensor<B>,
    h: FloatTensor<B>,
    rstd: FloatTensor<B>,
    shape: &Shape,
    options: NormOptions,
) -> FloatTensor<B> {
    let by_group = grouped(shape, options.groups);
    let g = B::float_reshape(g, by_group.clone());
    let h = B::float_reshape(h, by_group);
    let mean_gh = B::float_mean_dim(B::float_mul(g.clone(), h.clone()), 2);
    let centred = B::float_sub(g.clone(), B::float_mean_dim(g, 2));
    B::float_reshape(B::float_mul(B::float_sub(centred, B::float_mul(h, mean_gh)), rstd), shape.clone())
}

pub(crate) fn modulated_group_norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    shift: FloatTensor<B>,
    scale: FloatTensor<B>,
    options: NormOptions,
) -> FloatTensor<B> {
    let (dtype, shape) = (x.dtype(), x.shape());
    let [gamma, beta, shift, scale] = [gamma, beta, shift, scale].map(widen::<B>);
    let (gamma, beta) = folded::<B>(gamma, beta, shift, scale);
    if shape.num_elements() == 0 {
        return affine::<B>(x, gamma, beta);
    }
    let (h, _) = normalise::<B>(widen::<B>(x), options);
    let z = affine::<B>(h, gamma, beta);
    narrow::<B>(if options.silu { silu::<B>(z) } else { z }, dtype)
}

/// With h the normalised input and g the gradient of z = gamma (1 + scale) h + beta (1 + scale) + shift, a = sum g h
/// and b = sum g over the pixels of a channel of an image: dscale = gamma a + beta b, dshift = b, dgamma = sum over
/// images of (1 + scale) a, dbeta = sum over images of (1 + scale) b.
#[allow(clippy::type_complexity)]
pub(crate) fn modulated_group_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    shift: FloatTensor<B>,
    scale: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: NormOptions,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (dtype, shape) = (x.dtype(), x.shape());
    if shape.num_elements() == 0 {
        return (x, zeros::<B>(&gamma), zeros::<B>(&beta), zeros::<B>(&shift), zeros::<B>(&scale));
    }
    let [gamma, beta, shift, scale] = [gamma, beta, shift, scale].map(widen::<B>);
    let (h, rstd) = normalise::<B>(widen::<B>(x), options);
    let (factor, offset) = folded::<B>(gamma.clone(), beta.clone(), shift, scale.clone());
    let mut g = widen::<B>(gradient);
    if options.silu {
        g = B::float_mul(g, silu_derivative::<B>(affine::<B>(h.clone(), factor.clone(), offset)));
    }
    let over_pixels = |t: FloatTensor<B>| {
        B::float_reshape(B::float_sum_dim(B::float_sum_dim(t, 3), 2), Shape::new([shape[0], shape[1]]))
    };
    let (a, b) = (over_pixels(B::float_mul(g.clone(), h.clone())), over_pixels(g.clone()));
    let slopes = modulation_gradients::<B>(a, b, gamma, beta, scale);
    let dx = grouped_gradient::<B>(B::float_mul(g, by_channel::<B>(factor)), h, rstd, &shape, options);
    let [d_gamma, d_beta, d_shift, d_scale] = slopes.map(|t| narrow::<B>(t, dtype));
    (narrow::<B>(dx, dtype), d_gamma, d_beta, d_shift, d_scale)
}

/// The gradients of `gamma`, `beta`, `shift` and `scale` from the sums over pixels, `[images, channels]`.
pub(crate) fn modulation_gradients<B: Backend>(
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    scale: FloatTensor<B>,
) -> [FloatTensor<B>; 4] {
    let (images, channels, entries) = (a.shape()[0], gamma.shape(), scale.shape());
    let over_images = |t: FloatTensor<B>| B::float_sum_dim(t, 0);
    let of_entries = |t: FloatTensor<B>| if entries[0] == images { t } else { over_images(t) };
    let row = |t: FloatTensor<B>| B::float_reshape(t, Shape::new([1, channels[0]]));
    let d_scale = B::float_add(B::float_mul(a.clone(), row(gamma)), B::float_mul(b.clone(), row(beta)));
    let one_plus = B::float_add_scalar(scale, 1.0.into());
    let of_channels =
        |t: FloatTensor<B>| B::float_reshape(over_images(B::float_mul(t, one_plus.clone())), channels.clone());
    [of_channels(a), of_channels(b.clone()), of_entries(b), of_entries(d_scale)]
}

/// `gamma (1 + scale)` and `beta (1 + scale) + shift`, `[images, channels]`.
pub(crate) fn folded<B: Backend>(
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    shift: FloatTensor<B>,
    scale: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let row = Shape::new([1, gamma.shape()[0]]);
    let factor = B::float_add_scalar(scale, 1.0.into());
    let beta = B::float_mul(factor.clone(), B::float_reshape(beta, row.clone()));
    (B::float_mul(factor, B::float_reshape(gamma, row)), B::float_add(beta, shift))
}

pub(crate) fn layer_norm<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    shift: FloatTensor<B>,
    options: RowOptions,
) -> FloatTensor<B> {
    let (dtype, shape) = (x.dtype(), x.shape());
    let (scale, shift) = (factor::<B>(widen::<B>(scale), &shape, options), over_rows::<B>(widen::<B>(shift), &shape));
    let x = widen::<B>(x);
    // With nothing to normalise, autodiff must still find its way to the parameters.
    let h = if shape.num_elements() == 0 { x } else { normalised_rows::<B>(x, options.epsilon, true).0 };
    narrow::<B>(B::float_add(B::float_mul(h, scale), shift), dtype)
}

/// With h the normalised input, s the scale (or 1 + scale) and g = dL/dy: dscale = sum g h, dshift = sum g,
/// dx = (s g - mean(s g) - h mean(s g h)) / sd, the means over a row.
pub(crate) fn layer_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: RowOptions,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (dtype, shape, parameter) = (x.dtype(), x.shape(), scale.shape());
    if shape.num_elements() == 0 {
        return (x, zeros::<B>(&scale), zeros::<B>(&scale));
    }
    let (h, rstd) = normalised_rows::<B>(widen::<B>(x), options.epsilon, true);
    let g = widen::<B>(gradient);
    let d_scale = over_entries::<B>(B::float_mul(g.clone(), h.clone()), &parameter);
    let d_shift = over_entries::<B>(g.clone(), &parameter);
    let g = B::float_mul(g, factor::<B>(widen::<B>(scale), &shape, options));
    let last = shape.num_dims() - 1;
    let mean_gh = B::float_mean_dim(B::float_mul(g.clone(), h.clone()), last);
    let centred = B::float_sub(g.clone(), B::float_mean_dim(g, last));
    let dx = B::float_mul(B::float_sub(centred, B::float_mul(h, mean_gh)), rstd);
    (narrow::<B>(dx, dtype), narrow::<B>(d_scale, dtype), narrow::<B>(d_shift, dtype))
}

pub(crate) fn rms_norm<B: Backend>(x: FloatTensor<B>, gamma: FloatTensor<B>, epsilon: f64) -> FloatTensor<B> {
    let (dtype, shape) = (x.dtype(), x.shape());
    let (x, gamma) = (widen::<B>(x), over_rows::<B>(widen::<B>(gamma), &shape));
    let h = if shape.num_elements() == 0 { x } else { normalised_rows::<B>(x, epsilon, false).0 };
    narrow::<B>(B::float_mul(h, gamma), dtype)
}

/// As for layer normalisation, without the mean that was not subtracted.
pub(crate) fn rms_norm_backward<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    gradient: FloatTensor<B>,
    epsilon: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (dtype, shape, parameter) = (x.dtype(), x.shape(), gamma.shape());
    if shape.num_elements() == 0 {
        return (x, zeros::<B>(&gamma));
    }
    let (h, rstd) = normalised_rows::<B>(widen::<B>(x), epsilon, false);
    let g = widen::<B>(gradient);
    let d_gamma = over_entries::<B>(B::float_mul(g.clone(), h.clone()), &parameter);
    let g = B::float_mul(g, over_rows::<B>(widen::<B>(gamma), &shape));
    let mean_gh = B::float_mean_dim(B::float_mul(g.clone(), h.clone()), shape.num_dims() - 1);
    let dx = B::float_mul(B::float_sub(g, B::float_mul(h, mean_gh)), rstd);
    (narrow::<B>(dx, dtype), narrow::<B>(d_gamma, dtype))
}

pub(crate) fn modulate<B: Backend>(x: FloatTensor<B>, shift: FloatTensor<B>, scale: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    let scale = B::float_add_scalar(over_rows::<B>(scale, &shape), 1.0.into());
    B::float_add(B::float_mul(x, scale), over_rows::<B>(shift, &shape))
}

pub(crate) fn modulate_backward<B: Backend>(
    x: FloatTensor<B>,
    scale: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let (shape, parameter) = (x.shape(), scale.shape());
    if shape.num_elements() == 0 {
        return (x, zeros::<B>(&scale), zeros::<B>(&scale));
    }
    let dtype = x.dtype();
    let [x, scale, gradient] = [x, scale, gradient].map(widen::<B>);
    let d_shift = over_entries::<B>(gradient.clone(), &parameter);
    let d_scale = over_entries::<B>(B::float_mul(gradient.clone(), x), &parameter);
    let scale = B::float_add_scalar(over_rows::<B>(scale, &shape), 1.0.into());
    let dx = B::float_mul(gradient, scale);
    (narrow::<B>(dx, dtype), narrow::<B>(d_shift, dtype), narrow::<B>(d_scale, dtype))
}

pub(crate) fn gated_residual<B: Backend>(x: FloatTensor<B>, gate: FloatTensor<B>, y: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    B::float_add(x, B::float_mul(y, over_rows::<B>(gate, &shape)))
}

pub(crate) fn gated_residual_backward<B: Backend>(
    gate: FloatTensor<B>,
    y: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let (shape, parameter) = (y.shape(), gate.shape());
    if shape.num_elements() == 0 {
        return (zeros::<B>(&gate), y);
    }
    let dtype = y.dtype();
    let [gate, y, gradient] = [gate, y, gradient].map(widen::<B>);
    let d_gate = over_entries::<B>(B::float_mul(gradient.clone(), y), &parameter);
    let dy = B::float_mul(gradient, over_rows::<B>(gate, &shape));
    (narrow::<B>(d_gate, dtype), narrow::<B>(dy, dtype))
}

pub(crate) fn mix_rows<B: Backend>(
    x: FloatTensor<B>,
    y: FloatTensor<B>,
    a: FloatTensor<B>,
    b: FloatTensor<B>,
) -> FloatTensor<B> {
    B::float_add(B::float_mul(x, a), B::float_mul(y, b))
}

pub(crate) fn mean_squared_error<B: Backend>(x: FloatTensor<B>, y: FloatTensor<B>) -> FloatTensor<B> {
    let error = B::float_sub(x, y);
    B::float_mean(B::float_mul(error.clone(), error))
}

pub(crate) fn mean_squared_error_backward<B: Backend>(
    x: FloatTensor<B>,
    y: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> FloatTensor<B> {
    let shape = x.shape();
    let one = Shape::from(vec![1; shape.num_dims()]);
    let slope = B::float_mul_scalar(gradient, (2.0 / shape.num_elements() as f64).into());
    B::float_mul(B::float_sub(x, y), B::float_reshape(slope, one))
}

pub(crate) fn beside<B: Backend>(x: FloatTensor<B>, y: FloatTensor<B>) -> FloatTensor<B> {
    B::float_cat(vec![x, y], 1)
}

/// Burn's own attention, which is fused on some backends.
pub(crate) fn attention<B: Backend>(q: FloatTensor<B>, k: FloatTensor<B>, v: FloatTensor<B>) -> FloatTensor<B> {
    let ([batch, heads, queries, _], [_, _, keys, width]) = (q.shape().dims(), v.shape().dims());
    if q.shape().num_elements() == 0 || keys == 0 || width == 0 {
        // No query, or nothing to find, but autodiff must still find its way to the inputs that have numbers.
        let shape = Shape::new([batch, heads, queries, width]);
        let empty = B::float_zeros(shape, &q.device(), FloatDType::from(q.dtype()));
        let inputs = [q, k, v].into_iter().filter(|input| input.shape().num_elements() > 0);
        return inputs.fold(empty, |empty, input| {
            let zero = B::float_mul_scalar(B::float_sum(input), 0.0.into());
            B::float_add(empty, B::float_reshape(zero, Shape::new([1, 1, 1, 1])))
        });
    }
    B::attention(q, k, v, None, None, AttentionModuleOptions::default())
}

/// With P the softmax of the scores and G the gradient of the output: dV = P^T G, dP = G V^T, dS = P (dP - sum(P dP)),
/// dQ = dS K, dK = dS^T Q.
///
/// Some entries of the batch at a time, and of a long sequence some queries, so that memory does not grow with the
/// square of its length. Products of half precision stay in it, where matrix units are; softmax is computed in f32.
pub(crate) fn attention_backward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    gradient: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    attention_backward_by::<B>(q, k, v, gradient, weights_and_slopes::<B>)
}

/// The weights P of scores, and the gradient of the scores by that of the weights.
pub(crate) type WeightsAndSlopes<B> = fn(FloatTensor<B>, FloatTensor<B>) -> (FloatTensor<B>, FloatTensor<B>);

/// In f32 for half-precision tensors.
pub(crate) fn weights_and_slopes<B: Backend>(
    scores: FloatTensor<B>,
    slopes: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let dtype = scores.dtype();
    let weights = softmax::<B>(widen::<B>(scores));
    let slopes = softmax_backward::<B>(weights.clone(), widen::<B>(slopes));
    (narrow::<B>(weights, dtype), narrow::<B>(slopes, dtype))
}

/// [`attention_backward`] with what a backend has for the middle of it.
pub(crate) fn attention_backward_by<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    gradient: FloatTensor<B>,
    middle: WeightsAndSlopes<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    if q.shape().num_elements() == 0 || v.shape().num_elements() == 0 {
        return (zeros::<B>(&q), zeros::<B>(&k), zeros::<B>(&v));
    }
    // Queries are made smaller, not scores, which might not fit into f16.
    let unit = 1.0 / (q.shape()[3] as f64).sqrt();
    let q = B::float_mul_scalar(q, unit.into());
    let at_once = |q, k, v, g| attention_backward_at_once::<B>(q, k, v, g, middle);
    let (dq, dk, dv) = attention_backward_in_parts::<B>(q, k, v, gradient, at_once, SCORES);
    (B::float_mul_scalar(dq, unit.into()), dk, dv)
}

/// Of queries that are scaled already, to be scaled again; with so many scores at once.
pub(crate) fn attention_backward_in_parts<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    gradient: FloatTensor<B>,
    at_once: impl Fn(
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
        FloatTensor<B>,
    ) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>),
    most: usize,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ([batch, heads, queries, _], keys, dtype) = (q.shape().dims(), k.shape()[2], q.dtype());
    let entries = (most / (heads * queries * keys)).clamp(1, batch);
    let rows = (most / (entries * heads * keys)).clamp(1, queries);
    if entries == batch && rows == queries {
        return at_once(q, k, v, gradient);
    }
    let part = part_of::<B>;
    let mut parts = [vec![], vec![], vec![]];
    for from in (0..batch).step_by(entries) {
        let entries = entries.min(batch - from);
        let [q, k, v, g] = [&q, &k, &v, &gradient].map(|t| part(t, 0, from, entries));
        let (mut dq, mut sums) = (vec![], None);
        for first in (0..queries).step_by(rows) {
            let rows = rows.min(queries - first);
            let [q, g] = [&q, &g].map(|t| part(t, 2, first, rows));
            let (slope, dk, dv) = at_once(q, k.clone(), v.clone(), g);
            dq.push(slope);
            let (dk, dv) = (widen::<B>(dk), widen::<B>(dv)); // Many parts, whose sum half precision would not hold.
            sums = Some(match sums {
                None => (dk, dv),
                Some((k, v)) => (B::float_add(k, dk), B::float_add(v, dv)),
            });
        }
        let Some((dk, dv)) = sums else { continue };
        let (dk, dv) = (narrow::<B>(dk, dtype), narrow::<B>(dv, dtype));
        let dq = if dq.len() == 1 { dq.remove(0) } else { B::float_cat(dq, 2) };
        for (parts, slope) in parts.iter_mut().zip([dq, dk, dv]) {
            parts.push(slope);
        }
    }
    let [dq, dk, dv] = parts.map(|mut parts| if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, 0) });
    (dq, dk, dv)
}

/// How many scores of attention the backward pass holds at once: 256 MiB of them in f32.
#[cfg(not(test))]
const SCORES: usize = 1 << 26;
#[cfg(test)]
const SCORES: usize = 100;

fn attention_backward_at_once<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    gradient: FloatTensor<B>,
    middle: WeightsAndSlopes<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let transposed = |t: FloatTensor<B>| B::float_swap_dims(t, 2, 3);
    let scores = B::float_matmul(q.clone(), transposed(k.clone()));
    let slopes = B::float_matmul(gradient.clone(), transposed(v));
    let (weights, slopes) = middle(scores, slopes);
    let dv = B::float_matmul(transposed(weights), gradient);
    let dk = B::float_matmul(transposed(slopes.clone()), q);
    (B::float_matmul(slopes, k), dk, dv)
}

/// `len` entries of an axis.
pub(crate) fn part_of<B: Backend>(t: &FloatTensor<B>, axis: usize, from: usize, len: usize) -> FloatTensor<B> {
    let mut slices = vec![Slice::full(); axis];
    slices.push(Slice::from(from..from + len));
    B::float_slice(t.clone(), &slices)
}

pub(crate) fn self_attention<B: Backend>(qkv: FloatTensor<B>, heads: usize) -> FloatTensor<B> {
    let [batch, tokens, features] = qkv.shape().dims();
    let [q, k, v] = parts::<B>(qkv, heads);
    let y = B::float_swap_dims(attention::<B>(q, k, v), 1, 2);
    B::float_reshape(y, Shape::new([batch, tokens, features / 3]))
}

pub(crate) fn self_attention_backward<B: Backend>(
    qkv: FloatTensor<B>,
    gradient: FloatTensor<B>,
    heads: usize,
) -> FloatTensor<B> {
    self_attention_backward_by::<B>(qkv, gradient, heads, weights_and_slopes::<B>)
}

pub(crate) fn self_attention_backward_by<B: Backend>(
    qkv: FloatTensor<B>,
    gradient: FloatTensor<B>,
    heads: usize,
    middle: WeightsAndSlopes<B>,
) -> FloatTensor<B> {
    let shape = qkv.shape();
    let [batch, tokens, features] = shape.dims();
    if shape.num_elements() == 0 {
        return qkv;
    }
    let [q, k, v] = parts::<B>(qkv, heads);
    let gradient = B::float_reshape(gradient, Shape::new([batch, tokens, heads, features / (3 * heads)]));
    let (dq, dk, dv) = attention_backward_by::<B>(q, k, v, B::float_swap_dims(gradient, 1, 2), middle);
    let joined = B::float_swap_dims(B::float_cat(vec![dq, dk, dv], 1), 1, 2);
    B::float_reshape(joined, shape)
}

/// Queries, keys and values, each `[batch, heads, tokens, size]`.
fn parts<B: Backend>(qkv: FloatTensor<B>, heads: usize) -> [FloatTensor<B>; 3] {
    let [batch, tokens, features] = qkv.shape().dims();
    let qkv = B::float_reshape(qkv, Shape::new([batch, tokens, 3 * heads, features / (3 * heads)]));
    let qkv = B::float_swap_dims(qkv, 1, 2);
    [0, 1, 2].map(|part| {
        let heads = Slice::from(part * heads..(part + 1) * heads);
        B::float_slice(qkv.clone(), &[Slice::full(), heads])
    })
}

pub(crate) fn adamw<B: Backend>(
    weights: FloatTensor<B>,
    gradient: FloatTensor<B>,
    first: FloatTensor<B>,
    second: FloatTensor<B>,
    average: FloatTensor<B>,
    step: AdamW,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let times = |x: FloatTensor<B>, factor: f64| B::float_mul_scalar(x, factor.into());
    let [fix_first, fix_second] = step.corrections();
    let dtypes = [&weights, &first, &second, &average].map(|t| t.dtype());
    let [weights, gradient, first, second, average] = [weights, gradient, first, second, average].map(widen::<B>);
    let gradient = times(gradient, step.gradient_factor);
    let first = B::float_add(times(first, step.beta1), times(gradient.clone(), 1.0 - step.beta1));
    let square = B::float_mul(gradient.clone(), gradient);
    let second = B::float_add(times(second, step.beta2), times(square, 1.0 - step.beta2));
    let root = B::float_sqrt(B::float_div_scalar(second.clone(), fix_second.into()));
    let direction = B::float_div(first.clone(), B::float_add_scalar(root, step.epsilon.into()));
    let weights = times(weights, 1.0 - step.rate * step.weight_decay);
    let weights = B::float_sub(weights, times(direction, step.rate / fix_first));
    // In a form that leaves weights that do not move exactly where they are.
    let ahead = B::float_sub(weights.clone(), average.clone());
    let average = B::float_add(average, times(ahead, step.follow));
    let [of_weights, of_first, of_second, of_average] = dtypes;
    (
        narrow::<B>(weights, of_weights),
        narrow::<B>(first, of_first),
        narrow::<B>(second, of_second),
        narrow::<B>(average, of_average),
    )
}

/// In f32 for half-precision tensors.
pub(crate) fn sum_of_squares<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    /// Elements whose squares are summed at once: the sums of larger tensors may be grouped by threads.
    const PIECE: usize = 1 << 20;
    let len = x.shape().num_elements();
    if len == 0 {
        return B::float_zeros(Shape::new([1]), &x.device(), FloatDType::from(wide(x.dtype())));
    }
    let x = B::float_reshape(x, Shape::new([len]));
    let sums = (0..len).step_by(PIECE).map(|first| {
        let piece = widen::<B>(B::float_slice(x.clone(), &[Slice::from(first..len.min(first + PIECE))]));
        B::float_sum(B::float_mul(piece.clone(), piece))
    });
    B::float_sum(B::float_cat(sums.collect(), 0))
}

pub(crate) fn linear<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    function: Option<Activation>,
) -> FloatTensor<B> {
    let (rows, to) = (x.shape()[0], weight.shape()[1]);
    let bias = B::float_reshape(bias, Shape::new([1, to]));
    if rows == 0 {
        let empty = B::float_zeros(Shape::new([0, to]), &x.device(), FloatDType::from(x.dtype()));
        // Autodiff must still find its way to the parameters.
        let weight = B::float_reshape(B::float_sum(weight), Shape::new([1, 1]));
        return B::float_add(B::float_add(empty, weight), bias);
    }
    let x = match function {
        Some(function) => activation::<B>(x, function),
        None => x,
    };
    B::float_add(B::float_matmul(x, weight), bias)
}

pub(crate) fn linear_backward<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    function: Option<Activation>,
    wanted: Wanted,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    linear_backward_by::<B>(x, weight, gradient, function, wanted, sum_of_rows::<B>)
}

/// With a sum of rows `[rows, columns]` to `[columns]`.
pub(crate) fn linear_backward_by<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    function: Option<Activation>,
    wanted: Wanted,
    sum: impl Fn(FloatTensor<B>) -> FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let ([rows, to], from) = (gradient.shape().dims(), weight.shape()[0]);
    let (device, dtype) = (gradient.device(), gradient.dtype());
    if rows == 0 {
        let zeros = |shape: Shape| B::float_zeros(shape, &device, FloatDType::from(dtype));
        return (zeros(Shape::new([0, from])), zeros(Shape::new([from, to])), zeros(Shape::new([to])));
    }
    let unwanted = || gradient.clone();
    // The function and its slope stand side by side, so that a fusing backend makes both in one pass over x.
    let dy = wanted.x.then(|| B::float_matmul(gradient.clone(), B::float_swap_dims(weight, 0, 1)));
    let y = wanted.weight.then(|| match function {
        Some(function) => activation::<B>(x.clone(), function),
        None => x.clone(),
    });
    let dx = match (dy, function) {
        (Some(dy), Some(function)) => activation_backward::<B>(x, dy, function),
        (Some(dy), None) => dy,
        (None, _) => unwanted(),
    };
    let d_weight = y.map_or_else(unwanted, |y| transposed_product::<B>(y, gradient.clone(), &sum));
    let d_bias = if wanted.bias { sum(gradient.clone()) } else { unwanted() };
    (dx, d_weight, d_bias)
}

/// `x^T y` for `x` `[rows, from]` and `y` `[rows, to]`. Of many rows some at a time, side by side, and these parts added up in
/// f32: a card gives each tile of a product to one multiprocessor, and a gradient of 512 x 512 weights has 16 tiles for 132
/// of them (on an H100 such a product over 65,536 rows ran at 27 TFLOP/s, those with many tiles at 290 to 460). Not in f16,
/// where parts that cancel might not fit one by one.
fn transposed_product<B: Backend>(
    x: FloatTensor<B>,
    y: FloatTensor<B>,
    sum: impl Fn(FloatTensor<B>) -> FloatTensor<B>,
) -> FloatTensor<B> {
    let ([rows, from], to, dtype) = (x.shape().dims(), y.shape()[1], x.dtype());
    let tiles = from.div_ceil(TILE) * to.div_ceil(TILE);
    let parts = parts_of(rows, (TILES / tiles.max(1)).min(rows / ROWS));
    if parts == 1 || dtype == DType::F16 {
        return B::float_matmul(B::float_swap_dims(x, 0, 1), y);
    }
    let cut = |t: FloatTensor<B>, wide: usize| B::float_reshape(t, Shape::new([parts, rows / parts, wide]));
    let products = B::float_matmul(B::float_swap_dims(cut(x, from), 1, 2), cut(y, to));
    let sum = sum(B::float_reshape(products, Shape::new([parts, from * to])));
    B::float_reshape(sum, Shape::new([from, to]))
}

/// The sum of the rows of `[rows, to]`, `[to]`, in f32 for half-precision tensors: of many rows first that of parts of them, for the same reason.
pub(crate) fn sum_of_rows<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let ([rows, to], dtype, x) = (x.shape().dims(), x.dtype(), widen::<B>(x));
    let parts = parts_of(rows, rows / SUMMED);
    let sums = match parts {
        1 => x,
        _ => B::float_sum_dim(B::float_reshape(x, Shape::new([parts, rows / parts, to])), 1),
    };
    let sums = B::float_reshape(sums, Shape::new([if parts == 1 { rows } else { parts }, to]));
    narrow::<B>(B::float_reshape(B::float_sum_dim(sums, 0), Shape::new([to])), dtype)
}

/// The largest power of two that divides `rows`, which are some, and is at most `most`.
fn parts_of(rows: usize, most: usize) -> usize {
    let most = if most == 0 { 1 } else { 1 << most.ilog2() };
    most.min(1 << rows.trailing_zeros())
}

/// The side of a product's tile, and how many tiles keep a large card busy.
const TILE: usize = 128;
const TILES: usize = 256;
/// The least rows of a part of a product, and of a sum.
#[cfg(not(test))]
const ROWS: usize = 1024;
#[cfg(not(test))]
const SUMMED: usize = 256;
#[cfg(test)]
const ROWS: usize = 8;
#[cfg(test)]
const SUMMED: usize = 8;

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
    row_major::<B>(B::conv2d(x, weight, Some(bias), options(steps)))
}

/// The same images, those of one channel through a list of rows: see [`row_major`](crate::row_major).
fn row_major<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let shape = x.shape();
    if shape[1] != 1 {
        return x;
    }
    let rows = Shape::new([shape[0] * shape[1], shape[2] * shape[3]]);
    B::float_reshape(B::float_reshape(x, rows), shape)
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
    row_major::<B>(B::conv2d_x_backward(x, weight, gradient, options(steps)))
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

fn affine<B: Backend>(h: FloatTensor<B>, gamma: FloatTensor<B>, beta: FloatTensor<B>) -> FloatTensor<B> {
    B::float_add(B::float_mul(h, by_channel::<B>(gamma)), by_channel::<B>(beta))
}

/// `[channels]` or `[images, channels]`, shaped to be spread over pixels.
fn by_channel<B: Backend>(parameter: FloatTensor<B>) -> FloatTensor<B> {
    let own = parameter.shape();
    let images = if own.num_dims() == 2 { own[0] } else { 1 };
    B::float_reshape(parameter, Shape::new([images, own[own.num_dims() - 1], 1, 1]))
}

/// `[features]` or `[entries, features]`, shaped to be spread over the rows of `shape`.
fn over_rows<B: Backend>(parameter: FloatTensor<B>, shape: &Shape) -> FloatTensor<B> {
    let own = parameter.shape();
    let mut dims = vec![1; shape.num_dims()];
    dims[shape.num_dims() - 1] = own[own.num_dims() - 1];
    if own.num_dims() == 2 {
        dims[0] = own[0];
    }
    B::float_reshape(parameter, Shape::from(dims))
}

/// The sum over the rows that share a parameter of shape `parameter`.
fn over_entries<B: Backend>(x: FloatTensor<B>, parameter: &Shape) -> FloatTensor<B> {
    let features = parameter[parameter.num_dims() - 1];
    let entries = if parameter.num_dims() == 2 { parameter[0] } else { 1 };
    let rows = x.shape().num_elements() / (entries * features);
    let x = B::float_reshape(x, Shape::new([entries, rows, features]));
    B::float_reshape(B::float_sum_dim(x, 1), parameter.clone())
}

fn factor<B: Backend>(scale: FloatTensor<B>, shape: &Shape, options: RowOptions) -> FloatTensor<B> {
    let scale = over_rows::<B>(scale, shape);
    if options.plus_one { B::float_add_scalar(scale, 1.0.into()) } else { scale }
}

/// The rows normalised, and one over their deviation, or over the root of their mean square where the mean stays.
fn normalised_rows<B: Backend>(x: FloatTensor<B>, epsilon: f64, centred: bool) -> (FloatTensor<B>, FloatTensor<B>) {
    let last = x.shape().num_dims() - 1;
    let x = if centred { B::float_sub(x.clone(), B::float_mean_dim(x, last)) } else { x };
    let square = B::float_mean_dim(B::float_mul(x.clone(), x.clone()), last);
    let rstd = B::float_recip(B::float_sqrt(B::float_add_scalar(square, epsilon.into())));
    (B::float_mul(x, rstd.clone()), rstd)
}

fn zeros<B: Backend>(like: &FloatTensor<B>) -> FloatTensor<B> {
    B::float_zeros(like.shape(), &like.device(), FloatDType::from(like.dtype()))
}

/// The type in which to compute.
fn wide(dtype: DType) -> DType {
    if matches!(dtype, DType::F16 | DType::BF16) { DType::F32 } else { dtype }
}

pub(crate) fn widen<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = wide(x.dtype());
    narrow::<B>(x, dtype)
}

pub(crate) fn narrow<B: Backend>(x: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    if x.dtype() == dtype { x } else { B::float_cast(x, FloatDType::from(dtype)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::ops::FloatTensorOps;
    use burn::backend::{Dispatch, DispatchTensor};
    use burn::tensor::{Device, Tensor, TensorData};

    /// The gradients of sum(y) by the inputs, by autodiff of Burn's operators: the path of backends that this crate does not list.
    fn slopes(y: FloatTensor<Dispatch>, inputs: &[Tensor<4>]) -> Vec<Option<Vec<f32>>> {
        let gradients = Tensor::<4>::from_dispatch(y).sum().backward();
        inputs.iter().map(|x| x.grad(&gradients).map(|slope| slope.into_data().try_to_vec().unwrap())).collect()
    }

    #[test]
    fn attention_to_nothing_leads_autodiff_to_its_inputs() {
        let device = Device::flex().autodiff();
        for [batch, queries, keys] in [[2, 0, 3], [2, 3, 0]] {
            let inputs =
                [queries, keys, keys].map(|tokens| Tensor::<4>::ones([batch, 2, tokens, 4], &device).require_grad());
            let [q, k, v] = inputs.clone().map(Tensor::into_dispatch);
            let y = attention::<Dispatch>(q, k, v);
            assert_eq!(y.shape(), Shape::new([batch, 2, queries, 4]));
            for (slope, input) in slopes(y, &inputs).into_iter().zip(&inputs) {
                let len = input.shape().num_elements();
                assert!(len == 0 || slope == Some(vec![0.0; len]), "{batch} {queries} {keys}: {slope:?}");
            }
        }
    }

    #[test]
    fn gradients_of_attention_do_not_depend_on_how_it_is_cut() {
        let random = |tokens: usize| {
            let distribution = burn::tensor::Distribution::Normal(0.0, 1.0);
            Tensor::<4>::random([3, 2, tokens, 4], distribution, (&Device::flex(), DType::F64)).into_dispatch()
        };
        // Too many scores for the limit of tests, for one that cuts the batch, and for one that cuts the queries too.
        for (queries, keys) in [(5, 4), (9, 8)] {
            let [q, k, v, g] = [queries, keys, keys, queries].map(random);
            assert!(3 * 2 * queries * keys > SCORES);
            let cut = attention_backward::<Dispatch>(q.clone(), k.clone(), v.clone(), g.clone());
            let whole = whole(q, k, v, g);
            for (cut, whole) in [cut.0, cut.1, cut.2].into_iter().zip(whole) {
                let [cut, whole] = [cut, whole].map(Tensor::<4>::from_dispatch);
                let error: f64 = (cut - whole).abs().max().into_scalar();
                assert!(error < 1e-12, "{queries} queries, {keys} keys: {error}");
            }
        }
    }

    /// The gradients of attention, nothing cut.
    fn whole(q: DispatchTensor, k: DispatchTensor, v: DispatchTensor, g: DispatchTensor) -> [DispatchTensor; 3] {
        let unit = 1.0 / (q.shape()[3] as f64).sqrt();
        let q = <Dispatch as FloatTensorOps<Dispatch>>::float_mul_scalar(q, unit.into());
        let middle = weights_and_slopes::<Dispatch>;
        let (dq, dk, dv) = attention_backward_at_once::<Dispatch>(q, k, v, g, middle);
        [<Dispatch as FloatTensorOps<Dispatch>>::float_mul_scalar(dq, unit.into()), dk, dv]
    }

    #[test]
    fn products_over_many_rows_are_summed_in_parts() {
        assert_eq!([(65536, 16), (48, 100), (7, 3), (64, 0)].map(|(rows, most)| parts_of(rows, most)), [16, 16, 1, 1]);
        for rows in [24, 64, 200] {
            assert!(parts_of(rows, rows / ROWS) > 1, "{rows} rows");
            let draw = |wide: usize, seed: u64| -> Vec<f64> {
                (0..rows * wide).map(|i| ((i as u64 * 7919 + seed) % 101) as f64 / 50.0 - 1.0).collect()
            };
            let (x, y) = (draw(3, 1), draw(5, 2));
            let tensor = |data: &[f64], wide: usize| {
                Tensor::<2>::from_data(TensorData::new(data.to_vec(), [rows, wide]), (&Device::flex(), DType::F64))
                    .into_dispatch()
            };
            let product = transposed_product::<Dispatch>(tensor(&x, 3), tensor(&y, 5), sum_of_rows::<Dispatch>);
            let product = Tensor::<2>::from_dispatch(product).into_data().try_to_vec::<f64>().unwrap();
            let sum = Tensor::<1>::from_dispatch(sum_of_rows::<Dispatch>(tensor(&y, 5)));
            let sum = sum.into_data().try_to_vec::<f64>().unwrap();
            for j in 0..5 {
                let total: f64 = (0..rows).map(|r| y[5 * r + j]).sum();
                assert!((sum[j] - total).abs() < 1e-12, "{rows} rows, column {j}: {} for {total}", sum[j]);
                for i in 0..3 {
                    let total: f64 = (0..rows).map(|r| x[3 * r + i] * y[5 * r + j]).sum();
                    let got = product[5 * i + j];
                    assert!((got - total).abs() < 1e-12, "{rows} rows, ({i}, {j}): {got} for {total}");
                }
            }
        }
    }

    #[test]
    fn half_precision_loses_little_in_gradients_of_attention() {
        // Nearly normal numbers: sums of twelve uniform ones.
        let random = |(seed, tokens): (u32, usize)| {
            let keys: Vec<_> = (0..4 * tokens as u32).map(|i| [seed, i, 0, 0, 0, 0, 0, 0]).collect();
            let sum =
                |words: &[u32; 16]| words[..12].iter().map(|&w| f64::from(w) / 2.0_f64.powi(32)).sum::<f64>() - 6.0;
            let values: Vec<f64> = crate::chacha8_heads(&keys, 0).iter().map(sum).collect();
            Tensor::<4>::from_data(TensorData::new(values, [1, 1, tokens, 4]), (&Device::flex(), DType::BF16))
        };
        // So many queries that they are cut into 64 parts.
        let inputs = [(1, 640), (2, 10), (3, 10), (4, 640)].map(random);
        let [q, k, v, g] = inputs.clone().map(Tensor::into_dispatch);
        let half = attention_backward::<Dispatch>(q, k, v, g);
        let [q, k, v, g] = inputs.map(|x| x.cast(FloatDType::F64).into_dispatch());
        let exact = whole(q, k, v, g);
        for (half, exact) in [half.0, half.1, half.2].into_iter().zip(exact) {
            let (half, exact) = (Tensor::<4>::from_dispatch(half), Tensor::<4>::from_dispatch(exact));
            assert_eq!(half.dtype(), DType::BF16);
            let size: f64 = exact.clone().abs().max().into_scalar();
            let error: f64 = (half.cast(FloatDType::F64) - exact).abs().max().into_scalar();
            assert!(error < 0.006 * size, "{error} of {size}");
        }
    }

    #[test]
    fn slopes_of_far_values_are_finite() {
        for function in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            let far = Tensor::<1>::from_floats([-1e30, -1e14, -104.0, 0.0, 104.0, 1e14, 1e30], &Device::flex());
            let ones = far.ones_like().into_dispatch();
            let slope = activation_backward::<Dispatch>(far.into_dispatch(), ones, function);
            let slope: Vec<f32> = Tensor::<1>::from_dispatch(slope).into_data().try_to_vec().unwrap();
            assert_eq!(slope, [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0], "{function:?}");
        }
    }
}
