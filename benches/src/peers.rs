//! The other crates, each as a function from a problem and a tolerance to an end and a number of evaluations.

use crate::Problem;
use std::cell::Cell;

/// What a solve gave: the end, and how often the slope was evaluated.
pub type Solved<const N: usize> = ([f64; N], u64);

/// Dopri5 of `ode_solvers`, without dense output.
///
/// # Panics
/// Panics if the crate does not solve the problem.
#[must_use]
#[allow(clippy::expect_used, reason = "a bench")]
pub fn ode_solvers_dopri5<const N: usize>(problem: &Problem<N>, tolerance: f64) -> Solved<N> {
    use ode_solvers::{Dopri5, OutputType, SVector, System};
    struct Rate<'a, const N: usize>(fn([f64; N], f64) -> [f64; N], &'a Cell<u64>);
    impl<const N: usize> System<f64, SVector<f64, N>> for Rate<'_, N> {
        fn system(&self, t: f64, x: &SVector<f64, N>, out: &mut SVector<f64, N>) {
            self.1.set(self.1.get() + 1);
            *out = SVector::from((self.0)(x.data.0[0], t));
        }
    }
    let calls = Cell::new(0);
    let mut solver = Dopri5::new(
        Rate(problem.slope, &calls),
        0.0,
        problem.end_time,
        problem.end_time,
        SVector::from(problem.start),
        tolerance,
        tolerance,
    );
    solver.set_output(OutputType::Sparse);
    solver.integrate().expect("a smooth problem");
    let end = solver.y_out().last().expect("an end").data.0[0];
    (end, calls.get())
}

/// Tsit5 of `diffsol`, on `nalgebra`.
///
/// # Panics
/// Panics if the crate does not solve the problem.
#[must_use]
#[allow(clippy::expect_used, reason = "a bench")]
pub fn diffsol_tsit5<const N: usize>(problem: &Problem<N>, tolerance: f64) -> Solved<N> {
    use diffsol::{NalgebraMat, OdeBuilder, OdeSolverMethod, OdeSolverStopReason, Vector};
    type M = NalgebraMat<f64>;
    let calls = Cell::new(0);
    let (slope, start) = (problem.slope, problem.start);
    let built = OdeBuilder::<M>::new()
        .rtol(tolerance)
        .atol([tolerance])
        .rhs(|x: &[f64], _p: &[f64], t: f64, out: &mut [f64]| {
            calls.set(calls.get() + 1);
            let mut state = [0.0; N];
            state.copy_from_slice(x);
            out.copy_from_slice(&slope(state, t));
        })
        .init(move |_p: &[f64], _t: f64, x: &mut [f64]| x.copy_from_slice(&start), N)
        .build()
        .expect("a valid problem");
    let mut solver = built.tsit45().expect("a valid solver");
    solver.set_stop_time(problem.end_time).expect("a time ahead");
    while !matches!(solver.step().expect("a smooth problem"), OdeSolverStopReason::TstopReached) {}
    let end = std::array::from_fn(|i| solver.state().y.get_index(i));
    (end, calls.get())
}
