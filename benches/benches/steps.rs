//! What a step costs beyond its field, on one number. Every bench asserts its result and its evaluations first.
//!
//! The bare loop beside each method is the same arithmetic written by hand.

#![allow(clippy::expect_used, missing_docs, reason = "a bench")]

use advect_solvers::{Adaptive, Counted, DOPRI5, EULER, PiController, RK4, TimeGrid, Tolerance, shared, solve};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

const STEPS: usize = 1000;

/// A field that costs next to nothing.
fn rate(x: f64, _t: f64) -> f64 {
    -x
}

fn euler(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 1.0, STEPS).expect("valid grid");
    let bare = || grid.points().windows(2).fold(black_box(1.0), |x, pair| x + (pair[1] - pair[0]) * rate(x, pair[0]));
    let field = Counted::new(shared(rate));
    let x = solve(&field, EULER.stepper(), 1.0, &grid).expect("smooth problem");
    assert!((x - (1.0 - 1e-3_f64).powi(1000)).abs() < 1e-12 && (bare() - x).abs() < 1e-14);
    assert_eq!(field.calls(), STEPS as u64);

    let mut group = c.benchmark_group("Euler, f64");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("solve", |b| b.iter(|| solve(&shared(rate), EULER.stepper(), black_box(1.0), &grid)));
    group.bench_function("bare loop", |b| b.iter(bare));
    group.finish();
}

fn rk4(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 1.0, STEPS).expect("valid grid");
    let bare = || {
        grid.points().windows(2).fold(black_box(1.0), |x: f64, pair| {
            let (t, h) = (pair[0], pair[1] - pair[0]);
            let k1 = rate(x, t);
            let k2 = rate(x + 0.5 * h * k1, t + 0.5 * h);
            let k3 = rate(x + 0.5 * h * k2, t + 0.5 * h);
            let k4 = rate(x + h * k3, pair[1]);
            x + h * (k1 / 6.0 + k2 / 3.0 + k3 / 3.0 + k4 / 6.0)
        })
    };
    let field = Counted::new(shared(rate));
    let x = solve(&field, RK4.stepper(), 1.0, &grid).expect("smooth problem");
    assert!((x - (-1.0_f64).exp()).abs() < 1e-13 && (bare() - x).abs() < 1e-14);
    assert_eq!(field.calls(), 4 * STEPS as u64);

    let mut group = c.benchmark_group("RK4, f64");
    group.throughput(Throughput::Elements(STEPS as u64));
    group.bench_function("solve", |b| b.iter(|| solve(&shared(rate), RK4.stepper(), black_box(1.0), &grid)));
    group.bench_function("bare loop", |b| b.iter(bare));
    group.finish();
}

/// Controlled steps: the throughput counts attempts.
fn dopri5(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 100.0, 1).expect("valid grid");
    let tolerance = Tolerance::new(1e-12, 1e-12).expect("valid tolerance");
    let field = Counted::new(shared(rate));
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let x = solve(&field, &mut stepper, 1.0, &grid).expect("smooth problem");
    assert!((x - (-100.0_f64).exp()).abs() < 1e-10);
    let attempts = stepper.accepted() + stepper.rejected();
    assert_eq!(field.calls(), 2 + 6 * attempts);

    let mut group = c.benchmark_group("Dopri5, controlled, f64");
    group.throughput(Throughput::Elements(attempts));
    group.bench_function("solve", |b| {
        b.iter(|| {
            let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
            solve(&shared(rate), stepper, black_box(1.0), &grid)
        });
    });
    group.finish();
}

criterion_group!(benches, euler, rk4, dopri5);
criterion_main!(benches);
