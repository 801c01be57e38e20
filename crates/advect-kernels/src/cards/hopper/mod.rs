//! Kernels in CUDA C++ for NVIDIA's Hopper (compute capability 9.0), in half precision: products, convolutions and attention.
//!
//! CubeCL has neither the instructions that keep such a card's matrix units busy (`wgmma`: a group of four warps multiplies what lies in shared memory while it
//! goes on) nor a way to write them; its products reach 40 to 70 % of cuBLAS's there. What is here is text between CubeCL's own arguments, so that
//! memory, streams, caches and the copy engine's tensor maps are CubeCL's. Builds whose compiler of kernels is LLVM (`cuda` without `cuda-cpp`) do without.
//!
//! They are compiled for the card and run by an emulator (`tools/hopper-emulator`), but no card has run them yet: only `ADVECT_HOPPER=1` turns them on.
mod attention;
pub(super) mod convolution;
mod product;
mod text;

pub(super) use attention::{backward as attention_backward, forward as attention_forward};
pub(super) use product::{After, product, product_then};

use super::{Turned, evenly_spaced, into_contiguous, places};
use crate::kernels::ConvSteps;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::cuda::CudaCompiler;
use cubecl::ir::ElemType;
use cubecl::prelude::*;
use cubecl::zspace::{Shape as MapShape, Strides};
use std::env;
use std::sync::OnceLock;

/// Multiprocessors of a card that runs such text.
fn multiprocessors(client: &Client) -> Option<u32> {
    let properties = client.properties();
    let hopper = client.name() == "cuda" && properties.identity.fingerprint == "ptx_sm90";
    let text = matches!(CudaCompiler::default(), CudaCompiler::Cpp(_));
    if hopper && text { properties.hardware.num_streaming_multiprocessors } else { None }
}

/// Whether the kernels here run on a device.
pub(super) fn runs(device: &CubeDevice) -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| env::var("ADVECT_HOPPER").is_ok_and(|value| value == "1"))
        && multiprocessors(&device.client()).is_some()
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// Whether a product is for the kernel here: rows that the copy engine takes, and enough to do.
pub(super) fn takes_product(a: &Shape, b: &Shape, dtype: DType, turned: Turned) -> bool {
    let [m, n, k] = turned.sizes(a, b);
    let even = |s: &Shape| s[s.num_dims() - 1].is_multiple_of(8);
    is_half(dtype) && even(a) && even(b) && n.is_multiple_of(8) && m * n * k >= 1 << 15
}

/// Whether a convolution is.
pub(super) fn takes_convolution(x: &Shape, weight: &Shape, dtype: DType, steps: ConvSteps) -> bool {
    is_half(dtype) && convolution::takes(x, weight, steps)
}

/// Whether attention is: heads of some multiple of 8.
pub(super) fn takes_attention(joined: &Shape, dtype: DType, heads: usize) -> bool {
    is_half(dtype) && joined[2].is_multiple_of(3 * heads) && attention::takes(joined[2] / (3 * heads))
}

/// The numbers of a tensor `[.., rows, columns]` with the rows evenly spaced, each beginning at a multiple of 16 bytes, and how many numbers lie between
/// their beginnings.
fn aligned_lines(x: CubeTensor) -> (CubeTensor, usize) {
    let pitch_of = |x: &CubeTensor| {
        let (shape, strides) = (x.meta.shape(), x.meta.strides());
        let last = shape.num_dims() - 1;
        (0..last).rev().find(|&i| shape[i] > 1).map_or(shape[last], |i| strides[i])
    };
    let in_place = evenly_spaced(&x) && pitch_of(&x).is_multiple_of(8) && places(&x) < super::MOST_PLACES;
    let x = if in_place { x } else { into_contiguous(x) };
    let x = if x.handle.offset_start.unwrap_or(0).is_multiple_of(16) { x } else { into_contiguous(x.copy()) };
    let pitch = pitch_of(&x);
    (x, pitch)
}

/// A map for the copy engine: boxes of a view of a tensor's memory, their rows of 128 bytes swizzled, zeros beyond the view.
fn map(x: &CubeTensor, shape: &[usize], strides: &[usize], tile: &[usize], elem: ElemType) -> TensorMapArg<Tiled> {
    let tensor = TensorBinding {
        handle: x.handle.clone().binding(),
        shape: MapShape::from(shape.to_vec()),
        strides: Strides::new(strides),
        tiling: Default::default(),
    };
    TensorMapArg::new(TiledArgs { tile_size: MapShape::from(tile.to_vec()) }, tensor.into_tensor_arg(), elem)
        .with_swizzle(TensorMapSwizzle::B128)
        .with_prefetch(TensorMapPrefetch::B256)
}
