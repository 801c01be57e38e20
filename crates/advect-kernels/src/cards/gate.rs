use super::*;
use row_norm::{block, cut, rows_of, sums, widened};

/// The gradients of a gate, in parts to be added as [`sums`] says, and of what it multiplies.
pub(super) fn backward(gate: CubeTensor, y: CubeTensor, gradient: CubeTensor) -> (CubeTensor, CubeTensor) {
    let shape = y.meta.shape().clone();
    let features = shape[shape.num_dims() - 1];
    let (shared, parts) = cut(&shape, gate.meta.shape());
    let (of_sums, kind) = sums(&shape, gate.meta.shape(), y.dtype);
    let entries = of_sums[1];
    let (d_gate, dy) = (empty(&y, of_sums, kind), empty(&y, shape, y.dtype));
    let ([gate, y, gradient], pitches, wide) = rows_of([gate, y, gradient], features);
    let dtypes = [elem(y.dtype), elem(gate.dtype), elem(kind)];
    let (side, lanes) = block(wide);
    gated::launch(
        &y.client.clone(),
        cubes((features / wide).div_ceil(side) * entries * parts),
        CubeDim::new_2d(side as u32, lanes as u32),
        wide,
        gate.into_buffer_arg(),
        y.into_buffer_arg(),
        gradient.into_buffer_arg(),
        d_gate.clone().into_buffer_arg(),
        dy.clone().into_buffer_arg(),
        (features / wide) as u32,
        entries as u32,
        shared as u32,
        parts as u32,
        pitches.into_iter().collect(),
        side,
        lanes,
        dtypes,
    );
    (d_gate, dy)
}

/// `sum(g y)` over the rows of an entry, in parts, and `g gate`. A cube for some features of each part.
#[cube(launch)]
fn gated<F: Float, P: Float, G: Float, N: Size>(
    gate: &[Vector<P, N>],
    y: &[Vector<F, N>],
    gradient: &[Vector<F, N>],
    d_gate: &mut [Vector<G, N>],
    dy: &mut [Vector<F, N>],
    features: u32,
    entries: u32,
    shared: u32,
    parts: u32,
    pitches: &Sequence<u32>,
    #[comptime] side: usize,
    #[comptime] lanes: usize,
    #[define(F, P, G)] _dtypes: [ElemType; 3],
) {
    let features = features as usize;
    let blocks = (features + comptime![side - 1]) / side;
    let (entries, shared, parts) = (entries as usize, shared as usize, parts as usize);
    let cube = CUBE_POS as usize;
    if cube >= blocks * entries * parts {
        terminate!();
    }
    let (entry, part) = (cube / blocks % entries, cube / blocks / entries);
    let feature = cube % blocks * side + UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let many = (shared + parts - 1) / parts;
    let last = min(part * many + many, shared);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if feature < features {
        let factor = widened::<P, N>(gate[entry * pitches[0] as usize + feature]);
        let mut token = part * many + lane;
        while token < last {
            let row = entry * shared + token;
            let g = widened::<F, N>(gradient[row * pitches[2] as usize + feature]);
            sum += g * widened::<F, N>(y[row * pitches[1] as usize + feature]);
            dy[row * features + feature] = Vector::cast_from(g * factor);
            token += lanes;
        }
    }
    let mut sums = Shared::<[Vector<f32, N>]>::new_slice(comptime![side * lanes]);
    let unit = lane * side + UNIT_POS_X as usize;
    sums[unit] = sum;
    let mut half = comptime![lanes / 2].runtime();
    while half > 0 {
        sync_cube();
        if lane < half {
            let more = sums[unit + half * side];
            sums[unit] += more;
        }
        half /= 2;
    }
    if lane == 0 && feature < features {
        d_gate[(part * entries + entry) * features + feature] = Vector::cast_from(sums[unit]);
    }
}
