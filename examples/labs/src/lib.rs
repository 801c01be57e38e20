//! What the labs share: their options, numbers beside their theory, figures.

mod figure;
mod points;
mod training;

pub use advect_analytic::statistics::Estimate;
pub use figure::{BLUE, COLORS, Figure, GRAY, GREEN, ORANGE, Panel, RED};
pub use points::{Point, draw, normals, pair, points, tensor};
pub use training::fit;

use std::path::{Path, PathBuf};

/// Whatever goes wrong in a lab.
pub type Error = Box<dyn std::error::Error>;

/// How a lab is run, and where its figures go.
#[derive(Debug, Clone)]
pub struct Lab {
    /// Small sizes, for tests: a look at every part in seconds.
    pub quick: bool,
    /// The folder of MNIST's idx files, for lab 3.
    pub data: Option<PathBuf>,
    folder: PathBuf,
}

impl Lab {
    /// A lab whose figures go into `folder`.
    pub fn new(folder: impl Into<PathBuf>, quick: bool) -> Self {
        Self { quick, data: None, folder: folder.into() }
    }

    /// The lab of a command line: `[--quick] [--data FOLDER] [--out FOLDER]`.
    pub fn from_args(name: &str) -> Result<Self, Error> {
        let mut lab = Self::new(Path::new("runs").join(name), false);
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let mut folder = || args.next().map(PathBuf::from).ok_or_else(|| format!("{arg} needs a folder"));
            match arg.as_str() {
                "--quick" => lab.quick = true,
                "--data" => lab.data = Some(folder()?),
                "--out" => lab.folder = folder()?,
                _ => return Err(format!("{name} knows --quick, --data FOLDER and --out FOLDER, not {arg}").into()),
            }
        }
        Ok(lab)
    }

    /// A size: the full one, or the one of a quick look.
    pub fn size<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }

    /// Writes a figure and says what it shows.
    pub fn save(&self, figure: Figure, name: &str, shows: &str) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder)?;
        let path = self.folder.join(name);
        advect::data::save_png(&figure.draw(), &path)?;
        println!("  wrote {}: {shows}", path.display());
        Ok(())
    }
}

/// An estimate beside what theory says it is.
#[derive(Debug, Clone)]
pub struct Number {
    /// What was estimated.
    pub name: String,
    /// The estimate, with its standard error.
    pub found: Estimate,
    /// The theory.
    pub theory: f64,
}

/// Prints an estimate beside its theory, and keeps it.
pub fn number(name: impl Into<String>, found: Estimate, theory: f64) -> Number {
    let name = name.into();
    let Estimate { value, standard_error, .. } = found;
    println!("  {name}: {value:.4} +- {standard_error:.4}, theory {theory:.4}");
    Number { name, found, theory }
}
