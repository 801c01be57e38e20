//! ODE and SDE steppers with proven order, adaptive control, one [`solve`] for all.
//!
//! A generator (a [`Field`], an [`Sde`], anything of your own) says how a state moves; a [`Stepper`] simulates it; the
//! driver, [`solve`] or [`trajectory`], walks a [`TimeGrid`]. States are anything linear ([`State`]): `f64`, arrays,
//! `Vec`s, Burn tensors of any rank, pairs. Time runs up or down, shared by the batch or row by row ([`Times`]).
//!
//! ```
//! use advect_solvers::{Adaptive, DOPRI5, PiController, RK4, TimeGrid, Times, Tolerance, shared, solve, trajectory};
//!
//! // A pendulum: angle and velocity.
//! let pendulum = shared(|[q, v]: [f64; 2], _t: f64| [v, -q.sin()]);
//! let grid = TimeGrid::uniform(0.0, 10.0, 200)?;
//!
//! let fixed = solve(&pendulum, RK4.stepper(), [1.0, 0.0], &grid)?;
//!
//! let tolerance = Tolerance::new(1e-9, 1e-9)?;
//! let mut adaptive = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
//! let controlled = solve(&pendulum, &mut adaptive, [1.0, 0.0], &grid)?;
//! assert!((fixed[0] - controlled[0]).abs() < 1e-5);
//!
//! // The states on the way; energy is conserved.
//! for state in trajectory(&pendulum, RK4.stepper(), [1.0, 0.0], &grid) {
//!     let (_t, [q, v]) = state?;
//!     assert!((0.5 * v * v - q.cos() + 1.0_f64.cos()).abs() < 1e-5);
//! }
//! # Ok::<(), advect_solvers::SolveError>(())
//! ```
//!
//! ## Methods for a [`Field`]
//!
#![doc = include_str!("ode_methods.md")]
//!
//! In the order of [`ode_methods`], which programs and the order tests go through, too.
//!
//! ## Methods for a [`Separable`] system
//!
#![doc = include_str!("symplectic_methods.md")]
//!
//! In the order of [`symplectic_methods`].
//!
//! ## When a solve fails
//!
//! Every failure is a [`SolveError`] that names its time and says what to do. Each step asks once whether its state is
//! finite, so that NaN has a time. On a card, where that waits for all that is queued, [`solve`] looks at every 16th and at the
//! last; [`solve_partial`] also returns the state reached before it.
//!
//! ## Methods for SDEs
//!
//! Each list is for its kind of equation. Evaluations are those of the drift. Noise is an argument of every stepper, and
//! [`StepDoubling`] chooses the steps of any of them on a [`BrownianPath`].
//!
#![doc = include_str!("sde_methods.md")]
//!
//! The types of `advect-core` that a user of solvers needs are re-exported here.

mod adams;
mod adams_bashforth;
mod adams_bashforth_moulton;
mod adaptive;
mod adaptive_rows;
mod adjoint;
mod adjoint_state;
mod baoab;
mod bosh3;
mod catalog;
mod controller;
mod dense;
mod dense_stepper;
mod diagonal_sde;
mod dopri5;
mod dopri8;
mod embedded;
mod embedded_runge_kutta;
mod embedded_tableau;
mod error;
mod euler;
mod euler_maruyama;
mod event;
mod exponential_euler_maruyama;
mod heun;
mod heun_euler;
mod interpolant;
mod leapfrog;
mod linear;
mod midpoint;
mod milstein;
mod path_driven;
mod platen_weak2;
mod quadrature;
mod ralston;
mod rk3;
mod rk38;
mod rk4;
mod root;
mod runge_kutta;
mod runge_kutta_milstein;
mod save_at;
mod sde_catalog;
mod sea;
mod semilinear_sde;
mod separable;
mod shark;
mod solve;
mod solve_partial;
mod splitting;
mod sra;
mod sra1;
mod sra2;
mod sra3;
mod sri;
mod sri1;
mod sri2;
mod ssp_rk3;
mod step_control;
mod step_doubling;
mod stepper;
mod stiffness;
mod stochastic_heun;
mod stratonovich_sde;
mod tableau;
mod trajectory;
mod tsit5;
mod ubu;
mod underdamped_langevin;
mod watch;
mod with_events;
mod yoshida4;

pub use adams_bashforth::AdamsBashforth;
pub use adams_bashforth_moulton::AdamsBashforthMoulton;
pub use adaptive::Adaptive;
pub use adaptive_rows::AdaptiveRows;
pub use adjoint::{Adjoint, AdjointField, adjoint};
pub use adjoint_state::AdjointState;
pub use advect_core::{
    Batched, Brownian, BrownianPath, CoreError, Counted, DeviceNoise, Elementwise, Field, Gaussian, NoiseKey, Purpose,
    Refinable, RowField, Sde, Shared, SpaceTimeLevyArea, State, TimeGrid, Times, Tolerance, Unconditional, Weighted,
    WhiteNoise, jvp, normal, shared, unconditional,
};
pub use baoab::Baoab;
pub use bosh3::BOSH3;
pub use catalog::{Entry, Family, Method, method_table, ode_methods, symplectic_methods};
pub use controller::{PiController, PidController};
pub use dense::{Dense, solve_dense};
pub use dense_stepper::{DenseStep, DenseStepper, Hermite};
pub use diagonal_sde::DiagonalSde;
pub use dopri5::DOPRI5;
pub use dopri8::DOPRI8;
pub use embedded::{Attempt, Embedded};
pub use embedded_runge_kutta::EmbeddedRungeKutta;
pub use embedded_tableau::EmbeddedTableau;
pub use error::SolveError;
pub use euler::EULER;
pub use euler_maruyama::EulerMaruyama;
pub use event::{Crossing, Event};
pub use exponential_euler_maruyama::ExponentialEulerMaruyama;
pub use heun::HEUN;
pub use heun_euler::HEUN_EULER;
pub use interpolant::{Interpolant, Way};
pub use leapfrog::LEAPFROG;
pub use midpoint::MIDPOINT;
pub use milstein::Milstein;
pub use path_driven::PathDriven;
pub use platen_weak2::PlatenWeak2;
pub use ralston::RALSTON;
pub use rk3::RK3;
pub use rk4::RK4;
pub use rk38::RK38;
pub use runge_kutta::RungeKutta;
pub use runge_kutta_milstein::RungeKuttaMilstein;
pub use save_at::{SaveAt, save_at};
pub use sde_catalog::{diagonal_sde_methods, langevin_methods, sde_methods, semilinear_methods, stratonovich_methods};
pub use sea::Sea;
pub use semilinear_sde::SemilinearSde;
pub use separable::Separable;
pub use shark::Shark;
pub use solve::solve;
pub use solve_partial::{Reached, solve_partial};
pub use splitting::{Composition, Splitting};
pub use sra::{Sra, SraTableau};
pub use sra1::SRA1;
pub use sra2::SRA2;
pub use sra3::SRA3;
pub use sri::{Sri, SriTableau};
pub use sri1::SRI1W1;
pub use sri2::SRI2W1;
pub use ssp_rk3::SSP_RK3;
pub use step_doubling::StepDoubling;
pub use stepper::{Step, Stepper};
pub use stochastic_heun::StochasticHeun;
pub use stratonovich_sde::StratonovichSde;
pub use tableau::Tableau;
pub use trajectory::{Skeleton, Trajectory, skeleton, trajectory};
pub use tsit5::TSIT5;
pub use ubu::Ubu;
pub use underdamped_langevin::UnderdampedLangevin;
pub use watch::arrive;
pub use with_events::{Occurrence, WithEvents};
pub use yoshida4::YOSHIDA4;

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
