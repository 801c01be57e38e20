//! The claims of advect-paths, each against a closed form, a published number or a difference quotient.

// clippy.toml allows these in `#[test]` functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conversions;
mod interpolants;
mod losses;
mod predictors;
mod reschedule;
mod samples;
mod schedules;
mod times;
mod weightings;

use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_core::Times;
use advect_paths::{
    Coefficients, Cosine, Custom, Edm, Linear, LinearVp, Polynomial, Prediction, Schedule, SigmaMin, Ve, Vp,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::sync::Arc;

/// Every schedule of the crate. A new one joins all tests by a line here.
fn schedules() -> Vec<(&'static str, Arc<dyn Schedule>)> {
    vec![
        ("linear", Arc::new(Linear)),
        ("cosine", Arc::new(Cosine)),
        ("vp", Arc::new(Vp::default())),
        ("vp beta_min = 0", Arc::new(Vp::new(0.0, 12.0).unwrap())),
        ("polynomial 1", Arc::new(Polynomial::new(1.0).unwrap())),
        ("polynomial 2.5", Arc::new(Polynomial::new(2.5).unwrap())),
        ("polynomial 3", Arc::new(Polynomial::new(3.0).unwrap())),
        ("linear vp", Arc::new(LinearVp)),
        ("sigma min", Arc::new(SigmaMin::new(0.05).unwrap())),
        ("ve", Arc::new(Ve::new(0.05, 10.0).unwrap())),
        ("edm", Arc::new(Edm::default())),
        ("edm to 0, rho 1", Arc::new(Edm::new(0.0, 5.0, 1.0).unwrap())),
        ("edm to 0, rho 3", Arc::new(Edm::new(0.0, 20.0, 3.0).unwrap())),
        ("custom", Arc::new(Custom::new(custom).unwrap())),
        ("course", Arc::new(Custom::new(course).unwrap())),
    ]
}

/// A schedule of a user: `alpha = t (2 - t)`, `sigma = (1 - t) (1 + t / 2)`.
fn custom(t: f64) -> Coefficients {
    let sigma = (1.0 - t) * (1.0 + t / 2.0);
    Coefficients { alpha: t * (2.0 - t), sigma, d_alpha: 2.0 - 2.0 * t, d_sigma: -0.5 - t }
}

/// That of the course's second lab: `alpha = t`, `sigma = sqrt(1 - t)`.
fn course(t: f64) -> Coefficients {
    let sigma = (1.0 - t).sqrt();
    Coefficients { alpha: t, sigma, d_alpha: 1.0, d_sigma: -0.5 / sigma }
}

/// The schedules that keep some noise at t = 1.
fn keeps_noise(name: &str) -> bool {
    ["sigma min", "ve", "edm"].contains(&name)
}

/// The schedules that have some data at t = 0.
fn has_data_at_0(name: &str) -> bool {
    ["vp", "ve", "edm"].iter().any(|start| name.starts_with(start))
}

/// The schedules whose sigma falls like a square root at t = 1, with an infinite slope.
fn root(name: &str) -> bool {
    ["vp", "linear vp", "course"].contains(&name)
}

/// A mixture in one dimension, with the exact value of every prediction.
struct NumberLine(Mixture);

/// Two unequal components: nothing is linear or symmetric.
fn number_line() -> NumberLine {
    NumberLine(Mixture::isotropic(&[0.3, 0.7], &[vec![-2.0], vec![1.5]], &[0.6, 0.9]).unwrap())
}

impl NumberLine {
    fn value(&self, at: Affine, x: f64, prediction: Prediction) -> f64 {
        match prediction {
            Prediction::Velocity => self.0.velocity(at, &[x])[0],
            Prediction::Score => self.0.score(at, &[x])[0],
            Prediction::Noise => self.0.noise(at, &[x])[0],
            Prediction::Data => self.0.data(at, &[x])[0],
            Prediction::V => at.alpha * self.0.noise(at, &[x])[0] - at.sigma * self.0.data(at, &[x])[0],
        }
    }
}

/// The integral of the normal density from 0 to z, by Simpson's rule: accurate to 1e-10 for |z| < 8.
fn normal_integral(z: f64) -> f64 {
    let n = 400;
    let h = z / n as f64;
    let f = |i: usize| (-(h * i as f64).powi(2) / 2.0).exp();
    let inner: f64 = (1..n).map(|i| f(i) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
    h / 3.0 * (f(0) + inner + f(n)) / std::f64::consts::TAU.sqrt()
}

/// The schedule's coefficients in the form that advect-analytic takes.
fn affine(schedule: &dyn Schedule, t: f64) -> Affine {
    let c = schedule.at(t);
    Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma)
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * (1.0 + a.abs().max(b.abs()))
}

/// A column of f64 numbers, `[n, 1]`.
fn column(values: &[f64]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values.to_vec(), [values.len(), 1]), (&Device::flex(), DType::F64))
}

fn numbers<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.clone().into_data().try_to_vec::<f64>().unwrap()
}

fn number(tensor: Tensor<1>) -> f64 {
    tensor.into_scalar::<f64>()
}

/// One time a row.
fn each(times: &[f64]) -> Times {
    Times::Each(times.to_vec())
}
