//! `advect train`.

use crate::args::TrainArgs;
use crate::config::RunConfig;
use crate::error::CliError;
use crate::model::ModelConfig;
use crate::pictures;
use crate::sample::method;
use crate::sampler::{Method, Request, Samples, sample};
use crate::say::{Say, duration, program};
use crate::task::Task;
use advect::device::Chosen;
use advect::prelude::*;
use advect::train::{History, Objective, Record, TrainError};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Images a class in `samples.png`; points in the scatter of a toy.
const PER_CLASS: usize = 10;
const POINTS: usize = 2000;

pub(crate) fn run(args: &TrainArgs, chosen: &Chosen, say: Say) -> Result<(), CliError> {
    let session = if args.resume { resume(args)? } else { start(args)? };
    let device = chosen.device.clone().autodiff();
    // The initial weights: the one place where Burn's own generator is used, and so seeded here.
    device.seed(session.config.seed);
    match session.config.model.clone() {
        ModelConfig::Unet(unet) => {
            let network = unet.init(&device).map_err(CliError::usage)?;
            session.train::<_, 4>(network, &device, say)
        }
        ModelConfig::Dit(dit) => {
            let network = dit.init(&device).map_err(CliError::usage)?;
            session.train::<_, 4>(network, &device, say)
        }
        ModelConfig::Mlp(mlp) => {
            let network = mlp.init(&device).map_err(CliError::usage)?;
            session.train::<_, 2>(network, &device, say)
        }
    }
}

struct Session {
    config: RunConfig,
    path: PathBuf,
    /// The folder of a run to continue; a new one is made only when training really starts.
    existing: Option<RunFolder>,
}

fn start(args: &TrainArgs) -> Result<Session, CliError> {
    let mut config = RunConfig::resolve(args.preset.as_deref(), args.config.as_deref(), &args.set)?;
    config.train.steps = args.steps.unwrap_or(config.train.steps);
    config.seed = args.seed.unwrap_or(config.seed);
    place(&mut config, args.data.as_deref())?;
    let path = args.run.clone().unwrap_or_else(|| FilePath::new("runs").join(&config.preset));
    Ok(Session { config, path, existing: None })
}

fn resume(args: &TrainArgs) -> Result<Session, CliError> {
    if args.config.is_some() || !args.set.is_empty() || args.seed.is_some() {
        return Err(CliError::usage(
            "--resume takes the configuration of the run: leave out --config, --set and --seed (--steps may be raised)",
        ));
    }
    let path = match (&args.run, &args.preset) {
        (Some(run), _) => run.clone(),
        (None, Some(preset)) => {
            crate::presets::find(preset)?;
            FilePath::new("runs").join(preset)
        }
        (None, None) => FilePath::new("runs").join(crate::presets::FIRST),
    };
    let folder = RunFolder::open(&path)?;
    let state = folder.state()?;
    let mut config = RunConfig::read(&folder.config()?, &path.join("config.toml"))?;
    if let Some(preset) = args.preset.as_ref().filter(|preset| **preset != config.preset) {
        let path = path.display();
        return Err(CliError::usage(format!(
            "{path} is a run of preset {}, not {preset}: leave out --preset",
            config.preset
        )));
    }
    if let Some(steps) = args.steps {
        if steps < state.step {
            return Err(CliError::usage(format!(
                "the run stands at step {} already: --steps {steps} is behind it",
                state.step
            )));
        }
        config.train.steps = steps;
    }
    place(&mut config, args.data.as_deref())?;
    Ok(Session { config, path, existing: Some(folder) })
}

/// Where the data are, as a path that still holds when the run is resumed from another folder.
fn place(config: &mut RunConfig, given: Option<&FilePath>) -> Result<(), CliError> {
    if let Some(folder) = given.map(FilePath::to_owned).or(config.data.folder.clone()) {
        let folder =
            folder.canonicalize().map_err(|e| CliError::usage(format!("the data folder {}: {e}", folder.display())))?;
        config.data.folder = Some(folder);
        config.data.validate()?;
    }
    Ok(())
}

impl Session {
    fn train<N: Backbone<D>, const D: usize>(self, network: N, device: &Device, say: Say) -> Result<(), CliError> {
        let config = &self.config;
        let plan = plan(config)?;
        let mut task: Task<D> = Task::new(config, device)?;
        let held_out = Task::<D>::new(config, &device.clone().inner())?.validation();
        let objective = FlowMatching {
            forward: |n: &N, x, t, class| n.forward(x, t, class),
            path: AffinePath::new(config.path.schedule()?, SourceLaw::GaussianIndependent),
            times: config.path.times()?,
            prediction: config.path.prediction(),
            label_drop: config.train.label_drop,
            null_class: config.model.classes().unwrap_or(0),
            seed: config.seed,
        };
        let (folder, mut trainer, mut history) = match self.existing {
            Some(folder) => {
                let (trainer, history) = folder.resume(network)?;
                // Only now: a run that cannot be resumed keeps its configuration.
                folder.write_config(&config.to_toml()?)?;
                (folder, trainer, history)
            }
            None => {
                let folder = RunFolder::create(&self.path, &config.to_toml()?)?;
                if let Some(held_out) = task.held_out() {
                    note_held_out(&self.path, held_out)?;
                }
                let trainer = Trainer::new(network);
                // A first checkpoint, so that there always is one to come back to.
                folder.save(&trainer, &History::default())?;
                (folder, trainer, History::default())
            }
        };
        let interrupted = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&interrupted);
        // A second handler in one process (tests) is refused; the first then still stands.
        drop(ctrlc::set_handler(move || {
            // The first asks for a checkpoint; the second does not wait. Files survive either.
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(1);
            }
        }));

        let name = &config.preset;
        let noun = config.data.noun();
        let (first, parameters) = (trainer.step, trainer.model.num_params());
        let verb = if first == 0 { "training" } else { "resuming" };
        say.event(
            &format!(
                "{verb} {name}: {parameters} parameters, step {first} of {}, into {}",
                plan.steps,
                self.path.display()
            ),
            json!({"event": "start", "preset": name, "parameters": parameters, "step": first, "steps": plan.steps,
                   "run": self.path}),
        );
        let bar = say.bar(plan.steps, "{bar:30} step {pos}/{len}  {msg}  time left {eta}");
        bar.set_position(first);
        bar.reset_eta();
        let started = Instant::now();
        let mut reported = 0;
        trainer = train(
            trainer,
            &objective,
            |step| task.batch(step),
            &plan,
            |trainer, report| {
                history.training.push(Record { step: report.step, loss: report.loss });
                let done = trainer.step;
                let seconds = started.elapsed().as_secs_f64();
                let rate = (done - first) as f64 * config.train.batch as f64 / seconds;
                let recent = recent(&history);
                bar.set_position(done);
                bar.set_message(format!("loss {recent:.4}  {rate:.0} {noun}/s"));
                let stop = interrupted.load(Ordering::SeqCst);
                if done % config.train.checkpoint_every == 0 || done == plan.steps || stop {
                    let loss = validation(&objective, &trainer.averaged(), &held_out)?;
                    history.validation.push(Record { step: done, loss });
                    folder.save(trainer, &history)?;
                }
                // Without a terminal, ten lines say the same as the bar.
                let tenth = done * 10 / plan.steps;
                if bar.is_hidden() && tenth > reported {
                    reported = tenth;
                    let left = seconds / (done - first) as f64 * (plan.steps - done) as f64;
                    say.event(
                        &format!(
                            "step {done}/{}  loss {recent:.4}  {rate:.0} {noun}/s  time left {}",
                            plan.steps,
                            duration(left)
                        ),
                        json!({"event": "step", "step": done, "loss": report.loss, "mean_loss": recent,
                           "samples_per_second": rate, "seconds_left": left}),
                    );
                }
                Ok::<_, CliError>(if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )
        .inspect_err(|_| bar.abandon())
        .map_err(|e| CliError::failure(format!("{e}. The last good checkpoint is in {}", self.path.display())))?;
        bar.finish_and_clear();
        let seconds = started.elapsed().as_secs_f64();
        if trainer.step < plan.steps {
            return Err(CliError::failure(format!(
                "interrupted at step {}; the checkpoint is saved. Continue with: {} train --run {} --resume",
                trainer.step,
                program(),
                self.path.display()
            )));
        }
        finish(config, &trainer, &history, &self.path, seconds, first, device, say)
    }
}

/// Which samples of the set were not trained on, for whoever judges the model by them.
fn note_held_out(run: &FilePath, held_out: &[usize]) -> Result<(), CliError> {
    let path = run.join("held_out.json");
    std::fs::write(&path, json!(held_out).to_string())
        .map_err(|e| CliError::failure(format!("cannot write {}: {e}", path.display())))
}

#[allow(clippy::too_many_arguments)]
fn finish<N: Backbone<D>, const D: usize>(
    config: &RunConfig,
    trainer: &Trainer<N>,
    history: &History,
    path: &FilePath,
    seconds: f64,
    first: u64,
    device: &Device,
    say: Say,
) -> Result<(), CliError> {
    let samples = show(config, &trainer.averaged(), device)?;
    let (data, seed) = (&config.data, config.seed);
    pictures::loss(history, &path.join("loss.svg"))?;
    pictures::still(data, seed, &samples, &path.join("samples.png"))?;
    pictures::moving(data, seed, &samples, &path.join("flow.gif"))?;
    let mut written = vec!["samples.png", "flow.gif", "loss.svg"];
    if data.toy().is_some() {
        pictures::trajectories(&samples, &path.join("trajectories.png"))?;
        written.insert(2, "trajectories.png");
    }
    written.extend(["model.safetensors", "ema.safetensors", "optimizer.safetensors", "config.toml", "state.json"]);
    if data.toy().is_none() {
        written.push("held_out.json");
    }
    let held_out = history.validation.last().map_or(f64::NAN, |r| r.loss);
    let steps = trainer.step - first;
    let rate = steps as f64 * config.train.batch as f64 / seconds;
    let example = if data.toy().is_some() {
        format!("{} sample {} --count 5000 --out points.npy", program(), path.display())
    } else {
        format!("{} sample {} --class 7 --count 25 --out sevens.png", program(), path.display())
    };
    say.event(
        &format!(
            "trained {steps} steps in {} ({rate:.0} {}/s), loss on held-out data {held_out:.4}\n\
             wrote {}/: {}\n\
             look at {}, then try:\n  {example}",
            duration(seconds),
            data.noun(),
            path.display(),
            written.join(", "),
            path.join("samples.png").display(),
        ),
        json!({"event": "done", "steps": steps, "seconds": seconds, "samples_per_second": rate, "validation_loss": held_out,
               "run": path, "written": written}),
    );
    Ok(())
}

/// The samples of a run's own pictures: the first of seed 0, not chosen.
fn show<N: Backbone<D>, const D: usize>(config: &RunConfig, network: &N, device: &Device) -> Result<Samples, CliError> {
    let classes = config.model.classes();
    let count = classes.map_or(POINTS, |classes| classes * PER_CLASS);
    let method = match config.sample.solver {
        crate::config::SolverName::Dopri5 => {
            Method::Adaptive { tolerance: Tolerance::new(config.sample.rtol, config.sample.atol)? }
        }
        solver => method(solver, config.sample.steps),
    };
    let request = Request {
        count,
        classes: classes.map(|classes| (0..count).map(|i| i % classes).collect()),
        null_class: classes.unwrap_or(0),
        guidance: config.sample.guidance,
        method,
        seed: 0,
        batch: config.sample.batch,
        span: [config.sample.start, config.sample.end],
        path: &config.path,
        shape: config.data.shape(),
        units: config.data.units(),
        device: device.clone().inner(),
        frames: true,
    };
    sample(network, &request, |_| {})
}

fn plan(config: &RunConfig) -> Result<Plan, CliError> {
    let train = &config.train;
    Ok(Plan {
        steps: train.steps,
        rate: LearningRate::new(train.learning_rate, train.warmup, train.steps, train.floor)?,
        optimizer: AdamW { beta2: train.beta2, weight_decay: train.weight_decay, ..AdamW::standard() },
        clip_norm: train.clip_norm,
        ema: Ema::new(train.ema)?,
    })
}

fn validation<M, B>(objective: &impl Objective<M, B>, network: &M, batch: &B) -> Result<f64, CliError> {
    let loss = objective.loss(network, batch)?.try_into_scalar::<f64>();
    loss.map_err(|_| TrainError::Read { what: "the validation loss" }.into())
}

/// The mean loss of the last batches: one batch is too noisy to read.
fn recent(history: &History) -> f64 {
    let last = &history.training[history.training.len().saturating_sub(50)..];
    last.iter().map(|r| r.loss).sum::<f64>() / last.len().max(1) as f64
}
