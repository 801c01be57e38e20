//! The linear layer.
use crate::activation;
use crate::kernels::{Activation, Columns, Kernels, Slopes};
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

/// A linear layer: `x weight + bias` for each row of the last axis.
///
/// On Flex in `f32` the product is added to the bias where it is written; Burn's own product zeroes its output first, copies that, and the bias is another
/// pass. The backward pass keeps the input and the weight, and copies no transpose.
///
/// # Shapes
///
/// - `x`: `[.., from]`
/// - `weight`: `[from, to]`, as in Burn's `Linear`
/// - `bias`: `[to]`
/// - output: `[.., to]`
///
/// # Panics
///
/// If the shapes disagree.
pub fn linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    layer(x, weight, bias, None)
}

/// SiLU, then a linear layer: `silu(x) weight + bias` for each row of the last axis.
///
/// On Flex in `f32` a small weight stays in the cache while block after block of rows is activated and multiplied, and the backward pass has all three
/// gradients from one pass over the rows; it keeps `x`, not what SiLU made of it.
///
/// # Shapes
///
/// As for [`linear`].
///
/// # Panics
///
/// If the shapes disagree.
pub fn silu_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    layer(x, weight, bias, Some(Activation::Silu))
}

/// GELU by the error function, then a linear layer: [`silu_linear`] with another function.
///
/// # Shapes
///
/// As for [`linear`].
///
/// # Panics
///
/// If the shapes disagree.
pub fn gelu_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    layer(x, weight, bias, Some(Activation::Gelu))
}

/// GELU in its tanh form, then a linear layer: [`silu_linear`] with another function.
///
/// # Shapes
///
/// As for [`linear`].
///
/// # Panics
///
/// If the shapes disagree.
pub fn gelu_tanh_linear<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    layer(x, weight, bias, Some(Activation::GeluTanh))
}

/// The feed-forward part of a transformer: a linear layer, GELU in its tanh form, another linear layer.
///
/// The same as [`linear`] and then [`gelu_tanh_linear`], in one place so that a card's product may write what GELU makes of it.
///
/// # Shapes
///
/// - `x`: `[.., from]`
/// - `up`: a weight `[from, hidden]` and, if it has one, a bias `[hidden]`
/// - `down`: a weight `[hidden, to]` and, if it has one, a bias `[to]`
/// - output: `[.., to]`
///
/// # Panics
///
/// If the shapes disagree.
pub fn feed_forward<const D: usize>(
    x: Tensor<D>,
    up: (Tensor<2>, Option<Tensor<1>>),
    down: (Tensor<2>, Option<Tensor<1>>),
) -> Tensor<D> {
    let (function, [hidden, to]) = (Activation::GeluTanh, down.0.dims());
    if hidden * to <= LARGE {
        return layer(linear(x, up.0, up.1), down.0, down.1, Some(function));
    }
    let y = flat(x, up.0, up.1, |x, weight, bias, listed| {
        if listed {
            <Dispatch as Kernels>::activated_layer(x, weight, bias, function)
        } else {
            composed::activation::<Dispatch>(composed::linear::<Dispatch>(x, weight, bias, None), function)
        }
    });
    linear(y, down.0, down.1)
}

/// A chain of linear layers with SiLU between them: `linear(.. silu(linear(x)) ..)`, the forward pass of a perceptron.
///
/// On Flex in `f32`, without gradients, a block of rows passes all layers before the next one comes, if the weights are small: it never leaves the first-level cache, and
/// the threads meet once. A card runs layers of up to 128 numbers as one kernel. Otherwise it is [`linear`] and then [`silu_linear`] for each layer.
///
/// # Shapes
///
/// - `x`: `[rows, n_0]`
/// - layer `i`: a weight `[n_i, n_{i + 1}]` and, if it has one, a bias `[n_{i + 1}]`
/// - output: `[rows, n]` with the last n
///
/// # Panics
///
/// If the shapes disagree.
pub fn silu_chain(x: Tensor<2>, layers: Vec<(Tensor<2>, Option<Tensor<1>>)>) -> Tensor<2> {
    let mut width = x.dims()[1];
    for (weight, bias) in &layers {
        check(width, weight, bias.as_ref());
        width = weight.dims()[1];
    }
    #[cfg(feature = "flex")]
    if let Some(y) = crate::flex::linear_chain(&x, &layers, Activation::Silu) {
        return y;
    }
    #[cfg(feature = "cube")]
    if let Some(y) = crate::cards::silu_chain(&x, &layers) {
        return y;
    }
    let mut layers = layers.into_iter();
    let Some((weight, bias)) = layers.next() else { return x };
    layers.fold(linear(x, weight, bias), |x, (weight, bias)| silu_linear(x, weight, bias))
}

/// The columns of two matrices side by side, as `Tensor::cat` puts them; on Flex not row by row.
///
/// # Shapes
///
/// - `x`: `[rows, m]`, `y`: `[rows, n]`
/// - output: `[rows, m + n]`
///
/// # Panics
///
/// If they have not as many rows.
pub fn beside(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    assert!(x.dims()[0] == y.dims()[0], "{:?} and {:?} do not stand beside each other", x.dims(), y.dims());
    let (x, y) = (x.into_dispatch(), y.into_dispatch());
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::beside(x, y)
    } else {
        composed::beside::<Dispatch>(x, y)
    })
}

/// A matrix taken apart into so many of as many columns each: the numbers that `Tensor::chunk` gives along the second axis.
///
/// Their gradients are put side by side at once, where each of Burn's slices makes a tensor with zeros for all others, and these are added up. All parts therefore belong to one backward pass, also where `x`
/// is a parameter itself.
///
/// # Shapes
///
/// - `x`: `[rows, parts * columns]`
/// - output: `[rows, columns]` each
///
/// # Panics
///
/// If the columns of `x` do not divide by `parts`.
pub fn columns(x: Tensor<2>, parts: usize) -> Vec<Tensor<2>> {
    let [_, all] = x.dims();
    assert!(parts > 0 && all.is_multiple_of(parts), "{all} columns cannot be taken apart into {parts} evenly");
    let (wide, x) = (all / parts, x.into_dispatch());
    if !route::listed(&x) {
        let x = Tensor::from_dispatch(x);
        return (0..parts).map(|index| x.clone().narrow(1, index * wide, wide)).collect();
    }
    let slopes = Slopes::default();
    let x = <Dispatch as Kernels>::whole(x, parts, slopes.clone());
    let part = |index| <Dispatch as Kernels>::columns(x.clone(), Columns { index, wide }, slopes.clone());
    (0..parts).map(|index| Tensor::from_dispatch(part(index))).collect()
}

fn check(features: usize, weight: &Tensor<2>, bias: Option<&Tensor<1>>) {
    let [from, to] = weight.dims();
    assert!(features == from, "rows of {features} features do not fit a weight of {from} x {to}");
    if let Some(bias) = bias {
        assert!(bias.dims() == [to], "a bias of {:?} does not fit a weight of {from} x {to}", bias.dims());
    }
}

type Primitive = FloatTensor<Dispatch>;

/// Elements of a weight from which an activation of its own is as fast as one inside of the product, and need not be computed again by the backward pass.
const LARGE: usize = 1 << 14;

fn layer<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    function: Option<Activation>,
) -> Tensor<D> {
    let [from, to] = weight.dims();
    let (x, function) = match function {
        Some(function) if from * to > LARGE => (activation::run(x, function), None),
        _ => (x, function),
    };
    flat(x, weight, bias, |x, weight, bias, listed| {
        if listed {
            <Dispatch as Kernels>::linear_layer(x, weight, bias, function)
        } else {
            composed::linear::<Dispatch>(x, weight, bias, function)
        }
    })
}

/// Runs a layer on the rows of the last axis as those of one matrix, and says whether their backend is listed.
fn flat<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    run: impl FnOnce(Primitive, Primitive, Primitive, bool) -> Primitive,
) -> Tensor<D> {
    let (shape, [from, to]) = (x.dims(), weight.dims());
    let rows: usize = shape[..D - 1].iter().product();
    check(shape[D - 1], &weight, bias.as_ref());
    let bias = bias.unwrap_or_else(|| Tensor::zeros([to], (&x.device(), x.dtype())));
    // A reshape that changes nothing would be a step of the tape.
    let x = if D == 2 { x.into_dispatch() } else { x.reshape([rows, from]).into_dispatch() };
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    let listed = route::listed(&x);
    let y = run(x, weight, bias, listed);
    if D == 2 {
        return Tensor::from_dispatch(y);
    }
    let mut out = shape;
    out[D - 1] = to;
    Tensor::<2>::from_dispatch(y).reshape(out)
}
