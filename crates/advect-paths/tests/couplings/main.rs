//! Couplings against exhaustive search, dual certificates, closed forms and POT (Python Optimal Transport).

// clippy.toml allows these in `#[test]` functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod assignments;
mod classes;
mod entropic;
mod gradients;
mod input;
mod peers;
mod semidiscrete;
mod straightness;

use advect_core::{NoiseKey, Purpose, normal};
use advect_paths::{Cost, CostMatrix, Rows, SquaredEuclidean};
use burn::tensor::{DType, Device, Tensor, TensorData};

fn key(seed: u64) -> NoiseKey {
    NoiseKey::new(seed, Purpose::Coupling)
}

/// Normal rows, moved along the first axis.
fn cloud(seed: u64, count: usize, width: usize, shift: f64) -> Rows {
    let mut rng = NoiseKey::new(seed, Purpose::Data).rng(0, 0);
    let value = |k: usize| normal(&mut rng) + if k.is_multiple_of(width) { shift } else { 0.0 };
    Rows::new((0..count * width).map(value).collect(), count).unwrap()
}

fn squared(noise: &Rows, data: &Rows) -> CostMatrix {
    SquaredEuclidean.matrix(noise, data).unwrap()
}

/// Rows as a tensor in f64.
fn tensor(rows: &Rows) -> Tensor<2> {
    let values: Vec<f64> = rows.iter().flatten().copied().collect();
    Tensor::from_data(TensorData::new(values, [rows.count(), rows.width()]), (&Device::flex(), DType::F64))
}
