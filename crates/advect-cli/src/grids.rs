//! The time grids that the program knows: the list of the library, and nothing besides.

use crate::error::CliError;
use crate::presets;
use crate::say::Say;
use advect::diffusion::{GridRule, NamedGrid, SigmaRange, named_grids};
use advect::paths::Schedule;
use advect::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::json;
use std::fmt;

/// All of them. The data of a run have unit size.
fn list() -> Vec<NamedGrid> {
    named_grids(SigmaRange::UNIT_DATA)
}

/// The name of a grid of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct GridName(&'static str);

/// Equal steps of t.
impl Default for GridName {
    fn default() -> Self {
        Self("uniform")
    }
}

impl GridName {
    /// The grid of this name.
    pub(crate) fn find(name: &str) -> Result<Self, String> {
        let list = list();
        let found = list.iter().find(|grid| grid.rule.name == name).map(|grid| Self(grid.rule.name));
        found.ok_or_else(|| {
            let hint = presets::suggest(name, list.iter().map(|grid| grid.rule.name));
            format!("unknown grid `{name}`{hint}; `advect grids` lists them")
        })
    }

    /// Its points for a path, from one time to another.
    pub(crate) fn points(self, schedule: &dyn Schedule, steps: usize, span: [f64; 2]) -> Result<TimeGrid, CliError> {
        let [start, end] = span;
        let found = list().into_iter().find(|grid| grid.rule.name == self.0);
        let grid = found.ok_or_else(|| CliError::usage(format!("unknown grid `{self}`")))?;
        grid.between(schedule, steps, start, end)
            .map_err(|error| CliError::usage(format!("the grid `{self}` does not fit this run: {error}")))
    }
}

impl fmt::Display for GridName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl<'de> Deserialize<'de> for GridName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::find(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// `advect grids`.
pub(crate) fn run(say: Say) {
    let list = list();
    let width = list.iter().map(|grid| grid.rule.name.len()).max().unwrap_or(0);
    let points = list.iter().map(|grid| grid.rule.title.len()).max().unwrap_or(0);
    if say == Say::Text {
        say.event(&format!("{:width$}  {:points$}  use it", "grid", "points"), json!(null));
    }
    for NamedGrid { rule: GridRule { name, title, source, use_when }, .. } in list {
        say.event(
            &format!("{name:width$}  {title:points$}  {use_when}"),
            json!({"name": name, "title": title, "use_when": use_when, "source": source}),
        );
    }
}
