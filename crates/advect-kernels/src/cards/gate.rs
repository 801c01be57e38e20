use super::*;
use row_norm::{FEATURES, LANES, cut, sums};

/// The gradients of a gate, in parts to be added as [`sums`] says, and of what it multiplies.
pub(super) fn backward(gate: CubeTensor, y: CubeTensor, gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
    let shape = y.meta.shape().clone();
    let features = shape[shape.num_dims() - 1];
    let (shared, parts) = cut(&shape, gate.meta.shape());
    let (of_sums, kind) = sums(&shape, gate.meta.shape(), y.dtype);
    let entries = of_sums[1];
    let (d_gate, dy) = (empty(&y, of_sums, kind), empty(&y, shape, y.dtype));
    let [(gate, of_gate), (y, of_y), (gradient, of_gradient)] = [gate, y, gradient].map(lines);
    let dtypes = [elem(y.dtype), elem(gate.dtype), elem(kind)];
    gated::launch(
        &y.client.clone(),
        cubes(features.div_ceil(FEATURES) * entries * parts),
        CubeDim::new_2d(FEATURES as u32, LANES as u32),
        gate.into_buffer_arg(),
        y.into_buffer_arg(),
        gradient.into_buffer_arg(),
        d_gate.clone().into_buffer_arg(),
        dy.clone().into_buffer_arg(),
        features as u32,
        entries as u32,
        shared as u32,
        parts as u32,
        [of_gate, of_y, of_gradient].into_iter().collect(),
        dtypes,
    );
    (d_gate, dy)
}

/// `sum(g y)` over the rows of an entry, in parts, and `g gate`. A cube for some features of each part.
#[cube(launch)]
fn gated<F: Float, P: Float, G: Float>(
    gate: &[P],
    y: &[F],
    gradient: &[F],
    d_gate: &mut [G],
    dy: &mut [F],
    features: u32,
    entries: u32,
    shared: u32,
    parts: u32,
    pitches: &Sequence<u32>,
    #[define(F, P, G)] _dtypes: [ElemType; 3],
) {
    let features = features as usize;
    let blocks = (features + comptime![FEATURES - 1]) / comptime![FEATURES];
    let (entries, shared, parts) = (entries as usize, shared as usize, parts as usize);
    let cube = CUBE_POS as usize;
    if cube >= blocks * entries * parts {
        terminate!();
    }
    let (entry, part) = (cube / blocks % entries, cube / blocks / entries);
    let feature = cube % blocks * comptime![FEATURES] + UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let many = (shared + parts - 1) / parts;
    let last = min(part * many + many, shared);
    let mut sum = 0.0f32;
    if feature < features {
        let factor = f32::cast_from(gate[entry * pitches[0] as usize + feature]);
        let mut token = part * many + lane;
        while token < last {
            let row = entry * shared + token;
            let g = f32::cast_from(gradient[row * pitches[2] as usize + feature]);
            sum += g * f32::cast_from(y[row * pitches[1] as usize + feature]);
            dy[row * features + feature] = F::cast_from(g * factor);
            token += comptime![LANES];
        }
    }
    let mut sums = Shared::<[f32]>::new_slice(comptime![FEATURES * LANES]);
    let unit = lane * comptime![FEATURES] + UNIT_POS_X as usize;
    sums[unit] = sum;
    let mut half = comptime![LANES / 2].runtime();
    while half > 0 {
        sync_cube();
        if lane < half {
            sums[unit] += sums[unit + half * comptime![FEATURES]];
        }
        half /= 2;
    }
    if lane == 0 && feature < features {
        d_gate[(part * entries + entry) * features + feature] = G::cast_from(sums[unit]);
    }
}
