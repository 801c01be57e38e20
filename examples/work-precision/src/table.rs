use crate::row::Row;
use std::fmt::Write;

/// What is fitted on a pilot batch beyond the grid.
pub(crate) const FITTED: &str = "fitted-multistep";

/// Whether a grid was made for the model.
pub(crate) fn made(row: &Row) -> bool {
    row.grid == "optimized" || row.grid == "local-errors"
}

/// The one with the least error on the pilot batch within a budget: what it is worth, the test batch says.
pub(crate) fn least(rows: &[Row], dimension: usize, budget: u64, which: impl Fn(&Row) -> bool) -> Option<&Row> {
    let fits = |r: &&Row| r.dimension == dimension && r.evaluations <= budget && r.pilot.is_finite() && which(r);
    rows.iter().filter(fits).min_by(|a, b| a.pilot.total_cmp(&b.pilot))
}

/// The best of ours and of theirs within 5, 10 and 20 evaluations, as Markdown.
pub(crate) fn best(rows: &[Row]) -> String {
    let mut text = String::from(
        "| d | evaluations | best of | method | grid | error | ratio to diffusers | median error |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for dimension in [2, 64] {
        for budget in [5, 10, 20] {
            let ours = |r: &Row| r.library == "advect";
            let theirs = least(rows, dimension, budget, |r| !ours(r));
            let lines = [
                ("diffusers, best of its grids", theirs),
                ("advect, published grids", least(rows, dimension, budget, |r| ours(r) && !made(r))),
                (
                    "advect, grid optimized",
                    least(rows, dimension, budget, |r| ours(r) && made(r) && r.method != FITTED),
                ),
                ("advect, grid and coefficients", least(rows, dimension, budget, |r| ours(r) && r.method == FITTED)),
            ];
            for (what, row) in lines {
                let Some(r) = row else { continue };
                let ratio = theirs.map_or_else(|| "-".into(), |t| format!("{:.3}", r.error / t.error));
                let (method, grid, error, median) = (&r.method, &r.grid, r.error, r.median);
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "| {dimension} | {budget} | {what} | {method} | {grid} | {error:.2e} | {ratio} | {median:.1e} |"
                );
            }
        }
    }
    text
}
