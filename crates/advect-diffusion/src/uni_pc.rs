use crate::denoiser::{ends, first_order, predict};
use crate::history::History;
use crate::weights::MOST;
use crate::{Coordinates, Denoiser, Order};
use advect_core::{State, Times};
use advect_paths::Prediction;
use advect_solvers::{Family, Method, SolveError, Step, Stepper, arrive};

/// The function B(h) of UniPC: it differs in the last term of the error alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UniPcVariant {
    /// `B(h) = h`.
    Bh1,
    /// `B(h) = e^h - 1`, the authors' choice with guidance.
    #[default]
    Bh2,
}

/// UniPC: a multistep predictor, and a corrector that uses the evaluation made at the predicted point anyway.
///
/// Zhao et al., 2023, "UniPC: A Unified Predictor-Corrector Framework", algorithms 1 and 2, on the data prediction.
/// UniPC-p has order p + 1 (its predictor alone p) after a start of lower order, at one evaluation a step: the state
/// at the end of a step is corrected at the start of the next, when the model has seen it. The last state is not
/// corrected. A step from noise alone or to data alone is of first order.
/// Use it at 5 to 15 evaluations, order two with guidance, three without.
#[derive(Debug, Clone)]
pub struct UniPc<X> {
    order: Order,
    variant: UniPcVariant,
    history: History<X>,
    /// Where the last step started, from which state, and the order of its predictor.
    last: Option<(Coordinates, X, usize)>,
}

impl<X> UniPc<X> {
    /// The method of an order and a B(h).
    #[must_use]
    pub fn new(order: Order, variant: UniPcVariant) -> Self {
        Self { order, variant, history: History::default(), last: None }
    }

    /// Changes the order from the next step on, such as to one for the last step.
    pub fn set_order(&mut self, order: Order) {
        self.order = order;
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for UniPc<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.sigma == 0.0 {
            self.forget();
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        let data = predict(model, Prediction::Data, &x, &start)?;
        let x = match self.last.take() {
            Some((before, base, order)) => self.update(base, &before, &start, order, Some(&data)),
            None => x,
        };
        self.history.push(start.lambda, data, self.order);
        if !(start.is_inside() && end.is_inside()) {
            let (on_x, on_data) = start.with_data(&end);
            return arrive(x.combine(on_x, &self.history.newest(on_data)), from, to);
        }
        let order = self.history.finite().len();
        let next = self.update(x.clone(), &start, &end, order, None);
        self.last = Some((start, x, order));
        arrive(next, from, to)
    }

    fn restart(&mut self) {
        self.forget();
    }
}

impl<X> UniPc<X> {
    fn forget(&mut self) {
        self.history.clear();
        self.last = None;
    }
}

impl<X: State> UniPc<X> {
    /// UniP, or UniC if the prediction at the end is known. In the paper's notation: D_k / r_k are the slopes
    /// `(m_k - m_0) / r_k`, and the weights a solve `sum_k a_k r_k^(i - 1) = b_i`.
    fn update(&self, x: X, start: &Coordinates, end: &Coordinates, order: usize, known: Option<&X>) -> X {
        let h = end.lambda - start.lambda;
        let scale = match self.variant {
            UniPcVariant::Bh1 => -h,
            UniPcVariant::Bh2 => (-h).exp_m1(),
        };
        let past = &self.history.finite()[..order];
        let Some(((now, newest), older)) = past.split_first() else {
            return x;
        };
        let mut places: Vec<f64> = older.iter().map(|(place, _)| (place - now) / h).collect();
        let mut slopes: Vec<&X> = older.iter().map(|(_, data)| data).collect();
        if let Some(known) = known {
            places.push(1.0);
            slopes.push(known);
        }
        // The authors' shortcuts, which keep the order: one unknown has the weight 1/2.
        let weights = if places.len() == 1 { vec![0.5] } else { solve(&places, &right_side(h, scale)) };
        let (on_x, on_data) = start.with_data(end);
        let mut on_newest = on_data;
        let mut terms: Vec<(f64, &X)> = Vec::with_capacity(slopes.len() + 1);
        for ((weight, place), data) in weights.iter().zip(&places).zip(slopes) {
            let factor = -end.alpha * scale * weight / place;
            on_newest -= factor;
            terms.push((factor, data));
        }
        terms.push((on_newest, newest));
        x.combine(on_x, &terms)
    }
}

/// `b_i = i! h phi_(i+1)(-h) / B(h)` up to sign.
fn right_side(h: f64, scale: f64) -> [f64; MOST] {
    let mut values = [0.0; MOST];
    let mut phi = (-h).exp_m1() / -h - 1.0;
    let mut factorial = 1.0;
    for (i, value) in values.iter_mut().enumerate() {
        *value = phi * factorial / scale;
        factorial *= (i + 2) as f64;
        phi = phi / -h - 1.0 / factorial;
    }
    values
}

/// The solution of `sum_k a_k r_k^i = b_i`, a Vandermonde system (Bjorck & Pereyra, 1970, primal form).
fn solve(places: &[f64], right: &[f64]) -> Vec<f64> {
    let n = places.len();
    let mut a = right[..n].to_vec();
    for k in 0..n.saturating_sub(1) {
        for i in (k + 1..n).rev() {
            a[i] -= places[k] * a[i - 1];
        }
    }
    for k in (0..n.saturating_sub(1)).rev() {
        for i in k + 1..n {
            a[i] /= places[i] - places[i - k - 1];
        }
        for i in k..n - 1 {
            a[i] -= a[i + 1];
        }
    }
    a
}

pub(crate) const METHODS: [Method; 3] = [
    Method {
        name: "uni-pc-2",
        title: "UniPC-2 (bh2)",
        family: Family::Diffusion,
        order: 3.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Zhao et al. 2023, alg. 1, 2",
        use_when: "with guidance, at 5 to 15 evaluations",
    },
    Method {
        name: "uni-pc-2-bh1",
        title: "UniPC-2 (bh1)",
        family: Family::Diffusion,
        order: 3.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Zhao et al. 2023, alg. 1, 2",
        use_when: "to compare with papers",
    },
    Method {
        name: "uni-pc-3",
        title: "UniPC-3",
        family: Family::Diffusion,
        order: 4.0,
        weak_order: None,
        evaluations: 1.0,
        source: "Zhao et al. 2023, alg. 1, 2",
        use_when: "without guidance, at 8 to 20 evaluations",
    },
];

#[cfg(test)]
mod tests {
    use super::solve;

    #[test]
    fn the_vandermonde_system_is_solved() {
        for places in [vec![-0.7, 1.0], vec![-1.3, -0.4, 1.0], vec![-2.0, -1.1, -0.3, 1.0]] {
            let right = [0.4, -1.2, 2.0, 0.7];
            let a = solve(&places, &right);
            for (i, b) in right[..places.len()].iter().enumerate() {
                let sum: f64 = places.iter().zip(&a).map(|(r, a)| a * r.powi(i as i32)).sum();
                assert!((sum - b).abs() < 1e-12, "{sum} {b}");
            }
        }
    }
}
