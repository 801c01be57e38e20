//! What a solver costs beyond its field. Every bench asserts its result and its evaluations before it is timed.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs, reason = "a bench")]

use advect_solvers::{
    Adaptive, AdaptiveRows, Counted, DOPRI5, Field, PiController, RK4, RowField, TimeGrid, Times, Tolerance, shared,
    solve, unconditional,
};
use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;

/// 1,000 steps of RK4 on one number, through `solve` and as a bare loop: the difference is the price of the driver.
fn fixed_rk4(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 1.0, 1000).expect("valid grid");
    let rate = |x: f64, t: f64| -x * t;
    let field = Counted::new(shared(rate));
    let x = solve(&field, RK4.stepper(), 1.0, &grid).expect("smooth problem");
    assert!((x - (-0.5_f64).exp()).abs() < 1e-13);
    assert_eq!(field.calls(), 4000);
    let bare = || {
        let mut x: f64 = black_box(1.0);
        for pair in grid.points().windows(2) {
            let (t, h) = (pair[0], pair[1] - pair[0]);
            let k1 = rate(x, t);
            let k2 = rate(x + 0.5 * h * k1, t + 0.5 * h);
            let k3 = rate(x + 0.5 * h * k2, t + 0.5 * h);
            let k4 = rate(x + h * k3, pair[1]);
            x += h * (k1 / 6.0 + k2 / 3.0 + k3 / 3.0 + k4 / 6.0);
        }
        x
    };
    assert!((bare() - x).abs() < 1e-14);

    let mut group = c.benchmark_group("rk4, f64, 1000 steps");
    group.bench_function("solve", |b| b.iter(|| solve(&shared(rate), RK4.stepper(), black_box(1.0), &grid)));
    group.bench_function("bare loop", |b| b.iter(bare));
    group.finish();
}

/// Lotka-Volterra, a few hundred steps of Dopri5.
fn adaptive_dopri5(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 20.0, 1).expect("valid grid");
    let tolerance = Tolerance::new(1e-9, 1e-9).expect("valid tolerance");
    let slope = |[hares, foxes]: [f64; 2], _t: f64| [hares * (1.0 - foxes), foxes * (hares - 1.0)];
    let invariant = |[hares, foxes]: [f64; 2]| hares - hares.ln() + foxes - foxes.ln();
    let field = Counted::new(shared(slope));
    let mut stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let x = solve(&field, &mut stepper, [3.0, 1.0], &grid).expect("smooth problem");
    assert!((invariant(x) - invariant([3.0, 1.0])).abs() < 1e-6);
    assert_eq!(field.calls(), 2 + 6 * (stepper.accepted() + stepper.rejected()));

    c.bench_function("dopri5, [f64; 2], 1e-9", |b| {
        b.iter(|| {
            let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
            solve(&shared(slope), stepper, black_box([3.0, 1.0]), &grid)
        });
    });
}

type Rows = Vec<[f64; 2]>;

fn lotka_volterra(x: Rows, _t: &Times) -> Rows {
    x.into_iter().map(|[hares, foxes]| [hares * (1.0 - foxes), foxes * (hares - 1.0)]).collect()
}

/// One step size for all against one for each row, on 64 rows of mixed difficulty.
fn mixed_batch(c: &mut Criterion) {
    let grid = TimeGrid::uniform(0.0, 4.0, 1).expect("valid grid");
    let tolerance = Tolerance::new(1e-7, 1e-7).expect("valid tolerance");
    let start: Rows = (0..64).map(|i| f64::from(i % 8)).map(|far| [1.0 + 1.5 * far, 1.0 + 0.3 * far * far]).collect();
    let batch = |field: &dyn Field<Rows>, start: Rows| {
        solve(field, Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard()), start, &grid)
    };
    fn by_row<G: RowField<Rows>>(field: &G, start: Rows, tolerance: Tolerance, grid: &TimeGrid) -> Rows {
        let stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance, PiController::standard());
        solve(field, stepper, start, grid).expect("smooth problem")
    }
    let together = Counted::new(lotka_volterra);
    let one = batch(&together, start.clone()).expect("smooth problem");
    let apart = Counted::new(unconditional(lotka_volterra));
    let each = by_row(&apart, start.clone(), tolerance, &grid);
    for (a, b) in one.iter().zip(&each) {
        assert!((a[0] - b[0]).abs() < 1e-4 * (1.0 + b[0]) && (a[1] - b[1]).abs() < 1e-4 * (1.0 + b[1]));
    }
    assert!(apart.rows() < together.rows());
    println!("mixed batch: {} row evaluations together, {} row by row", together.rows(), apart.rows());

    let mut group = c.benchmark_group("dopri5, 64 mixed rows, 1e-7");
    group.bench_function("Adaptive", |b| b.iter(|| batch(&lotka_volterra, black_box(start.clone()))));
    let field = unconditional(lotka_volterra);
    group.bench_function("AdaptiveRows", |b| b.iter(|| by_row(&field, black_box(start.clone()), tolerance, &grid)));
    group.finish();
}

criterion_group!(benches, fixed_rk4, adaptive_dopri5, mixed_batch);
criterion_main!(benches);
