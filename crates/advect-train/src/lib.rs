//! Training for generative models: objectives, AdamW, EMA, a loop of forty lines, checkpoints that survive a crash.
//!
//! Everything random is keyed by (seed, step), so a resumed run continues bit for bit.

mod ema;
mod error;
mod flow_matching;
mod optimizer;
mod rate;
mod run_folder;
mod trainer;
mod weights;

pub use ema::Ema;
pub use error::TrainError;
pub use flow_matching::{Batch, FlowMatching};
pub use optimizer::AdamW;
pub use rate::LearningRate;
pub use run_folder::{FORMAT, History, Record, RunFolder, RunState, Which};
pub use trainer::{Objective, Plan, Report, Trainer, train};
pub use weights::Weights;
