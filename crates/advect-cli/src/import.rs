//! `advect import`: a run folder of a network that was trained elsewhere.

use crate::args::ImportArgs;
use crate::config::RunConfig;
use crate::data::DataConfig;
use crate::error::CliError;
use crate::latent::{self, LatentConfig};
use crate::model::ModelConfig;
use crate::path::{PredictionName, ScheduleName};
use crate::presets;
use crate::say::Say;
use advect::device::Chosen;
use advect::nn::Vae;
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
    if !args.folder.exists() {
        return Err(CliError::failure(format!("{} does not exist", args.folder.display())));
    }
    if !args.folder.is_dir() {
        return Err(CliError::failure(format!(
            "{} is no folder: a file of weights does not say which network they belong to, name a folder with the \
             config.json of diffusers",
            args.folder.display()
        )));
    }
    // A whole pipeline has its network in a folder of its own.
    let within = ["unet", "transformer"].map(|name| args.folder.join(name));
    let place = match within.iter().find(|place| place.join("config.json").is_file()) {
        Some(place) if !args.folder.join("config.json").exists() => place,
        _ => &args.folder,
    };
    let folder = Folder::open(place)?;
    let import = Import { args, device: &chosen.device.clone().autodiff(), place };
    let (config, parameters) = match &folder.backbone {
        Backbone::UNet { config, size } => import.unet(&folder, config, *size)?,
        Backbone::DiT(config) => import.dit(&folder, config)?,
        Backbone::AutoencoderKl(_) => {
            return Err(CliError::failure(
                "an autoencoder draws no samples of its own: import the DiT that stands on it, with the autoencoder in \
                 vae/ beside it",
            ));
        }
        _ => {
            return Err(CliError::failure(
                "the program makes runs of UNet2DModel and DiTTransformer2DModel only: load the others with the library, \
                 see advect::nn::checkpoint",
            ));
        }
    };
    // The configurations of U-Nets do not say which of their classes stands for none, if any does.
    let null = match &folder.backbone {
        Backbone::UNet { config: UNetConfig { classes: Some(classes), .. }, .. } => {
            format!(", {classes} classes (the last of its {} is taken as \"no class\")", classes + 1)
        }
        _ => String::new(),
    };
    say.event(
        &format!(
            "imported {} into {}: {parameters} parameters, images of {:?}{null}; draw samples with: advect sample {} \
             --out samples.npz",
            place.display(),
            args.out.display(),
            config.data.shape(),
            args.out.display()
        ),
        json!({"event": "imported", "from": place, "run": args.out, "parameters": parameters, "config": config}),
    );
    Ok(())
}

struct Import<'a> {
    args: &'a ImportArgs,
    device: &'a Device,
    /// The folder of the network.
    place: &'a Path,
}

impl Import<'_> {
    fn unet(
        &self,
        folder: &Folder,
        unet: &UNetConfig,
        size: Option<[usize; 2]>,
    ) -> Result<(RunConfig, usize), CliError> {
        let size = self.args.side.map(|side| [side, side]).or(size).ok_or_else(|| {
            CliError::usage(
                "config.json does not say how large the images are: give their height and width with --side",
            )
        })?;
        drawable(unet.in_channels)?;
        if unet.out_channels != unet.in_channels {
            return Err(channels(unet.in_channels, unet.out_channels, "as many"));
        }
        let [height, width] = size;
        let data = DataConfig::imported([unet.in_channels, height, width], unet.classes);
        data.validate().map_err(|e| self.refused(e))?;
        let config = presets::imported(data, ModelConfig::Unet(unet.clone()), self.path()?);
        config.model.fits(&config.data.shape()).map_err(|e| self.refused(e))?;
        vacant(&self.args.out, &config)?;
        let mut network: UNet = self.load(unet.init(self.device).map_err(CliError::failure)?, folder)?;
        // Our time runs from noise to data.
        network.time = network.time.backward(NOISE);
        Ok((config.clone(), self.save(&self.args.out, network, &config)?))
    }

    /// A transformer on latents, and the autoencoder in the folder `vae` beside it.
    fn dit(&self, folder: &Folder, dit: &DiTConfig) -> Result<(RunConfig, usize), CliError> {
        let vae = self.place.parent().map_or_else(|| "vae".into(), |parent| parent.join("vae"));
        let below = Folder::open(&vae).map_err(|e| {
            CliError::failure(format!("the autoencoder under this transformer has to be in vae/ beside it: {e}"))
        })?;
        let Backbone::AutoencoderKl(autoencoder) = &below.backbone else {
            return Err(CliError::failure(format!("{} is no AutoencoderKL", vae.display())));
        };
        if autoencoder.latent_channels != dit.in_channels {
            return Err(CliError::failure(format!(
                "the transformer takes {} channels and the autoencoder gives {}: they do not belong together",
                dit.in_channels, autoencoder.latent_channels
            )));
        }
        drawable(autoencoder.in_channels)?;
        if dit.out_channels != dit.in_channels && dit.in_channels.checked_mul(2) != Some(dit.out_channels) {
            return Err(channels(dit.in_channels, dit.out_channels, "as many, or twice as many with a variance"));
        }
        // Beyond the largest number it is too large as well.
        let [height, width] = dit.size.map(|size| size.saturating_mul(autoencoder.factor()));
        let data = DataConfig::imported([autoencoder.in_channels, height, width], dit.classes);
        data.validate().map_err(|e| self.refused(e))?;
        let path = self.path()?;
        let mut config = presets::imported(data.clone(), ModelConfig::Dit(dit.clone()), path);
        let latent = LatentConfig::default();
        let below_out = self.args.out.join(&latent.autoencoder);
        config.latent = Some(latent);
        let mut under = presets::imported(data, ModelConfig::Autoencoder(autoencoder.clone()), path);
        under.train.kl_weight = Some(0.0);
        under.train.latents_measured = Some(true);
        under.model.fits(&under.data.shape()).map_err(|e| self.refused(e))?;
        config.model.fits(&latent::shape(autoencoder, &config.data.shape())).map_err(|e| self.refused(e))?;
        vacant(&self.args.out, &config)?;
        vacant(&below_out, &under)?;

        // Both are read before anything is written, and the run exists only with what it stands on.
        let mut network: DiT = self.load(dit.init(self.device).map_err(CliError::failure)?, folder)?;
        network.time = network.time.backward(NOISE);
        let vae = self.load(autoencoder.init(self.device).map_err(CliError::failure)?, &below)?;
        self.save(&below_out, Vae::new(vae), &under)?;
        let parameters = self.save(&self.args.out, network, &config)?;
        Ok((config, parameters))
    }

    /// The user's mistake if the size of the images was theirs, else one in `config.json`.
    fn refused(&self, error: CliError) -> CliError {
        match self.args.side {
            Some(side) => CliError::usage(format!("--side {side}: {error}")),
            None => CliError::failure(format!("{}: {error}", self.place.join("config.json").display())),
        }
    }

    fn path(&self) -> Result<(ScheduleName, PredictionName), CliError> {
        match (self.args.schedule, self.args.prediction) {
            (Some(schedule), Some(prediction)) => Ok((schedule, prediction)),
            _ => scheduler(self.place),
        }
    }

    fn load<M: Module>(&self, network: M, folder: &Folder) -> Result<M, CliError> {
        let numbers = if self.args.allow_nan { Numbers::Any } else { Numbers::Finite };
        let loading = Loading { dtype: Precision::Cast(FloatDType::F32), numbers };
        Ok(load_with(network, &folder.layout(), &folder.checkpoint, loading)?)
    }

    /// A run that is finished, as far as this program is concerned. Returns the number of parameters.
    fn save<M: Module>(&self, out: &Path, network: M, config: &RunConfig) -> Result<usize, CliError> {
        let run = RunFolder::create(out, &config.to_toml()?)?;
        let mut trainer = Trainer::new(network);
        trainer.step = config.train.steps;
        run.save(&trainer, &History::default())?;
        Ok(trainer.model.num_params())
    }
}

/// That there is no run yet where one is to be made.
fn vacant(out: &Path, config: &RunConfig) -> Result<(), CliError> {
    RunFolder::vacant(out, Some(&config.to_toml()?)).map_err(|_| {
        CliError::failure(format!("{} already holds a run: choose another folder with --out", out.display()))
    })
}

fn channels(taken: usize, given: usize, wanted: &str) -> CliError {
    CliError::failure(format!(
        "the network takes {taken} channels and gives {given}, but a flow needs {wanted}: load it with the library"
    ))
}

fn drawable(channels: usize) -> Result<(), CliError> {
    if [1, 3].contains(&channels) {
        return Ok(());
    }
    Err(CliError::failure(format!(
        "the program draws images in gray or color, and this network has {channels} channels: load it with the library"
    )))
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
        "v_prediction" => Ok((ScheduleName::Vp, PredictionName::V)),
        other => refused("prediction_type", other),
    }
}
