//! The step of an optimizer.
use crate::kernels::Kernels;
use crate::{composed, route};
use burn::backend::Dispatch;
use burn::tensor::Tensor;

/// The numbers of one step of AdamW (Loshchilov and Hutter 2019, algorithm 2) with an exponential moving average of the
/// weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// The step size.
    pub rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weights shrink by `rate * weight_decay`.
    pub weight_decay: f64,
    /// The number of the step, from 1: the moments are divided by `1 - beta^step`.
    pub step: u64,
    /// What gradients are multiplied with first, as when their norm is clipped.
    pub gradient_factor: f64,
    /// How far the average follows the weights: 1 minus its decay.
    pub follow: f64,
}

impl AdamW {
    /// What the first and the second moment are divided by.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        [self.beta1, self.beta2].map(|beta| 1.0 - beta.powf(self.step as f64))
    }
}

/// What AdamW and the average remember of the weights, each of their shape.
#[derive(Clone, Debug)]
pub struct AdamWState<const D: usize> {
    /// The moving average of the gradients.
    pub first: Tensor<D>,
    /// The moving average of their squares.
    pub second: Tensor<D>,
    /// The moving average of the weights.
    pub average: Tensor<D>,
}

/// One step: the new weights, and what is remembered.
///
/// With g the gradient times its factor: `first <- beta1 first + (1 - beta1) g`, `second <- beta2 second + (1 - beta2)
/// g^2`,
/// `weights <- (1 - rate weight_decay) weights - rate (first / c1) / (sqrt(second / c2) + epsilon)`, with the
/// corrections `c = 1 - beta^step`, and
/// `average <- average + follow (weights - average)`. On Flex in `f32` all are read and written once, in place where
/// nobody else holds them, and the bits are those of the same step made of Burn's operators. Half-precision
/// tensors are computed in f32 and rounded at the end; as a small square vanishes in `f16`, what is remembered may have
/// another type than the weights.
///
/// # Shapes
///
/// Any shape, the same for all tensors. None of them should be tracked by autodiff.
///
/// # Panics
///
/// If the shapes differ.
pub fn adamw<const D: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    step: &AdamW,
) -> (Tensor<D>, AdamWState<D>) {
    check(&weights, &gradient, &state);
    let AdamWState { first, second, average } = state;
    let [weights, gradient, first, second, average] =
        [weights, gradient, first, second, average].map(Tensor::into_dispatch);
    let (weights, first, second, average) = if route::listed(&weights) {
        <Dispatch as Kernels>::adamw(weights, gradient, first, second, average, *step)
    } else {
        composed::adamw::<Dispatch>(weights, gradient, first, second, average, *step)
    };
    let [weights, first, second, average] = [weights, first, second, average].map(Tensor::from_dispatch);
    (weights, AdamWState { first, second, average })
}

/// One step of [`adamw`] for all parameters of a network: weights, gradient and what is remembered of each.
///
/// On a card the f32 weights of a network, with gradients of one type, f32 or half precision, take a launch for some twenty of them instead of one or more for each.
///
/// # Shapes
///
/// - all four of a parameter: `[n]`, each parameter with an n of its own
///
/// # Panics
///
/// If the shapes of one differ.
pub fn adamw_all(
    parameters: Vec<(Tensor<1>, Tensor<1>, AdamWState<1>)>,
    step: &AdamW,
) -> Vec<(Tensor<1>, AdamWState<1>)> {
    for (weights, gradient, state) in &parameters {
        check(weights, gradient, state);
    }
    #[cfg(feature = "cube")]
    let parameters = match crate::cards::adamw_all(parameters, *step) {
        Ok(new) => return new,
        Err(parameters) => parameters,
    };
    parameters.into_iter().map(|(weights, gradient, state)| adamw(weights, gradient, state, step)).collect()
}

fn check<const D: usize>(weights: &Tensor<D>, gradient: &Tensor<D>, state: &AdamWState<D>) {
    let AdamWState { first, second, average } = state;
    assert!(
        [gradient, first, second, average].iter().all(|t| t.dims() == weights.dims()),
        "weights {:?}, a gradient {:?} and a state {:?} {:?} {:?} do not fit together",
        weights.dims(),
        gradient.dims(),
        first.dims(),
        second.dims(),
        average.dims()
    );
}

/// The sum of the squares of all elements, whose root is the Euclidean norm.
///
/// Summed in pieces of a fixed length, so that the grouping of the sum, and with it the last bit, never depends on how
/// threads are scheduled.
///
/// # Shapes
///
/// - `x`: any shape
/// - output: `[1]`, in f32 for half-precision tensors
pub fn sum_of_squares<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let x = x.into_dispatch();
    Tensor::from_dispatch(if route::listed(&x) {
        <Dispatch as Kernels>::sum_of_squares(x)
    } else {
        composed::sum_of_squares::<Dispatch>(x)
    })
}

/// Numbers that add up to the squares of all elements of all tensors: those of each tensor in order, one or more.
///
/// To be read and added in f64: the root is the norm of all gradients together. On a card a launch does many tensors.
///
/// # Shapes
///
/// - `tensors`: at least one
/// - output: `[n]`, in f32 for half-precision tensors
///
/// # Panics
///
/// If there is no tensor.
pub fn sums_of_squares(tensors: Vec<Tensor<1>>) -> Tensor<1> {
    assert!(!tensors.is_empty(), "no tensor to sum the squares of");
    #[cfg(feature = "cube")]
    if let Some(sums) = crate::cards::sums_of_squares(&tensors) {
        return sums;
    }
    Tensor::cat(tensors.into_iter().map(sum_of_squares).collect(), 0)
}
