//! `advect import`: a run folder of a network that was trained elsewhere.

use crate::args::ImportArgs;
use crate::config::{PredictionName, ScheduleName};
use crate::error::CliError;
use crate::presets;
use crate::say::Say;
use advect::device::Chosen;
use advect::nn::UNet;
use advect::nn::checkpoint::{Backbone, Folder, Loading, Numbers, Precision, load_with};
use advect::prelude::*;
use advect::train::History;
use burn::module::Module;
use burn::tensor::FloatDType;
use serde::Deserialize;
use serde_json::json;
use std::path::Path;

use advect::burn;

/// The time of diffusers' networks that stands for pure noise. 0 stands for data.
const NOISE: f64 = 999.0;

pub(crate) fn run(args: &ImportArgs, chosen: &Chosen, say: Say) -> Result<(), CliError> {
    if !args.folder.is_dir() {
        return Err(CliError::failure(format!(
            "{} is no folder: a file of weights does not say which network they belong to, name a folder with the \
             config.json of diffusers",
            args.folder.display()
        )));
    }
    let folder = Folder::open(&args.folder)?;
    let Backbone::UNet { config: unet, size } = &folder.backbone else {
        return Err(CliError::failure(
            "the program makes runs of UNet2DModel only: load the others with the library, see advect::nn::checkpoint",
        ));
    };
    let size = args.side.map(|side| [side, side]).or(*size).ok_or_else(|| {
        CliError::usage("config.json does not say how large the images are: give their height and width with --side")
    })?;
    if ![1, 3].contains(&unet.in_channels) {
        return Err(CliError::failure(format!(
            "the program draws images in gray or color, and this network has {} channels: load it with the library",
            unet.in_channels
        )));
    }
    let path = match (args.schedule, args.prediction) {
        (Some(schedule), Some(prediction)) => (schedule, prediction),
        _ => scheduler(&args.folder)?,
    };
    let config = presets::imported(unet.clone(), size, path);
    config.model.fits(&config.data.shape())?;
    config.data.validate()?;

    let device = chosen.device.clone().autodiff();
    let numbers = if args.allow_nan { Numbers::Any } else { Numbers::Finite };
    let loading = Loading { dtype: Precision::Cast(FloatDType::F32), numbers };
    let network = unet.init(&device).map_err(CliError::failure)?;
    let mut network: UNet = load_with(network, &folder.layout(), &folder.checkpoint, loading)?;
    // Our time runs from noise to data.
    network.time = network.time.backward(NOISE);

    let run = RunFolder::create(&args.out, &config.to_toml()?)?;
    let mut trainer = Trainer::new(network);
    trainer.step = config.train.steps; // finished, as far as this program is concerned
    run.save(&trainer, &History::default())?;
    let parameters = trainer.model.num_params();
    say.event(
        &format!(
            "imported {} into {}: {parameters} parameters, images of {:?}; draw samples with: advect sample {} --out \
             samples.npz",
            args.folder.display(),
            args.out.display(),
            config.data.shape(),
            args.out.display()
        ),
        json!({"event": "imported", "from": args.folder, "run": args.out, "parameters": parameters, "config": config}),
    );
    Ok(())
}

/// What diffusers says about the noise that a network was trained with.
#[derive(Deserialize)]
struct Scheduler {
    #[serde(rename = "_class_name", default)]
    class: String,
    #[serde(default = "linear")]
    beta_schedule: String,
    #[serde(default = "beta_start")]
    beta_start: f64,
    #[serde(default = "beta_end")]
    beta_end: f64,
    #[serde(default = "steps")]
    num_train_timesteps: u64,
    trained_betas: Option<serde_json::Value>,
    #[serde(default)]
    rescale_betas_zero_snr: bool,
    #[serde(default = "epsilon")]
    prediction_type: String,
}

fn linear() -> String {
    "linear".to_owned()
}

fn beta_start() -> f64 {
    1e-4
}

fn beta_end() -> f64 {
    0.02
}

fn steps() -> u64 {
    1000
}

fn epsilon() -> String {
    "epsilon".to_owned()
}

/// The path of a `scheduler_config.json`.
///
/// The thousand linear betas of Ho et al. 2020 are the variance-preserving path, cut into steps: step n is the time
/// s = (n + 1) / 1000, where alpha and sigma agree to 0.0014 (Song et al. 2021, appendix B).
fn scheduler(folder: &Path) -> Result<(ScheduleName, PredictionName), CliError> {
    let name = "scheduler_config.json";
    let places = [folder.join(name), folder.join("../scheduler").join(name)];
    let Some(path) = places.iter().find(|path| path.is_file()) else {
        return Err(CliError::usage(format!(
            "{} has no {name}, so nothing says what the network was trained to do: give --schedule and --prediction \
             (vp and noise for DDPM)",
            folder.display()
        )));
    };
    let failed = |reason: String| CliError::failure(format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let found: Scheduler = serde_json::from_str(&text).map_err(|error| failed(error.to_string()))?;
    let refused = |key: &str, value: &str| {
        Err(failed(format!("`{key}` = {value} is not supported: give --schedule and --prediction if they describe it")))
    };
    if !["DDPM", "DDIM", "PNDM", "DPMSolver", "UniPC", "EulerDiscrete", "Heun"]
        .iter()
        .any(|k| found.class.starts_with(k))
    {
        return refused("_class_name", &found.class);
    }
    if found.beta_schedule != "linear" || found.trained_betas.is_some() || found.rescale_betas_zero_snr {
        return refused("beta_schedule", &found.beta_schedule);
    }
    if (found.beta_start, found.beta_end, found.num_train_timesteps) != (beta_start(), beta_end(), steps()) {
        let betas = format!("{} to {} in {} steps", found.beta_start, found.beta_end, found.num_train_timesteps);
        return refused("beta_start", &betas);
    }
    match found.prediction_type.as_str() {
        "epsilon" => Ok((ScheduleName::Vp, PredictionName::Noise)),
        "sample" => Ok((ScheduleName::Vp, PredictionName::Data)),
        other => refused("prediction_type", other),
    }
}
