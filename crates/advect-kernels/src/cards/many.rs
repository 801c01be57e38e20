//! Work over many tensors in few launches: a network has hundreds of parameters, most of them small, and a launch costs more than what is done to them.
use super::*;

/// A step over all of these tensors at once, in the time of fusion's queue where that is on.
///
/// `run` gets the tensors in this order and gives back tensors of the types and shapes in `specs`.
#[cfg(feature = "fusion")]
pub(super) fn all(
    name: &'static str,
    inputs: Vec<FloatTensor<Cube>>,
    specs: Vec<(Shape, DType)>,
    run: impl Fn(Vec<CubeTensor>) -> Vec<CubeTensor> + Send + Sync + 'static,
) -> Vec<FloatTensor<Cube>> {
    use burn::backend::fusion::custom::{CustomOpIr, HandleContainer, OperationFn, OperationIr, StreamId, TensorIr};
    use burn::backend::fusion::{FusionBackend, FusionRuntime};
    type Handle = <<Bare as FusionBackend>::FusionRuntime as FusionRuntime>::FusionHandle;

    let client = inputs[0].client.clone();
    let inputs: Vec<TensorIr> = inputs.into_iter().map(|tensor| tensor.into_ir()).collect();
    let outputs = specs.into_iter().map(|(shape, dtype)| TensorIr::uninit(client.create_empty_handle(), shape, dtype));
    let outputs: Vec<TensorIr> = outputs.collect();
    let ids: Vec<_> = outputs.iter().map(|output| output.id).collect();
    let description = CustomOpIr { id: name.into(), inputs: inputs.clone(), outputs, scalars: Vec::new() };
    let operation = OperationFn(move |handles: &mut HandleContainer<Handle>| {
        let inputs = inputs.iter().map(|input| handles.get_float_tensor::<Bare>(input));
        for (id, output) in ids.iter().zip(run(inputs.collect())) {
            handles.register_float_tensor::<Bare>(id, output);
        }
        Ok(())
    });
    client.register(StreamId::current(), OperationIr::Custom(description), operation)
}

#[cfg(not(feature = "fusion"))]
pub(super) fn all(
    _name: &'static str,
    inputs: Vec<FloatTensor<Cube>>,
    _specs: Vec<(Shape, DType)>,
    run: impl Fn(Vec<CubeTensor>) -> Vec<CubeTensor> + Send + Sync + 'static,
) -> Vec<FloatTensor<Cube>> {
    run(inputs.into_iter().map(same).collect()).into_iter().map(same).collect()
}

/// Buffers of one launch, at most; a card may have fewer.
const BUFFERS: usize = 100;
/// Numbers that one cube changes, and that one cube adds up.
const CHANGED: usize = 2048;
const ADDED: usize = 1 << 15;

/// How many tensors go into one launch if each brings so many buffers.
pub(super) fn together(like: &CubeTensor, buffers: usize) -> usize {
    let most = like.client.properties().hardware.max_bindings as usize;
    // One is for the sizes, and one more may be for a result.
    (most.saturating_sub(2).min(BUFFERS) / buffers).max(1)
}

/// The numbers of each tensor: its memory may go on behind them.
fn counts(tensors: &[CubeTensor]) -> SequenceArg<u32> {
    tensors.iter().map(|t| t.meta.shape().num_elements() as u32).collect()
}

/// How many cubes come before those of each tensor, and all of them.
fn starts(tensors: &[CubeTensor], numbers: usize) -> Vec<u32> {
    let cubes = tensors.iter().map(|t| t.meta.shape().num_elements().div_ceil(numbers) as u32);
    let sums = cubes.scan(0, |sum, cubes| {
        *sum += cubes;
        Some(*sum)
    });
    std::iter::once(0).chain(sums).collect()
}

/// Parts that a tensor of so many numbers is added up in.
fn parts(count: usize) -> usize {
    count.div_ceil(ADDED)
}

/// What AdamW makes of its numbers before any tensor is touched.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Factors {
    gradient: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    fix2: f32,
    epsilon: f32,
    keep: f32,
    rate: f32,
    follow: f32,
}

fn factors(step: &AdamW) -> FactorsLaunch {
    let [fix1, fix2] = step.corrections();
    let [gradient, beta1, rest1, beta2, rest2, fix2, epsilon, keep, rate, follow] = [
        step.gradient_factor,
        step.beta1,
        1.0 - step.beta1,
        step.beta2,
        1.0 - step.beta2,
        fix2,
        step.epsilon,
        1.0 - step.rate * step.weight_decay,
        step.rate / fix1,
        step.follow,
    ]
    .map(|x| x as f32);
    FactorsLaunch::new(gradient, beta1, rest1, beta2, rest2, fix2, epsilon, keep, rate, follow)
}

/// Of five tensors for each parameter (weights, gradient, moments, average) the four that a step changes. All are f32 but the gradients, which are of one type.
pub(super) fn adamw(inputs: Vec<FloatTensor<Cube>>, step: AdamW) -> Vec<FloatTensor<Cube>> {
    let changed = inputs.iter().enumerate().filter(|(i, _)| i % 5 != 1);
    let specs = changed.map(|(_, tensor)| (tensor.shape(), DType::F32)).collect();
    all("advect_adamw", inputs, specs, move |tensors| launch_adamw(tensors, &step))
}

pub(super) fn launch_adamw(tensors: Vec<CubeTensor>, step: &AdamW) -> Vec<CubeTensor> {
    let mut new = Vec::with_capacity(tensors.len() / 5 * 4);
    let group = 5 * together(&tensors[0], 5);
    let mut tensors = tensors.into_iter().map(into_contiguous).peekable();
    while tensors.peek().is_some() {
        let (mut held, mut gradients) = ([const { Vec::new() }; 4], Vec::new());
        for (i, tensor) in tensors.by_ref().take(group).enumerate() {
            match i % 5 {
                1 => gradients.push(tensor),
                i => held[i.saturating_sub(1)].push(own(tensor)),
            }
        }
        let starts = starts(&gradients, CHANGED);
        let (client, dtype, count) = (gradients[0].client.clone(), gradients[0].dtype, gradients.len());
        let lengths = counts(&gradients);
        let [weights, first, second, average] = held.each_ref().map(|held| args(held.iter().cloned()));
        step_of_adamw::launch(
            &client,
            cubes(starts[count] as usize),
            CubeDim::new_1d(UNITS as u32),
            weights,
            args(gradients.into_iter()),
            first,
            second,
            average,
            lengths,
            starts.into_iter().collect(),
            factors(step),
            count,
            elem(dtype),
        );
        let [weights, first, second, average] = held;
        let fours = weights.into_iter().zip(first).zip(second).zip(average);
        new.extend(fours.flat_map(|(((w, f), s), a)| [w, f, s, a]));
    }
    new
}

/// A tensor that may be written to: itself if nobody else reads it.
pub(super) fn own(tensor: CubeTensor) -> CubeTensor {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

pub(super) fn args<C: CubePrimitive>(tensors: impl Iterator<Item = CubeTensor>) -> SequenceArg<Box<[C]>> {
    tensors.map(CubeTensor::into_buffer_arg).collect()
}

/// CubeCL does not index what it indexes from a list to write there.
#[cube]
pub(super) fn write<F: Float>(to: &mut [F], i: usize, value: F) {
    to[i] = value;
}

/// Cubes of [`CHANGED`] numbers each, those of one tensor after those of another.
#[cube(launch)]
fn step_of_adamw<G: Float>(
    weights: &mut Sequence<Box<[f32]>>,
    gradients: &Sequence<Box<[G]>>,
    first: &mut Sequence<Box<[f32]>>,
    second: &mut Sequence<Box<[f32]>>,
    average: &mut Sequence<Box<[f32]>>,
    lengths: &Sequence<u32>,
    starts: &Sequence<u32>,
    factors: Factors,
    #[comptime] count: usize,
    #[define(G)] _dtype: ElemType,
) {
    let cube = CUBE_POS as u32;
    #[unroll]
    for k in 0..count {
        if cube >= starts[k] && cube < starts[k + 1] {
            let from = (cube - starts[k]) as usize * CHANGED;
            let to = min(from + CHANGED, lengths[k] as usize);
            let mut i = from + UNIT_POS as usize;
            while i < to {
                let g = f32::cast_from(gradients[k][i]) * factors.gradient;
                let m = first[k][i] * factors.beta1 + g * factors.rest1;
                let v = second[k][i] * factors.beta2 + g * g * factors.rest2;
                let direction = m / (f32::sqrt(v / factors.fix2) + factors.epsilon);
                let w = weights[k][i] * factors.keep - direction * factors.rate;
                let a = average[k][i];
                write::<f32>(&mut first[k], i, m);
                write::<f32>(&mut second[k], i, v);
                write::<f32>(&mut weights[k], i, w);
                write::<f32>(&mut average[k], i, a + (w - a) * factors.follow);
                i += UNITS;
            }
        }
    }
}

/// Numbers, f32, that add up to the squares of all elements of tensors of one type, some for each.
pub(super) fn sums_of_squares(tensors: Vec<FloatTensor<Cube>>) -> Option<FloatTensor<Cube>> {
    let count = tensors.iter().map(|t| parts(t.shape().num_elements())).sum();
    let specs = vec![(Shape::new([count]), DType::F32)];
    all("advect_sums_of_squares", tensors, specs, |tensors| vec![launch_squares(tensors)]).pop()
}

pub(super) fn launch_squares(tensors: Vec<CubeTensor>) -> CubeTensor {
    let tensors: Vec<_> = tensors.into_iter().map(into_contiguous).collect();
    let (client, dtype, group) = (tensors[0].client.clone(), tensors[0].dtype, together(&tensors[0], 1));
    let count = tensors.iter().map(|t| parts(t.meta.shape().num_elements())).sum();
    let sums = empty(&tensors[0], Shape::new([count]), DType::F32);
    let mut before = 0;
    for tensors in tensors.chunks(group) {
        let starts = starts(tensors, ADDED);
        let cubes_of_all = starts[tensors.len()];
        square_and_add::launch(
            &client,
            cubes(cubes_of_all as usize),
            CubeDim::new_1d(UNITS as u32),
            args(tensors.iter().cloned()),
            sums.clone().into_buffer_arg(),
            counts(tensors),
            starts.into_iter().collect(),
            before,
            tensors.len(),
            elem(dtype),
        );
        before += cubes_of_all;
    }
    sums
}

#[cube(launch)]
fn square_and_add<F: Float>(
    tensors: &Sequence<Box<[F]>>,
    sums: &mut [f32],
    lengths: &Sequence<u32>,
    starts: &Sequence<u32>,
    before: u32,
    #[comptime] count: usize,
    #[define(F)] _dtype: ElemType,
) {
    let cube = CUBE_POS as u32;
    let mut sum = 0.0f32;
    #[unroll]
    for k in 0..count {
        if cube >= starts[k] && cube < starts[k + 1] {
            let from = (cube - starts[k]) as usize * ADDED;
            let to = min(from + ADDED, lengths[k] as usize);
            let mut i = from + UNIT_POS as usize;
            while i < to {
                let x = f32::cast_from(tensors[k][i]);
                sum += x * x;
                i += UNITS;
            }
        }
    }
    let mut a = Shared::new_slice(UNITS);
    let mut b = Shared::new_slice(UNITS);
    let sum = sums_of_cube(sum, 0.0f32, &mut a, &mut b).0;
    if UNIT_POS == 0 && cube < starts[count] {
        sums[(before + cube) as usize] = sum;
    }
}

/// Tensors of one type in another.
pub(super) fn casts(tensors: Vec<FloatTensor<Cube>>, to: DType) -> Vec<FloatTensor<Cube>> {
    let specs = tensors.iter().map(|t| (t.shape(), to)).collect();
    all("advect_casts", tensors, specs, move |tensors| launch_casts(tensors, to))
}

pub(super) fn launch_casts(tensors: Vec<CubeTensor>, to: DType) -> Vec<CubeTensor> {
    let tensors: Vec<_> = tensors.into_iter().map(into_contiguous).collect();
    let results: Vec<_> = tensors.iter().map(|t| empty(t, t.meta.shape().clone(), to)).collect();
    let (client, from, group) = (tensors[0].client.clone(), tensors[0].dtype, together(&tensors[0], 2));
    for (tensors, results) in tensors.chunks(group).zip(results.chunks(group)) {
        let starts = starts(tensors, CHANGED);
        convert::launch(
            &client,
            cubes(starts[tensors.len()] as usize),
            CubeDim::new_1d(UNITS as u32),
            args(tensors.iter().cloned()),
            args(results.iter().cloned()),
            counts(tensors),
            starts.into_iter().collect(),
            tensors.len(),
            [elem(from), elem(to)],
        );
    }
    results
}

#[cube(launch)]
fn convert<A: Float, B: Float>(
    tensors: &Sequence<Box<[A]>>,
    results: &mut Sequence<Box<[B]>>,
    lengths: &Sequence<u32>,
    starts: &Sequence<u32>,
    #[comptime] count: usize,
    #[define(A, B)] _dtypes: [ElemType; 2],
) {
    let cube = CUBE_POS as u32;
    #[unroll]
    for k in 0..count {
        if cube >= starts[k] && cube < starts[k + 1] {
            let from = (cube - starts[k]) as usize * CHANGED;
            let to = min(from + CHANGED, lengths[k] as usize);
            let mut i = from + UNIT_POS as usize;
            while i < to {
                write::<B>(&mut results[k], i, B::cast_from(tensors[k][i]));
                i += UNITS;
            }
        }
    }
}
