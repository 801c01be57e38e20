//! Training against PyTorch, closed forms, and crashes at every moment of a save.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are no `#[test]` functions")]

mod crash;
mod flow_matching;
mod optimizer;
mod precision;
mod resume;
mod setup;
mod steps;
mod values;
mod weights;
