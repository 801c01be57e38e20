//! A checkpoint on disk: what is in it, and its tensors one at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::TensorData;

use super::numbers::gather;
use super::source::no_tensor;
use super::{CheckpointError, Entry, Manifest, Source, safetensors, shards, torch};

/// An open checkpoint: a safetensors file, a set of them with an index, or a file of `torch.save`.
///
/// Opening it reads names and shapes; [`tensor`](Source::tensor) reads one tensor from the file.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    places: BTreeMap<String, Place>,
}

/// Which weights of a training run's checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As trained.
    Model,
    /// Averaged over the training: usually the better samples.
    Ema,
}

impl Which {
    /// How files call them: the entry of a dictionary, or the first segment of each name.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Model => &["model", "state_dict", "model_state_dict", "params", "module"],
            Self::Ema => &["ema", "ema_model", "model_ema", "ema_state_dict", "params_ema"],
        }
    }
}

/// What wrappers of PyTorch (data parallelism, compilation) put before each name.
const WRAPPERS: &[&str] = &["module", "_orig_mod"];

/// Where a tensor is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: Arc<OpenFile>,
    pub(crate) entry: Entry,
    /// The first byte, and how many: all of them are in the file.
    pub(crate) start: u64,
    pub(crate) length: usize,
    /// In elements, where they do not lie in the order of the shape.
    pub(crate) stride: Option<Vec<usize>>,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) file: Mutex<File>,
}

impl OpenFile {
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let failed = |source| CheckpointError::File { action: "open", path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(CheckpointError::Damaged { path: path.to_owned(), reason: "it is no file".to_owned() });
        }
        Ok(Self { path: path.to_owned(), length: metadata.len(), file: Mutex::new(file) })
    }

    /// Bytes that are known to be there.
    pub(crate) fn read(&self, start: u64, length: usize) -> Result<Vec<u8>, CheckpointError> {
        let mut bytes = vec![0; length];
        // Whoever panicked while holding it left no file in a bad state: each read seeks first.
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let done = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
        done.map_err(|source| CheckpointError::File { action: "read", path: self.path.clone(), source })?;
        Ok(bytes)
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> CheckpointError {
        CheckpointError::Damaged { path: self.path.clone(), reason: reason.into() }
    }
}

/// The most elements that a tensor without any may seem to have along its other axes: as the file holds none of them, it
/// does not bound what a shape such as `[0, 4096]` says.
const MOST_EMPTY: usize = 1 << 24;

/// Whether a shape is one that a tensor may have: what loops over an axis should not do so for ever.
pub(crate) fn is_shape(shape: &[usize]) -> bool {
    let sizes = shape.iter().filter(|&&size| size > 0);
    !shape.contains(&0) || sizes.fold(1_usize, |product, &size| product.saturating_mul(size)) <= MOST_EMPTY
}

/// The places of the tensors of one file.
pub(crate) fn open_file(path: &Path) -> Result<BTreeMap<String, Place>, CheckpointError> {
    let file = Arc::new(OpenFile::open(path)?);
    let start = file.read(0, file.length.min(9) as usize)?;
    // A header of 128 bytes in a safetensors file starts as a pickle does, but then there is a brace.
    let pickled = start.starts_with(b"PK\x03\x04") || start.starts_with(&[0x80]) && start.get(8) != Some(&b'{');
    if pickled { torch::open(&file) } else { safetensors::open(&file) }
}

impl Checkpoint {
    /// Opens a safetensors file, the index of several (`*.safetensors.index.json`), or a file of `torch.save` (`.pt`,
    /// `.pth`, `.bin`).
    ///
    /// # Errors
    /// [`CheckpointError`] if it cannot be read, is none of these, is cut off or inconsistent, or if a pickle in it
    /// names code.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let is_index = path.to_string_lossy().ends_with(".index.json");
        let places = if is_index { shards::open(path)? } else { open_file(path)? };
        Ok(Self { path: path.to_owned(), places })
    }

    /// The tensors whose names start with `prefix` and a dot, without these.
    ///
    /// # Errors
    /// [`CheckpointError::Nested`] with what there is, if there are none.
    pub fn under(&self, prefix: &str) -> Result<Self, CheckpointError> {
        let start = format!("{prefix}.");
        let stripped = self.places.iter().filter_map(|(name, place)| Some((name.strip_prefix(&start)?, place)));
        let places: BTreeMap<_, _> = stripped.map(|(name, place)| (name.to_owned(), place.clone())).collect();
        if places.is_empty() {
            return Err(self.nested(prefix));
        }
        Ok(Self { path: self.path.clone(), places })
    }

    /// The weights of one kind, with the names of the network itself.
    ///
    /// Training scripts save `{"model": .., "ema": ..}`, or prefix each name by `module.` or `ema_model.`. A file without
    /// such parts is taken to be the model as trained.
    ///
    /// # Errors
    /// [`CheckpointError::Nested`] with what there is, if that is not among it.
    pub fn select(&self, which: Which) -> Result<Self, CheckpointError> {
        let parts = self.parts();
        let has = |names: &[&'static str]| names.iter().copied().find(|name| parts.contains(*name));
        match (has(which.names()), which) {
            (Some(name), _) => self.under(name)?.unwrapped(),
            // Some wrap both kinds together.
            (None, Which::Ema) if parts.len() == 1 => match has(Which::Model.names()) {
                Some(name) => self.under(name)?.select(which),
                None => Err(self.nested("ema")),
            },
            (None, Which::Ema) => Err(self.nested("ema")),
            (None, Which::Model) if has(Which::Ema.names()).is_some() => Err(self.nested("model")),
            (None, Which::Model) => self.clone().unwrapped(),
        }
    }

    /// Without what wrappers put before every name.
    fn unwrapped(self) -> Result<Self, CheckpointError> {
        let parts = self.parts();
        match WRAPPERS.iter().chain(&["model", "state_dict"]).find(|&&name| parts.len() == 1 && parts.contains(name)) {
            Some(name) => self.under(name)?.unwrapped(),
            None => Ok(self),
        }
    }

    /// The first segments of the names.
    fn parts(&self) -> BTreeSet<String> {
        let first = self.places.keys().filter_map(|name| name.split_once('.'));
        first.map(|(first, _)| first.to_owned()).collect()
    }

    fn nested(&self, wanted: &str) -> CheckpointError {
        let found = self.parts().into_iter().collect();
        CheckpointError::Nested { path: self.path.clone(), wanted: wanted.to_owned(), found }
    }
}

impl Source for Checkpoint {
    fn manifest(&self) -> Manifest {
        self.places.iter().map(|(name, place)| (name.clone(), place.entry.clone())).collect()
    }

    fn tensor(&self, name: &str) -> Result<TensorData, CheckpointError> {
        let place = self.places.get(name).ok_or_else(|| no_tensor(name))?;
        let (shape, dtype) = (&place.entry.shape, place.entry.dtype);
        let mut bytes = place.file.read(place.start, place.length)?;
        if let Some(stride) = &place.stride {
            bytes = gather(&bytes, shape, stride, dtype.size());
        }
        TensorData::try_from_bytes_vec(bytes, shape.clone(), dtype)
            .map_err(|error| place.file.damaged(format!("`{name}`: {error}")))
    }
}
