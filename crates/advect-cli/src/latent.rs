//! Latent models: the autoencoder under them, and the latents of the data, computed once and kept on disk.

use crate::config::RunConfig;
use crate::data::DataConfig;
use crate::error::CliError;
use crate::model::ModelConfig;
use crate::presets;
use crate::say::Say;
use crate::train::Session;
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
    /// The run folder of the autoencoder, as seen from this run's folder. If there is none yet, it is trained first.
    pub(crate) autoencoder: PathBuf,
}

/// The latents to train on: trains the autoencoder and encodes the data, if that is not done already.
pub(crate) fn prepare(session: &Session, chosen: &Chosen, say: Say) -> Result<Dataset, CliError> {
    let (config, path) = (&session.config, &session.path);
    let place = place(config, path);
    match Session::open(&place) {
        Ok(below) if finished(&below)? => {}
        Ok(below) => below.run(chosen, say)?,
        Err(_) if RunFolder::open(&place).is_err() => {
            let mut below = presets::find("mnist-autoencoder")?;
            below.data = config.data.clone();
            below.seed = config.seed;
            Session::new(below, place.clone()).run(chosen, say)?;
        }
        Err(e) => return Err(e),
    }
    let device = &chosen.device;
    let Autoencoder { network: autoencoder, model, data: trained_on } = load(&place, device)?;
    if trained_on != config.data {
        return Err(CliError::usage(format!(
            "the autoencoder in {} was trained on other data or another split of them: give both the same [data]",
            place.display()
        )));
    }
    let shape = shape(&model, &config.data.shape());
    config.model.fits(&shape)?;
    let file = path.join(LATENTS);
    let data = config.data.load()?;
    let weights = match Weights::load(&file) {
        Ok(kept) if kept.metadata == identity(&place)? => kept,
        _ => {
            let bar = say.bar(data.count() as u64, "{bar:30} latent {pos}/{len}  {per_sec}  time left {eta}");
            let mut values = Vec::new();
            for chunk in chunks(&data, config.sample.batch) {
                values.extend(read(autoencoder.latents(data.batch(&chunk, device)))?);
                bar.set_position(chunk.last().map_or(0, |&i| i as u64 + 1));
            }
            bar.finish_and_clear();
            let [channels, height, width] = shape;
            let mut weights = Weights { metadata: identity(&place)?, ..Weights::default() };
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
    let Autoencoder { network, model, .. } = load(&place(config, path), device)?;
    Ok(Some(Decoder { network, shape: shape(&model, &config.data.shape()).to_vec() }))
}

/// The mean of the latents of the data, and one over their standard deviation.
pub(crate) fn measure(
    autoencoder: &AutoencoderKl,
    data: &Dataset,
    batch: usize,
    device: &Device,
) -> Result<(f64, f64), CliError> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for chunk in chunks(data, batch) {
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

fn place(config: &RunConfig, run: &FilePath) -> PathBuf {
    config.latent.as_ref().map_or_else(PathBuf::new, |latent| run.join(&latent.autoencoder))
}

fn finished(session: &Session) -> Result<bool, CliError> {
    Ok(RunFolder::open(&session.path)?.state()?.step >= session.config.train.steps)
}

/// A trained autoencoder and what it was trained on.
struct Autoencoder {
    network: AutoencoderKl,
    model: AutoencoderKlConfig,
    data: DataConfig,
}

/// The averaged weights of an autoencoder's run.
fn load(place: &FilePath, device: &Device) -> Result<Autoencoder, CliError> {
    let folder = RunFolder::open(place)?;
    let config = RunConfig::read(&folder.config()?, &place.join("config.toml"))?;
    let ModelConfig::Autoencoder(model) = config.model else {
        return Err(CliError::failure(format!(
            "{} is no autoencoder, but a run of preset {}",
            place.display(),
            config.preset
        )));
    };
    let vae = folder.load(Vae::new(model.init(device).map_err(CliError::usage)?), Which::Ema)?;
    Ok(Autoencoder { network: vae.autoencoder, model, data: config.data })
}

/// Changes when the autoencoder does: its configuration, shift and scale included, and where its training stands.
fn identity(place: &FilePath) -> Result<String, CliError> {
    let folder = RunFolder::open(place)?;
    Ok(format!("step {} of {}", folder.state()?.step, folder.config()?))
}

fn chunks(data: &Dataset, batch: usize) -> impl Iterator<Item = Vec<usize>> {
    let count = data.count();
    (0..count).step_by(batch.max(1)).map(move |start| (start..(start + batch).min(count)).collect())
}

fn read(x: Tensor<4>) -> Result<Vec<f32>, CliError> {
    x.try_into_vec_as::<f32>().map_err(|_| CliError::failure("cannot read the latents back from the device"))
}
