use std::path::PathBuf;

/// What can go wrong with data and pictures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Embedded data does not unpack: the package is damaged.
    #[error("the embedded data set `{name}` is damaged: {reason}")]
    Damaged {
        /// Name of the set.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Numbers and shape do not fit together.
    #[error("{values} numbers do not fill {count} samples of shape {shape:?}")]
    Shape {
        /// Numbers given.
        values: usize,
        /// Samples expected.
        count: usize,
        /// Shape of one sample.
        shape: Vec<usize>,
    },
    /// A label that names no class.
    #[error("label {label} of sample {index} names no class: there are {classes}, counted from 0")]
    Label {
        /// The sample.
        index: usize,
        /// Its label.
        label: usize,
        /// The number of classes.
        classes: usize,
    },
    /// Units that cannot be undone.
    #[error("units with offset {offset} and scale {scale}: both must be finite, the scale positive")]
    Units {
        /// The offset.
        offset: f64,
        /// The scale.
        scale: f64,
    },
    /// A file of data cannot be read.
    #[error("cannot read {path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder without the files of the set.
    #[error("{path} does not hold the data set: it needs {wanted}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The files that would do.
        wanted: &'static str,
    },
    /// A picture cannot be written.
    #[error("cannot write the picture {path}: {reason}")]
    Picture {
        /// The file.
        path: PathBuf,
        /// What the system or the encoder says.
        reason: String,
    },
}
