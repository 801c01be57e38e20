//! From a network to a checkpoint.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};

use super::mapping::{Mapping, Slot};
use super::numbers::transpose;
use super::{CheckpointError, Form, Known, Layout, Tensors};

/// The network's weights under the checkpoint's names, in its arrangement and in the network's types: what [`load`]
/// reads, byte for byte.
///
/// [`load`]: super::load
///
/// # Errors
/// [`CheckpointError::Layout`] if the table does not describe the network, [`CheckpointError::Numbers`] if a weight
/// cannot be read from its device.
pub fn export<M: Module>(module: &M, layout: &Layout) -> Result<Tensors, CheckpointError> {
    let mapping = Mapping::of(module, layout)?;
    let mut exporter = Exporter { mapping: &mapping, path: Vec::new(), tensors: Tensors::new(), failed: None };
    module.visit(&mut exporter);
    if let Some(error) = exporter.failed {
        return Err(error);
    }
    let mut tensors = exporter.tensors;
    let known = Known { ours: &mapping.shapes, theirs: None };
    let constants = layout.constants.iter();
    tensors.extend(constants.filter_map(|constant| Some((constant.theirs.to_owned(), (constant.value)(&known)?))));
    Ok(tensors)
}

struct Exporter<'a> {
    mapping: &'a Mapping,
    path: Vec<String>,
    tensors: Tensors,
    failed: Option<CheckpointError>,
}

impl Exporter<'_> {
    /// Splits our parameter into theirs.
    fn split(&mut self, slot: &Slot, data: TensorData) -> Result<(), String> {
        let dtype = data.dtype();
        let mut bytes = match (slot.form, &data.shape().to_vec()[..]) {
            (Form::Linear | Form::Conv1x1 | Form::Swapped, &[from, to]) => {
                transpose(data.as_bytes(), [from, to], dtype.size())
            }
            _ => data.as_bytes().to_vec(),
        };
        if slot.form == Form::Swapped {
            let half = bytes.len() / 2;
            bytes.rotate_left(half);
        }
        let parts = if slot.copies { 1 } else { slot.theirs.len() };
        let size = bytes.len() / parts.max(1);
        for (index, name) in slot.theirs.iter().enumerate() {
            let start = if slot.copies { 0 } else { index * size };
            let part = bytes[start..start + size].to_vec();
            let part = TensorData::try_from_bytes_vec(part, slot.shape.clone(), dtype);
            self.tensors.insert(name.clone(), part.map_err(|error| error.to_string())?);
        }
        Ok(())
    }
}

impl ModuleVisitor for Exporter<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let mapping = self.mapping;
        let Some(slot) = mapping.slots.get(&name).filter(|_| self.failed.is_none()) else { return };
        // A device read, for a file.
        let data = param.val().inner().try_into_data().map_err(|error| error.to_string());
        if let Err(reason) = data.and_then(|data| self.split(slot, data)) {
            self.failed = Some(CheckpointError::Numbers { name, reason });
        }
    }
}
