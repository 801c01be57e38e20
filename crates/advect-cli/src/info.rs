//! `advect info`.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::say::Say;
use advect::nn::checkpoint::{Checkpoint, CheckpointError, Folder, Manifest, Source};
use advect::prelude::RunFolder;
use advect::train::{TrainError, Which};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

pub(crate) fn run(path: &Path, say: Say) -> Result<(), CliError> {
    let name = path.to_string_lossy();
    let foreign = ["config.json", "model_index.json"].iter().any(|name| path.join(name).exists());
    if foreign && !path.join("state.json").exists() {
        let folder = Folder::open(path)?;
        let network = format!("\n\n{:#?}", folder.backbone);
        layout(path, &folder.checkpoint, &network, say)
    } else if path.join("model_index.json").exists() {
        Err(CliError::failure(format!(
            "{} is a whole pipeline of diffusers: name the folder of one network in it, such as unet or transformer",
            path.display()
        )))
    } else if path.is_dir() {
        folder(path, say)
    } else if path.exists() && name.ends_with(".safetensors") {
        file(path, say)
    } else if path.exists() {
        layout(path, &Checkpoint::open(path)?, "", say)
    } else {
        Err(CliError::failure(format!("{} does not exist", path.display())))
    }
}

fn folder(path: &Path, say: Say) -> Result<(), CliError> {
    let run = RunFolder::open(path)?;
    let state = run.state()?;
    let text = run.config()?;
    let config = RunConfig::read(&text, &path.join("config.toml"))?;
    // Read both: a damaged file should not look finished.
    run.weights_of(Which::Model)?;
    let tensors = run.weights_of(Which::Ema)?.tensors.len();
    let done = if config.finished(state.step) { "finished" } else { "unfinished; --resume continues it" };
    say.event(
        &format!(
            "run {}: preset {}, step {} of {} ({done}), {} parameters in {tensors} tensors, written by advect {}\n\n{}",
            path.display(),
            config.preset,
            state.step,
            config.train.steps,
            state.parameters,
            state.version,
            text.trim_end()
        ),
        json!({"kind": "run", "path": path, "state": state, "config": config}),
    );
    Ok(())
}

fn file(path: &Path, say: Say) -> Result<(), CliError> {
    let opened = Checkpoint::open(path).map_err(|error| match error {
        // In the words of every command that reads a run.
        CheckpointError::Damaged { path, reason } => CliError::from(TrainError::Weights { path, reason }),
        error => error.into(),
    });
    let manifest = opened?.manifest();
    let numbers = manifest.values().map(|entry| count(&entry.shape)).sum::<usize>();
    let mut text = format!("{}: {} tensors, {numbers} numbers", path.display(), manifest.len());
    if let Some(step) = step(path) {
        write!(text, ", step {step}")?;
    }
    list(&mut text, &manifest)?;
    let mut rows = Vec::new();
    for (name, entry) in &manifest {
        rows.push(json!({"name": name, "shape": entry.shape, "dtype": format!("{:?}", entry.dtype)}));
    }
    say.event(&text, json!({"kind": "weights", "path": path, "numbers": numbers, "tensors": rows}));
    Ok(())
}

/// The step that a training run wrote into the metadata of a good safetensors file.
fn step(path: &Path) -> Option<u64> {
    #[derive(Deserialize)]
    struct Header {
        #[serde(rename = "__metadata__", default)]
        metadata: BTreeMap<String, String>,
    }
    let mut file = BufReader::new(File::open(path).ok()?);
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let header: Header = serde_json::from_reader(file.take(u64::from_le_bytes(length))).ok()?;
    header.metadata.get("advect")?.parse().ok()
}

/// How many numbers a tensor has.
fn count(shape: &[usize]) -> usize {
    shape.iter().fold(1, |product, &size| product.saturating_mul(size))
}

/// A line for each tensor. A name is whatever a file says: it should not steer the terminal.
fn list(text: &mut String, manifest: &Manifest) -> std::fmt::Result {
    manifest
        .iter()
        .try_for_each(|(name, entry)| write!(text, "\n  {}  {:?}  {:?}", name.escape_debug(), entry.shape, entry.dtype))
}

/// The names and shapes of somebody else's checkpoint, and the numbers in each of its parts.
fn layout(path: &Path, checkpoint: &Checkpoint, network: &str, say: Say) -> Result<(), CliError> {
    let manifest = checkpoint.manifest();
    let (mut parts, mut numbers) = (BTreeMap::<&str, usize>::new(), 0_usize);
    for (name, entry) in &manifest {
        *parts.entry(name.split('.').next().unwrap_or(name)).or_default() += count(&entry.shape);
        numbers += count(&entry.shape);
    }
    let mut text = format!("{}: {} tensors, {numbers} numbers", path.display(), manifest.len());
    list(&mut text, &manifest)?;
    text.push_str("\n\nnumbers in each part");
    for (part, numbers) in &parts {
        write!(text, "\n  {}  {numbers}", part.escape_debug())?;
    }
    text.push_str(network);
    say.event(
        &text,
        json!({"kind": "checkpoint", "path": path, "numbers": numbers, "parts": parts, "tensors": manifest}),
    );
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "helpers of tests are no `#[test]` functions")]
mod tests {
    use super::*;

    /// A safetensors file of one tensor.
    fn write(folder: &Path, name: &str, dtype: &str, metadata: &str) -> std::path::PathBuf {
        let header =
            format!(r#"{{"__metadata__":{metadata},"{name}":{{"dtype":"{dtype}","shape":[2],"data_offsets":[0,8]}}}}"#);
        let path = folder.join("file.safetensors");
        std::fs::write(&path, [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &[0; 8]].concat()).unwrap();
        path
    }

    #[test]
    fn files_of_other_types_are_listed_and_names_do_not_steer_the_terminal() {
        let folder = tempfile::tempdir().unwrap();
        let path = write(folder.path(), "\\u001b[2Jw", "I32", r#"{"advect":"7"}"#);
        assert!(file(&path, Say::Nothing).is_ok());
        assert_eq!(step(&path), Some(7));
        let mut text = String::new();
        list(&mut text, &Checkpoint::open(&path).unwrap().manifest()).unwrap();
        assert_eq!(text, "\n  \\u{1b}[2Jw  [2]  I32");
        assert_eq!(step(&write(folder.path(), "w", "F32", r#"{"format":"pt"}"#)), None);
    }
}
