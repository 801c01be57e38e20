//! Sums over the rows of a matrix: gradients of biases, and products that were made in parts. Burn's operators cast such a matrix to f32 first, which in bf16 moves five times as much
//! memory as reading it does.
use super::*;
use row_norm::widened;

/// Rows up to which one cube adds up a column by itself.
const FEW: usize = 2048;
/// The least rows of a part.
const PART: usize = 256;
/// Cubes, about, that keep a card busy.
const BUSY: usize = 1024;

/// Units that share the rows of a vector of columns.
fn lanes(rows: usize) -> usize {
    (rows / 32).next_power_of_two().clamp(1, 8)
}

/// All axes but the last, which is that of the columns.
fn sizes(x: &CubeTensor) -> [usize; 2] {
    let shape = x.meta.shape();
    let columns = shape[shape.num_dims() - 1];
    [shape.num_elements() / columns, columns]
}

/// `[.., columns]` to `[columns]`, added in f32 and rounded once.
pub(super) fn forward(x: CubeTensor, dtype: DType) -> CubeTensor {
    let [rows, columns] = sizes(&x);
    // As if a vector had eight numbers, where they lie side by side: with less of them there are more cubes.
    let blocks = columns.div_ceil(8 * UNITS / lanes(rows));
    let parts = if rows <= FEW { 1 } else { (rows / PART).min(BUSY.div_ceil(blocks)) };
    let sums = match parts {
        1 => x,
        _ => add(x, rows.div_ceil(parts), DType::F32),
    };
    let [rows, _] = sizes(&sums);
    let sum = add(sums, rows, dtype);
    CubeTensor::new_contiguous(sum.client, sum.device, Shape::new([columns]), sum.handle, dtype)
}

/// `[.., columns]` to `[parts, columns]`, with so many rows in a part.
fn add(x: CubeTensor, many: usize, dtype: DType) -> CubeTensor {
    let [rows, columns] = sizes(&x);
    let parts = rows.div_ceil(many);
    let y = empty(&x, Shape::new([parts, columns]), dtype);
    let lanes = lanes(many);
    let (client, from, (x, pitch)) = (x.client.clone(), x.dtype, lines(x));
    let at_once = at_once(&client, from, &[pitch as usize, columns]);
    let vectors = columns / at_once;
    // Rows seldom have a power of two of vectors: of narrow cubes fewer units are left over.
    let wide = if at_once == 1 { UNITS / lanes } else { (UNITS / 2 / lanes).max(16) };
    add_rows::launch(
        &client,
        cubes(vectors.div_ceil(wide) * parts),
        CubeDim::new_2d(wide as u32, lanes as u32),
        at_once,
        x.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        rows as u32,
        vectors as u32,
        pitch / at_once as u32,
        many as u32,
        wide,
        lanes,
        [elem(from), elem(dtype)],
    );
    y
}

/// A cube for some columns of a part.
#[cube(launch)]
fn add_rows<F: Float, G: Float, N: Size>(
    x: &[Vector<F, N>],
    y: &mut [Vector<G, N>],
    rows: u32,
    columns: u32,
    pitch: u32,
    many: u32,
    #[comptime] wide: usize,
    #[comptime] lanes: usize,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let (rows, columns, many) = (rows as usize, columns as usize, many as usize);
    let blocks = (columns + comptime![wide - 1]) / wide;
    let (block, part) = (CUBE_POS as usize % blocks, CUBE_POS as usize / blocks);
    let (column, lane) = (block * wide + UNIT_POS_X as usize, UNIT_POS_Y as usize);
    let last = min(part * many + many, rows);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let pitch = pitch as usize;
        let mut row = part * many + lane;
        // Four loads at a time: one alone does not keep the memory of a large card busy.
        while row + comptime![3 * lanes] < last {
            let (first, step) = (row * pitch + column, pitch * lanes);
            let (a, b) = (widened::<F, N>(x[first]), widened::<F, N>(x[first + step]));
            let (c, d) = (widened::<F, N>(x[first + 2 * step]), widened::<F, N>(x[first + 3 * step]));
            sum += (a + b) + (c + d);
            row += comptime![4 * lanes];
        }
        while row < last {
            sum += widened::<F, N>(x[row * pitch + column]);
            row += lanes;
        }
    }
    if comptime![lanes > 1] {
        let mut sums = Shared::<[Vector<f32, N>]>::new_slice(comptime![wide * lanes]);
        let unit = lane * wide + UNIT_POS_X as usize;
        sums[unit] = sum;
        let mut half = comptime![lanes / 2].runtime();
        while half > 0 {
            sync_cube();
            if lane < half {
                let more = sums[unit + half * wide];
                sums[unit] += more;
            }
            half /= 2;
        }
        sum = sums[unit];
    }
    if lane == 0 && column < columns && part * many < rows {
        y[part * columns + column] = Vector::cast_from(sum);
    }
}
