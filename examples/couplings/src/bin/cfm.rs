//! Two moons and eight Gaussians by I-CFM, OT-CFM and SB-CFM, to be compared with benches/peers/cfm.py:
//! `cargo run --release -p couplings --bin cfm -- STEPS SEEDS`, and a third argument such as "moons, OT-CFM" for one of them.
//!
//! Prints, for each law and coupling, the mean and standard error over the seeds of the sliced Wasserstein-2 distance
//! of 10,000 samples to 10,000 fresh points, and the median time of training. Set RAYON_NUM_THREADS=1 for one core.

use advect::paths::{Coupling, ExactOt, Independent, PathError, Sinkhorn, SquaredEuclidean, Stop, Uncoupled};
use advect::prelude::*;
use advect::train::TrainError;
use std::time::Instant;

const BATCH: u64 = 256;
const SAMPLES: u64 = 10_000;
/// The diffusion of the Schroedinger bridge.
const SIGMA: f64 = 0.5;

/// What a training step regresses on.
struct Pairs {
    x: Tensor<2>,
    t: Tensor<1>,
    target: Tensor<2>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |n: usize, or: u64| std::env::args().nth(n).map_or(Ok(or), |text| text.parse());
    let (steps, seeds) = (number(1, 2000)?, number(2, 5)?);
    let only = std::env::args().nth(3).unwrap_or_default();
    let bridge = Sinkhorn::new(SquaredEuclidean, 2.0 * SIGMA * SIGMA, Stop::new(1e-3, 100_000)?)?;
    let methods: [(&str, &dyn Coupling<2>, f64); 3] =
        [("I-CFM", &Independent, 0.0), ("OT-CFM", &ExactOt::new(), 0.0), ("SB-CFM", &bridge, SIGMA)];
    for (name, toy) in [("moons", Toy::Moons), ("eight Gaussians", Toy::EightGaussians)] {
        for (method, coupling, sigma) in methods {
            if !format!("{name}, {method}").contains(&only) {
                continue;
            }
            let mut runs =
                (0..seeds).map(|seed| run(toy, coupling, sigma, steps, seed)).collect::<Result<Vec<_>, _>>()?;
            let n = runs.len() as f64;
            let mean = runs.iter().map(|r| r.0).sum::<f64>() / n;
            let error = (runs.iter().map(|r| (r.0 - mean).powi(2)).sum::<f64>() / (n - 1.0) / n).sqrt();
            runs.sort_by(|a, b| a.1.total_cmp(&b.1));
            println!(
                "{name}, {method}: sliced W2 {mean:.4} +- {error:.4}, {:.2} s of training",
                runs[runs.len() / 2].1
            );
        }
    }
    Ok(())
}

/// One training and its judgment: the distance and the seconds.
fn run(
    toy: Toy,
    coupling: &dyn Coupling<2>,
    sigma: f64,
    steps: u64,
    seed: u64,
) -> Result<(f64, f64), Box<dyn std::error::Error>> {
    let device = advect::device::choose(None)?.device;
    device.seed(seed);
    let training = device.clone().autodiff();
    let mut trainer = Trainer::new(MlpConfig::new(2, 64, 4).init(&training)?);
    let rate = LearningRate::new(5e-3, 100, steps, 0.0)?;
    let plan = Plan { steps, rate, optimizer: AdamW::standard(), clip_norm: f64::INFINITY, ema: Ema::new(0.995)? };
    let objective = |network: &Mlp, pairs: &Pairs| -> Result<Tensor<1>, TrainError> {
        let error = network.forward(pairs.x.clone(), pairs.t.clone(), None) - pairs.target.clone();
        Ok((error.clone() * error).mean())
    };
    let start = Instant::now();
    for step in 0..steps {
        let pairs = pairs(toy, coupling, sigma, seed, step, &training)?;
        trainer.step(&objective, &pairs, &plan)?;
    }
    let seconds = start.elapsed().as_secs_f64();

    let ids: Vec<u64> = (0..SAMPLES).collect();
    let noise = NoiseKey::new(1000 + seed, Purpose::Source).normal(&ids, 0, [ids.len(), 2], &device);
    let (network, grid) = (trainer.averaged(), TimeGrid::uniform(0.0, 1.0, 25)?);
    let samples = solve(&Conditioned::new(&network, None), RK4.stepper(), noise, &grid)?;
    let samples = samples.into_data().try_into_vec_as::<f64>()?;
    let fresh: Vec<f64> = toy.points(2000 + seed, ids.iter().copied()).into_iter().map(f64::from).collect();
    Ok((sliced(&samples, &fresh), seconds))
}

/// Coupled noise and data at random times, on the line between them, or on a Brownian bridge of diffusion sigma
/// (Tong et al., 2024).
fn pairs(
    toy: Toy,
    coupling: &dyn Coupling<2>,
    sigma: f64,
    seed: u64,
    step: u64,
    device: &Device,
) -> Result<Pairs, PathError> {
    let ids: Vec<u64> = (step * BATCH..(step + 1) * BATCH).collect();
    let key = |purpose| NoiseKey::new(seed, purpose);
    let noise = key(Purpose::Source).normal(&ids, 0, [ids.len(), 2], device);
    let data = toy.batch(seed, &ids, device);
    let pairing = coupling.pair(&Uncoupled::new(&noise, &data, key(Purpose::Coupling), step))?;
    let (noise, data) = pairing.apply(noise, data);
    // Inside (0, 1), for the bridge's velocity is infinite at its ends.
    let times = advect::paths::TimeSampler::sample(&UniformTime::clipped(1e-3)?, key(Purpose::Time), &ids, 0);
    let t = Times::Each(times).tensor(ids.len(), device);
    let column = t.clone().unsqueeze_dim::<2>(1);
    let mean = noise.clone() * (-column.clone() + 1.0) + data.clone() * column.clone();
    let mut target = data - noise;
    let mut x = mean;
    if sigma > 0.0 {
        let shake: Tensor<2> = key(Purpose::Brownian).normal(&ids, 0, [ids.len(), 2], device);
        let spread = (column.clone() * (-column.clone() + 1.0)).sqrt();
        x = x + shake.clone() * spread.clone() * sigma;
        target = target + shake * ((-column * 2.0 + 1.0) / (spread * 2.0)) * sigma;
    }
    Ok(Pairs { x, t, target })
}

/// The sliced 2-Wasserstein distance of equally many points, over 100 directions evenly spread on the half circle.
fn sliced(a: &[f64], b: &[f64]) -> f64 {
    let sorted = |points: &[f64], angle: f64| {
        let mut line: Vec<f64> = points.chunks(2).map(|p| p[0] * angle.cos() + p[1] * angle.sin()).collect();
        line.sort_by(f64::total_cmp);
        line
    };
    let square = |k: usize| {
        let angle = std::f64::consts::PI * k as f64 / 100.0;
        let (a, b) = (sorted(a, angle), sorted(b, angle));
        a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64
    };
    ((0..100).map(square).sum::<f64>() / 100.0).sqrt()
}
