//! The fast paths on Burn's Flex backend, for f32; other types take the bodies made of Burn's operators.
//!
//! Longer than other files: an implementation of a trait stands in one piece.
use crate::composed;
use crate::host::activation::{Exponential, Gelu, GeluTanh, Sigmoid, Silu, Softplus, Tanh};
use crate::host::attention::{Attention, Heads};
use crate::host::optimizer::Held;
use crate::host::rows::{Add, RowAffine, RowNorm, Rows};
use crate::host::small_linear::Layer;
use crate::host::{
    conv2d, conv2d::Conv2dShape, elementwise, group_norm, linear, mix, optimizer, small_linear, softmax, squared_error,
    weighted_sum,
};
use crate::kernels::{Activation, ConvSteps, Kernels, NormOptions, RowOptions, Wanted};
use crate::optimizer::AdamW;
use burn::backend::flex::FlexTensor;
use burn::backend::{BackendTensor, DispatchTensorKind, Flex, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor, TensorData};
use std::ops::ControlFlow;

/// Evaluates an expression for the function of an [`Activation`], each with a loop of its own.
macro_rules! with_function {
    ($activation:expr, $f:ident => $body:expr) => {
        match $activation {
            Activation::Silu => {
                let $f = Silu;
                $body
            }
            Activation::Gelu => {
                let $f = Gelu;
                $body
            }
            Activation::GeluTanh => {
                let $f = GeluTanh;
                $body
            }
            Activation::Sigmoid => {
                let $f = Sigmoid;
                $body
            }
            Activation::Tanh => {
                let $f = Tanh;
                $body
            }
            Activation::Softplus => {
                let $f = Softplus;
                $body
            }
            Activation::Exp => {
                let $f = Exponential;
                $body
            }
        }
    };
}

impl Kernels for Flex {
    fn activation(mut x: FlexTensor, function: Activation) -> FlexTensor {
        if let Some(values) = own(&mut x) {
            with_function!(function, f => elementwise::map_in_place(f, values));
            return x;
        }
        let fast = || {
            let values = dense(&x)?;
            let values = values.as_slice()?;
            Some(tensor(with_function!(function, f => elementwise::map(f, values)), x.shape()))
        };
        fast().unwrap_or_else(|| composed::activation::<Self>(x.clone(), function))
    }

    fn activation_backward(x: FlexTensor, mut gradient: FlexTensor, function: Activation) -> FlexTensor {
        // The gradient belongs to nobody else as a rule: it makes room for the result.
        if let Some(x) = dense(&x)
            && let Some(x) = x.as_slice()
            && let Some(values) = own(&mut gradient)
        {
            with_function!(function, f => elementwise::backward_in_place(f, x, values));
            return gradient;
        }
        let fast = || {
            let [values, gradient] = [dense(&x)?, dense(&gradient)?];
            let (values, gradient) = (values.as_slice()?, gradient.as_slice()?);
            Some(tensor(with_function!(function, f => elementwise::backward(f, values, gradient)), x.shape()))
        };
        fast().unwrap_or_else(|| composed::activation_backward::<Self>(x.clone(), gradient.clone(), function))
    }

    fn row_softmax(x: FlexTensor) -> FlexTensor {
        let fast = || {
            let (values, len) = (dense(&x)?, row_length(&x)?);
            Some(tensor(softmax::softmax(values.as_slice()?, len), x.shape()))
        };
        fast().unwrap_or_else(|| composed::softmax::<Self>(x.clone()))
    }

    fn row_softmax_backward(y: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let fast = || {
            let (values, gradient, len) = (dense(&y)?, dense(&gradient)?, row_length(&y)?);
            Some(tensor(softmax::backward(values.as_slice()?, gradient.as_slice()?, len), y.shape()))
        };
        fast().unwrap_or_else(|| composed::softmax_backward::<Self>(y.clone(), gradient.clone()))
    }

    fn group_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, options: NormOptions) -> FlexTensor {
        let fast = || {
            let [values, gamma, beta] = [dense(&x)?, dense(&gamma)?, dense(&beta)?];
            let norm = norm(&x, gamma.as_slice()?, beta.as_slice()?, options);
            Some(tensor(norm.forward(values.as_slice()?), x.shape()))
        };
        fast().unwrap_or_else(|| composed::group_norm::<Self>(x.clone(), gamma.clone(), beta.clone(), options))
    }

    fn group_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        gradient: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let fast = || {
            let [values, gammas, betas, gradient] = [dense(&x)?, dense(&gamma)?, dense(&beta)?, dense(&gradient)?];
            let norm = norm(&x, gammas.as_slice()?, betas.as_slice()?, options);
            let d = norm.backward(values.as_slice()?, gradient.as_slice()?);
            let [d_gamma, d_beta] = d.shared(norm.channels, |_, _| 1.0).map(|sum| tensor(sum, gamma.shape()));
            Some((tensor(d.x, x.shape()), d_gamma, d_beta))
        };
        fast().unwrap_or_else(|| {
            composed::group_norm_backward::<Self>(x.clone(), gamma.clone(), beta.clone(), gradient.clone(), options)
        })
    }

    fn modulated_group_norm(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shift: FlexTensor,
        scale: FlexTensor,
        options: NormOptions,
    ) -> FlexTensor {
        let fast = || {
            let [values, gammas, betas, shifts, scales] =
                [dense(&x)?, dense(&gamma)?, dense(&beta)?, dense(&shift)?, dense(&scale)?];
            let scales = scales.as_slice()?;
            let (gammas, betas) = folded(gammas.as_slice()?, betas.as_slice()?, shifts.as_slice()?, scales);
            Some(tensor(norm(&x, &gammas, &betas, options).forward(values.as_slice()?), x.shape()))
        };
        fast().unwrap_or_else(|| {
            let [x, gamma, beta, shift, scale] = [&x, &gamma, &beta, &shift, &scale].map(FlexTensor::clone);
            composed::modulated_group_norm::<Self>(x, gamma, beta, shift, scale, options)
        })
    }

    fn modulated_group_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        shift: FlexTensor,
        scale: FlexTensor,
        gradient: FlexTensor,
        options: NormOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let fast = || {
            let [values, gammas, betas, shifts, scales] =
                [dense(&x)?, dense(&gamma)?, dense(&beta)?, dense(&shift)?, dense(&scale)?];
            let [gammas, betas, scales]: [&[f32]; 3] = [gammas.as_slice()?, betas.as_slice()?, scales.as_slice()?];
            let (factors, offsets) = folded(gammas, betas, shifts.as_slice()?, scales);
            let norm = norm(&x, &factors, &offsets, options);
            let d = norm.backward(values.as_slice()?, dense(&gradient)?.as_slice()?);
            let channels = norm.channels;
            let one_plus = |image: usize, channel: usize| 1.0 + scales[(image * channels + channel) % scales.len()];
            let [d_gamma, d_beta] = d.shared(channels, one_plus).map(|sum| tensor(sum, gamma.shape()));
            let (mut d_shift, mut d_scale) = (vec![0.0f32; scales.len()], vec![0.0f32; scales.len()]);
            for (i, [by_h, alone]) in d.sums.iter().enumerate() {
                d_shift[i % scales.len()] += alone;
                d_scale[i % scales.len()] += gammas[i % channels] * by_h + betas[i % channels] * alone;
            }
            let [d_shift, d_scale] = [d_shift, d_scale].map(|sum| tensor(sum, scale.shape()));
            Some((tensor(d.x, x.shape()), d_gamma, d_beta, d_shift, d_scale))
        };
        fast().unwrap_or_else(|| {
            let [x, gamma, beta, shift, scale] = [&x, &gamma, &beta, &shift, &scale].map(FlexTensor::clone);
            composed::modulated_group_norm_backward::<Self>(x, gamma, beta, shift, scale, gradient.clone(), options)
        })
    }

    fn row_norm(x: FlexTensor, scale: FlexTensor, shift: FlexTensor, options: RowOptions) -> FlexTensor {
        let fast = || {
            let [values, scales, shifts] = [dense(&x)?, dense(&scale)?, dense(&shift)?];
            let norm = layer(rows(&x, &scale)?, scales.as_slice()?, shifts.as_slice()?, options);
            Some(tensor(norm.forward(values.as_slice()?), x.shape()))
        };
        fast().unwrap_or_else(|| composed::layer_norm::<Self>(x.clone(), scale.clone(), shift.clone(), options))
    }

    fn row_norm_backward(
        x: FlexTensor,
        scale: FlexTensor,
        mut gradient: FlexTensor,
        options: RowOptions,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let fast = |gradient: &mut FlexTensor| {
            let [values, scales] = [dense(&x)?, dense(&scale)?];
            let scales = scales.as_slice()?;
            // The shift moves no gradient.
            let norm = layer(rows(&x, &scale)?, scales, scales, options);
            let (dx, sums) = rows_backward(&norm, values.as_slice()?, gradient)?;
            let [d_scale, d_shift] = sums.map(|sum| tensor(sum, scale.shape()));
            Some((dx, d_scale, d_shift))
        };
        fast(&mut gradient).unwrap_or_else(|| {
            composed::layer_norm_backward::<Self>(x.clone(), scale.clone(), gradient.clone(), options)
        })
    }

    fn rms_norm(x: FlexTensor, gamma: FlexTensor, epsilon: f64) -> FlexTensor {
        let fast = || {
            let [values, gammas] = [dense(&x)?, dense(&gamma)?];
            let shift = vec![0.0; gamma.shape().num_elements()];
            let norm = rms(rows(&x, &gamma)?, gammas.as_slice()?, &shift, epsilon);
            Some(tensor(norm.forward(values.as_slice()?), x.shape()))
        };
        fast().unwrap_or_else(|| composed::rms_norm::<Self>(x.clone(), gamma.clone(), epsilon))
    }

    fn rms_norm_backward(
        x: FlexTensor,
        gamma: FlexTensor,
        mut gradient: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor) {
        let fast = |gradient: &mut FlexTensor| {
            let [values, gammas] = [dense(&x)?, dense(&gamma)?];
            let gammas = gammas.as_slice()?;
            let norm = rms(rows(&x, &gamma)?, gammas, gammas, epsilon);
            let (dx, [d_gamma, _]) = rows_backward(&norm, values.as_slice()?, gradient)?;
            Some((dx, tensor(d_gamma, gamma.shape())))
        };
        fast(&mut gradient)
            .unwrap_or_else(|| composed::rms_norm_backward::<Self>(x.clone(), gamma.clone(), gradient.clone(), epsilon))
    }

    fn modulate(x: FlexTensor, shift: FlexTensor, scale: FlexTensor) -> FlexTensor {
        let fast = || {
            let [values, shift, scales] = [dense(&x)?, dense(&shift)?, dense(&scale)?];
            let affine = RowAffine { rows: rows(&x, &scale)?, factor: scales.as_slice()?, offset: 1.0 };
            Some(tensor(affine.forward(values.as_slice()?, Add::Entry(shift.as_slice()?)), x.shape()))
        };
        fast().unwrap_or_else(|| composed::modulate::<Self>(x.clone(), shift.clone(), scale.clone()))
    }

    fn modulate_backward(
        x: FlexTensor,
        scale: FlexTensor,
        gradient: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let fast = || {
            let [values, scales, gradient] = [dense(&x)?, dense(&scale)?, dense(&gradient)?];
            let affine = RowAffine { rows: rows(&x, &scale)?, factor: scales.as_slice()?, offset: 1.0 };
            let (dx, sums) = affine.backward(values.as_slice()?, gradient.as_slice()?);
            let [d_scale, d_shift] = sums.map(|sum| tensor(sum, scale.shape()));
            Some((tensor(dx, x.shape()), d_shift, d_scale))
        };
        fast().unwrap_or_else(|| composed::modulate_backward::<Self>(x.clone(), scale.clone(), gradient.clone()))
    }

    fn gated_residual(x: FlexTensor, gate: FlexTensor, y: FlexTensor) -> FlexTensor {
        let fast = || {
            let [values, gates, branch] = [dense(&x)?, dense(&gate)?, dense(&y)?];
            let affine = RowAffine { rows: rows(&y, &gate)?, factor: gates.as_slice()?, offset: 0.0 };
            Some(tensor(affine.forward(branch.as_slice()?, Add::Row(values.as_slice()?)), x.shape()))
        };
        fast().unwrap_or_else(|| composed::gated_residual::<Self>(x.clone(), gate.clone(), y.clone()))
    }

    fn gated_residual_backward(gate: FlexTensor, y: FlexTensor, gradient: FlexTensor) -> (FlexTensor, FlexTensor) {
        let fast = || {
            let [gates, branch, gradient] = [dense(&gate)?, dense(&y)?, dense(&gradient)?];
            let affine = RowAffine { rows: rows(&y, &gate)?, factor: gates.as_slice()?, offset: 0.0 };
            let (dy, [d_gate, _]) = affine.backward(branch.as_slice()?, gradient.as_slice()?);
            Some((tensor(d_gate, gate.shape()), tensor(dy, y.shape())))
        };
        fast().unwrap_or_else(|| composed::gated_residual_backward::<Self>(gate.clone(), y.clone(), gradient.clone()))
    }

    fn mix_rows(x: FlexTensor, y: FlexTensor, a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let fast = || {
            let [values, others, of_values, of_others] = [dense(&x)?, dense(&y)?, dense(&a)?, dense(&b)?];
            let slices = ([values.as_slice()?, others.as_slice()?], [of_values.as_slice()?, of_others.as_slice()?]);
            let [_, width] = x.shape().dims();
            (width > 0).then(|| tensor(mix::mix(width, slices.0, slices.1), x.shape()))
        };
        fast().unwrap_or_else(|| composed::mix_rows::<Self>(x.clone(), y.clone(), a.clone(), b.clone()))
    }

    fn mean_squared_error(x: FlexTensor, y: FlexTensor) -> FlexTensor {
        let fast = || {
            let [values, others] = [dense(&x)?, dense(&y)?];
            let mean = |x: &[f32], y| (!x.is_empty()).then(|| squared_error::mean(x, y));
            Some(tensor(vec![mean(values.as_slice()?, others.as_slice()?)?], Shape::new([1])))
        };
        fast().unwrap_or_else(|| composed::mean_squared_error::<Self>(x.clone(), y.clone()))
    }

    fn mean_squared_error_backward(x: FlexTensor, y: FlexTensor, gradient: FlexTensor) -> FlexTensor {
        let fast = || {
            let [values, others, slope] = [dense(&x)?, dense(&y)?, dense(&gradient)?];
            let (values, others, slope) = (values.as_slice()?, others.as_slice()?, slope.as_slice::<f32>()?);
            let factor = 2.0 * slope.first().copied()? / values.len() as f32;
            Some(tensor(squared_error::gradient(values, others, factor), x.shape()))
        };
        fast().unwrap_or_else(|| composed::mean_squared_error_backward::<Self>(x.clone(), y.clone(), gradient.clone()))
    }

    fn beside(x: FlexTensor, y: FlexTensor) -> FlexTensor {
        let fast = || {
            let ([rows, m], [_, n]) = (x.shape().dims(), y.shape().dims());
            let [values, others] = [dense(&x)?, dense(&y)?];
            let joined = |x, y| tensor(mix::beside(rows, x, y), Shape::new([rows, m + n]));
            (rows * m * n > 0).then(|| Some(joined(values.as_slice()?, others.as_slice()?)))?
        };
        fast().unwrap_or_else(|| composed::beside::<Self>(x.clone(), y.clone()))
    }

    fn dot_product_attention(q: FlexTensor, k: FlexTensor, v: FlexTensor) -> FlexTensor {
        let fast = || {
            let sizes = attention_sizes(&q, &k, &v)?;
            let [q, k, v] = [token_rows(&q)?, token_rows(&k)?, token_rows(&v)?];
            let y = sizes.forward(heads(&q), heads(&k), heads(&v));
            Some(by_token(y, [sizes.batch, sizes.heads, sizes.queries, sizes.width]))
        };
        fast().unwrap_or_else(|| composed::attention::<Self>(q.clone(), k.clone(), v.clone()))
    }

    fn dot_product_attention_backward(
        q: FlexTensor,
        k: FlexTensor,
        v: FlexTensor,
        gradient: FlexTensor,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let fast = || {
            let sizes = attention_sizes(&q, &k, &v)?;
            let [q, k, v, gradient] = [token_rows(&q)?, token_rows(&k)?, token_rows(&v)?, token_rows(&gradient)?];
            let d = sizes.backward(heads(&q), heads(&k), heads(&v), heads(&gradient));
            let Attention { batch, heads, queries, keys, size, width } = sizes;
            let dq = by_token(d.q, [batch, heads, queries, size]);
            Some((dq, by_token(d.k, [batch, heads, keys, size]), by_token(d.v, [batch, heads, keys, width])))
        };
        fast()
            .unwrap_or_else(|| composed::attention_backward::<Self>(q.clone(), k.clone(), v.clone(), gradient.clone()))
    }

    fn linear_layer(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, function: Option<Activation>) -> FlexTensor {
        let fast = || {
            let sizes = linear_sizes(&x, &weight)?;
            let [x, weight, bias] = [dense(&x)?, dense(&weight)?, dense(&bias)?];
            let (values, weight, bias) = (x.as_slice()?, weight.as_slice()?, bias.as_slice()?);
            let y = match function {
                _ if small_linear::pays(&sizes) => {
                    small_linear::forward(sizes.rows, &[Layer { f: function.map(pointwise), weight, bias }], values)
                }
                None => sizes.forward(values, weight, bias),
                Some(_) => return None,
            };
            Some(tensor(y, Shape::new([sizes.rows, sizes.to])))
        };
        fast().unwrap_or_else(|| composed::linear::<Self>(x.clone(), weight.clone(), bias.clone(), function))
    }

    fn linear_layer_backward(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        function: Option<Activation>,
        wanted: Wanted,
    ) -> (FlexTensor, FlexTensor, FlexTensor) {
        let fast = || {
            let sizes = linear_sizes(&x, &weight)?;
            let linear::Linear { rows, from, to } = sizes;
            let [x, weight, gradient_] = [dense(&x)?, dense(&weight)?, dense(&gradient)?];
            let (values, weight, slope) = (x.as_slice()?, weight.as_slice()?, gradient_.as_slice()?);
            let d = match function {
                _ if small_linear::pays(&sizes) => {
                    small_linear::backward(&sizes, function.map(pointwise), values, weight, slope, wanted)
                }
                None => small_linear::Gradients {
                    x: wanted.x.then(|| sizes.input_gradient(weight, slope)),
                    weight: wanted.weight.then(|| sizes.weight_gradient(values, slope)),
                    bias: wanted.bias.then(|| linear::bias_gradient(to, slope)),
                },
                Some(_) => return None,
            };
            let given = |d: Option<Vec<f32>>, shape: Shape| d.map_or_else(|| gradient.clone(), |d| tensor(d, shape));
            let (dx, dw) = (given(d.x, Shape::new([rows, from])), given(d.weight, Shape::new([from, to])));
            Some((dx, dw, given(d.bias, Shape::new([to]))))
        };
        fast().unwrap_or_else(|| {
            composed::linear_backward::<Self>(x.clone(), weight.clone(), gradient.clone(), function, wanted)
        })
    }

    fn joined_attention(qkv: FlexTensor, heads: usize) -> FlexTensor {
        let fast = || {
            let (sizes, qkv) = (joined_sizes(&qkv, heads)?, dense(&qkv)?);
            let [q, k, v] = joined(&sizes, qkv.as_slice()?);
            Some(tensor(sizes.forward(q, k, v), Shape::new([sizes.batch, sizes.keys, heads * sizes.size])))
        };
        fast().unwrap_or_else(|| composed::self_attention::<Self>(qkv.clone(), heads))
    }

    fn joined_attention_backward(qkv: FlexTensor, gradient: FlexTensor, heads: usize) -> FlexTensor {
        let fast = || {
            let (sizes, values, gradient) = (joined_sizes(&qkv, heads)?, dense(&qkv)?, dense(&gradient)?);
            let width = heads * sizes.size;
            let gradient = Heads { values: gradient.as_slice()?, strides: [sizes.keys * width, sizes.size, width] };
            Some(tensor(sizes.backward_joined(joined(&sizes, values.as_slice()?), gradient), qkv.shape()))
        };
        fast().unwrap_or_else(|| composed::self_attention_backward::<Self>(qkv.clone(), gradient.clone(), heads))
    }

    fn adamw(
        weights: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        average: FlexTensor,
        step: AdamW,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        let gradient = composed::widen::<Self>(gradient);
        if [&weights, &gradient, &first, &second, &average].iter().any(|t| t.dtype() != DType::F32) {
            return composed::adamw::<Self>(weights, gradient, first, second, average, step);
        }
        let in_order = |t: FlexTensor| if t.is_contiguous() { t } else { t.to_contiguous() };
        let [weights, gradient, first, second, average] = [weights, gradient, first, second, average].map(in_order);
        let mut held = [weights, first, second, average];
        let new = optimizer::adamw(
            held.each_mut().map(|t| if is_own(t) { Held::Alone(t.storage_mut()) } else { Held::Shared(slice(t)) }),
            slice(&gradient),
            &step,
        );
        for (held, new) in held.iter_mut().zip(new) {
            if let Some(new) = new {
                *held = tensor(new, held.shape());
            }
        }
        let [weights, first, second, average] = held;
        (weights, first, second, average)
    }

    fn sum_of_squares(x: FlexTensor) -> FlexTensor {
        let x = composed::widen::<Self>(x);
        let fast = || {
            let sum = optimizer::sum_of_squares(dense(&x)?.as_slice()?);
            Some(tensor(vec![sum as f32], Shape::new([1])))
        };
        fast().unwrap_or_else(|| composed::sum_of_squares::<Self>(x.clone()))
    }

    fn convolution(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, steps: ConvSteps) -> FlexTensor {
        let fast = || {
            let shape = conv_shape(&x, &weight, steps)?;
            let [x, weight, bias] = [dense(&x)?, dense(&weight)?, dense(&bias)?];
            let y = conv2d::forward(&shape, x.as_slice()?, weight.as_slice()?, bias.as_slice()?);
            Some(tensor(y, output(&shape)))
        };
        fast().unwrap_or_else(|| composed::conv2d::<Self>(x.clone(), weight.clone(), bias.clone(), steps))
    }

    fn convolution_input_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        steps: ConvSteps,
    ) -> FlexTensor {
        let fast = || {
            let shape = conv_shape(&x, &weight, steps)?;
            let [weight, gradient] = [dense(&weight)?, dense(&gradient)?];
            let dx = conv2d::input_gradient(&shape, weight.as_slice()?, gradient.as_slice()?);
            Some(tensor(dx, x.shape()))
        };
        fast().unwrap_or_else(|| {
            composed::conv2d_input_gradient::<Self>(x.clone(), weight.clone(), gradient.clone(), steps)
        })
    }

    fn convolution_weight_gradient(
        x: FlexTensor,
        weight: FlexTensor,
        gradient: FlexTensor,
        steps: ConvSteps,
    ) -> FlexTensor {
        let fast = || {
            let shape = conv_shape(&x, &weight, steps)?;
            let [values, gradient] = [dense(&x)?, dense(&gradient)?];
            let dw = conv2d::weight_gradient(&shape, values.as_slice()?, gradient.as_slice()?);
            Some(tensor(dw, weight.shape()))
        };
        fast().unwrap_or_else(|| {
            composed::conv2d_weight_gradient::<Self>(x.clone(), weight.clone(), gradient.clone(), steps)
        })
    }

    fn convolution_bias_gradient(gradient: FlexTensor) -> FlexTensor {
        let fast = || {
            let [batch, channels, height, width] = gradient.shape().dims();
            let db = conv2d::bias_gradient([batch, channels, height * width], dense(&gradient)?.as_slice()?);
            Some(tensor(db, Shape::new([channels])))
        };
        fast().unwrap_or_else(|| composed::conv2d_bias_gradient::<Self>(gradient.clone()))
    }
}

/// The sum in one pass; or on with `x` where the tensors are tracked, of another type or scattered in memory.
pub(crate) fn weighted_sum<const D: usize>(
    x: Tensor<D>,
    scale: f64,
    terms: &[(f64, &Tensor<D>)],
) -> ControlFlow<Tensor<D>, Tensor<D>> {
    let shape = x.shape();
    let same = terms.iter().all(|(_, d)| d.shape() == shape);
    let mut x = x.into_dispatch();
    let terms = terms.iter().filter(|(c, _)| *c != 0.0);
    let terms: Vec<_> = terms.map(|(c, d)| (*c as f32, (*d).clone().into_dispatch())).collect();
    let slices: Vec<(f32, &[f32])> = terms.iter().filter_map(|(c, d)| Some((*c, dense_slice(&d.kind)?))).collect();
    if !same || slices.len() < terms.len() || dense_slice(&x.kind).is_none() {
        return ControlFlow::Continue(Tensor::from_dispatch(x));
    }
    if let DispatchTensorKind::Flex(BackendTensor::Float(t)) = &mut x.kind {
        match own(t) {
            Some(values) => weighted_sum::weighted_sum_in_place(values, scale as f32, &slices),
            None => *t = tensor(weighted_sum::weighted_sum(slice(t), scale as f32, &slices), shape),
        }
    }
    ControlFlow::Break(Tensor::from_dispatch(x))
}

/// What the layers make of `x`; None where one is too large, or a tensor is tracked, of another type or scattered in memory.
pub(crate) fn linear_chain(
    x: &Tensor<2>,
    layers: &[(Tensor<2>, Option<Tensor<1>>)],
    function: Activation,
) -> Option<Tensor<2>> {
    let [rows, from] = x.dims();
    let to = layers.last().map_or(0, |(weight, _)| weight.dims()[1]);
    let small = |weight: &Tensor<2>| {
        let [from, to] = weight.dims();
        small_linear::pays(&linear::Linear { rows, from, to })
    };
    if rows * from * to == 0 || !layers.iter().all(|(weight, _)| small(weight)) {
        return None;
    }
    let mut x = x.clone().into_dispatch();
    let parts: Vec<_> = layers
        .iter()
        .map(|(weight, bias)| (weight.clone().into_dispatch(), bias.clone().map(Tensor::into_dispatch)))
        .collect();
    let nothing = vec![0.0; layers.iter().map(|(weight, _)| weight.dims()[1]).max().unwrap_or(0)];
    let links = parts.iter().zip(layers).enumerate().map(|(index, ((weight, bias), (shape, _)))| {
        let bias = match bias {
            Some(bias) => dense_slice(&bias.kind)?,
            None => &nothing[..shape.dims()[1]],
        };
        Some(Layer { f: (index > 0).then(|| pointwise(function)), weight: dense_slice(&weight.kind)?, bias })
    });
    let y = links
        .collect::<Option<Vec<_>>>()
        .and_then(|links| Some(small_linear::forward(rows, &links, dense_slice(&x.kind)?)));
    match (y, &mut x.kind) {
        (Some(y), DispatchTensorKind::Flex(BackendTensor::Float(t))) => *t = tensor(y, Shape::new([rows, to])),
        _ => return None,
    }
    Some(Tensor::from_dispatch(x))
}

/// The elements of an f32 tensor on Flex that nobody tracks, in order.
fn dense_slice(kind: &DispatchTensorKind) -> Option<&[f32]> {
    match kind {
        DispatchTensorKind::Flex(BackendTensor::Float(t)) if t.dtype() == DType::F32 && t.is_contiguous() => {
            t.as_slice()
        }
        _ => None,
    }
}

/// The tensor with its elements in order of its shape, copied only where they are not; None for types other than f32.
fn dense(x: &FlexTensor) -> Option<FlexTensor> {
    (x.dtype() == DType::F32).then(|| if x.is_contiguous() { x.clone() } else { x.to_contiguous() })
}

/// The elements of a tensor that no other tensor shares, and that are all its memory holds.
fn own(x: &mut FlexTensor) -> Option<&mut [f32]> {
    is_own(x).then(|| x.storage_mut())
}

fn is_own(x: &FlexTensor) -> bool {
    x.dtype() == DType::F32
        && x.is_unique()
        && x.is_contiguous()
        && x.storage::<f32>().len() == x.shape().num_elements()
}

/// The elements of a contiguous f32 tensor.
fn slice(x: &FlexTensor) -> &[f32] {
    x.as_slice().unwrap_or_default()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn norm<'a>(x: &FlexTensor, gamma: &'a [f32], beta: &'a [f32], options: NormOptions) -> group_norm::GroupNorm<'a> {
    let [_, channels, height, width] = x.shape().dims();
    let NormOptions { groups, epsilon, silu } = options;
    group_norm::GroupNorm { channels, groups, pixels: height * width, gamma, beta, epsilon: epsilon as f32, silu }
}

/// `gamma (1 + scale)` and `beta (1 + scale) + shift`, `[images, channels]` as scale and shift are.
fn folded(gamma: &[f32], beta: &[f32], shift: &[f32], scale: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let channels = gamma.len();
    let factors = scale.iter().enumerate().map(|(i, scale)| gamma[i % channels] * (1.0 + scale));
    let offsets = scale.iter().zip(shift).enumerate();
    let offsets = offsets.map(|(i, (scale, shift))| beta[i % channels] * (1.0 + scale) + shift);
    (factors.collect(), offsets.collect())
}

/// The elements of a row of the last axis; None where there are no elements.
fn row_length(x: &FlexTensor) -> Option<usize> {
    let shape = x.shape();
    (shape.num_elements() > 0).then(|| shape[shape.num_dims() - 1])
}

/// How the rows of `x` share the entries of a parameter, `[features]` or `[entries, features]`; None where there is
/// nothing to do.
fn rows(x: &FlexTensor, parameter: &FlexTensor) -> Option<Rows> {
    let (shape, own) = (x.shape(), parameter.shape());
    let features = own[own.num_dims() - 1];
    let entries = if own.num_dims() == 2 { own[0] } else { 1 };
    let len = shape.num_elements();
    (len > 0).then(|| Rows { features, rows: len / (entries * features), entries })
}

fn layer<'a>(rows: Rows, scale: &'a [f32], shift: &'a [f32], options: RowOptions) -> RowNorm<'a> {
    let offset = if options.plus_one { 1.0 } else { 0.0 };
    RowNorm { rows, scale, shift, offset, centred: true, epsilon: options.epsilon as f32 }
}

fn rms<'a>(rows: Rows, gamma: &'a [f32], shift: &'a [f32], epsilon: f64) -> RowNorm<'a> {
    RowNorm { rows, scale: gamma, shift, offset: 0.0, centred: false, epsilon: epsilon as f32 }
}

/// The gradient of the input, in place of that of the output where nobody else holds it, and those of the parameters.
fn rows_backward(norm: &RowNorm<'_>, x: &[f32], gradient: &mut FlexTensor) -> Option<(FlexTensor, [Vec<f32>; 2])> {
    if let Some(values) = own(gradient) {
        let sums = norm.backward_in_place(x, values);
        return Some((gradient.clone(), sums));
    }
    let (dx, sums) = norm.backward(x, dense(gradient)?.as_slice()?);
    Some((tensor(dx, gradient.shape()), sums))
}

/// The sizes of an attention of f32; None where there is nothing to do.
fn attention_sizes(q: &FlexTensor, k: &FlexTensor, v: &FlexTensor) -> Option<Attention> {
    let ([batch, heads, queries, size], [_, _, keys, width]) = (q.shape().dims(), v.shape().dims());
    let some = [batch, heads, queries, keys, size, width].iter().all(|n| *n > 0);
    let floats = [q, k, v].iter().all(|t| t.dtype() == DType::F32);
    (some && floats).then_some(Attention { batch, heads, queries, keys, size, width })
}

/// The tensor `[batch, heads, tokens, size]`, copied only where the elements of a token do not lie side by side.
fn token_rows(x: &FlexTensor) -> Option<FlexTensor> {
    if x.dtype() != DType::F32 {
        return None;
    }
    let strides = x.layout().strides();
    let dense = (strides[3] == 1 || x.shape()[3] == 1) && strides.iter().all(|stride| *stride >= 0);
    Some(if dense { x.clone() } else { x.to_contiguous() })
}

/// Where the tokens of such a tensor lie.
fn heads(x: &FlexTensor) -> Heads<'_> {
    let strides = x.layout().strides();
    let strides = [strides[0], strides[1], strides[2]].map(isize::unsigned_abs);
    Heads { values: &x.storage()[x.layout().start_offset()..], strides }
}

/// The sizes of an attention between the tokens of `[batch, tokens, 3 * heads * size]`; None where there is nothing to
/// do.
fn joined_sizes(qkv: &FlexTensor, heads: usize) -> Option<Attention> {
    let [batch, tokens, features] = qkv.shape().dims();
    let size = features / (3 * heads);
    (qkv.shape().num_elements() > 0).then_some(Attention {
        batch,
        heads,
        queries: tokens,
        keys: tokens,
        size,
        width: size,
    })
}

/// Its queries, keys and values.
fn joined<'a>(sizes: &Attention, values: &'a [f32]) -> [Heads<'a>; 3] {
    let width = sizes.heads * sizes.size;
    [0, 1, 2]
        .map(|part| Heads { values: &values[part * width..], strides: [sizes.keys * 3 * width, sizes.size, 3 * width] })
}

/// `[batch, heads, tokens, size]` seen in elements that lie as `[batch, tokens, heads, size]`: the order in which heads
/// are joined again.
fn by_token(values: Vec<f32>, [batch, heads, tokens, size]: [usize; 4]) -> FlexTensor {
    tensor(values, Shape::new([batch, tokens, heads, size])).transpose(1, 2)
}

/// The function as part of another operator.
fn pointwise(function: Activation) -> elementwise::Pointwise {
    with_function!(function, f => elementwise::Pointwise::of(f))
}

fn linear_sizes(x: &FlexTensor, weight: &FlexTensor) -> Option<linear::Linear> {
    let ([rows, from], [_, to]) = (x.shape().dims(), weight.shape().dims());
    (rows > 0 && from > 0 && to > 0).then_some(linear::Linear { rows, from, to })
}

fn conv_shape(x: &FlexTensor, weight: &FlexTensor, steps: ConvSteps) -> Option<Conv2dShape> {
    Conv2dShape::new(x.shape().dims(), weight.shape().dims(), steps.stride, steps.padding)
}

fn output(shape: &Conv2dShape) -> Shape {
    Shape::new([shape.batch, shape.channels_out, shape.output[0], shape.output[1]])
}
