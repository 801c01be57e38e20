//! The configuration of a run, as it stands in `config.toml`: defaults, a file, `--set`, checks.

use crate::path::PathConfig;
use crate::{
    data::DataConfig, error::CliError, grids::GridName, latent::LatentConfig, model::ModelConfig, presets,
    solvers::SolverName,
};
use advect::train::Precision;
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::{Table, Value};

/// Counts and training steps beyond these are slips of the pen; arithmetic on them would overflow.
pub(crate) const MOST: usize = 10_000_000;
pub(crate) const MOST_STEPS: u64 = 1_000_000_000_000;

/// The newest format of `config.toml` that this version reads, and the one it writes.
const FORMAT: u64 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunConfig {
    pub(crate) format: u64,
    pub(crate) preset: String,
    pub(crate) seed: u64,
    pub(crate) data: DataConfig,
    /// For a model of latents: the autoencoder under it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latent: Option<LatentConfig>,
    pub(crate) model: ModelConfig,
    pub(crate) path: PathConfig,
    pub(crate) train: TrainConfig,
    pub(crate) sample: SampleConfig,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainConfig {
    pub(crate) steps: u64,
    pub(crate) batch: usize,
    pub(crate) learning_rate: f64,
    pub(crate) warmup: u64,
    /// The learning rate ends at this fraction of its peak.
    pub(crate) floor: f64,
    pub(crate) weight_decay: f64,
    pub(crate) beta2: f64,
    pub(crate) clip_norm: f64,
    pub(crate) ema: f64,
    pub(crate) label_drop: f64,
    /// Steps between checkpoints and validation losses.
    pub(crate) checkpoint_every: u64,
    /// What the network computes in; without it f32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<Precision>,
    /// For an autoencoder: the weight of its latents' divergence from the normal distribution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kl_weight: Option<f64>,
    /// For an autoencoder: written when its training is over and `model.shift` and `model.scale` are those of its latents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) latents_measured: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampleConfig {
    pub(crate) solver: SolverName,
    pub(crate) steps: usize,
    /// Where the steps are.
    #[serde(default)]
    pub(crate) grid: GridName,
    pub(crate) rtol: f64,
    pub(crate) atol: f64,
    pub(crate) guidance: f64,
    pub(crate) batch: usize,
    /// Where in time sampling starts and ends: 0 and 1, or a little inside for predictions that are singular there.
    pub(crate) start: f64,
    pub(crate) end: f64,
}

/// Keys that a preset may leave out.
const OPTIONAL: [&str; 12] = [
    "data.folder",
    "data.side",
    "latent.autoencoder",
    "latent.weights",
    "model.classes",
    "path.coupling_epsilon",
    "path.data_std",
    "path.sigma_max",
    "path.sigma_min",
    "train.kl_weight",
    "train.latents_measured",
    "train.precision",
];

impl RunConfig {
    /// The preset named by the user or by the file, the file over it, `--set` over both.
    pub(crate) fn resolve(preset: Option<&str>, file: Option<&Path>, set: &[String]) -> Result<Self, CliError> {
        let mut layer = Table::new();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| CliError::usage(format!("cannot read the config {}: {e}", path.display())))?;
            layer = parse(&text, path)?;
        }
        let named = layer.get("preset").and_then(Value::as_str).map(str::to_owned);
        let name = preset.map(str::to_owned).or(named).unwrap_or_else(|| presets::FIRST.to_owned());
        let mut table = to_table(&presets::find(&name)?)?;
        check_format(&layer, file)?;
        merge(&mut table, layer, "", file)?;
        for assignment in set {
            table = assign(table, assignment)?;
        }
        Self::from_table(table)
    }

    /// A `config.toml` of a run.
    pub(crate) fn read(text: &str, path: &Path) -> Result<Self, CliError> {
        let table = parse(text, path)?;
        check_format(&table, Some(path))?;
        Self::from_table(table).map_err(|e| CliError::failure(format!("{}: {e}", path.display())))
    }

    pub(crate) fn to_toml(&self) -> Result<String, CliError> {
        toml::to_string(self).map_err(|e| CliError::failure(e.to_string()))
    }

    /// Whether a run that stands at `step` has nothing left to do.
    pub(crate) fn finished(&self, step: u64) -> bool {
        let measured = !matches!(self.model, ModelConfig::Autoencoder(_)) || self.train.latents_measured == Some(true);
        step >= self.train.steps && measured
    }

    fn from_table(table: Table) -> Result<Self, CliError> {
        let config: Self = Value::Table(table).try_into().map_err(|e: toml::de::Error| {
            CliError::usage(format!("the configuration is not valid: {}", e.to_string().trim().replace('\n', " ")))
        })?;
        config.validate()?;
        Ok(config)
    }

    pub(crate) fn validate(&self) -> Result<(), CliError> {
        let (train, sample) = (&self.train, &self.sample);
        let checks: [(&str, f64, bool, &str); 17] = [
            ("data.held_out", self.data.held_out as f64, (2..=100).contains(&self.data.held_out), "2 to 100"),
            ("train.steps", train.steps as f64, (1..=MOST_STEPS).contains(&train.steps), "1 to 1000000000000"),
            ("train.batch", train.batch as f64, (1..=MOST).contains(&train.batch), "at least 1, at most 10000000"),
            ("train.learning_rate", train.learning_rate, positive(train.learning_rate), "finite and > 0"),
            ("train.floor", train.floor, (0.0..=1.0).contains(&train.floor), "0 to 1"),
            ("train.weight_decay", train.weight_decay, (0.0..1.0).contains(&train.weight_decay), "0 to 1"),
            ("train.beta2", train.beta2, (0.0..1.0).contains(&train.beta2), "0 <= beta2 < 1"),
            ("train.clip_norm", train.clip_norm, positive(train.clip_norm), "finite and > 0"),
            ("train.ema", train.ema, (0.0..1.0).contains(&train.ema), "0 <= ema < 1"),
            ("train.label_drop", train.label_drop, (0.0..=1.0).contains(&train.label_drop), "0 to 1"),
            ("train.checkpoint_every", train.checkpoint_every as f64, train.checkpoint_every >= 1, "at least 1"),
            ("sample.steps", sample.steps as f64, (1..=MOST).contains(&sample.steps), "at least 1, at most 10000000"),
            ("sample.batch", sample.batch as f64, (1..=MOST).contains(&sample.batch), "at least 1, at most 10000000"),
            ("sample.rtol", sample.rtol, sample.rtol.is_finite() && sample.rtol >= 0.0, "finite and >= 0"),
            ("sample.atol", sample.atol, positive(sample.atol), "finite and > 0"),
            ("sample.guidance", sample.guidance, sample.guidance.is_finite(), "finite"),
            (
                "sample.end",
                sample.end,
                (0.0..=1.0).contains(&sample.start) && (0.0..=1.0).contains(&sample.end) && sample.start < sample.end,
                "0 <= sample.start < sample.end <= 1",
            ),
        ];
        for (name, value, valid, range) in checks {
            if !valid {
                return Err(CliError::usage(format!("{name} = {value} is out of range: {range}")));
            }
        }
        self.data.validate()?;
        match (&self.latent, &self.model) {
            (None, _) => self.model.fits(&self.data.shape())?,
            // The shape of latents is known when the autoencoder is.
            (Some(_), ModelConfig::Unet(_) | ModelConfig::Dit(_)) => {}
            (Some(_), _) => {
                return Err(CliError::usage(
                    "only a U-Net or a DiT stands on latents: leave out latent.autoencoder, or set model.kind to one",
                ));
            }
        }
        let autoencoder = matches!(self.model, ModelConfig::Autoencoder(_));
        if autoencoder && train.precision.is_some_and(|precision| precision != Precision::F32) {
            return Err(CliError::usage("train.precision is for flows: an autoencoder trains in f32"));
        }
        match train.kl_weight {
            Some(weight) if !(autoencoder && weight.is_finite() && weight >= 0.0) => {
                return Err(CliError::usage(format!(
                    "train.kl_weight = {weight} is out of range: finite and >= 0, and for autoencoders only"
                )));
            }
            None if autoencoder => return Err(CliError::usage("an autoencoder needs train.kl_weight, such as 0.05")),
            _ => {}
        }
        let known = self.data.classes();
        match self.model.classes() {
            Some(classes) if classes != known => Err(CliError::usage(format!(
                "model.classes = {classes}, but these data have {known} classes{}",
                if known == 0 { ": leave it out" } else { "" }
            ))),
            classes => {
                self.path.validate(classes)?;
                sample.grid.points(&self.path.schedule()?, sample.steps, [sample.start, sample.end])?;
                self.path.permits(self.sample.solver)
            }
        }
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn check_format(table: &Table, file: Option<&Path>) -> Result<(), CliError> {
    match table.get("format").and_then(Value::as_integer) {
        Some(found) if found > FORMAT as i64 => Err(CliError::failure(format!(
            "{} has format {found}, this version reads up to {FORMAT}: update advect",
            file.map_or_else(String::new, |f| f.display().to_string())
        ))),
        _ => Ok(()),
    }
}

fn to_table(config: &RunConfig) -> Result<Table, CliError> {
    Table::try_from(config).map_err(|e| CliError::failure(e.to_string()))
}

/// TOML, or where exactly it is not.
fn parse(text: &str, path: &Path) -> Result<Table, CliError> {
    text.parse::<Table>().map_err(|e| {
        let at = e.span().map_or(0, |span| span.start.min(text.len()));
        let before = &text.as_bytes()[..at];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        let column = at - before.iter().rposition(|&b| b == b'\n').map_or(0, |n| n + 1) + 1;
        let reason = e.message().replace('\n', ", ");
        CliError::usage(format!("{} is not TOML: line {line}, column {column}: {reason}", path.display()))
    })
}

/// Lays `over` on `base`; every key must be known there. A model of another kind replaces the whole section.
fn merge(base: &mut Table, over: Table, prefix: &str, file: Option<&Path>) -> Result<(), CliError> {
    if prefix == "model."
        && let (Some(new), Some(old)) = (over.get("kind"), base.get("kind"))
        && new != old
    {
        *base = over;
        return Ok(());
    }
    for (key, value) in over {
        let full = format!("{prefix}{key}");
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(value)) => merge(below, value, &format!("{full}."), file)?,
            (Some(Value::Table(_)), _) => {
                return Err(CliError::usage(format!("`{full}` is a section, not a value")));
            }
            (Some(Value::Float(slot)), Value::Integer(whole)) => *slot = whole as f64,
            (Some(slot), value) => *slot = value,
            (None, value) if OPTIONAL.contains(&full.as_str()) => {
                base.insert(key, value);
            }
            (None, _) => {
                let known: Vec<String> = base.keys().map(|k| format!("{prefix}{k}")).collect();
                let place = file.map_or_else(String::new, |f| format!(" in {}", f.display()));
                return Err(CliError::usage(format!(
                    "unknown key `{full}`{place}{}",
                    presets::suggest(&full, known.iter().map(String::as_str))
                )));
            }
        }
    }
    Ok(())
}

/// `--set train.steps=200`: the value is TOML, or else a bare word.
fn assign(mut table: Table, assignment: &str) -> Result<Table, CliError> {
    let Some((key, text)) = assignment.split_once('=') else {
        return Err(CliError::usage(format!("--set {assignment}: write key=value, such as train.steps=200")));
    };
    let (key, text) = (key.trim(), text.trim());
    if ["format", "preset"].contains(&key) {
        return Err(CliError::usage(format!("`{key}` is not a setting: choose a preset with --preset")));
    }
    let value = format!("v = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut t| t.remove("v"))
        .unwrap_or_else(|| Value::String(text.to_owned()));
    let mut known = Vec::new();
    leaves(&table, "", &mut known);
    known.extend(OPTIONAL.map(str::to_owned));
    if !known.iter().any(|k| k == key) {
        // A last part that fits is what people mean who forget the section.
        let end = format!(".{key}");
        let ends: Vec<String> = known.iter().filter(|k| k.ends_with(&end)).map(|k| format!("`{k}`")).collect();
        let hint = if ends.is_empty() {
            presets::suggest(key, known.iter().map(String::as_str))
        } else {
            format!(": did you mean {}?", ends.join(" or "))
        };
        return Err(CliError::usage(format!("unknown key `{key}`{hint}")));
    }
    let layer = key.rsplit('.').fold(value, |value, part| {
        let mut table = Table::new();
        table.insert(part.to_owned(), value);
        Value::Table(table)
    });
    if let Value::Table(layer) = layer {
        merge(&mut table, layer, "", None)?;
    }
    Ok(table)
}

fn leaves(table: &Table, prefix: &str, out: &mut Vec<String>) {
    for (key, value) in table {
        let full = format!("{prefix}{key}");
        match value {
            Value::Table(below) => leaves(below, &format!("{full}."), out),
            _ => out.push(full),
        }
    }
}
