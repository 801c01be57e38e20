//! Controlled steps on three standard problems: Dopri5 and Tsit5 of ours, and beside them, with `--features peers`,
//! Dopri5 of `ode_solvers` and Tsit5 of `diffsol`, at equal tolerances.
//!
//! What each achieves (error, evaluations) is asserted before it is timed. Solves are taken in turns, so that a busy
//! machine is busy for all; the table shows the least and the median time of a solve. Under `cargo test` each runs
//! once.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs, reason = "a bench")]

#[cfg(feature = "peers")]
use advect_benches::peers::{diffsol_tsit5, ode_solvers_dopri5};
use advect_benches::{Problem, arenstorf, exponential, lotka_volterra};
use advect_solvers::{
    Adaptive, Counted, DOPRI5, EmbeddedTableau, PiController, TSIT5, TimeGrid, Tolerance, shared, solve,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The end of a problem and how often the slope was evaluated.
fn ours<const N: usize>(method: EmbeddedTableau<7>, problem: &Problem<N>, tolerance: f64) -> ([f64; N], u64) {
    let grid = TimeGrid::uniform(0.0, problem.end_time, 1).expect("valid grid");
    let tolerance = Tolerance::new(tolerance, tolerance).expect("valid tolerance");
    // The coefficients of Hairer's DOPRI5, which `ode_solvers` has too: alpha = 5 (0.2 - 0.75 * 0.04), beta = 5 * 0.04.
    let controller = PiController::new(0.65, 0.2, 0.0).expect("valid coefficients");
    let stepper = Adaptive::new(method.stepper(), tolerance, controller);
    let field = Counted::new(shared(problem.slope));
    (solve(&field, stepper, problem.start, &grid).expect("smooth problem"), field.calls())
}

type Solver<const N: usize> = fn(&Problem<N>, f64) -> ([f64; N], u64);

/// All solvers on a problem, to a tolerance; ours are to stay below an error.
fn compare<const N: usize>(problem: &Problem<N>, tolerance: f64, limit: f64, turns: usize) {
    let solvers: Vec<(&str, f64, Solver<N>)> = vec![
        ("advect Dopri5", limit, |p, tol| ours(DOPRI5, p, tol)),
        ("advect Tsit5", limit, |p, tol| ours(TSIT5, p, tol)),
        // The peers' errors are theirs: printed, not judged.
        #[cfg(feature = "peers")]
        ("ode_solvers Dopri5", f64::INFINITY, ode_solvers_dopri5),
        #[cfg(feature = "peers")]
        ("diffsol Tsit5", f64::INFINITY, diffsol_tsit5),
    ];
    let mut times = vec![Vec::with_capacity(turns); solvers.len()];
    for _ in 0..turns {
        for ((_, _, solver), times) in solvers.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(solver(black_box(problem), tolerance));
            times.push(start.elapsed());
        }
    }
    println!("\n{}, tolerance {tolerance:.0e}", problem.name);
    println!("{:<20}{:>12}{:>13}{:>12}{:>12}", "", "error", "evaluations", "least", "median");
    for ((name, limit, solver), times) in solvers.iter().zip(&mut times) {
        let (end, calls) = solver(problem, tolerance);
        let error = problem.error(&end);
        assert!(error < *limit, "{name} on {}: error {error:e}", problem.name);
        times.sort_unstable();
        let micro = |time: Duration| format!("{:.1} us", time.as_secs_f64() * 1e6);
        let (least, median) = (micro(times[0]), micro(times[times.len() / 2]));
        println!("{name:<20}{error:>12.1e}{calls:>13}{least:>12}{median:>12}");
    }
}

fn main() {
    // Cargo says `--bench` to benches, and nothing when it only tests them.
    let turns = if std::env::args().any(|argument| argument == "--bench") { 2000 } else { 1 };
    for tolerance in [1e-5, 1e-8, 1e-11] {
        compare(&exponential(), tolerance, 1e6 * tolerance, turns);
        compare(&lotka_volterra(), tolerance, 1e3 * tolerance, turns);
        compare(&arenstorf(), tolerance, 1e5 * tolerance, turns);
    }
}
