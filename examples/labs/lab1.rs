//! Lab 1, simulating SDEs: `cargo run --release --example lab1`.
//!
//! Brownian motion, the Ornstein-Uhlenbeck process and Langevin dynamics by Euler-Maruyama, each beside its closed form.

use advect::core::WhiteNoise;
use advect::prelude::*;
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_analytic::ornstein_uhlenbeck::OrnsteinUhlenbeck;
use labs::{
    BLUE, COLORS, Error, Estimate, Figure, Lab, Number, ORANGE, Panel, Point, RED, draw, normals, number, pair,
};

fn main() -> Result<(), Error> {
    lab1(&Lab::from_args("lab1")?).map(drop)
}

/// All parts; returns every number that theory foretells.
pub(crate) fn lab1(lab: &Lab) -> Result<Vec<Number>, Error> {
    Ok([brownian_motion(lab)?, ornstein_uhlenbeck(lab)?, rescaled_time(lab)?, langevin(lab)?].concat())
}

/// The states of many samples at all times, by Euler-Maruyama.
fn simulate<X: advect::core::Gaussian>(
    drift: impl Fn(&X) -> X,
    sigma: f64,
    start: Vec<X>,
    time: f64,
    steps: usize,
    seed: u64,
) -> Result<Vec<(f64, Vec<X>)>, Error> {
    let sde = Sde { drift: |x: Vec<X>, _: &Times| x.iter().map(&drift).collect::<Vec<X>>(), diffusion: |_| sigma };
    let noise = WhiteNoise::new(seed, (0..start.len() as u64).collect());
    let grid = TimeGrid::uniform(0.0, time, steps)?;
    let states = trajectory(&sde, EulerMaruyama::new(noise), start, &grid);
    Ok(states.map(|state| state.map(|(t, x)| (t.at(0), x))).collect::<Result<_, _>>()?)
}

/// The way of sample `i` through time.
fn path(states: &[(f64, Vec<f64>)], i: usize) -> Vec<Point> {
    states.iter().map(|(t, x)| [*t, x[i]]).collect()
}

/// dX = dW from 0: X_t is N(0, t), and X_s and X_t have the covariance min(s, t).
fn brownian_motion(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("Brownian motion");
    let states = simulate(|_| 0.0, 1.0, vec![0.0; lab.size(20_000, 2_000)], 5.0, 500, 1)?;
    let at = |step: usize| &states[step].1;
    let products: Vec<f64> = at(200).iter().zip(at(500)).map(|(x, y)| x * y).collect();
    let panel = Panel::wide("Brownian motion, +-2 sqrt(t)", [0.0, 5.0], [-7.0, 7.0])
        .paths((0..200).map(|i| path(&states, i)), BLUE)
        .curve(|t| 2.0 * t.sqrt(), RED)
        .curve(|t| -2.0 * t.sqrt(), RED);
    let law = Panel::wide("X at t = 5 and N(0, 5)", [-8.0, 8.0], [0.0, 0.25])
        .histogram(at(500), BLUE)
        .curve(|x| normal_density(x, 5.0), RED);
    lab.save(Figure::new(2, [panel, law]), "brownian.png", "200 paths; the law at t = 5 beside N(0, 5)")?;
    Ok(vec![
        number("mean of X_5", Estimate::mean(at(500)), 0.0),
        number("variance of X_5", Estimate::variance(at(500)), 5.0),
        number("mean of X_2 X_5", Estimate::mean(&products), 2.0),
    ])
}

/// dX = -theta X dt + sigma dW: to N(0, sigma^2 / (2 theta)) from anywhere.
fn ornstein_uhlenbeck(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("Ornstein-Uhlenbeck, theta = 0.25");
    let (theta, time, steps) = (0.25, 20.0, 1000);
    let mut numbers = Vec::new();
    let mut panels = Vec::new();
    for sigma in [0.25, 0.5, 0.5_f64.sqrt(), 1.0] {
        let ou = OrnsteinUhlenbeck { theta, sigma };
        let start: Vec<f64> = (0..lab.size(10_000, 1_000)).map(|i| 10.0 * (f64::from(i % 5) / 2.0 - 1.0)).collect();
        let states = simulate(|x| -theta * x, sigma, start.clone(), time, steps, 2)?;
        let end = &states[steps].1;
        let spread = |t: f64| 2.0 * ou.variance(t).sqrt();
        panels.push(
            Panel::wide(format!("theta = 0.25, sigma = {sigma:.2}"), [0.0, time], [-12.0, 12.0])
                .paths((0..50).map(|i| path(&states, i)), BLUE)
                .curve(|t| ou.mean(10.0, t) + spread(t), RED)
                .curve(|t| ou.mean(-10.0, t) - spread(t), RED),
        );
        // Not of X but of what differs from its mean: the start is not forgotten at t = 20, to e^-5 of it.
        let off: Vec<f64> = end.iter().zip(&start).map(|(x, x0)| x - x0 * (1.0 - theta * 0.02).powi(1000)).collect();
        // What these steps have exactly; it tends to sigma^2 / (2 theta) with them.
        let theory = ou.euler_variance(time / steps as f64, steps as i32);
        let name = format!("variance at t = 20, sigma^2 / (2 theta) = {:.3}", ou.stationary_variance());
        numbers.push(number(name, Estimate::variance(&off), theory));
    }
    lab.save(Figure::new(2, panels), "ornstein_uhlenbeck.png", "paths from -10, -5, 0, 5, 10; mean +- 2 deviations")?;
    Ok(numbers)
}

/// With the same D = sigma^2 / (2 theta), time in units of sigma^2 is all that sigma changes.
fn rescaled_time(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("Ornstein-Uhlenbeck, D = 1, time rescaled");
    let (stationary, steps) = (1.0, 500);
    let mut numbers = Vec::new();
    let mut runs = Vec::new();
    for sigma in [0.5, 1.0, 2.0] {
        let theta = sigma * sigma / (2.0 * stationary);
        let start = vec![3.0; lab.size(10_000, 1_000)];
        let states = simulate(|x| -theta * x, sigma, start, 5.0 / (sigma * sigma), steps, 3)?;
        let scaled: Vec<(f64, Vec<f64>)> = states.into_iter().map(|(t, x)| (t * sigma * sigma, x)).collect();
        for step in [100, 500] {
            let (s, x) = &scaled[step];
            let ou = OrnsteinUhlenbeck { theta: 0.5 / stationary, sigma: 1.0 };
            let h = 5.0 / steps as f64;
            let name = |what: &str| format!("{what} at sigma^2 t = {s:.0}, sigma = {sigma}");
            numbers.push(number(name("mean"), Estimate::mean(x), ou.euler_mean(3.0, h, step as i32)));
            numbers.push(number(name("variance"), Estimate::variance(x), ou.euler_variance(h, step as i32)));
        }
        runs.push(scaled);
    }
    // The same noise drives all three: not only their laws but their paths are one.
    let gap = |a: &[(f64, Vec<f64>)], b: &[(f64, Vec<f64>)]| {
        a.iter().zip(b).flat_map(|((_, a), (_, b))| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let largest = gap(&runs[0], &runs[1]).max(gap(&runs[2], &runs[1]));
    println!("  the paths of sigma = 0.5, 1 and 2 in the time sigma^2 t differ by {largest:.1e} at most");
    let own = Panel::wide("in the time t", [0.0, 5.0], [-2.5, 4.0]);
    let rescaled = Panel::wide("in the time sigma^2 t", [0.0, 5.0], [-2.5, 4.0]);
    let lines = |run: usize, scale: f64| {
        let runs = &runs;
        (0..5).map(move |i| path(&runs[run], i).iter().map(|[s, x]| [s / scale, *x]).collect::<Vec<_>>())
    };
    let own = own.paths(lines(0, 0.25), BLUE).paths(lines(1, 1.0), ORANGE).paths(lines(2, 4.0), RED);
    let rescaled = rescaled.paths(lines(0, 1.0), BLUE).paths(lines(1, 1.0), ORANGE).paths(lines(2, 1.0), RED);
    let figure = Figure::new(2, [own, rescaled]);
    lab.save(figure, "rescaled_time.png", "sigma = 0.5 (blue), 1 (orange), 2 (red); rescaled, they are one")?;
    Ok(numbers)
}

/// dX = sigma^2 / 2 grad log p dt + sigma dW: to p from anywhere, if it has the time to cross the gaps.
fn langevin(lab: &Lab) -> Result<Vec<Number>, Error> {
    println!("Langevin dynamics to a mixture of five modes");
    // `random_2D(nmodes=5, std=0.75, scale=15, seed=3)` of the course: the uniform numbers of PyTorch's seed 3.
    let means =
        [[-7.436, -5.916], [-3.212, -7.096], [-0.426, -6.598], [4.078, 3.655], [1.416, 5.818]].map(|m| m.to_vec());
    let target = Mixture::isotropic(&[1.0; 5], &means, &[0.75; 5])?;
    let at = Affine::new(1.0, 0.0, 0.0, 0.0);
    let log_density = |x: &[Point]| -> Vec<f64> { x.iter().map(|x| target.log_density(at, x)).collect() };
    let (sigma, count) = (0.6, lab.size(2_000, 300));
    let drift = |x: &Point| pair(target.score(at, x)).map(|s| sigma * sigma / 2.0 * s);

    // Started in the law itself it stays there: each mode keeps its fifth, and the mean log-density is minus the entropy.
    let start = draw(&target, 4, &(0..count as u64).collect::<Vec<_>>());
    let states = simulate(drift, sigma, start, 5.0, lab.size(1000, 250), 5)?;
    let end = &states[states.len() - 1].1;
    let mut numbers = vec![
        number("started in the law, mean log-density at t = 5", Estimate::mean(&log_density(end)), {
            expectation(|x| target.log_density(at, &x).exp(), |x| target.log_density(at, &x))
        }),
        number("the same, mean square of x", Estimate::mean(&squares(end)), {
            expectation(|x| target.log_density(at, &x).exp(), |x| x[0] * x[0] + x[1] * x[1])
        }),
    ];

    // Started in N(0, 20 I), as in the course, which reports a mean log-density from -23.9 to -4.6.
    let start: Vec<Point> = normals(4, count).into_iter().map(|z| z.map(|z| 20_f64.sqrt() * z)).collect();
    let broad = |x: Point| normal_density(x[0], 20.0) * normal_density(x[1], 20.0);
    let theory = expectation(broad, |x| target.log_density(at, &x));
    numbers.push(number("started in N(0, 20 I), mean log-density", Estimate::mean(&log_density(&start)), theory));
    let states = simulate(drift, sigma, start, 5.0, lab.size(1000, 250), 6)?;
    let found = Estimate::mean(&log_density(&states[states.len() - 1].1));
    println!("  the same at t = 5: {:.3} +- {:.3} (the course's runs: about -4.6)", found.value, found.standard_error);
    let modes: Vec<Point> = means.iter().map(|m| [m[0], m[1]]).collect();
    let panels = [0.0, 0.2, 0.5, 1.0].map(|part| {
        let (t, x) = &states[((states.len() - 1) as f64 * part) as usize];
        Panel::square(format!("Langevin, t = {t:.1}"), 15.0).dots(x, COLORS[0]).marks(&modes)
    });
    lab.save(Figure::new(4, panels), "langevin.png", "points from N(0, 20 I) on their way to five modes")?;
    Ok(numbers)
}

fn squares(points: &[Point]) -> Vec<f64> {
    points.iter().map(|x| x[0] * x[0] + x[1] * x[1]).collect()
}

fn normal_density(x: f64, variance: f64) -> f64 {
    (-x * x / (2.0 * variance)).exp() / (std::f64::consts::TAU * variance).sqrt()
}

/// The mean of `value` under a smooth density that vanishes beyond 30, by the trapezoidal rule.
fn expectation(density: impl Fn(Point) -> f64, value: impl Fn(Point) -> f64) -> f64 {
    let h = 0.25;
    let line = || (-120..=120).map(|k| h * f64::from(k));
    line().flat_map(|x| line().map(move |y| [x, y])).map(|x| h * h * density(x) * value(x)).sum()
}
