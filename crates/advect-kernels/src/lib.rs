//! Fused tensor operators for [Burn](burn): activations, normalisations (with SiLU or a modulation behind them), gated
//! residuals, attention and 2-D convolution.
//!
//! On Burn's CPU backend Flex, with the feature `flex`, `f32` tensors take vectorised fast paths, forward and backward.
//! Cards have kernels for what memory and launches bound: norms, attention between its products, sums over rows, the
//! optimizer. Everything else runs the same functions on Burn's own operators. No function depends on a backend at
//! compile time: the tensors say where they live, whether gradients are tracked, and so which path runs.
//!
//! ```
//! use advect_kernels::{conv2d, group_norm_silu};
//! use burn::tensor::{Device, Distribution, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device = Device::flex().autodiff();
//! let x = Tensor::<4>::random([2, 8, 4, 4], Distribution::Default, &device);
//! let weight = Tensor::<4>::random([16, 8, 3, 3], Distribution::Default, &device).require_grad();
//! let (gamma, beta) = (Tensor::ones([8], &device), Tensor::zeros([8], &device));
//!
//! let h = group_norm_silu(x, 4, gamma, beta, 1e-5);
//! let y = conv2d(h, weight.clone(), None, [1, 1], [1, 1]);
//! assert_eq!(y.dims(), [2, 16, 4, 4]);
//!
//! let gradients = y.sum().backward();
//! let slope = weight.grad(&gradients).ok_or("the weight has no gradient")?;
//! assert_eq!(slope.dims(), [16, 8, 3, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! # Promises
//!
//! - The same inputs give the same bits on the same machine, whatever the number of threads and their scheduling.
//! - An image's output does not depend on the other images of its batch, and a row's not on the other rows; but [`linear`] and
//!   [`silu_chain`] choose their way by the number of rows too, which may change the last bits.
//! - Strided, permuted and sliced inputs are accepted, and batches of zero images.
//! - Gradients are of first order, as everywhere in Burn.
//!
//! # Features
//!
//! `flex` turns the fast paths on. `cpu`, `cuda`, `metal`, `rocm`, `vulkan`, `webgpu`, `wgpu` and `remote` give the
//! backward passes of this crate to the backends of these names: they keep less for the backward pass than a chain of
//! operators does. A backend that is on in Burn but not here works too.
#![deny(unsafe_code)]

mod activation;
mod attention;
#[cfg(feature = "cube")]
mod cards;
mod casts;
mod chacha;
mod composed;
mod conv2d;
#[cfg(feature = "flex")]
mod flex;
mod gradient;
mod group_norm;
#[cfg(feature = "flex")]
#[allow(unsafe_code)]
// Vector loads and stores, and buffers written before they are read; each block says why it is sound.
mod host;
mod kernels;
mod layer_norm;
mod linear;
mod memory;
mod optimizer;
mod parallel;
mod permute;
mod route;
mod squared_error;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // Loads of whole rows.
mod squares;
#[allow(unsafe_code)]
// Calls of functions that want more of the processor than every one has, behind a look at this one.
mod vectorized;
mod weighted_sum;

pub use activation::{exp, gelu, gelu_tanh, sigmoid, silu, softmax, softplus, tanh};
pub use attention::{attention, self_attention};
pub use casts::{casts, stand_in};
pub use chacha::chacha8_heads;
pub use conv2d::{conv2d, row_major};
pub use group_norm::{group_norm, group_norm_silu, modulated_group_norm_silu};
pub use layer_norm::{gated_residual, layer_norm, modulate, modulated_layer_norm, rms_norm};
pub use linear::{beside, columns, feed_forward, gelu_linear, gelu_tanh_linear, linear, silu_chain, silu_linear};
pub use memory::keep_freed_memory;
pub use optimizer::{AdamW, AdamWState, adamw, adamw_all, sum_of_squares, sums_of_squares};
pub use parallel::parallel_map;
pub use permute::permute;
pub use route::on_processor;
pub use squared_error::mean_squared_error;
pub use vectorized::{Vectorized, vectorized};
pub use weighted_sum::{weighted_sum, weighted_sum_rows};
