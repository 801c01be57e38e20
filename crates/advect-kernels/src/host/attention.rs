//! Scaled dot-product attention and its gradients, head by head: a few queries at a time against all keys, so that memory grows with the sequence and not
//! with its square.
use super::activation::exp_of_negative;
use super::buffer::{Shared, filled_by};
use super::lanes::{load, store};
use super::matrix::{Left, Right, Target, lanes, multiply};
use rayon::prelude::*;
use rten_simd::ops::{BitOps, NumOps};
use rten_simd::{Isa, Simd, SimdOp};

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
        let (lanes, queries) = (lanes(), self.queries_of_a_task());
        let tasks = self.queries.div_ceil(queries);
        // SAFETY: the tasks cover all heads and queries, and each writes the outputs of its own.
        unsafe {
            filled_by(self.batch * self.queries * self.heads * self.width, |out| {
                let out = Shared(out.as_mut_ptr().cast());
                self.each(tasks, Scratch::default, |scratch, head, task| {
                    let first = task * queries;
                    let head = Head { of: self, q, k, v, head, first, count: queries.min(self.queries - first), lanes };
                    head.forward(scratch, out);
                });
            })
        }
    }

    /// The gradients, from the gradient of the output.
    pub(crate) fn backward(&self, q: Heads<'_>, k: Heads<'_>, v: Heads<'_>, gradient: Heads<'_>) -> Gradients {
        self.check(q, k, v);
        assert!(gradient.hold([self.batch, self.heads, self.queries], self.width));
        let (lanes, queries) = (lanes(), self.queries_of_a_task());
        let tasks = self.queries.div_ceil(queries);
        let [keys_len, values_len] = [self.size, self.width].map(|size| self.batch * self.keys * self.heads * size);
        let (mut dq, mut dv) = (Vec::new(), Vec::new());
        let run = |dq: Shared, dk: Shared, dv: Shared| {
            self.each(tasks, Scratch::default, |scratch, head, task| {
                let first = task * queries;
                let head = Head { of: self, q, k, v, head, first, count: queries.min(self.queries - first), lanes };
                // SAFETY: each task has gradients of all keys and values to itself, and those of its own queries.
                unsafe {
                    let (dk, dv) = (Shared(dk.at(task * keys_len)), Shared(dv.at(task * values_len)));
                    head.backward(scratch, gradient, dq, dk, dv);
                }
            });
        };
        // SAFETY: the tasks cover all heads and queries.
        let dk = unsafe {
            filled_by(tasks * keys_len, |dk| {
                dv = filled_by(tasks * values_len, |dv| {
                    dq = filled_by(self.batch * self.queries * self.heads * self.size, |dq| {
                        let [dq, dk, dv] = [dq, dk, dv].map(|out| Shared(out.as_mut_ptr().cast()));
                        run(dq, dk, dv);
                    });
                });
            })
        };
        Gradients { q: dq, k: added(dk, keys_len), v: added(dv, values_len) }
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

    /// Queries of one head that one task takes: from the sizes of a head alone, so that the batch changes no bit.
    fn queries_of_a_task(&self) -> usize {
        let enough = TASK / (self.keys * (self.size + self.width));
        enough.max(self.queries.div_ceil(TASKS)).next_multiple_of(QUERIES)
    }

    /// Calls `run` for each task of each head.
    fn each<S>(
        &self,
        tasks: usize,
        scratch: impl Fn() -> S + Sync + Send,
        run: impl Fn(&mut S, [usize; 2], usize) + Sync + Send,
    ) {
        let count = self.batch * self.heads * tasks;
        let index = |scratch: &mut S, index: usize| {
            let head = index / tasks;
            run(scratch, [head / self.heads, head % self.heads], index % tasks);
        };
        let work = self.queries * self.keys * (self.size + self.width);
        if count == 1 || self.batch * self.heads * work < PARALLEL {
            let mut scratch = scratch();
            (0..count).for_each(|i| index(&mut scratch, i));
        } else {
            let least = (PARALLEL / 4 / (work / tasks).max(1)).max(1);
            (0..count).into_par_iter().with_min_len(least).for_each_init(scratch, index);
        }
    }
}

/// The sum of several arrays of `len` elements that lie one behind the other.
fn added(mut parts: Vec<f32>, len: usize) -> Vec<f32> {
    let (sum, rest) = parts.split_at_mut(len);
    for part in rest.chunks_exact(len) {
        for (sum, part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
    parts.truncate(len);
    parts.shrink_to_fit();
    parts
}

/// The working memory of a thread.
#[derive(Default)]
struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    rows: Vec<f32>,
    queries: Vec<f32>,
    gradients: Vec<f32>,
    scores: Vec<f32>,
    slopes: Vec<f32>,
}

/// Some queries of a head against all of its keys.
struct Head<'a> {
    of: &'a Attention,
    q: Heads<'a>,
    k: Heads<'a>,
    v: Heads<'a>,
    /// Batch entry and head.
    head: [usize; 2],
    first: usize,
    count: usize,
    lanes: usize,
}

impl Head<'_> {
    fn scale(&self) -> f32 {
        1.0 / (self.of.size as f32).sqrt()
    }

    /// From a row of scores to the next: whole vectors, and one more so that the same columns of many rows do not meet in one set of the cache.
    fn pitch(&self) -> usize {
        self.of.keys.next_multiple_of(self.lanes) + self.lanes
    }

    /// Where a token of this head lies in `[batch, tokens, heads, size]`, and how far the next one is.
    fn place(&self, tokens: usize, token: usize, size: usize) -> (usize, usize) {
        let step = self.of.heads * size;
        ((self.head[0] * tokens + token) * step + self.head[1] * size, step)
    }

    /// The tokens of this head one behind the other, multiplied with `factor`, each filled up to whole vectors.
    ///
    /// # Safety
    ///
    /// There are `count` tokens from `first` on.
    unsafe fn copy(&self, of: Heads<'_>, first: usize, count: usize, size: usize, factor: f32, out: &mut Vec<f32>) {
        let padded = size.next_multiple_of(self.lanes);
        out.resize(count * padded, 0.0);
        // SAFETY: as the caller promises.
        unsafe {
            let source = of.token(self.head, first);
            Copy { source, step: of.strides[2], count, size, factor, out: out.as_mut_ptr(), padded }.dispatch();
        }
    }

    /// The tokens as columns, multiplied with `factor`: `[size, tokens]`, filled up to whole vectors.
    ///
    /// # Safety
    ///
    /// There are `count` tokens.
    unsafe fn transpose(&self, of: Heads<'_>, count: usize, size: usize, factor: f32, out: &mut Vec<f32>) {
        let padded = count.next_multiple_of(self.lanes);
        out.resize(size * padded, 0.0);
        for token in 0..count {
            // SAFETY: as the caller promises.
            let values = unsafe { std::slice::from_raw_parts(of.token(self.head, token), size) };
            for (value, out) in values.iter().zip(out[token..].iter_mut().step_by(padded)) {
                *out = value * factor;
            }
        }
    }

    /// Writes the outputs of the queries.
    ///
    /// # Safety
    ///
    /// `out` is the output, `[batch, queries, heads, width]`; nobody else writes those of these queries.
    unsafe fn forward(&self, scratch: &mut Scratch, out: Shared) {
        let Attention { queries, keys, size, width, .. } = *self.of;
        let Scratch { keys: columns, values, scores, .. } = scratch;
        let (pitch, block) = (self.pitch(), self.of.block());
        scores.resize(block * pitch, 0.0);
        // SAFETY: the buffers have been made large enough here, and the tokens are those of the tensors.
        unsafe {
            self.transpose(self.k, keys, size, self.scale(), columns);
            self.copy(self.v, 0, keys, width, 1.0, values);
            for first in (self.first..self.first + self.count).step_by(block) {
                let rows = block.min(self.first + self.count - first);
                self.scores(self.q, first, rows, size, columns, scores);
                Softmax { scores: scores.as_mut_ptr(), rows, keys, pitch }.dispatch();
                let weights = Left { start: scores.as_ptr(), row_step: pitch, depth_step: 1 };
                let values = Right { start: values.as_ptr(), depth_step: width.next_multiple_of(self.lanes) };
                let (start, row_step) = self.place(queries, first, width);
                multiply(rows, keys, width, weights, values, Target { start: out.at(start), row_step, add: false });
            }
        }
    }

    /// The products of some tokens with all columns.
    ///
    /// # Safety
    ///
    /// There are `rows` tokens from `first` on, and `columns` come from [`Self::transpose`].
    unsafe fn scores(&self, of: Heads<'_>, first: usize, rows: usize, size: usize, columns: &[f32], out: &mut [f32]) {
        let keys = self.of.keys;
        // SAFETY: as the caller promises.
        unsafe {
            let left = Left { start: of.token(self.head, first), row_step: of.strides[2], depth_step: 1 };
            let right = Right { start: columns.as_ptr(), depth_step: keys.next_multiple_of(self.lanes) };
            let target = Target { start: out.as_mut_ptr(), row_step: self.pitch(), add: false };
            multiply(rows, size, keys, left, right, target);
        }
    }

    /// Writes the gradients of the queries, and what they add to the gradients of keys and values.
    ///
    /// With P the softmax of the scores S and G the gradient of the output: dV = P^T G, dP = G V^T, dS = P (dP - sum(P dP)), dQ = dS K, dK = dS^T Q.
    ///
    /// # Safety
    ///
    /// `dq`, `dk` and `dv` are the gradients, `[batch, tokens, heads, size]`; nobody else writes those of these queries and of this head's keys and values.
    unsafe fn backward(&self, scratch: &mut Scratch, gradient: Heads<'_>, dq: Shared, dk: Shared, dv: Shared) {
        let Attention { queries, keys, size, width, .. } = *self.of;
        let Scratch { keys: columns, values, rows: key_rows, queries: query_rows, gradients, scores, slopes } = scratch;
        let (pitch, block, scale) = (self.pitch(), self.of.block(), self.scale());
        let [size_step, width_step] = [size, width].map(|size| size.next_multiple_of(self.lanes));
        scores.resize(block * pitch, 0.0);
        slopes.resize(block * pitch, 0.0);
        // SAFETY: the buffers have been made large enough here, and the tokens are those of the tensors.
        unsafe {
            self.transpose(self.k, keys, size, scale, columns);
            self.transpose(self.v, keys, width, 1.0, values);
            self.copy(self.k, 0, keys, size, scale, key_rows);
            let (dk_start, dk_step) = self.place(keys, 0, size);
            let (dv_start, dv_step) = self.place(keys, 0, width);
            for first in (self.first..self.first + self.count).step_by(block) {
                let rows = block.min(self.first + self.count - first);
                let add = first > self.first;
                self.scores(self.q, first, rows, size, columns, scores);
                self.scores(gradient, first, rows, width, values, slopes);
                let (weights, differences) = (scores.as_mut_ptr(), slopes.as_mut_ptr());
                Softmax { scores: weights, rows, keys, pitch }.dispatch();
                SoftmaxBackward { weights, slopes: differences, rows, keys, pitch }.dispatch();

                self.copy(gradient, first, rows, width, 1.0, gradients);
                let by_key = Left { start: scores.as_ptr(), row_step: 1, depth_step: pitch };
                let right = Right { start: gradients.as_ptr(), depth_step: width_step };
                let target = Target { start: dv.at(dv_start), row_step: dv_step, add };
                multiply(keys, rows, width, by_key, right, target);

                self.copy(self.q, first, rows, size, scale, query_rows);
                let by_key = Left { start: slopes.as_ptr(), row_step: 1, depth_step: pitch };
                let right = Right { start: query_rows.as_ptr(), depth_step: size_step };
                let target = Target { start: dk.at(dk_start), row_step: dk_step, add };
                multiply(keys, rows, size, by_key, right, target);

                let by_query = Left { start: slopes.as_ptr(), row_step: pitch, depth_step: 1 };
                let right = Right { start: key_rows.as_ptr(), depth_step: size_step };
                let (start, row_step) = self.place(queries, first, size);
                multiply(rows, keys, size, by_query, right, Target { start: dq.at(start), row_step, add: false });
            }
        }
    }
}

/// Tokens copied to rows of `padded` elements.
struct Copy {
    source: *const f32,
    step: usize,
    count: usize,
    size: usize,
    factor: f32,
    out: *mut f32,
    padded: usize,
}

impl SimdOp for Copy {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let factor = ops.splat(self.factor);
        for token in 0..self.count {
            for at in (0..self.size).step_by(ops.len()) {
                // SAFETY: each token has `size` elements, and each row of the output has room for whole vectors of them.
                unsafe {
                    let values = load(ops, self.source.add(token * self.step + at), self.size - at);
                    ops.store_ptr(ops.mul(values, factor), self.out.add(token * self.padded + at));
                }
            }
        }
    }
}

/// The softmax of each row of the scores, in place.
struct Softmax {
    scores: *mut f32,
    rows: usize,
    keys: usize,
    pitch: usize,
}

impl SimdOp for Softmax {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        let lanes = ops.len();
        for row in 0..self.rows {
            // SAFETY: each row has `keys` elements, of which `left` are left.
            unsafe {
                let scores = self.scores.add(row * self.pitch);
                let mut most = ops.splat(f32::NEG_INFINITY);
                let mut at = 0;
                while at + lanes <= self.keys {
                    most = ops.max(most, ops.load_ptr(scores.add(at)));
                    at += lanes;
                }
                if at < self.keys {
                    let mask = ops.first_n_mask(self.keys - at);
                    most = ops.max(most, ops.select(ops.load_ptr_mask(scores.add(at), mask), most, mask));
                }
                let most = ops.splat(largest(most, lanes));
                let mut sum = ops.zero();
                let mut at = 0;
                while at < self.keys {
                    let left = self.keys - at;
                    let value = exp_of_negative(isa, ops.sub(load(ops, scores.add(at), left), most));
                    store(ops, value, scores.add(at), left);
                    let counts =
                        if left >= lanes { value } else { ops.select(value, ops.zero(), ops.first_n_mask(left)) };
                    sum = ops.add(sum, counts);
                    at += lanes;
                }
                let part = ops.splat(1.0 / ops.sum(sum));
                let mut at = 0;
                while at < self.keys {
                    let left = self.keys - at;
                    store(ops, ops.mul(load(ops, scores.add(at), left), part), scores.add(at), left);
                    at += lanes;
                }
            }
        }
    }
}

/// The largest element of a vector.
#[inline(always)]
fn largest<S: Simd<Elem = f32>>(vector: S, mut len: usize) -> f32 {
    let mut values = vector.to_array();
    while len > 1 {
        len /= 2;
        for i in 0..len {
            values[i] = if values[i + len] > values[i] { values[i + len] } else { values[i] };
        }
    }
    values[0]
}

/// The gradient of the scores from that of their softmax, in its place: `P (dP - sum(P dP))`, row by row.
struct SoftmaxBackward {
    weights: *const f32,
    slopes: *mut f32,
    rows: usize,
    keys: usize,
    pitch: usize,
}

impl SimdOp for SoftmaxBackward {
    type Output = ();

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) {
        let ops = isa.f32();
        for row in 0..self.rows {
            // SAFETY: each row has `keys` elements, of which `left` are left.
            unsafe {
                let (weights, slopes) = (self.weights.add(row * self.pitch), self.slopes.add(row * self.pitch));
                let mut sum = ops.zero();
                let mut at = 0;
                while at < self.keys {
                    let left = self.keys - at;
                    sum = ops.mul_add(load(ops, weights.add(at), left), load(ops, slopes.add(at), left), sum);
                    at += ops.len();
                }
                let mean = ops.splat(ops.sum(sum));
                let mut at = 0;
                while at < self.keys {
                    let left = self.keys - at;
                    let slope = ops.sub(load(ops, slopes.add(at), left), mean);
                    store(ops, ops.mul(load(ops, weights.add(at), left), slope), slopes.add(at), left);
                    at += ops.len();
                }
            }
        }
    }
}
