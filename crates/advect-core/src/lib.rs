//! The nouns that every other crate of advect speaks: [`State`], [`Field`], [`Times`], [`TimeGrid`], [`Tolerance`],
//! keyed noise and Brownian paths.
//!
//! Conventions, once and for all: t = 0 is noise (the source), t = 1 is data; arguments are `(x, t)`; the batch is
//! axis 0; time is `f64` on the host.
//!
//! ```
//! use advect_core::{Field, State, TimeGrid, Times, shared};
//!
//! // dx/dt = -x, by hand: a solver is a loop over a grid that only knows `State` and `Field`.
//! let field = shared(|x: f64, _t: f64| -x);
//! let grid = TimeGrid::uniform(0.0, 1.0, 1000)?;
//! let mut x = 1.0;
//! for step in grid.points().windows(2) {
//!     let velocity = field.eval(x, &Times::Shared(step[0]));
//!     x = x.combine(1.0, &[(step[1] - step[0], &velocity)]);
//! }
//! assert!((x - (-1.0_f64).exp()).abs() < 2e-4);
//! # Ok::<(), advect_core::CoreError>(())
//! ```

mod brownian;
mod brownian_path;
mod elementwise;
mod error;
mod field;
mod grid;
mod noise;
mod sample_rng;
mod sde;
mod state;
mod times;
mod tolerance;
mod weighted;

pub use brownian::{Brownian, Refinable, SpaceTimeLevyArea, WhiteNoise};
pub use brownian_path::BrownianPath;
pub use elementwise::Elementwise;
pub use error::CoreError;
pub use field::{Counted, Field, RowField, Shared, Unconditional, jvp, shared, unconditional};
pub use grid::TimeGrid;
pub use noise::{DeviceNoise, Gaussian, NoiseKey, Purpose, normal};
pub use sample_rng::SampleRng;
pub use sde::Sde;
pub use state::{Batched, State};
pub use times::Times;
pub use tolerance::Tolerance;
pub use weighted::Weighted;

/// Runs the example of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
