//! The tests of the solvers, in f64 first: a method of order 5 cannot be verified in f32.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod adaptive;
mod adaptive_rows;
mod adjoint;
mod catalog;
mod dense;
mod driver;
mod events;
mod methods;
mod multistep;
mod order;
mod order_conditions;
mod partial;
mod problems;
mod reference;
mod stochastic;
mod symplectic;
mod tensors;
