use crate::TrainError;
use crate::optimizer::on_tape;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::{collections::BTreeMap, collections::HashMap, path::Path};

/// Named tensors on the host, sorted by name: the contents of a safetensors file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights {
    /// The tensors.
    pub tensors: BTreeMap<String, TensorData>,
    /// Free text, such as a configuration.
    pub metadata: String,
}

/// The one metadata key. The format keeps metadata in a hash map, so more than one would be written in random order.
const KEY: &str = "advect";

impl Weights {
    /// All float parameters of a module, named by their path (`down.0.norm.gamma`).
    #[must_use]
    pub fn of<M: Module>(module: &M) -> Self {
        let mut collect = Collect { path: Vec::new(), tensors: BTreeMap::new() };
        module.visit(&mut collect);
        Self { tensors: collect.tensors, metadata: String::new() }
    }

    /// The module with these weights. Nothing may be missing, left over or of another shape.
    ///
    /// The module keeps its own float type: numbers of a file in `f16` or `bf16` widen to `f32` without loss, those in
    /// `f64` are rounded to the nearest.
    ///
    /// `source` is the file named in the message.
    ///
    /// # Errors
    /// [`TrainError::Mismatch`] with the full lists.
    pub fn apply<M: Module>(&self, module: M, source: &Path) -> Result<M, TrainError> {
        let mut wanted = Collect { path: Vec::new(), tensors: BTreeMap::new() };
        module.visit(&mut wanted);
        let wanted = wanted.tensors;
        let missing: Vec<String> = wanted.keys().filter(|name| !self.tensors.contains_key(*name)).cloned().collect();
        let unexpected: Vec<String> = self.tensors.keys().filter(|name| !wanted.contains_key(*name)).cloned().collect();
        let misshapen: Vec<String> = wanted
            .iter()
            .filter_map(|(name, want)| Some((name, want.shape(), self.tensors.get(name)?.shape())))
            .filter(|(_, want, have)| want != have)
            .map(|(name, want, have)| format!("{name} (model {:?}, file {:?})", want.to_vec(), have.to_vec()))
            .collect();
        if missing.is_empty() && unexpected.is_empty() && misshapen.is_empty() {
            Ok(module.map(&mut Replace { path: Vec::new(), tensors: &self.tensors }))
        } else {
            Err(TrainError::Mismatch { path: source.to_owned(), missing, unexpected, misshapen })
        }
    }

    /// The bytes of a safetensors file; the same tensors always give the same bytes.
    ///
    /// # Errors
    /// [`TrainError::Weights`] if a tensor has a type that the format does not know.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let failed = |reason: String| TrainError::Weights { path: "weights".into(), reason };
        let mut views = Vec::with_capacity(self.tensors.len());
        for (name, data) in &self.tensors {
            let dtype = match data.dtype() {
                DType::F64 => Dtype::F64,
                DType::F32 | DType::Flex32 => Dtype::F32,
                DType::F16 => Dtype::F16,
                DType::BF16 => Dtype::BF16,
                DType::I64 => Dtype::I64,
                other => return Err(failed(format!("{name} has type {other:?}"))),
            };
            let view = TensorView::new(dtype, data.shape().to_vec(), data.as_bytes());
            views.push((name, view.map_err(|e| failed(e.to_string()))?));
        }
        let metadata = HashMap::from([(KEY.to_owned(), self.metadata.clone())]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| failed(e.to_string()))
    }

    /// Writes a safetensors file.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be written, [`TrainError::Weights`] as for [`Weights::to_bytes`].
    pub fn save(&self, path: &Path) -> Result<(), TrainError> {
        let write = |source| TrainError::File { action: "write", path: path.to_owned(), source };
        std::fs::write(path, self.to_bytes()?).map_err(write)
    }

    /// Reads a safetensors file with tensors in `f64`, `f32`, `f16`, `bf16` or `i64`, as they are.
    ///
    /// # Errors
    /// [`TrainError::File`] or [`TrainError::Weights`] if it cannot be read, is truncated or foreign.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let bytes =
            std::fs::read(path).map_err(|source| TrainError::File { action: "read", path: path.to_owned(), source })?;
        let failed = |reason: String| TrainError::Weights { path: path.to_owned(), reason };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|e| failed(e.to_string()))?;
        let metadata = header.metadata().as_ref().and_then(|m| m.get(KEY)).cloned().unwrap_or_default();
        let file = SafeTensors::deserialize(&bytes).map_err(|e| failed(e.to_string()))?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter() {
            let dtype = match view.dtype() {
                Dtype::F64 => DType::F64,
                Dtype::F32 => DType::F32,
                Dtype::F16 => DType::F16,
                Dtype::BF16 => DType::BF16,
                Dtype::I64 => DType::I64,
                other => return Err(failed(format!("{name} has type {other:?}, which is not supported"))),
            };
            let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
            tensors.insert(name.to_owned(), data);
        }
        Ok(Self { tensors, metadata })
    }

    /// How many numbers there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tensors.values().map(|data| data.shape().iter().product::<usize>()).sum()
    }
}

struct Collect {
    path: Vec<String>,
    tensors: BTreeMap<String, TensorData>,
}

impl ModuleVisitor for Collect {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A device read, for a file.
        self.tensors.insert(self.path.join("."), param.val().inner().into_data());
    }
}

struct Replace<'a> {
    path: Vec<String>,
    tensors: &'a BTreeMap<String, TensorData>,
}

impl ModuleMapper for Replace<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(data) = self.tensors.get(&self.path.join(".")) else { return param };
        param.map(|old| {
            let new = Tensor::from_data(data.clone(), (&old.device().inner(), old.dtype()));
            if old.device().is_autodiff() {
                on_tape(new, old.gradient_checkpointing_strategy()).set_require_grad(old.is_require_grad())
            } else {
                new
            }
        })
    }
}
