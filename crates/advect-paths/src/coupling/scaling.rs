use super::{CostMatrix, Plan};
use crate::PathError;

/// When an iteration ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    tolerance: f64,
    iterations: usize,
}

impl Stop {
    /// Ends when no dual potential changes by more than `tolerance` in units of epsilon, which between fixed
    /// marginals is the largest relative error of a marginal; it is an error if that takes more than `iterations`.
    /// For training 1e-3 is plenty.
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

/// The minimizer of `<P, C> + epsilon KL(P | a b^T) + rho_noise KL(P 1 | a) + rho_data KL(P^T 1 | b)`, with uniform a
/// and b, by scaling rows and columns in turn; an infinite rho is a fixed marginal.
///
/// `P_ij = a_i b_j exp(f_i + g_j - C_ij / epsilon)`, with f and g in units of epsilon. Epsilon falls by halves from
/// the size of the costs, which starts each problem near its solution (Kosowsky & Yuille 1994, "The invisible hand
/// algorithm"). What remains of the errors of two fixed marginals is then moved to where mass is missing.
pub(super) fn scale(cost: &CostMatrix, epsilon: f64, rho: [f64; 2], stop: Stop) -> Result<Plan, PathError> {
    let (n, m) = (cost.rows(), cost.columns());
    let (least, most) = cost.values().iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (c.min(l), c.max(h)));
    let halves = ((most - least) / epsilon).log2().ceil().clamp(0.0, 60.0) as i32;
    let mut work = Scaling { cost, f: vec![0.0; n], g: vec![0.0; m], left: stop.iterations };
    let mut change = f64::INFINITY;
    for level in (0..=halves).rev() {
        change = work.run(
            epsilon * 2.0_f64.powi(level),
            rho,
            if level > 0 { stop.tolerance.max(1e-2) } else { stop.tolerance },
        );
        if level > 0 {
            for potential in work.f.iter_mut().chain(&mut work.g) {
                *potential *= 2.0;
            }
        }
    }
    if change > stop.tolerance {
        return Err(PathError::NotConverged { iterations: stop.iterations, change, tolerance: stop.tolerance });
    }
    let weight = 1.0 / (n as f64 * m as f64);
    let mut masses = work.kernel(epsilon);
    for mass in &mut masses {
        *mass *= weight;
    }
    if rho.iter().all(|rho| rho.is_infinite()) {
        round(&mut masses, n);
    }
    Ok(Plan::new(masses, n))
}

struct Scaling<'a> {
    cost: &'a CostMatrix,
    f: Vec<f64>,
    g: Vec<f64>,
    /// Iterations left.
    left: usize,
}

impl Scaling<'_> {
    /// Scales until no f changes by more than the tolerance, or no iterations are left; returns the last change.
    ///
    /// The kernel is kept at the f and g it was made with and changes are multiplied on, as factors; when one grows
    /// beyond exp(30), all go into f and g by a step in the log domain (Schmitzer 2019, "Stabilized sparse scaling
    /// algorithms for entropy regularized transport problems", section 3.1). So epsilon may be as small as with
    /// log-sum-exp in each step, at the price of two products with a matrix.
    fn run(&mut self, epsilon: f64, rho: [f64; 2], tolerance: f64) -> f64 {
        // The exponents of Chizat et al. (2018), which are 1 at fixed marginals.
        let power = rho.map(|rho| if rho.is_finite() { rho / (rho + epsilon) } else { 1.0 });
        let (n, m) = (self.f.len(), self.g.len());
        let (a, b) = (1.0 / n as f64, 1.0 / m as f64);
        let mut change = f64::INFINITY;
        while self.left > 0 {
            self.left -= 1;
            change = self.log_step(epsilon, power);
            let moved = shift(epsilon, rho, &self.f, &self.g);
            self.f.iter_mut().for_each(|f| *f += moved);
            self.g.iter_mut().for_each(|g| *g -= moved);
            change = larger(change, moved);
            if change <= tolerance {
                break;
            }
            let kernel = self.kernel(epsilon);
            // Logarithms of the factors.
            let (mut u, mut v) = (vec![0.0; n], vec![0.0; m]);
            let (mut columns, mut sums) = (vec![b; m], vec![0.0; m]);
            while self.left > 0 {
                self.left -= 1;
                change = 0.0;
                sums.fill(0.0);
                for ((row, u), f) in kernel.chunks_exact(m).zip(&mut u).zip(&self.f) {
                    let new = -power[0] * (dot(row, &columns).ln() - f) - f;
                    change = larger(change, new - *u);
                    *u = new;
                    let factor = a * new.exp();
                    for (s, k) in sums.iter_mut().zip(row) {
                        *s += factor * k;
                    }
                }
                for (((v, column), s), g) in v.iter_mut().zip(&mut columns).zip(&sums).zip(&self.g) {
                    *v = -power[1] * (s.ln() - g) - g;
                    *column = b * v.exp();
                }
                if rho[0].is_finite() || rho[1].is_finite() {
                    let total = |p: &[f64], q: &[f64]| -> Vec<f64> { p.iter().zip(q).map(|(p, q)| p + q).collect() };
                    let moved = shift(epsilon, rho, &total(&self.f, &u), &total(&self.g, &v));
                    u.iter_mut().for_each(|u| *u += moved);
                    v.iter_mut().for_each(|v| *v -= moved);
                    columns.iter_mut().for_each(|column| *column *= (-moved).exp());
                    change = larger(change, moved);
                }
                let large = u.iter().chain(&v).fold(0.0, larger);
                if change <= tolerance || large > ABSORB {
                    break;
                }
            }
            // A row or column whose kernel vanished says nothing: the next step in the log domain finds its value.
            for (potential, factor) in self.f.iter_mut().zip(u).chain(self.g.iter_mut().zip(v)) {
                *potential += if factor.is_finite() { factor } else { 0.0 };
            }
            if change <= tolerance {
                break;
            }
        }
        change
    }

    /// `exp(f_i + g_j - C_ij / epsilon)`.
    fn kernel(&self, epsilon: f64) -> Vec<f64> {
        let mut kernel = Vec::with_capacity(self.f.len() * self.g.len());
        for (i, f) in self.f.iter().enumerate() {
            kernel.extend(self.cost.row(i).iter().zip(&self.g).map(|(c, g)| (f + g - c / epsilon).exp()));
        }
        kernel
    }

    /// One scaling of the rows and one of the columns by log-sum-exp, which no underflow can harm; the change of f.
    fn log_step(&mut self, epsilon: f64, power: [f64; 2]) -> f64 {
        let (n, m) = (self.f.len(), self.g.len());
        let mut change = 0.0;
        for (i, f) in self.f.iter_mut().enumerate() {
            let exponents = || self.cost.row(i).iter().zip(&self.g).map(|(c, g)| g - c / epsilon);
            let top = exponents().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = exponents().map(|e| (e - top).exp()).sum();
            let new = -power[0] * (top + (sum / m as f64).ln());
            change = larger(change, new - *f);
            *f = new;
        }
        let mut tops = vec![f64::NEG_INFINITY; m];
        let mut sums = vec![0.0; m];
        for (i, f) in self.f.iter().enumerate() {
            for (top, c) in tops.iter_mut().zip(self.cost.row(i)) {
                *top = top.max(f - c / epsilon);
            }
        }
        for (i, f) in self.f.iter().enumerate() {
            for ((sum, top), c) in sums.iter_mut().zip(&tops).zip(self.cost.row(i)) {
                *sum += (f - c / epsilon - top).exp();
            }
        }
        for ((g, top), sum) in self.g.iter_mut().zip(tops).zip(sums) {
            *g = -power[1] * (top + (sum / n as f64).ln());
        }
        change
    }
}

/// What to add to f and take from g, which leaves the plan as it is but the prices of the marginals least. Scaling
/// alone finds it at the rate epsilon / rho (Sejourne, Vialard & Peyre 2022, "Faster unbalanced optimal transport").
fn shift(epsilon: f64, rho: [f64; 2], f: &[f64], g: &[f64]) -> f64 {
    let log_mean = |potentials: &[f64], rho: f64| {
        let exponents = || potentials.iter().map(|p| -epsilon * p / rho);
        let top = exponents().fold(f64::NEG_INFINITY, f64::max);
        top + (exponents().map(|e| (e - top).exp()).sum::<f64>() / potentials.len() as f64).ln()
    };
    let price = 1.0 / rho[0] + 1.0 / rho[1];
    if price > 0.0 { (log_mean(f, rho[0]) - log_mean(g, rho[1])) / (price * epsilon) } else { 0.0 }
}

/// Moves mass until both marginals are uniform: Altschuler, Weed & Rigollet (2017), "Near-linear time approximation
/// algorithms for optimal transport via Sinkhorn iteration", algorithm 2. It moves at most twice the errors of the
/// marginals.
fn round(masses: &mut [f64], n: usize) {
    let m = masses.len() / n;
    let mut missing = vec![0.0; n];
    for row in masses.chunks_exact_mut(m) {
        let sum: f64 = row.iter().sum();
        let factor = (1.0 / (n as f64 * sum)).min(1.0);
        row.iter_mut().for_each(|mass| *mass *= factor);
    }
    let mut sums = vec![0.0; m];
    for row in masses.chunks_exact(m) {
        sums.iter_mut().zip(row).for_each(|(sum, mass)| *sum += mass);
    }
    let factors: Vec<f64> = sums.iter().map(|sum| (1.0 / (m as f64 * sum)).min(1.0)).collect();
    for (row, missing) in masses.chunks_exact_mut(m).zip(&mut missing) {
        row.iter_mut().zip(&factors).for_each(|(mass, factor)| *mass *= factor);
        *missing = 1.0 / n as f64 - row.iter().sum::<f64>();
    }
    let short: Vec<f64> = sums.iter().zip(&factors).map(|(sum, factor)| 1.0 / m as f64 - sum * factor).collect();
    let total: f64 = short.iter().sum();
    if total > 0.0 {
        for (row, missing) in masses.chunks_exact_mut(m).zip(missing) {
            row.iter_mut().zip(&short).for_each(|(mass, short)| *mass += missing * short / total);
        }
    }
}

/// The larger in size; infinite, if the new one is not a number.
fn larger(top: f64, new: impl std::borrow::Borrow<f64>) -> f64 {
    let new = new.borrow().abs();
    if new.is_nan() { f64::INFINITY } else { top.max(new) }
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
