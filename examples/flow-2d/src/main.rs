//! Learns two moons and draws what it learned over the data: `cargo run --release -p flow-2d -- moons.png`.

use advect::data::{Canvas, save_png};
use advect::prelude::*;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = advect::device::choose(None)?.device;
    device.seed(0); // the initial weights; all else is keyed by its own seed
    let training = device.clone().autodiff();
    let forward = |network: &Mlp, x, t, class| network.forward(x, t, class);
    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let objective = FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 0);
    let rate = LearningRate::new(5e-3, 100, 3000, 0.0)?;
    let plan = Plan { steps: 3000, rate, optimizer: AdamW::standard(), clip_norm: 1.0, ema: Ema::new(0.995)? };
    let mut trainer = Trainer::new(MlpConfig::new(2, 64, 4).init(&training)?);
    for step in 0..plan.steps {
        let ids: Vec<u64> = (step * 256..(step + 1) * 256).collect();
        trainer.step(&objective, &Batch::new(Toy::Moons.batch(0, &ids, &training), ids), &plan)?;
    }

    let ids: Vec<u64> = (0..2000).collect();
    let noise = NoiseKey::new(1, Purpose::Source).normal(&ids, 0, [2000, 2], &device);
    let (network, grid) = (trainer.averaged(), TimeGrid::uniform(0.0, 1.0, 20)?);
    let samples = solve(&Conditioned::new(&network, None), RK4.stepper(), noise, &grid)?;
    let (samples, data) = (samples.into_data().try_into_vec_as::<f32>()?, Toy::Moons.points(1, 0..2000));
    let mut canvas = Canvas::new(4.0, 600);
    canvas.dots(&data, [190, 190, 190], 2.0, 1.0);
    canvas.dots(&samples, [30, 90, 200], 2.0, 1.0);
    save_png(&canvas.into_picture(), std::env::args().nth(1).unwrap_or("moons.png".into()))?;
    println!("energy distance to fresh data: {:.5}", energy_distance(&samples, &data));
    Ok(())
}

/// `2 E|A - B| - E|A - A'| - E|B - B'|` of points `[x_0, y_0, x_1, y_1, ...]`: 0 for equal laws.
fn energy_distance(a: &[f32], b: &[f32]) -> f64 {
    let total = |a: &[f32], b: &[f32]| -> f64 {
        let from = |p: &[f32]| -> f64 { b.chunks(2).map(|q| f64::from((p[0] - q[0]).hypot(p[1] - q[1]))).sum() };
        a.chunks(2).map(from).sum()
    };
    let (n, m) = (a.len() as f64 / 2.0, b.len() as f64 / 2.0);
    2.0 * total(a, b) / (n * m) - total(a, a) / (n * (n - 1.0)) - total(b, b) / (m * (m - 1.0))
}
