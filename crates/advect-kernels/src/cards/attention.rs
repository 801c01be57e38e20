use super::*;

pub(super) fn weights_and_slopes(scores: CubeTensor, slopes: CubeTensor) -> (CubeTensor, CubeTensor) {
    let [scores, slopes] = [scores, slopes].map(into_contiguous);
    let shape = scores.meta.shape().clone();
    let keys = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / keys;
    let (weights, gradient) = (empty(&scores, shape.clone(), scores.dtype), empty(&scores, shape, scores.dtype));
    let units = units(keys.div_ceil(8));
    of_scores::launch(
        &scores.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        scores.clone().into_tensor_arg(),
        slopes.into_tensor_arg(),
        weights.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        keys as u32,
        rows as u32,
        units,
        elem(scores.dtype),
    );
    (weights, gradient)
}

/// A cube for each row.
#[cube(launch)]
fn of_scores<F: Float>(
    scores: &Tensor<F>,
    slopes: &Tensor<F>,
    weights: &mut Tensor<F>,
    gradient: &mut Tensor<F>,
    keys: u32,
    rows: u32,
    #[comptime] units: usize,
    #[define(F)] _dtype: ElemType,
) {
    let (row, keys) = (CUBE_POS as usize, keys as usize);
    if row >= rows as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let start = row * keys;
    let mut largest = f32::cast_from(scores[start]);
    let mut i = UNIT_POS as usize;
    while i < keys {
        largest = max(largest, f32::cast_from(scores[start + i]));
        i += units;
    }
    let largest = largest_of_cube(largest, &mut a);
    let mut sum = 0.0f32;
    let mut mean = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < keys {
        let e = f32::exp(f32::cast_from(scores[start + i]) - largest);
        sum += e;
        mean += e * f32::cast_from(slopes[start + i]);
        i += units;
    }
    let (sum, mean) = sums_of_cube(sum, mean, &mut a, &mut b);
    let mean = mean / sum;
    let mut i = UNIT_POS as usize;
    while i < keys {
        let weight = f32::exp(f32::cast_from(scores[start + i]) - largest) / sum;
        weights[start + i] = F::cast_from(weight);
        gradient[start + i] = F::cast_from(weight * (f32::cast_from(slopes[start + i]) - mean));
        i += units;
    }
}
