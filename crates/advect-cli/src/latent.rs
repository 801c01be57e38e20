//! Latent models: the autoencoder under them, and the latents of the data, computed once and kept on disk.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::model::ModelConfig;
use crate::presets;
use crate::say::Say;
use crate::train::{AGAIN, Session};
use advect::burn::tensor::{Tensor, TensorData};
use advect::data::{Dataset, Units};
use advect::device::Chosen;
use advect::nn::{AutoencoderKl, AutoencoderKlConfig, Vae};
use advect::prelude::*;
use advect::train::{Weights, Which};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::path::{Path as FilePath, PathBuf};

/// The latents of all images of the data, in their order.
const LATENTS: &str = "latents.safetensors";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatentConfig {
    /// The run folder of the autoencoder, as seen from this run's folder. [`OWN`] is trained first if it is not there yet.
    pub(crate) autoencoder: PathBuf,
    /// Written by training: a fingerprint of the autoencoder, so that a changed one is noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weights: Option<String>,
}

/// An autoencoder that belongs to one latent model alone, inside its run folder.
const OWN: &str = "autoencoder";

impl Default for LatentConfig {
    fn default() -> Self {
        Self { autoencoder: OWN.into(), weights: None }
    }
}

impl LatentConfig {
    /// For a new run: a folder that the user named is one of the working directory. `named` if it was by `--set`.
    pub(crate) fn settle(&mut self, named: bool) -> Result<(), CliError> {
        self.weights = None;
        if named || self.autoencoder != FilePath::new(OWN) {
            let found = self.autoencoder.canonicalize();
            self.autoencoder = found.map_err(|e| nothing_at(&self.autoencoder, &e.to_string()))?;
        }
        Ok(())
    }
}

fn nothing_at(place: &FilePath, reason: &str) -> CliError {
    CliError::usage(format!(
        "latent.autoencoder = {}: {reason}; name the run folder of a trained autoencoder, or leave it out to train one",
        place.display()
    ))
}

/// The latents to train on: trains the autoencoder and encodes the data, if that is not done already.
pub(crate) fn prepare(session: &mut Session, chosen: &Chosen, say: Say) -> Result<Dataset, CliError> {
    let (config, path) = (&session.config, &session.path);
    // All that can be wrong is found before anything is trained or written.
    let place = place(config, path);
    if path.canonicalize().is_ok_and(|path| path == place) {
        return Err(CliError::usage(format!(
            "{} cannot be the run and its autoencoder: choose another folder with --run",
            place.display()
        )));
    }
    if session.is_new() {
        RunFolder::vacant(path, None)?;
    }
    let mut below = under(config, &place)?;
    let ModelConfig::Autoencoder(model) = &below.config.model else {
        return Err(no_autoencoder(&place, &below.config));
    };
    if !below.config.data.same(&config.data) || below.config.seed != config.seed {
        return Err(CliError::usage(format!(
            "the autoencoder in {} was trained on other data or another split of them: give both the same [data] and seed",
            place.display()
        )));
    }
    let shape = shape(model, &config.data.shape());
    config.model.fits(&shape)?;
    let mut data = config.data.load()?;
    if !below.finished()? {
        // Its training has its own.
        drop(data);
        below.config.data.folder.clone_from(&config.data.folder);
        below.below = true;
        below.run(chosen, say)?;
        data = config.data.load()?;
    }

    let device = &chosen.device;
    let autoencoder = load(&place, device)?;
    autoencoder.is_known_to(config, &place)?;
    let file = path.join(LATENTS);
    let identity = format!("{} of {} images {}", autoencoder.weights, data.count(), pixels(&data));
    let weights = match Weights::load(&file) {
        Ok(kept) if kept.metadata == identity => kept,
        _ => {
            let bar = say.bar(data.count() as u64, "{bar:30} latent {pos}/{len}  {per_sec}  time left {eta}");
            let mut values = Vec::new();
            for chunk in chunks(&data, config.sample.batch) {
                session.heed(AGAIN).inspect_err(|_| bar.abandon())?;
                values.extend(read(autoencoder.network.latents(data.batch(&chunk, device)))?);
                bar.set_position(chunk.last().map_or(0, |&i| i as u64 + 1));
            }
            bar.finish_and_clear();
            let [channels, height, width] = shape;
            let mut weights = Weights { metadata: identity, ..Weights::default() };
            weights
                .tensors
                .insert("latents".to_owned(), TensorData::new(values, [data.count(), channels, height, width]));
            std::fs::create_dir_all(path)
                .map_err(|e| CliError::failure(format!("cannot make the folder {}: {e}", path.display())))?;
            weights.save(&file)?;
            say.event(
                &format!("wrote {}: {} latents of {channels}x{height}x{width}", file.display(), data.count()),
                json!({"event": "encoded", "out": file, "count": data.count(), "shape": [channels, height, width]}),
            );
            weights
        }
    };
    if let Some(latent) = &mut session.config.latent {
        latent.weights = Some(autoencoder.weights);
    }
    let latents = weights.tensors.get("latents").and_then(|t| t.try_to_vec::<f32>().ok()).unwrap_or_default();
    let labels = data.labels().map(<[usize]>::to_vec);
    // The autoencoder has normalized them.
    Ok(Dataset::new(shape.to_vec(), latents, labels, data.classes(), Units { offset: 0.0, scale: 1.0 })?)
}

/// What turns samples of a latent model into images.
#[derive(Debug)]
pub(crate) struct Decoder {
    pub(crate) network: AutoencoderKl,
    /// The shape of one sample's latents.
    pub(crate) shape: Vec<usize>,
}

impl Decoder {
    /// # Shapes
    /// - `latents`: `[batch, channels, height, width]`, whatever its rank is called
    /// - output: `[batch, channels, height, width]` of the images
    pub(crate) fn images<const D: usize>(&self, latents: Tensor<D>) -> Tensor<4> {
        let dims = latents.dims();
        let shape: [usize; 4] = std::array::from_fn(|axis| dims.get(axis).copied().unwrap_or(1));
        self.network.decode_latents(latents.reshape(shape))
    }
}

/// The decoder under a latent model; none for other models.
pub(crate) fn decoder(config: &RunConfig, path: &FilePath, device: &Device) -> Result<Option<Decoder>, CliError> {
    if config.latent.is_none() {
        return Ok(None);
    }
    let place = place(config, path);
    let autoencoder = load(&place, device)?;
    autoencoder.is_known_to(config, &place)?;
    let shape = shape(&autoencoder.model, &config.data.shape());
    config.model.fits(&shape).map_err(|e| {
        CliError::failure(format!("the model does not fit the latents of the autoencoder in {}: {e}", place.display()))
    })?;
    Ok(Some(Decoder { network: autoencoder.network, shape: shape.to_vec() }))
}

/// The mean of the latents of the data, and one over their standard deviation.
pub(crate) fn measure(
    session: &Session,
    autoencoder: &AutoencoderKl,
    data: &Dataset,
    device: &Device,
) -> Result<(f64, f64), CliError> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for chunk in chunks(data, session.config.sample.batch) {
        session.heed(&session.advice())?;
        for value in read(autoencoder.encode(data.batch(&chunk, device)).mean())? {
            count += 1.0;
            sum += f64::from(value);
            squares += f64::from(value) * f64::from(value);
        }
    }
    let mean = sum / count;
    let deviation = (squares / count - mean * mean).sqrt();
    if deviation.is_finite() && deviation > 0.0 {
        Ok((mean, 1.0 / deviation))
    } else {
        Err(CliError::failure(
            "the latents of all images are the same: train the autoencoder longer, or with a smaller train.kl_weight",
        ))
    }
}

/// The shape of the latents of one image.
pub(crate) fn shape(model: &AutoencoderKlConfig, image: &[usize]) -> [usize; 3] {
    let side = |axis: usize| image.get(axis).copied().unwrap_or(0) / model.factor();
    [model.latent_channels, side(1), side(2)]
}

/// The folder of the autoencoder; without links and `..` if it is there.
fn place(config: &RunConfig, run: &FilePath) -> PathBuf {
    let place = config.latent.as_ref().map_or_else(PathBuf::new, |latent| run.join(&latent.autoencoder));
    place.canonicalize().unwrap_or(place)
}

/// The autoencoder's run: the one that is there, or a new one of the preset if it is this model's own.
fn under(config: &RunConfig, place: &FilePath) -> Result<Session, CliError> {
    if RunFolder::open(place).is_ok() {
        return Session::open(place);
    }
    if config.latent.as_ref().is_none_or(|latent| latent.autoencoder != FilePath::new(OWN)) {
        return Err(nothing_at(place, "it holds no run"));
    }
    let mut below = presets::find("mnist-autoencoder")?;
    below.data = config.data.clone();
    below.seed = config.seed;
    below.validate().map_err(|e| CliError::usage(format!("the autoencoder that comes first: {e}")))?;
    Ok(Session::new(below, place.to_owned()))
}

/// A trained autoencoder.
struct Autoencoder {
    network: AutoencoderKl,
    model: AutoencoderKlConfig,
    /// Another number for other weights, or another shift or scale of the latents.
    weights: String,
}

impl Autoencoder {
    /// That it is the one whose latents the model was trained on, as far as the model has any yet.
    fn is_known_to(&self, config: &RunConfig, place: &FilePath) -> Result<(), CliError> {
        match config.latent.as_ref().and_then(|latent| latent.weights.as_ref()) {
            Some(known) if *known != self.weights => Err(CliError::failure(format!(
                "the autoencoder in {} is not what it was when this model was trained on its latents: bring it back, or \
                 train a new model on it",
                place.display()
            ))),
            _ => Ok(()),
        }
    }
}

/// The averaged weights of an autoencoder's run.
fn load(place: &FilePath, device: &Device) -> Result<Autoencoder, CliError> {
    let folder = RunFolder::open(place)?;
    let config = RunConfig::read(&folder.config()?, &place.join("config.toml"))?;
    let ModelConfig::Autoencoder(model) = config.model else { return Err(no_autoencoder(place, &config)) };
    let network = folder.load(Vae::new(model.init(device).map_err(CliError::usage)?), Which::Ema)?.autoencoder;
    let tensors = Weights::of(&network).tensors;
    let bytes = tensors.values().flat_map(|data| data.as_bytes().iter().copied().map(u64::from));
    let weights = format!("{:016x}", hash([model.shift, model.scale].map(f64::to_bits).into_iter().chain(bytes)));
    Ok(Autoencoder { network, model, weights })
}

fn no_autoencoder(place: &FilePath, config: &RunConfig) -> CliError {
    let preset = &config.preset;
    CliError::failure(format!("{} is no autoencoder, but a run of preset {preset}", place.display()))
}

/// A number for the values of a set, in the order of its samples.
fn pixels(data: &Dataset) -> String {
    let values = (0..data.count()).flat_map(|i| data.sample(i));
    format!("{:016x}", hash(values.map(|value| u64::from(value.to_bits()))))
}

/// FNV-1a of 64 bits (Fowler, Noll, Vo 1991), here of words: cheap, the same everywhere; no protection from those who
/// mean harm.
fn hash(words: impl Iterator<Item = u64>) -> u64 {
    words.fold(0xcbf2_9ce4_8422_2325, |hash, word| (hash ^ word).wrapping_mul(0x0100_0000_01b3))
}

fn chunks(data: &Dataset, batch: usize) -> impl Iterator<Item = Vec<usize>> {
    let count = data.count();
    (0..count).step_by(batch.max(1)).map(move |start| (start..(start + batch).min(count)).collect())
}

fn read(x: Tensor<4>) -> Result<Vec<f32>, CliError> {
    x.try_into_vec_as::<f32>().map_err(|_| CliError::failure("cannot read the latents back from the device"))
}
