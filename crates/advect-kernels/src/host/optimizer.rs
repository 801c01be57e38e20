//! A step of an optimizer, and the norm that clips it.
use super::buffer::Shared;
use super::lanes::sum;
use super::threads;
use crate::optimizer::AdamW;
use rten_simd::ops::NumOps;
use rten_simd::{Isa, SimdOp};

/// Elements a task takes.
const PIECE: usize = 1 << 14;
/// Below this many elements starting the other threads costs more than the work.
const PARALLEL: usize = 1 << 15;

/// A tensor that a step changes.
pub(crate) enum Held<'a> {
    /// In its place.
    Alone(&'a mut [f32]),
    /// In a copy: others hold it too.
    Shared(&'a [f32]),
}

/// One step: over weights, first moment, second moment and average, in this order; the vectors are the new values of
/// those that are shared.
pub(crate) fn adamw(held: [Held<'_>; 4], gradient: &[f32], step: &AdamW) -> [Option<Vec<f32>>; 4] {
    let (len, numbers) = (gradient.len(), Numbers::of(step));
    let mut copies = [const { None }; 4];
    let mut targets = [(Shared(std::ptr::null_mut()), None); 4];
    for ((held, copy), target) in held.into_iter().zip(&mut copies).zip(&mut targets) {
        *target = match held {
            Held::Alone(values) => {
                assert!(values.len() == len);
                (Shared(values.as_mut_ptr()), None)
            }
            Held::Shared(values) => {
                assert!(values.len() == len);
                (Shared(copy.insert(Vec::with_capacity(len)).as_mut_ptr()), Some(values))
            }
        };
    }
    let piece = |index: usize| {
        let first = index * PIECE;
        let count = PIECE.min(len - first);
        let [weights, first_moment, second_moment, average] = targets.map(|(target, source)| {
            // SAFETY: the target has room for `len` elements, and this piece of it belongs to this task; a copy is
            // filled before it is borrowed.
            unsafe {
                let target = target.at(first);
                if let Some(source) = source {
                    source[first..first + count].as_ptr().copy_to_nonoverlapping(target, count);
                }
                std::slice::from_raw_parts_mut(target, count)
            }
        });
        let gradient = &gradient[first..first + count];
        Step { weights, first: first_moment, second: second_moment, average, gradient, numbers }.dispatch();
    };
    if len < PARALLEL {
        (0..len.div_ceil(PIECE)).for_each(piece);
    } else {
        threads::for_each(len.div_ceil(PIECE), piece);
    }
    copies.map(|copy| {
        copy.map(|mut values| {
            // SAFETY: the pieces have filled all elements.
            unsafe { values.set_len(len) };
            values
        })
    })
}

/// The sum of the squares, of pieces added up in one order.
pub(crate) fn sum_of_squares(x: &[f32]) -> f64 {
    let piece = |x: &[f32]| f64::from(Squares(x).dispatch());
    if x.len() < PARALLEL {
        x.chunks(PIECE).map(piece).sum()
    } else {
        threads::map(x.len().div_ceil(PIECE), |i| piece(&x[i * PIECE..x.len().min((i + 1) * PIECE)])).iter().sum()
    }
}

/// The factors of a step, rounded as Burn's operators round the scalars they are given.
#[derive(Clone, Copy)]
struct Numbers {
    gradient_factor: f32,
    keep_first: f32,
    new_first: f32,
    keep_second: f32,
    new_second: f32,
    fix_second: f32,
    epsilon: f32,
    shrink: f32,
    rate: f32,
    follow: f32,
}

impl Numbers {
    fn of(step: &AdamW) -> Self {
        let [fix_first, fix_second] = step.corrections();
        Self {
            gradient_factor: step.gradient_factor as f32,
            keep_first: step.beta1 as f32,
            new_first: (1.0 - step.beta1) as f32,
            keep_second: step.beta2 as f32,
            new_second: (1.0 - step.beta2) as f32,
            fix_second: fix_second as f32,
            epsilon: step.epsilon as f32,
            shrink: (1.0 - step.rate * step.weight_decay) as f32,
            rate: (step.rate / fix_first) as f32,
            follow: step.follow as f32,
        }
    }
}

struct Step<'a> {
    weights: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    average: &'a mut [f32],
    gradient: &'a [f32],
    numbers: Numbers,
}

impl SimdOp for Step<'_> {
    type Output = ();

    /// A plain loop, of which the compiler makes vectors of the instruction set at hand: `rten_simd` has no square
    /// root. Without fused products it rounds as the same step made of Burn's operators.
    #[inline(always)]
    fn eval<I: Isa>(self, _: I) {
        let Self { weights, first, second, average, gradient, numbers: n } = self;
        let len = weights.len();
        let (first, second, average) = (&mut first[..len], &mut second[..len], &mut average[..len]);
        let gradient = &gradient[..len];
        for i in 0..len {
            let g = gradient[i] * n.gradient_factor;
            first[i] = first[i] * n.keep_first + g * n.new_first;
            second[i] = second[i] * n.keep_second + g * g * n.new_second;
            let direction = first[i] / ((second[i] / n.fix_second).sqrt() + n.epsilon);
            weights[i] = weights[i] * n.shrink - direction * n.rate;
            average[i] += (weights[i] - average[i]) * n.follow;
        }
    }
}

struct Squares<'a>(&'a [f32]);

impl SimdOp for Squares<'_> {
    type Output = f32;

    #[inline(always)]
    fn eval<I: Isa>(self, isa: I) -> f32 {
        sum(isa, self.0, |x| isa.f32().mul(x, x))
    }
}
