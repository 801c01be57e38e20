use crate::{SolveError, Step, Stepper, Tableau, arrive};
use advect_core::{Field, State, Times};
use std::marker::PhantomData;

/// A Runge-Kutta method of fixed steps, made by [`Tableau::stepper`]. It remembers nothing.
#[derive(Debug, Clone, Copy)]
pub struct RungeKutta<const S: usize, X> {
    tableau: Tableau<S>,
    state: PhantomData<fn(X) -> X>,
}

impl<const S: usize, X> RungeKutta<S, X> {
    /// The stepper of a tableau.
    #[must_use]
    pub fn new(tableau: Tableau<S>) -> Self {
        Self { tableau, state: PhantomData }
    }

    pub(crate) fn tableau(&self) -> &Tableau<S> {
        &self.tableau
    }
}

impl<const S: usize, X: State, G: Field<X> + ?Sized> Stepper<G, X> for RungeKutta<S, X> {
    fn step(&mut self, field: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        fixed(&self.tableau, field, x, from, to)
    }

    fn restart(&mut self) {}
}

/// One step of a tableau from `from` to `to`, with only the stages that carry weight.
#[inline]
pub(crate) fn fixed<const S: usize, X: State, G: Field<X> + ?Sized>(
    tableau: &Tableau<S>,
    field: &G,
    x: X,
    from: &Times,
    to: &Times,
) -> Result<Step<X>, SolveError> {
    fixed_with_slope(tableau, field, x, from, to).map(|(step, _)| step)
}

/// [`fixed`], and the slope where it began (none for a tableau without weights).
#[inline]
pub(crate) fn fixed_with_slope<const S: usize, X: State, G: Field<X> + ?Sized>(
    tableau: &Tableau<S>,
    field: &G,
    x: X,
    from: &Times,
    to: &Times,
) -> Result<(Step<X>, Option<X>), SolveError> {
    let size = step_size(from, to);
    let mut slopes = [const { None }; S];
    for i in 0..tableau.evaluations() {
        let stage = stage(tableau, i, x.clone(), &size, &slopes);
        slopes[i] = Some(field.eval(stage, &stage_time(tableau.c[i], from, to)));
    }
    let x = add(x, &size, &tableau.b, &slopes);
    let step = arrive(x, from, to)?;
    // A method without stages does not move.
    let slope = slopes.into_iter().next().flatten();
    Ok((step, slope))
}

// What follows is asked for shared times first and inlined for them: where the state is a number, a call costs as
// much as the arithmetic. Rows at their own times allocate anyway.

/// The signed step.
#[inline]
pub(crate) fn step_size(from: &Times, to: &Times) -> Times {
    match (from, to) {
        (Times::Shared(a), Times::Shared(b)) => Times::Shared(b - a),
        _ => from.zip(to, |a, b| b - a),
    }
}

/// The state of stage `i`, from the slopes before it.
#[inline]
pub(crate) fn stage<const S: usize, X: State>(
    tableau: &Tableau<S>,
    i: usize,
    x: X,
    size: &Times,
    slopes: &[Option<X>; S],
) -> X {
    let weights = &tableau.a[i][..i];
    match size {
        Times::Shared(h) => combine_shared::<S, X>(x, 1.0, *h, weights, slopes),
        Times::Each(h) => add_rows(x, h, weights, slopes),
    }
}

/// The time of a stage. The ends are assigned: `from + 1.0 * (to - from)` is not always `to`, and a schedule may end
/// exactly there.
#[inline]
pub(crate) fn stage_time(c: f64, from: &Times, to: &Times) -> Times {
    let time = |a: f64, b: f64| {
        if c == 0.0 {
            a
        } else if c == 1.0 {
            b
        } else {
            a + c * (b - a)
        }
    };
    match (from, to) {
        (Times::Shared(a), Times::Shared(b)) => Times::Shared(time(*a, *b)),
        _ => from.zip(to, time),
    }
}

/// `x + size * sum of weights_j slopes_j`: one combine, without the terms of weight zero.
#[inline]
pub(crate) fn add<const S: usize, X: State>(x: X, size: &Times, weights: &[f64; S], slopes: &[Option<X>; S]) -> X {
    match size {
        Times::Shared(h) => combine_shared::<S, X>(x, 1.0, *h, weights, slopes),
        Times::Each(h) => add_rows(x, h, weights, slopes),
    }
}

/// `scale * x + h * sum of weights_j slopes_j`.
#[inline(always)]
fn combine_shared<const S: usize, X: State>(x: X, scale: f64, h: f64, weights: &[f64], slopes: &[Option<X>]) -> X {
    let mut used = weights.iter().zip(slopes).filter(|(w, _)| **w != 0.0).filter_map(|(w, k)| Some((*w, k.as_ref()?)));
    let Some(first) = used.next() else { return if scale == 1.0 { x } else { x.combine(scale, &[]) } };
    // On the stack: where the state is a number, an allocation would cost more than the step.
    let mut terms = [(h * first.0, first.1); S];
    let mut count = 1;
    for (w, k) in used {
        terms[count] = (h * w, k);
        count += 1;
    }
    x.combine(scale, &terms[..count])
}

#[inline(never)]
fn add_rows<X: State>(x: X, h: &[f64], weights: &[f64], slopes: &[Option<X>]) -> X {
    let used = weights.iter().zip(slopes).filter(|(w, _)| **w != 0.0).filter_map(|(w, k)| Some((*w, k.as_ref()?)));
    let factors: Vec<(Vec<f64>, &X)> = used.map(|(w, k)| (h.iter().map(|h| h * w).collect(), k)).collect();
    if factors.is_empty() {
        return x;
    }
    let terms: Vec<(&[f64], &X)> = factors.iter().map(|(f, k)| (f.as_slice(), *k)).collect();
    x.combine_rows(&vec![1.0; h.len()], &terms)
}

/// `size * sum of weights_j slopes_j`, none if all weights are zero.
#[inline]
pub(crate) fn weighted<const S: usize, X: State>(size: &Times, weights: &[f64; S], slopes: &[&X]) -> Option<X> {
    let base = weights.iter().position(|w| *w != 0.0)?;
    let used = || weights.iter().zip(slopes).skip(base + 1).filter(|(w, _)| **w != 0.0);
    let first = (*slopes.get(base)?).clone();
    Some(match size {
        Times::Shared(h) => {
            let terms: Vec<(f64, &X)> = used().map(|(w, k)| (h * w, *k)).collect();
            first.combine(h * weights[base], &terms)
        }
        Times::Each(h) => {
            let scaled = |w: f64| h.iter().map(|h| h * w).collect::<Vec<f64>>();
            let factors: Vec<(Vec<f64>, &X)> = used().map(|(w, k)| (scaled(*w), *k)).collect();
            let terms: Vec<(&[f64], &X)> = factors.iter().map(|(f, k)| (f.as_slice(), *k)).collect();
            first.combine_rows(&scaled(weights[base]), &terms)
        }
    })
}

/// `x + h * sum of weights_j slopes_j`, terms of weight zero included: a state of numbers adds them faster than it finds
/// them, a tensor leaves them out.
#[inline(always)]
pub(crate) fn plus<const I: usize, X: State>(x: &X, h: f64, weights: &[f64], slopes: [&X; I]) -> X {
    let terms: [(f64, &X); I] = std::array::from_fn(|j| (h * weights[j], slopes[j]));
    x.clone().combine(1.0, &terms)
}

/// `h * sum of weights_j slopes_j`, in the same way.
#[inline(always)]
pub(crate) fn times<const I: usize, X: State>(h: f64, weights: &[f64], slopes: [&X; I]) -> X {
    let terms: [(f64, &X); I] = std::array::from_fn(|j| (h * weights[j], slopes[j]));
    slopes[0].clone().combine(terms[0].0, &terms[1..])
}
