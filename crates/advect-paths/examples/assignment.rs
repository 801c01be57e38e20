//! Times exact assignment on one core: `cargo run --release -p advect-paths --example assignment`.
//!
//! 512 noise points N(0, I) against 512 data points on eight Gaussians, in 2 and in 64 dimensions; 21 batches, of
//! which the median counts.

#![allow(clippy::print_stdout, reason = "a program")]

use advect_core::{NoiseKey, Purpose, normal};
use advect_paths::{Cost, PathError, Rows, Sinkhorn, SquaredEuclidean, Stop, assign};
use std::time::Instant;

/// From nearly independent to nearly exact; squared distances are about 20 in two dimensions.
const EPSILONS: [f64; 4] = [2.0, 0.5, 0.1, 0.02];

fn main() -> Result<(), PathError> {
    for width in [2, 64] {
        let (mut costs, mut solves, mut plans) = (Vec::new(), Vec::new(), [const { Vec::new() }; EPSILONS.len()]);
        for batch in 0..21 {
            let mut rng = NoiseKey::new(7, Purpose::Data).rng(batch, 0);
            let n = 512;
            let noise = Rows::new((0..n * width).map(|_| normal(&mut rng)).collect(), n)?;
            let data = (0..n * width).map(|k| {
                let angle = std::f64::consts::FRAC_PI_4 * (k / width % 8) as f64;
                0.2 * normal(&mut rng) + if k % 2 == 0 { 4.0 * angle.cos() } else { 4.0 * angle.sin() }
            });
            let data = Rows::new(data.collect(), n)?;
            let start = Instant::now();
            let cost = SquaredEuclidean.matrix(&noise, &data)?;
            costs.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            let found = assign(&cost)?;
            solves.push(start.elapsed().as_secs_f64() * 1e3);
            // The result is proved before its time counts: feasible potentials, no gap.
            let dual: f64 = found.row_potentials.iter().chain(&found.column_potentials).sum();
            assert!((dual - found.cost).abs() < 1e-9 * found.cost);
            for i in 0..n {
                let slack = |(c, v): (&f64, &f64)| c - v - found.row_potentials[i];
                assert!(cost.row(i).iter().zip(&found.column_potentials).map(slack).all(|s| s > -1e-9));
            }
            if batch < 5 {
                for (times, epsilon) in plans.iter_mut().zip(EPSILONS) {
                    let start = Instant::now();
                    let plan = Sinkhorn::new(SquaredEuclidean, epsilon, Stop::new(1e-3, 100_000)?)?.plan(&cost)?;
                    times.push(start.elapsed().as_secs_f64() * 1e3);
                    // Both marginals hold, and the exact plan is cheaper, but not by more than the entropy that it lacks.
                    let marginals = [plan.noise_marginal(), plan.data_marginal()].concat();
                    assert!(marginals.iter().all(|mass| (mass * n as f64 - 1.0).abs() < 1e-9));
                    let more = plan.cost(&cost) - found.cost / n as f64;
                    assert!((0.0..epsilon * (n as f64).ln()).contains(&more), "epsilon {epsilon}: {more}");
                }
            }
        }
        let median = |times: &mut Vec<f64>| {
            times.sort_by(f64::total_cmp);
            (times[times.len() / 2], times[times.len() - 1])
        };
        let (cost, solve) = (median(&mut costs), median(&mut solves));
        println!("512 points, {width} dimensions, ms (median, worst): costs {cost:.2?}, matching {solve:.2?}");
        for (times, epsilon) in plans.iter_mut().zip(EPSILONS) {
            println!("    entropic plan, epsilon = {epsilon}: {:.2?}", median(times));
        }
    }
    Ok(())
}
