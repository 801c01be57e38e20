//! Work against precision of one solver, with `advect-solvers` as the only dependency:
//! `cargo run --release -p one-solver`.

use advect_solvers::{Adaptive, Counted, DOPRI5, PiController, SolveError, TimeGrid, Tolerance, shared, solve};
use std::{f64::consts::TAU, hint::black_box, time::Instant};

/// The eccentricity of the orbit.
const E: f64 = 0.5;
const REPEATS: u32 = 20;

fn main() -> Result<(), SolveError> {
    // A planet about its sun, from the nearest point on: after the period of 2 pi it is back where it was.
    let kepler = shared(|[x, y, vx, vy]: [f64; 4], _t: f64| {
        let r3 = x.hypot(y).powi(3);
        [vx, vy, -x / r3, -y / r3]
    });
    let start = [1.0 - E, 0.0, 0.0, ((1.0 + E) / (1.0 - E)).sqrt()];
    let period = TimeGrid::uniform(0.0, TAU, 1)?;
    let field = Counted::new(kepler);

    println!("Dopri5 on a Kepler orbit of eccentricity {E}, one period\n");
    println!(
        "{:>9}  {:>8}  {:>8}  {:>11}  {:>10}  {:>10}",
        "tolerance", "accepted", "rejected", "evaluations", "error", "us"
    );
    for exponent in 3..=12 {
        let tolerance = 10_f64.powi(-exponent);
        let mut stepper =
            Adaptive::new(DOPRI5.stepper(), Tolerance::new(tolerance, tolerance)?, PiController::standard());
        let before = field.calls();
        let end = solve(&field, &mut stepper, start, &period)?;
        let evaluations = field.calls() - before;
        let error = end.iter().zip(start).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
        let (accepted, rejected) = (stepper.accepted(), stepper.rejected());

        // The best of many: what else the machine does only adds.
        let mut best = f64::INFINITY;
        for _ in 0..REPEATS {
            let clock = Instant::now();
            black_box(solve(&field, &mut stepper, black_box(start), &period)?);
            best = best.min(clock.elapsed().as_secs_f64() * 1e6);
        }
        println!("{tolerance:>9.0e}  {accepted:>8}  {rejected:>8}  {evaluations:>11}  {error:>10.2e}  {best:>10.1}");
    }
    Ok(())
}
