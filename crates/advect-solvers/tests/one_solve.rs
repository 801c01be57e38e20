//! One `solve` for processes that have nothing in common but time: the proof that the trunk carries what comes later.
//!
//! Steppers and generators are defined here, in plain f64, and each is held against its closed form. Every statistical
//! test states its number of values and its seed; its bound is 4 standard errors.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

use advect_analytic::statistics::Estimate;
use advect_solvers::{NoiseKey, Purpose, SolveError, Step, Stepper, TimeGrid, Times, Weighted, normal, solve};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const SEED: u64 = 2;

fn grid(from: f64, to: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(from, to, steps).unwrap()
}

/// An exponential waiting time of rate one.
fn exponential(rng: &mut ChaCha8Rng) -> f64 {
    // 1 - u is in (0, 1], so that the logarithm is finite.
    -(1.0 - rng.random::<f64>()).ln()
}

/// 1-D Zig-Zag on N(0, 1) (Bierkens, Fearnhead & Roberts, 2019): a piecewise deterministic process, exact events.
mod zig_zag {
    use super::*;

    /// Position and velocity, +1 or -1.
    type State = (f64, f64);

    /// The target exp(-precision x^2 / 2).
    struct Target {
        precision: f64,
    }

    /// Runs along the line until the next flip, or to the end of the interval; counts flips and integrates along
    /// segments.
    struct Stepping {
        rng: ChaCha8Rng,
        flips: u64,
        second: f64,
        fourth: f64,
    }

    impl Stepper<Target, State> for Stepping {
        fn step(
            &mut self,
            target: &Target,
            (x, v): State,
            from: &Times,
            to: &Times,
        ) -> Result<Step<State>, SolveError> {
            let (from, to) = (from.at(0), to.at(0));
            // The rate along the line is (a + b s)_+; its integral reaches E at s (algorithms, section 8.2).
            let (a, b) = (target.precision * v * x, target.precision);
            let wait = (-a + (a.max(0.0).powi(2) + 2.0 * b * exponential(&mut self.rng)).sqrt()) / b;
            // The clock has no memory: an event beyond the end of the interval is drawn again from there.
            let (at, flip) = if from + wait < to { (from + wait, true) } else { (to, false) };
            let end = x + v * (at - from);
            let power = |n: i32| (end.powi(n + 1) - x.powi(n + 1)) / (f64::from(n + 1) * v);
            self.second += power(2);
            self.fourth += power(4);
            self.flips += u64::from(flip);
            Ok(Step { x: (end, if flip { -v } else { v }), at: at.into() })
        }

        fn restart(&mut self) {}
    }

    #[test]
    fn samples_the_normal_law_and_flips_at_the_exact_rate() {
        // n = 500 runs of time 200 from a stationary start, seed SEED.
        let (n, time) = (500, 200.0);
        let key = NoiseKey::new(SEED, Purpose::Event);
        let (mut rate, mut second, mut fourth) = (vec![], vec![], vec![]);
        for run in 0..n {
            let mut rng = key.rng(run, 0);
            let start = (normal(&mut rng), if rng.random::<bool>() { 1.0 } else { -1.0 });
            let mut stepper = Stepping { rng, flips: 0, second: 0.0, fourth: 0.0 };
            let target = Target { precision: 1.0 };
            let (x, v) = solve(&target, &mut stepper, start, &grid(0.0, time, 10)).unwrap();
            assert!(x.is_finite() && v.abs() == 1.0);
            rate.push(stepper.flips as f64 / time);
            second.push(stepper.second / time);
            fourth.push(stepper.fourth / time);
        }
        let exact = [1.0 / (2.0 * std::f64::consts::PI).sqrt(), 1.0, 3.0];
        for (values, exact, name) in
            [(rate, exact[0], "rate"), (second, exact[1], "E x^2"), (fourth, exact[2], "E x^4")]
        {
            let estimate = Estimate::mean(&values);
            println!("{name}: {:.5} +- {:.5}, exact {exact:.6}", estimate.value, estimate.standard_error);
            assert!(estimate.deviation(exact) < 4.0, "{name}: {estimate:?}, exact {exact}");
            assert!(estimate.standard_error < 0.02 * exact.max(1.0), "{name} is too uncertain to mean anything");
        }
    }
}

/// Gillespie's algorithm (1977) with a clock for each row, for a chain on two states.
mod gillespie {
    use super::*;

    /// Rates of leaving state 0 and state 1.
    struct Rates([f64; 2]);

    /// Every row jumps at its own time: rows stand at different times until all have arrived.
    struct Jumps {
        key: NoiseKey,
        counters: Vec<u64>,
        saw_different_times: bool,
    }

    impl Stepper<Rates, Vec<usize>> for Jumps {
        fn step(
            &mut self,
            rates: &Rates,
            mut x: Vec<usize>,
            from: &Times,
            to: &Times,
        ) -> Result<Step<Vec<usize>>, SolveError> {
            let mut at = from.to_vec(x.len());
            for row in 0..x.len() {
                let end = to.at(row);
                if at[row] == end {
                    continue;
                }
                let mut rng = self.key.rng(row as u64, self.counters[row]);
                self.counters[row] += 1;
                let jump = at[row] + exponential(&mut rng) / rates.0[x[row]];
                if jump < end {
                    (at[row], x[row]) = (jump, 1 - x[row]);
                } else {
                    at[row] = end;
                }
            }
            self.saw_different_times |= at.iter().any(|t| *t != at[0]);
            Ok(Step { x, at: Times::Each(at) })
        }

        fn restart(&mut self) {}
    }

    #[test]
    fn has_the_exact_transient_law() {
        // n = 40,000 rows from state 0, seed SEED. P(1 at t) = a / (a + b) (1 - e^(-(a + b) t)).
        let n = 40_000;
        let (a, b) = (1.3, 0.4);
        for (points, time) in [(1, 0.5), (3, 1.0), (2, 20.0)] {
            let mut stepper =
                Jumps { key: NoiseKey::new(SEED, Purpose::Event), counters: vec![0; n], saw_different_times: false };
            let end = solve(&Rates([a, b]), &mut stepper, vec![0; n], &grid(0.0, time, points)).unwrap();
            let in_one = Estimate::mean(&end.iter().map(|&s| s as f64).collect::<Vec<_>>());
            let exact = a / (a + b) * (1.0 - (-(a + b) * time).exp());
            println!("t = {time}: {:.4} +- {:.4}, exact {exact:.4}", in_one.value, in_one.standard_error);
            assert!(in_one.deviation(exact) < 4.0, "t = {time}: {in_one:?}, exact {exact}");
            assert!(stepper.saw_different_times);
            // Every row draws once a jump and once a grid interval; jumps have a closed form too (their mean, by
            // integrating the law): m(t) = 2ab/(a+b) t + (a^2 - ab)/(a+b)^2 (1 - e^(-(a+b)t)).
            let jumps: Vec<f64> = stepper.counters.iter().map(|&c| c as f64 - points as f64).collect();
            let (jumps, sum) = (Estimate::mean(&jumps), a + b);
            let exact = 2.0 * a * b / sum * time + (a * a - a * b) / (sum * sum) * (1.0 - (-sum * time).exp());
            assert!(jumps.deviation(exact) < 4.0, "t = {time}: {jumps:?} jumps, exact {exact}");
        }
    }
}

/// A real and a token: the joint model is evaluated once a step and yields the local part of each factor.
mod product {
    use super::*;
    use std::cell::Cell;

    /// A point and a token, moving together.
    type State = Vec<(f64, usize)>;

    /// What the joint model says at one time: a velocity for the reals, a rate of jumping for each token.
    struct Local {
        velocity: Vec<f64>,
        rate: Vec<f64>,
    }

    /// The conditional model of one data point: the real is carried to `data` along the straight line, the token is
    /// unmasked (0 becomes 1) by the linear schedule, hence at rate 1 / (1 - t); and a token that was unmasked pulls
    /// the real half as strongly again.
    struct Joint {
        data: f64,
        pull: f64,
        evaluations: Cell<u64>,
    }

    impl Joint {
        fn eval(&self, x: &State, t: f64) -> Local {
            self.evaluations.set(self.evaluations.get() + 1);
            Local {
                velocity: x
                    .iter()
                    .map(|&(r, token)| (self.data - r) * if token == 1 { self.pull } else { 1.0 })
                    .collect(),
                rate: x.iter().map(|&(_, token)| if token == 0 { 1.0 / (1.0 - t) } else { 0.0 }).collect(),
            }
        }
    }

    /// Each factor by its own rule: the real by an Euler step, the token by its exact survival.
    struct Together {
        key: NoiseKey,
        counter: u64,
    }

    impl Stepper<Joint, State> for Together {
        fn step(&mut self, joint: &Joint, x: State, from: &Times, to: &Times) -> Result<Step<State>, SolveError> {
            let (t, end) = (from.at(0), to.at(0));
            let local = joint.eval(&x, t);
            let step = |(row, (real, token)): (usize, (f64, usize))| {
                let mut rng = self.key.rng(row as u64, self.counter);
                let slope = local.velocity[row];
                // The rate c / (1 - t) with c frozen over the step survives with probability ((1 - end) / (1 - t))^c.
                let survival = ((1.0 - end) / (1.0 - t)).powf(local.rate[row] * (1.0 - t));
                (real + (end - t) * slope, if rng.random::<f64>() < survival { token } else { 1 })
            };
            let x = x.into_iter().enumerate().map(step).collect();
            self.counter += 1;
            Ok(Step { x, at: to.clone() })
        }

        fn restart(&mut self) {}
    }

    #[test]
    fn both_factors_follow_their_closed_forms() {
        // n = 40,000 rows, seed SEED, 64 steps to t = 3/4. The token is unmasked at a uniform time T. With d = data - r,
        // the step multiplies d by 1 - h, or by 1 - pull h once unmasked; unmasking in step k has probability h.
        let (n, steps, time) = (40_000_usize, 64_usize, 0.75);
        let h = time / steps as f64;
        let (data, pull, start) = (2.0, 1.5, -1.0);
        let joint = Joint { data, pull, evaluations: Cell::new(0) };
        let stepper = Together { key: NoiseKey::new(SEED, Purpose::Event), counter: 0 };
        let end = solve(&joint, stepper, vec![(start, 0); n], &grid(0.0, time, steps)).unwrap();
        // One joint evaluation a step, for both factors.
        assert_eq!(joint.evaluations.get(), steps as u64);

        let unmasked = Estimate::mean(&end.iter().map(|&(_, token)| token as f64).collect::<Vec<_>>());
        assert!(unmasked.deviation(time) < 4.0, "{unmasked:?}");

        // Masked to the end: d (1 - h)^steps. Otherwise the mean over the step of unmasking.
        let masked = data - (data - start) * (1.0 - h).powi(steps as i32);
        assert!(end.iter().filter(|(_, token)| *token == 0).all(|(r, _)| (r - masked).abs() < 1e-12));
        // d = 3 q^(k+1) p^(steps-k-1) for unmasking in step k, with q = 1 - h and p = 1 - pull h: geometric.
        let (q, p) = (1.0 - h, 1.0 - pull * h);
        let geometric = q * (q.powi(steps as i32) - p.powi(steps as i32)) / (q - p);
        let mean = data - (data - start) * (h * geometric + (1.0 - time) * q.powi(steps as i32));
        let reals = Estimate::mean(&end.iter().map(|&(r, _)| r).collect::<Vec<_>>());
        println!("E real: {:.6} +- {:.6}, exact {mean:.6}", reals.value, reals.standard_error);
        assert!(reals.deviation(mean) < 4.0, "{reals:?}, exact {mean}");
        // Without steps: E d = 3 (e^(-pull T) (e^((pull-1) T) - 1) / (pull - 1) + (1 - T) e^(-T)). Euler is of order 1.
        let limit =
            (-pull * time).exp() * (((pull - 1.0) * time).exp() - 1.0) / (pull - 1.0) + (1.0 - time) * (-time).exp();
        assert!((mean - (data - (data - start) * limit)).abs() < 2.0 * h);
    }
}

/// A weighted particle set that is annealed from one Gaussian to another, with resampling
/// (Jarzynski, 1997; Neal, 2001; algorithms, section 2.1).
mod weighted {
    use super::*;

    /// U_t(x) = precision(t) (x - shift t)^2 / 2, so that Z_t = sqrt(2 pi / precision(t)).
    struct Annealing {
        precision: [f64; 2],
        shift: f64,
    }

    impl Annealing {
        fn precision(&self, t: f64) -> f64 {
            self.precision[0] + (self.precision[1] - self.precision[0]) * t
        }

        fn energy(&self, x: f64, t: f64) -> f64 {
            0.5 * self.precision(t) * (x - self.shift * t).powi(2)
        }

        fn log_z(&self) -> f64 {
            0.5 * (self.precision[0] / self.precision[1]).ln()
        }
    }

    /// Re-weights to the next law (exactly, in discrete time), resamples if too few particles count, and moves.
    struct Annealed {
        key: NoiseKey,
        counter: u64,
        threshold: f64,
        resampled: u64,
        /// Whether particles are carried by the flow that transports one law to the next exactly, instead of by MCMC.
        transport: bool,
    }

    impl Stepper<Annealing, Weighted<Vec<f64>>> for Annealed {
        fn step(
            &mut self,
            path: &Annealing,
            mut set: Weighted<Vec<f64>>,
            from: &Times,
            to: &Times,
        ) -> Result<Step<Weighted<Vec<f64>>>, SolveError> {
            let (t, end) = (from.at(0), to.at(0));
            let scale = (path.precision(t) / path.precision(end)).sqrt();
            for (x, log_weight) in set.x.iter_mut().zip(&mut set.log_weight) {
                let before = path.energy(*x, t);
                let mut log_volume = 0.0;
                if self.transport {
                    *x = path.shift * end + scale * (*x - path.shift * t);
                    log_volume = scale.ln();
                }
                *log_weight += before - path.energy(*x, end) + log_volume;
            }
            if set.effective_sample_size() < self.threshold * set.x.len() as f64 {
                set = set.resample(NoiseKey::new(SEED, Purpose::Resample), self.resampled);
                self.resampled += 1;
            }
            // Moves that leave the law at `end` invariant: an exact partial refreshment (Crank-Nicolson), keyed by names.
            let (rho, sd) = (0.5_f64, 1.0 / path.precision(end).sqrt());
            for (x, &id) in set.x.iter_mut().zip(&set.ids) {
                let z = normal(&mut self.key.rng(id, self.counter));
                *x = path.shift * end + rho * (*x - path.shift * end) + (1.0 - rho * rho).sqrt() * sd * z;
            }
            self.counter += 1;
            Ok(Step { x: set, at: to.clone() })
        }

        fn restart(&mut self) {}
    }

    fn run(path: &Annealing, rows: usize, set: u64, threshold: f64, transport: bool) -> (Weighted<Vec<f64>>, u64) {
        let start = NoiseKey::new(SEED + 1000 + set, Purpose::Source);
        let sd = 1.0 / path.precision(0.0).sqrt();
        let x = (0..rows as u64).map(|id| sd * normal(&mut start.rng(id, 0))).collect();
        let key = NoiseKey::new(SEED + 1000 + set, Purpose::Event);
        let mut stepper = Annealed { key, counter: 0, threshold, resampled: 0, transport };
        let end = solve(path, &mut stepper, Weighted::new(x).unwrap(), &grid(0.0, 1.0, 20)).unwrap();
        (end, stepper.resampled)
    }

    #[test]
    fn the_normalizer_and_the_moments_are_exact_with_and_without_resampling() {
        // n = 200 sets of 200 particles, seeds SEED + 1000 + set, 20 steps. E[Z estimate] = Z without bias.
        let path = Annealing { precision: [1.0, 4.0], shift: 2.0 };
        assert!((path.log_z() - 0.5_f64.ln()).abs() < 1e-15);
        for (threshold, name) in [(0.0, "no resampling"), (0.7, "resampling")] {
            let (mut z, mut mean, mut square, mut resampled) = (vec![], vec![], vec![], 0);
            for set in 0..200 {
                let (end, count) = run(&path, 200, set, threshold, false);
                let weight = end.weights();
                let expect =
                    |f: &dyn Fn(f64) -> f64| -> f64 { end.x.iter().zip(&weight).map(|(x, w)| w * f(*x)).sum() };
                // Moments times the estimate of Z are unbiased: no self-normalisation enters.
                let estimate = end.log_normalizer().exp();
                z.push(estimate);
                mean.push(estimate * expect(&|x| x));
                square.push(estimate * expect(&|x| (x - 2.0).powi(2)));
                resampled += count;
                assert_eq!(end.ids.len(), 200);
            }
            assert_eq!(resampled > 0, threshold > 0.0, "{name}: {resampled} resamplings");
            let exact = path.log_z().exp();
            for (values, exact, what) in
                [(z, exact, "Z"), (mean, 2.0 * exact, "Z E x"), (square, exact / 4.0, "Z Var x")]
            {
                let estimate = Estimate::mean(&values);
                println!("{name}, {what}: {:.4} +- {:.4}, exact {exact:.4}", estimate.value, estimate.standard_error);
                assert!(estimate.deviation(exact) < 4.0, "{name}, {what}: {estimate:?}, exact {exact}");
                assert!(estimate.standard_error < 0.03 * exact, "{name}, {what} is too uncertain to mean anything");
            }
        }
    }

    #[test]
    fn perfect_transport_gives_log_z_without_noise() {
        let path = Annealing { precision: [1.0, 4.0], shift: 2.0 };
        let (end, resampled) = run(&path, 50, 0, 0.7, true);
        assert!((end.log_normalizer() - path.log_z()).abs() < 1e-12, "{}", end.log_normalizer());
        assert!((end.effective_sample_size() - 50.0).abs() < 1e-9);
        assert_eq!(resampled, 0);
    }
}
