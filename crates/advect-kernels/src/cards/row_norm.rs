use super::*;

/// Tokens that one cube sums the gradients of parameters over, at least.
const TOKENS: usize = 64;
/// Cubes, about, that keep a card busy.
const BUSY: usize = 1024;
/// Features side by side in a cube that sums over tokens, and tokens side by side.
pub(super) const FEATURES: usize = 32;
pub(super) const LANES: usize = 4;

/// Rows that share a scale and a shift, and in how many parts the gradients of these are summed.
pub(super) fn cut(x: &Shape, scale: &Shape) -> (usize, usize) {
    let features = x[x.num_dims() - 1];
    let entries = scale.num_elements() / features;
    let rows = x.num_elements() / features / entries;
    let cubes = features.div_ceil(FEATURES) * entries;
    (rows, rows.div_ceil(TOKENS).min(BUSY.div_ceil(cubes)).max(1))
}

/// The shape of the gradients of the scale and the shift, `[parts, entries, features]`, and their type: f32 where there are parts to be added.
pub(super) fn sums(x: &Shape, scale: &Shape, dtype: DType) -> (Shape, DType) {
    let (features, parts) = (x[x.num_dims() - 1], cut(x, scale).1);
    let shape = Shape::new([parts, scale.num_elements() / features, features]);
    (shape, if parts == 1 { dtype } else { DType::F32 })
}

pub(super) fn forward(x: CubeTensor, scale: CubeTensor, shift: CubeTensor, options: RowOptions) -> CubeTensor {
    let shape = x.meta.shape().clone();
    let features = shape[shape.num_dims() - 1];
    let (rows, shared) = (shape.num_elements() / features, cut(&shape, scale.meta.shape()).0);
    let y = empty(&x, shape, x.dtype);
    let [(x, pitch), (scale, of_scale), (shift, of_shift)] = [x, scale, shift].map(lines);
    let units = units(features.div_ceil(16));
    normalise::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        x.clone().into_tensor_arg(),
        scale.clone().into_tensor_arg(),
        shift.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        features as u32,
        rows as u32,
        shared as u32,
        [pitch, of_scale, of_shift].into_iter().collect(),
        options.epsilon as f32,
        options.plus_one,
        units,
        [elem(x.dtype), elem(scale.dtype)],
    );
    y
}

/// A cube for each row.
#[cube(launch)]
fn normalise<F: Float, P: Float>(
    x: &Tensor<F>,
    scale: &Tensor<P>,
    shift: &Tensor<P>,
    y: &mut Tensor<F>,
    features: u32,
    rows: u32,
    shared: u32,
    pitches: &Sequence<u32>,
    epsilon: f32,
    #[comptime] plus_one: bool,
    #[comptime] units: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (row, features) = (CUBE_POS as usize, features as usize);
    if row >= rows as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let (start, entry) = (row * pitches[0] as usize, row / (shared as usize));
    let (mean, rstd) = moments::<F>(x, start, features, epsilon, &mut a, &mut b, units);
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (f32::cast_from(x[start + i]) - mean) * rstd;
        let factor = f32::cast_from(scale[entry * pitches[1] as usize + i]);
        let factor = if comptime![plus_one] { factor + 1.0f32 } else { factor };
        y[row * features + i] = F::cast_from(h * factor + f32::cast_from(shift[entry * pitches[2] as usize + i]));
        i += units;
    }
}

pub(super) fn backward(
    x: CubeTensor,
    scale: CubeTensor,
    gradient: CubeTensor,
    options: RowOptions,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let shape = x.meta.shape().clone();
    let features = shape[shape.num_dims() - 1];
    let rows = shape.num_elements() / features;
    let (shared, parts) = cut(&shape, scale.meta.shape());
    let (sums, of_sums) = sums(&shape, scale.meta.shape(), x.dtype);
    let (dx, moments) = (empty(&x, shape, x.dtype), empty(&x, Shape::new([rows, 2]), DType::F32));
    let [(x, pitch), (scale, of_scale), (gradient, of_gradient)] = [x, scale, gradient].map(lines);
    let (d_scale, d_shift) = (empty(&x, sums.clone(), of_sums), empty(&x, sums, of_sums));
    let dtypes = [elem(x.dtype), elem(scale.dtype)];
    let units = units(features.div_ceil(16));
    of_rows::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        x.clone().into_tensor_arg(),
        scale.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        dx.clone().into_tensor_arg(),
        moments.clone().into_tensor_arg(),
        features as u32,
        rows as u32,
        shared as u32,
        [pitch, of_scale, of_gradient].into_iter().collect(),
        options.epsilon as f32,
        options.plus_one,
        units,
        dtypes,
    );
    let blocks = features.div_ceil(FEATURES);
    of_parameters::launch(
        &x.client.clone(),
        cubes(blocks * (rows / shared) * parts),
        CubeDim::new_2d(FEATURES as u32, LANES as u32),
        x.clone().into_tensor_arg(),
        gradient.into_tensor_arg(),
        moments.into_tensor_arg(),
        d_scale.clone().into_tensor_arg(),
        d_shift.clone().into_tensor_arg(),
        features as u32,
        (rows / shared) as u32,
        shared as u32,
        parts as u32,
        [pitch, of_gradient].into_iter().collect(),
        [dtypes[0], elem(of_sums)],
    );
    (dx, d_scale, d_shift)
}

/// With h the normalised row, s its scale and g the gradient: `dx = (s g - mean(s g) - h mean(s g h)) / sd`. A cube for each row.
#[cube(launch)]
fn of_rows<F: Float, P: Float>(
    x: &Tensor<F>,
    scale: &Tensor<P>,
    gradient: &Tensor<F>,
    dx: &mut Tensor<F>,
    kept: &mut Tensor<f32>,
    features: u32,
    rows: u32,
    shared: u32,
    pitches: &Sequence<u32>,
    epsilon: f32,
    #[comptime] plus_one: bool,
    #[comptime] units: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (row, features) = (CUBE_POS as usize, features as usize);
    if row >= rows as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let (start, entry) = (row * pitches[0] as usize, row / (shared as usize));
    let (mean, rstd) = moments::<F>(x, start, features, epsilon, &mut a, &mut b, units);
    if UNIT_POS == 0 {
        kept[2 * row] = mean;
        kept[2 * row + 1] = rstd;
    }
    let one = if comptime![plus_one] { 1.0f32 } else { 0.0f32 };
    let mut sum_g = 0.0f32;
    let mut sum_gh = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (f32::cast_from(x[start + i]) - mean) * rstd;
        let g = f32::cast_from(gradient[row * pitches[2] as usize + i])
            * (f32::cast_from(scale[entry * pitches[1] as usize + i]) + one);
        sum_g += g;
        sum_gh += g * h;
        i += units;
    }
    let (sum_g, sum_gh) = sums_of_cube(sum_g, sum_gh, &mut a, &mut b);
    let count = f32::cast_from(features as u32);
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (f32::cast_from(x[start + i]) - mean) * rstd;
        let g = f32::cast_from(gradient[row * pitches[2] as usize + i])
            * (f32::cast_from(scale[entry * pitches[1] as usize + i]) + one);
        dx[row * features + i] = F::cast_from((g - sum_g / count - h * (sum_gh / count)) * rstd);
        i += units;
    }
}

/// The sums of g h and of g over the rows of an entry, in parts. A cube for some features of each part.
#[cube(launch)]
fn of_parameters<F: Float, G: Float>(
    x: &Tensor<F>,
    gradient: &Tensor<F>,
    kept: &Tensor<f32>,
    d_scale: &mut Tensor<G>,
    d_shift: &mut Tensor<G>,
    features: u32,
    entries: u32,
    shared: u32,
    parts: u32,
    pitches: &Sequence<u32>,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let features = features as usize;
    let blocks = (features + comptime![FEATURES - 1]) / comptime![FEATURES];
    let (entries, shared, parts) = (entries as usize, shared as usize, parts as usize);
    let cube = CUBE_POS as usize;
    if cube >= blocks * entries * parts {
        terminate!();
    }
    let block = cube % blocks;
    let entry = cube / blocks % entries;
    let part = cube / blocks / entries;
    let feature = block * comptime![FEATURES] + UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let many = (shared + parts - 1) / parts;
    let last = min(part * many + many, shared);
    let mut sum_gh = 0.0f32;
    let mut sum_g = 0.0f32;
    if feature < features {
        let mut token = part * many + lane;
        while token < last {
            let row = entry * shared + token;
            let g = f32::cast_from(gradient[row * pitches[1] as usize + feature]);
            let h = (f32::cast_from(x[row * pitches[0] as usize + feature]) - kept[2 * row]) * kept[2 * row + 1];
            sum_gh += g * h;
            sum_g += g;
            token += comptime![LANES];
        }
    }
    let mut a = Shared::new_slice(comptime![FEATURES * LANES]);
    let mut b = Shared::new_slice(comptime![FEATURES * LANES]);
    let unit = lane * comptime![FEATURES] + UNIT_POS_X as usize;
    a[unit] = sum_gh;
    b[unit] = sum_g;
    let mut half = comptime![LANES / 2].runtime();
    while half > 0 {
        sync_cube();
        if lane < half {
            a[unit] += a[unit + half * comptime![FEATURES]];
            b[unit] += b[unit + half * comptime![FEATURES]];
        }
        half /= 2;
    }
    if lane == 0 && feature < features {
        let at = (part * entries + entry) * features + feature;
        d_scale[at] = G::cast_from(a[unit]);
        d_shift[at] = G::cast_from(b[unit]);
    }
}
