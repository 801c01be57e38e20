//! Error against evaluations of all deterministic samplers, on models that are known exactly.
//!
//! ```sh
//! cargo run --release -p work-precision -- OUT          # writes OUT/field-*.json, ours.csv, work-precision.{csv,svg}
//! python benches/peers/work_precision.py OUT            # diffusers on the same fields: writes OUT/peers.csv
//! cargo run --release -p work-precision -- OUT --merge  # tables and figure of both
//! ```
//!
//! The model is the exact denoiser of a Gaussian mixture in 2 and in 64 dimensions, on the linear path. The error is the
//! root mean square distance, over rows and elements, between where a sampler ends and where the exact probability flow
//! ends that starts from the same noise. Grids and coefficients that are made for the model see a pilot batch of other
//! noise; every number in the tables is measured on the test batch.

mod field;
mod ours;
mod plot;
mod row;
mod table;

use crate::field::{Exchange, Problem};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let merge = arguments.iter().any(|a| a == "--merge");
    let folder = arguments.iter().find(|a| !a.starts_with("--")).map_or_else(|| "work-precision".into(), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    if !merge {
        let plane = Problem::<2>::new(field::plane()?, 1024, 2048)?;
        let high = Problem::<64>::new(field::high()?, 512, 512)?;
        std::fs::write(folder.join("field-2.json"), serde_json::to_string(&Exchange::of(&plane))?)?;
        std::fs::write(folder.join("field-64.json"), serde_json::to_string(&Exchange::of(&high))?)?;
        let mut rows = ours::measure(&plane)?;
        rows.extend(ours::measure(&high)?);
        row::write(&folder.join("ours.csv"), &rows)?;
    }
    let mut rows = row::read(&folder.join("ours.csv"))?;
    let peers = folder.join("peers.csv");
    if peers.exists() {
        rows.extend(row::read(&peers)?);
    }
    row::write(&folder.join("work-precision.csv"), &rows)?;
    plot::draw(&folder.join("work-precision.svg"), &rows)?;
    print!("{}", table::best(&rows));
    Ok(())
}
