use std::path::PathBuf;

/// What can go wrong in training and with its files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// The loss or the norm of its gradient is NaN or infinite; weights are as they were before the step.
    #[error(
        "{what} became {value} at step {step}: training stopped before the weights changed. \
         Try a smaller learning rate or a smaller clip norm"
    )]
    NotFinite {
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// What it became.
        value: f64,
        /// The step, counted from 0.
        step: u64,
    },
    /// The path refuses what the objective asks of it.
    #[error(transparent)]
    Path(#[from] advect_paths::PathError),
    /// The parts of a batch differ in length.
    #[error("the batch has {rows} rows of data, but {count} {what}: it needs one for each row")]
    Batch {
        /// `ids` or `classes`.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// Rows of the data.
        rows: usize,
    },
    /// The device cannot compute in this precision.
    #[error("this device does not compute in {precision}: take another precision, or another device")]
    Precision {
        /// The precision.
        precision: crate::Precision,
    },
    /// There is no precision of this name.
    #[error("there is no precision `{name}`: choose one of f32, f16, bf16")]
    PrecisionName {
        /// The name.
        name: String,
    },
    /// A number could not be read back from the device.
    #[error("cannot read {what} back from the device")]
    Read {
        /// What was read.
        what: &'static str,
    },
    /// An option is out of its range.
    #[error("{name} = {value} is out of range: {range}")]
    Range {
        /// The option.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// `read`, `write`, `rename`, ...
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is not a weights file, or a part of it is missing.
    #[error("{path} is not a readable safetensors file (truncated or of another kind): {reason}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// What the reader says.
        reason: String,
    },
    /// Weights belong to another model.
    #[error(
        "{path} does not fit this model.{}{}{}",
        list(" Missing", missing),
        list(" Unexpected", unexpected),
        list(" Of another shape", misshapen)
    )]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// Parameters of the model that the file lacks.
        missing: Vec<String>,
        /// Tensors of the file that the model lacks.
        unexpected: Vec<String>,
        /// Tensors whose shapes differ, with both shapes.
        misshapen: Vec<String>,
    },
    /// The state file is not what this library writes.
    #[error("{path} is not a run state: {reason}")]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The checkpoint was written by a newer version.
    #[error("{path} has format {found}, this version reads up to {known}: update advect to use this run")]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest format known.
        known: u64,
    },
    /// The files of a run belong to different steps.
    #[error("{path} belongs to step {found:?}, the run is at step {wanted}: the run folder was changed by hand")]
    Step {
        /// The file.
        path: PathBuf,
        /// The step it names, if any.
        found: Option<u64>,
        /// The step of the state file.
        wanted: u64,
    },
    /// The run folder is there already.
    #[error("{path} already holds a run: continue it with `--resume`, or choose another folder with `--run`")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds no run.
    #[error(
        "{path} is not a run folder: it has no state.json \
         (a run that stopped before its first checkpoint is started again without `--resume`)"
    )]
    NoRun {
        /// The folder.
        path: PathBuf,
    },
}

fn list(what: &str, names: &[String]) -> String {
    const SHOWN: usize = 12;
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > SHOWN { format!(", and {} more", names.len() - SHOWN) } else { String::new() };
    format!("{what} ({}): {}{more}.", names.len(), names[..names.len().min(SHOWN)].join(", "))
}
