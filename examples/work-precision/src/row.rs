use std::error::Error;
use std::fmt::Write;
use std::path::Path;

/// One measurement.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    pub(crate) library: String,
    pub(crate) dimension: usize,
    pub(crate) method: String,
    pub(crate) grid: String,
    pub(crate) evaluations: u64,
    /// Root mean square, over rows and elements.
    pub(crate) error: f64,
    /// The median over rows of the root mean square over elements: what rows that end at another component cannot move.
    pub(crate) median: f64,
    /// The error on the pilot batch, by which ours are chosen. Of the others the error itself: they are chosen by the
    /// test batch.
    pub(crate) pilot: f64,
}

const HEAD: &str = "library,dimension,method,grid,evaluations,error,median,pilot";

pub(crate) fn write(path: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let mut text = format!("{HEAD}\n");
    for r in rows {
        let (library, method, grid) = (&r.library, &r.method, &r.grid);
        writeln!(
            text,
            "{library},{},{method},{grid},{},{:e},{:e},{:e}",
            r.dimension, r.evaluations, r.error, r.median, r.pilot
        )?;
    }
    Ok(std::fs::write(path, text)?)
}

pub(crate) fn read(path: &Path) -> Result<Vec<Row>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let mut lines = text.lines();
    if lines.next() != Some(HEAD) {
        return Err(format!("{}: the first line must be {HEAD}", path.display()).into());
    }
    let parse = |line: &str| -> Result<Row, Box<dyn Error>> {
        let [library, dimension, method, grid, evaluations, error, median, pilot] =
            line.split(',').collect::<Vec<_>>().try_into().map_err(|_| format!("eight columns, not {line:?}"))?;
        Ok(Row {
            library: library.into(),
            dimension: dimension.parse()?,
            method: method.into(),
            grid: grid.into(),
            evaluations: evaluations.parse()?,
            error: error.parse()?,
            median: median.parse()?,
            pilot: pilot.parse()?,
        })
    };
    lines.map(parse).collect()
}
