//! Two-dimensional convolution.
use crate::kernels::{ConvSteps, Kernels};
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// Two-dimensional convolution (cross-correlation, as in every deep-learning library) with zero padding.
///
/// On Flex in `f32` it is a matrix product over shifted copies of the image, one copy for each column of the kernel,
/// tile by tile in the cache. The gradient of the input is the same product with the kernel turned round, for each
/// phase of the stride; the gradient of the weight is a product of the shifted copies with the gradient of the output,
/// summed over fixed groups of images. Kernels of 1x1 are one product per image. Kernels of 3x3 and stride 1 between 32
/// channels or more are Winograd's F(4x4, 3x3) (Lavin and Gray 2016), with a relative error of a few 1e-6 of the largest
/// output; there an infinity or NaN of the input makes NaN, or infinities, of the whole 4x4 tiles of output pixels that
/// see it, and of no others.
///
/// # Shapes
///
/// - `x`: `[batch, channels_in, height, width]`
/// - `weight`: `[channels_out, channels_in, kernel_height, kernel_width]`
/// - `bias`: `[channels_out]`
/// - output: `[batch, channels_out, out_height, out_width]`, where `out = (in + 2 padding - kernel) / stride + 1`,
///   rounded down
///
/// # Panics
///
/// If the channels of `x` and `weight` differ, `bias` has another length than `channels_out`, a stride is zero, or the
/// kernel is larger than the padded image.
pub fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    stride: [usize; 2],
    padding: [usize; 2],
) -> Tensor<4> {
    let ([_, channels, height, width], [outputs, inputs, kernel_height, kernel_width]) = (x.dims(), weight.dims());
    assert!(channels == inputs, "an image of {channels} channels does not fit a weight for {inputs}");
    assert!(stride[0] > 0 && stride[1] > 0, "a stride of zero");
    assert!(
        kernel_height <= height + 2 * padding[0] && kernel_width <= width + 2 * padding[1],
        "a kernel of {kernel_height}x{kernel_width} is larger than an image of {height}x{width} padded by {padding:?}"
    );
    let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], (&weight.device(), weight.dtype())));
    assert!(bias.dims() == [outputs], "a bias {:?} does not fit {outputs} channels", bias.dims());
    let (x, weight, bias, steps) =
        (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch(), ConvSteps { stride, padding });
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::convolution(x, weight, bias, steps)
    } else {
        composed::conv2d::<Dispatch>(x, weight, bias, steps)
    })
}

/// The same images, laid out row after row whatever made them, where there is one channel.
///
/// Burn's convolutions, poolings and resizings on CubeCL compute with channels last and give back a view. With a single channel its fused operators (Burn
/// 0.22.1) take that axis, whose stride is 1 like that of the last one, for the rows, and silently read and write elsewhere: the mean of squares of the
/// difference of such an image to another is wrong. Put this behind, and for the gradient before, an operator of Burn's whose images may have one channel;
/// [`conv2d`] has it inside. More channels pass through untouched, and with one it costs nothing or a copy.
///
/// # Shapes
///
/// - `x` and output: `[batch, channels, height, width]`
pub fn row_major(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    if channels == 1 { x.reshape([batch, height * width]).reshape([batch, 1, height, width]) } else { x }
}
