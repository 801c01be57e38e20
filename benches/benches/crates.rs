//! Controlled steps on three standard problems: Dopri5 and Tsit5 of ours, and beside them, with `--features peers`,
//! Dopri5 of `ode_solvers` and Tsit5 of `diffsol`, at equal tolerances. What each achieves (error, evaluations) is
//! printed first and asserted.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs, reason = "a bench")]

#[cfg(feature = "peers")]
use advect_benches::peers::{diffsol_tsit5, ode_solvers_dopri5};
use advect_benches::{Problem, arenstorf, exponential, lotka_volterra};
use advect_solvers::{
    Adaptive, Counted, DOPRI5, EmbeddedTableau, PiController, TSIT5, TimeGrid, Tolerance, shared, solve,
};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use std::hint::black_box;

/// The end of a problem and how often the slope was evaluated.
fn ours<const N: usize>(method: EmbeddedTableau<7>, problem: &Problem<N>, tolerance: f64) -> ([f64; N], u64) {
    let grid = TimeGrid::uniform(0.0, problem.end_time, 1).expect("valid grid");
    let tolerance = Tolerance::new(tolerance, tolerance).expect("valid tolerance");
    let stepper = Adaptive::new(method.stepper(), tolerance, PiController::standard());
    let field = Counted::new(shared(problem.slope));
    (solve(&field, stepper, problem.start, &grid).expect("smooth problem"), field.calls())
}

type Solver<const N: usize> = fn(&Problem<N>, f64) -> ([f64; N], u64);

fn bench<const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    problem: &Problem<N>,
    (tolerance, limit): (f64, f64),
    solver: Solver<N>,
) {
    let (end, calls) = solver(problem, tolerance);
    let error = problem.error(&end);
    println!("{:<16} {tolerance:.0e}  {name:<20} error {error:.1e}  evaluations {calls}", problem.name);
    assert!(error < limit, "{name} on {}: error {error:e}", problem.name);
    group.bench_function(name, |b| b.iter(|| solver(black_box(problem), tolerance)));
}

fn all<const N: usize>(c: &mut Criterion, problem: &Problem<N>, goal: (f64, f64)) {
    let mut group = c.benchmark_group(problem.name);
    bench(&mut group, "Dopri5", problem, goal, |p, tol| ours(DOPRI5, p, tol));
    bench(&mut group, "Tsit5", problem, goal, |p, tol| ours(TSIT5, p, tol));
    #[cfg(feature = "peers")]
    {
        // The peers' errors are theirs: printed, not judged.
        let goal = (goal.0, f64::INFINITY);
        bench(&mut group, "Dopri5, ode_solvers", problem, goal, ode_solvers_dopri5);
        bench(&mut group, "Tsit5, diffsol", problem, goal, diffsol_tsit5);
    }
    group.finish();
}

fn problems(c: &mut Criterion) {
    all(c, &exponential(), (1e-8, 1e-2));
    all(c, &lotka_volterra(), (1e-8, 1e-5));
    all(c, &arenstorf(), (1e-10, 1e-3));
}

criterion_group!(benches, problems);
criterion_main!(benches);
