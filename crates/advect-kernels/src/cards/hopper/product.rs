//! Products of matrices, and what runs convolutions as such.
use super::{Turned, aligned_lines, map, multiprocessors, text};
use crate::cards::{elem, empty, row_sum};
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Rows of a tile, and the numbers of the inner axis that come at once.
pub(super) const HIGH: usize = 128;
pub(super) const DEEP: usize = 64;
/// Columns of a tile, and the steps along the inner axis that lie in shared memory: as many as fit. And how much of the units' speed such a tile reaches, about.
const TILES: [(usize, usize, f64); 4] = [(256, 4, 1.0), (192, 5, 0.97), (128, 6, 0.85), (64, 8, 0.55)];
/// Steps along the inner axis, at least, of a part of it, and parts at most.
const PART: usize = 4;
const PARTS: usize = 32;

/// What the text depends on. It is part of the kernel's name in CubeCL's caches, so that the text must follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    wide: usize,
    steps: usize,
    way: Way,
    turned: Turned,
    brain: bool,
    bias: bool,
    after: After,
    single: bool,
}

/// What the left and the right matrix are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Matrix,
    /// Pixels and a convolution's kernel.
    Image,
    /// Pixels' gradients and the kernel, turned round.
    Slope,
    /// Pixels' gradients and pixels.
    Kernel,
}

/// What is done with the numbers of a product before they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cards) enum After {
    Nothing,
    /// GELU in its tanh form.
    Gelu,
    /// The same, and what it takes is written too.
    GeluOfKept,
}

impl Plan {
    /// Bytes of shared memory: the ring, two barriers for each step of it, and room to begin at a multiple of 1024.
    fn memory(self) -> usize {
        self.steps * (2 * DEEP * (HIGH + self.wide) + 16) + 1024
    }

    fn text(self) -> String {
        let kind = if self.brain { "bf16" } else { "f16" };
        let (left, right) = (self.turned == Turned::Left, self.turned != Turned::Right);
        let flag = |on: bool| if on { "1" } else { "0" };
        let way = match self.way {
            Way::Matrix => "MATRIX",
            Way::Image => "IMAGE",
            Way::Slope => "SLOPE",
            Way::Kernel => "KERNEL",
        };
        let product = text::multiply(self.wide, kind, flag(left), flag(right));
        let filled = [
            ("$WIDE_TILE", self.wide.to_string()),
            ("$STAGES", self.steps.to_string()),
            ("$LEFT", flag(left).into()),
            ("$RIGHT", flag(right).into()),
            ("$WGMMA", product),
            ("$SINGLE", flag(self.single).into()),
            ("$BIAS", flag(self.bias).into()),
            ("$GELU", flag(self.after != After::Nothing).into()),
            ("$KEPT", flag(self.after == After::GeluOfKept).into()),
            ("$WAY", way.into()),
        ];
        let text = text::filled(include_str!("product.cu"), kind, &filled);
        let numbers: Vec<String> = (6..6 + NUMBERS).map(|i| format!("{{{i}}}")).collect();
        let (sizes, images) = numbers.split_at(6);
        format!(
            "{{\n{text}\nProduct::run(&{{3}}, &{{4}}, {{0}}, {{1}}, {{5}}, {}, {{{}}}, (char *){{2}});\n}}\n",
            sizes.join(", "),
            images.join(", ")
        )
    }
}

/// Numbers that a kernel is given: six sizes, and eleven of images.
const NUMBERS: usize = 17;

/// A tile's columns, the steps of its ring, and the parts of the inner axis that are quickest, about.
pub(super) struct Cut {
    pub wide: usize,
    ring: usize,
    pub parts: usize,
}

impl Cut {
    /// Of so many rows of tiles, each of so many for a width of tiles, with so many steps along the inner axis, of a result of so many numbers.
    pub(super) fn new(
        client: &Client,
        rows: usize,
        across: impl Fn(usize) -> usize,
        steps: usize,
        numbers: usize,
        in_parts: bool,
    ) -> Self {
        // Without them nobody asks for this: what takes a product is behind `runs`.
        let units = multiprocessors(client).unwrap_or(1) as usize;
        let most = if in_parts { PARTS.min(steps / PART).max(1) } else { 1 };
        let time = |wide: usize, parts: usize, speed: f64| {
            let tiles = rows * across(wide) * parts;
            // A tile is written when it is done, and parts are added up.
            let ends = if parts > 1 { 3.0 + (numbers * parts) as f64 / 4e5 } else { 2.0 };
            tiles.div_ceil(units) as f64 * wide as f64 / speed * (steps.div_ceil(parts) as f64 + ends)
        };
        let cuts =
            TILES.iter().flat_map(|&(wide, ring, speed)| (1..=most).map(move |parts| (wide, ring, parts, speed)));
        let best = cuts.min_by(|x, y| time(x.0, x.2, x.3).total_cmp(&time(y.0, y.2, y.3)));
        let (wide, ring, parts, _) = best.unwrap_or((TILES[0].0, TILES[0].1, 1, 1.0));
        // No part is empty.
        Self { wide, ring, parts: steps.div_ceil(steps.div_ceil(parts)) }
    }
}

/// One run of the kernel.
pub(super) struct Job {
    pub a: TensorMapArg<Tiled>,
    pub b: TensorMapArg<Tiled>,
    pub way: Way,
    pub turned: Turned,
    pub cut: Cut,
    /// The type of the matrices.
    pub dtype: DType,
    /// The result, f32 where it is in parts.
    pub y: CubeTensor,
    pub kept: Option<CubeTensor>,
    pub bias: Option<CubeTensor>,
    pub after: After,
    /// Rows, columns, inner length, numbers between the beginnings of the result's rows, and pairs of matrices.
    pub sizes: [usize; 5],
    pub images: [usize; 11],
}

impl Job {
    pub(super) fn run(self) {
        let Self { a, b, way, turned, cut, dtype, y, kept, bias, after, sizes, images } = self;
        let [m, n, k, pitch, entries] = sizes;
        let Cut { wide, ring, parts } = cut;
        let plan = Plan {
            wide,
            steps: ring,
            way,
            turned,
            brain: dtype == DType::BF16,
            bias: bias.is_some(),
            after,
            single: y.dtype == DType::F32,
        };
        let tiles = m.div_ceil(HIGH) * n.div_ceil(wide) * entries * parts;
        let units = multiprocessors(&y.client).unwrap_or(1) as usize;
        let numbers = [m, n, k, pitch, entries, parts].into_iter().chain(images);
        multiply::launch(
            &y.client.clone(),
            CubeCount::Static(tiles.min(units) as u32, 1, 1),
            CubeDim::new_1d(384),
            a,
            b,
            y.clone().into_buffer_arg(),
            kept.map(|kept| kept.into_buffer_arg()).into(),
            bias.map(|bias| aligned_lines(bias).0.into_buffer_arg()).into(),
            numbers.map(|number| number as u32).collect(),
            plan,
            [elem(dtype), elem(y.dtype)],
        );
    }
}

/// The product of the matrices `[.., rows, columns]` of two tensors, with a number added to each column.
pub(in crate::cards) fn product(a: CubeTensor, b: CubeTensor, bias: Option<CubeTensor>, turned: Turned) -> CubeTensor {
    product_then(a, b, bias, turned, After::Nothing).0
}

/// The same with something done to it, and what that takes where it is kept.
pub(in crate::cards) fn product_then(
    a: CubeTensor,
    b: CubeTensor,
    bias: Option<CubeTensor>,
    turned: Turned,
    after: After,
) -> (CubeTensor, Option<CubeTensor>) {
    let (left, right, dtype) = (a.meta.shape().clone(), b.meta.shape().clone(), a.dtype);
    let ([m, n, k], shape) = (turned.sizes(&left, &right), turned.shape(&left, &right));
    let entries = shape.iter().take(shape.num_dims() - 2).product::<usize>();
    let in_parts = entries == 1 && bias.is_none() && after == After::Nothing;
    let across = |wide: usize| n.div_ceil(wide);
    let cut = Cut::new(&a.client, m.div_ceil(HIGH) * entries, across, k.div_ceil(DEEP), m * n, in_parts);
    let (wide, parts) = (cut.wide, cut.parts);

    let kind = elem(dtype);
    let boxes = |x: CubeTensor, rows: usize, columns: usize, inner_first: bool, long: usize| {
        let (x, pitch) = aligned_lines(x);
        let tile = if inner_first { [1, long, DEEP] } else { [1, DEEP, 64] };
        map(&x, &[entries, rows, columns], &[rows * pitch, pitch, 1], &tile, kind)
    };
    let y = if parts > 1 { empty(&a, Shape::new([parts, m * n]), DType::F32) } else { empty(&a, shape.clone(), dtype) };
    let kept = (after == After::GeluOfKept).then(|| empty(&y, shape.clone(), dtype));
    let a = if turned == Turned::Left { boxes(a, k, m, false, 0) } else { boxes(a, m, k, true, HIGH) };
    let b = if turned == Turned::Right { boxes(b, n, k, true, wide) } else { boxes(b, k, n, false, 0) };
    let (way, sizes) = (Way::Matrix, [m, n, k, n, entries]);
    let job =
        Job { a, b, way, turned, cut, dtype, y: y.clone(), kept: kept.clone(), bias, after, sizes, images: [0; 11] };
    job.run();
    if parts == 1 {
        return (y, kept);
    }
    let sum = row_sum::forward(y, dtype);
    (CubeTensor::new_contiguous(sum.client, sum.device, shape, sum.handle, dtype), None)
}

#[cube(launch)]
fn multiply<A: Float, F: Float>(
    a: &TensorMap<A, Tiled>,
    b: &TensorMap<A, Tiled>,
    y: &mut [F],
    kept: &ComptimeOption<Box<[F]>>,
    bias: &ComptimeOption<Box<[F]>>,
    numbers: &Sequence<u32>,
    #[comptime] plan: Plan,
    #[define(A, F)] _dtypes: [ElemType; 2],
) {
    let mut memory = Shared::<[u8]>::new_aligned_slice(comptime![plan.memory()], 1024usize);
    of_text::<A, F>(a, b, y, kept, bias, &mut memory, numbers, plan);
}

#[cube]
#[allow(unused_variables)]
fn of_text<A: Float, F: Float>(
    a: &TensorMap<A, Tiled>,
    b: &TensorMap<A, Tiled>,
    y: &mut [F],
    kept: &ComptimeOption<Box<[F]>>,
    bias: &ComptimeOption<Box<[F]>>,
    memory: &mut Shared<[u8]>,
    numbers: &Sequence<u32>,
    #[comptime] plan: Plan,
) {
    intrinsic!(|scope| {
        let y = text::pointer(scope, &*y);
        let memory = text::pointer(scope, &*memory);
        let [kept, bias] = [kept, bias].map(|given| match given {
            ComptimeOptionExpand::Some(given) => text::pointer(scope, given),
            ComptimeOptionExpand::None => y,
        });
        let numbers: Vec<_> = numbers.clone().into_iter().map(|number| number.read_value(scope)).collect();
        let read = [&[a.value(scope), b.value(scope), bias][..], &numbers].concat();
        text::insert(scope, plan.text(), "cuda_bf16.h cuda_fp16.h", &[y, kept, memory], &read);
    })
}
