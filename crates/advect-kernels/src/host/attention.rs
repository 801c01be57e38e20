//! Scaled dot-product attention and its gradients, head by head: a few queries at a time against all keys, so that
//! memory grows with the sequence and not with its square.
use super::buffer::{Lines, Shared, filled_by};
use super::lanes::{SQUARE, load, transpose_square};
use super::matrix::{Left, Right, Target, VECTORS, lanes, multiply};
use super::softmax::{Softmax, SoftmaxBackward};
use super::threads;
use rten_simd::ops::BitOps;
use rten_simd::{Isa, SimdOp};
use std::ops::Range;

/// Scores that are kept at once: a block of queries against all keys, in the second-level cache.
const SCORES: usize = 1 << 16;
/// Queries of a block, at most.
const QUERIES: usize = 64;
/// Multiply-adds of a task at least, where there are queries to share.
const TASK: usize = 1 << 24;
/// Tasks of a head at most: each keeps gradients of all keys and values.
const TASKS: usize = 8;
/// Multiply-adds below which starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 18;

/// The tokens of `[batch, heads, tokens, size]` in memory, the elements of a token side by side.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    /// From the first element on.
    pub values: &'a [f32],
    /// From a batch entry, a head and a token to the next.
    pub strides: [usize; 3],
}

impl Heads<'_> {
    /// The first element of a token.
    ///
    /// # Safety
    ///
    /// There is such a token.
    unsafe fn token(&self, [entry, head]: [usize; 2], token: usize) -> *const f32 {
        let [by_entry, by_head, by_token] = self.strides;
        // SAFETY: as the caller promises.
        unsafe { self.values.as_ptr().add(entry * by_entry + head * by_head + token * by_token) }
    }

    /// Whether tokens of these sizes lie within the values.
    fn hold(&self, sizes: [usize; 3], size: usize) -> bool {
        let last: usize = sizes.iter().zip(self.strides).map(|(n, stride)| (n - 1) * stride).sum();
        last + size <= self.values.len()
    }
}

/// The sizes of an attention; none is 0.
#[derive(Clone, Copy)]
pub(crate) struct Attention {
    pub batch: usize,
    pub heads: usize,
    pub queries: usize,
    pub keys: usize,
    /// Of a query and a key.
    pub size: usize,
    /// Of a value.
    pub width: usize,
}

/// The gradients of queries, keys and values, each `[batch, tokens, heads, size]`.
pub(crate) struct Gradients {
    pub q: Vec<f32>,
    pub k: Vec<f32>,
    pub v: Vec<f32>,
}

impl Attention {
    /// `softmax(q k^T / sqrt(size)) v` as `[batch, queries, heads, width]`.
    pub(crate) fn forward(&self, q: Heads<'_>, k: Heads<'_>, v: Heads<'_>) -> Vec<f32> {
        self.check(q, k, v);
        let (lanes, tasks) = (lanes(), self.tasks());
        // SAFETY: the tasks cover all heads and queries, and each writes the outputs of its own.
        unsafe {
            filled_by(self.batch * self.queries * self.heads * self.width, |out| {
                let out = Place { start: Shared(out.as_mut_ptr().cast()), step: self.heads * self.width };
                self.each(&tasks, |scratch, head, queries| {
                    Head { of: self, q, k, v, head, lanes }.forward(queries, scratch, out);
                });
            })
        }
    }

    /// The gradients, from the gradient of the output.
    pub(crate) fn backward(&self, q: Heads<'_>, k: Heads<'_>, v: Heads<'_>, gradient: Heads<'_>) -> Gradients {
        let [q_step, k_step, v_step] = [self.size, self.size, self.width].map(|size| self.heads * size);
        let (mut dq, mut dv) = (Vec::new(), Vec::new());
        // SAFETY: `run_backward` writes all gradients.
        let dk = unsafe {
            filled_by(self.batch * self.keys * k_step, |dk| {
                dv = filled_by(self.batch * self.keys * v_step, |dv| {
                    dq = filled_by(self.batch * self.queries * q_step, |dq| {
                        let [dq, dk, dv] = [(dq, q_step), (dk, k_step), (dv, v_step)]
                            .map(|(out, step)| Place { start: Shared(out.as_mut_ptr().cast()), step });
                        self.run_backward([q, k, v], gradient, [dq, dk, dv]);
                    });
                });
            })
        };
        Gradients { q: dq, k: dk, v: dv }
    }

    /// The gradient of queries, keys and values that lie side by side, `[batch, tokens, 3, heads, size]`, from that of
    /// the output.
    pub(crate) fn backward_joined(&self, qkv: [Heads<'_>; 3], gradient: Heads<'_>) -> Vec<f32> {
        assert!(self.queries == self.keys && self.size == self.width);
        let width = self.heads * self.size;
        // SAFETY: `run_backward` writes all gradients, each third of a token one of them.
        unsafe {
            filled_by(self.batch * self.keys * 3 * width, |out| {
                let out = Shared(out.as_mut_ptr().cast());
                let places = [0, 1, 2].map(|part| Place { start: Shared(out.at(part * width)), step: 3 * width });
                self.run_backward(qkv, gradient, places);
            })
        }
    }

    /// Writes the gradients of queries, keys and values.
    ///
    /// # Safety
    ///
    /// There is room for them in their places, which belong to nobody else.
    unsafe fn run_backward(&self, [q, k, v]: [Heads<'_>; 3], gradient: Heads<'_>, [dq, dk, dv]: [Place; 3]) {
        self.check(q, k, v);
        assert!(gradient.hold([self.batch, self.heads, self.queries], self.width));
        let (lanes, tasks) = (lanes(), self.tasks());
        if let [_] = tasks[..] {
            // SAFETY: as the caller promises; the tasks cover all heads, and each writes the gradients of its own.
            self.each(&tasks, |scratch, head, queries| unsafe {
                Head { of: self, q, k, v, head, lanes }.backward(queries, scratch, gradient, [dq, dk, dv]);
            });
            return;
        }
        // Tasks that share a head each sum over their own queries.
        let [k_step, v_step] = [self.size, self.width].map(|size| self.heads * size);
        let [k_len, v_len] = [k_step, v_step].map(|step| self.batch * self.keys * step);
        let [mut k_parts, mut v_parts] = [k_len, v_len].map(|len| vec![0.0f32; tasks.len() * len]);
        let (k_start, v_start) = (Shared(k_parts.as_mut_ptr()), Shared(v_parts.as_mut_ptr()));
        // SAFETY: as the caller promises; the tasks cover all heads and queries, and each has its part of the sums.
        self.each(&tasks, |scratch, head, queries| unsafe {
            let task = queries.start / tasks[0].len();
            let dk = Place { start: Shared(k_start.at(task * k_len)), step: k_step };
            let dv = Place { start: Shared(v_start.at(task * v_len)), step: v_step };
            Head { of: self, q, k, v, head, lanes }.backward(queries, scratch, gradient, [dq, dk, dv]);
        });
        for (out, parts, step) in [(dk, &k_parts, k_step), (dv, &v_parts, v_step)] {
            for (token, index) in (0..self.batch * self.keys * step).step_by(step.max(1)).enumerate() {
                // SAFETY: as the caller promises.
                let out = unsafe { std::slice::from_raw_parts_mut(out.start.at(token * out.step), step) };
                out.copy_from_slice(&parts[index..index + step]);
                for part in parts.chunks_exact(self.batch * self.keys * step).skip(1) {
                    for (sum, part) in out.iter_mut().zip(&part[index..index + step]) {
                        *sum += part;
                    }
                }
            }
        }
    }

    fn check(&self, q: Heads<'_>, k: Heads<'_>, v: Heads<'_>) {
        let Self { batch, heads, queries, keys, size, width } = *self;
        assert!([batch, heads, queries, keys, size, width].iter().all(|n| *n > 0));
        assert!(q.hold([batch, heads, queries], size) && k.hold([batch, heads, keys], size));
        assert!(v.hold([batch, heads, keys], width));
    }

    /// Queries of a block.
    fn block(&self) -> usize {
        (SCORES / self.keys / 8 * 8).clamp(8, QUERIES)
    }

    /// The queries of one head, shared between tasks: by the sizes of a head alone, so that the batch changes no bit.
    fn tasks(&self) -> Vec<Range<usize>> {
        let enough = TASK / (self.keys * (self.size + self.width));
        let queries = enough.max(self.queries.div_ceil(TASKS)).next_multiple_of(QUERIES);
        (0..self.queries).step_by(queries).map(|first| first..self.queries.min(first + queries)).collect()
    }

    /// Calls `run` for each task of each head.
    fn each(&self, tasks: &[Range<usize>], run: impl Fn(&mut Scratch, [usize; 2], Range<usize>) + Sync + Send) {
        let count = self.batch * self.heads * tasks.len();
        let index = |scratch: &mut Scratch, index: usize| {
            let head = index / tasks.len();
            run(scratch, [head / self.heads, head % self.heads], tasks[index % tasks.len()].clone());
        };
        let work = self.queries * self.keys * (self.size + self.width);
        if count == 1 || self.batch * self.heads * work < PARALLEL {
            let mut scratch = Scratch::default();
            (0..count).for_each(|i| index(&mut scratch, i));
        } else {
            let least = PARALLEL / 4 / (work / tasks.len()).max(1);
            let least = least.max(1);
            threads::for_each_init(count.div_ceil(least), Scratch::default, |scratch, group| {
                (group * least..count.min((group + 1) * least)).for_each(|i| index(scratch, i));
            });
        }
    }
}

/// Where the tokens of `[batch, tokens, heads, size]` go.
#[derive(Clone, Copy)]
struct Place {
    start: Shared,
    /// From a token to the next.
    step: usize,
}

/// The working memory of a thread.
#[derive(Default)]
struct Scratch {
    keys: Lines,
    values: Lines,
    rows: Lines,
    queries: Lines,
    gradients: Lines,
    scores: Lines,
    slopes: Lines,
}

/// A head.
struct Head<'a> {
    of: &'a Attention,
    q: Heads<'a>,
    k: Heads<'a>,
    v: Heads<'a>,
    /// Batch entry and head.
    head: [usize; 2],
    lanes: usize,
}

impl Head<'_> {
    /// What scores are multiplied with.
    fn scale(&self) -> f32 {
        1.0 / (self.of.size as f32).sqrt()
    }

    /// From a row of scores to the next: whole vectors, and one more so that the same columns of many rows do not meet
    /// in one set of the cache.
    fn pitch(&self) -> usize {
        self.of.keys.next_multiple_of(self.lanes) + self.lanes
    }

    /// The rows of this head from a token on.
    ///
    /// # Safety
    ///
    /// There are `tokens` tokens of `size` elements in the place of each batch entry.
    unsafe fn target(&self, of: Place, tokens: usize, size: usize, token: usize, add: bool) -> Target {
        // SAFETY: as the caller promises.
        let start = unsafe { of.start.at((self.head[0] * tokens + token) * of.step + self.head[1] * size) };
        Target { start, row_step: of.step, add }
    }

    /// The tokens of this head as rows of a right matrix.
    ///
    /// # Safety
    ///
    /// There are `count` tokens from `first` on.
    unsafe fn rows(&self, of: Heads<'_>, [first, count, size]: [usize; 3], out: &mut Lines) -> Right {
        let panel = VECTORS * self.lanes;
        let out = out.reserve(size.next_multiple_of(panel) * count).as_mut_ptr();
        // SAFETY: as the caller promises.
        unsafe {
            let source = of.token(self.head, first);
            Copy { source, step: of.strides[2], count, size, out }.dispatch();
        }
        Right { start: out, panel_step: panel * count, depth_step: panel }
    }

    /// The keys or values of this head as columns of a right matrix.
    ///
    /// # Safety
    ///
    /// They have `size` elements.
    unsafe fn columns(&self, of: Heads<'_>, size: usize, out: &mut Lines) -> Right {
        let panel = VECTORS * self.lanes;
        let out = out.reserve(self.of.keys.next_multiple_of(panel) * size).as_mut_ptr();
        // SAFETY: as the caller promises; the columns of all panels have been reserved.
        unsafe {
            for first in (0..self.of.keys).step_by(panel) {
                let (source, count) = (of.token(self.head, first), panel.min(self.of.keys - first));
                let (step, out) = (of.strides[2], out.add(first * size));
                Transpose { source, step, count, size, out, panel }.dispatch();
            }
        }
        Right { start: out, panel_step: panel * size, depth_step: panel }
    }

    /// Writes the outputs of the queries.
    ///
    /// # Safety
    ///
    /// `out` has room for all outputs; nobody else writes those of these queries.
    unsafe fn forward(&self, of: Range<usize>, scratch: &mut Scratch, out: Place) {
        let Attention { queries, keys, size, width, .. } = *self.of;
        let (pitch, block) = (self.pitch(), self.of.block());
        let scores = scratch.scores.reserve(block * pitch).as_mut_ptr();
        // SAFETY: the tokens are those of the tensors, and the buffers have been made as large as their matrices.
        unsafe {
            let columns = self.columns(self.k, size, &mut scratch.keys);
            let values = self.rows(self.v, [0, keys, width], &mut scratch.values);
            for first in of.clone().step_by(block) {
                let rows = block.min(of.end - first);
                self.products(self.q, [first, rows, size], columns, scores);
                Softmax { from: scores, to: scores, rows, len: keys, pitch, scale: self.scale() }.dispatch();
                let weights = Left { start: scores, row_step: pitch, depth_step: 1 };
                multiply(rows, keys, width, weights, values, self.target(out, queries, width, first, false));
            }
        }
    }

    /// The products of some tokens with all columns.
    ///
    /// # Safety
    ///
    /// There are `rows` tokens from `first` on, and `out` has as many rows.
    unsafe fn products(&self, of: Heads<'_>, [first, rows, size]: [usize; 3], columns: Right, out: *mut f32) {
        // SAFETY: as the caller promises.
        unsafe {
            let left = Left { start: of.token(self.head, first), row_step: of.strides[2], depth_step: 1 };
            let target = Target { start: out, row_step: self.pitch(), add: false };
            multiply(rows, size, self.of.keys, left, columns, target);
        }
    }

    /// Writes the gradients of the queries, and what they add to the gradients of keys and values.
    ///
    /// With P the softmax of the scores S scale and G the gradient of the output: dV = P^T G, dP = G V^T, dS = P (dP -
    /// sum(P dP)) scale, dQ = dS K, dK = dS^T Q.
    ///
    /// # Safety
    ///
    /// There is room for all gradients; nobody else writes those of these queries and of this head's keys and values.
    unsafe fn backward(&self, of: Range<usize>, scratch: &mut Scratch, gradient: Heads<'_>, [dq, dk, dv]: [Place; 3]) {
        let Attention { queries, keys, size, width, .. } = *self.of;
        let (pitch, block, scale) = (self.pitch(), self.of.block(), self.scale());
        let weights = scratch.scores.reserve(block * pitch).as_mut_ptr();
        let slopes = scratch.slopes.reserve(block * pitch).as_mut_ptr();
        // SAFETY: the tokens are those of the tensors, and the buffers have been made as large as their matrices.
        unsafe {
            let key_columns = self.columns(self.k, size, &mut scratch.keys);
            let value_columns = self.columns(self.v, width, &mut scratch.values);
            let key_rows = self.rows(self.k, [0, keys, size], &mut scratch.rows);
            for first in of.clone().step_by(block) {
                let rows = block.min(of.end - first);
                let add = first > of.start;
                self.products(self.q, [first, rows, size], key_columns, weights);
                self.products(gradient, [first, rows, width], value_columns, slopes);
                Softmax { from: weights, to: weights, rows, len: keys, pitch, scale }.dispatch();
                SoftmaxBackward { weights, from: slopes, to: slopes, rows, len: keys, pitch, scale }.dispatch();

                let by_key = |start: *mut f32| Left { start, row_step: 1, depth_step: pitch };
                let outputs = self.rows(gradient, [first, rows, width], &mut scratch.gradients);
                let target = self.target(dv, keys, width, 0, add);
                multiply(keys, rows, width, by_key(weights), outputs, target);

                let query_rows = self.rows(self.q, [first, rows, size], &mut scratch.queries);
                let target = self.target(dk, keys, size, 0, add);
                multiply(keys, rows, size, by_key(slopes), query_rows, target);

                let by_query = Left { start: slopes, row_step: pitch, depth_step: 1 };
                multiply(rows, keys, size, by_query, key_rows, self.target(dq, queries, size, first, false));
            }
        }
    }
}

/// Tokens turned into columns: `out[i, token] = token[i]`, with `panel` elements from one i to the next.
struct Transpose {
    source: *const f32,
    step: usize,
    count: usize,
    size: usize,
    out: *mut f32,
    panel: usize,
}

impl SimdOp for Transpose {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let Self { source, step, count, size, out, panel } = self;
        let (squares_down, squares_right) = (count / SQUARE * SQUARE, size / SQUARE * SQUARE);
        // SAFETY: there are `count` tokens of `size` elements, and as many columns.
        unsafe {
            for token in (0..squares_down).step_by(SQUARE) {
                for i in (0..squares_right).step_by(SQUARE) {
                    transpose_square(source.add(token * step + i), step, out.add(i * panel + token), panel);
                }
            }
            for token in 0..count {
                // What the squares left over.
                for i in if token < squares_down { squares_right } else { 0 }..size {
                    *out.add(i * panel + token) = *source.add(token * step + i);
                }
            }
        }
    }
}

/// Tokens copied to panels of [`VECTORS`] vectors.
struct Copy {
    source: *const f32,
    step: usize,
    count: usize,
    size: usize,
    out: *mut f32,
}

impl SimdOp for Copy {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let panel = VECTORS * ops.len();
        for token in 0..self.count {
            for at in (0..self.size).step_by(ops.len()) {
                // SAFETY: each token has `size` elements, and each panel of the output has room for whole vectors of
                // all tokens.
                unsafe {
                    let values = load(ops, self.source.add(token * self.step + at), self.size - at);
                    let place = at / panel * panel * self.count + token * panel + at % panel;
                    ops.store_ptr(values, self.out.add(place));
                }
            }
        }
    }
}
