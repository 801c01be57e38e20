//! The presets, and the nearest name for a mistyped one.

use crate::config::{RunConfig, SampleConfig, TrainConfig};
use crate::data::{DataConfig, DataName};
use crate::error::CliError;
use crate::grids::GridName;
use crate::latent::LatentConfig;
use crate::model::ModelConfig;
use crate::path::{
    CouplingName, PathConfig, PreconditioningName, PredictionName, ScheduleName, TimesName, WeightingName,
};
use crate::solvers::SolverName;
use advect::nn::{AutoencoderKlConfig, Conditioning, DiTConfig, MlpConfig, UNetConfig};

/// What `train` takes when nothing is said.
pub(crate) const FIRST: &str = "digits";

pub(crate) struct Preset {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
}

pub(crate) const ALL: [Preset; 8] = [
    Preset { name: "digits", about: "8x8 handwritten digits of ten classes, U-Net, about a minute on two cores" },
    Preset { name: "mnist-dit", about: "MNIST at 32x32 from a folder of idx files (--data), small DiT, under an hour" },
    Preset { name: "mnist-autoencoder", about: "an autoencoder of MNIST for latent models (--data), minutes" },
    Preset { name: "mnist-latent", about: "that autoencoder, and a DiT on its latents (--data), half an hour in all" },
    Preset { name: "mnist-unet", about: "MNIST at 32x32 from a folder of idx files (--data), U-Net, under an hour" },
    Preset { name: "moons", about: "two half circles on the plane, MLP, seconds" },
    Preset { name: "checkerboard", about: "a 4x4 checkerboard on the plane, MLP, about a minute" },
    Preset { name: "eight-gaussians", about: "eight Gaussians on a circle, MLP, seconds" },
];

/// The configuration of a preset.
pub(crate) fn find(name: &str) -> Result<RunConfig, CliError> {
    match name {
        "digits" => Ok(digits()),
        "mnist-dit" => Ok(mnist_dit()),
        "mnist-autoencoder" => Ok(mnist_autoencoder()),
        "mnist-latent" => Ok(mnist_latent()),
        "mnist-unet" => Ok(mnist_unet()),
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
        sigma_min: None,
        sigma_max: None,
        prediction: PredictionName::Velocity,
        preconditioning: PreconditioningName::None,
        data_std: None,
        weighting: WeightingName::Velocity,
        coupling: CouplingName::Independent,
        coupling_epsilon: None,
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
        data: DataConfig::own(DataName::Digits),
        latent: None,
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
            precision: None,
            kl_weight: None,
            latents_measured: None,
        },
        sample: SampleConfig {
            solver: SolverName::HEUN,
            steps: 25,
            grid: GridName::default(),
            rtol: 1e-4,
            atol: 1e-4,
            guidance: 1.25,
            batch: 256,
            start: 0.0,
            end: 1.0,
        },
    }
}

/// The U-Net of lab 3 of MIT 6.S184 in its 2025 edition: three levels of 32, 64 and 128 channels, added conditions.
fn mnist_unet() -> RunConfig {
    let unet = UNetConfig::new(1, 32, vec![1, 2, 4])
        .with_groups(8)
        .with_conditioning(Conditioning::Add)
        .with_classes(Some(10));
    RunConfig {
        preset: "mnist-unet".to_owned(),
        model: ModelConfig::Unet(unet),
        train: TrainConfig {
            steps: 1500,
            batch: 64,
            learning_rate: 1e-3,
            warmup: 100,
            floor: 0.05,
            beta2: 0.99,
            ema: 0.995,
            checkpoint_every: 250,
            ..mnist().train
        },
        ..mnist()
    }
}

/// The diffusion transformer of lab 3 of MIT 6.S184 in its 2026 edition, at 0.8 million parameters.
fn mnist_dit() -> RunConfig {
    RunConfig {
        preset: "mnist-dit".to_owned(),
        model: ModelConfig::Dit(DiTConfig::mnist().with_size([32, 32])),
        train: TrainConfig {
            steps: 3200,
            batch: 256,
            learning_rate: 1e-3,
            warmup: 200,
            floor: 0.02,
            beta2: 0.99,
            ema: 0.998,
            checkpoint_every: 200,
            ..mnist().train
        },
        ..mnist()
    }
}

fn mnist_autoencoder() -> RunConfig {
    RunConfig {
        preset: "mnist-autoencoder".to_owned(),
        data: DataConfig::own(DataName::Mnist),
        model: ModelConfig::Autoencoder(AutoencoderKlConfig::mnist()),
        train: TrainConfig {
            steps: 1200,
            batch: 64,
            learning_rate: 2e-3,
            warmup: 100,
            floor: 0.02,
            ema: 0.99,
            label_drop: 0.0,
            checkpoint_every: 200,
            precision: None,
            kl_weight: Some(0.05),
            ..mnist().train
        },
        ..mnist()
    }
}

/// Latent diffusion (Rombach et al. 2022) at the size of MNIST: a DiT on the 4x7x7 latents of an autoencoder.
fn mnist_latent() -> RunConfig {
    let dit = DiTConfig::new(4, [7, 7], 1, 128, 4, 4).with_mlp_ratio(2).with_classes(Some(10));
    RunConfig {
        preset: "mnist-latent".to_owned(),
        data: DataConfig::own(DataName::Mnist),
        latent: Some(LatentConfig::default()),
        model: ModelConfig::Dit(dit),
        train: TrainConfig {
            steps: 3000,
            batch: 128,
            learning_rate: 1e-3,
            warmup: 200,
            floor: 0.02,
            ema: 0.998,
            checkpoint_every: 250,
            ..mnist().train
        },
        ..mnist()
    }
}

/// What the presets of MNIST share.
fn mnist() -> RunConfig {
    RunConfig {
        data: DataConfig { side: Some(32), ..DataConfig::own(DataName::Mnist) },
        sample: SampleConfig { guidance: 1.5, batch: 128, ..digits().sample },
        ..digits()
    }
}

/// A network that was trained elsewhere: what its run folder says.
pub(crate) fn imported(data: DataConfig, model: ModelConfig, path: (ScheduleName, PredictionName)) -> RunConfig {
    let (schedule, prediction) = path;
    // It is not trained here; but a v on a VP path has no finite error of its velocity.
    let weighting = WeightingName::None;
    RunConfig {
        preset: "imported".to_owned(),
        data,
        model,
        path: PathConfig { schedule, prediction, weighting, ..self::path() },
        train: TrainConfig { steps: 1, ..digits().train },
        // Discrete steps end one before the data, where a prediction of the noise says nothing any more.
        sample: SampleConfig { steps: 50, guidance: 1.0, batch: 64, end: 0.999, ..digits().sample },
        ..digits()
    }
}

fn plane(name: &str, data: DataName, hidden: usize, steps: u64) -> RunConfig {
    RunConfig {
        format: 1,
        preset: name.to_owned(),
        seed: 0,
        data: DataConfig::own(data),
        latent: None,
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
            precision: None,
            kl_weight: None,
            latents_measured: None,
        },
        sample: SampleConfig {
            solver: SolverName::MIDPOINT,
            steps: 50,
            grid: GridName::default(),
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
