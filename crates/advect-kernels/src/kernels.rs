//! The operators as an extension of Burn's backends.
#![allow(unused_variables)] // Without any backend the generated dispatch has no arm to pass its arguments to.
#[cfg(feature = "cube")]
use crate::cards;
use crate::composed;
use crate::optimizer::AdamW;
use burn::backend::{Backend, backend_extension, tensor::FloatTensor};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A function of each element.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activation {
    Silu,
    /// By the error function.
    Gelu,
    /// In its tanh form.
    GeluTanh,
    Sigmoid,
    Tanh,
    Softplus,
    Exp,
}

/// The sizes of a group normalisation that its tensors do not show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NormOptions {
    pub groups: usize,
    pub epsilon: f64,
    /// Whether SiLU follows.
    pub silu: bool,
}

/// How the rows of a layer normalisation are scaled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowOptions {
    pub epsilon: f64,
    /// Whether the factor is 1 + scale, as in a modulation.
    pub plus_one: bool,
}

/// How a kernel moves over an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvSteps {
    pub stride: [usize; 2],
    pub padding: [usize; 2],
}

/// Which columns of a matrix that is taken apart evenly.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    pub index: usize,
    pub wide: usize,
}

/// The gradients of the parts of a matrix, until all that come have come. (Of any backend: an extension's arguments are of none.)
#[derive(Clone, Debug, Default)]
pub(crate) struct Slopes(Arc<Mutex<Vec<Option<Box<dyn Any + Send>>>>>);

impl Slopes {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Option<Box<dyn Any + Send>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which gradients of a layer are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub x: bool,
    pub weight: bool,
    pub bias: bool,
}

/// Each operator has a body made of Burn's operators; a backend with something better overrides it.
#[backend_extension(Flex: cfg(feature = "flex"), Cube: cfg(feature = "cube"), Remote: cfg(feature = "remote"), Autodiff)]
pub(crate) trait Kernels: Backend {
    /// A function of each element.
    fn activation(x: FloatTensor<Self>, function: Activation) -> FloatTensor<Self> {
        composed::activation::<Self>(x, function)
    }

    /// The gradient of `x`, from the gradient of the output.
    fn activation_backward(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Activation,
    ) -> FloatTensor<Self> {
        composed::activation_backward::<Self>(x, gradient, function)
    }

    /// The softmax of each row of the last axis.
    fn row_softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::softmax::<Self>(x)
    }

    /// The gradient of the input, from the output and its gradient.
    fn row_softmax_backward(y: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::softmax_backward::<Self>(y, gradient)
    }

    /// `f(x) weight + bias` of `[rows, from]`, `[from, to]` and `[to]`; without a function `x weight + bias`.
    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Option<Activation>,
    ) -> FloatTensor<Self> {
        composed::linear::<Self>(x, weight, bias, function)
    }

    /// `f(x weight + bias)` of the same.
    fn activated_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Activation,
    ) -> FloatTensor<Self> {
        Self::activation(Self::linear_layer(x, weight, bias, None), function)
    }

    /// The same, and what the function takes.
    fn activated_layer_kept(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let y = Self::linear_layer(x, weight, bias, None);
        (Self::activation(y.clone(), function), y)
    }

    /// The gradients of `x`, `weight` and the bias, from the gradient of the output; those that are not wanted are any tensor.
    fn linear_layer_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Option<Activation>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::linear_backward::<Self>(x, weight, gradient, function, wanted)
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

    /// Group normalisation, then `z (1 + scale) + shift` with `[images, channels]` for all images or for each, then
    /// SiLU if `options` say so.
    fn modulated_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        composed::modulated_group_norm::<Self>(x, gamma, beta, shift, scale, options)
    }

    /// The gradients of `x`, `gamma`, `beta`, `shift` and `scale`, from the gradient of the output.
    #[allow(clippy::type_complexity)]
    fn modulated_group_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::modulated_group_norm_backward::<Self>(x, gamma, beta, shift, scale, gradient, options)
    }

    /// Layer normalisation of `[.., features]` with a scale and a shift of `[features]`, or `[entries, features]`
    /// shared by the rows of each entry.
    fn row_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: RowOptions,
    ) -> FloatTensor<Self> {
        composed::layer_norm::<Self>(x, scale, shift, options)
    }

    /// The gradients of `x`, `scale` and the shift, from the gradient of the output.
    fn row_norm_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: RowOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::layer_norm_backward::<Self>(x, scale, gradient, options)
    }

    /// Root-mean-square normalisation of `[.., features]`.
    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        composed::rms_norm::<Self>(x, gamma, epsilon)
    }

    /// The gradients of `x` and `gamma`, from the gradient of the output.
    fn rms_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::rms_norm_backward::<Self>(x, gamma, gradient, epsilon)
    }

    /// `x (1 + scale) + shift` for `[batch, tokens, features]` and `[entries, features]`.
    fn modulate(x: FloatTensor<Self>, shift: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::modulate::<Self>(x, shift, scale)
    }

    /// The gradients of `x`, the shift and `scale`, from the gradient of the output.
    fn modulate_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::modulate_backward::<Self>(x, scale, gradient)
    }

    /// `x + gate y` for `[batch, tokens, features]` and `[entries, features]`.
    fn gated_residual(x: FloatTensor<Self>, gate: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::gated_residual::<Self>(x, gate, y)
    }

    /// The gradients of `gate` and `y`, from the gradient of the output (which is that of `x`).
    fn gated_residual_backward(
        gate: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        composed::gated_residual_backward::<Self>(gate, y, gradient)
    }

    /// `a x + b y` for `[rows, width]`, with the numbers `[rows, 1]` of each row.
    fn mix_rows(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::mix_rows::<Self>(x, y, a, b)
    }

    /// The mean of `(x - y)^2`, `[1]`.
    fn mean_squared_error(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::mean_squared_error::<Self>(x, y)
    }

    /// The gradient of `x`, from that of the mean; the one of `y` is its negative.
    fn mean_squared_error_backward(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        composed::mean_squared_error_backward::<Self>(x, y, gradient)
    }

    /// `[rows, columns]` as it is, to be taken apart by [`Kernels::columns`].
    fn whole(x: FloatTensor<Self>, parts: usize, slopes: Slopes) -> FloatTensor<Self> {
        x
    }

    /// Some columns of what [`Kernels::whole`] gave, with the same slopes.
    fn columns(x: FloatTensor<Self>, part: Columns, slopes: Slopes) -> FloatTensor<Self> {
        composed::part_of::<Self>(&x, 1, part.index * part.wide, part.wide)
    }

    /// The columns of `[rows, m]` and `[rows, n]` side by side.
    fn beside(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::beside::<Self>(x, y)
    }

    /// Those of three.
    fn three_beside(x: FloatTensor<Self>, y: FloatTensor<Self>, z: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::float_cat(vec![x, y, z], 1)
    }

    /// Attention over `[batch, heads, tokens, size]`.
    fn dot_product_attention(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::attention::<Self>(q, k, v)
    }

    /// The gradients of queries, keys and values, from the gradient of the output.
    fn dot_product_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::attention_backward::<Self>(q, k, v, gradient)
    }

    /// Attention between the tokens of `[batch, tokens, 3 * heads * size]`: queries, keys, values, each ordered by
    /// head.
    fn joined_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        composed::self_attention::<Self>(qkv, heads)
    }

    /// The gradient of `qkv`, from the gradient of the output.
    fn joined_attention_backward(
        qkv: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        composed::self_attention_backward::<Self>(qkv, gradient, heads)
    }

    /// The weights, moments and average after a step.
    fn adamw(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        average: FloatTensor<Self>,
        step: AdamW,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::adamw::<Self>(weights, gradient, first, second, average, step)
    }

    /// The sum of the squares of all elements, `[1]`.
    fn sum_of_squares(x: FloatTensor<Self>) -> FloatTensor<Self> {
        composed::sum_of_squares::<Self>(x)
    }

    /// `y`, whose gradient is taken for that of `x`.
    fn stand_in(_x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        y
    }

    /// Convolution of `[batch, channels_in, height, width]` with `[channels_out, channels_in, kernel, kernel]`, plus
    /// `bias`.
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
impl Kernels for burn::backend::Cube {
    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Option<Activation>,
    ) -> FloatTensor<Self> {
        cards::linear(x, weight, bias, function)
    }

    fn activated_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Activation,
    ) -> FloatTensor<Self> {
        cards::activated_linear(x, weight, bias, function)
    }

    fn activated_layer_kept(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Activation,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        cards::activated_linear_kept(x, weight, bias, function)
    }

    fn linear_layer_backward(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Option<Activation>,
        wanted: Wanted,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        cards::linear_backward(x, weight, gradient, function, wanted)
    }

    fn columns(x: FloatTensor<Self>, part: Columns, slopes: Slopes) -> FloatTensor<Self> {
        cards::columns(x, part)
    }

    fn beside(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        cards::beside(x, y)
    }

    fn three_beside(x: FloatTensor<Self>, y: FloatTensor<Self>, z: FloatTensor<Self>) -> FloatTensor<Self> {
        cards::three_beside(x, y, z)
    }

    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        cards::convolution(x, weight, bias, steps)
    }

    fn convolution_input_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        cards::convolution_input_gradient(x, weight, gradient, steps)
    }

    fn convolution_weight_gradient(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        cards::convolution_weight_gradient(x, weight, gradient, steps)
    }

    fn convolution_bias_gradient(gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        cards::convolution_bias_gradient(gradient)
    }

    fn gated_residual_backward(
        gate: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        cards::gated_residual_backward(gate, y, gradient)
    }

    fn dot_product_attention(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        cards::attention(q, k, v)
    }

    fn dot_product_attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        composed::attention_backward_by::<Self>(q, k, v, gradient, cards::weights_and_slopes)
    }

    fn joined_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        cards::self_attention(qkv, heads)
    }

    fn joined_attention_backward(
        qkv: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self> {
        cards::self_attention_backward(qkv, gradient, heads)
    }

    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        cards::group_norm(x, gamma, beta, options)
    }

    fn group_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        cards::group_norm_backward(x, gamma, beta, gradient, options)
    }

    fn modulated_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        cards::modulated_group_norm(x, gamma, beta, shift, scale, options)
    }

    fn modulated_group_norm_backward(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        cards::modulated_group_norm_backward(x, gamma, beta, shift, scale, gradient, options)
    }

    fn row_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: RowOptions,
    ) -> FloatTensor<Self> {
        cards::row_norm(x, scale, shift, options)
    }

    fn row_norm_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: RowOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        cards::row_norm_backward(x, scale, gradient, options)
    }
}

#[cfg(feature = "remote")]
impl Kernels for burn::backend::Remote {}
