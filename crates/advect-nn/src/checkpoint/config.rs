//! The `config.json` beside a checkpoint, entry by entry.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::CheckpointError;

/// The entries of a configuration that were not used yet.
///
/// Every entry has to be used: one that nobody looked at might be the one that changes the network.
pub(crate) struct Entries {
    path: PathBuf,
    entries: Map<String, Value>,
}

/// What libraries add that says nothing about the network: the averages' settings of a training run.
const ASIDE: &[&str] =
    &["decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup"];

/// More channels than any network has.
const MOST_WIDTH: usize = 1 << 24;

impl Entries {
    pub(crate) fn read(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |reason: String| CheckpointError::Damaged { path: path.to_owned(), reason };
        match serde_json::from_str(text) {
            Ok(Value::Object(entries)) => Ok(Self { path: path.to_owned(), entries }),
            Ok(_) => Err(damaged("it is JSON, but no object".to_owned())),
            Err(error) => Err(damaged(format!("it is not JSON: {error}"))),
        }
    }

    pub(crate) fn refuse(&self, key: &str, value: &Value, reason: impl Into<String>) -> CheckpointError {
        let (path, key, value) = (self.path.clone(), key.to_owned(), value.to_string());
        CheckpointError::Config { path, key, value, reason: reason.into() }
    }

    /// An entry, or what the library takes when there is none.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str, default: Value) -> Result<T, CheckpointError> {
        let value = self.entries.remove(key).unwrap_or(default);
        T::deserialize(&value).map_err(|error| self.refuse(key, &value, error.to_string()))
    }

    /// An entry that must have one of these values; the first one is the library's default.
    pub(crate) fn expect(&mut self, key: &str, values: &[Value]) -> Result<Value, CheckpointError> {
        // 1 and 1.0 are the same number.
        let same = |a: &Value, b: &Value| a == b || a.as_f64().is_some() && a.as_f64() == b.as_f64();
        match self.entries.remove(key) {
            None => Ok(values.first().cloned().unwrap_or_default()),
            Some(value) if values.iter().any(|known| same(known, &value)) => Ok(value),
            Some(value) => {
                let known: Vec<String> = values.iter().map(Value::to_string).collect();
                Err(self.refuse(key, &value, format!("it has to be {}", known.join(" or "))))
            }
        }
    }

    /// Uses entries that do not matter for the network's output.
    pub(crate) fn ignore(&mut self, keys: &[&str]) {
        keys.iter().for_each(|key| drop(self.entries.remove(*key)));
    }

    /// That nothing is left.
    pub(crate) fn finish(mut self) -> Result<(), CheckpointError> {
        self.ignore(ASIDE);
        match self.entries.iter().find(|(key, _)| !key.starts_with('_')) {
            Some((key, value)) => Err(self.refuse(key, value, "this version does not know the entry")),
            None => Ok(()),
        }
    }

    /// Widths as multiples of the first one. Sums and small multiples of them do not overflow.
    pub(crate) fn multipliers(&mut self, key: &str, default: Value) -> Result<(usize, Vec<usize>), CheckpointError> {
        let widths: Vec<usize> = self.take(key, default)?;
        let first = widths.first().copied().unwrap_or(0);
        if first == 0 || widths.iter().any(|width| !width.is_multiple_of(first)) {
            return Err(self.refuse(key, &json!(widths), "the widths have to be multiples of the first one"));
        }
        if widths.iter().any(|&width| width > MOST_WIDTH) {
            return Err(self.refuse(key, &json!(widths), format!("a width is {MOST_WIDTH} at most")));
        }
        Ok((first, widths.iter().map(|width| width / first).collect()))
    }
}
