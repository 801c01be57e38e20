use super::*;

/// The shape of the sums over pixels, `[images, channels]`.
pub(super) fn sums(x: &Shape) -> Shape {
    Shape::new([x[0], x[1]])
}

/// Of images `[images, channels, ..]`: images, channels, channels of a group, pixels.
fn sizes(x: &Shape, options: NormOptions) -> [usize; 4] {
    let [images, channels] = [x[0], x[1]];
    [images, channels, channels / options.groups, x.num_elements() / (images * channels)]
}

pub(super) fn forward(x: CubeTensor, factor: CubeTensor, offset: CubeTensor, options: NormOptions) -> CubeTensor {
    if let Some(y) = group_norm_last::forward(&x, &factor, &offset, options) {
        return y;
    }
    let [x, factor, offset] = [x, factor, offset].map(into_contiguous);
    let shape = x.meta.shape().clone();
    let [images, channels, group, pixels] = sizes(&shape, options);
    let y = empty(&x, shape, x.dtype);
    let units = units((group * pixels).div_ceil(16));
    let each = factor.meta.shape().num_elements() > channels;
    normalise::launch(
        &x.client.clone(),
        cubes(images * options.groups),
        CubeDim::new_1d(units as u32),
        x.clone().into_tensor_arg(),
        factor.clone().into_tensor_arg(),
        offset.into_tensor_arg(),
        y.clone().into_tensor_arg(),
        group as u32,
        pixels as u32,
        options.groups as u32,
        images as u32,
        options.epsilon as f32,
        each,
        options.silu,
        units,
        [elem(x.dtype), elem(factor.dtype)],
    );
    y
}

/// A cube for each group.
#[cube(launch)]
fn normalise<F: Float, P: Float>(
    x: &Tensor<F>,
    factor: &Tensor<P>,
    offset: &Tensor<P>,
    y: &mut Tensor<F>,
    group: u32,
    pixels: u32,
    groups: u32,
    images: u32,
    epsilon: f32,
    #[comptime] each: bool,
    #[comptime] silu: bool,
    #[comptime] units: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (cube, group, pixels, groups) = (CUBE_POS as usize, group as usize, pixels as usize, groups as usize);
    if cube >= groups * images as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let count = group * pixels;
    let start = cube * count;
    // Parameters of the first channel: of this image, or of all.
    let first = if comptime![each] { cube * group } else { cube % groups * group };
    let (mean, rstd) = moments::<F>(x, start, count, epsilon, &mut a, &mut b, units);
    let mut i = UNIT_POS as usize;
    while i < count {
        let channel = first + i / pixels;
        let h = (f32::cast_from(x[start + i]) - mean) * rstd;
        let z = h * f32::cast_from(factor[channel]) + f32::cast_from(offset[channel]);
        let z = if comptime![silu] { z * sigmoid(z) } else { z };
        y[start + i] = F::cast_from(z);
        i += units;
    }
}

pub(super) fn backward(
    x: CubeTensor,
    factor: CubeTensor,
    offset: CubeTensor,
    gradient: CubeTensor,
    options: NormOptions,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    if let Some(gradients) = group_norm_last::backward(&x, &factor, &offset, &gradient, options) {
        return gradients;
    }
    let [x, factor, offset, gradient] = [x, factor, offset, gradient].map(into_contiguous);
    let shape = x.meta.shape().clone();
    let [images, channels, group, pixels] = sizes(&shape, options);
    let sums = sums(&shape);
    let (sum_gh, sum_g) = (empty(&x, sums.clone(), DType::F32), empty(&x, sums, DType::F32));
    let dx = empty(&x, shape, x.dtype);
    let units = units(pixels.div_ceil(8));
    let each = factor.meta.shape().num_elements() > channels;
    differentiate::launch(
        &x.client.clone(),
        cubes(images * options.groups),
        CubeDim::new_1d(units as u32),
        x.clone().into_tensor_arg(),
        factor.clone().into_tensor_arg(),
        offset.into_tensor_arg(),
        gradient.into_tensor_arg(),
        dx.clone().into_tensor_arg(),
        sum_gh.clone().into_tensor_arg(),
        sum_g.clone().into_tensor_arg(),
        group as u32,
        pixels as u32,
        options.groups as u32,
        images as u32,
        options.epsilon as f32,
        each,
        options.silu,
        units,
        [elem(x.dtype), elem(factor.dtype)],
    );
    (dx, sum_gh, sum_g)
}

/// The gradient before the activation, whose input is z.
#[cube]
pub(super) fn before(g: f32, z: f32, #[comptime] silu: bool) -> f32 {
    if comptime![silu] {
        let s = sigmoid(z);
        g * s * (1.0f32 + z * (1.0f32 - s))
    } else {
        g
    }
}

/// With h the normalised group, f the factors and g the gradient before the activation: `dx = (f g - mean(f g) - h mean(f g h)) / sd`, the means over the group; and
/// the sums of g h and of g over the pixels of each channel. A cube for each group.
#[cube(launch)]
fn differentiate<F: Float, P: Float>(
    x: &Tensor<F>,
    factor: &Tensor<P>,
    offset: &Tensor<P>,
    gradient: &Tensor<F>,
    dx: &mut Tensor<F>,
    sums_gh: &mut Tensor<f32>,
    sums_g: &mut Tensor<f32>,
    group: u32,
    pixels: u32,
    groups: u32,
    images: u32,
    epsilon: f32,
    #[comptime] each: bool,
    #[comptime] silu: bool,
    #[comptime] units: usize,
    #[define(F, P)] _dtypes: [ElemType; 2],
) {
    let (cube, group, pixels, groups) = (CUBE_POS as usize, group as usize, pixels as usize, groups as usize);
    if cube >= groups * images as usize {
        terminate!();
    }
    let mut a = Shared::new_slice(units);
    let mut b = Shared::new_slice(units);
    let count = group * pixels;
    let start = cube * count;
    let first = if comptime![each] { cube * group } else { cube % groups * group };
    let (mean, rstd) = moments::<F>(x, start, count, epsilon, &mut a, &mut b, units);
    let mut sum_fgh = 0.0f32;
    let mut sum_fg = 0.0f32;
    let mut channel = 0usize;
    while channel < group {
        let from = start + channel * pixels;
        let (f, o) = (f32::cast_from(factor[first + channel]), f32::cast_from(offset[first + channel]));
        let mut own_gh = 0.0f32;
        let mut own_g = 0.0f32;
        let mut i = UNIT_POS as usize;
        while i < pixels {
            let h = (f32::cast_from(x[from + i]) - mean) * rstd;
            let g = before(f32::cast_from(gradient[from + i]), h * f + o, silu);
            own_gh += g * h;
            own_g += g;
            i += units;
        }
        let (sum_gh, sum_g) = sums_of_cube(own_gh, own_g, &mut a, &mut b);
        if UNIT_POS == 0 {
            sums_gh[cube * group + channel] = sum_gh;
            sums_g[cube * group + channel] = sum_g;
        }
        sum_fgh += f * sum_gh;
        sum_fg += f * sum_g;
        channel += 1;
    }
    let many = f32::cast_from(count as u32);
    let mut i = UNIT_POS as usize;
    while i < count {
        let channel = first + i / pixels;
        let f = f32::cast_from(factor[channel]);
        let h = (f32::cast_from(x[start + i]) - mean) * rstd;
        let g = before(f32::cast_from(gradient[start + i]), h * f + f32::cast_from(offset[channel]), silu);
        dx[start + i] = F::cast_from((f * g - sum_fg / many - h * (sum_fgh / many)) * rstd);
        i += units;
    }
}

/// Mean and reciprocal deviation of `count` numbers from `start` on.
#[cube]
fn moments<F: Float>(
    x: &Tensor<F>,
    start: usize,
    count: usize,
    epsilon: f32,
    a: &mut Shared<[f32]>,
    b: &mut Shared<[f32]>,
    #[comptime] units: usize,
) -> (f32, f32) {
    let many = f32::cast_from(count as u32);
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < count {
        sum += f32::cast_from(x[start + i]);
        i += units;
    }
    let mean = sums_of_cube(sum, 0.0f32, a, b).0 / many;
    let mut squares = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < count {
        let off = f32::cast_from(x[start + i]) - mean;
        squares += off * off;
        i += units;
    }
    let variance = sums_of_cube(squares, 0.0f32, a, b).0 / many;
    (mean, 1.0f32 / f32::sqrt(variance + epsilon))
}
