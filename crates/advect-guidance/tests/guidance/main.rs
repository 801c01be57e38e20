//! The claims of advect-guidance: what guidance costs, what it computes, and that one call equals two.

// clippy.toml allows these in `#[test]` functions only, not in their helpers.
#![allow(clippy::unwrap_used, clippy::panic)]

mod guided;
mod mixture;
mod paired;

use advect_core::{Field, RowField, Times};
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
