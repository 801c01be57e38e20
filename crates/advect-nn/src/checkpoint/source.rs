//! Where the tensors of a checkpoint come from.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};
use serde::{Deserialize, Serialize};

use super::CheckpointError;

/// Named tensors on the host, under the names and in the arrangement of PyTorch.
pub type Tensors = BTreeMap<String, TensorData>;

/// The names, shapes and types of a checkpoint, without its numbers.
///
/// In JSON, where the tests keep those of published checkpoints: `{"name": {"shape": [2, 3], "dtype": "F32"}}`.
pub type Manifest = BTreeMap<String, Entry>;

/// What a [`Manifest`] says about a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its shape.
    pub shape: Vec<usize>,
    /// The type of its numbers.
    pub dtype: DType,
}

/// A checkpoint whose tensors are read one at a time: [`Tensors`] in memory, or an open file.
pub trait Source {
    /// The names, shapes and types.
    fn manifest(&self) -> Manifest;

    /// The tensor of that name.
    ///
    /// # Errors
    /// If there is none, or if it cannot be read.
    fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError>;
}

impl Source for Tensors {
    fn manifest(&self) -> Manifest {
        let entry = |data: &TensorData| Entry { shape: data.shape().to_vec(), dtype: data.dtype() };
        self.iter().map(|(name, data)| (name.clone(), entry(data))).collect()
    }

    fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        self.get(name).cloned().ok_or_else(|| no_tensor(name))
    }
}

/// There is no such tensor.
pub(crate) fn no_tensor(name: &str) -> CheckpointError {
    CheckpointError::Numbers { name: name.to_owned(), reason: "there is no such tensor".to_owned() }
}
