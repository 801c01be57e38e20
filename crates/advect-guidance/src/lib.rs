//! Guidance as decorators over fields: a guided field is a field, and any solver takes it.
//!
//! Classifier-free guidance, autoguidance and negative prompts are one formula, `weak + w(t) (strong - weak)`.
//! [`Guided`] evaluates two fields; [`Paired`] evaluates one network once, on a batch of both. `w` is any function of
//! time: [`constant`], [`interval`] or a closure.
//!
//! Over either of them: [`Rescaled`] (CFG rescale), [`ZeroStar`] (CFG-Zero*), [`Projected`] (APG), [`LayerSkipped`]
//! (skip-layer guidance). Over other fields: [`Composed`] (several conditions, and / not), [`GradientGuided`]
//! (classifiers, rewards, with [`gradient`](fn@gradient) by autodiff), [`PosteriorSampling`] and [`DataConsistent`]
//! (inverse problems), [`DynamicThreshold`].
//!
//! ```
//! use advect_core::{Field, RowField, Times};
//! use advect_guidance::{Guided, Paired, constant};
//!
//! /// A "network" whose velocity points to the label of each row; its null label is 0.
//! #[derive(Clone)]
//! struct Labelled(Vec<f64>);
//!
//! impl Field<Vec<f64>> for Labelled {
//!     fn eval(&self, x: Vec<f64>, _t: &Times) -> Vec<f64> {
//!         x.iter().zip(&self.0).map(|(x, label)| label - x).collect()
//!     }
//! }
//!
//! impl RowField<Vec<f64>> for Labelled {
//!     fn select(&self, rows: &[usize]) -> Self {
//!         Self(rows.iter().map(|&r| self.0[r]).collect())
//!     }
//! }
//!
//! let (x, t) = (vec![1.0, 1.0], Times::Shared(0.5));
//! // Two networks, or one called twice ...
//! let guided = Guided { strong: Labelled(vec![3.0, 4.0]), weak: Labelled(vec![0.0, 0.0]), scale: constant(2.0) };
//! assert_eq!(guided.eval(x.clone(), &t), [5.0, 7.0]);
//! // ... or one network called once: its first half has the labels, its second half the null label.
//! let paired = Paired::new(Labelled(vec![3.0, 4.0, 0.0, 0.0]), 2, constant(2.0));
//! assert_eq!(paired.eval(x, &t), [5.0, 7.0]);
//! ```

mod composed;
mod contrast;
mod error;
mod gradient;
mod guided;
mod layer_skipped;
mod operator;
mod paired;
mod posterior;
mod products;
mod projected;
mod rescaled;
mod scale;
mod threshold;
mod zero_star;

pub use composed::Composed;
pub use contrast::Contrast;
pub use error::GuidanceError;
pub use gradient::{Gradient, GradientGuided, gradient};
pub use guided::Guided;
pub use layer_skipped::LayerSkipped;
pub use operator::{AveragePool, Inpainting, LinearOperator, Measurement, unit_spread};
pub use paired::Paired;
pub use posterior::{DataConsistent, PosteriorSampling};
pub use products::{Factors, RowProducts};
pub use projected::{Momentum, Projected};
pub use rescaled::Rescaled;
pub use scale::{constant, interval};
pub use threshold::{DynamicThreshold, Threshold};
pub use zero_star::ZeroStar;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
