//! The exact model of a Gaussian mixture in D dimensions, on the linear path.

use advect_analytic::diagonal_mixture::DiagonalMixture;
use advect_analytic::gaussian::Affine;
use advect_core::{Field, TimeGrid, Times};
use advect_diffusion::Pilot;
use advect_paths::{Linear, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::RK4;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[derive(Debug, Clone)]
pub(crate) struct Exact {
    mixture: DiagonalMixture,
    prediction: Prediction,
}

impl<const D: usize> Field<Vec<[f64; D]>> for Exact {
    fn eval(&self, x: Vec<[f64; D]>, t: &Times) -> Vec<[f64; D]> {
        let row = |(row, x): (usize, [f64; D])| {
            let c = Linear.at(t.at(row));
            let at = Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma);
            let mut data = [0.0; D];
            match self.prediction {
                Prediction::Velocity => self.mixture.at(at).velocity(&x, &mut data),
                _ => self.mixture.at(at).data(&x, &mut data),
            }
            data
        };
        x.into_iter().enumerate().map(row).collect()
    }
}

pub(crate) type Model = Predictor<Exact, Linear>;

pub(crate) fn model(mixture: &DiagonalMixture, prediction: Prediction) -> Model {
    Predictor {
        field: Exact { mixture: mixture.clone(), prediction },
        prediction,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    }
}

/// Components with their means near the origin, of unequal weights, every axis with its own spread.
pub(crate) fn mixture<const D: usize>(components: usize, reach: f64) -> DiagonalMixture {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mut row = |low: f64, high: f64| -> Vec<f64> { (0..D).map(|_| random.random_range(low..high)).collect() };
    let means: Vec<Vec<f64>> = (0..components).map(|_| row(-reach, reach)).collect();
    let stds: Vec<Vec<f64>> = (0..components).map(|_| row(0.2, 0.6)).collect();
    let weights: Vec<f64> = (0..components).map(|k| 1.0 + k as f64 / 3.0).collect();
    DiagonalMixture::new(&weights, &means, &stds).unwrap()
}

pub(crate) fn noise<const D: usize>(seed: u64, rows: usize) -> Vec<[f64; D]> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = || -> f64 {
        let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    };
    (0..rows).map(|_| std::array::from_fn(|_| normal())).collect()
}

/// From noise alone to next to the data on the linear path, finer toward both ends.
fn fine(steps: usize) -> TimeGrid {
    let power = |i: usize| (i as f64 / steps as f64).powi(2);
    TimeGrid::new((0..=steps).map(|i| power(i) / (power(i) + power(steps - i))).collect()).unwrap()
}

/// A pilot batch with its true trajectories: RK4 on the velocity.
pub(crate) fn pilot<const D: usize>(mixture: &DiagonalMixture, seed: u64, rows: usize) -> Pilot<Vec<[f64; D]>> {
    let field = model(mixture, Prediction::Velocity).field;
    Pilot::new(&field, RK4.stepper(), noise::<D>(seed, rows), &fine(160)).unwrap()
}

#[test]
fn the_pilot_is_converged() {
    let mixture = mixture::<2>(4, 1.5);
    let field = model(&mixture, Prediction::Velocity).field;
    let x = noise::<2>(3, 16);
    let coarse = Pilot::new(&field, RK4.stepper(), x.clone(), &fine(160)).unwrap();
    let finer = Pilot::new(&field, RK4.stepper(), x, &fine(640)).unwrap();
    assert!(finer.error(coarse.end()) < 1e-6, "{}", finer.error(coarse.end()));
    // Between the points, against the finer one's.
    let between = finer.at(0.37);
    let error = coarse.at(0.37).into_iter().zip(&between).map(|(a, b)| (a[0] - b[0]).abs().max((a[1] - b[1]).abs()));
    assert!(error.fold(0.0, f64::max) < 1e-5);
}

#[test]
fn noise_is_noise() {
    let x = noise::<2>(3, 4096);
    let mean: f64 = x.iter().flatten().sum::<f64>() / 8192.0;
    let square: f64 = x.iter().flatten().map(|v| v * v).sum::<f64>() / 8192.0;
    // Standard errors 1/sqrt(8192) and sqrt(2/8192).
    assert!(mean.abs() < 4.0 * 0.01105 && (square - 1.0).abs() < 4.0 * 0.01563, "{mean} {square}");
}
