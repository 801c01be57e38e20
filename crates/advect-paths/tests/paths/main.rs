//! The claims of advect-paths, each against a closed form, a published number or a difference quotient.

// clippy.toml allows these in `#[test]` functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod conversions;
mod losses;
mod predictors;
mod samples;
mod schedules;
mod times;

use advect_analytic::gaussian::Affine;
use advect_core::Times;
use advect_paths::{Cosine, Edm, Linear, LinearVp, Polynomial, Schedule, SigmaMin, Ve, Vp};
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
    ]
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
    name == "vp" || name == "linear vp"
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
