use super::{
    Beta, CosineSpacing, Exponential, Karras, PolyExponential, Quadratic, Shifted, SigmaRange, Spacing, Uniform,
    UniformLogSnr,
};
use super::{
    beta, cosine, exponential, karras, poly_exponential, quadratic, shifted, spacing::ends, uniform, uniform_log_snr,
};
use crate::DiffusionError;
use advect_core::TimeGrid;
use advect_paths::Schedule;
use std::fmt::Write;

/// What a table says about a rule for time grids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridRule {
    /// The name of the rule in a program, in kebab-case.
    pub name: &'static str,
    /// The rule in a few words.
    pub title: &'static str,
    /// Paper and equation.
    pub source: &'static str,
    /// When to use it, in one phrase.
    pub use_when: &'static str,
}

/// A rule for time grids by name: one line of a list.
pub struct NamedGrid {
    /// What is known of it.
    pub rule: GridRule,
    spacing: Box<dyn Spacing>,
}

impl NamedGrid {
    /// A rule and what makes its grids.
    #[must_use]
    pub fn new(rule: GridRule, spacing: impl Spacing + 'static) -> Self {
        Self { rule, spacing: Box::new(spacing) }
    }

    /// A grid of `steps` steps by this rule from exactly `start` to exactly `end`, which take the place of its own ends.
    ///
    /// A rule on noise levels begins at the largest of its range: a solve from noise alone begins before.
    ///
    /// # Errors
    /// Those of [`Spacing::grid`]; [`DiffusionError::Setting`] if a point inside does not lie between the ends.
    pub fn between(
        &self,
        schedule: &dyn Schedule,
        steps: usize,
        start: f64,
        end: f64,
    ) -> Result<TimeGrid, DiffusionError> {
        ends(&self.spacing.grid(schedule, steps)?, start, end)
    }
}

impl Spacing for NamedGrid {
    fn grid(&self, schedule: &dyn Schedule, steps: usize) -> Result<TimeGrid, DiffusionError> {
        self.spacing.grid(schedule, steps)
    }
}

impl std::fmt::Debug for NamedGrid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedGrid").field("rule", &self.rule).finish_non_exhaustive()
    }
}

/// Every rule of this crate that needs nothing but noise levels: the list behind the table, the tests and programs.
///
/// `range` is where rules on noise levels place their points. [`DdpmSpacing`](crate::DdpmSpacing) needs the table of a
/// model, [`optimize_grid`](crate::optimize_grid) a model.
///
/// ```
/// use advect_diffusion::{SigmaRange, named_grids};
/// use advect_paths::Linear;
///
/// for grid in named_grids(SigmaRange::UNIT_DATA) {
///     let points = grid.between(&Linear, 10, 0.0, 1.0)?;
///     assert_eq!((points.steps(), points.start(), points.end()), (10, 0.0, 1.0), "{}", grid.rule.name);
/// }
/// # Ok::<(), advect_diffusion::DiffusionError>(())
/// ```
#[must_use]
pub fn named_grids(range: SigmaRange) -> Vec<NamedGrid> {
    vec![
        NamedGrid::new(uniform::RULE, Uniform::FULL),
        NamedGrid::new(karras::RULE, Karras::with_rho_7(range)),
        NamedGrid::new(exponential::RULE, Exponential::new(range)),
        NamedGrid::new(poly_exponential::RULE, PolyExponential::with_rho_2(range)),
        NamedGrid::new(uniform_log_snr::RULE, UniformLogSnr::INSIDE),
        NamedGrid::new(cosine::RULE, CosineSpacing),
        NamedGrid::new(quadratic::RULE, Quadratic::FULL),
        NamedGrid::new(beta::RULE, Beta::default()),
        NamedGrid::new(shifted::RULE, Shifted::SD3),
    ]
}

/// A Markdown table of rules, in the order given: the one in the documentation of the crate.
#[must_use]
pub fn grid_table(rules: impl IntoIterator<Item = GridRule>) -> String {
    let mut table = String::from("| name | points | use it | source |\n| --- | --- | --- | --- |\n");
    for GridRule { name, title, source, use_when } in rules {
        // Writing to a string cannot fail.
        let _ = writeln!(table, "| `{name}` | {title} | {use_when} | {source} |");
    }
    table
}
