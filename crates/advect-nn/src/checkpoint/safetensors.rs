//! The safetensors format: the length of a header, the header in JSON, the numbers.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{BoolStore, DType, TensorData};
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::{Deserialize, Serialize};

use super::file::{OpenFile, Place, is_shape};
use super::{CheckpointError, Entry, Tensors};

/// The longest header that the format allows.
const MOST_HEADER: u64 = 100_000_000;

/// A file's header.
#[derive(Serialize, Deserialize)]
struct Header {
    #[serde(rename = "__metadata__", default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// The places of the tensors of a file.
pub(crate) fn open(file: &Arc<OpenFile>) -> Result<BTreeMap<String, Place>, CheckpointError> {
    let foreign = "it is neither a safetensors file nor one of `torch.save`";
    let Some(rest) = file.length.checked_sub(8) else {
        return Err(file.damaged(format!("it has {} bytes, too few for a checkpoint", file.length)));
    };
    let mut word = [0; 8];
    word.copy_from_slice(&file.read(0, 8)?);
    let length = u64::from_le_bytes(word);
    if file.read(8, rest.min(1) as usize)? != b"{" {
        return Err(file.damaged(foreign));
    }
    if length > rest {
        let reason = format!("it is cut off or damaged: its header should have {length} bytes, but {rest} follow");
        return Err(file.damaged(reason));
    }
    if length > MOST_HEADER {
        return Err(file.damaged(format!("its header has {length} bytes, more than the format allows")));
    }
    let header: Header = serde_json::from_slice(&file.read(8, length as usize)?)
        .map_err(|error| file.damaged(format!("its header is not that of a safetensors file: {error}")))?;

    let mut tensors: Vec<(String, TensorInfo)> = header.tensors.into_iter().collect();
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    let (start, stop) = (8 + length, rest - length);
    let (mut places, mut covered) = (BTreeMap::new(), 0);
    for (name, info) in tensors {
        let Some(dtype) = burn_type(info.dtype) else {
            return Err(file.damaged(format!("`{name}` has the type {}, which is not supported", info.dtype)));
        };
        let (first, last) = info.data_offsets;
        if first != covered {
            let how = if first < covered { "overlaps" } else { "leaves a gap after" };
            return Err(file.damaged(format!("`{name}` {how} the tensor before it")));
        }
        if last as u64 > stop {
            return Err(file.damaged(format!("it is cut off: `{name}` ends at byte {last} of {stop}")));
        }
        let bytes = info.shape.iter().try_fold(dtype.size(), |product, &size| product.checked_mul(size));
        let Some(length) = last.checked_sub(first).filter(|&length| Some(length) == bytes) else {
            return Err(
                file.damaged(format!("the bytes of `{name}` are not as many as its shape {:?} has", info.shape))
            );
        };
        if !is_shape(&info.shape) {
            return Err(file.damaged(format!("`{name}` is empty, but its shape is {:?}", info.shape)));
        }
        covered = last;
        let entry = Entry { shape: info.shape, dtype };
        places.insert(name, Place { file: file.clone(), entry, start: start + first as u64, length, stride: None });
    }
    match stop - covered as u64 {
        0 => Ok(places),
        more => Err(file.damaged(format!("{more} bytes follow its last tensor"))),
    }
}

/// Writes tensors as a safetensors file of PyTorch (`{"format": "pt"}`). Equal tensors give equal bytes.
///
/// # Errors
/// [`CheckpointError::File`] if it cannot be written, [`CheckpointError::NotFloat`] for a type that the format lacks.
pub fn save(path: &Path, tensors: &Tensors) -> Result<(), CheckpointError> {
    let mut ordered: Vec<(&String, &TensorData)> = tensors.iter().collect();
    // As the format's own writer does: large numbers first, so that each is aligned.
    ordered.sort_by_key(|(name, data)| (std::cmp::Reverse(data.dtype().size()), *name));

    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    let (mut header, mut offset) = (Header { metadata, tensors: BTreeMap::new() }, 0);
    for (name, data) in &ordered {
        let Some(dtype) = file_type(data.dtype()) else {
            return Err(CheckpointError::NotFloat { name: (*name).clone(), dtype: data.dtype() });
        };
        let end = offset + data.as_bytes().len();
        let info = TensorInfo { dtype, shape: data.shape().to_vec(), data_offsets: (offset, end) };
        header.tensors.insert((*name).clone(), info);
        offset = end;
    }
    let failed = |source| CheckpointError::File { action: "write", path: path.to_owned(), source };
    let mut text = serde_json::to_vec(&header).map_err(|error| failed(error.into()))?;
    text.resize(text.len().next_multiple_of(8), b' ');

    // Aside first: a full disk leaves no half of a checkpoint under its name.
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let write = || {
        let mut file = BufWriter::new(File::create(&aside)?);
        file.write_all(&(text.len() as u64).to_le_bytes())?;
        file.write_all(&text)?;
        ordered.iter().try_for_each(|(_, data)| file.write_all(data.as_bytes()))?;
        file.into_inner()?.sync_all()?;
        std::fs::rename(&aside, path)
    };
    write().map_err(|source| {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&aside);
        failed(source)
    })
}

/// Burn's type of the format's; `None` for those of less than a byte and others that PyTorch's weights do not have.
fn burn_type(dtype: Dtype) -> Option<DType> {
    TYPES.iter().find(|(file, _)| *file == dtype).map(|(_, burn)| *burn)
}

fn file_type(dtype: DType) -> Option<Dtype> {
    TYPES.iter().find(|(_, burn)| *burn == dtype).map(|(file, _)| *file)
}

const TYPES: [(Dtype, DType); 13] = [
    (Dtype::F64, DType::F64),
    (Dtype::F32, DType::F32),
    (Dtype::F16, DType::F16),
    (Dtype::BF16, DType::BF16),
    (Dtype::I64, DType::I64),
    (Dtype::I32, DType::I32),
    (Dtype::I16, DType::I16),
    (Dtype::I8, DType::I8),
    (Dtype::U64, DType::U64),
    (Dtype::U32, DType::U32),
    (Dtype::U16, DType::U16),
    (Dtype::U8, DType::U8),
    (Dtype::BOOL, DType::Bool(BoolStore::U8)),
];
