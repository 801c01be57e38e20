use super::*;

/// Both in the places of the scores and the slopes, if nobody else reads these.
pub(super) fn weights_and_slopes(scores: CubeTensor, slopes: CubeTensor) -> (CubeTensor, CubeTensor) {
    let [scores, slopes] = [scores, slopes].map(own_lines);
    let [(score_lines, pitch), (slope_lines, slope_pitch)] = [&scores, &slopes].map(|t| lines(t.clone()));
    let shape = scores.meta.shape().clone();
    let keys = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / keys;
    let units = units(keys.div_ceil(8));
    of_scores::launch(
        &scores.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        score_lines.into_buffer_arg(),
        slope_lines.into_buffer_arg(),
        keys as u32,
        rows as u32,
        pitch,
        slope_pitch,
        units,
        elem(scores.dtype),
    );
    (scores, slopes)
}

/// In the place of the scores, if nobody else reads them.
pub(super) fn softmax(scores: CubeTensor) -> CubeTensor {
    let scores = own_lines(scores);
    let (score_lines, pitch) = lines(scores.clone());
    let shape = scores.meta.shape();
    let keys = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / keys;
    let units = units(keys.div_ceil(8));
    softmax_of_rows::launch(
        &scores.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        score_lines.into_buffer_arg(),
        keys as u32,
        rows as u32,
        pitch,
        units,
        elem(scores.dtype),
    );
    scores
}

/// A tensor whose rows are evenly spaced, to be written to.
fn own_lines(x: CubeTensor) -> CubeTensor {
    let x = many::own(x);
    if evenly_spaced(&x) { x } else { into_contiguous(x) }
}

/// The largest number of a row, and the sum of what is left of all after the exponential function.
#[cube]
fn largest_and_sum<F: Float>(
    scores: &mut [F],
    start: usize,
    keys: usize,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] units: usize,
) -> (f32, f32) {
    let mut largest = f32::cast_from(scores[start]);
    let mut i = UNIT_POS as usize;
    while i < keys {
        largest = max(largest, f32::cast_from(scores[start + i]));
        i += units;
    }
    let largest = largest_of_cube(largest, a);
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < keys {
        sum += f32::exp(f32::cast_from(scores[start + i]) - largest);
        i += units;
    }
    (largest, sums_of_cube(sum, 0.0f32, a, b).0)
}

/// A cube for each row.
#[cube(launch)]
fn softmax_of_rows<F: Float>(
    scores: &mut [F],
    keys: u32,
    rows: u32,
    pitch: u32,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, keys) = (CUBE_POS as usize, keys as usize);
    if row >= rows as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let start = row * pitch as usize;
    let (largest, sum) = largest_and_sum::<F>(scores, start, keys, &mut a, &mut b, units);
    let mut i = UNIT_POS as usize;
    while i < keys {
        scores[start + i] = F::cast_from(f32::exp(f32::cast_from(scores[start + i]) - largest) / sum);
        i += units;
    }
}

/// A cube for each row.
#[cube(launch)]
fn of_scores<F: Float>(
    scores: &mut [F],
    slopes: &mut [F],
    keys: u32,
    rows: u32,
    pitch: u32,
    slope_pitch: u32,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, keys) = (CUBE_POS as usize, keys as usize);
    if row >= rows as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let (start, slope_start) = (row * pitch as usize, row * slope_pitch as usize);
    let (largest, sum) = largest_and_sum::<F>(scores, start, keys, &mut a, &mut b, units);
    let mut mean = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < keys {
        mean += f32::exp(f32::cast_from(scores[start + i]) - largest) * f32::cast_from(slopes[slope_start + i]);
        i += units;
    }
    let mean = sums_of_cube(mean, 0.0f32, &mut a, &mut b).0 / sum;
    let mut i = UNIT_POS as usize;
    while i < keys {
        let weight = f32::exp(f32::cast_from(scores[start + i]) - largest) / sum;
        let slope = weight * (f32::cast_from(slopes[slope_start + i]) - mean);
        scores[start + i] = F::cast_from(weight);
        slopes[slope_start + i] = F::cast_from(slope);
        i += units;
    }
}
