use crate::{TrainError, Trainer, Weights};
use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
};

/// The newest format of a run folder that this version reads and the one it writes.
pub const FORMAT: u64 = 1;

const MODEL: &str = "model.safetensors";
const EMA: &str = "ema.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const CONFIG: &str = "config.toml";

/// One line of a run's history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record {
    /// The step, counted from 0.
    pub step: u64,
    /// The value.
    pub loss: f64,
}

/// The losses of a run so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// The loss of each training batch.
    pub training: Vec<Record>,
    /// The loss of the averaged weights on held-out data.
    pub validation: Vec<Record>,
}

/// `state.json`: where a run stands. Its rename is what makes a checkpoint valid.
///
/// There is no position of a random generator and no order of the data in it: all noise is keyed by seed and step,
/// so `step` says it all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// The format of the folder.
    pub format: u64,
    /// Steps done.
    pub step: u64,
    /// Trainable numbers of the model.
    pub parameters: usize,
    /// The version of the library that wrote it.
    pub version: String,
}

/// A run on disk: `config.toml`, `model.safetensors`, `ema.safetensors`, `optimizer.safetensors`, `state.json`.
///
/// A checkpoint survives a crash at any moment. The weight files are written aside (`*.next`) and flushed; then
/// `state.json` is replaced by an atomic rename, which is the moment the checkpoint becomes valid; then the files
/// aside take their places. Each file names its step, so that a reader who finds `state.json` ahead of a file takes the
/// one aside; the next save first puts it in its place, and never writes over the only copy. Files are deterministic:
/// equal tensors, equal bytes.
///
/// The step names a checkpoint, so a folder belongs to one run, and to one process at a time.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// A new run with the given configuration. The folder may exist, but must hold no run.
    ///
    /// A folder with this very configuration and no checkpoint is one whose run was stopped before its first: it may
    /// be started again.
    ///
    /// # Errors
    /// [`TrainError::Exists`], or [`TrainError::File`] if it cannot be written.
    pub fn create(path: &Path, config: &str) -> Result<Self, TrainError> {
        // First the folder: through one that is not there yet (`new/../old`), a run would look absent.
        fs::create_dir_all(path).map_err(file("create the folder", path))?;
        Self::vacant(path, Some(config))?;
        let run = Self { path: path.to_owned() };
        run.replace(CONFIG, config.as_bytes())?;
        Ok(run)
    }

    /// Whether [`RunFolder::create`] could make a run here, before any work is done for it. `None` asks for a run of
    /// any configuration: then a `config.toml` alone is not in the way.
    ///
    /// # Errors
    /// [`TrainError::Exists`] if the folder holds a run.
    pub fn vacant(path: &Path, config: Option<&str>) -> Result<(), TrainError> {
        let known = path.join(CONFIG);
        let foreign =
            config.is_some_and(|config| known.exists() && fs::read(&known).ok().as_deref() != Some(config.as_bytes()));
        // Weights without a state: somebody's run that lost its state, not one that never began.
        let weights = [MODEL, EMA, OPTIMIZER].iter().any(|name| path.join(name).exists());
        if path.join(STATE).exists() || foreign || weights {
            return Err(TrainError::Exists { path: path.to_owned() });
        }
        Ok(())
    }

    /// An existing run.
    ///
    /// # Errors
    /// [`TrainError::NoRun`] if there is none.
    pub fn open(path: &Path) -> Result<Self, TrainError> {
        if path.join(STATE).exists() {
            Ok(Self { path: path.to_owned() })
        } else {
            Err(TrainError::NoRun { path: path.to_owned() })
        }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text of `config.toml`.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be read.
    pub fn config(&self) -> Result<String, TrainError> {
        let path = self.path.join(CONFIG);
        fs::read_to_string(&path).map_err(file("read", &path))
    }

    /// Replaces `config.toml`, atomically.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be written.
    pub fn write_config(&self, config: &str) -> Result<(), TrainError> {
        self.replace(CONFIG, config.as_bytes())
    }

    /// Where the run stands.
    ///
    /// # Errors
    /// [`TrainError::State`] or [`TrainError::Newer`] if this version cannot read it.
    pub fn state(&self) -> Result<RunState, TrainError> {
        #[derive(Deserialize)]
        struct Format {
            format: u64,
        }
        let path = self.path.join(STATE);
        let text = fs::read_to_string(&path).map_err(file("read", &path))?;
        let failed = |e: serde_json::Error| TrainError::State { path: path.clone(), reason: e.to_string() };
        // The format first: a newer one may have other fields.
        let Format { format } = serde_json::from_str(&text).map_err(failed)?;
        if format > FORMAT {
            return Err(TrainError::Newer { path, found: format, known: FORMAT });
        }
        serde_json::from_str(&text).map_err(failed)
    }

    /// Writes a checkpoint; see the type for what a crash leaves.
    ///
    /// # Errors
    /// [`TrainError::File`] if the disk is full or read-only; the last checkpoint is then still whole.
    pub fn save<M: Module>(&self, trainer: &Trainer<M>, history: &History) -> Result<(), TrainError> {
        let step = trainer.step.to_string();
        let named = |mut weights: Weights| {
            weights.metadata.clone_from(&step);
            weights.to_bytes()
        };
        let model = Weights::of(&trainer.model);
        let state = RunState {
            format: FORMAT,
            step: trainer.step,
            parameters: model.count(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let files = [
            (MODEL, named(model)?),
            (EMA, named(Weights::of(&trainer.averaged()))?),
            (OPTIMIZER, named(moments(trainer, history))?),
        ];
        self.finish_last_save()?;
        for (name, bytes) in &files {
            self.write(&aside(name), bytes)?;
        }
        let mut text = serde_json::to_string_pretty(&state)
            .map_err(|e| TrainError::State { path: self.path.join(STATE), reason: e.to_string() })?;
        text.push('\n');
        self.replace(STATE, text.as_bytes())?;
        for (name, _) in &files {
            self.rename(&aside(name), name)?;
        }
        self.flush()
    }

    /// Puts files of the present checkpoint in their places that a crash left aside: the next save writes there.
    fn finish_last_save(&self) -> Result<(), TrainError> {
        let step = match self.state() {
            Ok(state) => state.step,
            Err(newer @ TrainError::Newer { .. }) => return Err(newer),
            // No checkpoint, or none that can be read: nothing to keep.
            Err(_) => return Ok(()),
        };
        for name in [MODEL, EMA, OPTIMIZER].into_iter().filter(|name| self.path.join(aside(name)).exists()) {
            // What cannot be read cannot be saved from being overwritten either.
            if self.weights(name, step).is_ok_and(|(_, path)| path != self.path.join(name)) {
                self.rename(&aside(name), name)?;
                self.flush()?;
            }
        }
        Ok(())
    }

    /// Reads the last checkpoint into a model of the same configuration on an autodiff device.
    ///
    /// # Errors
    /// [`TrainError`] that names the file, if one is missing, truncated, foreign or of another step.
    pub fn resume<M: Module>(&self, model: M) -> Result<(Trainer<M>, History), TrainError> {
        let step = self.state()?.step;
        let (weights, path) = self.weights(MODEL, step)?;
        let mut trainer = Trainer::new(weights.apply(model, &path)?);
        trainer.step = step;
        let (average, path) = self.weights(EMA, step)?;
        let averaged = Trainer::new(average.apply(trainer.model.clone(), &path)?);
        trainer.memory.ema = averaged.memory.ema;
        let (optimizer, path) = self.weights(OPTIMIZER, step)?;
        let history = restore_moments(&mut trainer, optimizer, &path)?;
        Ok((trainer, history))
    }

    /// The weights of the model, averaged or not.
    ///
    /// # Errors
    /// [`TrainError`] that names the file, if it is missing, truncated, foreign or of another step.
    pub fn load<M: Module>(&self, model: M, which: Which) -> Result<M, TrainError> {
        let (weights, path) = self.weights(which.file(), self.state()?.step)?;
        weights.apply(model, &path)
    }

    /// The named tensors of the model, averaged or not.
    ///
    /// # Errors
    /// As for [`RunFolder::load`].
    pub fn weights_of(&self, which: Which) -> Result<Weights, TrainError> {
        self.weights(which.file(), self.state()?.step).map(|(weights, _)| weights)
    }

    /// The file of the given step: in its place, or still aside if a crash came between the renames.
    fn weights(&self, name: &str, step: u64) -> Result<(Weights, PathBuf), TrainError> {
        let place = self.path.join(name);
        let found = Weights::load(&place);
        let at = |weights: &Weights| weights.metadata.parse::<u64>().ok();
        if let Ok(weights) = &found
            && at(weights) == Some(step)
        {
            return found.map(|weights| (weights, place));
        }
        let beside = self.path.join(aside(name));
        if let Ok(weights) = Weights::load(&beside)
            && at(&weights) == Some(step)
        {
            return Ok((weights, beside));
        }
        let weights = found?;
        Err(TrainError::Step { path: place, found: at(&weights), wanted: step })
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        self.write(&aside(name), bytes)?;
        // Before the rename, so that it never reaches the disk ahead of the files it vouches for.
        self.flush()?;
        self.rename(&aside(name), name)?;
        self.flush()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
        let path = self.path.join(name);
        let mut out = File::create(&path).map_err(file("write", &path))?;
        out.write_all(bytes).and_then(|()| out.sync_all()).map_err(file("write", &path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), TrainError> {
        let path = self.path.join(to);
        fs::rename(self.path.join(from), &path).map_err(file("replace", &path))
    }

    /// New names and renames are only on disk once the folder is.
    fn flush(&self) -> Result<(), TrainError> {
        #[cfg(unix)]
        File::open(&self.path).and_then(|folder| folder.sync_all()).map_err(file("flush", &self.path))?;
        Ok(())
    }
}

/// Which weights of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As trained.
    Model,
    /// Averaged over the run: usually the better samples.
    Ema,
}

impl Which {
    fn file(self) -> &'static str {
        match self {
            Self::Model => MODEL,
            Self::Ema => EMA,
        }
    }
}

fn aside(name: &str) -> String {
    format!("{name}.next")
}

fn file<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(std::io::Error) -> TrainError + 'a {
    move |source| TrainError::File { action, path: path.to_owned(), source }
}

fn moments<M: Module>(trainer: &Trainer<M>, history: &History) -> Weights {
    let mut tensors = std::collections::BTreeMap::new();
    let memory = &trainer.memory;
    for (i, name) in memory.names.iter().enumerate() {
        tensors.insert(format!("first.{name}"), memory.first[i].clone().into_data());
        tensors.insert(format!("second.{name}"), memory.second[i].clone().into_data());
    }
    for (name, records) in [("training", &history.training), ("validation", &history.validation)] {
        let steps: Vec<i64> = records.iter().map(|r| r.step as i64).collect();
        let losses: Vec<f64> = records.iter().map(|r| r.loss).collect();
        tensors.insert(format!("history.{name}.step"), TensorData::new(steps, [records.len()]));
        tensors.insert(format!("history.{name}.loss"), TensorData::new(losses, [records.len()]));
    }
    Weights { tensors, metadata: String::new() }
}

fn restore_moments<M: Module>(trainer: &mut Trainer<M>, mut file: Weights, path: &Path) -> Result<History, TrainError> {
    let mut history = History::default();
    for (name, records) in [("training", &mut history.training), ("validation", &mut history.validation)] {
        let steps = file.tensors.remove(&format!("history.{name}.step")).and_then(|d| d.try_into_vec_as::<i64>().ok());
        let losses = file.tensors.remove(&format!("history.{name}.loss")).and_then(|d| d.try_into_vec_as::<f64>().ok());
        let (Some(steps), Some(losses)) = (steps, losses) else {
            let reason = format!("it lacks history.{name}");
            return Err(TrainError::Weights { path: path.to_owned(), reason });
        };
        *records = steps.iter().zip(losses).map(|(&step, loss)| Record { step: step as u64, loss }).collect();
    }
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    let memory = &mut trainer.memory;
    for (i, name) in memory.names.iter().enumerate() {
        for (prefix, slot) in [("first", &mut memory.first[i]), ("second", &mut memory.second[i])] {
            let full = format!("{prefix}.{name}");
            match file.tensors.remove(&full) {
                None => missing.push(full),
                Some(data) if data.shape().to_vec() != slot.dims().to_vec() => misshapen.push(full),
                Some(data) => *slot = Tensor::from_data(data, (&slot.device(), slot.dtype())),
            }
        }
    }
    let unexpected: Vec<String> = file.tensors.into_keys().collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(history)
    } else {
        Err(TrainError::Mismatch { path: path.to_owned(), missing, unexpected, misshapen })
    }
}
