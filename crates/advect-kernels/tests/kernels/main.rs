//! Every operator against plain loops in f64, its gradients against central differences of those loops and against
//! Burn's own autodiff.
//!
//! The tests hold with the feature `flex` (fast paths) and without it (Burn's operators): the tensors live on Flex
//! either way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod activation;
mod attention;
mod check;
mod conv2d;
mod group_norm;
mod layer_norm;
mod linear;
mod optimizer;
mod squared_error;
mod weighted_sum;
