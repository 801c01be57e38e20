//! `advect train`.

use crate::args::{NoiseName, TrainArgs};
use crate::config::RunConfig;
use crate::error::CliError;
use crate::model::ModelConfig;
use crate::pictures;
use crate::sample::method;
use crate::sampler::{Method, Request, Samples, sample};
use crate::say::{Say, duration, program};
use crate::task::{Source, Task};
use crate::{autoencoder, latent};
use advect::burn::module::{Module, ModuleVisitor, Param};
use advect::device::{Chosen, choose};
use advect::nn::NnError;
use advect::prelude::*;
use advect::train::{History, Mixed, Objective, Record, TrainError};
use serde_json::json;
use std::ops::ControlFlow;
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// Images a class in `samples.png`; points in the scatter of a toy.
const PER_CLASS: usize = 10;
const POINTS: usize = 2000;

/// Whether Ctrl-C was heard: the first asks for a checkpoint, the second does not wait. Files survive either.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// How a run goes on that has no checkpoint of its own yet, but perhaps one of its autoencoder.
pub(crate) const AGAIN: &str = "give the same command again to continue";

pub(crate) fn run(args: &TrainArgs, chosen: &Chosen, say: Say) -> Result<(), CliError> {
    let session = if args.resume { resume(args)? } else { start(args)? };
    // A second handler in one process (tests) is refused; the first then still stands.
    drop(ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, Ordering::SeqCst) {
            std::process::exit(1);
        }
    }));
    session.run(chosen, say)
}

/// A run to start or to continue.
pub(crate) struct Session {
    pub(crate) config: RunConfig,
    pub(crate) path: PathBuf,
    /// The folder of a run to continue; a new one is made only when training really starts.
    existing: Option<RunFolder>,
    /// Whether it is the autoencoder under a run that is wanted, which the user does not continue by itself.
    pub(crate) below: bool,
}

fn start(args: &TrainArgs) -> Result<Session, CliError> {
    let mut config = RunConfig::resolve(args.preset.as_deref(), args.config.as_deref(), &args.set)?;
    config.train.steps = args.steps.unwrap_or(config.train.steps);
    config.seed = args.seed.unwrap_or(config.seed);
    config.train.precision = args.precision.or(config.train.precision);
    config.validate()?;
    place(&mut config, args.data.as_deref())?;
    // Of another run's config.toml only the settings count, not what that run found.
    config.train.latents_measured = None;
    if let Some(latent) = &mut config.latent {
        let key = |assignment: &String| assignment.split('=').next().map(str::trim) == Some("latent.autoencoder");
        latent.settle(args.set.iter().any(key))?;
    }
    let path = args.run.clone().unwrap_or_else(|| FilePath::new("runs").join(&config.preset));
    Ok(Session::new(config, path))
}

fn resume(args: &TrainArgs) -> Result<Session, CliError> {
    if args.config.is_some() || !args.set.is_empty() || args.seed.is_some() || args.precision.is_some() {
        return Err(CliError::usage(
            "--resume takes the configuration of the run: leave out --config, --set, --seed and --precision (--steps may be raised)",
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
    let mut session = Session::open(&path)?;
    let config = &mut session.config;
    if let Some(preset) = args.preset.as_ref().filter(|preset| **preset != config.preset) {
        let path = path.display();
        return Err(CliError::usage(format!(
            "{path} is a run of preset {}, not {preset}: leave out --preset",
            config.preset
        )));
    }
    if let Some(steps) = args.steps {
        let step = session.existing.as_ref().map_or(Ok(0), |folder| folder.state().map(|state| state.step))?;
        if steps < step {
            return Err(CliError::usage(format!(
                "the run stands at step {step} already: --steps {steps} is behind it"
            )));
        }
        config.train.steps = steps;
    }
    place(config, args.data.as_deref())?;
    Ok(session)
}

/// Where the data are, as a path that still holds when the run is resumed from another folder.
fn place(config: &mut RunConfig, given: Option<&FilePath>) -> Result<(), CliError> {
    if let Some(folder) = given.map(FilePath::to_owned).or(config.data.folder.clone()) {
        let folder = folder.canonicalize().map_err(|e| {
            CliError::usage(format!("the data folder {}: {e}: say where it is with --data FOLDER", folder.display()))
        })?;
        config.data.folder = Some(folder);
        config.data.validate()?;
    }
    Ok(())
}

/// How a training ended.
pub(crate) struct Trained<N> {
    pub(crate) trainer: Trainer<N>,
    pub(crate) history: History,
    /// Steps of this session, and the seconds that they took.
    pub(crate) steps: u64,
    pub(crate) seconds: f64,
}

impl Session {
    /// A new run.
    pub(crate) fn new(config: RunConfig, path: PathBuf) -> Self {
        Self { config, path, existing: None, below: false }
    }

    /// A run that stands at a checkpoint.
    pub(crate) fn open(path: &FilePath) -> Result<Self, CliError> {
        let folder = RunFolder::open(path)?;
        folder.state()?;
        let config = RunConfig::read(&folder.config()?, &path.join("config.toml"))?;
        Ok(Self { config, path: path.to_owned(), existing: Some(folder), below: false })
    }

    /// Whether it has no checkpoint yet.
    pub(crate) fn is_new(&self) -> bool {
        self.existing.is_none()
    }

    pub(crate) fn finished(&self) -> Result<bool, CliError> {
        let state = self.existing.as_ref().map(RunFolder::state).transpose()?;
        Ok(state.is_some_and(|state| self.config.finished(state.step)))
    }

    /// Ends long work other than training if Ctrl-C was heard. What is done of it is lost.
    pub(crate) fn heed(&self, advice: &str) -> Result<(), CliError> {
        if INTERRUPTED.load(Ordering::SeqCst) {
            return Err(CliError::failure(format!("interrupted; {advice}")));
        }
        Ok(())
    }

    /// How an interrupted training goes on.
    pub(crate) fn advice(&self) -> String {
        if self.below {
            return AGAIN.to_owned();
        }
        format!("the checkpoint is saved. Continue with: {} train --run {} --resume", program(), self.path.display())
    }

    pub(crate) fn run(mut self, chosen: &Chosen, say: Say) -> Result<(), CliError> {
        let source = if self.config.latent.is_some() {
            Source::Images(latent::prepare(&mut self, chosen, say)?)
        } else {
            self.config.data.source()?
        };
        // Until they are measured again, whatever an earlier training found.
        self.config.train.latents_measured = None;
        let device = chosen.device.clone().autodiff();
        match self.config.model.clone() {
            ModelConfig::Autoencoder(config) => {
                let network = initial(|home| config.init(home), self.config.seed, &device)?;
                autoencoder::train(&self, config, network, source, &device, say)
            }
            ModelConfig::Unet(unet) => {
                let network = initial(|home| unet.init(home), self.config.seed, &device)?;
                self.flow::<_, 4>(network, source, &device, say)
            }
            ModelConfig::Dit(dit) => {
                let network = initial(|home| dit.init(home), self.config.seed, &device)?;
                self.flow::<_, 4>(network, source, &device, say)
            }
            ModelConfig::Mlp(mlp) => {
                let network = initial(|home| mlp.init(home), self.config.seed, &device)?;
                self.flow::<_, 2>(network, source, &device, say)
            }
        }
    }

    /// Trains a flow and shows its samples.
    fn flow<N: Backbone<D>, const D: usize>(
        self,
        network: N,
        source: Source,
        device: &Device,
        say: Say,
    ) -> Result<(), CliError> {
        let config = &self.config;
        let numbers = match &source {
            Source::Images(data) => data.shape().iter().product(),
            Source::Points(_) => 2,
        };
        let precision = config.train.precision.unwrap_or_default();
        precision.check(device).map_err(CliError::usage)?;
        let objective = FlowMatching {
            forward: move |n: &N, x, t, class| precision.through(x, |x| n.forward(x, t, class)),
            path: AffinePath::new(config.path.schedule()?, SourceLaw::GaussianIndependent),
            times: config.path.times()?,
            prediction: config.path.prediction(),
            scaling: config.path.scaling()?,
            weighting: config.path.weighting()?,
            coupling: config.path.coupling(numbers)?,
            label_drop: config.train.label_drop,
            null_class: config.model.classes().unwrap_or(0),
            seed: config.seed,
        };
        for warning in config.path.warnings(config.model.classes()) {
            say.event(&format!("note: {warning}"), json!({"event": "warning", "text": warning}));
        }
        let objective = Mixed { objective, precision };
        let task = Task::<D>::new(config, source, device);
        let trained = self.fit(network, &objective, task, say)?;
        finish(&self.config, &trained, &self.path, device, say)
    }

    /// Runs the training loop to its end, with progress and checkpoints.
    pub(crate) fn fit<N: Module, const D: usize>(
        &self,
        network: N,
        objective: &impl Objective<N, Batch<D>>,
        mut task: Task<D>,
        say: Say,
    ) -> Result<Trained<N>, CliError> {
        let config = &self.config;
        let plan = plan(config)?;
        // A coupling sees as many rows as in training: its loss depends on it.
        let rows = if config.path.is_coupled() { config.train.batch } else { usize::MAX };
        let held_out = pieces(task.validation(), rows);
        let fresh;
        let (folder, mut trainer, mut history) = match &self.existing {
            Some(folder) => {
                let (trainer, history) = folder.resume(network)?;
                // Only now: a run that cannot be resumed keeps its configuration.
                folder.write_config(&config.to_toml()?)?;
                (folder, trainer, history)
            }
            None => {
                fresh = RunFolder::create(&self.path, &config.to_toml()?)?;
                if let Some(held_out) = task.held_out() {
                    note_held_out(&self.path, held_out)?;
                }
                let trainer = Trainer::new(network);
                // A first checkpoint, so that there always is one to come back to.
                fresh.save(&trainer, &History::default())?;
                (&fresh, trainer, History::default())
            }
        };
        let name = &config.preset;
        let noun = config.data.noun();
        let (first, parameters) = (trainer.step, trainer.model.num_params());
        let verb = if first == 0 { "training" } else { "resuming" };
        let counts = task.counts();
        let data = counts
            .map_or_else(String::new, |[used, held_out]| format!("; {used} {noun} to train on, {held_out} held out"));
        say.event(
            &format!(
                "{verb} {name}: {parameters} parameters, step {first} of {}, into {}{data}",
                plan.steps,
                self.path.display()
            ),
            json!({"event": "start", "preset": name, "parameters": parameters, "step": first, "steps": plan.steps,
                   "run": self.path, "trained_on": counts.map(|c| c[0]), "held_out": counts.map(|c| c[1])}),
        );
        let bar = say.bar(plan.steps, "{bar:30} step {pos}/{len}  {msg}  time left {eta}");
        bar.set_position(first);
        bar.reset_eta();
        let started = Instant::now();
        let mut reported = 0;
        trainer = train(
            trainer,
            objective,
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
                let stop = INTERRUPTED.load(Ordering::SeqCst);
                if done % config.train.checkpoint_every == 0 || done == plan.steps || stop {
                    let loss = validation(objective, &trainer.averaged(), &held_out)?;
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
        if trainer.step < plan.steps {
            return Err(CliError::failure(format!("interrupted at step {}; {}", trainer.step, self.advice())));
        }
        let steps = trainer.step - first;
        Ok(Trained { trainer, history, steps, seconds: started.elapsed().as_secs_f64() })
    }
}

/// A network with the initial weights of a seed, on the device: the one place where Burn's own generator is used, and so
/// seeded. They are drawn on the processor where the build has it, as each backend's generator is another.
fn initial<N: Module>(
    init: impl FnOnce(&Device) -> Result<N, NnError>,
    seed: u64,
    device: &Device,
) -> Result<N, CliError> {
    struct Draw;
    impl ModuleVisitor for Draw {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            // Weights are drawn when first asked for.
            drop(param.val());
        }
    }
    let home = choose(Some("flex")).map_or_else(|_| device.clone(), |flex| flex.device.autodiff());
    home.seed(seed);
    let network = init(&home).map_err(CliError::usage)?;
    network.visit(&mut Draw);
    Ok(network.fork(device))
}

/// Which samples of the set were not trained on, for whoever judges the model by them.
fn note_held_out(run: &FilePath, held_out: &[usize]) -> Result<(), CliError> {
    let path = run.join("held_out.json");
    std::fs::write(&path, json!(held_out).to_string())
        .map_err(|e| CliError::failure(format!("cannot write {}: {e}", path.display())))
}

fn finish<N: Backbone<D>, const D: usize>(
    config: &RunConfig,
    trained: &Trained<N>,
    path: &FilePath,
    device: &Device,
    say: Say,
) -> Result<(), CliError> {
    let samples = show(config, path, &trained.trainer.averaged(), device)?;
    let (data, seed) = (&config.data, config.seed);
    pictures::loss(&trained.history, pictures::FLOW_LOSS, &path.join("loss.svg"))?;
    pictures::still(data, seed, &samples, &path.join("samples.png"))?;
    pictures::moving(data, seed, &samples, &path.join("flow.gif"))?;
    let mut written = vec!["samples.png", "flow.gif", "loss.svg"];
    if data.toy().is_some() {
        pictures::trajectories(&samples, &path.join("trajectories.png"))?;
        written.insert(2, "trajectories.png");
    }
    let example = if data.toy().is_some() {
        format!("{} sample {} --count 5000 --out points.npy", program(), path.display())
    } else {
        format!("{} sample {} --class 7 --count 25 --out sevens.png", program(), path.display())
    };
    report(config, trained, path, written, &example, say);
    Ok(())
}

/// What the training did and wrote, and the command to try next.
pub(crate) fn report<N>(
    config: &RunConfig,
    trained: &Trained<N>,
    path: &FilePath,
    mut written: Vec<&str>,
    example: &str,
    say: Say,
) {
    let picture = path.join(written[0]);
    written.extend(["model.safetensors", "ema.safetensors", "optimizer.safetensors", "config.toml", "state.json"]);
    if config.data.toy().is_none() {
        written.push("held_out.json");
    }
    let held_out = trained.history.validation.last().map_or(f64::NAN, |r| r.loss);
    let Trained { steps, seconds, .. } = *trained;
    let rate = steps as f64 * config.train.batch as f64 / seconds;
    say.event(
        &format!(
            "trained {steps} steps in {} ({rate:.0} {}/s), loss on held-out data {held_out:.4}\n\
             wrote {}/: {}\n\
             look at {}, then try:\n  {example}",
            duration(seconds),
            config.data.noun(),
            path.display(),
            written.join(", "),
            picture.display(),
        ),
        json!({"event": "done", "steps": steps, "seconds": seconds, "samples_per_second": rate,
               "validation_loss": held_out, "run": path, "written": written}),
    );
}

/// The samples of a run's own pictures: the first of seed 0, not chosen.
fn show<N: Backbone<D>, const D: usize>(
    config: &RunConfig,
    path: &FilePath,
    network: &N,
    device: &Device,
) -> Result<Samples, CliError> {
    let classes = config.model.classes();
    let count = classes.map_or(POINTS, |classes| classes * PER_CLASS);
    let solver = config.sample.solver;
    let method = if solver.is_embedded() {
        Method::Adaptive { solver, tolerance: Tolerance::new(config.sample.rtol, config.sample.atol)? }
    } else {
        method(solver, config.sample.steps, config.sample.grid)
    };
    let device = device.clone().inner();
    let decoder = latent::decoder(config, path, &device)?;
    let request = Request {
        count,
        classes: classes.map(|classes| (0..count).map(|i| i % classes).collect()),
        null_class: classes.unwrap_or(0),
        guidance: config.sample.guidance,
        method,
        seed: 0,
        noise: NoiseName::Host,
        batch: config.sample.batch,
        span: [config.sample.start, config.sample.end],
        path: &config.path,
        shape: decoder.as_ref().map_or_else(|| config.data.shape(), |decoder| decoder.shape.clone()),
        decoder: decoder.as_ref(),
        units: config.data.units(),
        device,
        precision: config.train.precision.unwrap_or_default(),
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

/// The mean over the rows of all pieces.
fn validation<M, const D: usize>(
    objective: &impl Objective<M, Batch<D>>,
    network: &M,
    pieces: &[Batch<D>],
) -> Result<f64, CliError> {
    let (mut sum, mut rows) = (0.0, 0.0);
    for piece in pieces {
        let loss = objective.loss(network, piece)?.try_into_scalar::<f64>();
        let count = piece.ids.len() as f64;
        sum += count * loss.map_err(|_| TrainError::Read { what: "the validation loss" })?;
        rows += count;
    }
    Ok(sum / rows)
}

/// A batch in pieces of so many rows at most.
fn pieces<const D: usize>(batch: Batch<D>, rows: usize) -> Vec<Batch<D>> {
    let count = batch.ids.len();
    if count <= rows {
        return vec![batch];
    }
    let piece = |start: usize| {
        let end = (start + rows).min(count);
        Batch {
            data: batch.data.clone().narrow(0, start, end - start),
            classes: batch.classes.as_ref().map(|classes| classes[start..end].to_vec()),
            ids: batch.ids[start..end].to_vec(),
        }
    };
    (0..count).step_by(rows).map(piece).collect()
}

/// The mean loss of the last batches: one batch is too noisy to read.
fn recent(history: &History) -> f64 {
    let last = &history.training[history.training.len().saturating_sub(50)..];
    last.iter().map(|r| r.loss).sum::<f64>() / last.len().max(1) as f64
}
