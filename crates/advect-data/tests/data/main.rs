//! Data against independent facts, pictures pixel by pixel.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests are no `#[test]` functions")]

mod digits;
mod mnist;
mod order;
mod pictures;
mod sets;
mod toys;
