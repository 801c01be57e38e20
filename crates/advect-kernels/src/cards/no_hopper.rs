//! In builds without CUDA C++ for kernels no device runs those in it.
use super::Turned;
use crate::kernels::ConvSteps;
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

pub(super) fn takes_convolution(_: &Shape, _: &Shape, _: DType, _: ConvSteps) -> bool {
    false
}

pub(super) mod convolution {
    use super::{ConvSteps, CubeTensor, Shape};

    pub(crate) fn forward(_: CubeTensor, _: CubeTensor, _: CubeTensor, _: ConvSteps) -> CubeTensor {
        unreachable!("no device `runs` it")
    }

    pub(crate) fn slope_of_images(_: &Shape, _: CubeTensor, _: CubeTensor, _: ConvSteps) -> CubeTensor {
        unreachable!("no device `runs` it")
    }

    pub(crate) fn slope_of_kernel(_: CubeTensor, _: &Shape, _: CubeTensor, _: ConvSteps) -> CubeTensor {
        unreachable!("no device `runs` it")
    }
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
