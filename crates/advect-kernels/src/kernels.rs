//! The operators as an extension of Burn's backends.
#![allow(unused_variables)] // Without any backend the generated dispatch has no arm to pass its arguments to.
use crate::composed;
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};

/// The sizes of a group normalisation that its tensors do not show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormOptions {
    pub groups: usize,
    pub epsilon: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

/// How a kernel moves over an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSteps {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// Each operator has a body made of Burn's operators; a backend with something better overrides it.
#[backend_extension(Flex: cfg(feature = "flex"), Cube: cfg(feature = "cube"), Remote: cfg(feature = "remote"), Autodiff)]
pub(crate) trait Kernels: Backend {
    /// `x * sigmoid(x)`.
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::silu::<Self>(x)
    }

    /// The gradient of `x`, from the gradient of the output.
    fn silu_backward(x: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::silu_backward::<Self>(x, gradient)
    }

    /// Group normalisation of `[batch, channels, height, width]`.
    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        composed::group_norm::<Self>(x, gamma, beta, options)
    }

    /// The gradients of `x`, `gamma` and `beta`, from the gradient of the output.
    fn group_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::group_norm_backward::<Self>(x, gamma, beta, gradient, options)
    }

    /// Convolution of `[batch, channels_in, height, width]` with `[channels_out, channels_in, kernel, kernel]`, plus `bias`.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        composed::conv2d::<Self>(x, weight, bias, steps)
    }

    /// The gradient of `x`, of which only the shape counts.
    fn convolution_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        composed::conv2d_input_gradient::<Self>(x, weight, gradient, steps)
    }

    /// The gradient of `weight`, of which only the shape counts.
    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        composed::conv2d_weight_gradient::<Self>(x, weight, gradient, steps)
    }

    /// The gradient of the bias.
    fn convolution_bias_gradient(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::conv2d_bias_gradient::<Self>(gradient)
    }
}

#[cfg(feature = "cube")]
impl Kernels for burn::backend::Cube {}

#[cfg(feature = "remote")]
impl Kernels for burn::backend::Remote {}
