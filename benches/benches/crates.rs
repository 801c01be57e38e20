//! Controlled steps on three standard problems: Dopri5 and Tsit5 of ours, and beside them, with `--features peers`,
//! Dopri5 of `ode_solvers` and Tsit5 of `diffsol`, at equal tolerances.
//!
//! What each achieves (error, evaluations) is shown beside its time, and asserted of ours. Solves are taken in turns, so
//! that a busy machine is busy for all; the tables show the least and the median time of a solve, at equal tolerances and
//! at equal errors. Under `cargo test` each runs once.

#![allow(clippy::print_stdout, clippy::expect_used, missing_docs, reason = "a bench")]

#[cfg(feature = "peers")]
use advect_benches::peers::{diffsol_tsit5, ode_solvers_dopri5};
use advect_benches::{Problem, arenstorf, exponential, lotka_volterra};
use advect_solvers::{Adaptive, DOPRI5, EmbeddedTableau, PiController, TSIT5, TimeGrid, Tolerance, shared, solve};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// The end of a problem and how often the slope was evaluated.
fn ours<const N: usize>(
    method: EmbeddedTableau<7>,
    controller: PiController,
    problem: &Problem<N>,
    tolerance: f64,
) -> ([f64; N], u64) {
    let grid = TimeGrid::uniform(0.0, problem.end_time, 1).expect("valid grid");
    let tolerance = Tolerance::new(tolerance, tolerance).expect("valid tolerance");
    let stepper = Adaptive::new(method.stepper(), tolerance, controller);
    // Counted as for the others, in the slope.
    let calls = Cell::new(0);
    let field = shared(|x: [f64; N], t: f64| {
        calls.set(calls.get() + 1);
        (problem.slope)(x, t)
    });
    (solve(&field, stepper, problem.start, &grid).expect("smooth problem"), calls.get())
}

type Solver<const N: usize> = fn(&Problem<N>, f64) -> ([f64; N], u64);

/// All of them; ours are judged by their errors, the others are not.
fn solvers<const N: usize>() -> Vec<(&'static str, bool, Solver<N>)> {
    vec![
        // With the coefficients of Hairer's DOPRI5, which `ode_solvers` has too.
        ("advect Dopri5, hairer", true, |p, tol| ours(DOPRI5, PiController::hairer(), p, tol)),
        ("advect Tsit5, hairer", true, |p, tol| ours(TSIT5, PiController::hairer(), p, tol)),
        ("advect Dopri5, standard", true, |p, tol| ours(DOPRI5, PiController::standard(), p, tol)),
        ("advect Tsit5, standard", true, |p, tol| ours(TSIT5, PiController::standard(), p, tol)),
        #[cfg(feature = "peers")]
        ("ode_solvers Dopri5", false, ode_solvers_dopri5),
        #[cfg(feature = "peers")]
        ("diffsol Tsit5", false, diffsol_tsit5),
    ]
}

/// The times of solves, in turns.
fn timed<const N: usize>(problem: &Problem<N>, tolerance: f64, turns: usize) -> Vec<Vec<Duration>> {
    let solvers = solvers();
    let mut times = vec![Vec::with_capacity(turns); solvers.len()];
    for _ in 0..turns {
        for ((_, _, solver), times) in solvers.iter().zip(&mut times) {
            let start = Instant::now();
            black_box(solver(black_box(problem), tolerance));
            times.push(start.elapsed());
        }
    }
    times.iter_mut().for_each(|times| times.sort_unstable());
    times
}

fn micro(time: Duration) -> String {
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

/// All solvers on a problem, to a tolerance; ours are to stay below an error.
fn compare<const N: usize>(problem: &Problem<N>, tolerance: f64, limit: f64, turns: usize) {
    let times = timed(problem, tolerance, turns);
    println!("\n{}, tolerance {tolerance:.0e}", problem.name);
    println!("{:<24}{:>12}{:>13}{:>12}{:>12}", "", "error", "evaluations", "least", "median");
    for ((name, judged, solver), times) in solvers::<N>().iter().zip(&times) {
        let (end, calls) = solver(problem, tolerance);
        let error = problem.error(&end);
        assert!(!judged || error < limit, "{name} on {}: error {error:e}", problem.name);
        let (least, median) = (micro(times[0]), micro(times[times.len() / 2]));
        println!("{name:<24}{error:>12.1e}{calls:>13}{least:>12}{median:>12}");
    }
}

/// What all solvers take for the same error, whatever they call a tolerance: the median time over a ladder of
/// tolerances, interpolated in the logarithms.
fn at_equal_error<const N: usize>(problem: &Problem<N>, errors: [f64; 3], turns: usize) {
    let tolerances: Vec<f64> = (8..=26).map(|k| 10.0_f64.powf(-0.5 * f64::from(k))).collect();
    let medians: Vec<Vec<Duration>> = tolerances
        .iter()
        .map(|&tolerance| timed(problem, tolerance, turns).iter().map(|times| times[times.len() / 2]).collect())
        .collect();
    println!(
        "\n{}, median time at an error of{:>12.0e}{:>12.0e}{:>12.0e}",
        problem.name, errors[0], errors[1], errors[2]
    );
    for (i, (name, _, solver)) in solvers::<N>().iter().enumerate() {
        let reached: Vec<f64> = tolerances.iter().map(|&tol| problem.error(&solver(problem, tol).0)).collect();
        let line = errors.map(|wanted| {
            // The first rung that is below and stays so: errors of single rungs are a matter of luck.
            let below = (1..reached.len()).find(|&k| reached[k..].iter().all(|e| *e <= wanted))?;
            let (high, low) = (reached[below - 1], reached[below]);
            let share = if high > wanted { (high / wanted).ln() / (high / low).ln() } else { 1.0 };
            let log = |k: usize| medians[k][i].as_secs_f64().ln();
            Some(Duration::from_secs_f64((log(below - 1) + share * (log(below) - log(below - 1))).exp()))
        });
        let cells: String = line.iter().map(|t| format!("{:>12}", t.map_or_else(|| "-".to_owned(), micro))).collect();
        println!("{name:<width$}{cells}", width = problem.name.len() + 30);
    }
}

fn main() {
    // Cargo says `--bench` to benches, and nothing when it only tests them.
    let bench = std::env::args().any(|argument| argument == "--bench");
    let (turns, fewer) = if bench { (2000, 300) } else { (1, 1) };
    for tolerance in [1e-5, 1e-8, 1e-11] {
        compare(&exponential(), tolerance, 1e6 * tolerance, turns);
        compare(&lotka_volterra(), tolerance, 1e3 * tolerance, turns);
        compare(&arenstorf(), tolerance, 1e5 * tolerance, turns);
    }
    at_equal_error(&exponential(), [1e-1, 1e-3, 1e-5], fewer);
    at_equal_error(&lotka_volterra(), [1e-4, 1e-6, 1e-8], fewer);
    at_equal_error(&arenstorf(), [1e-2, 1e-4, 1e-6], fewer);
}
