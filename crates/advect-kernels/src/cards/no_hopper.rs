//! In builds without CUDA C++ for kernels no device runs those in it.
use super::Turned;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeDevice;
use burn_cubecl::tensor::CubeTensor;

pub(super) fn runs(_: &CubeDevice) -> bool {
    false
}

pub(super) fn takes_product(_: &Shape, _: &Shape, _: DType, _: Turned) -> bool {
    false
}

pub(super) fn takes_attention(_: &Shape, _: DType, _: usize) -> bool {
    false
}

pub(super) fn product(_: CubeTensor, _: CubeTensor, _: Option<CubeTensor>, _: Turned) -> CubeTensor {
    unreachable!("no device `runs` it")
}

pub(super) enum After {
    Gelu,
    GeluOfKept,
}

pub(super) fn product_then(
    _: CubeTensor,
    _: CubeTensor,
    _: Option<CubeTensor>,
    _: Turned,
    _: After,
) -> (CubeTensor, Option<CubeTensor>) {
    unreachable!("no device `runs` it")
}

pub(super) fn attention_forward(_: CubeTensor, _: usize) -> CubeTensor {
    unreachable!("no device `runs` it")
}

pub(super) fn attention_backward(_: CubeTensor, _: CubeTensor, _: usize) -> CubeTensor {
    unreachable!("no device `runs` it")
}
