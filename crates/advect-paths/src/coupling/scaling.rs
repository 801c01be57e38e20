use super::exponential::exp;
use super::{CostMatrix, Plan};
use crate::PathError;
use advect_kernels::{Vectorized, vectorized};

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
/// Epsilon falls by this factor from level to level, from where it is that part of the size of the costs.
const FALL: f64 = 4.0;
const TOP: f64 = 1.0 / 64.0;
/// Above this the over-relaxed iteration is near its edge.
const MOST_RELAXED: f64 = 1.97;

/// The minimizer of `<P, C> + epsilon KL(P | a b^T) + rho_noise KL(P 1 | a) + rho_data KL(P^T 1 | b)`, with uniform a
/// and b, by scaling rows and columns in turn; an infinite rho is a fixed marginal.
///
/// `P_ij = a_i b_j exp(f_i + g_j - C_ij / epsilon)`, with f and g in units of epsilon. Epsilon falls by steps from
/// near the size of the costs, which starts each problem near its solution (Kosowsky & Yuille 1994, "The invisible
/// hand algorithm"). What remains of the errors of two fixed marginals is then moved to where mass is missing.
pub(super) fn scale(cost: &CostMatrix, epsilon: f64, rho: [f64; 2], stop: Stop) -> Result<Plan, PathError> {
    vectorized(Scale { cost, epsilon, rho, stop })
}

struct Scale<'a> {
    cost: &'a CostMatrix,
    epsilon: f64,
    rho: [f64; 2],
    stop: Stop,
}

impl Vectorized for Scale<'_> {
    type Output = Result<Plan, PathError>;

    #[inline(always)]
    fn run(self) -> Result<Plan, PathError> {
        let Self { cost, epsilon, rho, stop } = self;
        let (n, m) = (cost.rows(), cost.columns());
        let (least, most) =
            cost.values().iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), c| (c.min(l), c.max(h)));
        let levels = ((most - least) * TOP / epsilon).log(FALL).ceil().clamp(0.0, 40.0) as i32;
        let mut work = Scaling { cost, f: vec![0.0; n], g: vec![0.0; m], left: stop.iterations };
        work.touch(epsilon * FALL.powi(levels));
        let mut change = f64::INFINITY;
        for level in (0..=levels).rev() {
            let tolerance = if level > 0 { stop.tolerance.max(1e-1) } else { stop.tolerance };
            change = work.run(epsilon * FALL.powi(level), rho, tolerance);
            if level > 0 {
                for potential in work.f.iter_mut().chain(&mut work.g) {
                    *potential *= FALL;
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
}

struct Scaling<'a> {
    cost: &'a CostMatrix,
    f: Vec<f64>,
    g: Vec<f64>,
    /// Iterations left.
    left: usize,
}

impl Scaling<'_> {
    /// The largest f and g with a kernel of at most 1: one entry of each row and each column is exactly that, so none
    /// vanishes.
    #[inline(always)]
    fn touch(&mut self, epsilon: f64) {
        for (i, f) in self.f.iter_mut().enumerate() {
            *f = self.cost.row(i).iter().fold(f64::INFINITY, |low, c| if *c < low { *c } else { low }) / epsilon;
        }
        self.g.fill(f64::INFINITY);
        for (i, f) in self.f.iter().enumerate() {
            for (g, c) in self.g.iter_mut().zip(self.cost.row(i)) {
                let room = c / epsilon - f;
                *g = if room < *g { room } else { *g };
            }
        }
    }

    /// Scales until no f changes by more than the tolerance, or no iterations are left; returns the last change.
    ///
    /// The kernel is kept at the f and g it was made with and changes are multiplied on, as factors; when one grows
    /// beyond exp(30), all go into f and g (Schmitzer 2019, "Stabilized sparse scaling algorithms for entropy
    /// regularized transport problems", section 3.1). So epsilon may be as small as with log-sum-exp in each step, at
    /// the price of two products with a matrix. With free marginals a step in the log domain comes first, whose
    /// potentials may be far from those of the level before.
    #[inline(always)]
    fn run(&mut self, epsilon: f64, rho: [f64; 2], tolerance: f64) -> f64 {
        // The exponents of Chizat et al. (2018), which are 1 at fixed marginals.
        let power = rho.map(|rho| if rho.is_finite() { rho / (rho + epsilon) } else { 1.0 });
        let fixed = rho.iter().all(|rho| rho.is_infinite());
        let (n, m) = (self.f.len(), self.g.len());
        let (a, b) = (1.0 / n as f64, 1.0 / m as f64);
        let mut change = f64::INFINITY;
        while self.left > 0 {
            if !fixed {
                self.left -= 1;
                change = self.log_step(epsilon, power);
                let moved = shift(epsilon, rho, &self.f, &self.g);
                self.f.iter_mut().for_each(|f| *f += moved);
                self.g.iter_mut().for_each(|g| *g -= moved);
                change = larger(change, moved);
                if change <= tolerance {
                    break;
                }
            }
            let kernel = self.kernel(epsilon);
            // Logarithms of the factors.
            let (mut u, mut v) = (vec![0.0; n], vec![0.0; m]);
            let (mut columns, mut sums) = (vec![b; m], vec![0.0; m]);
            let mut relaxation = Relaxation::new(fixed);
            while self.left > 0 {
                self.left -= 1;
                change = 0.0;
                let omega = relaxation.omega;
                sums.fill(0.0);
                for ((row, u), f) in kernel.chunks_exact(m).zip(&mut u).zip(&self.f) {
                    let new = -power[0] * (dot(row, &columns).ln() - f) - f;
                    change = larger(change, new - *u);
                    *u += omega * (new - *u);
                    let factor = a * u.exp();
                    for (s, k) in sums.iter_mut().zip(row) {
                        *s += factor * k;
                    }
                }
                for (((v, column), s), g) in v.iter_mut().zip(&mut columns).zip(&sums).zip(&self.g) {
                    let new = -power[1] * (s.ln() - g) - g;
                    // What relaxation leaves of the error of this column.
                    change = larger(change, (omega - 1.0) * (new - *v));
                    *v += omega * (new - *v);
                    *column = b * v.exp();
                }
                if !fixed {
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
                relaxation.next(change);
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
    #[inline(always)]
    fn kernel(&self, epsilon: f64) -> Vec<f64> {
        let mut kernel = vec![0.0; self.f.len() * self.g.len()];
        let rate = 1.0 / epsilon;
        for ((i, f), row) in self.f.iter().enumerate().zip(kernel.chunks_exact_mut(self.g.len())) {
            for ((k, c), g) in row.iter_mut().zip(self.cost.row(i)).zip(&self.g) {
                *k = exp(f + g - c * rate);
            }
        }
        kernel
    }

    /// One scaling of the rows and one of the columns by log-sum-exp, which no underflow can harm; the change of f.
    #[inline(always)]
    fn log_step(&mut self, epsilon: f64, power: [f64; 2]) -> f64 {
        let (n, m) = (self.f.len(), self.g.len());
        let mut change = 0.0;
        for (i, f) in self.f.iter_mut().enumerate() {
            let exponents = || self.cost.row(i).iter().zip(&self.g).map(|(c, g)| g - c / epsilon);
            let top = exponents().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = exponents().map(|e| exp(e - top)).sum();
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
                *sum += exp(f - c / epsilon - top);
            }
        }
        for ((g, top), sum) in self.g.iter_mut().zip(tops).zip(sums) {
            *g = -power[1] * (top + (sum / n as f64).ln());
        }
        change
    }
}

/// Over-relaxation of the scaling between fixed marginals (Thibault et al. 2021, "Overrelaxed Sinkhorn-Knopp algorithm
/// for regularized optimal transport"): where plain steps shrink the error by a factor of 1 - r, these do by about
/// 1 - 2 sqrt(r).
///
/// The rate is read off the steps before, plain or not, and so follows the slowest part of the error. If the error grows all the same, it is plain steps again, for good after a few.
struct Relaxation {
    omega: f64,
    /// The last change, and the factor by which it fell.
    last: f64,
    factor: f64,
    /// Steps since omega changed.
    steps: u32,
    /// The least change since then.
    least: f64,
    trials: u32,
}

impl Relaxation {
    /// Steps before a rate is believed.
    const LOOK: u32 = 4;

    #[inline(always)]
    fn new(wanted: bool) -> Self {
        let trials = if wanted { 3 } else { 0 };
        Self { omega: 1.0, last: f64::INFINITY, factor: 0.0, steps: 0, least: f64::INFINITY, trials }
    }

    #[inline(always)]
    fn next(&mut self, change: f64) {
        let factor = change / self.last;
        let steady = (factor - self.factor).abs() < 0.3 * (1.0 - factor);
        (self.last, self.factor, self.least) = (change, factor, self.least.min(change));
        self.steps += 1;
        let mut omega = self.omega;
        if change > 3.0 * self.least && omega > 1.0 {
            self.trials -= 1;
            omega = 1.0;
        } else if self.trials > 0 && self.steps > Self::LOOK && factor < 1.0 && steady {
            // Young (1954): what plain steps would shrink the error by, from what these do.
            let plain = (factor + omega - 1.0).powi(2) / (omega * omega * factor);
            let best = (2.0 / (1.0 + (1.0 - plain).max(0.0).sqrt())).min(MOST_RELAXED);
            omega = if best > omega + 0.02 { best } else { omega };
        }
        if omega != self.omega {
            (self.omega, self.steps, self.least) = (omega, 0, f64::INFINITY);
        }
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
#[inline(always)]
fn larger(top: f64, new: impl std::borrow::Borrow<f64>) -> f64 {
    let new = new.borrow().abs();
    if new.is_nan() { f64::INFINITY } else { top.max(new) }
}

/// The scalar product, in sixteen sums side by side.
#[inline(always)]
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let mut sums = [0.0; 16];
    let (p, q) = (x.chunks_exact(16), y.chunks_exact(16));
    let rest: f64 = p.remainder().iter().zip(q.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in p.zip(q) {
        for k in 0..16 {
            sums[k] += a[k] * b[k];
        }
    }
    sums.iter().sum::<f64>() + rest
}
