//! One way to train all the networks of the labs.

use crate::Error;
use advect::burn::module::Module;
use advect::prelude::*;
use advect::train::Objective;
use std::time::Instant;

/// Adam with a peak rate that falls to zero by half a cosine, and an average of the weights, which is returned.
pub fn fit<N: Module, B>(
    network: N,
    objective: &impl Objective<N, B>,
    mut batch: impl FnMut(u64) -> B,
    steps: u64,
    rate: f64,
) -> Result<N, Error> {
    let rate = LearningRate::new(rate, steps / 20, steps, 0.0)?;
    let plan = Plan { steps, rate, optimizer: AdamW::standard(), clip_norm: 10.0, ema: Ema::new(0.99)? };
    let mut trainer = Trainer::new(network);
    let (start, mut last) = (Instant::now(), 0.0);
    for step in 0..steps {
        let report = trainer.step(objective, &batch(step), &plan)?;
        // The mean of the last hundred: one batch alone says little.
        last += if step + 100 >= steps { report.loss / 100.0 } else { 0.0 };
    }
    println!("  trained {steps} steps in {:.0} s, loss {last:.3}", start.elapsed().as_secs_f64());
    Ok(trainer.averaged())
}
