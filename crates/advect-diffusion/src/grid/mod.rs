//! Time grids: where a sampler evaluates the model.
//!
//! A [`Spacing`] makes a [`TimeGrid`](advect_core::TimeGrid) for any schedule, in our time: t = 0 noise, t = 1 data.
//! Grids that are published in noise levels take `sigma` as `sigma / alpha`, which is sigma itself where alpha is 1.

mod beta;
mod catalog;
mod cosine;
mod ddpm;
mod dynamic_programming;
mod exponential;
mod fitted;
mod karras;
mod least_squares;
mod nelder_mead;
mod optimize;
mod pilot;
mod poly_exponential;
mod quadratic;
mod shifted;
mod sigmas;
mod spacing;
mod uniform;
mod uniform_log_snr;

pub use beta::Beta;
pub use catalog::{GridRule, NamedGrid, grid_table, named_grids};
pub use cosine::CosineSpacing;
pub use ddpm::{DdpmSpacing, DdpmSubset, DdpmTable};
pub use dynamic_programming::{CheapestPath, cheapest_path};
pub use exponential::Exponential;
pub use fitted::{FittedMultistep, FittedStepper};
pub use karras::Karras;
pub use optimize::{OptimizedGrid, local_error_grid, optimize_grid};
pub use pilot::Pilot;
pub use poly_exponential::PolyExponential;
pub use quadratic::Quadratic;
pub use shifted::Shifted;
pub use sigmas::SigmaRange;
pub use spacing::{Spacing, WithoutLast};
pub use uniform::Uniform;
pub use uniform_log_snr::UniformLogSnr;
