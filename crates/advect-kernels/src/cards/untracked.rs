//! What takes lists of tensors: Burn's extensions have none, so these kernels are called for tensors that nobody tracks.
use super::{chain, many, takes};
use crate::{AdamW, AdamWState};
use burn::backend::tensor::FloatTensor;
use burn::backend::{BackendTensor, Cube, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::tensor::CubeTensor;
use std::iter;

/// A tensor on a card that nobody tracks.
fn untracked<const D: usize>(tensor: &Tensor<D>) -> Option<FloatTensor<Cube>> {
    match tensor.clone().into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    }
}

/// A result on the device of `like`.
fn wrapped<const D: usize>(tensor: FloatTensor<Cube>, like: &DispatchTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Cube(BackendTensor::Float(tensor));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: like.autodiff })
}

/// A chain of linear layers with SiLU between them, of a weight and perhaps a bias each, where the kernel takes it.
pub(crate) fn silu_chain(x: &Tensor<2>, layers: &[(Tensor<2>, Option<Tensor<1>>)]) -> Option<Tensor<2>> {
    let like = x.clone().into_dispatch();
    let [rows, from] = x.dims();
    let widths: Vec<usize> = iter::once(from).chain(layers.iter().map(|(weight, _)| weight.dims()[1])).collect();
    let x = untracked(x)?;
    if !chain::pays(&widths) {
        return None;
    }
    let mut inputs = vec![x];
    for (weight, _) in layers {
        inputs.push(untracked(weight)?);
    }
    for bias in layers.iter().filter_map(|(_, bias)| bias.as_ref()) {
        inputs.push(untracked(bias)?);
    }
    let dtype = inputs[0].dtype();
    if !inputs.iter().all(|t| takes([t]) && t.dtype() == dtype && t.device() == inputs[0].device()) {
        return None;
    }
    let biased: Vec<bool> = layers.iter().map(|(_, bias)| bias.is_some()).collect();
    let specs = vec![(Shape::new([rows, widths[layers.len()]]), dtype)];
    let run = move |mut tensors: Vec<CubeTensor>| {
        let mut biases = tensors.split_off(1 + biased.len()).into_iter();
        let weights = tensors.split_off(1);
        let biases = biased.iter().map(|&biased| if biased { biases.next() } else { None }).collect();
        tensors.into_iter().map(|x| chain::forward(x, weights.clone(), Vec::clone(&biases))).collect()
    };
    many::all("advect_chain", inputs, specs, run).pop().map(|y| wrapped(y, &like))
}

type Parameter = (Tensor<1>, Tensor<1>, AdamWState<1>);

/// [`adamw_all`](crate::adamw_all), or the parameters back.
pub(crate) fn adamw_all(
    parameters: Vec<Parameter>,
    step: AdamW,
) -> Result<Vec<(Tensor<1>, AdamWState<1>)>, Vec<Parameter>> {
    let Some((device, of_gradients)) =
        parameters.first().map(|(weights, gradient, _)| (weights.device(), gradient.dtype()))
    else {
        return Err(parameters);
    };
    let wanted = |(weights, gradient, state): &Parameter| {
        let AdamWState { first, second, average } = state;
        let f32 = [weights, first, second, average].iter().all(|t| t.dtype() == DType::F32);
        let takes = |t: &Tensor<1>| untracked(t).is_some_and(|taken| takes([&taken])) && t.device() == device;
        f32 && gradient.dtype() == of_gradients && [weights, gradient, first, second, average].into_iter().all(takes)
    };
    if !parameters.iter().all(wanted) {
        return Err(parameters);
    }
    let like = parameters[0].1.clone().into_dispatch();
    let inputs = parameters.into_iter().flat_map(|(weights, gradient, AdamWState { first, second, average })| {
        [weights, gradient, first, second, average]
    });
    // Nothing else holds them from here on, so that they can be written in their places.
    let inputs = inputs.filter_map(|tensor| match tensor.into_dispatch().kind {
        DispatchTensorKind::Cube(BackendTensor::Float(tensor)) => Some(tensor),
        _ => None,
    });
    let mut new = many::adamw(inputs.collect(), step).into_iter().map(|tensor| wrapped(tensor, &like));
    let four = || {
        let weights = new.next()?;
        Some((weights, AdamWState { first: new.next()?, second: new.next()?, average: new.next()? }))
    };
    Ok(iter::from_fn(four).collect())
}

/// [`sums_of_squares`](crate::sums_of_squares), where the kernel takes these tensors.
pub(crate) fn sums_of_squares(tensors: &[Tensor<1>]) -> Option<Tensor<1>> {
    let like = tensors.first()?.clone().into_dispatch();
    let tensors = alike(tensors)?;
    many::sums_of_squares(tensors).map(|sums| wrapped(sums, &like))
}

/// [`casts`](crate::casts), where the kernel takes these tensors.
pub(crate) fn casts(tensors: &[Tensor<1>], to: DType) -> Option<Vec<Tensor<1>>> {
    let like = tensors.first()?.clone().into_dispatch();
    let tensors = alike(tensors)?;
    let known = matches!(to, DType::F32 | DType::F16 | DType::BF16);
    known.then(|| many::casts(tensors, to).into_iter().map(|tensor| wrapped(tensor, &like)).collect())
}

/// Tensors of one type on one device that the kernels take.
fn alike(tensors: &[Tensor<1>]) -> Option<Vec<FloatTensor<Cube>>> {
    let (dtype, device) = (tensors.first()?.dtype(), tensors.first()?.device());
    let one = |tensor: &Tensor<1>| {
        let there = tensor.dtype() == dtype && tensor.device() == device;
        untracked(tensor).filter(|tensor| there && takes([tensor]))
    };
    tensors.iter().map(one).collect()
}
