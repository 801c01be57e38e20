//! Attention between two products whose scores are read and written once, or, on Hopper, without scores in memory.
use super::layer::product;
use super::{Cube, Turned, hopper, takes};
use crate::cards::CardKernels;
use crate::composed;
use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;

/// Scores that attention holds at once: 256 MiB of them in half precision, twice that in f32; in the backward pass of two tensors.
#[cfg(not(test))]
const SCORES: usize = 1 << 27;
#[cfg(test)]
const SCORES: usize = 100;

pub(crate) fn attention(q: FloatTensor<Cube>, k: FloatTensor<Cube>, v: FloatTensor<Cube>) -> FloatTensor<Cube> {
    if !takes([&q, &k, &v]) {
        return composed::attention::<Cube>(q, k, v);
    }
    let unit = 1.0 / (q.shape()[3] as f64).sqrt();
    weighted(Cube::float_mul_scalar(q, unit.into()), k, v)
}

/// `softmax(q k^T) v`, some entries of the batch at a time, and of long sequences some queries.
///
/// Between the two products every score is read once and written once. Burn's own attention is either one kernel, which it has for some sizes of heads, or eight operators.
fn weighted(q: FloatTensor<Cube>, k: FloatTensor<Cube>, v: FloatTensor<Cube>) -> FloatTensor<Cube> {
    let ([batch, heads, queries, _], keys) = (q.shape().dims(), k.shape()[2]);
    let entries = (SCORES / (heads * queries * keys)).clamp(1, batch);
    let rows = (SCORES / (entries * heads * keys)).clamp(1, queries);
    let at_once = |q, k, v| product(Cube::card_softmax(product(q, k, Turned::Right)), v, Turned::Neither);
    if entries == batch && rows == queries {
        return at_once(q, k, v);
    }
    let part = composed::part_of::<Cube>;
    let of_entries = |from: usize| {
        let entries = entries.min(batch - from);
        let [q, k, v] = [&q, &k, &v].map(|t| part(t, 0, from, entries));
        let of_rows = |first| at_once(part(&q, 2, first, rows.min(queries - first)), k.clone(), v.clone());
        Cube::float_cat((0..queries).step_by(rows).map(of_rows).collect(), 2)
    };
    Cube::float_cat((0..batch).step_by(entries).map(of_entries).collect(), 0)
}

pub(crate) fn self_attention(qkv: FloatTensor<Cube>, heads: usize) -> FloatTensor<Cube> {
    if !takes([&qkv]) {
        return composed::self_attention::<Cube>(qkv, heads);
    }
    if hopper::takes_attention(&qkv.shape(), qkv.dtype(), heads) && hopper::runs(&qkv.device()) {
        return Cube::card_joined_attention(qkv, heads);
    }
    let size = qkv.shape()[2] / (3 * heads);
    let (q, k, v) = Cube::card_split_three(qkv, heads, 1.0 / (size as f64).sqrt());
    Cube::card_join_one(weighted(q, k, v))
}

pub(crate) fn self_attention_backward(
    qkv: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
    heads: usize,
) -> FloatTensor<Cube> {
    if !takes([&qkv, &gradient]) || qkv.dtype() != gradient.dtype() {
        return composed::self_attention_backward_by::<Cube>(qkv, gradient, heads, weights_and_slopes);
    }
    if hopper::takes_attention(&qkv.shape(), qkv.dtype(), heads) && hopper::runs(&qkv.device()) {
        return Cube::card_joined_attention_backward(qkv, gradient, heads);
    }
    let unit = 1.0 / ((qkv.shape()[2] / (3 * heads)) as f64).sqrt();
    let (q, k, v) = Cube::card_split_three(qkv, heads, unit);
    let gradient = Cube::card_split_one(gradient, heads);
    let (dq, dk, dv) =
        composed::attention_backward_in_parts::<Cube>(q, k, v, gradient, attention_backward_at_once, SCORES);
    Cube::card_join_three(dq, dk, dv, unit)
}

/// With the queries scaled before and the gradient of these.
fn attention_backward_at_once(
    q: FloatTensor<Cube>,
    k: FloatTensor<Cube>,
    v: FloatTensor<Cube>,
    gradient: FloatTensor<Cube>,
) -> (FloatTensor<Cube>, FloatTensor<Cube>, FloatTensor<Cube>) {
    let scores = product(q.clone(), k.clone(), Turned::Right);
    let slopes = product(gradient.clone(), v, Turned::Right);
    let (weights, slopes) = weights_and_slopes(scores, slopes);
    let dv = product(weights, gradient, Turned::Left);
    let dk = product(slopes.clone(), q, Turned::Left);
    (product(slopes, k, Turned::Neither), dk, dv)
}

/// What the backward pass of attention has between its products: Burn's fusion left a dozen passes over all scores in f32 of it.
pub(crate) fn weights_and_slopes(
    scores: FloatTensor<Cube>,
    slopes: FloatTensor<Cube>,
) -> (FloatTensor<Cube>, FloatTensor<Cube>) {
    if takes([&scores, &slopes]) && scores.dtype() == slopes.dtype() {
        Cube::card_weights_and_slopes(scores, slopes)
    } else {
        composed::weights_and_slopes::<Cube>(scores, slopes)
    }
}
