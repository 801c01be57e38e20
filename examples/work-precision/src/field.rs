//! The models: Gaussian mixtures whose denoiser and velocity are known, and batches with their true ends.

use advect_analytic::diagonal_mixture::DiagonalMixture;
use advect_analytic::gaussian::Affine;
use advect_core::{Counted, Field, TimeGrid, Times};
use advect_diffusion::Pilot;
use advect_paths::{Linear, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::RK4;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::error::Error;

/// The parameters of a mixture, as they are handed to Python.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Parameters {
    weights: Vec<f64>,
    means: Vec<Vec<f64>>,
    stds: Vec<Vec<f64>>,
}

fn normal(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - random.random::<f64>(), random.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// How wide the components are and how far apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Components that overlap, as in natural data.
    Smooth,
    /// Components of a quarter of the width, so that rows between two of them are decided late.
    Sharp,
}

impl Shape {
    fn width(self) -> f64 {
        match self {
            Self::Smooth => 1.0,
            Self::Sharp => 0.25,
        }
    }
}

/// Five components around the origin of the plane, each with its own spread.
pub(crate) fn plane(shape: Shape) -> Parameters {
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let mean = |k: u32, random: &mut ChaCha8Rng| {
        let angle = 0.3 + f64::from(k) * std::f64::consts::TAU / 5.0;
        vec![1.5 * angle.cos() + 0.2 * normal(random), 1.5 * angle.sin() + 0.2 * normal(random)]
    };
    let means = (0..5).map(|k| mean(k, &mut random)).collect();
    let stds = (0..5).map(|_| (0..2).map(|_| shape.width() * random.random_range(0.2..0.5)).collect()).collect();
    Parameters { weights: (0..5).map(|_| random.random_range(0.5..1.5)).collect(), means, stds }
}

/// Eight components in 64 dimensions, with spreads from 0.8 down to 0.1 as in natural data, on other axes each.
pub(crate) fn high(shape: Shape) -> Parameters {
    let mut random = ChaCha8Rng::seed_from_u64(8);
    let means = (0..8).map(|_| (0..64).map(|_| 0.3 * normal(&mut random)).collect()).collect();
    let spread = |random: &mut ChaCha8Rng| -> Vec<f64> {
        let mut row: Vec<f64> = (0..64).map(|i| shape.width() * 0.8 / (1.0 + f64::from(i)).sqrt()).collect();
        for i in (1..row.len()).rev() {
            row.swap(i, random.random_range(0..=i));
        }
        row
    };
    let stds = (0..8).map(|_| spread(&mut random)).collect();
    Parameters { weights: (0..8).map(|_| random.random_range(0.5..1.5)).collect(), means, stds }
}

/// The exact model, as one prediction.
#[derive(Debug, Clone)]
pub(crate) struct Exact {
    mixture: DiagonalMixture,
    prediction: Prediction,
}

pub(crate) type Rows<const D: usize> = Vec<[f64; D]>;

impl<const D: usize> Field<Rows<D>> for Exact {
    fn eval(&self, mut x: Rows<D>, t: &Times) -> Rows<D> {
        let (now, _) = t.range();
        let c = Linear.at(now);
        // All samplers here move the batch at one time.
        let marginal = self.mixture.at(Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma));
        for x in &mut x {
            let mut out = [0.0; D];
            match self.prediction {
                Prediction::Velocity => marginal.velocity(x, &mut out),
                _ => marginal.data(x, &mut out),
            }
            *x = out;
        }
        x
    }
}

pub(crate) type Model = Predictor<Counted<Exact>, Linear>;

/// A mixture, a test batch and a pilot batch.
pub(crate) struct Problem<const D: usize> {
    parameters: Parameters,
    mixture: DiagonalMixture,
    pub(crate) test: Pilot<Rows<D>>,
    pub(crate) pilot: Pilot<Rows<D>>,
}

impl<const D: usize> Problem<D> {
    pub(crate) fn new(parameters: Parameters, test: usize, pilot: usize) -> Result<Self, Box<dyn Error>> {
        let mixture = DiagonalMixture::new(&parameters.weights, &parameters.means, &parameters.stds)?;
        let velocity = Exact { mixture: mixture.clone(), prediction: Prediction::Velocity };
        let noise = |seed: u64, rows: usize| -> Rows<D> {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            (0..rows).map(|_| std::array::from_fn(|_| normal(&mut random))).collect()
        };
        let flow = |x: Rows<D>| Pilot::new(&velocity, RK4.stepper(), x, &fine(240)?);
        // Other noise for the pilot than for the test.
        let (test, pilot) = (flow(noise(1, test))?.thinned(240), flow(noise(11, pilot))?);
        Ok(Self { parameters, mixture, test, pilot })
    }

    /// The denoiser, counted.
    pub(crate) fn model(&self) -> Model {
        let field = Exact { mixture: self.mixture.clone(), prediction: Prediction::Data };
        Predictor {
            field: Counted::new(field),
            prediction: Prediction::Data,
            schedule: Linear,
            source: SourceLaw::GaussianIndependent,
        }
    }

    /// The velocity, counted.
    pub(crate) fn velocity(&self) -> Counted<Exact> {
        Counted::new(Exact { mixture: self.mixture.clone(), prediction: Prediction::Velocity })
    }
}

/// Root mean square distance to the true ends of a batch, and the median over rows.
pub(crate) fn errors<const D: usize>(batch: &Pilot<Rows<D>>, end: &Rows<D>) -> (f64, f64) {
    let distance =
        |(a, b): (&[f64; D], &[f64; D])| (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / D as f64).sqrt();
    let mut distances: Vec<f64> = end.iter().zip(batch.end()).map(distance).collect();
    distances.sort_by(f64::total_cmp);
    let square: f64 = distances.iter().map(|d| d * d).sum();
    ((square / distances.len() as f64).sqrt(), distances[distances.len() / 2])
}

/// From noise alone to data alone on the linear path, finer toward both ends.
fn fine(steps: usize) -> Result<TimeGrid, advect_core::CoreError> {
    let power = |i: usize| (i as f64 / steps as f64).powi(2);
    TimeGrid::new((0..=steps).map(|i| power(i) / (power(i) + power(steps - i))).collect())
}

/// What Python reads: the mixture, the noise of the test batch, and where it truly ends.
#[derive(Debug, Serialize)]
pub(crate) struct Exchange<'a> {
    mixture: &'a Parameters,
    noise: Vec<&'a [f64]>,
    end: Vec<&'a [f64]>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn of<const D: usize>(problem: &'a Problem<D>) -> Self {
        let slices = |rows: &'a Rows<D>| rows.iter().map(|row| &row[..]).collect();
        Self { mixture: &problem.parameters, noise: slices(problem.test.start()), end: slices(problem.test.end()) }
    }
}
