//! The networks against diffusers, closed forms and finite differences.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests are no `#[test]` functions"
)]

mod autoencoder;
mod checkpoint;
mod checkpoint_files;
mod checkpoint_fuzz;
mod config;
mod diffusers;
mod dit;
mod embedding;
mod fixture;
mod mlp;
mod mm_dit;
mod unet;
