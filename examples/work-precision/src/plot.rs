//! The figure: two panels, 2 and 64 dimensions; thin lines are single methods, bold lines the best of a group.

use crate::row::Row;
use crate::table::{FITTED, least, made};
use plotters::coord::Shift;
use plotters::prelude::*;
use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;

const THEIRS: RGBColor = RGBColor(90, 90, 90);
const PUBLISHED: RGBColor = RGBColor(86, 140, 200);
const OPTIMIZED: RGBColor = RGBColor(20, 70, 150);
const COEFFICIENTS: RGBColor = RGBColor(200, 50, 45);

type Which<'a> = Box<dyn Fn(&Row) -> bool + 'a>;

pub(crate) fn draw(path: &Path, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let root = SVGBackend::new(path, (1200, 560)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, dimension) in root.split_evenly((1, 2)).iter().zip([2, 64]) {
        panel(area, rows, dimension)?;
    }
    Ok(root.present()?)
}

fn panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, rows: &[Row], dimension: usize) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let shown: Vec<Row> =
        rows.iter().filter(|r| r.dimension == dimension && (5..=40).contains(&r.evaluations)).cloned().collect();
    let low = shown.iter().map(|r| r.error).filter(|e| *e > 0.0).fold(1.0, f64::min);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Gaussian mixture, {dimension} dimensions"), ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d((4.7..42.0_f64).log_scale(), (low / 1.5..1.0).log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("evaluations of the model")
        .y_desc("root mean square error at the end")
        .x_label_formatter(&|v| format!("{v:.0}"))
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .label_style(("sans-serif", 14))
        .draw()?;
    let ours = |r: &Row| r.library == "advect";
    // Thin: every method with its best published grid.
    let methods: BTreeSet<(String, String)> = shown.iter().map(|r| (r.library.clone(), r.method.clone())).collect();
    for (library, method) in methods.iter().filter(|(_, method)| method != FITTED) {
        let color = if library == "advect" { PUBLISHED } else { THEIRS };
        let one = |r: &Row| &r.library == library && &r.method == method && !made(r);
        chart.draw_series(LineSeries::new(at_each(&shown, dimension, one), color.mix(0.28)))?;
    }
    let groups: [(&str, RGBColor, Which<'_>); 4] = [
        ("diffusers: best sampler and grid", THEIRS, Box::new(|r: &Row| !ours(r))),
        ("advect: best sampler, published grids", PUBLISHED, Box::new(|r: &Row| ours(r) && !made(r))),
        ("advect: grid optimized on a pilot", OPTIMIZED, Box::new(|r: &Row| ours(r) && made(r) && r.method != FITTED)),
        ("advect: grid and coefficients fitted", COEFFICIENTS, Box::new(|r: &Row| ours(r) && r.method == FITTED)),
    ];
    for (label, color, which) in groups {
        let line = within(&shown, dimension, which);
        if line.is_empty() {
            continue;
        }
        chart
            .draw_series(LineSeries::new(line.iter().copied(), color.stroke_width(3)))?
            .label(label)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 22, y)], color.stroke_width(3)));
        chart.draw_series(line.into_iter().map(|point| Circle::new(point, 4, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .border_style(THEIRS.mix(0.4))
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

/// The least error at each number of evaluations that was measured.
fn at_each(rows: &[Row], dimension: usize, which: impl Fn(&Row) -> bool) -> Vec<(f64, f64)> {
    let counts: BTreeSet<u64> = rows.iter().filter(|r| which(r)).map(|r| r.evaluations).collect();
    let point = |&n: &u64| {
        let row = least(rows, dimension, n, |r| which(r) && r.evaluations == n)?;
        Some((n as f64, row.error.min(1.0)))
    };
    counts.iter().filter_map(point).collect()
}

/// What the best by the pilot batch within each number of evaluations is worth on the test batch.
fn within(rows: &[Row], dimension: usize, which: impl Fn(&Row) -> bool) -> Vec<(f64, f64)> {
    let counts: BTreeSet<u64> = rows.iter().filter(|r| which(r)).map(|r| r.evaluations).collect();
    counts.iter().filter_map(|&n| Some((n as f64, least(rows, dimension, n, &which)?.error.min(1.0)))).collect()
}
