//! Error against evaluations of all deterministic samplers, on models that are known exactly.
//!
//! ```sh
//! cargo run --release -p work-precision -- OUT          # measures ours; writes the fields, CSV and SVG
//! python benches/peers/work_precision.py OUT            # diffusers on the same fields: writes OUT/peers.csv
//! cargo run --release -p work-precision -- OUT --merge  # tables and figure of both
//! ```
//!
//! The model is the exact denoiser of a Gaussian mixture in 2 and in 64 dimensions, on the linear path. The error is
//! the root mean square distance, over rows and elements, between where a sampler ends and where the exact probability
//! flow ends that starts from the same noise. Grids and coefficients that are made for the model see a pilot batch of
//! other noise, and so does the choice of the best of ours; every number in the tables is measured on the test batch. The
//! best of diffusers is chosen on the test batch itself. With `--sharp` the components have a quarter of the width.

mod field;
mod ours;
mod plot;
mod row;
mod table;

use crate::field::{Exchange, Parameters, Problem, Shape};
use std::error::Error;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let merge_only = arguments.iter().any(|a| a == "--merge");
    let shape = if arguments.iter().any(|a| a == "--sharp") { Shape::Sharp } else { Shape::Smooth };
    let folder = arguments.iter().find(|a| !a.starts_with("--")).map_or_else(|| "work-precision".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    if !merge_only {
        // Two dimensions, two threads.
        let (high, plane) = std::thread::scope(|scope| {
            let plane = scope.spawn(|| run::<2>(&folder, field::plane(shape), 1024, 1024));
            (run::<64>(&folder, field::high(shape), 512, 256), plane.join())
        });
        high?;
        plane.map_err(|_| "the thread of the plane panicked")??;
    }
    merge(&folder)
}

/// One CSV, figure and table of all that has been measured.
fn merge(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut rows = row::read(&folder.join("ours-2.csv"))?;
    rows.extend(row::read(&folder.join("ours-64.csv"))?);
    let peers = folder.join("peers.csv");
    if peers.exists() {
        rows.extend(row::read(&peers)?);
    }
    row::write(&folder.join("work-precision.csv"), &rows)?;
    plot::draw(&folder.join("work-precision.svg"), &rows)?;
    print!("{}", table::best(&rows));
    Ok(())
}

/// All measurements of one dimension, into its files.
fn run<const D: usize>(folder: &Path, parameters: Parameters, test: usize, pilot: usize) -> Result<(), String> {
    let all = || -> Result<(), Box<dyn Error>> {
        let problem = Problem::<D>::new(parameters, test, pilot)?;
        std::fs::write(folder.join(format!("field-{D}.json")), serde_json::to_string(&Exchange::of(&problem))?)?;
        row::write(&folder.join(format!("ours-{D}.csv")), &ours::measure(&problem)?)
    };
    all().map_err(|error| format!("{D} dimensions: {error}"))
}
