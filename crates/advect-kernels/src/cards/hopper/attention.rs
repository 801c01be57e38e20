//! Attention without scores in memory (Dao et al., "FlashAttention", 2022): what three products and a softmax make of a block of queries stays in registers. Heads lie
//! side by side, as the layers around leave and want them; the copy engine picks them out.
use super::{aligned_lines, map, text};
use crate::cards::{elem, empty};
use burn::tensor::{DType, Shape};
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Numbers that a head may have: registers hold a row's sums.
const SIZES: std::ops::RangeInclusive<usize> = 8..=128;
/// Numbers of a slab: 128 bytes.
const SLAB: usize = 64;
/// Queries or keys of a group of warps, and its units.
const BLOCK: usize = 64;
const UNITS: u32 = 128;

/// Whether heads of so many numbers are for the kernels here.
pub(super) fn takes(size: usize) -> bool {
    size.is_multiple_of(8) && SIZES.contains(&size)
}

/// Which of the three kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Part {
    Forward,
    Queries,
    Keys,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Plan {
    part: Part,
    brain: bool,
    size: usize,
}

impl Plan {
    /// Steps of the ring. Two slabs take twice the memory, of which two or three groups of warps on a multiprocessor want a part each.
    fn steps(self) -> usize {
        if self.part != Part::Forward && self.size <= SLAB { 3 } else { 2 }
    }

    /// Scores that a unit holds at once: of 64 queries and twice as many keys.
    fn scores(self) -> usize {
        if self.part == Part::Forward && self.size <= SLAB { 64 } else { 32 }
    }

    /// Bytes of shared memory: the blocks that stay, the ring's, barriers, and room to begin at a multiple of 1024.
    fn memory(self) -> usize {
        let stay = if self.part == Part::Forward { 1 } else { 2 };
        let blocks = stay + self.steps() * 2 * (2 * self.scores() / BLOCK);
        blocks * BLOCK * SLAB * 2 * self.size.div_ceil(SLAB) + 64 + 1024
    }

    fn text(self) -> String {
        let kind = if self.brain { "bf16" } else { "f16" };
        let scores = self.scores();
        let body = match self.part {
            Part::Forward => include_str!("attention_forward.cu"),
            Part::Queries => include_str!("attention_queries.cu"),
            Part::Keys => include_str!("attention_keys.cu"),
        };
        let filled = [
            ("$SIZE", self.size.to_string()),
            ("$STAGES", self.steps().to_string()),
            ("$WORDS", (scores / 2).to_string()),
            ("$SCORES", scores.to_string()),
            ("$ROWS", text::multiply(2 * scores, kind, "0", "0")),
            ("$ADD", text::multiply_registers(self.size, kind)),
        ];
        let [base, body] = [include_str!("attention.cu"), body].map(|text| text::filled(text, kind, &filled));
        let arguments = "const void *map_x = &{4}, *map_g = &{5}, *o = {6}, *g = {7}; int batch = {8}, tokens = {9}, heads = {10}; float scale = {11}, unit = {12};
float *sums = {1}, *deltas = {2}; void *out = {0}; char *memory = (char *){3}; (void)map_g; (void)o; (void)g; (void)unit; (void)deltas;";
        format!("{{\n{base}\n{arguments}\n{body}\n}}\n")
    }
}

/// A view of `[batch, tokens, parts * heads * size]` for the copy engine: a block of one head at a time.
fn of_heads(x: &CubeTensor, pitch: usize, parts: usize, heads: usize) -> TensorMapArg<Tiled> {
    let [batch, tokens, _] = x.meta.shape().dims();
    let size = x.meta.shape()[2] / (parts * heads);
    let strides = [tokens * pitch, pitch, heads * size, size, 1];
    map(x, &[batch, tokens, parts, heads, size], &strides, &[1, BLOCK, 1, 1, SLAB], elem(x.dtype))
}

/// Inputs and what the kernels tell each other.
struct Work {
    x: CubeTensor,
    pitch: usize,
    heads: usize,
    sums: CubeTensor,
    deltas: CubeTensor,
}

impl Work {
    fn new(x: CubeTensor, heads: usize) -> Self {
        let [batch, tokens, _] = x.meta.shape().dims();
        let (x, pitch) = aligned_lines(x);
        let line = || empty(&x, Shape::new([batch * heads * tokens]), DType::F32);
        Self { pitch, heads, sums: line(), deltas: line(), x }
    }

    /// `o` and its gradient are read by the backward pass alone.
    fn launch(&self, part: Part, y: &CubeTensor, o: &CubeTensor, g: &CubeTensor, g_pitch: usize) {
        let [batch, tokens, wide] = self.x.meta.shape().dims();
        let size = wide / (3 * self.heads);
        let unit = 1.0 / (size as f32).sqrt();
        of_heads_of_rows::launch(
            &self.x.client.clone(),
            crate::cards::cubes(tokens.div_ceil(BLOCK) * self.heads * batch),
            CubeDim::new_1d(UNITS),
            of_heads(&self.x, self.pitch, 3, self.heads),
            of_heads(g, g_pitch, g.meta.shape()[2] / (self.heads * size), self.heads),
            y.clone().into_buffer_arg(),
            self.sums.clone().into_buffer_arg(),
            self.deltas.clone().into_buffer_arg(),
            o.clone().into_buffer_arg(),
            g.clone().into_buffer_arg(),
            batch as u32,
            tokens as u32,
            self.heads as u32,
            unit * std::f32::consts::LOG2_E,
            unit,
            Plan { part, brain: self.x.dtype == DType::BF16, size },
            elem(self.x.dtype),
        );
    }

    fn forward(&self) -> CubeTensor {
        let [batch, tokens, wide] = self.x.meta.shape().dims();
        let y = empty(&self.x, Shape::new([batch, tokens, wide / 3]), self.x.dtype);
        self.launch(Part::Forward, &y, &self.x, &self.x, self.pitch);
        y
    }
}

/// `[batch, tokens, 3 * heads * size]` to `[batch, tokens, heads * size]`
pub(in crate::cards) fn forward(qkv: CubeTensor, heads: usize) -> CubeTensor {
    Work::new(qkv, heads).forward()
}

/// The gradient of the input.
pub(in crate::cards) fn backward(qkv: CubeTensor, gradient: CubeTensor, heads: usize) -> CubeTensor {
    let work = Work::new(qkv, heads);
    let o = work.forward();
    // Rows without gaps: the kernel reads them beside those of the output.
    let g = crate::cards::into_contiguous(gradient);
    let (g, pitch) = aligned_lines(g);
    let y = empty(&work.x, work.x.meta.shape().clone(), work.x.dtype);
    work.launch(Part::Queries, &y, &o, &g, pitch);
    work.launch(Part::Keys, &y, &o, &g, pitch);
    y
}

#[cube(launch)]
fn of_heads_of_rows<F: Float>(
    x: &TensorMap<F, Tiled>,
    g_map: &TensorMap<F, Tiled>,
    y: &mut [F],
    sums: &mut [f32],
    deltas: &mut [f32],
    o: &[F],
    g: &[F],
    batch: u32,
    tokens: u32,
    heads: u32,
    scale: f32,
    unit: f32,
    #[comptime] plan: Plan,
    #[define(F)] _dtype: ElemType,
) {
    let mut memory = Shared::<[u8]>::new_aligned_slice(comptime![plan.memory()], 1024usize);
    of_text::<F>(x, g_map, y, sums, deltas, o, g, &mut memory, batch, tokens, heads, scale, unit, plan);
}

#[cube]
#[allow(unused_variables)]
fn of_text<F: Float>(
    x: &TensorMap<F, Tiled>,
    g_map: &TensorMap<F, Tiled>,
    y: &mut [F],
    sums: &mut [f32],
    deltas: &mut [f32],
    o: &[F],
    g: &[F],
    memory: &mut Shared<[u8]>,
    batch: u32,
    tokens: u32,
    heads: u32,
    scale: f32,
    unit: f32,
    #[comptime] plan: Plan,
) {
    intrinsic!(|scope| {
        let [y, sums, deltas] =
            [text::pointer(scope, &*y), text::pointer(scope, &*sums), text::pointer(scope, &*deltas)];
        let (o, g, memory) = (text::pointer(scope, &*o), text::pointer(scope, &*g), text::pointer(scope, &*memory));
        let read = [
            x.value(scope),
            g_map.value(scope),
            o,
            g,
            batch.read_value(scope),
            tokens.read_value(scope),
            heads.read_value(scope),
            scale.read_value(scope),
            unit.read_value(scope),
            // Read and written.
            sums,
            deltas,
        ];
        text::insert(scope, plan.text(), "cuda_bf16.h cuda_fp16.h", &[y, sums, deltas, memory], &read);
    })
}
