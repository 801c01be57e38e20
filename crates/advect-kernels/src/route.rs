//! Which tensors may enter the extension.
use burn::backend::{DispatchTensor, DispatchTensorKind};

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
