//! Draws the flow of one batch under three couplings: `cargo run --release -p couplings -- couplings.png`.
//!
//! Noise and data are blurred points, so that the velocity of every coupling is known exactly and nothing is trained.
//! From left to right: independent pairs, pairs from the entropic plan, the optimal assignment. The better the
//! coupling, the straighter the way: the two numbers a line are 0 for straight lines at constant speed.

use advect::core::normal;
use advect::data::{Canvas, save_png};
use advect::paths::{Cost, Rows, Sinkhorn, SquaredEuclidean, Stop, assign};
use advect::prelude::*;
use image::{GenericImage, RgbImage};

type Point = [f64; 2];

/// How far the points are blurred, and how many there are.
const BLUR: f64 = 0.12;
const POINTS: usize = 128;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rng = NoiseKey::new(1, Purpose::Source).rng(0, 0);
    let noise: Vec<Point> = (0..POINTS).map(|_| [normal(&mut rng), normal(&mut rng)]).collect();
    let data: Vec<Point> = (0..POINTS as u64).map(|id| Toy::EightGaussians.point(1, id).0).collect();
    let cost = SquaredEuclidean.matrix(&Rows::new(noise.concat(), POINTS)?, &Rows::new(data.concat(), POINTS)?)?;

    let entropic = Sinkhorn::new(SquaredEuclidean, 1.0, Stop::new(1e-6, 100_000)?)?.plan(&cost)?;
    let exact = assign(&cost)?;
    let matched = |k: usize| f64::from(u8::from(exact.columns[k / POINTS] == k % POINTS));
    let plans: [(&str, Vec<f64>); 3] = [
        ("independent", vec![1.0; POINTS * POINTS]),
        ("entropic", entropic.masses().to_vec()),
        ("exact", (0..POINTS * POINTS).map(matched).collect()),
    ];

    let (side, grid) = (480, TimeGrid::uniform(0.0, 1.0, 50)?);
    let mut picture = RgbImage::new(3 * side, side);
    for (place, (name, plan)) in plans.iter().enumerate() {
        let pairs: Vec<Pair> = plan
            .iter()
            .enumerate()
            .filter(|(_, mass)| **mass > 1e-12)
            .map(|(k, &mass)| Pair { mass, noise: noise[k / POINTS], data: data[k % POINTS] })
            .collect();
        let field = |x: Point, t: &Times| velocity(&pairs, x, t.at(0));
        let mut canvas = Canvas::new(4.0, side);
        let mut bends = Vec::new();
        for &start in &noise {
            let path = trajectory(&field, RK4.stepper(), start, &grid).map(|step| Ok(step?.1));
            let path: Vec<Point> = path.collect::<Result<_, Box<dyn std::error::Error>>>()?;
            canvas.path(&path, [120, 150, 60], 0.8);
            canvas.dots(&start.map(|v| v as f32), [40, 40, 40], 2.0, 1.0);
            canvas.dots(&path[path.len() - 1].map(|v| v as f32), [30, 90, 200], 2.5, 1.0);
            bends.push(bend(&path));
        }
        picture.copy_from(&canvas.into_picture(), place as u32 * side, 0)?;
        let mean = |of: fn(&Bend) -> f64| bends.iter().map(of).sum::<f64>();
        let (longer, off) = (mean(|b| b.longer) / bends.len() as f64, mean(|b| b.off) / mean(|b| b.way));
        println!("{name}: length over displacement - 1 = {longer:.4}, relative bend = {off:.4}");
    }
    save_png(&picture, std::env::args().nth(1).unwrap_or("couplings.png".into()))?;
    Ok(())
}

struct Pair {
    mass: f64,
    noise: Point,
    data: Point,
}

/// The marginal velocity: given its pair, `x_t = (1 - t) noise + t data + BLUR xi` moves with data - noise.
fn velocity(pairs: &[Pair], x: Point, t: f64) -> Point {
    let off =
        |pair: &Pair| -> f64 { (0..2).map(|k| (x[k] - (1.0 - t) * pair.noise[k] - t * pair.data[k]).powi(2)).sum() };
    let least = pairs.iter().map(off).fold(f64::INFINITY, f64::min);
    let (mut total, mut sum) = (0.0, [0.0; 2]);
    for pair in pairs {
        let weight = pair.mass * ((least - off(pair)) / (2.0 * BLUR * BLUR)).exp();
        total += weight;
        for (sum, (data, noise)) in sum.iter_mut().zip(pair.data.iter().zip(&pair.noise)) {
            *sum += weight * (data - noise);
        }
    }
    sum.map(|s| s / total)
}

struct Bend {
    longer: f64,
    off: f64,
    way: f64,
}

/// How bent a path of equal time steps is: its length over the displacement, less 1; and `int |v - (x_1 - x_0)|^2
/// dt`, to be divided by `|x_1 - x_0|^2` (Liu et al., 2023, "Flow straight and fast").
fn bend(path: &[Point]) -> Bend {
    let minus = |a: Point, b: Point| [a[0] - b[0], a[1] - b[1]];
    let norm = |a: Point| a[0].hypot(a[1]);
    let steps = (path.len() - 1) as f64;
    let chord = minus(path[path.len() - 1], path[0]);
    let pieces = || path.windows(2).map(|w| minus(w[1], w[0]));
    let off = pieces().map(|p| norm(minus(p.map(|v| v * steps), chord)).powi(2)).sum::<f64>() / steps;
    Bend { longer: pieces().map(norm).sum::<f64>() / norm(chord) - 1.0, off, way: norm(chord).powi(2) }
}
