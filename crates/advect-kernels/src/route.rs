//! Which tensors may enter the extension.
use burn::backend::{DispatchTensor, DispatchTensorKind};
use burn::tensor::Tensor;

/// Whether the tensor lives on a backend that the extension lists: its generated dispatch panics on any other, and
/// Cargo may have turned a backend on in Burn, for another crate, without turning it on here.
pub(crate) fn listed(tensor: &DispatchTensor) -> bool {
    kind(&tensor.kind)
}

fn kind(tensor: &DispatchTensorKind) -> bool {
    match tensor {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        #[cfg(feature = "cube")]
        DispatchTensorKind::Cube(_) => true,
        #[cfg(feature = "remote")]
        DispatchTensorKind::Remote(_) => true,
        DispatchTensorKind::Autodiff(inner) => kind(inner),
        #[allow(unreachable_patterns)] // With every backend of Burn's listed above nothing is left.
        _ => false,
    }
}

/// Whether the tensor lies in the processor's memory, where reading a number costs little. Without the feature `flex`
/// none is known to.
pub fn on_processor<const D: usize>(x: &Tensor<D>) -> bool {
    on_flex(&x.clone().into_dispatch().kind)
}

/// Whether the tensor is known to live on another machine.
pub(crate) fn elsewhere<const D: usize>(x: &Tensor<D>) -> bool {
    #[cfg(feature = "remote")]
    {
        on_server(&x.clone().into_dispatch().kind)
    }
    #[cfg(not(feature = "remote"))]
    {
        let _ = x;
        false
    }
}

#[cfg(feature = "remote")]
fn on_server(tensor: &DispatchTensorKind) -> bool {
    match tensor {
        DispatchTensorKind::Remote(_) => true,
        DispatchTensorKind::Autodiff(inner) => on_server(inner),
        _ => false,
    }
}

fn on_flex(tensor: &DispatchTensorKind) -> bool {
    match tensor {
        #[cfg(feature = "flex")]
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => on_flex(inner),
        #[allow(unreachable_patterns)] // Flex may be the only backend.
        _ => false,
    }
}
