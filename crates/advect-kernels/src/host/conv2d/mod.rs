//! Two-dimensional convolution and its gradients.
//!
//! All three are matrix products over *rows*: row (c, ky, kx) of an image holds, for each output pixel, the input value
//! that this tap sees. The rows of one tap are the rows of the tap above shifted by a line, so an image is copied once
//! for each kx only ([`rows`]), and the products read overlapping pieces of that copy ([`product`]). The tile of rows
//! stays in the second-level cache.
//!
//! Two shapes have a way of their own: 1x1 taps need no rows ([`pointwise`]), and 3x3 taps of stride 1 between many
//! channels are done by Winograd's method ([`winograd`]).
mod gradients;
mod pointwise;
mod product;
mod rows;
mod shape;
mod winograd;

pub(crate) use gradients::{bias_gradient, input_gradient, weight_gradient};
pub(crate) use shape::Conv2dShape;

use self::product::PackedRows;
use self::rows::Correlation;
use self::winograd::WeightView;

/// `x` convolved with `weight`, plus `bias`.
pub(crate) fn forward(shape: &Conv2dShape, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let correlation = Correlation::of(shape);
    if pointwise::suits(&correlation) {
        let weight = pointwise::Weight { values: weight, by_output: shape.channels_in, by_input: 1 };
        return pointwise::correlate(&correlation, shape.batch, x, weight, bias);
    }
    if winograd::suits(&correlation, shape.channels_out) {
        let weight = WeightView { values: weight, from_step: 9, to_step: 9 * shape.channels_in, taps: [0, 1] };
        return winograd::correlate(&correlation, shape.batch, x, weight, bias);
    }
    let starts: Vec<usize> = (0..correlation.depth()).collect();
    let packed = PackedRows::new(shape.channels_out, correlation.depth(), &starts, weight);
    product::correlate(&correlation, shape.batch, x, &packed, bias)
}
