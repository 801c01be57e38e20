//! What can be wrong with a checkpoint.

use std::fmt::{self, Display};
use std::io;
use std::path::PathBuf;

use burn::tensor::DType;
use thiserror::Error;

/// Why a checkpoint could not be read, loaded or exported. Nothing is half-loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file is cut off, inconsistent, or something else than a checkpoint.
    #[error("{} is no checkpoint that can be read: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A pickle names a function or class that is no part of a state dict. It was not called.
    #[error(
        "{} asks to run `{global}`, which no state dict needs: it was not run; save the state dict alone, or as \
         safetensors",
        path.display()
    )]
    Code {
        /// The file.
        path: PathBuf,
        /// What it names.
        global: String,
    },
    /// A checkpoint does not have the part that was asked for.
    #[error("{} has no part `{wanted}`: its parts are {}", path.display(), parts(found))]
    Nested {
        /// The file.
        path: PathBuf,
        /// The part asked for.
        wanted: String,
        /// The parts there are.
        found: Vec<String>,
    },
    /// A `config.json` describes a network that this library does not have.
    #[error("{}: `{key}` = {value} is not supported: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: String,
        /// Its value, as JSON.
        value: String,
        /// What would be.
        reason: String,
    },
    /// The names or shapes of the checkpoint are not those of the network.
    #[error("the checkpoint does not fit the network ({layout}): {}", problems(missing, unexpected, misshapen))]
    Mismatch {
        /// The layout's name.
        layout: &'static str,
        /// What the network needs and the checkpoint lacks, by the checkpoint's names.
        missing: Vec<String>,
        /// What the checkpoint has and the network does not know.
        unexpected: Vec<String>,
        /// What has another shape.
        misshapen: Vec<Misshapen>,
    },
    /// The table does not describe the network: an error of the program, not of the checkpoint.
    #[error("the table of names `{layout}` does not describe this network: {reason}")]
    Layout {
        /// The layout's name.
        layout: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A weight that is no floating-point tensor, or one whose type cannot be written.
    #[error("`{name}` has the type {}: weights are f64, f32, f16 or bf16", dtype.name())]
    NotFloat {
        /// The tensor's name in the checkpoint.
        name: String,
        /// Its type.
        dtype: DType,
    },
    /// Parts of one weight of ours have different types.
    #[error(
        "`{first}` has the type {}, `{other}` {}: they are parts of one weight, ask for a cast",
        types[0].name(),
        types[1].name()
    )]
    MixedTypes {
        /// A part.
        first: String,
        /// Another one.
        other: String,
        /// Their types.
        types: [DType; 2],
    },
    /// Weights that are not numbers.
    #[error("weights that are NaN or infinite: {values} values in {tensors} tensors, the first is `{first}`")]
    NotFinite {
        /// The first such tensor.
        first: String,
        /// How many tensors are affected.
        tensors: usize,
        /// How many values.
        values: usize,
    },
    /// Copies of one weight differ.
    #[error("`{first}` and `{other}` differ, but the network has one weight for both")]
    Copies {
        /// A copy.
        first: String,
        /// Another one.
        other: String,
    },
    /// A tensor that this library computes has other values in the checkpoint.
    #[error("`{name}` is not what this network computes: {reason}")]
    Constant {
        /// The tensor's name in the checkpoint.
        name: String,
        /// What differs.
        reason: String,
    },
    /// A tensor's numbers could not be converted or read from the device.
    #[error("`{name}`: {reason}")]
    Numbers {
        /// The tensor's name.
        name: String,
        /// What failed.
        reason: String,
    },
}

fn parts(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// A tensor of another shape than the network needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name in the checkpoint.
    pub name: String,
    /// The shape the network needs.
    pub expected: Vec<usize>,
    /// The shape in the checkpoint.
    pub found: Vec<usize>,
}

impl Display for Misshapen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}, needed {:?})", self.name, self.found, self.expected)
    }
}

/// "2 missing (a, b); 1 unexpected (c)".
fn problems(missing: &[String], unexpected: &[String], misshapen: &[Misshapen]) -> String {
    fn list<T: Display>(what: &str, names: &[T]) -> Option<String> {
        let shown: Vec<String> = names.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("{} {what} ({})", names.len(), shown.join(", ")))
    }
    let lists = [list("missing", missing), list("unexpected", unexpected), list("of another shape", misshapen)];
    lists.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
