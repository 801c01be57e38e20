use crate::runge_kutta::{add, stage, stage_time};
use crate::{HEUN, RK3, RK4, Tableau};
use advect_core::{Field, State, Times};

/// The slopes of the last `K` steps of an Adams method, newest first, with their times.
#[derive(Debug, Clone)]
pub(crate) struct History<const K: usize, X> {
    past: [Option<(Times, X)>; K],
}

impl<const K: usize, X: State> History<K, X> {
    pub(crate) fn new() -> Self {
        const { assert!(2 <= K && K <= 4, "Adams methods have 2 to 4 steps here") };
        Self { past: [const { None }; K] }
    }

    pub(crate) fn clear(&mut self) {
        self.past = [const { None }; K];
    }

    pub(crate) fn push(&mut self, time: Times, slope: X) {
        self.past.rotate_right(1);
        self.past[0] = Some((time, slope));
    }

    /// The `K` slopes, newest first; none while there are fewer, or where two of a row stand at the same time (a row
    /// that waited for others): no polynomial goes through those.
    ///
    /// With `to`, the same for the `K - 1` newest and a slope there (a solve that turned round may meet an old time).
    pub(crate) fn full(&self, to: Option<&Times>) -> Option<[(&Times, &X); K]> {
        let newest = self.past[0].as_ref().map(|(time, slope)| (time, slope))?;
        let mut nodes = [newest; K];
        for (node, past) in nodes.iter_mut().zip(&self.past) {
            *node = past.as_ref().map(|(time, slope)| (time, slope))?;
        }
        let distinct = |a: &Times, b: &Times| match (a, b) {
            (Times::Shared(a), Times::Shared(b)) => a != b,
            (Times::Each(times), other) | (other, Times::Each(times)) => {
                times.iter().enumerate().all(|(row, time)| *time != other.at(row))
            }
        };
        let apart = (0..K).all(|i| (0..i).all(|j| distinct(nodes[i].0, nodes[j].0)));
        // Not asked of the newest: a row may stand still.
        let free = to.is_none_or(|to| nodes[1..K - 1].iter().all(|node| distinct(node.0, to)));
        (apart && free).then_some(nodes)
    }
}

/// `x` plus the integral from `from` to `to` of the polynomial through the nodes, row by row where times differ.
pub(crate) fn integrate<const K: usize, X: State>(x: X, nodes: &[(&Times, &X); K], from: &Times, to: &Times) -> X {
    let each = [from, to].into_iter().chain(nodes.iter().map(|node| node.0)).find_map(|times| match times {
        Times::Each(times) => Some(times.len()),
        Times::Shared(_) => None,
    });
    let weights = |row: usize| weights(nodes.map(|(time, _)| time.at(row)), from.at(row), to.at(row));
    match each {
        None => {
            // On the stack: where the state is a number, an allocation would cost more than the step.
            let weights = weights(0);
            let terms: [(f64, &X); K] = std::array::from_fn(|i| (weights[i], nodes[i].1));
            x.combine(1.0, &terms)
        }
        Some(rows) => {
            let weights: Vec<[f64; K]> = (0..rows).map(weights).collect();
            let columns: [Vec<f64>; K] = std::array::from_fn(|i| weights.iter().map(|weights| weights[i]).collect());
            let terms: [(&[f64], &X); K] = std::array::from_fn(|i| (columns[i].as_slice(), nodes[i].1));
            x.combine_rows(&vec![1.0; rows], &terms)
        }
    }
}

/// The integrals of the Lagrange polynomials of the nodes: Gauss' rule of two points, exact to degree 3.
fn weights<const K: usize>(nodes: [f64; K], from: f64, to: f64) -> [f64; K] {
    let size = to - from;
    if size == 0.0 {
        return [0.0; K];
    }
    // In units of the step, from its start: no digits are lost far from time zero.
    let nodes = nodes.map(|node| (node - from) / size);
    let offset = 0.5 / 3.0_f64.sqrt();
    std::array::from_fn(|i| {
        let basis =
            |t: f64| (0..K).filter(|j| *j != i).map(|j| (t - nodes[j]) / (nodes[i] - nodes[j])).product::<f64>();
        0.5 * size * (basis(0.5 - offset) + basis(0.5 + offset))
    })
}

/// A first step of order `K`, until there is a history: a Runge-Kutta method whose first slope is known.
pub(crate) fn start<const K: usize, X: State, G: Field<X> + ?Sized>(
    field: &G,
    x: X,
    slope: X,
    from: &Times,
    to: &Times,
) -> X {
    match K {
        2 => runge_kutta(&HEUN, field, x, slope, from, to),
        3 => runge_kutta(&RK3, field, x, slope, from, to),
        _ => runge_kutta(&RK4, field, x, slope, from, to),
    }
}

fn runge_kutta<const S: usize, X: State, G: Field<X> + ?Sized>(
    tableau: &Tableau<S>,
    field: &G,
    x: X,
    slope: X,
    from: &Times,
    to: &Times,
) -> X {
    let size = from.zip(to, |a, b| b - a);
    let mut slopes = [const { None }; S];
    slopes[0] = Some(slope);
    for i in 1..S {
        let state = stage(tableau, i, x.clone(), &size, &slopes);
        slopes[i] = Some(field.eval(state, &stage_time(tableau.c[i], from, to)));
    }
    add(x, &size, &tableau.b, &slopes)
}
