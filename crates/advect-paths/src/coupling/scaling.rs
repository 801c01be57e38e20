use super::{CostMatrix, Plan};
use crate::PathError;

/// When an iteration ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    tolerance: f64,
    iterations: usize,
}

impl Stop {
    /// Ends when no dual potential changes by more than `tolerance` in units of epsilon, which between equal marginals is the
    /// largest relative error of a marginal; it is an error if that takes more than `iterations`.
    ///
    /// # Errors
    /// [`PathError::CouplingNumber`] unless `tolerance` is positive and finite, and `iterations` at least 1.
    pub fn new(tolerance: f64, iterations: usize) -> Result<Self, PathError> {
        positive("the tolerance", tolerance)?;
        positive("the number of iterations", iterations as f64)?;
        Ok(Self { tolerance, iterations })
    }
}

/// The value, if it is positive and finite.
pub(super) fn positive(what: &'static str, value: f64) -> Result<f64, PathError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(PathError::CouplingNumber { what, value, range: "positive and finite" })
    }
}

/// Beyond this, factors go into the kernel's exponent, long before they or the kernel leave the range of f64.
const ABSORB: f64 = 30.0;

/// The minimizer of `<P, C> + epsilon KL(P | a b^T) + rho_noise KL(P 1 | a) + rho_data KL(P^T 1 | b)`, with uniform a and b, by
/// scaling rows and columns in turn; an infinite rho is a fixed marginal.
///
/// `P_ij = a_i b_j exp(f_i + g_j - C_ij / epsilon)`, with f and g in units of epsilon. The kernel is kept at the current f and g
/// and changes are multiplied on, as factors; when one grows beyond exp(30), all go into f and g by steps in the log
/// domain (Schmitzer 2019, "Stabilized sparse scaling algorithms for entropy regularized transport problems", section 3.1).
/// So epsilon may be small as with log-sum-exp in each step, at the price of a matrix product.
pub(super) fn scale(cost: &CostMatrix, epsilon: f64, rho: [f64; 2], stop: Stop) -> Result<Plan, PathError> {
    // The exponents of Chizat et al. (2018), which are 1 at fixed marginals.
    let power = rho.map(|rho| if rho.is_finite() { rho / (rho + epsilon) } else { 1.0 });
    let (n, m) = (cost.rows(), cost.columns());
    let (a, b) = (1.0 / n as f64, 1.0 / m as f64);
    let mut f = vec![0.0; n];
    let mut g = vec![0.0; m];
    let mut change = f64::INFINITY;
    let mut done = 0;
    while done < stop.iterations {
        log_step(cost, epsilon, &mut f, &mut g, power, [a, b]);
        let kernel: Vec<f64> = (0..n)
            .flat_map(|i| cost.row(i).iter().zip(&g).map(move |(c, g)| (i, c, g)))
            .map(|(i, c, g)| (f[i] + g - c / epsilon).exp())
            .collect();
        // Logarithms of the factors.
        let (mut u, mut v) = (vec![0.0; n], vec![0.0; m]);
        let mut sums = vec![0.0; m];
        while done < stop.iterations {
            done += 1;
            change = 0.0;
            let columns: Vec<f64> = v.iter().map(|v: &f64| b * v.exp()).collect();
            sums.fill(0.0);
            for ((row, u), f) in kernel.chunks_exact(m).zip(&mut u).zip(&f) {
                let sum = dot(row, &columns);
                let new = -power[0] * (sum.ln() - f) - f;
                change = new_change(change, new - *u);
                *u = new;
                let factor = a * new.exp();
                for (s, k) in sums.iter_mut().zip(row) {
                    *s += factor * k;
                }
            }
            for ((v, s), g) in v.iter_mut().zip(&sums).zip(&g) {
                *v = -power[1] * (s.ln() - g) - g;
            }
            let large = u.iter().chain(&v).fold(0.0, |top: f64, w| top.max(w.abs()));
            if change <= stop.tolerance || large.is_nan() || large > ABSORB {
                break;
            }
        }
        for (f, u) in f.iter_mut().zip(&u).chain(g.iter_mut().zip(&v)) {
            // A row or column of the kernel that vanished says nothing: the next step in the log domain finds its value.
            *f += if u.is_finite() { u } else { &0.0 };
        }
        if change <= stop.tolerance {
            let plan = (0..n).flat_map(|i| cost.row(i).iter().zip(&g).map(move |(c, g)| (i, c, g)));
            return Ok(Plan::new(plan.map(|(i, c, g)| a * b * (f[i] + g - c / epsilon).exp()).collect(), n));
        }
    }
    Err(PathError::NotConverged { iterations: stop.iterations, change, tolerance: stop.tolerance })
}

/// The larger; not a number, if either is none.
fn new_change(change: f64, new: f64) -> f64 {
    if new.is_nan() { f64::INFINITY } else { change.max(new.abs()) }
}

/// One scaling of the rows and one of the columns by log-sum-exp, which no underflow can harm.
fn log_step(cost: &CostMatrix, epsilon: f64, f: &mut [f64], g: &mut [f64], power: [f64; 2], weights: [f64; 2]) {
    for (i, f) in f.iter_mut().enumerate() {
        let exponents = || cost.row(i).iter().zip(&*g).map(|(c, g)| g - c / epsilon);
        let top = exponents().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = exponents().map(|e| (e - top).exp()).sum();
        *f = -power[0] * (top + (weights[1] * sum).ln());
    }
    let mut tops = vec![f64::NEG_INFINITY; g.len()];
    let mut sums = vec![0.0; g.len()];
    for (i, f) in f.iter().enumerate() {
        for (top, c) in tops.iter_mut().zip(cost.row(i)) {
            *top = top.max(f - c / epsilon);
        }
    }
    for (i, f) in f.iter().enumerate() {
        for ((sum, top), c) in sums.iter_mut().zip(&tops).zip(cost.row(i)) {
            *sum += (f - c / epsilon - top).exp();
        }
    }
    for ((g, top), sum) in g.iter_mut().zip(tops).zip(sums) {
        *g = -power[1] * (top + (weights[0] * sum).ln());
    }
}

/// The scalar product, in four sums side by side.
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 4];
    let (p, q) = (x.chunks_exact(4), y.chunks_exact(4));
    let rest: f64 = p.remainder().iter().zip(q.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in p.zip(q) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}
