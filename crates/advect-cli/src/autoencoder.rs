//! Training an autoencoder, which a latent model stands on.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::latent;
use crate::model::ModelConfig;
use crate::pictures;
use crate::say::{Say, program};
use crate::task::{Source, Task};
use crate::train::{Session, report};
use advect::core::Purpose;
use advect::nn::{AutoencoderKl, AutoencoderKlConfig, AutoencoderObjective, Vae};
use advect::prelude::*;
use advect::train::TrainError;
use burn::tensor::Tensor;

use advect::burn;

/// The noise of the latents in training, apart from all other noise of the seed.
const LATENT_NOISE: Purpose = Purpose::Custom(2);
/// Images in `reconstructions.png`, in rows of ten, each above what comes back of it.
const SHOWN: usize = 50;
const COLUMNS: usize = 10;

/// Trains `network`, the network of `model`; shows what comes back; measures the latents.
pub(crate) fn train(
    session: &Session,
    model: AutoencoderKlConfig,
    network: AutoencoderKl,
    source: Source,
    device: &Device,
    say: Say,
) -> Result<(), CliError> {
    let (config, path) = (&session.config, &session.path);
    let Source::Images(data) = source.clone() else {
        return Err(CliError::usage("an autoencoder needs images, such as data.name = \"mnist\""));
    };
    let objective = AutoencoderObjective::new(config.train.kl_weight.unwrap_or_default());
    let key = NoiseKey::new(config.seed, LATENT_NOISE);
    let [channels, height, width] = latent::shape(&model, &config.data.shape());
    let loss = |vae: &Vae, batch: &Batch<4>| {
        let images = &batch.data;
        let noise = key.normal(&batch.ids, 0, [batch.ids.len(), channels, height, width], &images.device());
        Ok::<_, TrainError>(objective.loss(vae, &vae.reconstruct(images.clone(), noise)))
    };
    let trained = session.fit(Vae::new(network), &loss, Task::<4>::new(config, source.clone(), device), say)?;

    let autoencoder = trained.trainer.averaged().autoencoder;
    let device = device.clone().inner();
    // What a latent model sees should be about standard normal: only now can that be measured. The run is not finished
    // before; pictures can wait.
    let (shift, scale) = latent::measure(session, &autoencoder, &data, &device)?;
    let model = ModelConfig::Autoencoder(model.with_latent_scale(shift, scale));
    let mut measured = RunConfig { model, ..config.clone() };
    measured.train.latents_measured = Some(true);
    RunFolder::open(path)?.write_config(&measured.to_toml()?)?;
    let held_out = Task::<4>::new(config, source, &device).validation().data;
    picture(config, &autoencoder, held_out, &path.join("reconstructions.png"))?;
    pictures::loss(&trained.history, pictures::AUTOENCODER_LOSS, &path.join("loss.svg"))?;
    let folder = config.data.folder.as_ref().map_or_else(|| "FOLDER".into(), |folder| folder.display().to_string());
    let example = format!(
        "{} train --preset mnist-latent --data {folder} --set latent.autoencoder={}",
        program(),
        path.canonicalize().unwrap_or_else(|_| path.clone()).display()
    );
    report(config, &trained, path, vec!["reconstructions.png", "loss.svg"], &example, say);
    Ok(())
}

/// Held-out images, and below each what the autoencoder makes of the mean of its latents.
fn picture(
    config: &RunConfig,
    autoencoder: &AutoencoderKl,
    images: Tensor<4>,
    path: &std::path::Path,
) -> Result<(), CliError> {
    let shown = images.dims()[0].min(SHOWN);
    let images = images.narrow(0, 0, shown);
    let back = autoencoder.decode(autoencoder.encode(images.clone()).mean());
    let pixels = |x: Tensor<4>| {
        let x = config.data.units().to_data(x).try_into_vec_as::<f32>();
        x.map_err(|_| CliError::failure("cannot read the reconstructions back from the device"))
    };
    let (images, back) = (pixels(images)?, pixels(back)?);
    let columns = shown.min(COLUMNS);
    let row = columns * config.data.shape().iter().product::<usize>();
    // A last row that is not full would push its reconstructions out of line.
    let rows = images.chunks_exact(row.max(1)).zip(back.chunks_exact(row.max(1)));
    let rows: Vec<f32> = rows.flat_map(|(images, back)| [images, back].concat()).collect();
    pictures::grid(&config.data, &rows, columns, path)
}
