//! A perceptron of narrow layers as one kernel: at a thousand points its products are so small that launches are all they cost.
use super::*;

/// Numbers of a layer's output for one row, at most.
const WIDEST: usize = 128;

/// What a kernel is compiled for.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct Plan {
    /// Of the input, and of each layer's output.
    widths: Vec<usize>,
    biased: Vec<bool>,
    /// Whether the last layer is the last of all, without SiLU.
    ends: bool,
    /// From one row of a weight to the next.
    pitches: Vec<usize>,
    /// Rows that pass all layers in one cube, and rows of one unit.
    tile: usize,
    each: usize,
}

/// Whether a chain of these widths, the input's first, is taken.
pub(super) fn pays(widths: &[usize]) -> bool {
    widths.len() > 1 && widths.iter().all(|width| (1..=WIDEST).contains(width))
}

/// `x` is `[rows, n]`; each layer is a weight and, if it has one, a bias. All of one type.
pub(super) fn forward(
    mut x: CubeTensor,
    mut weights: Vec<CubeTensor>,
    mut biases: Vec<Option<CubeTensor>>,
) -> CubeTensor {
    // Two buffers for each layer, two for the ends.
    let most = many::together(&x, 2).saturating_sub(1).max(1);
    while weights.len() > most {
        let (later, later_biases) = (weights.split_off(most), biases.split_off(most));
        x = launch(x, weights, biases, false);
        (weights, biases) = (later, later_biases);
    }
    launch(x, weights, biases, true)
}

/// With SiLU behind the last layer too, if it is not the last of all.
fn launch(x: CubeTensor, weights: Vec<CubeTensor>, biases: Vec<Option<CubeTensor>>, ends: bool) -> CubeTensor {
    let rows = x.meta.shape()[0];
    let widths: Vec<usize> =
        std::iter::once(x.meta.shape()[1]).chain(weights.iter().map(|w| w.meta.shape()[1])).collect();
    let (x, pitch) = lines(x);
    let (weights, pitches): (Vec<_>, Vec<_>) = weights.into_iter().map(lines).unzip();
    let pitches = pitches.into_iter().map(|pitch| pitch as usize).collect();
    // Few rows are spread over the whole card; of many, each unit takes more, so that a weight is loaded less often.
    let each = if rows <= 4096 { 4 } else { 8 };
    let plan =
        Plan { ends, biased: biases.iter().map(Option::is_some).collect(), pitches, tile: 2 * each, each, widths };
    let (layers, to) = (weights.len(), plan.widths[weights.len()]);
    let widest = plan.widths.iter().copied().max().unwrap_or(1);
    let units = units(2 * widest);
    let y = empty(&x, Shape::new([rows, to]), x.dtype);
    // A layer without a bias gets its weight there, unread.
    let biases: Vec<CubeTensor> =
        biases.into_iter().zip(&weights).map(|(b, w)| b.map_or_else(|| w.clone(), into_contiguous)).collect();
    let dtype = x.dtype;
    all_layers::launch(
        &x.client.clone(),
        cubes(rows.div_ceil(plan.tile)),
        CubeDim::new_1d(units as u32),
        x.into_buffer_arg(),
        many::args(weights.into_iter()),
        many::args(biases.into_iter()),
        y.clone().into_buffer_arg(),
        rows as u32,
        pitch,
        plan,
        layers,
        units,
        elem(dtype),
    );
    y
}

/// A cube for some rows, whose activations stay in its memory, in f32.
#[cube(launch)]
fn all_layers<F: Float>(
    x: &[F],
    weights: &Sequence<Box<[F]>>,
    biases: &Sequence<Box<[F]>>,
    y: &mut [F],
    rows: u32,
    pitch: u32,
    #[comptime] plan: Plan,
    #[comptime] layers: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let tile = comptime![plan.tile];
    let size = comptime![plan.tile * plan.widths.iter().copied().max().unwrap_or(1)];
    let mut even = Shared::<[f32]>::new_slice(size);
    let mut odd = Shared::<[f32]>::new_slice(size);
    let (rows, first) = (rows as usize, CUBE_POS as usize * tile);
    if first >= rows {
        terminate!();
    }
    let features = comptime![plan.widths[0]];
    let mut i = UNIT_POS as usize;
    while i < tile * features {
        let (row, feature) = (first + i / features, i % features);
        even[i] = if row < rows { f32::cast_from(x[row * pitch as usize + feature]) } else { 0.0f32 };
        i += units;
    }
    #[unroll]
    for l in 0..layers {
        sync_cube();
        let (from, to) = comptime![(plan.widths[l], plan.widths[l + 1])];
        let pitch = comptime![plan.pitches[l]];
        let (biased, last) = comptime![(plan.biased[l], plan.ends && l + 1 == layers)];
        if comptime![l % 2 == 0] {
            layer::<F>(&even, &mut odd, &weights[l], &biases[l], from, to, pitch, tile, plan.each, units, biased, last);
        } else {
            layer::<F>(&odd, &mut even, &weights[l], &biases[l], from, to, pitch, tile, plan.each, units, biased, last);
        }
    }
    sync_cube();
    let features = comptime![plan.widths[layers]];
    let mut i = UNIT_POS as usize;
    while i < tile * features {
        if first + i / features < rows {
            let value = if comptime![layers % 2 == 0] { even[i] } else { odd[i] };
            y[first * features + i] = F::cast_from(value);
        }
        i += units;
    }
}

/// `output = silu(input weight + bias)`, the last layer's without SiLU. A unit has one column and `each` rows at a time.
#[cube]
fn layer<F: Float>(
    input: &Shared<[f32]>,
    output: &mut Shared<[f32]>,
    weight: &Box<[F]>,
    bias: &Box<[F]>,
    #[comptime] from: usize,
    #[comptime] to: usize,
    #[comptime] pitch: usize,
    #[comptime] tile: usize,
    #[comptime] each: usize,
    #[comptime] units: usize,
    #[comptime] biased: bool,
    #[comptime] last: bool,
) {
    let mut item = UNIT_POS as usize;
    while item < comptime![to * (tile / each)] {
        let column = item % to;
        let row = item / to * each;
        let mut start = 0.0f32.runtime();
        if comptime![biased] {
            start = f32::cast_from(bias[column]);
        }
        let mut sums = Array::<f32>::new(each);
        #[unroll]
        for r in 0..each {
            sums[r] = start;
        }
        for k in 0..from {
            let w = f32::cast_from(weight[k * pitch + column]);
            #[unroll]
            for r in 0..each {
                sums[r] += input[(row + r) * from + k] * w;
            }
        }
        #[unroll]
        for r in 0..each {
            let z = sums[r];
            output[(row + r) * to + column] = if comptime![last] { z } else { z * sigmoid(z) };
        }
        item += units;
    }
}
