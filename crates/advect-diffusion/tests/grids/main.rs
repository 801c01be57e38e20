//! Time grids: published values, ends, errors; and grids that are made for a model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod catalog;
mod field;
mod fitted;
mod optimized;
mod published;
mod rules;
