//! Kernels for cards, written in CubeCL: one source for CUDA, WGSL, SPIR-V, Metal and HIP.
//!
//! A chain of Burn's operators reads what it normalises three times (for the mean, the deviation, the output), and for the gradient leaves half a dozen
//! temporaries of the size of the input in memory. Here a cube keeps to its row or group, whose numbers stay in the cache between the passes. Sums are made in
//! f32 whatever the tensors are in, in an order that shapes, layouts, types and the device decide, not the run.
mod attention;
mod chain;
mod convolution;
mod gate;
mod group_norm;
mod group_norm_last;
mod heads;
#[cfg(feature = "cuda-cpp")]
mod hopper;
#[cfg(not(feature = "cuda-cpp"))]
#[path = "no_hopper.rs"]
mod hopper;
mod layer;
mod many;
mod parts;
mod row_norm;
mod row_sum;
mod softmax;
#[cfg(all(test, any(feature = "wgpu", feature = "cpu")))]
mod tests;
mod untracked;

pub(crate) use attention::{attention, self_attention, self_attention_backward, weights_and_slopes};
pub(crate) use convolution::{convolution, convolution_input_gradient, convolution_weight_gradient};
pub(crate) use layer::{activated_linear, activated_linear_kept, linear, linear_backward};
pub(crate) use parts::{beside, columns, three_beside};
pub(crate) use untracked::{adamw_all, casts, silu_chain, sums_of_squares};

use crate::kernels::{Columns, ConvSteps, NormOptions, RowOptions};
use crate::{AdamW, composed};
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Cube, TensorMetadata, backend_extension};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::permute_nchw_to_nhwc;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;
use std::any::{Any, TypeId};

/// Units of a cube, at most: every backend has so many.
const UNITS: usize = 256;

/// Numbers of a tensor: kernels count in 32 bits, and gaps between rows may make twice as many places of them.
const MOST: usize = 1 << 31;
/// Places of memory between the first and the last of them.
const MOST_PLACES: u64 = 1 << 32;

/// Which of the two matrices of a product are given with rows for columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Turned {
    Neither,
    Left,
    Right,
}

#[cfg_attr(not(any(feature = "fusion", feature = "cuda-cpp")), allow(dead_code))]
impl Turned {
    /// Rows, columns and inner length of the product of matrices `[.., rows, columns]`.
    pub(crate) fn sizes(self, a: &Shape, b: &Shape) -> [usize; 3] {
        let last = |s: &Shape| [s[s.num_dims() - 2], s[s.num_dims() - 1]];
        let ([i, j], [k, l]) = (last(a), last(b));
        match self {
            Turned::Neither => [i, l, j],
            Turned::Right => [i, k, j],
            Turned::Left => [j, l, i],
        }
    }

    pub(crate) fn shape(self, a: &Shape, b: &Shape) -> Shape {
        let [m, n, _] = self.sizes(a, b);
        let mut shape: Vec<usize> = a.iter().copied().take(a.num_dims() - 2).collect();
        shape.extend([m, n]);
        Shape::from(shape)
    }
}

/// The backend below fusion, which calls the kernels in its own time. Without the feature it is `Cube` as it is.
#[cfg(feature = "fusion")]
type Bare = burn_cubecl::CubeBackend;
#[cfg(not(feature = "fusion"))]
type Bare = Cube;

#[backend_extension(Cube, Fusion: cfg(feature = "fusion"))]
pub(crate) trait CardKernels: Backend {
    /// As [`Kernels::row_norm`](crate::kernels::Kernels::row_norm).
    #[fusion(dtype = x, shape = x)]
    fn card_row_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: RowOptions,
    ) -> FloatTensor<Self>;

    /// The gradient of `x`, and those of the scale and the shift in parts to be added, `[parts, entries, features]`.
    #[fusion(meta = |x, scale, _, _| {
        let (shape, dtype) = row_norm::sums(&x.shape, &scale.shape, x.dtype);
        let sums = burn::backend::fusion::custom::TensorSpec::new(shape, dtype);
        (x.clone(), sums.clone(), sums)
    })]
    fn card_row_norm_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: RowOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// The gradients of a gate, in parts to be added, `[parts, entries, features]`, and of what it multiplies.
    #[fusion(meta = |gate, y, _| {
        let (shape, dtype) = row_norm::sums(&y.shape, &gate.shape, y.dtype);
        (burn::backend::fusion::custom::TensorSpec::new(shape, dtype), y.clone())
    })]
    fn card_gate_backward(
        gate: FloatTensor<Self>,
        y: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// The softmax of each row.
    #[fusion(dtype = scores, shape = scores)]
    fn card_softmax(scores: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The softmax P of the rows of `scores`, and `P (slopes - sum(P slopes))`.
    #[fusion(meta = |scores, _| (scores.clone(), scores.clone()))]
    fn card_weights_and_slopes(
        scores: FloatTensor<Self>,
        slopes: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Of `[batch, tokens, 3 * heads * size]` three of `[batch, heads, tokens, size]`, the first times a factor.
    #[fusion(meta = |x, heads, _| {
        let spec = burn::backend::fusion::custom::TensorSpec::new(heads::apart(&x.shape, 3, *heads), x.dtype);
        (spec.clone(), spec.clone(), spec)
    })]
    fn card_split_three(
        x: FloatTensor<Self>,
        heads: usize,
        factor: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// `[batch, tokens, heads * size]` to `[batch, heads, tokens, size]`
    #[fusion(dtype = x, shape = heads::apart(x, 1, *heads))]
    fn card_split_one(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// The way back of [`CardKernels::card_split_three`].
    #[fusion(dtype = a, shape = heads::joined(a, 3))]
    fn card_join_three(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        factor: f64,
    ) -> FloatTensor<Self>;

    /// The way back of [`CardKernels::card_split_one`].
    #[fusion(dtype = x, shape = heads::joined(x, 1))]
    fn card_join_one(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// Some columns of a matrix.
    #[fusion(dtype = x, shape = Shape::new([x[0], part.wide]))]
    fn card_columns(x: FloatTensor<Self>, part: Columns) -> FloatTensor<Self>;

    /// The columns of two matrices of one size side by side.
    #[fusion(dtype = x, shape = Shape::new([x[0], 2 * x[1]]))]
    fn card_beside(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The columns of three matrices of one size side by side.
    #[fusion(dtype = x, shape = Shape::new([x[0], 3 * x[1]]))]
    fn card_three_beside(x: FloatTensor<Self>, y: FloatTensor<Self>, z: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The sum of the rows of `[.., columns]`, in this type.
    #[fusion(meta = |x, dtype| {
        let columns = x.shape[x.shape.num_dims() - 1];
        burn::backend::fusion::custom::TensorSpec::new(Shape::new([columns]), *dtype)
    })]
    fn card_row_sum(x: FloatTensor<Self>, dtype: DType) -> FloatTensor<Self>;

    /// The products of the matrices `[.., rows, columns]` of two tensors.
    #[fusion(dtype = a, shape = turned.shape(a, b))]
    fn card_product(a: FloatTensor<Self>, b: FloatTensor<Self>, turned: Turned) -> FloatTensor<Self>;

    /// `x weight + bias`
    #[fusion(dtype = x, shape = Turned::Neither.shape(x, weight))]
    fn card_linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// GELU in its tanh form of it.
    #[fusion(dtype = x, shape = Turned::Neither.shape(x, weight))]
    fn card_gelu(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;

    /// The same, and what it takes.
    #[fusion(meta = |x, weight, _| {
        let shape = Turned::Neither.shape(&x.shape, &weight.shape);
        let spec = burn::backend::fusion::custom::TensorSpec::new(shape, x.dtype);
        (spec.clone(), spec)
    })]
    fn card_gelu_kept(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Attention of `[batch, tokens, 3 * heads * size]`, `[batch, tokens, heads * size]`.
    #[fusion(dtype = x, shape = Shape::new([x[0], x[1], x[2] / 3]))]
    fn card_joined_attention(x: FloatTensor<Self>, heads: usize) -> FloatTensor<Self>;

    /// The gradient of its input.
    #[fusion(dtype = x, shape = x)]
    fn card_joined_attention_backward(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        heads: usize,
    ) -> FloatTensor<Self>;

    /// A convolution with steps of 1.
    #[fusion(dtype = x, shape = convolution::out(x, weight, *steps))]
    fn card_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self>;

    /// The gradient of its images, of this shape.
    #[fusion(dtype = gradient, shape = Shape::new(*images))]
    fn card_convolution_images(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
        images: [usize; 4],
    ) -> FloatTensor<Self>;

    /// The gradient of its kernel, of this shape.
    #[fusion(dtype = gradient, shape = Shape::new(*kernel))]
    fn card_convolution_kernel(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        steps: ConvSteps,
        kernel: [usize; 4],
    ) -> FloatTensor<Self>;

    /// The sum of each channel of `[images, channels, height, width]`.
    #[fusion(dtype = x, shape = Shape::new([x[1]]))]
    fn card_channel_sum(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `f(factor h + offset)` with h the normalised groups, and a factor and an offset for each channel of `[1, channels]` or `[images, channels]`.
    #[fusion(dtype = x, shape = x)]
    fn card_group_norm(
        x: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self>;

    /// The gradient of `x`, and the sums of g h and of g over the pixels of each channel, f32, `[images, channels]`, with g the gradient before the activation.
    #[fusion(meta = |x, _, _, _, _| {
        let sums = burn::backend::fusion::custom::TensorSpec::new(group_norm::sums(&x.shape), DType::F32);
        (x.clone(), sums.clone(), sums)
    })]
    fn card_group_norm_backward(
        x: FloatTensor<Self>,
        factor: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        options: NormOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

type Own = FloatTensor<Bare>;

impl CardKernels for Bare {
    fn card_row_norm(x: Own, scale: Own, shift: Own, options: RowOptions) -> Own {
        same(row_norm::forward(same(x), same(scale), same(shift), options))
    }

    fn card_row_norm_backward(x: Own, scale: Own, gradient: Own, options: RowOptions) -> (Own, Own, Own) {
        same(row_norm::backward(same(x), same(scale), same(gradient), options))
    }

    fn card_gate_backward(gate: Own, y: Own, gradient: Own) -> (Own, Own) {
        same(gate::backward(same(gate), same(y), same(gradient)))
    }

    fn card_softmax(scores: Own) -> Own {
        same(softmax::softmax(same(scores)))
    }

    fn card_split_three(x: Own, heads: usize, factor: f64) -> (Own, Own, Own) {
        let [a, b, c] = heads::split(same(x), heads, factor).map(same);
        (a, b, c)
    }

    fn card_split_one(x: Own, heads: usize) -> Own {
        let [x] = heads::split(same(x), heads, 1.0);
        same(x)
    }

    fn card_join_three(a: Own, b: Own, c: Own, factor: f64) -> Own {
        same(heads::join([a, b, c].map(same), factor))
    }

    fn card_join_one(x: Own) -> Own {
        same(heads::join([same(x)], 1.0))
    }

    fn card_weights_and_slopes(scores: Own, slopes: Own) -> (Own, Own) {
        same(softmax::weights_and_slopes(same(scores), same(slopes)))
    }

    fn card_columns(x: Own, part: Columns) -> Own {
        same(parts::columns_of(same(x), part))
    }

    fn card_beside(x: Own, y: Own) -> Own {
        same(parts::beside_of([x, y].map(same)))
    }

    fn card_three_beside(x: Own, y: Own, z: Own) -> Own {
        same(parts::beside_of([x, y, z].map(same)))
    }

    fn card_row_sum(x: Own, dtype: DType) -> Own {
        same(row_sum::forward(same(x), dtype))
    }

    fn card_product(a: Own, b: Own, turned: Turned) -> Own {
        same(hopper::product(same(a), same(b), None, turned))
    }

    fn card_linear(x: Own, weight: Own, bias: Own) -> Own {
        same(hopper::product(same(x), same(weight), Some(same(bias)), Turned::Neither))
    }

    fn card_gelu(x: Own, weight: Own, bias: Own) -> Own {
        let after = hopper::After::Gelu;
        same(hopper::product_then(same(x), same(weight), Some(same(bias)), Turned::Neither, after).0)
    }

    fn card_gelu_kept(x: Own, weight: Own, bias: Own) -> (Own, Own) {
        let after = hopper::After::GeluOfKept;
        let (y, kept) = hopper::product_then(same(x), same(weight), Some(same(bias)), Turned::Neither, after);
        (same(y), same(kept.unwrap_or_else(|| unreachable!("it was to be kept"))))
    }

    fn card_joined_attention(x: Own, heads: usize) -> Own {
        same(hopper::attention_forward(same(x), heads))
    }

    fn card_joined_attention_backward(x: Own, gradient: Own, heads: usize) -> Own {
        same(hopper::attention_backward(same(x), same(gradient), heads))
    }

    fn card_convolution(x: Own, weight: Own, bias: Own, steps: ConvSteps) -> Own {
        same(hopper::convolution::forward(same(x), same(weight), same(bias), steps))
    }

    fn card_convolution_images(weight: Own, gradient: Own, steps: ConvSteps, images: [usize; 4]) -> Own {
        same(hopper::convolution::slope_of_images(&Shape::new(images), same(weight), same(gradient), steps))
    }

    fn card_convolution_kernel(x: Own, gradient: Own, steps: ConvSteps, kernel: [usize; 4]) -> Own {
        same(hopper::convolution::slope_of_kernel(same(x), &Shape::new(kernel), same(gradient), steps))
    }

    fn card_channel_sum(x: Own) -> Own {
        let dtype = x.dtype();
        same(row_sum::forward(permute_nchw_to_nhwc(same(x)), dtype))
    }

    fn card_group_norm(x: Own, factor: Own, offset: Own, options: NormOptions) -> Own {
        same(group_norm::forward(same(x), same(factor), same(offset), options))
    }

    fn card_group_norm_backward(
        x: Own,
        factor: Own,
        offset: Own,
        gradient: Own,
        options: NormOptions,
    ) -> (Own, Own, Own) {
        same(group_norm::backward(same(x), same(factor), same(offset), same(gradient), options))
    }
}

/// A value of a type under its other name.
fn same<A: Any, B: Any>(a: A) -> B {
    let any: Box<dyn Any> = Box::new(a);
    *any.downcast().unwrap_or_else(|_| unreachable!("`takes` compares the types"))
}

/// Whether the kernels take such tensors: of types that cards compute in, with something in them and not too much. And whether they are CubeCL's at all: someone may have turned
/// fusion on in Burn, but not here.
fn takes<const N: usize>(tensors: [&FloatTensor<Cube>; N]) -> bool {
    let known = |t: &&FloatTensor<Cube>| {
        let count = t.shape().num_elements();
        matches!(t.dtype(), DType::F32 | DType::F16 | DType::BF16) && (1..MOST).contains(&count)
    };
    TypeId::of::<FloatTensor<Bare>>() == TypeId::of::<CubeTensor>() && tensors.iter().all(known)
}

pub(crate) fn row_norm(
    x: FloatTensor<Cube>,
    scale: FloatTensor<Cube>,
    shift: FloatTensor<Cube>,
    options: RowOptions,
) -> FloatTensor<Cube> {
    if takes([&x, &scale, &shift]) && scale.dtype() == shift.dtype() {
        Cube::card_row_norm(x, scale, shift, options)
    } else {
        composed::layer_norm::<Cube>(x, scale, shift, options)
    }
}

pub(crate) fn row_norm_backward(
    x: FloatTensor<Cube>,
    scale: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    options: RowOptions,
) -> (FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>) {
    if !takes([&x, &scale, &gradient]) || x.dtype() != gradient.dtype() {
        return composed::layer_norm_backward::<Cube>(x, scale, gradient, options);
    }
    let (dtype, shape) = (x.dtype(), scale.shape());
    let (dx, d_scale, d_shift) = Cube::card_row_norm_backward(x, scale, gradient, options);
    let of_parameter = |parts| summed(parts, &shape, dtype);
    (dx, of_parameter(d_scale), of_parameter(d_shift))
}

/// A parameter's gradient, of this shape and type, that is in parts.
fn summed(parts: FloatTensor<Cube>, shape: &Shape, dtype: DType) -> FloatTensor<Cube> {
    let count = parts.shape()[0];
    if count == 1 {
        return composed::narrow::<Cube>(Cube::float_reshape(parts, shape.clone()), dtype);
    }
    let sum = row_sum_as(Cube::float_reshape(parts, Shape::new([count, shape.num_elements()])), dtype);
    Cube::float_reshape(sum, shape.clone())
}

pub(crate) fn gated_residual_backward(
    gate: FloatTensor<Cube>,
    y: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
) -> (FloatTensor<Cube>, FloatTensor<Cube>) {
    if !takes([&gate, &y, &gradient]) || y.dtype() != gradient.dtype() {
        return composed::gated_residual_backward::<Cube>(gate, y, gradient);
    }
    let (dtype, shape) = (y.dtype(), gate.shape());
    let (d_gate, dy) = Cube::card_gate_backward(gate, y, gradient);
    (summed(d_gate, &shape, dtype), dy)
}

/// The sum of the rows of `[rows, columns]`, `[columns]`, in f32 and rounded once.
pub(crate) fn row_sum(x: FloatTensor<Cube>) -> FloatTensor<Cube> {
    let dtype = x.dtype();
    row_sum_as(x, dtype)
}

/// The same in another type.
fn row_sum_as(x: FloatTensor<Cube>, dtype: DType) -> FloatTensor<Cube> {
    if takes([&x]) {
        Cube::card_row_sum(x, dtype)
    } else {
        composed::narrow::<Cube>(composed::sum_of_rows::<Cube>(x), dtype)
    }
}

pub(crate) fn convolution_bias_gradient(gradient: FloatTensor<Cube>) -> FloatTensor<Cube> {
    if takes([&gradient]) { Cube::card_channel_sum(gradient) } else { composed::conv2d_bias_gradient::<Cube>(gradient) }
}

pub(crate) fn group_norm(
    x: FloatTensor<Cube>,
    gamma: FloatTensor<Cube>,
    beta: FloatTensor<Cube>,
    options: NormOptions,
) -> FloatTensor<Cube> {
    if takes([&x, &gamma, &beta]) && gamma.dtype() == beta.dtype() {
        Cube::card_group_norm(x, row(gamma), row(beta), options)
    } else {
        composed::group_norm::<Cube>(x, gamma, beta, options)
    }
}

pub(crate) fn group_norm_backward(
    x: FloatTensor<Cube>,
    gamma: FloatTensor<Cube>,
    beta: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    options: NormOptions,
) -> (FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>) {
    let alike = gamma.dtype() == beta.dtype() && x.dtype() == gradient.dtype();
    if !alike || !takes([&x, &gamma, &beta, &gradient]) {
        return composed::group_norm_backward::<Cube>(x, gamma, beta, gradient, options);
    }
    let (dtype, channels) = (x.dtype(), gamma.shape());
    let (dx, a, b) = Cube::card_group_norm_backward(x, row(gamma), row(beta), gradient, options);
    let [d_gamma, d_beta] = [a, b].map(|sums| Cube::float_reshape(row_sum_as(sums, dtype), channels.clone()));
    (dx, d_gamma, d_beta)
}

pub(crate) fn modulated_group_norm(
    x: FloatTensor<Cube>,
    gamma: FloatTensor<Cube>,
    beta: FloatTensor<Cube>,
    shift: FloatTensor<Cube>,
    scale: FloatTensor<Cube>,
    options: NormOptions,
) -> FloatTensor<Cube> {
    if !takes([&x, &gamma, &beta, &shift, &scale]) {
        return composed::modulated_group_norm::<Cube>(x, gamma, beta, shift, scale, options);
    }
    let [gamma, beta, shift, scale] = [gamma, beta, shift, scale].map(composed::widen::<Cube>);
    let (factor, offset) = composed::folded::<Cube>(gamma, beta, shift, scale);
    Cube::card_group_norm(x, factor, offset, options)
}

#[allow(clippy::type_complexity)]
pub(crate) fn modulated_group_norm_backward(
    x: FloatTensor<Cube>,
    gamma: FloatTensor<Cube>,
    beta: FloatTensor<Cube>,
    shift: FloatTensor<Cube>,
    scale: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    options: NormOptions,
) -> (FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>) {
    if !takes([&x, &gamma, &beta, &shift, &scale, &gradient]) || x.dtype() != gradient.dtype() {
        return composed::modulated_group_norm_backward::<Cube>(x, gamma, beta, shift, scale, gradient, options);
    }
    let dtype = x.dtype();
    let [gamma, beta, shift, scale] = [gamma, beta, shift, scale].map(composed::widen::<Cube>);
    let (factor, offset) = composed::folded::<Cube>(gamma.clone(), beta.clone(), shift, scale.clone());
    let (dx, a, b) = Cube::card_group_norm_backward(x, factor, offset, gradient, options);
    let slopes = composed::modulation_gradients::<Cube>(a, b, gamma, beta, scale);
    let [d_gamma, d_beta, d_shift, d_scale] = slopes.map(|t| composed::narrow::<Cube>(t, dtype));
    (dx, d_gamma, d_beta, d_shift, d_scale)
}

/// `[1, channels]`
fn row(parameter: FloatTensor<Cube>) -> FloatTensor<Cube> {
    let channels = parameter.shape()[0];
    Cube::float_reshape(parameter, Shape::new([1, channels]))
}

/// Two sums over all units of a cube, the same for each of them.
#[cube]
fn sums_of_cube(a: f32, b: f32, shared_a: &mut Shared<[f32]>, shared_b: &mut Shared<[f32]>) -> (f32, f32) {
    let unit = UNIT_POS as usize;
    shared_a[unit] = a;
    shared_b[unit] = b;
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        sync_cube();
        if unit < half {
            shared_a[unit] += shared_a[unit + half];
            shared_b[unit] += shared_b[unit + half];
        }
        half /= 2;
    }
    sync_cube();
    let sums = (shared_a[0], shared_b[0]);
    // Nobody writes before all have read.
    sync_cube();
    sums
}

/// The largest over all units of a cube, the same for each of them.
#[cube]
fn largest_of_cube(x: f32, shared: &mut Shared<[f32]>) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = x;
    let mut half = CUBE_DIM as usize / 2;
    while half > 0 {
        sync_cube();
        if unit < half {
            shared[unit] = max(shared[unit], shared[unit + half]);
        }
        half /= 2;
    }
    sync_cube();
    let largest = shared[0];
    // Nobody writes before all have read.
    sync_cube();
    largest
}

/// `1 / (1 + exp(-x))`
#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + f32::exp(-x))
}

/// Units for so many numbers: a power of two.
fn units(count: usize) -> usize {
    count.next_power_of_two().clamp(32, UNITS)
}

/// So many cubes, in two dimensions where one has not enough; some may be left over.
fn cubes(count: usize) -> CubeCount {
    const WIDEST: usize = 1 << 15;
    let wide = count.min(WIDEST);
    CubeCount::Static(wide as u32, count.div_ceil(wide) as u32, 1)
}

/// Numbers of a row that a unit reads and writes at once: as many of this type as the device likes, if all rows and the places where they begin have a multiple of so many.
fn at_once(client: &Client, dtype: DType, sizes: &[usize]) -> usize {
    let mut widths = client.io_optimized_vector_sizes(dtype.size());
    widths.find(|wide| sizes.iter().all(|size| size.is_multiple_of(*wide))).unwrap_or(1)
}

fn elem(dtype: DType) -> ElemType {
    ElemType::Float(match dtype {
        DType::F16 => FloatKind::F16,
        DType::BF16 => FloatKind::BF16,
        _ => FloatKind::F32,
    })
}

/// The numbers of a tensor, and how far its rows (of the last axis) are from each other: products lay them out with gaps, and a copy without these would be another pass over all.
fn lines(x: CubeTensor) -> (CubeTensor, u32) {
    let last = x.meta.num_dims() - 1;
    let x = if evenly_spaced(&x) && places(&x) < MOST_PLACES { x } else { into_contiguous(x) };
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let (features, rows) = (shape[last], shape.num_elements() / shape[last]);
    let axes = (0..last).rev();
    let pitch = axes.filter(|&i| shape[i] > 1).map(|i| strides[i]).next().unwrap_or(features);
    let all = Shape::new([(rows - 1) * pitch + features]);
    let CubeTensor { client, handle, device, dtype, .. } = x;
    (CubeTensor::new_contiguous(client, device, all, handle, dtype), pitch as u32)
}

/// From the first element to the last one, with what lies between.
fn places(x: &CubeTensor) -> u64 {
    let axes = x.meta.shape().iter().zip(x.meta.strides().iter());
    axes.map(|(len, stride)| (*len as u64).saturating_sub(1) * *stride as u64).sum::<u64>() + 1
}

/// Whether the elements of a row lie side by side and all rows are equally far from each other.
fn evenly_spaced(x: &CubeTensor) -> bool {
    let (shape, strides) = (x.meta.shape(), x.meta.strides());
    let last = shape.num_dims() - 1;
    let mut next = None;
    let even = (0..last).rev().filter(|&i| shape[i] > 1).all(|i| {
        let fits = next.is_none_or(|next| strides[i] == next) && strides[i] >= shape[last];
        next = Some(strides[i] * shape[i]);
        fits
    });
    !x.meta.is_tiled() && (strides[last] == 1 || shape[last] == 1) && even
}

/// A result on the device of `like`.
fn empty(like: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    let (client, device): (Client, CubeDevice) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, shape, dtype)
}
