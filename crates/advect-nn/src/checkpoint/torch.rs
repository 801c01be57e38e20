//! The files of `torch.save`: a pickle, and storages beside it.

use std::collections::BTreeMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, PoisonError};

use super::file::{OpenFile, Place, is_shape};
use super::pickle::{self, Input, PickleError, Pickled, Strided};
use super::{CheckpointError, Entry, zip};

/// The places of the tensors of a file: a ZIP archive since PyTorch 1.6, before that pickles one after the other.
pub(crate) fn open(file: &Arc<OpenFile>) -> Result<BTreeMap<String, Place>, CheckpointError> {
    let (tensors, storages) =
        if file.read(0, file.length.min(4) as usize)? == b"PK\x03\x04" { archive(file)? } else { stream(file)? };
    tensors.into_iter().map(|(name, tensor)| Ok((name.clone(), place(file, &name, &tensor, &storages)?))).collect()
}

/// The bytes of each storage.
type Storages = BTreeMap<String, Range<u64>>;
type Opened = (BTreeMap<String, Rc<Strided>>, Storages);

/// `NAME/data.pkl`, `NAME/data/0`, ..
fn archive(file: &Arc<OpenFile>) -> Result<Opened, CheckpointError> {
    let mut handle = file.file.lock().unwrap_or_else(PoisonError::into_inner);
    let entries = zip::entries(&mut *handle, file.length).map_err(|reason| file.damaged(reason))?;
    drop(handle);

    let found = entries.iter().find_map(|(name, range)| Some((name.strip_suffix("data.pkl")?, range)));
    let Some((folder, range)) = found.filter(|(folder, _)| folder.is_empty() || folder.ends_with('/')) else {
        return Err(file.damaged("it is an archive, but not one of `torch.save`: it holds no data.pkl"));
    };
    if let Some(order) = entries.get(&format!("{folder}byteorder")) {
        little_endian(file, file.read(order.start, (order.end - order.start).min(16) as usize)? == b"little")?;
    }
    #[allow(clippy::redundant_closure)] // The function itself is for one lifetime of the reader, the closure for any.
    let pickle = read_pickle(file, range.clone(), |input| pickle::read(input))?;
    let storages = entries.iter().filter_map(|(name, range)| {
        let key = name.strip_prefix(folder)?.strip_prefix("data/")?;
        Some((key.to_owned(), range.clone()))
    });
    Ok((tensors(file, &pickle)?, storages.collect()))
}

/// A magic number, a version, the system's properties, the object, the keys of the storages: five pickles. Then each
/// storage, its length before it.
fn stream(file: &Arc<OpenFile>) -> Result<Opened, CheckpointError> {
    /// 0x1950a86a20f9469cfc6c in the first pickle.
    const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let start = file.read(0, file.length.min(32) as usize)?;
    let is_stream = start.windows(MAGIC.len()).any(|window| window == MAGIC);
    let mut used = 0;
    let (object, keys, system) = read_pickle(file, 0..file.length, |input| {
        let before = input.left();
        if !is_stream {
            // Read it all the same: if it names code, that is the thing to say.
            pickle::read(input)?;
            return Err(PickleError::Damaged("it is a pickle, but not one of `torch.save`".to_owned()));
        }
        pickle::read(input)?;
        pickle::read(input)?;
        let system = pickle::read(input)?;
        let object = pickle::read(input)?;
        let keys = pickle::read(input)?;
        used = before - input.left();
        Ok((object, keys, system))
    })?;
    little_endian(file, system.flag("little_endian") != Some(false))?;

    let tensors = tensors(file, &object)?;
    let sizes: BTreeMap<&str, usize> =
        tensors.values().map(|tensor| (&*tensor.storage.key, tensor.storage.dtype.size())).collect();
    let (mut storages, mut at) = (Storages::new(), used);
    for key in keys.texts().ok_or_else(|| file.damaged("it does not list its storages"))? {
        let cut = || file.damaged(format!("it is cut off in the storage `{key}`"));
        // Of a storage that no tensor uses the size of an element is unknown, and so where the next one starts.
        let size = *sizes.get(&*key).ok_or_else(|| file.damaged(format!("nothing uses its storage `{key}`")))?;
        let start = at.checked_add(8).filter(|&start| start <= file.length).ok_or_else(cut)?;
        let mut word = [0; 8];
        word.copy_from_slice(&file.read(at, 8)?);
        let length = u64::from_le_bytes(word).checked_mul(size as u64);
        at = length.and_then(|length| start.checked_add(length)).filter(|&end| end <= file.length).ok_or_else(cut)?;
        storages.insert(key.to_string(), start..at);
    }
    Ok((tensors, storages))
}

/// Runs a reader of pickles over a part of the file.
fn read_pickle<T>(
    file: &OpenFile,
    range: Range<u64>,
    read: impl FnOnce(&mut Input<BufReader<&mut dyn Read>>) -> Result<T, PickleError>,
) -> Result<T, CheckpointError> {
    let mut handle = file.file.lock().unwrap_or_else(PoisonError::into_inner);
    let failed = |source| CheckpointError::File { action: "read", path: file.path.clone(), source };
    handle.seek(SeekFrom::Start(range.start)).map_err(failed)?;
    let reader: &mut dyn Read = &mut *handle;
    read(&mut Input::new(BufReader::new(reader), range.end - range.start)).map_err(|error| refused(file, error))
}

fn tensors(file: &OpenFile, pickle: &Pickled) -> Result<BTreeMap<String, Rc<Strided>>, CheckpointError> {
    pickle.tensors().map_err(|error| refused(file, error))
}

fn refused(file: &OpenFile, error: PickleError) -> CheckpointError {
    match error {
        PickleError::Code(global) => CheckpointError::Code { path: file.path.clone(), global },
        PickleError::Damaged(reason) => file.damaged(reason),
    }
}

fn little_endian(file: &OpenFile, is: bool) -> Result<(), CheckpointError> {
    if is { Ok(()) } else { Err(file.damaged("it was written by a big-endian machine, which is not supported")) }
}

/// Where a tensor is, having checked that all of it is there.
fn place(file: &Arc<OpenFile>, name: &str, tensor: &Strided, storages: &Storages) -> Result<Place, CheckpointError> {
    let (shape, stride, dtype) = (&tensor.shape, &tensor.stride, tensor.storage.dtype);
    let outside = || file.damaged(format!("`{name}` reaches beyond its storage"));
    if !is_shape(shape) {
        return Err(file.damaged(format!("`{name}` is empty, but its shape is {shape:?}")));
    }
    let range = storages
        .get(&*tensor.storage.key)
        .ok_or_else(|| file.damaged(format!("the storage `{}` of `{name}` is missing", tensor.storage.key)))?;
    let held = (range.end - range.start) / dtype.size() as u64;
    if shape.len() != stride.len() || held < tensor.storage.length {
        return Err(outside());
    }
    // The elements from the first to the last one used, and how many are used.
    let count = shape.iter().try_fold(1_u64, |product, &size| product.checked_mul(size as u64)).ok_or_else(outside)?;
    let span = shape.iter().zip(stride).try_fold(0_u64, |span, (&size, &step)| {
        span.checked_add((size.saturating_sub(1) as u64).checked_mul(step as u64)?)
    });
    let span = if count == 0 { 0 } else { span.and_then(|span| span.checked_add(1)).ok_or_else(outside)? };
    let end = tensor.offset.checked_add(span).filter(|&end| end <= held).ok_or_else(outside)?;
    // An expanded view would repeat its few numbers as often as it says.
    if count > held {
        return Err(file.damaged(format!("`{name}` has {count} values in a storage of {held}")));
    }

    let mut step = 1_u64;
    let in_order = shape.iter().zip(stride).rev().all(|(&size, &stride)| {
        let fits = size <= 1 || stride as u64 == step;
        step = step.saturating_mul(size as u64);
        fits
    });
    let size = dtype.size() as u64;
    Ok(Place {
        file: file.clone(),
        entry: Entry { shape: shape.clone(), dtype },
        start: range.start + tensor.offset * size,
        length: ((end - tensor.offset) * size) as usize,
        stride: (!in_order && count > 0).then(|| stride.clone()),
    })
}
