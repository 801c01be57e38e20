//! The files that `sample` writes.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::sampler::Samples;
use crate::{pictures, task};
use advect::burn::tensor::TensorData;
use advect::train::Weights;
use npyz::WriterBuilder;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Png,
    Gif,
    Npy,
    Npz,
    Safetensors,
}

/// A file to write, known to be possible before any time is spent on samples.
#[derive(Debug)]
pub(crate) struct Output {
    path: PathBuf,
    kind: Kind,
}

impl Output {
    pub(crate) fn new(path: &Path) -> Result<Self, CliError> {
        let kind = match path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("png") => Kind::Png,
            Some("gif") => Kind::Gif,
            Some("npy") => Kind::Npy,
            Some("npz") => Kind::Npz,
            Some("safetensors") => Kind::Safetensors,
            _ => {
                return Err(CliError::usage(format!(
                    "--out {}: the name must end in .png, .gif, .npy, .npz or .safetensors",
                    path.display()
                )));
            }
        };
        let output = Self { path: path.to_owned(), kind };
        // Try the place now; samples can take long.
        if path.is_dir() {
            return Err(CliError::usage(format!("--out {} is a folder: name a file", path.display())));
        }
        let aside = output.aside();
        File::create(&aside).map_err(|e| output.failed(&e))?;
        fs::remove_file(&aside).map_err(|e| output.failed(&e))?;
        Ok(output)
    }

    pub(crate) fn needs_frames(&self) -> bool {
        self.kind == Kind::Gif
    }

    /// Writes beside the place and moves there, so that an earlier file is never lost to a failure.
    pub(crate) fn write(&self, config: &RunConfig, samples: &Samples) -> Result<(), CliError> {
        let aside = self.aside();
        let written = self.write_to(&aside, config, samples).and_then(|()| {
            File::open(&aside).and_then(|f| f.sync_all()).map_err(|e| self.failed(&e))?;
            fs::rename(&aside, &self.path).map_err(|e| self.failed(&e))
        });
        if written.is_err() {
            drop(fs::remove_file(&aside));
        }
        written
    }

    fn write_to(&self, path: &Path, config: &RunConfig, samples: &Samples) -> Result<(), CliError> {
        let data = config.data.name;
        let count = samples.values.len() / task::shape(data).iter().product::<usize>();
        let mut shape = vec![count as u64];
        shape.extend(task::shape(data).iter().map(|&s| s as u64));
        let labels: Option<Vec<i64>> = samples.classes.as_ref().map(|c| c.iter().map(|&c| c as i64).collect());
        match self.kind {
            Kind::Png => pictures::still(data, config.seed, samples, path),
            Kind::Gif => pictures::moving(data, config.seed, samples, path),
            Kind::Npy => {
                let mut file = BufWriter::new(self.create(path)?);
                array(&mut file, &shape, &samples.values).and_then(|()| file.flush()).map_err(|e| self.failed(&e))
            }
            Kind::Npz => self.archive(path, &shape, &samples.values, labels.as_deref()).map_err(|e| self.failed(&e)),
            Kind::Safetensors => {
                let mut weights = Weights::default();
                let shape: Vec<usize> = shape.iter().map(|&s| s as usize).collect();
                weights.tensors.insert("samples".into(), TensorData::new(samples.values.clone(), shape));
                if let Some(labels) = labels {
                    let count = labels.len();
                    weights.tensors.insert("labels".into(), TensorData::new(labels, [count]));
                }
                let bytes = weights.to_bytes()?;
                self.create(path)?.write_all(&bytes).map_err(|e| self.failed(&e))
            }
        }
    }

    /// Into memory first: a zip writes its directory when it is dropped, where an error would go unheard.
    fn archive(&self, path: &Path, shape: &[u64], values: &[f32], labels: Option<&[i64]>) -> std::io::Result<()> {
        let mut bytes = Cursor::new(Vec::new());
        {
            let mut archive = npyz::npz::NpzWriter::new(&mut bytes);
            let options = Default::default();
            let mut writer = archive.array("samples", options)?.default_dtype().shape(shape).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()?;
            if let Some(labels) = labels {
                let shape = [labels.len() as u64];
                let mut writer = archive.array("labels", options)?.default_dtype().shape(&shape).begin_nd()?;
                writer.extend(labels.iter().copied())?;
                writer.finish()?;
            }
        }
        fs::write(path, bytes.into_inner())
    }

    fn create(&self, path: &Path) -> Result<File, CliError> {
        File::create(path).map_err(|e| self.failed(&e))
    }

    /// Same ending, so that encoders that go by the name are content.
    fn aside(&self) -> PathBuf {
        let name = self.path.file_name().and_then(|n| n.to_str()).unwrap_or("out");
        self.path.with_file_name(format!(".{name}.part"))
    }

    fn failed(&self, reason: &std::io::Error) -> CliError {
        CliError::failure(format!("cannot write {}: {reason}", self.path.display()))
    }
}

fn array(file: impl Write, shape: &[u64], values: &[f32]) -> std::io::Result<()> {
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()
}
