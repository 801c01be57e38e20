use super::*;

/// Tokens that one cube sums the gradients of parameters over, at least.
const TOKENS: usize = 64;
/// Cubes, about, that keep a card busy.
const BUSY: usize = 1024;
/// Features, about, of a cube that sums over tokens.
const FEATURES: usize = 128;

/// The units of such a cube: side by side in a row, so many vectors wide, and tokens at once.
pub(super) fn block(wide: usize) -> (usize, usize) {
    if wide == 1 { (32, 4) } else { (16, 8) }
}

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

/// Tensors with rows of `features` numbers as kernels take them; of each how many vectors lie between the beginnings of two rows; and the numbers of a vector.
pub(super) fn rows_of<const N: usize>(tensors: [CubeTensor; N], features: usize) -> ([CubeTensor; N], [u32; N], usize) {
    let tensors = tensors.map(lines);
    let sizes: Vec<usize> = tensors.iter().map(|(_, pitch)| *pitch as usize).chain([features]).collect();
    // The narrowest numbers have the widest vectors.
    let widths = tensors.iter().map(|(x, _)| at_once(&x.client, x.dtype, &sizes));
    let wide = widths.min().unwrap_or(1);
    let pitches = std::array::from_fn(|i| tensors[i].1 / wide as u32);
    (tensors.map(|(x, _)| x), pitches, wide)
}

pub(super) fn forward(x: CubeTensor, scale: CubeTensor, shift: CubeTensor, options: RowOptions) -> CubeTensor {
    let shape = x.meta.shape().clone();
    let features = shape[shape.num_dims() - 1];
    let (rows, shared) = (shape.num_elements() / features, cut(&shape, scale.meta.shape()).0);
    let y = empty(&x, shape, x.dtype);
    let ([x, scale, shift], pitches, wide) = rows_of([x, scale, shift], features);
    let units = units(features.div_ceil(16));
    normalise::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        wide,
        x.clone().into_buffer_arg(),
        scale.clone().into_buffer_arg(),
        shift.into_buffer_arg(),
        y.clone().into_buffer_arg(),
        (features / wide) as u32,
        rows as u32,
        shared as u32,
        pitches.into_iter().collect(),
        options.epsilon as f32,
        options.plus_one,
        units,
        [elem(x.dtype), elem(scale.dtype)],
    );
    y
}

/// A cube for each row.
#[cube(launch)]
fn normalise<F: Float, P: Float, N: Size>(
    x: &[Vector<F, N>],
    scale: &[Vector<P, N>],
    shift: &[Vector<P, N>],
    y: &mut [Vector<F, N>],
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
    let (mean, rstd) = moments::<F, N>(x, start, features, epsilon, &mut a, &mut b, units);
    let one = if comptime![plus_one] { 1.0f32 } else { 0.0f32 };
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (widened::<F, N>(x[start + i]) - Vector::new(mean)) * Vector::new(rstd);
        let factor = widened::<P, N>(scale[entry * pitches[1] as usize + i]) + Vector::new(one);
        let offset = widened::<P, N>(shift[entry * pitches[2] as usize + i]);
        y[row * features + i] = Vector::cast_from(h * factor + offset);
        i += units;
    }
}

#[cube]
pub(super) fn widened<F: Float, N: Size>(x: Vector<F, N>) -> Vector<f32, N> {
    Vector::cast_from(x)
}

/// Mean and reciprocal deviation of a row, so many vectors from `start` on.
#[cube]
fn moments<F: Float, N: Size>(
    x: &[Vector<F, N>],
    start: usize,
    vectors: usize,
    epsilon: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] units: usize,
) -> (f32, f32) {
    let many = f32::cast_from((vectors * N::value()) as u32);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut i = UNIT_POS as usize;
    while i < vectors {
        sum += widened::<F, N>(x[start + i]);
        i += units;
    }
    let mean = sums_of_cube(sum.vector_sum(), 0.0f32, a, b).0 / many;
    let mut squares = Vector::<f32, N>::new(0.0f32);
    let mut i = UNIT_POS as usize;
    while i < vectors {
        let off = widened::<F, N>(x[start + i]) - Vector::new(mean);
        squares += off * off;
        i += units;
    }
    let variance = sums_of_cube(squares.vector_sum(), 0.0f32, a, b).0 / many;
    (mean, 1.0f32 / f32::sqrt(variance + epsilon))
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
    let ([x, scale, gradient], pitches, wide) = rows_of([x, scale, gradient], features);
    let (d_scale, d_shift) = (empty(&x, sums.clone(), of_sums), empty(&x, sums, of_sums));
    let dtypes = [elem(x.dtype), elem(scale.dtype)];
    let units = units(features.div_ceil(16));
    of_rows::launch(
        &x.client.clone(),
        cubes(rows),
        CubeDim::new_1d(units as u32),
        wide,
        x.clone().into_buffer_arg(),
        scale.clone().into_buffer_arg(),
        gradient.clone().into_buffer_arg(),
        dx.clone().into_buffer_arg(),
        moments.clone().into_buffer_arg(),
        (features / wide) as u32,
        rows as u32,
        shared as u32,
        pitches.into_iter().collect(),
        options.epsilon as f32,
        options.plus_one,
        units,
        dtypes,
    );
    let (side, lanes) = block(wide);
    let blocks = (features / wide).div_ceil(side);
    of_parameters::launch(
        &x.client.clone(),
        cubes(blocks * (rows / shared) * parts),
        CubeDim::new_2d(side as u32, lanes as u32),
        wide,
        x.clone().into_buffer_arg(),
        gradient.into_buffer_arg(),
        moments.into_buffer_arg(),
        d_scale.clone().into_buffer_arg(),
        d_shift.clone().into_buffer_arg(),
        (features / wide) as u32,
        (rows / shared) as u32,
        shared as u32,
        parts as u32,
        [pitches[0], pitches[2]].into_iter().collect(),
        side,
        lanes,
        [dtypes[0], elem(of_sums)],
    );
    (dx, d_scale, d_shift)
}

/// With h the normalised row, s its scale and g the gradient: `dx = (s g - mean(s g) - h mean(s g h)) / sd`. A cube for each row.
#[cube(launch)]
fn of_rows<F: Float, P: Float, N: Size>(
    x: &[Vector<F, N>],
    scale: &[Vector<P, N>],
    gradient: &[Vector<F, N>],
    dx: &mut [Vector<F, N>],
    kept: &mut [f32],
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
    let (scales, slopes) = (entry * pitches[1] as usize, row * pitches[2] as usize);
    let (mean, rstd) = moments::<F, N>(x, start, features, epsilon, &mut a, &mut b, units);
    if UNIT_POS == 0 {
        kept[2 * row] = mean;
        kept[2 * row + 1] = rstd;
    }
    let one = if comptime![plus_one] { 1.0f32 } else { 0.0f32 };
    let mut sum_g = Vector::<f32, N>::new(0.0f32);
    let mut sum_gh = Vector::<f32, N>::new(0.0f32);
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (widened::<F, N>(x[start + i]) - Vector::new(mean)) * Vector::new(rstd);
        let g = widened::<F, N>(gradient[slopes + i]) * (widened::<P, N>(scale[scales + i]) + Vector::new(one));
        sum_g += g;
        sum_gh += g * h;
        i += units;
    }
    let (sum_g, sum_gh) = sums_of_cube(sum_g.vector_sum(), sum_gh.vector_sum(), &mut a, &mut b);
    let count = f32::cast_from((features * N::value()) as u32);
    let (mean_g, mean_gh) = (sum_g / count, sum_gh / count);
    let mut i = UNIT_POS as usize;
    while i < features {
        let h = (widened::<F, N>(x[start + i]) - Vector::new(mean)) * Vector::new(rstd);
        let g = widened::<F, N>(gradient[slopes + i]) * (widened::<P, N>(scale[scales + i]) + Vector::new(one));
        dx[row * features + i] =
            Vector::cast_from((g - Vector::new(mean_g) - h * Vector::new(mean_gh)) * Vector::new(rstd));
        i += units;
    }
}

/// The sums of g h and of g over the rows of an entry, in parts. A cube for some features of each part.
#[cube(launch)]
fn of_parameters<F: Float, G: Float, N: Size>(
    x: &[Vector<F, N>],
    gradient: &[Vector<F, N>],
    kept: &[f32],
    d_scale: &mut [Vector<G, N>],
    d_shift: &mut [Vector<G, N>],
    features: u32,
    entries: u32,
    shared: u32,
    parts: u32,
    pitches: &Sequence<u32>,
    #[comptime] side: usize,
    #[comptime] lanes: usize,
    #[define(F, G)] _dtypes: [ElemType; 2],
) {
    let features = features as usize;
    let blocks = (features + comptime![side - 1]) / side;
    let (entries, shared, parts) = (entries as usize, shared as usize, parts as usize);
    let cube = CUBE_POS as usize;
    if cube >= blocks * entries * parts {
        terminate!();
    }
    let block = cube % blocks;
    let entry = cube / blocks % entries;
    let part = cube / blocks / entries;
    let feature = block * side + UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let many = (shared + parts - 1) / parts;
    let last = min(part * many + many, shared);
    let mut sum_gh = Vector::<f32, N>::new(0.0f32);
    let mut sum_g = Vector::<f32, N>::new(0.0f32);
    if feature < features {
        let mut token = part * many + lane;
        while token < last {
            let row = entry * shared + token;
            let g = widened::<F, N>(gradient[row * pitches[1] as usize + feature]);
            let off = widened::<F, N>(x[row * pitches[0] as usize + feature]) - Vector::new(kept[2 * row]);
            sum_gh += g * (off * Vector::new(kept[2 * row + 1]));
            sum_g += g;
            token += lanes;
        }
    }
    let mut a = Shared::<[Vector<f32, N>]>::new_slice(comptime![side * lanes]);
    let mut b = Shared::<[Vector<f32, N>]>::new_slice(comptime![side * lanes]);
    let unit = lane * side + UNIT_POS_X as usize;
    a[unit] = sum_gh;
    b[unit] = sum_g;
    let mut half = comptime![lanes / 2].runtime();
    while half > 0 {
        sync_cube();
        if lane < half {
            let other = unit + half * side;
            let (more_gh, more_g) = (a[other], b[other]);
            a[unit] += more_gh;
            b[unit] += more_g;
        }
        half /= 2;
    }
    if lane == 0 && feature < features {
        let at = (part * entries + entry) * features + feature;
        d_scale[at] = Vector::cast_from(a[unit]);
        d_shift[at] = Vector::cast_from(b[unit]);
    }
}
