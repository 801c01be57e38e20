//! `advect sample`.

use crate::args::{SampleArgs, WeightsName};
use crate::config::RunConfig;
use crate::error::CliError;
use crate::grids::GridName;
use crate::latent::{self, Decoder};
use crate::model::ModelConfig;
use crate::output::Output;
use crate::sampler::{Method, Request, Samples, sample};
use crate::say::{Say, duration};
use crate::solvers::SolverName;
use advect::device::Chosen;
use advect::prelude::*;
use advect::train::Which;
use serde_json::json;

pub(crate) fn run(args: &SampleArgs, chosen: &Chosen, say: Say) -> Result<(), CliError> {
    let folder = RunFolder::open(&args.run)?;
    folder.state()?;
    let config = RunConfig::read(&folder.config()?, &args.run.join("config.toml"))?;
    let output = Output::new(&args.out)?;
    let decoder = latent::decoder(&config, &args.run, &chosen.device)?;
    let request = request(args, &config, decoder.as_ref(), chosen, output.needs_frames())?;
    let which = match args.weights {
        WeightsName::Ema => Which::Ema,
        WeightsName::Model => Which::Model,
    };
    let device = &chosen.device;
    let samples = match &config.model {
        ModelConfig::Unet(unet) => {
            draw::<_, 4>(&folder.load(unet.init(device).map_err(CliError::usage)?, which)?, &request, say)?
        }
        ModelConfig::Dit(dit) => {
            draw::<_, 4>(&folder.load(dit.init(device).map_err(CliError::usage)?, which)?, &request, say)?
        }
        ModelConfig::Autoencoder(_) => {
            return Err(CliError::usage(format!(
                "{} is an autoencoder, which draws no samples of its own: train a model of its latents with \
                 --preset mnist-latent --set latent.autoencoder=FOLDER",
                args.run.display()
            )));
        }
        ModelConfig::Mlp(mlp) => {
            draw::<_, 2>(&folder.load(mlp.init(device).map_err(CliError::usage)?, which)?, &request, say)?
        }
    };
    output.write(&config, &samples)?;
    let rate = request.count as f64 / samples.seconds;
    say.event(
        &format!(
            "wrote {}: {} samples, {:.1} evaluations each, {rate:.0} samples/s ({})",
            args.out.display(),
            request.count,
            samples.evaluations,
            duration(samples.seconds)
        ),
        json!({"event": "sampled", "out": args.out, "count": request.count, "evaluations": samples.evaluations,
               "samples_per_second": rate, "seconds": samples.seconds}),
    );
    Ok(())
}

fn draw<N: Backbone<D>, const D: usize>(network: &N, request: &Request<'_>, say: Say) -> Result<Samples, CliError> {
    let bar = say.bar(request.count as u64, "{bar:30} sample {pos}/{len}  {per_sec}  time left {eta}");
    let samples = sample(network, request, |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    samples
}

fn request<'a>(
    args: &SampleArgs,
    config: &'a RunConfig,
    decoder: Option<&'a Decoder>,
    chosen: &Chosen,
    frames: bool,
) -> Result<Request<'a>, CliError> {
    let precision = args.precision.unwrap_or_default();
    precision.check(&chosen.device).map_err(CliError::usage)?;
    let known = config.model.classes();
    let count = args.count.unwrap_or(100);
    let classes = match (known, args.class, args.classes) {
        (None, None, None) => None,
        (None, ..) => {
            return Err(CliError::usage("this model has no classes: leave out --class and --classes"));
        }
        (Some(known), Some(class), _) if class >= known => {
            return Err(CliError::usage(format!("the model does not know class {class}: it knows 0 to {}", known - 1)));
        }
        (Some(_), Some(class), _) => Some(vec![class; count]),
        (Some(known), None, _) => Some((0..count).map(|i| i % known).collect()),
    };
    if let Some(guidance) = args.guidance {
        if classes.is_none() {
            return Err(CliError::usage(
                "this model has no classes, so there is nothing to guide: leave out --guidance",
            ));
        }
        if !guidance.is_finite() {
            return Err(CliError::usage(format!("--guidance {guidance} is out of range: finite")));
        }
    }
    Ok(Request {
        count,
        classes,
        null_class: known.unwrap_or(0),
        guidance: args.guidance.unwrap_or(config.sample.guidance),
        method: choose(args, config)?,
        seed: args.seed,
        noise: args.noise,
        batch: args.batch.unwrap_or(config.sample.batch),
        span: [config.sample.start, config.sample.end],
        path: &config.path,
        shape: decoder.map_or_else(|| config.data.shape(), |decoder| decoder.shape.clone()),
        decoder,
        units: config.data.units(),
        device: chosen.device.clone(),
        precision,
        frames,
    })
}

/// The solver: an adaptive one, such as dopri5, chooses its own steps unless it is given a number of them.
fn choose(args: &SampleArgs, config: &RunConfig) -> Result<Method, CliError> {
    let solver = args.solver.unwrap_or(config.sample.solver);
    config.path.permits(solver)?;
    if solver.is_embedded() && args.steps.is_none() {
        if let Some(grid) = args.grid {
            return Err(CliError::usage(format!(
                "--grid {grid} places fixed steps, {solver} chooses its own: give it --steps too, or leave out --grid"
            )));
        }
        let rtol = args.rtol.unwrap_or(config.sample.rtol);
        let atol = args.atol.unwrap_or(config.sample.atol);
        return Ok(Method::Adaptive { solver, tolerance: Tolerance::new(rtol, atol).map_err(CliError::usage)? });
    }
    if args.rtol.is_some() || args.atol.is_some() {
        return Err(CliError::usage(format!(
            "--rtol and --atol choose the steps of an adaptive solver, {solver} has fixed steps: add --solver dopri5, or use --steps"
        )));
    }
    let grid = args.grid.unwrap_or(config.sample.grid);
    Ok(method(solver, args.steps.unwrap_or(config.sample.steps), grid))
}

pub(crate) fn method(solver: SolverName, steps: usize, grid: GridName) -> Method {
    Method::Fixed { solver, steps, grid }
}
