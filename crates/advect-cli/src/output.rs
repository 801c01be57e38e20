//! The files that `sample` writes.

use crate::config::RunConfig;
use crate::error::CliError;
use crate::pictures;
use crate::sampler::Samples;
use advect::burn::tensor::TensorData;
use advect::train::Weights;
use npyz::WriterBuilder;
use std::fs::{self, File};
use std::io::{BufWriter, Cursor, Write};
use std::path::{Path, PathBuf};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

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
        let data = &config.data;
        let count = samples.values.len() / data.shape().iter().product::<usize>();
        let mut shape = vec![count as u64];
        shape.extend(data.shape().iter().map(|&s| s as u64));
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

    /// A zip of `.npy` files, not packed, as NumPy's `savez` writes it; in memory first, so that the file is written as a whole.
    fn archive(&self, path: &Path, shape: &[u64], values: &[f32], labels: Option<&[i64]>) -> std::io::Result<()> {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        // No time of day, so that the same samples make the same file.
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        archive.start_file("samples.npy", options)?;
        array(&mut archive, shape, values)?;
        if let Some(labels) = labels {
            archive.start_file("labels.npy", options)?;
            array(&mut archive, &[labels.len() as u64], labels)?;
        }
        fs::write(path, archive.finish()?.into_inner())
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

fn array<T: npyz::AutoSerialize + Copy>(file: impl Write, shape: &[u64], values: &[T]) -> std::io::Result<()> {
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(file).begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()
}
