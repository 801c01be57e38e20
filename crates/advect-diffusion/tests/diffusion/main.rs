//! The claims of advect-diffusion, in f64 first: a method of order 3 cannot be verified in f32.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod adapters;
mod catalog;
mod coordinates;
mod ends;
mod few_step;
mod few_step_table;
mod order;
mod problems;
mod stochastic;
mod table;
mod torch_noise;
