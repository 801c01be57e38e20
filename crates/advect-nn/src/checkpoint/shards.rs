//! A checkpoint in several files, and the index that says which tensor is where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use serde::Deserialize;

use super::CheckpointError;
use super::file::{OpenFile, Place, open_file};

/// An index of the Hugging Face libraries.
#[derive(Deserialize)]
struct Index {
    /// The file of each tensor.
    weight_map: BTreeMap<String, String>,
}

/// The places of the tensors of all files of an index.
pub(crate) fn open(path: &Path) -> Result<BTreeMap<String, Place>, CheckpointError> {
    let index = OpenFile::open(path)?;
    let text = index.read(0, index.length as usize)?;
    let Index { weight_map } = serde_json::from_slice(&text)
        .map_err(|error| index.damaged(format!("it is not the index of a checkpoint: {error}")))?;

    let folder = path.parent().unwrap_or(Path::new(""));
    let mut places = BTreeMap::new();
    for name in weight_map.values().collect::<BTreeSet<_>>() {
        // A name and nothing else: an index must not lead out of its folder.
        let mut parts = Path::new(name).components();
        if !matches!((parts.next(), parts.next()), (Some(Component::Normal(part)), None) if part == name.as_str()) {
            return Err(index.damaged(format!("it names the file `{name}`, which is not in its folder")));
        }
        for (tensor, place) in open_file(&folder.join(name))? {
            if weight_map.get(&tensor) != Some(name) {
                return Err(place.file.damaged(format!("it holds `{tensor}`, which the index does not place there")));
            }
            places.insert(tensor, place);
        }
    }
    match weight_map.iter().find(|(tensor, _)| !places.contains_key(*tensor)) {
        Some((tensor, shard)) => Err(index.damaged(format!("it places `{tensor}` in {shard}, which does not hold it"))),
        None => Ok(places),
    }
}
