//! The presets, and the nearest name for a mistyped one.

use crate::config::{
    DataConfig, DataName, ModelConfig, PathConfig, PredictionName, RunConfig, SampleConfig, ScheduleName, SolverName,
    TimesName, TrainConfig,
};
use crate::error::CliError;
use advect::nn::{MlpConfig, UNetConfig};

/// What `train` takes when nothing is said.
pub(crate) const FIRST: &str = "digits";

pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

pub(crate) const ALL: [Preset; 4] = [
    Preset { name: "digits", about: "8x8 handwritten digits of ten classes, U-Net, about a minute on two cores" },
    Preset { name: "moons", about: "two half circles on the plane, MLP, seconds" },
    Preset { name: "checkerboard", about: "a 4x4 checkerboard on the plane, MLP, about a minute" },
    Preset { name: "eight-gaussians", about: "eight Gaussians on a circle, MLP, seconds" },
];

/// The configuration of a preset.
pub(crate) fn find(name: &str) -> Result<RunConfig, CliError> {
    match name {
        "digits" => Ok(digits()),
        "moons" => Ok(plane("moons", DataName::Moons, 128, 2000)),
        "checkerboard" => Ok(plane("checkerboard", DataName::Checkerboard, 256, 4000)),
        "eight-gaussians" => Ok(plane("eight-gaussians", DataName::EightGaussians, 128, 2000)),
        other => {
            let names: Vec<&str> = ALL.iter().map(|p| p.name).collect();
            let hint = suggest(other, names.iter().copied());
            Err(CliError::usage(format!("unknown preset `{other}`{hint}; presets: {}", names.join(", "))))
        }
    }
}

fn path() -> PathConfig {
    PathConfig {
        schedule: ScheduleName::Linear,
        prediction: PredictionName::Velocity,
        times: TimesName::Uniform,
        times_mean: 0.0,
        times_std: 1.0,
        times_clip: 0.0,
    }
}

fn digits() -> RunConfig {
    RunConfig {
        format: 1,
        preset: "digits".to_owned(),
        seed: 0,
        data: DataConfig { name: DataName::Digits, held_out: 10 },
        model: ModelConfig::Unet(UNetConfig::digits().with_blocks(1)),
        path: path(),
        train: TrainConfig {
            steps: 500,
            batch: 128,
            learning_rate: 2e-3,
            warmup: 50,
            floor: 0.05,
            weight_decay: 0.0,
            beta2: 0.99,
            clip_norm: 1.0,
            ema: 0.99,
            label_drop: 0.1,
            checkpoint_every: 100,
        },
        sample: SampleConfig {
            solver: SolverName::Heun,
            steps: 25,
            rtol: 1e-4,
            atol: 1e-4,
            guidance: 1.25,
            batch: 256,
            start: 0.0,
            end: 1.0,
        },
    }
}

fn plane(name: &str, data: DataName, hidden: usize, steps: u64) -> RunConfig {
    RunConfig {
        format: 1,
        preset: name.to_owned(),
        seed: 0,
        data: DataConfig { name: data, held_out: 10 },
        model: ModelConfig::Mlp(MlpConfig::new(2, hidden, 4).with_time_features(32)),
        path: path(),
        train: TrainConfig {
            steps,
            batch: 1024,
            learning_rate: 2e-3,
            warmup: 100,
            floor: 0.01,
            weight_decay: 0.0,
            beta2: 0.999,
            clip_norm: 1.0,
            ema: 0.995,
            label_drop: 0.0,
            checkpoint_every: 500,
        },
        sample: SampleConfig {
            solver: SolverName::Midpoint,
            steps: 50,
            rtol: 1e-4,
            atol: 1e-4,
            guidance: 1.0,
            batch: 4096,
            start: 0.0,
            end: 1.0,
        },
    }
}

/// `: did you mean ...?`, if something is near.
pub(crate) fn suggest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|k| (strsim::normalized_damerau_levenshtein(name, k), k))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(score, _)| *score > 0.4)
        .map_or_else(String::new, |(_, k)| format!(": did you mean `{k}`?"))
}
