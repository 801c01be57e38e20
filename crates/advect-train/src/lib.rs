//! Training for generative models: objectives, AdamW, EMA, a short loop, checkpoints that survive a crash.
//!
//! An [`Objective`] maps (model, batch) to a loss; [`FlowMatching`] is one. A [`Trainer`] holds all that one step hands
//! to the next; a [`RunFolder`] keeps it on disk. Everything random is keyed by seed and example, so that a resumed run
//! continues bit for bit. Models are any Burn `Module`; nothing here knows a network.
//!
//! ```
//! use advect_paths::{AffinePath, Linear, Prediction, SourceLaw, UniformTime};
//! use advect_train::{
//!     AdamW, Batch, Ema, FlowMatching, History, LearningRate, Plan, Record, RunFolder, Trainer, Weights,
//! };
//! use burn::nn::{Linear as Layer, LinearConfig};
//! use burn::tensor::{Device, Tensor};
//!
//! let device = Device::default().autodiff();
//! // A velocity that is linear in (x, t), and data that are all at 3.
//! let forward = |layer: &Layer, x: Tensor<2>, t: Tensor<1>, _class| {
//!     layer.forward(Tensor::cat(vec![x, t.unsqueeze_dim(1)], 1)) // [batch, 2] -> [batch, 1]
//! };
//! let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
//! let objective = FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 7);
//! let plan = Plan {
//!     steps: 100,
//!     rate: LearningRate::new(0.1, 10, 100, 0.0)?,
//!     optimizer: AdamW::standard(),
//!     clip_norm: 10.0,
//!     ema: Ema::new(0.9)?,
//! };
//!
//! let mut trainer = Trainer::new(LinearConfig::new(2, 1).init(&device));
//! let mut history = History::default();
//! for step in 0..plan.steps {
//!     // The ids name the examples: no two of a run are the same.
//!     let batch = Batch::new(Tensor::<2>::full([64, 1], 3.0, &device), (step * 64..step * 64 + 64).collect());
//!     let report = trainer.step(&objective, &batch, &plan)?;
//!     history.training.push(Record { step, loss: report.loss });
//! }
//! assert!(history.training[99].loss < 0.5 * history.training[0].loss);
//!
//! # let folder = std::env::temp_dir().join(format!("advect-train-doc-{}", std::process::id()));
//! # std::fs::remove_dir_all(&folder).ok();
//! let run = RunFolder::create(&folder, "seed = 7\n")?;
//! run.save(&trainer, &history)?;
//! let (resumed, _) = run.resume(LinearConfig::new(2, 1).init(&device))?;
//! assert_eq!(resumed.step, 100);
//! assert_eq!(Weights::of(&resumed.averaged()), Weights::of(&trainer.averaged()));
//! # std::fs::remove_dir_all(&folder).ok();
//! # Ok::<(), advect_train::TrainError>(())
//! ```

mod ema;
mod error;
mod flow_matching;
mod optimizer;
mod precision;
mod rate;
mod run_folder;
mod trainer;
mod weights;

pub use ema::Ema;
pub use error::TrainError;
pub use flow_matching::{Batch, FlowMatching, Scaling, Scalings};
pub use optimizer::AdamW;
pub use precision::{Mixed, Precision};
pub use rate::LearningRate;
pub use run_folder::{FORMAT, History, Record, RunFolder, RunState, Which};
pub use trainer::{Objective, Plan, Report, Trainer, train};
pub use weights::Weights;

/// The README's example, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
