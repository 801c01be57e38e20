//! Heads of attention, apart for its products and side by side for what is around them: one pass each way, where slices, permutations and reshapes are a copy each.
use super::*;

/// `[batch, tokens, parts * heads * size]` apart: `[batch, heads, tokens, size]`.
pub(super) fn apart(x: &Shape, parts: usize, heads: usize) -> Shape {
    Shape::new([x[0], heads, x[1], x[2] / (parts * heads)])
}

/// The way back.
pub(super) fn joined(x: &Shape, parts: usize) -> Shape {
    Shape::new([x[0], x[2], parts * x[1] * x[3]])
}

/// The first part times a factor.
pub(super) fn split<const N: usize>(x: CubeTensor, heads: usize, factor: f64) -> [CubeTensor; N] {
    let shape = x.meta.shape().clone();
    let parts = [(); N].map(|()| empty(&x, apart(&shape, N, heads), x.dtype));
    let (x, pitch) = lines(x);
    let (tokens, size, dtype) = (shape[1], shape[2] / (N * heads), x.dtype);
    let rows = shape[0] * tokens;
    split_heads::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units(N * heads * size / 4) as u32),
        x.into_buffer_arg(),
        many::args(parts.iter().cloned()),
        rows as u32,
        tokens as u32,
        pitch,
        factor as f32,
        N,
        heads,
        size,
        units(N * heads * size / 4),
        elem(dtype),
    );
    parts
}

/// A cube for each token.
#[cube(launch)]
fn split_heads<F: Float>(
    x: &[F],
    parts: &mut Sequence<Box<[F]>>,
    rows: u32,
    tokens: u32,
    pitch: u32,
    factor: f32,
    #[comptime] count: usize,
    #[comptime] heads: usize,
    #[comptime] size: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, tokens) = (CUBE_POS as usize, tokens as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (entry, token) = (row / tokens, row % tokens);
    #[unroll]
    for part in 0..count {
        let mut i = UNIT_POS as usize;
        while i < comptime![heads * size] {
            let (head, feature) = (i / size, i % size);
            let mut value = x[row * pitch as usize + comptime![part * heads * size] + i];
            if comptime![part == 0] {
                value = F::cast_from(f32::cast_from(value) * factor);
            }
            many::write::<F>(&mut parts[part], ((entry * heads + head) * tokens + token) * size + feature, value);
            i += units;
        }
    }
}

/// The first part times a factor.
pub(super) fn join<const N: usize>(parts: [CubeTensor; N], factor: f64) -> CubeTensor {
    let shape = parts[0].meta.shape().clone();
    let y = empty(&parts[0], joined(&shape, N), parts[0].dtype);
    let (heads, tokens, size, dtype) = (shape[1], shape[2], shape[3], y.dtype);
    let rows = shape[0] * tokens;
    let parts = parts.map(lines);
    let pitches = parts.iter().map(|(_, pitch)| *pitch).collect();
    join_heads::launch(
        &y.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units(N * heads * size / 4) as u32),
        many::args(parts.into_iter().map(|(part, _)| part)),
        pitches,
        y.clone().into_buffer_arg(),
        rows as u32,
        tokens as u32,
        factor as f32,
        N,
        heads,
        size,
        units(N * heads * size / 4),
        elem(dtype),
    );
    y
}

/// A cube for each token.
#[cube(launch)]
fn join_heads<F: Float>(
    parts: &Sequence<Box<[F]>>,
    pitches: &Sequence<u32>,
    y: &mut [F],
    rows: u32,
    tokens: u32,
    factor: f32,
    #[comptime] count: usize,
    #[comptime] heads: usize,
    #[comptime] size: usize,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, tokens) = (CUBE_POS as usize, tokens as usize);
    if row >= rows as usize {
        terminate!();
    }
    let (entry, token) = (row / tokens, row % tokens);
    #[unroll]
    for part in 0..count {
        let mut i = UNIT_POS as usize;
        while i < comptime![heads * size] {
            let (head, feature) = (i / size, i % size);
            let mut value = parts[part][((entry * heads + head) * tokens + token) * pitches[part] as usize + feature];
            if comptime![part == 0] {
                value = F::cast_from(f32::cast_from(value) * factor);
            }
            y[(row * count + part) * comptime![heads * size] + i] = value;
            i += units;
        }
    }
}
