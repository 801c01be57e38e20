//! From a checkpoint into a network.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, FloatDType, Tensor, TensorData};

use super::mapping::{Mapping, Slot};
use super::numbers::{not_finite, transpose};
use super::{CheckpointError, Form, Known, Layout, Manifest, Source};

/// Which numbers a checkpoint may hold, and in which type the network gets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// The type of the loaded weights.
    pub dtype: Precision,
    /// What to do about weights that are NaN or infinite.
    pub numbers: Numbers,
}

/// The type of loaded weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Each weight keeps the type it has in the checkpoint.
    #[default]
    Kept,
    /// All weights are rounded or widened to this type.
    Cast(FloatDType),
}

/// What to do about weights that are NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// They are an error.
    #[default]
    Finite,
    /// They are loaded.
    Any,
}

/// The network with the weights of a checkpoint, in the checkpoint's types; NaN and infinity are an error.
///
/// Tensors are read one at a time, and weights that were not made yet never are: loading needs the memory of the
/// network and of its largest tensor.
///
/// # Errors
/// [`CheckpointError::Mismatch`] with every missing, unexpected and misshapen name, before any number is read; the other
/// variants for a tensor that cannot be read or used.
pub fn load<M: Module, S: Source + ?Sized>(module: M, layout: &Layout, source: &S) -> Result<M, CheckpointError> {
    load_with(module, layout, source, Loading::default())
}

/// [`load`], with a choice of type and of what is an error.
///
/// # Errors
/// As for [`load`]. Numbers are checked after the cast: what overflows in `f16` is infinite.
pub fn load_with<M: Module, S: Source + ?Sized>(
    module: M,
    layout: &Layout,
    source: &S,
    loading: Loading,
) -> Result<M, CheckpointError> {
    let mapping = Mapping::of(&module, layout)?;
    let manifest = source.manifest();
    mapping.check(&manifest)?;
    for constant in layout.constants {
        // A network that learns it has a row for it.
        let learned = mapping.slots.values().any(|slot| slot.theirs.iter().any(|name| name == constant.theirs));
        if let Some(entry) = manifest.get(constant.theirs).filter(|_| !learned) {
            let known = Known { ours: &mapping.shapes, theirs: Some(&entry.shape) };
            let ours = (constant.value)(&known).ok_or_else(|| CheckpointError::Constant {
                name: constant.theirs.to_owned(),
                reason: format!(
                    "a table of names cannot tell what it should be for the shape {:?}: use the network's own function, \
                     such as `DiT::load_original`, or leave it out",
                    entry.shape
                ),
            })?;
            compare(constant.theirs, &entry.shape, ours, source)?;
        }
    }
    let mut loader = Loader {
        mapping: &mapping,
        source,
        loading,
        path: Vec::new(),
        failed: None,
        first: None,
        tensors: 0,
        values: 0,
    };
    let module = module.map(&mut loader);
    match (loader.failed, loader.first) {
        (Some(error), _) => Err(error),
        (None, Some(first)) => {
            Err(CheckpointError::NotFinite { first, tensors: loader.tensors, values: loader.values })
        }
        (None, None) => Ok(module),
    }
}

/// Whether a checkpoint has what the network needs: names, shapes and types, no numbers. No weight is allocated.
///
/// # Errors
/// [`CheckpointError::Mismatch`] with every missing, unexpected and misshapen name.
pub fn check<M: Module>(module: &M, layout: &Layout, manifest: &Manifest) -> Result<(), CheckpointError> {
    Mapping::of(module, layout)?.check(manifest)
}

/// Compares a tensor of theirs, of the shape that their manifest says, with what we compute, to the precision of its
/// type.
pub(crate) fn compare<S: Source + ?Sized>(
    name: &str,
    shape: &[usize],
    ours: TensorData,
    source: &S,
) -> Result<(), CheckpointError> {
    let differs = |reason: String| CheckpointError::Constant { name: name.to_owned(), reason };
    if ours.shape().to_vec() != shape {
        return Err(differs(format!("its shape is {shape:?}, not {:?}", ours.shape().to_vec())));
    }
    let theirs = source.tensor(name)?;
    // A few roundings of values of order one.
    let tolerance = match theirs.dtype() {
        DType::F16 => 2e-3,
        DType::BF16 => 2e-2,
        _ => 1e-5,
    };
    let values = |data: TensorData| data.try_into_vec_as::<f64>().map_err(|error| differs(error.to_string()));
    let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= tolerance * ours.abs().max(1.0);
    let mut pairs = values(ours)?.into_iter().zip(values(theirs)?).enumerate();
    match pairs.find(|&(_, (ours, theirs))| !close(ours, theirs)) {
        Some((index, (ours, theirs))) => Err(differs(format!("value {index} is {theirs}, not {ours}"))),
        None => Ok(()),
    }
}

struct Loader<'a, S: ?Sized> {
    mapping: &'a Mapping,
    source: &'a S,
    loading: Loading,
    path: Vec<String>,
    /// What stopped the loading.
    failed: Option<CheckpointError>,
    /// The first tensor with numbers that are none, and how many such tensors and numbers there are.
    first: Option<String>,
    tensors: usize,
    values: usize,
}

impl<S: Source + ?Sized> Loader<'_, S> {
    /// A tensor of theirs, cast and counted.
    fn read(&mut self, name: &str) -> Result<TensorData, CheckpointError> {
        let failed = |reason: String| CheckpointError::Numbers { name: name.to_owned(), reason };
        let mut data = self.source.tensor(name)?;
        if let Precision::Cast(dtype) = self.loading.dtype {
            data = data.try_cast(dtype.into()).map_err(|error| failed(error.to_string()))?;
        }
        let values = if self.loading.numbers == Numbers::Finite { not_finite(&data) } else { 0 };
        if values > 0 {
            self.first.get_or_insert_with(|| name.to_owned());
            self.tensors += 1;
            self.values += values;
        }
        Ok(data)
    }

    /// A parameter of ours, of shape `shape`.
    fn assemble(&mut self, slot: &Slot, shape: Vec<usize>) -> Result<TensorData, CheckpointError> {
        let mut names = slot.theirs.iter();
        let Some(first) = names.next() else { return Err(super::source::no_tensor("")) };
        let data = self.read(first)?;
        let dtype = data.dtype();
        let (mut rest, mut bytes) = (Vec::new(), None);
        for name in names {
            let other = self.read(name)?;
            match slot.copies {
                true if other == data => {}
                true => return Err(CheckpointError::Copies { first: first.clone(), other: name.clone() }),
                false if other.dtype() != dtype => {
                    let types = [dtype, other.dtype()];
                    return Err(CheckpointError::MixedTypes { first: first.clone(), other: name.clone(), types });
                }
                false => rest.push(other),
            }
        }
        // Their first axis is the output's, so parts follow each other.
        if !rest.is_empty() {
            let mut joined = Vec::with_capacity(data.as_bytes().len() * (1 + rest.len()));
            joined.extend_from_slice(data.as_bytes());
            rest.iter().for_each(|part| joined.extend_from_slice(part.as_bytes()));
            bytes = Some(joined);
        }
        if slot.form == Form::Swapped {
            let mut swapped = bytes.unwrap_or_else(|| data.as_bytes().to_vec());
            let half = swapped.len() / 2;
            swapped.rotate_left(half);
            bytes = Some(swapped);
        }
        if let (Form::Linear | Form::Conv1x1 | Form::Swapped, &[from, to]) = (slot.form, &shape[..]) {
            let theirs = bytes.as_deref().unwrap_or(data.as_bytes());
            bytes = Some(transpose(theirs, [to, from], dtype.size()));
        }
        let made = match bytes {
            Some(bytes) => TensorData::try_from_bytes_vec(bytes, shape, dtype),
            None => TensorData::try_from_bytes(data.into_bytes(), shape, dtype),
        };
        made.map_err(|error| CheckpointError::Numbers { name: first.clone(), reason: error.to_string() })
    }
}

impl<S: Source + ?Sized> ModuleMapper for Loader<'_, S> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let mapping = self.mapping;
        let Some(slot) = mapping.slots.get(&self.path.join(".")).filter(|_| self.failed.is_none()) else {
            return param;
        };
        match self.assemble(slot, param.lazy_shape().to_vec()) {
            // Networks with numbers that are none are dropped: only the count goes on.
            Ok(_) if self.first.is_some() => param,
            Ok(data) => {
                let (id, device, dtype) = (param.id, param.lazy_device(), data.dtype());
                param.transform_for_load(Tensor::from_data(data, (&device, dtype)), id)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}
