//! The tests of the nouns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "helpers of tests")]

mod brownian;
mod fields;
mod noise;
mod space_time;
mod states;
mod times;
mod weighted;
