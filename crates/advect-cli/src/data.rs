//! What is modelled, as the configuration names it: its shape, its units, where it comes from.

use crate::error::CliError;
use crate::task::Source;
use advect::data::{DataError, Dataset, Toy, Units, digits, mnist, mnist_units};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The side of MNIST's own images.
const MNIST_SIDE: usize = 28;
/// Beyond it the 60,000 images of MNIST would take more than 4 GB.
const MNIST_MAX: usize = 128;
const MAX_SIDE: usize = 1024;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DataConfig {
    pub(crate) name: DataName,
    /// One sample in so many is held out for the validation loss.
    pub(crate) held_out: usize,
    /// Where the files of the data are, for data that do not come with the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) folder: Option<PathBuf>,
    /// The height and width that images are brought to, where that can be chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) side: Option<usize>,
    /// Channels, height and width, where only an imported network knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<[usize; 3]>,
    /// The number of classes, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) classes: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DataName {
    Digits,
    Mnist,
    Moons,
    Checkerboard,
    EightGaussians,
    /// Pixels from 0 to 255 of an imported network, whose data are not here: it can be sampled, not trained.
    Imported,
}

impl DataConfig {
    /// Data that come with the program, a tenth held out.
    pub(crate) fn own(name: DataName) -> Self {
        Self { name, held_out: 10, folder: None, side: None, shape: None, classes: None }
    }

    /// Data that are not here.
    pub(crate) fn imported(shape: [usize; 3], classes: Option<usize>) -> Self {
        Self { shape: Some(shape), classes, ..Self::own(DataName::Imported) }
    }

    pub(crate) fn toy(&self) -> Option<Toy> {
        match self.name {
            DataName::Digits | DataName::Mnist | DataName::Imported => None,
            DataName::Moons => Some(Toy::Moons),
            DataName::Checkerboard => Some(Toy::Checkerboard),
            DataName::EightGaussians => Some(Toy::EightGaussians),
        }
    }

    /// The shape of one sample, without the batch.
    pub(crate) fn shape(&self) -> Vec<usize> {
        match self.name {
            DataName::Digits => vec![1, 8, 8],
            DataName::Mnist => {
                let side = self.side.unwrap_or(MNIST_SIDE);
                vec![1, side, side]
            }
            DataName::Moons | DataName::Checkerboard | DataName::EightGaussians => vec![2],
            DataName::Imported => self.shape.map_or_else(Vec::new, |shape| shape.to_vec()),
        }
    }

    /// How samples and what a network sees are related.
    pub(crate) fn units(&self) -> Units {
        match self.name {
            DataName::Digits => Units { offset: 8.0, scale: 8.0 },
            DataName::Mnist => mnist_units(),
            DataName::Imported => Units { offset: 127.5, scale: 127.5 },
            DataName::Moons | DataName::Checkerboard | DataName::EightGaussians => Units { offset: 0.0, scale: 1.0 },
        }
    }

    /// The values that show as black and as white.
    pub(crate) fn range(&self) -> [f32; 2] {
        if self.name == DataName::Digits { [0.0, 16.0] } else { [0.0, 255.0] }
    }

    pub(crate) fn classes(&self) -> usize {
        match self.name {
            DataName::Digits | DataName::Mnist => 10,
            DataName::Moons | DataName::Checkerboard | DataName::EightGaussians => 0,
            DataName::Imported => self.classes.unwrap_or(0),
        }
    }

    /// What a sample is called.
    pub(crate) fn noun(&self) -> &'static str {
        if self.toy().is_some() { "points" } else { "images" }
    }

    pub(crate) fn validate(&self) -> Result<(), CliError> {
        let imported = self.name == DataName::Imported;
        if imported != self.shape.is_some() || !imported && self.classes.is_some() {
            return Err(CliError::usage("data.shape and data.classes are for imported networks, which need the shape"));
        }
        if let Some([channels, height, width]) = self.shape
            && [channels, height, width].iter().any(|size| !(1..=MAX_SIDE).contains(size))
        {
            return Err(CliError::usage(format!(
                "images of {height}x{width} pixels with {channels} channels are out of range: 1 to {MAX_SIDE} each"
            )));
        }
        if imported && self.folder.is_none() && self.side.is_none() {
            return Ok(());
        }
        if self.name == DataName::Mnist {
            let side = self.side.unwrap_or(MNIST_SIDE);
            if !(1..=MNIST_MAX).contains(&side) {
                return Err(CliError::usage(format!("data.side = {side} is out of range: 1 to {MNIST_MAX}")));
            }
        } else if self.folder.is_some() || self.side.is_some() {
            return Err(CliError::usage(
                "these data come with the program: leave out --data, data.folder and data.side",
            ));
        }
        Ok(())
    }

    /// What to draw from.
    pub(crate) fn source(&self) -> Result<Source, CliError> {
        self.toy().map_or_else(|| self.load().map(Source::Images), |toy| Ok(Source::Points(toy)))
    }

    /// The images, in memory.
    pub(crate) fn load(&self) -> Result<Dataset, CliError> {
        match self.name {
            DataName::Mnist => {}
            DataName::Imported => {
                return Err(CliError::usage(
                    "the data of an imported network are not here: it can be sampled, not trained",
                ));
            }
            _ => return Ok(digits()?),
        }
        let Some(folder) = &self.folder else {
            return Err(CliError::usage(
                "MNIST does not come with the program: say where its idx files are with --data FOLDER",
            ));
        };
        let data = mnist(folder, self.side.unwrap_or(MNIST_SIDE)).map_err(|e| match e {
            DataError::Folder { .. } => CliError::usage(format!("--data: {e}")),
            other => other.into(),
        })?;
        if data.count() < self.held_out {
            return Err(CliError::usage(format!(
                "data.held_out = {} holds out none of {} images: set it to the number of images at most",
                self.held_out,
                data.count()
            )));
        }
        Ok(data)
    }

    /// Whether these are the same data, wherever their files lie now.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let anywhere = |data: &Self| Self { folder: None, ..data.clone() };
        anywhere(self) == anywhere(other)
    }
}
