//! Networks in half precision.
use crate::kernels::Kernels;
use crate::route;
use burn::backend::Dispatch;
use burn::tensor::{DType, Tensor};

/// Tensors of one type in another, as [`Tensor::cast`] makes them: on a card in one launch for some fifty of them, if nobody tracks them and
/// each has numbers.
///
/// # Shapes
///
/// - each `[n]`, with an n of its own, as is its result
pub fn casts(tensors: Vec<Tensor<1>>, dtype: DType) -> Vec<Tensor<1>> {
    #[cfg(feature = "cube")]
    if let Some(new) = crate::cards::casts(&tensors, dtype) {
        return new;
    }
    tensors.into_iter().map(|tensor| tensor.cast(dtype)).collect()
}

/// The value of `y` with the gradient of `x`: what comes back to `y` is handed on to `x` as it is, in the type of `y`.
///
/// So a network computes with weights that were rounded together, by [`casts`], and its gradients need not be cast each by itself: [`adamw_all`](crate::adamw_all) takes
/// them in half precision. It is the straight-through estimator (Bengio et al., 2013) too. Where `x` has other gradients besides, they have to be of the type of `y`.
///
/// # Shapes
///
/// - `x` and `y`: the same, any
///
/// # Panics
///
/// If the shapes differ.
pub fn stand_in<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    assert!(x.dims() == y.dims(), "{:?} cannot stand in for {:?}", y.dims(), x.dims());
    let (x, y) = (x.into_dispatch(), y.detach());
    if route::listed(&x) {
        return Tensor::from_dispatch(<Dispatch as Kernels>::stand_in(x, y.into_dispatch()));
    }
    // Burn's own way, with the gradient in the type of `x`.
    let x = Tensor::<D>::from_dispatch(x).cast(y.dtype());
    y + (x.clone() - x.detach())
}
