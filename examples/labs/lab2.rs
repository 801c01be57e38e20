//! Lab 2, flow matching and score matching: `cargo run --release --example lab2`.
//!
//! To a ring of five modes along the Gaussian path alpha = t, beta = sqrt(1 - t): a velocity and a score are learned, and
//! sampled as an ODE and as SDEs. Then along straight lines: from a Gaussian and from two circles to a checkerboard.
//! Beside every result stands that of the exact field, or of fresh data.

use advect::core::WhiteNoise;
use advect::paths::{Coefficients, Custom, NoiseWeighting, TimeSampler};
use advect::prelude::*;
use advect::train::TrainError;
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_analytic::statistics::energy_distance;
use labs::{
    BLUE, Error, Estimate, Figure, GRAY, Lab, Number, ORANGE, Panel, Point, draw, fit, normals, number, pair, points,
    tensor,
};

/// The loss with beta = sqrt(1 - t) has no mean: it grows like ln(1 / CLIP) as times come closer than CLIP to t = 1,
/// where both targets are infinite. So training and sampling keep away from the ends, and a level of the loss means
/// something only at one clip.
const CLIP: f64 = 1e-3;

fn main() -> Result<(), Error> {
    lab2(&Lab::from_args("lab2")?).map(drop)
}

/// All parts; returns every number that theory foretells.
pub(crate) fn lab2(lab: &Lab) -> Result<Vec<Number>, Error> {
    let numbers = ring(lab)?;
    checkerboards(lab)?;
    Ok(numbers)
}

/// The schedule of the course.
fn course(t: f64) -> Coefficients {
    let beta = (1.0 - t).sqrt();
    Coefficients { alpha: t, sigma: beta, d_alpha: 1.0, d_sigma: -0.5 / beta }
}

fn affine(t: f64) -> Affine {
    let Coefficients { alpha, sigma, d_alpha, d_sigma } = course(t);
    Affine::new(alpha, sigma, d_alpha, d_sigma)
}

/// Flow matching and score matching to five modes of standard deviation 1 on a circle of radius 10.
fn ring(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("ring of five modes, alpha = t, beta = sqrt(1 - t)");
    let corner = |k: usize| (std::f64::consts::TAU * k as f64 / 5.0).sin_cos();
    let means: Vec<Point> = (0..5).map(corner).map(|(sin, cos)| [10.0 * cos, 10.0 * sin]).collect();
    let ring = Mixture::isotropic(&[1.0; 5], &means.iter().map(|m| m.to_vec()).collect::<Vec<_>>(), &[1.0; 5])?;
    let device = advect::device::choose(None)?.device;
    let training = device.clone().autodiff();
    device.seed(0); // the initial weights; all else is keyed by its own seed

    // The networks of the course: 2 + 1 numbers in, four hidden layers of 64.
    let network = || MlpConfig::new(2, 64, 4).with_time_features(1).with_time_scale(1.0).init(&training);
    let path = AffinePath::new(Custom::new(course)?, SourceLaw::GaussianIndependent);
    let forward = |network: &Mlp, x, t, class| network.forward(x, t, class);
    let times = UniformTime::clipped(CLIP)?;
    let batch = |step: u64| {
        let ids: Vec<u64> = (1000 * step..1000 * (step + 1)).collect();
        Batch::new(tensor(&draw(&ring, 0, &ids), &training), ids)
    };
    let flow = FlowMatching::new(forward, path, times, Prediction::Velocity, 0);
    // beta^2 |score - target|^2: finite at every t, and the same minimum.
    let score = FlowMatching::new(forward, path, times, Prediction::Score, 1).with_weighting(NoiseWeighting);
    let flow_network = fit(network()?, &flow, batch, lab.size(5000, 100), 1e-3)?;
    let score_network = fit(network()?, &score, batch, lab.size(5000, 100), 1e-3)?;

    // What the networks learned, against the exact fields.
    let velocity = flow.predictor(Conditioned::new(&flow_network, None));
    let (from, to) = (CLIP, 1.0 - CLIP);
    let read_off = velocity.field(Prediction::Score, from, to)?;
    let learned = Conditioned::new(&score_network, None);
    println!("  relative error of the score: read off the velocity, learned");
    for t in [0.1, 0.3, 0.5, 0.7, 0.9, 0.99] {
        let x: Vec<Point> = draw(&ring, 2, &(0..1000).collect::<Vec<_>>())
            .iter()
            .zip(normals(3, 1000))
            .map(|(data, noise)| [0, 1].map(|i| course(t).alpha * data[i] + course(t).sigma * noise[i]))
            .collect();
        let exact: Vec<Point> = x.iter().map(|x| pair(ring.score(affine(t), x))).collect();
        let error = |field: &dyn Field<Tensor<2>>| -> Result<f64, Error> {
            let found = points(field.eval(tensor(&x, &device), &Times::Shared(t)))?;
            let square = |a: &Point, b: &Point| (a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2);
            let off: f64 = found.iter().zip(&exact).map(|(a, b)| square(a, b)).sum();
            Ok((off / exact.iter().map(|a| square(a, &[0.0; 2])).sum::<f64>()).sqrt())
        };
        println!("    t = {t}: {:.3}, {:.3}", error(&read_off)?, error(&learned)?);
    }

    // ODE and SDEs, with the learned fields and with the exact ones. All end in the same law.
    let count = lab.size(4000, 1000);
    let ids: Vec<u64> = (0..count).collect();
    let noise = NoiseKey::new(7, Purpose::Source).normal(&ids, 0, [ids.len(), 2], &device);
    let (ode_grid, sde_grid) = (TimeGrid::uniform(from, to, 1000)?, TimeGrid::uniform(from, to, 300)?);
    let white = || EulerMaruyama::new(WhiteNoise::new(8, ids.clone()));
    let g = |_: f64| 2.0;
    let exact = |x: Vec<Point>, t: &Times| -> Vec<Point> {
        x.iter().map(|x| pair(ring.velocity(affine(t.at(0)), x))).collect()
    };
    let exact =
        Predictor { field: exact, prediction: Prediction::Velocity, schedule: path.schedule, source: path.source };
    // Two networks make an SDE as well as one: u + g^2 / 2 score.
    let both = |x: Tensor<2>, t: &Times| {
        velocity.field.eval(x.clone(), t) + learned.eval(x, t) * (g(t.at(0)) * g(t.at(0)) / 2.0)
    };
    let start: Vec<Point> = normals(7, count as usize);
    let results: [(&str, Vec<Point>); 5] = [
        ("ODE", points(solve(&velocity.field, EULER.stepper(), noise.clone(), &ode_grid)?)?),
        ("SDE", points(solve(&Sde { drift: both, diffusion: g }, white(), noise.clone(), &sde_grid)?)?),
        ("SDE, one network", points(solve(&velocity.sde(g, from, to)?, white(), noise, &sde_grid)?)?),
        ("exact ODE", solve(&exact.field, EULER.stepper(), start.clone(), &ode_grid)?),
        ("exact SDE", solve(&exact.sde(g, from, to)?, white(), start, &sde_grid)?),
    ];

    let fresh = draw(&ring, 9, &ids);
    println!("  energy distance to fresh data (two sets of fresh data: {:.4})", {
        energy_distance(&fresh, &draw(&ring, 10, &ids))
    });
    for (name, samples) in &results {
        println!("    {name}: {:.4}", energy_distance(samples, &fresh));
    }
    let mut numbers = Vec::new();
    for (name, samples) in &results[3..] {
        let at = |x: &Point| ring.responsibilities(affine(to), x);
        let first: Vec<f64> = samples.iter().map(|x| at(x)[0]).collect();
        numbers.push(number(format!("{name}: share of the first mode"), Estimate::mean(&first), 0.2));
        let square: Vec<f64> = samples.iter().map(|x| x[0] * x[0] + x[1] * x[1]).collect();
        // |10 t|^2 + 2 (t^2 + beta^2) at the last time.
        let theory = 100.0 * to * to + 2.0 * (to * to + 1.0 - to);
        numbers.push(number(format!("{name}: mean square of x"), Estimate::mean(&square), theory));
    }
    let panel = |(name, samples): &(&str, Vec<Point>)| {
        Panel::square(*name, 15.0).dots(&fresh[..1000], GRAY).dots(&samples[..1000], BLUE)
    };
    let figure = Figure::new(3, results.iter().take(3).chain(&results[3..]).map(panel));
    lab.save(figure, "ring.png", "samples (blue) over data (gray): ODE and SDEs, learned and exact")?;
    let ways = |panel: Panel, ways: Vec<Vec<Point>>| panel.paths(ways, BLUE).marks(&means);
    let some = |x: &Tensor<2>| x.clone().narrow(0, 0, 60);
    let noise = NoiseKey::new(7, Purpose::Source).normal(&ids, 0, [ids.len(), 2], &device);
    let ode = trajectories(trajectory(&velocity.field, EULER.stepper(), some(&noise), &ode_grid))?;
    let sde = velocity.sde(g, from, to)?;
    let sde = trajectories(trajectory(&sde, white(), some(&noise), &sde_grid))?;
    let figure = Figure::new(2, [ways(Panel::square("ODE", 15.0), ode), ways(Panel::square("SDE", 15.0), sde)]);
    lab.save(figure, "ways.png", "the ways of 60 points from noise to the modes")?;
    Ok(numbers)
}

/// The points of a seed and some ids.
type Source<'a> = &'a dyn Fn(u64, &[u64], &Device) -> Tensor<2>;

/// Along straight lines to a checkerboard: from N(0, I), and from two circles, where there is a velocity but no score.
fn checkerboards(lab: &Lab) -> Result<(), Error> {
    let device = advect::device::choose(None)?.device;
    let training = device.clone().autodiff();
    let target = |seed: u64, ids: &[u64], device: &Device| Toy::Checkerboard.batch(seed, ids, device);
    let normal = |seed: u64, ids: &[u64], device: &Device| {
        NoiseKey::new(seed, Purpose::Source).normal(ids, 0, [ids.len(), 2], device)
    };
    let circles = |seed: u64, ids: &[u64], device: &Device| Toy::Circles.batch(seed, ids, device);
    let sources: [(&str, Source<'_>, usize, u64, usize); 2] =
        [("Gaussian", &normal, 64, 10_000, 100), ("circles", &circles, 100, 20_000, 200)];
    let ids: Vec<u64> = (0..lab.size(4000, 1000)).collect();
    let fresh = points(target(90, &ids, &device))?;
    let mut panels = Vec::new();
    for (name, source, width, steps, euler) in sources {
        println!("{name} to checkerboard, straight lines");
        device.seed(0);
        let network = MlpConfig::new(2, width, 4).with_time_features(32).init(&training)?;
        let path = AffinePath::new(Linear, SourceLaw::Other);
        // Pairs of a source of any law: an objective is a closure.
        let objective = |network: &Mlp, ids: &Vec<u64>| -> Result<Tensor<1>, TrainError> {
            let times = Times::Each(UniformTime::new().sample(NoiseKey::new(0, Purpose::Time), ids, 0));
            let sample = path.sample(source(1, ids, &training), target(2, ids, &training), &times)?;
            let output = network.forward(sample.x.clone(), times.tensor(ids.len(), &training), None);
            Ok(flow_matching_loss(output, &sample, Prediction::Velocity)?)
        };
        let batch = |step: u64| (2000 * step..2000 * (step + 1)).collect::<Vec<u64>>();
        let network = fit(network, &objective, batch, lab.size(steps, 100), 1e-3)?;
        let grid = TimeGrid::uniform(0.0, 1.0, euler)?;
        let velocity = Conditioned::new(&network, None);
        let states: Vec<Vec<Point>> = trajectory(&velocity, EULER.stepper(), source(3, &ids, &device), &grid)
            .map(|state| points(state?.1))
            .collect::<Result<_, Error>>()?;
        let samples = &states[euler];
        println!(
            "  energy distance to fresh data: {:.4} (two sets of fresh data: {:.4})",
            energy_distance(samples, &fresh),
            energy_distance(&fresh, &points(target(91, &ids, &device))?)
        );
        let inside = samples.iter().filter(|x| is_dark(x)).count() as f64 / samples.len() as f64;
        println!("  on dark squares: {:.1} % (of points spread evenly: 50 %)", 100.0 * inside);
        for part in [0, 1, 2, 3, 4] {
            let t = f64::from(part) / 4.0;
            let panel = Panel::square(format!("{name}, t = {t}"), 5.0);
            panels.push(panel.dots(&states[euler * part as usize / 4], if part == 0 { ORANGE } else { BLUE }));
        }
    }
    lab.save(Figure::new(5, panels), "checkerboard.png", "a Gaussian (above) and two circles (below) on their way")
}

fn is_dark(x: &Point) -> bool {
    let square = x.map(|v| ((v + 4.0) / 2.0).floor());
    square.iter().all(|k| (0.0..4.0).contains(k)) && (square[0] + square[1]) % 2.0 == 0.0
}

/// The way of each point.
fn trajectories<E: std::error::Error + 'static>(
    states: impl Iterator<Item = Result<(Times, Tensor<2>), E>>,
) -> Result<Vec<Vec<Point>>, Error> {
    let states = states.map(|state| points(state?.1)).collect::<Result<Vec<_>, Error>>()?;
    Ok((0..states[0].len()).map(|i| states.iter().map(|x| x[i]).collect()).collect())
}
