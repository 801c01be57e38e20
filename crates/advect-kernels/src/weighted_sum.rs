//! The linear combination of a solver's states.
use burn::tensor::Tensor;

/// `scale x + sum of c d` over the terms `(c, d)`: what a step of a solver is made of.
///
/// On Flex in `f32`, without gradients, all are read once, and the sum is written over `x` where nobody else holds it; elsewhere it is a chain of Burn's operators,
/// which other backends fuse. Terms whose factor is 0 are left out, whatever they hold.
///
/// # Shapes
///
/// Any shape, the same for all tensors; the output has it too.
pub fn weighted_sum<const D: usize>(x: Tensor<D>, scale: f64, terms: &[(f64, &Tensor<D>)]) -> Tensor<D> {
    #[cfg(feature = "flex")]
    let x = match crate::flex::weighted_sum(x, scale, terms) {
        std::ops::ControlFlow::Break(sum) => return sum,
        std::ops::ControlFlow::Continue(x) => x,
    };
    let start = if scale == 1.0 { x } else { x * scale };
    terms.iter().fold(start, |sum, (c, d)| match *c {
        0.0 => sum,
        1.0 => sum + (*d).clone(),
        c => sum + (*d).clone() * c,
    })
}
