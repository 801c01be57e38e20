//! Generative models that move one distribution into another, on Burn: the facade of the advect crates.
//!
//! | module | crate | what it holds |
//! | --- | --- | --- |
//! | [`core`] | `advect-core` | states, fields, times, grids, keyed noise |
//! | [`solvers`] | `advect-solvers` | ODE and SDE steppers, adaptive control, `solve` |
//! | [`diffusion`] | `advect-diffusion` | samplers of diffusion models: DDIM, DPM-Solver, UniPC and their relatives |
//! | [`paths`] | `advect-paths` | schedules, predictions, couplings, time samplers, losses |
//! | [`guidance`] | `advect-guidance` | classifier-free guidance and its relatives |
//! | [`nn`] | `advect-nn` | backbones |
//! | [`data`] | `advect-data` | datasets, image grids, animations |
//! | [`train`] | `advect-train` | objectives, EMA, the loop, checkpoints |
//!
//! The backend is a Cargo feature (`flex`, the default, `wgpu`, `vulkan`, `metal`, `rocm`, `cuda`, `cuda-cpp`, `remote`); no source
//! changes with it.
//!
//! ```
//! use advect::prelude::*;
//!
//! // The flow of N(0, 1) to N(3, 1) along the linear path is known: transport 1,000 points with four RK4 steps.
//! let device = advect::device::choose(None)?.device;
//! let noise: Tensor<2> = NoiseKey::new(0, Purpose::Source).normal(&(0..1000).collect::<Vec<_>>(), 0, [1000, 1], &device);
//! let velocity = shared(|x: Tensor<2>, t: f64| {
//!     let variance = t * t + (1.0 - t) * (1.0 - t);
//!     (x - 3.0 * t) * ((2.0 * t - 1.0) / variance) + 3.0
//! });
//! let data = solve(&velocity, RK4.stepper(), noise, &TimeGrid::uniform(0.0, 1.0, 4)?)?;
//! let mean = data.mean().into_scalar::<f32>();
//! assert!((mean - 3.0).abs() < 0.1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub use advect_core as core;
#[cfg(feature = "data")]
pub use advect_data as data;
#[cfg(feature = "diffusion")]
pub use advect_diffusion as diffusion;
#[cfg(feature = "guidance")]
pub use advect_guidance as guidance;
pub use advect_kernels as kernels;
#[cfg(feature = "nn")]
pub use advect_nn as nn;
#[cfg(feature = "paths")]
pub use advect_paths as paths;
#[cfg(feature = "solvers")]
pub use advect_solvers as solvers;
#[cfg(feature = "train")]
pub use advect_train as train;
pub use burn;

#[cfg(feature = "nn")]
pub mod backbone;
pub mod device;

/// What most programs need: `use advect::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "nn")]
    pub use crate::backbone::{Backbone, Conditioned};
    pub use advect_core::{
        Batched, Counted, Field, NoiseKey, Purpose, RowField, Sde, State, TimeGrid, Times, Tolerance, shared,
        unconditional,
    };
    #[cfg(feature = "data")]
    pub use advect_data::{Dataset, Toy};
    #[cfg(feature = "diffusion")]
    pub use advect_diffusion::{Ddim, Denoiser};
    #[cfg(feature = "guidance")]
    pub use advect_guidance::Guided;
    #[cfg(feature = "nn")]
    pub use advect_nn::{DiT, DiTConfig, Mlp, MlpConfig, UNet, UNetConfig};
    #[cfg(feature = "paths")]
    pub use advect_paths::{
        AffinePath, Cosine, Coupling, ExactOt, Independent, Linear, LogitNormalTime, Path, Prediction, Predictor,
        Schedule, SourceLaw, UniformTime, Weighting, flow_matching_loss,
    };
    #[cfg(feature = "solvers")]
    pub use advect_solvers::{
        Adaptive, AdaptiveRows, BOSH3, DOPRI5, EULER, EulerMaruyama, HEUN, MIDPOINT, PiController, RK4, TSIT5, solve,
        trajectory,
    };
    #[cfg(feature = "train")]
    pub use advect_train::{AdamW, Batch, Ema, FlowMatching, LearningRate, Plan, Precision, RunFolder, Trainer, train};
    pub use burn::tensor::{Device, Tensor};
}
