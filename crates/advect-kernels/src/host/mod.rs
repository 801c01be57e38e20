//! Operators on host slices of `f32`: no tensors and no backend.
//!
//! Work is cut into pieces whose size depends on the shapes alone, never on the number of threads, and each piece is
//! summed in one order: the same inputs give the same bits on the same machine however the threads are scheduled.
pub(crate) mod activation;
pub(crate) mod attention;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod buffer;
pub(crate) mod conv2d;
pub(crate) mod elementwise;
mod few_rows;
pub(crate) mod group_norm;
mod lanes;
pub(crate) mod linear;
mod matrix;
pub(crate) mod mix;
pub(crate) mod optimizer;
mod panels;
mod product;
pub(crate) mod rows;
pub(crate) mod small_linear;
pub(crate) mod softmax;
pub(crate) mod squared_error;
pub(crate) mod threads;
#[cfg(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu"))]
mod tiles;
#[cfg(not(all(target_arch = "x86_64", target_os = "linux", target_env = "gnu")))]
#[path = "no_tiles.rs"]
mod tiles;
pub(crate) mod weighted_sum;
