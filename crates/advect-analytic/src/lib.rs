//! Closed forms as functions of plain numbers, and the statistics harness that advect is tested against.

pub mod diagonal_mixture;
pub mod gaussian;
pub mod mixture;
pub mod order;
pub mod ornstein_uhlenbeck;
pub mod statistics;
