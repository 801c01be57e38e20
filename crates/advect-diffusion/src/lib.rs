//! The samplers of diffusion models as [`Stepper`](advect_solvers::Stepper)s over a
//! [`Predictor`](advect_paths::Predictor) and any [`Schedule`](advect_paths::Schedule).
//!
//! They share one idea: in `lambda = ln(alpha / sigma)` the probability flow is linear in x but for the network's
//! prediction ([`Coordinates`]), so that a method only has to approximate how the prediction changes. The one
//! [`solve`](advect_solvers::solve) runs them on a [`TimeGrid`](advect_core::TimeGrid), from t = 0 (noise) to
//! t = 1 (data), or down for inversion.
//!
//! ```
//! use advect_core::shared;
//! use advect_diffusion::Ddim;
//! use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
//! use advect_solvers::{TimeGrid, solve};
//!
//! // Data N(0, 1): the velocity of the linear path in closed form.
//! let velocity = |x: f64, t: f64| (2.0 * t - 1.0) / (t * t + (1.0 - t) * (1.0 - t)) * x;
//! let model = Predictor {
//!     field: shared(velocity),
//!     prediction: Prediction::Velocity,
//!     schedule: Linear,
//!     source: SourceLaw::GaussianIndependent,
//! };
//! let x = solve(&model, Ddim, 0.8, &TimeGrid::uniform(0.0, 1.0, 100)?)?;
//! assert!((x - 0.8).abs() < 0.02);
//! # Ok::<(), advect_solvers::SolveError>(())
//! ```
//!
//! Without noise ([`diffusion_methods`]):
//!
#![doc = include_str!("diffusion_methods.md")]
//!
//! With noise ([`diffusion_sde_methods`]); the weak order is that of the variance of Gaussian data:
//!
#![doc = include_str!("diffusion_sde_methods.md")]
//!
//! For models that were distilled to jump ([`few_step_methods`]): exact in law for such a model, of order 0 on a plain
//! denoiser, whose samples they leave blurred however many steps are taken.
//!
#![doc = include_str!("few_step_methods.md")]
//!
//! Time grids by name ([`named_grids`]); those made for one model on a pilot batch are [`optimize_grid`] and
//! [`FittedMultistep`]:
//!
#![doc = include_str!("grids.md")]
//!
//! Lu et al. 2022a is "DPM-Solver", 2022b "DPM-Solver++"; the others are named at the samplers. Around any sampler:
//! [`Restarted`], [`LangevinCorrected`], [`Ended`]; with step control: [`AdaptiveDpm`]. All move a batch at one time.

mod adaptive_dpm;
mod ancestral;
mod ancestral_steps;
mod catalog;
mod consistency;
mod coordinates;
mod ddim;
mod deis;
mod denoiser;
mod discrete_schedule;
mod dpm_solver_2;
mod dpm_solver_3;
mod dpm_solver_pp_2s;
mod dpm_solver_pp_3s;
mod dpm_solver_pp_multistep;
mod edm_churn;
mod edm_heun;
mod error;
mod grid;
mod history;
mod ipndm;
mod langevin_corrected;
mod lms;
mod pndm;
mod preconditioning;
mod renoise;
mod restarted;
mod reverse;
mod sa_solver;
mod sde_dpm_solver_pp;
mod seeds;
mod singlestep;
mod tcd;
mod terminal;
mod thresholding;
mod uni_pc;
mod weights;

pub use adaptive_dpm::{AdaptiveDpm, DpmPair};
pub use ancestral::Ancestral;
pub use ancestral_steps::AncestralSteps;
pub use catalog::{diffusion_methods, diffusion_sde_methods, few_step_methods};
pub use consistency::Consistency;
pub use coordinates::Coordinates;
pub use ddim::Ddim;
pub use deis::Deis;
pub use denoiser::Denoiser;
pub use discrete_schedule::DiscreteSchedule;
pub use dpm_solver_2::DpmSolver2;
pub use dpm_solver_3::DpmSolver3;
pub use dpm_solver_pp_2s::DpmSolverPp2S;
pub use dpm_solver_pp_3s::DpmSolverPp3S;
pub use dpm_solver_pp_multistep::DpmSolverPpMultistep;
pub use edm_churn::{Churn, EdmChurn};
pub use edm_heun::EdmHeun;
pub use error::DiffusionError;
pub use grid::{
    Beta, CheapestPath, CosineSpacing, DdpmSpacing, DdpmSubset, DdpmTable, Exponential, FittedMultistep, FittedStepper,
    GridRule, Karras, NamedGrid, OptimizedGrid, Pilot, PolyExponential, Quadratic, Shifted, SigmaRange, Spacing,
    Uniform, UniformLogSnr, WithoutLast, cheapest_path, grid_table, local_error_grid, named_grids, optimize_grid,
};
pub use history::Order;
pub use ipndm::Ipndm;
pub use langevin_corrected::LangevinCorrected;
pub use lms::Lms;
pub use pndm::Pndm;
pub use preconditioning::{Preconditioned, Preconditioning};
pub use renoise::renoise;
pub use restarted::Restarted;
pub use sa_solver::SaSolver;
pub use sde_dpm_solver_pp::SdeDpmSolverPp;
pub use seeds::Seeds;
pub use tcd::Tcd;
pub use terminal::{Ended, Terminal, denoised};
pub use thresholding::{Clip, Thresholded, Thresholding};
pub use uni_pc::{UniPc, UniPcVariant};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
