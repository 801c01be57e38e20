//! One source, every backend: `cargo run -p any-backend`, or with a card
//! `cargo run -p any-backend --no-default-features --features cuda`.

use advect::prelude::*;

const COUNT: usize = 10_000;
/// The flow of N(0, 1) to N(MEAN, STD^2) along the linear path, in closed form.
const MEAN: f64 = 3.0;
const STD: f64 = 0.5;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chosen = advect::device::choose(std::env::var("BURN_DEVICE").ok().as_deref())?;
    let velocity = shared(|x: Tensor<2>, t: f64| {
        let variance = (STD * t).powi(2) + (1.0 - t).powi(2);
        (x - MEAN * t) * ((STD * STD * t - (1.0 - t)) / variance) + MEAN
    });
    let ids: Vec<u64> = (0..COUNT as u64).collect();
    let noise = NoiseKey::new(0, Purpose::Source).normal(&ids, 0, [COUNT, 1], &chosen.device);
    let samples = solve(&velocity, RK4.stepper(), noise, &TimeGrid::uniform(0.0, 1.0, 20)?)?;

    let samples = samples.into_data().try_into_vec_as::<f64>()?;
    let mean = samples.iter().sum::<f64>() / COUNT as f64;
    let std = (samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / COUNT as f64).sqrt();
    println!("device {}: mean {mean:.5}, standard deviation {std:.5} (exact: {MEAN} and {STD})", chosen.name);
    Ok(())
}
