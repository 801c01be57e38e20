//! The fast paths on Burn's Flex backend, for f32; other types take the bodies made of Burn's operators.
use crate::composed;
use crate::host::{conv2d, conv2d::Conv2dShape, group_norm, silu};
use crate::kernels::{ConvSteps, Kernels, NormOptions};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{DType, Shape, TensorData};

impl Kernels for Flex {
    fn silu(mut x: FlexTensor) -> FlexTensor {
        if let Some(values) = own(&mut x) {
            silu::silu_in_place(values);
            return x;
        }
        let fast = || Some(tensor(silu::silu(dense(&x)?.as_slice()?), x.shape()));
        fast().unwrap_or_else(|| composed::silu::<Self>(x.clone()))
    }

    fn silu_backward(x: FlexTensor, mut gradient: FlexTensor) -> FlexTensor {
        // The gradient belongs to nobody else as a rule: it makes room for the result.
        if let Some(x) = dense(&x)
            && let Some(x) = x.as_slice()
            && let Some(values) = own(&mut gradient)
        {
            silu::silu_backward_in_place(x, values);
            return gradient;
        }
        let fast =
            || Some(tensor(silu::silu_backward(dense(&x)?.as_slice()?, dense(&gradient)?.as_slice()?), x.shape()));
        fast().unwrap_or_else(|| composed::silu_backward::<Self>(x.clone(), gradient.clone()))
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
            Some((tensor(d.x, x.shape()), tensor(d.gamma, gamma.shape()), tensor(d.beta, beta.shape())))
        };
        fast().unwrap_or_else(|| {
            composed::group_norm_backward::<Self>(x.clone(), gamma.clone(), beta.clone(), gradient.clone(), options)
        })
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

/// The tensor with its elements in order of its shape, copied only where they are not; None for types other than f32.
fn dense(x: &FlexTensor) -> Option<FlexTensor> {
    (x.dtype() == DType::F32).then(|| if x.is_contiguous() { x.clone() } else { x.to_contiguous() })
}

/// The elements of a tensor that no other tensor shares, and that are all its memory holds.
fn own(x: &mut FlexTensor) -> Option<&mut [f32]> {
    if x.dtype() != DType::F32 || !x.is_contiguous() || x.storage::<f32>().len() != x.shape().num_elements() {
        return None;
    }
    x.try_storage_mut()
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

fn norm<'a>(x: &FlexTensor, gamma: &'a [f32], beta: &'a [f32], options: NormOptions) -> group_norm::GroupNorm<'a> {
    let [_, channels, height, width] = x.shape().dims();
    let NormOptions { groups, epsilon, silu } = options;
    group_norm::GroupNorm { channels, groups, pixels: height * width, gamma, beta, epsilon: epsilon as f32, silu }
}

fn conv_shape(x: &FlexTensor, weight: &FlexTensor, steps: ConvSteps) -> Option<Conv2dShape> {
    Conv2dShape::new(x.shape().dims(), weight.shape().dims(), steps.stride, steps.padding)
}

fn output(shape: &Conv2dShape) -> Shape {
    Shape::new([shape.batch, shape.channels_out, shape.output[0], shape.output[1]])
}
