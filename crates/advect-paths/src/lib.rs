//! Probability paths: which x_t lie between noise and data, what a network should say there, and what its answer means.
//!
//! `x_t = alpha x_1 + sigma x_0`, with noise x_0 at t = 0 and data x_1 at t = 1. A [`Schedule`] gives alpha and sigma,
//! a [`Path`] makes training pairs, the losses compare (a [`Weighting`] says how much each time counts, a
//! [`TimeSampler`] how often it is seen), [`convert`] turns any [`Prediction`] into any other, and a [`Predictor`]
//! hands a trained network to a solver as the field or the SDE it needs.
//!
//! ```
//! use advect_core::{Field, NoiseKey, Purpose, Times};
//! use advect_paths::{
//!     AffinePath, Coupling, Independent, Linear, Path, Prediction, Predictor, SourceLaw, TimeSampler, UniformTime,
//!     flow_matching_loss,
//! };
//! use burn::tensor::{Device, Tensor};
//!
//! // One training step's worth of loss.
//! let device = Device::default();
//! let ids = [0, 1, 2, 3];
//! let data: Tensor<2> = Tensor::full([4, 2], 3.0, &device);
//! let noise = NoiseKey::new(7, Purpose::Source).normal(&ids, 0, [4, 2], &device);
//! let times = Times::Each(UniformTime::new().sample(NoiseKey::new(7, Purpose::Time), &ids, 0));
//!
//! let mut coupling = Independent;
//! let (noise, data) = coupling.pair(&noise, &data).apply(noise, data);
//! let source = Coupling::<2>::source_law(&coupling, SourceLaw::GaussianIndependent);
//! let path = AffinePath::new(Linear, source);
//! let sample = path.sample(noise, data, &times)?;
//!
//! // All data are at 3, so the true denoiser is constant, and its loss is zero.
//! let denoiser = |x: Tensor<2>, _t: &Times| x.full_like(3.0);
//! let loss = flow_matching_loss(denoiser(sample.x.clone(), &times), &sample, Prediction::Data)?;
//! assert!(loss.into_scalar::<f32>() < 1e-6);
//!
//! // Sampling: the same network, read as the velocity that an ODE solver wants.
//! let predictor = Predictor { field: denoiser, prediction: Prediction::Data, schedule: Linear, source };
//! let velocity = predictor.field(Prediction::Velocity, 0.0, 0.99)?;
//! let u = velocity.eval(Tensor::<2>::full([1, 2], 1.0, &device), &Times::Shared(0.5));
//! assert_eq!(u.into_data(), Tensor::<2>::full([1, 2], 4.0, &device).into_data());
//! # Ok::<(), advect_paths::PathError>(())
//! ```

mod coupling;
mod error;
mod held;
mod interpolant;
mod latent;
mod loss;
mod path;
mod prediction;
mod predictor;
mod reschedule;
mod schedule;
mod time;
mod weighting;

pub use coupling::{Coupling, Independent, Pairing};
pub use error::PathError;
pub use interpolant::{
    Interpolant, InterpolantField, InterpolantPredictor, InterpolantSample, ScoreHead, VelocityHead,
};
pub use latent::{BrownianBridge, Latent, SineSquared};
pub use loss::{
    adaptive_loss, flow_matching_loss, prediction_loss, row_losses, score_matching_loss, uncertainty_loss,
    weighted_loss, weighted_row_losses,
};
pub use path::{AffinePath, Path, PathSample};
pub use prediction::{Prediction, SourceLaw, convert, convert_output};
pub use predictor::{Converted, Drift, Predictor};
pub use reschedule::Rescheduled;
pub use schedule::{Coefficients, Cosine, Custom, Edm, Linear, LinearVp, Polynomial, Schedule, SigmaMin, Ve, Vp};
pub use time::{
    CosineTime, ImportanceTime, LogNormalSigmaTime, LogitNormalTime, ModeTime, StratifiedTime, TimeLaw, TimeSampler,
    UniformTime,
};
pub use weighting::{
    CosMapWeighting, DataWeighting, EdmWeighting, LikelihoodWeighting, MinSnrWeighting, NoiseWeighting,
    SigmaSqrtWeighting, SoftMinSnrWeighting, VWeighting, VelocityWeighting, Weighting,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
