//! Lab 3, guidance: `cargo run --release --example lab3`, on MNIST with `-- --data FOLDER` (the folder of its idx files).
//!
//! Classifier-free guidance on three modes whose guided law is known, then on handwritten digits: those that come with the
//! library, or MNIST's.

use advect::data::{ImageGrid, Order, digits, mnist};
use advect::guidance::{Paired, constant};
use advect::prelude::*;
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use labs::{
    COLORS, Error, Estimate, Figure, Lab, Number, Panel, Point, draw, fit, normals, number, pair, points, tensor,
};

fn main() -> Result<(), Error> {
    let lab = Lab::from_args("lab3")?;
    three_modes(&lab)?;
    handwriting(&lab)
}

/// What guidance by a weight is said to do to the three modes.
struct Guidance {
    weight: f64,
    /// The distance of the mean of a mode's samples from the mode, with exact fields: `tools/guidance_drift.py`.
    exact: f64,
    /// The same of networks trained in the course.
    reported: &'static str,
}

const GUIDANCE: [Guidance; 3] = [
    Guidance { weight: 1.0, exact: 0.0, reported: ".01 to .03" },
    Guidance { weight: 2.0, exact: 0.166, reported: ".18 to .22" },
    Guidance { weight: 4.0, exact: 0.346, reported: ".36 to .51" },
];

/// The class of no label.
const NONE: usize = 3;

/// Three modes 2 (cos, sin) at 0, 120 and 240 degrees, each a class. Guided samples move away from the other modes, and so
/// from their own: guidance does not sample what it is asked for, not even with exact fields.
pub(crate) fn three_modes(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("three modes, label dropped with probability 1/4");
    let device = advect::device::choose(None)?.device;
    let training = device.clone().autodiff();
    device.seed(0); // the initial weights; all else is keyed by its own seed
    let corner = |k: usize| (std::f64::consts::TAU * k as f64 / 3.0).sin_cos();
    let modes: Vec<Point> = (0..3).map(corner).map(|(sin, cos)| [2.0 * cos, 2.0 * sin]).collect();
    let means: Vec<Vec<f64>> = modes.iter().map(|m| m.to_vec()).collect();
    let mixture = Mixture::isotropic(&[1.0; 3], &means, &[0.2; 3])?;
    let label = |x: &Point| mixture.responsibilities(Affine::linear(1.0), x).iter().position(|r| *r > 0.5).unwrap_or(0);

    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let forward = |network: &Mlp, x, t, class| network.forward(x, t, class);
    let mut objective = FlowMatching::new(forward, path, UniformTime::clipped(1e-3)?, Prediction::Velocity, 0);
    (objective.label_drop, objective.null_class) = (0.25, NONE);
    let batch = |step: u64| {
        let ids: Vec<u64> = (512 * step..512 * (step + 1)).collect();
        let data = draw(&mixture, 0, &ids);
        Batch { classes: Some(data.iter().map(label).collect()), data: tensor(&data, &training), ids }
    };
    let network = MlpConfig::new(2, 256, 2).with_classes(Some(3)).init(&training)?;
    let network = fit(network, &objective, batch, lab.size(5000, 400), 2e-3)?;

    let count = lab.size(2000, 1000);
    let ids: Vec<u64> = (0..count as u64).collect();
    let grid = TimeGrid::uniform(0.0, 1.0, lab.size(50, 25))?;
    let (mut numbers, mut panels) = (Vec::new(), Vec::new());
    for Guidance { weight, exact, reported } in GUIDANCE {
        let (mut ends, mut drifts) = ([Vec::new(), Vec::new()], Vec::new());
        for mode in 0..3 {
            let field = |mixture: Mixture| {
                move |x: Vec<Point>, t: &Times| -> Vec<Point> {
                    x.iter().map(|x| pair(mixture.velocity(Affine::linear(t.at(0)), x))).collect()
                }
            };
            let strong = field(mixture.subset(&[mode])?);
            let known = Guided { strong, weak: field(mixture.clone()), scale: constant(weight) };
            ends[0].push(solve(&known, RK4.stepper(), normals(5, count), &grid)?);

            // One call of the network a step: the rows with their label, then the rows without.
            let classes = [vec![mode; count], vec![NONE; count]].concat();
            let learned = Paired::new(Conditioned::new(&network, Some(classes)), count, constant(weight));
            let noise = NoiseKey::new(5, Purpose::Source).normal(&ids, 0, [count, 2], &device);
            ends[1].push(points(solve(&learned, RK4.stepper(), noise, &grid)?)?);
        }
        for (name, samples) in ["exact", "learned"].into_iter().zip(&ends) {
            let distances: Vec<Estimate> = samples.iter().zip(&modes).map(|(x, mode)| drift(x, mode)).collect();
            if name == "exact" {
                let towards = |x: &Point, m: &Point| (x[0] * m[0] + x[1] * m[1]) / 2.0 - 2.0;
                let along: Vec<f64> =
                    samples.iter().zip(&modes).flat_map(|(x, m)| x.iter().map(move |x| towards(x, m))).collect();
                numbers.push(number(format!("w = {weight}, exact: shift outwards"), Estimate::mean(&along), exact));
            }
            let text: Vec<String> =
                distances.iter().map(|d| format!("{:.3} +- {:.3}", d.value, d.standard_error)).collect();
            println!("    {name}: the modes' means are off by {} (the course's networks: {reported})", text.join(", "));
            drifts.push(distances);
            let mut panel = Panel::square(format!("{name}, w = {weight}"), 3.5);
            for (x, color) in samples.iter().zip(COLORS) {
                panel = panel.dots(&x[..600], color);
            }
            panels.push(panel.marks(&modes));
        }
        // A network is judged by the exact field at the same weight.
        for (learned, exact) in drifts[1].iter().zip(&drifts[0]) {
            numbers.push(Number { name: format!("w = {weight}, learned"), found: *learned, theory: exact.value });
        }
    }
    // Exact fields above, learned ones below.
    let (above, below): (Vec<_>, Vec<_>) = panels.into_iter().enumerate().partition(|(k, _)| k % 2 == 0);
    let figure = Figure::new(3, above.into_iter().chain(below).map(|(_, panel)| panel));
    lab.save(
        figure,
        "guidance.png",
        "samples of each class at w = 1, 2, 4, modes marked: exact fields above, learned below",
    )?;
    Ok(numbers)
}

/// How far the mean of samples lies from their mode.
fn drift(samples: &[Point], mode: &Point) -> Estimate {
    let [x, y] = [0, 1].map(|i| Estimate::mean(&samples.iter().map(|s| s[i] - mode[i]).collect::<Vec<_>>()));
    let standard_error = x.standard_error.hypot(y.standard_error) / 2_f64.sqrt();
    Estimate { value: x.value.hypot(y.value), standard_error, count: samples.len() }
}

/// A U-Net learns digits with their classes; guidance makes them surer, and more alike.
pub(crate) fn handwriting(lab: &Lab) -> Result<(), Error> {
    let device = advect::device::choose(None)?.device;
    let training = device.clone().autodiff();
    device.seed(0);
    let data = match &lab.data {
        Some(folder) => mnist(folder, 16)?,
        None => digits()?,
    };
    let (shape, labels) = (data.shape().to_vec(), data.labels().unwrap_or_default());
    println!("handwritten digits: {} images of {shape:?}, label dropped with probability 1/10", data.count());
    if lab.data.is_none() {
        println!("  (those that come with the library; for MNIST name the folder of its idx files: -- --data FOLDER)");
    }

    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let forward = |network: &UNet, x, t, class| network.forward(x, t, class);
    let mut objective = FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 0);
    (objective.label_drop, objective.null_class) = (0.1, 10);
    let mut order = Order::new((0..data.count()).collect(), 0);
    let batch = |step: u64| {
        let chosen = order.batch(128 * step, 128);
        let classes = Some(chosen.iter().map(|&i| labels[i]).collect());
        Batch { data: data.batch(&chosen, &training), classes, ids: (128 * step..128 * (step + 1)).collect() }
    };
    let network = UNetConfig::digits().with_blocks(1).init(&training)?;
    let network = fit(network, &objective, batch, lab.size(500, 10), 2e-3)?;

    // A row of the picture is a class.
    let columns = lab.size(10, 2);
    let classes: Vec<usize> = (0..10 * columns).map(|i| i / columns).collect();
    let rows = classes.len();
    let noise = NoiseKey::new(1, Purpose::Source).normal(
        &(0..rows as u64).collect::<Vec<_>>(),
        0,
        [rows, shape[0], shape[1], shape[2]],
        &device,
    );
    let real: Vec<&[f32]> = (0..data.count()).map(|i| data.sample(i)).collect();
    let mut grids = Vec::new();
    for weight in [1.0, 2.0, 4.0] {
        let both = Conditioned::new(&network, Some([classes.clone(), vec![10; rows]].concat()));
        let guided = Paired::new(both, rows, constant(weight));
        let grid = TimeGrid::uniform(0.0, 1.0, lab.size(25, 2))?;
        let samples = data.units().to_data(solve(&guided, HEUN.stepper(), noise.clone(), &grid)?);
        let pixels = samples.into_data().try_into_vec_as::<f32>()?;
        let images: Vec<&[f32]> = pixels.chunks(shape.iter().product()).collect();
        let right =
            images.iter().zip(&classes).filter(|(image, class)| labels[nearest(image, &real)] == **class).count();
        println!(
            "  w = {weight}: {:.0} % look most like a real digit of their class, spread within a class {:.2} of the real one",
            100.0 * right as f64 / rows as f64,
            spread(&images, &classes) / spread(&real, labels)
        );
        let zoom = ImageGrid::zoom_for(shape[2], columns, 400);
        let range = [0.0, if lab.data.is_some() { 255.0 } else { 16.0 }];
        let grid = ImageGrid { size: [shape[2], shape[1]], columns, zoom, range };
        grids.push((format!("w = {weight}"), grid.draw(&pixels)?));
    }
    lab.save(Figure::grids(grids), "digits.png", "a row a class, the same noise at w = 1, 2, 4")
}

/// The real image that is nearest.
fn nearest(image: &[f32], real: &[&[f32]]) -> usize {
    let distances: Vec<f32> = real.iter().map(|other| distance(image, other)).collect();
    (0..real.len()).min_by(|&a, &b| distances[a].total_cmp(&distances[b])).unwrap_or(0)
}

/// The mean squared distance of images from the mean of their class.
fn spread(images: &[&[f32]], classes: &[usize]) -> f64 {
    let total = (0..10).map(|class| {
        let own: Vec<&[f32]> =
            images.iter().zip(classes).filter(|(_, c)| **c == class).map(|(image, _)| *image).collect();
        let mean: Vec<f32> =
            (0..images[0].len()).map(|k| own.iter().map(|x| x[k]).sum::<f32>() / own.len() as f32).collect();
        // Unbiased, so that few samples and many compare.
        own.iter().map(|x| f64::from(distance(x, &mean))).sum::<f64>() / (own.len() - 1) as f64
    });
    total.sum::<f64>() / 10.0
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
