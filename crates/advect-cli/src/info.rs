//! `advect info`.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::say::Say;
use advect::nn::checkpoint::{Checkpoint, Folder, Source};
use advect::prelude::RunFolder;
use advect::train::{Weights, Which};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

pub(crate) fn run(path: &Path, say: Say) -> Result<(), CliError> {
    let name = path.to_string_lossy();
    if path.is_dir() && path.join("config.json").exists() && !path.join("state.json").exists() {
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
    let weights = Weights::load(path)?;
    let mut text = format!("{}: {} tensors, {} numbers", path.display(), weights.tensors.len(), weights.count());
    if let Ok(step) = weights.metadata.parse::<u64>() {
        write!(text, ", step {step}")?;
    }
    let mut rows = Vec::new();
    for (name, data) in &weights.tensors {
        let shape = data.shape().to_vec();
        write!(text, "\n  {}  {shape:?}  {:?}", name.escape_debug(), data.dtype())?;
        rows.push(json!({"name": name, "shape": shape, "dtype": format!("{:?}", data.dtype())}));
    }
    say.event(&text, json!({"kind": "weights", "path": path, "numbers": weights.count(), "tensors": rows}));
    Ok(())
}

/// The names and shapes of somebody else's checkpoint, and the numbers in each of its parts.
fn layout(path: &Path, checkpoint: &Checkpoint, network: &str, say: Say) -> Result<(), CliError> {
    let manifest = checkpoint.manifest();
    let count = |shape: &[usize]| shape.iter().fold(1_usize, |product, &size| product.saturating_mul(size));
    let (mut parts, mut numbers) = (BTreeMap::<&str, usize>::new(), 0_usize);
    for (name, entry) in &manifest {
        *parts.entry(name.split('.').next().unwrap_or(name)).or_default() += count(&entry.shape);
        numbers += count(&entry.shape);
    }
    let mut text = format!("{}: {} tensors, {numbers} numbers", path.display(), manifest.len());
    for (name, entry) in &manifest {
        write!(text, "\n  {}  {:?}  {:?}", name.escape_debug(), entry.shape, entry.dtype)?;
    }
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
