//! The claims of advect-guidance: what guidance costs, what it computes, and that one call equals two.

// clippy.toml allows these in `#[test]` functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod classifier;
mod composed;
mod drift;
mod guided;
mod inverse;
mod layer_skipped;
mod mixture;
mod paired;
mod projected;
mod rescaled;
mod threshold;
mod zero_star;

use advect_core::{Field, NoiseKey, Purpose, RowField, Times, normal};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::cell::Cell;
use std::rc::Rc;

/// A field with a label a row, `label * x + t`, that counts its calls and rows.
#[derive(Clone)]
struct Labelled {
    labels: Vec<f64>,
    calls: Rc<Cell<usize>>,
    rows: Rc<Cell<usize>>,
}

impl Labelled {
    fn new(labels: &[f64]) -> Self {
        Self { labels: labels.to_vec(), calls: Rc::default(), rows: Rc::default() }
    }

    /// Calls and rows since the last time.
    fn taken(&self) -> (usize, usize) {
        (self.calls.take(), self.rows.take())
    }
}

impl Field<Vec<f64>> for Labelled {
    fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
        assert_eq!(x.len(), self.labels.len(), "conditions and rows must agree");
        self.calls.set(self.calls.get() + 1);
        self.rows.set(self.rows.get() + x.len());
        x.iter().enumerate().map(|(row, x)| self.labels[row] * x + t.at(row)).collect()
    }
}

impl RowField<Vec<f64>> for Labelled {
    fn select(&self, rows: &[usize]) -> Self {
        Self { labels: rows.iter().map(|&r| self.labels[r]).collect(), ..self.clone() }
    }
}

fn each(times: &[f64]) -> Times {
    Times::Each(times.to_vec())
}

fn close(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()))
}

/// Rows of standard normal numbers.
fn random<const N: usize>(rows: u64, seed: u64) -> Vec<[f64; N]> {
    let key = NoiseKey::new(seed, Purpose::Source);
    let row = |id| {
        let mut rng = key.rng(id, 0);
        std::array::from_fn(|_| normal(&mut rng))
    };
    (0..rows).map(row).collect()
}

/// A tensor in f64: `[rows, N]`.
fn tensor<const N: usize>(rows: &[[f64; N]]) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.as_flattened().to_vec(), [rows.len(), N]), (&Device::flex(), DType::F64))
}

fn numbers<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    assert_eq!(x.dtype(), DType::F64);
    x.into_data().try_to_vec::<f64>().unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A field that returns these rows whatever it is given, and counts.
fn fixed<X: advect_core::State>(rows: &X) -> advect_core::Counted<impl Fn(X, &Times) -> X + use<X>> {
    let rows = rows.clone();
    advect_core::Counted::new(move |_x: X, _t: &Times| rows.clone())
}

const NOW: Times = Times::Shared(0.5);
