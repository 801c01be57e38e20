//! The pictures of a run: grids and scatters of samples, animations, trajectories, the loss over the steps.

use crate::data::DataConfig;
use crate::error::CliError;
use crate::sampler::Samples;
use advect::data::{Canvas, ImageGrid, save_color_gif, save_gif, save_png};
use advect::train::History;
use plotters::prelude::*;
use std::path::Path;

/// What the losses are, with their units.
pub(crate) const FLOW_LOSS: &str = "flow-matching loss (mean squared error, model units)";
pub(crate) const AUTOENCODER_LOSS: &str = "loss (scaled squared error + log-variance + weighted divergence)";

const WIDTH: usize = 640;
const SIDE: u32 = 512;
const RANGE: f64 = 4.5;
const DATA: [u8; 3] = [176, 190, 204];
const SAMPLE: [u8; 3] = [214, 69, 65];
const LINE: [u8; 3] = [46, 82, 120];
/// Points of the data behind a scatter of samples.
const BACKDROP: u64 = 4000;
const LINES: usize = 150;

/// Samples as a PNG: images in a grid, points over the data.
pub(crate) fn still(data: &DataConfig, seed: u64, samples: &Samples, path: &Path) -> Result<(), CliError> {
    match data.toy() {
        None => {
            let order = display_order(samples);
            match color(data) {
                true => save_png(&color_grid(data, &samples.values, &order, columns(samples))?, path)?,
                false => save_png(&image_grid(data, &samples.values, &order, columns(samples))?, path)?,
            }
        }
        Some(_) => save_png(&scatter(data, seed, &samples.values), path)?,
    }
    Ok(())
}

/// Samples on their way from noise, as a GIF.
pub(crate) fn moving(data: &DataConfig, seed: u64, samples: &Samples, path: &Path) -> Result<(), CliError> {
    match data.toy() {
        None => {
            let order = display_order(samples);
            if color(data) {
                let frame = |values: &Vec<f32>| color_grid(data, values, &order, columns(samples));
                save_color_gif(&samples.frames.iter().map(frame).collect::<Result<Vec<_>, _>>()?, path)?;
                return Ok(());
            }
            let frame = |values: &Vec<f32>| image_grid(data, values, &order, columns(samples));
            save_gif(&samples.frames.iter().map(frame).collect::<Result<Vec<_>, _>>()?, path)?;
        }
        Some(_) => {
            let frames: Vec<_> = samples.frames.iter().map(|values| scatter(data, seed, values)).collect();
            save_color_gif(&frames, path)?;
        }
    }
    Ok(())
}

/// Images given one after the other, in rows.
pub(crate) fn grid(data: &DataConfig, values: &[f32], columns: usize, path: &Path) -> Result<(), CliError> {
    save_png(&image_grid(data, values, &[], columns)?, path)?;
    Ok(())
}

/// The ways of points from noise (light) to data (dark).
pub(crate) fn trajectories(samples: &Samples, path: &Path) -> Result<(), CliError> {
    let mut canvas = Canvas::new(RANGE, SIDE);
    let count = (samples.values.len() / 2).min(LINES);
    for i in 0..count {
        let at = |frame: &Vec<f32>| [f64::from(frame[2 * i]), f64::from(frame[2 * i + 1])];
        let way: Vec<[f64; 2]> = samples.frames.iter().map(at).collect();
        canvas.path(&way, LINE, 0.35);
    }
    let ends = |frame: Option<&Vec<f32>>| frame.map_or_else(Vec::new, |f| f[..2 * count].to_vec());
    canvas.dots(&ends(samples.frames.first()), [150, 150, 150], 1.8, 0.9);
    canvas.dots(&ends(samples.frames.last()), SAMPLE, 2.2, 1.0);
    save_png(&canvas.into_picture(), path)?;
    Ok(())
}

/// Rows of the picture: one a class, if every class is there; else as they come.
fn display_order(samples: &Samples) -> Vec<usize> {
    let pixels = samples.classes.as_ref().map_or(0, Vec::len);
    let mut order: Vec<usize> = (0..pixels).collect();
    if let Some(classes) = &samples.classes {
        order.sort_by_key(|&i| classes[i]);
    }
    order
}

/// As many columns as samples of a class, or a square.
fn columns(samples: &Samples) -> usize {
    let Some(classes) = &samples.classes else { return 16 };
    let kinds = classes.iter().max().map_or(1, |m| m + 1);
    let first = classes.iter().filter(|&&c| c == classes[0]).count();
    if first == classes.len() || kinds * first != classes.len() {
        (classes.len() as f64).sqrt().ceil() as usize
    } else {
        first
    }
}

/// Whether samples are images in red, green and blue.
fn color(data: &DataConfig) -> bool {
    data.shape()[0] == 3
}

/// A grid for each of the three channels, laid on each other.
fn color_grid(data: &DataConfig, values: &[f32], order: &[usize], columns: usize) -> Result<image::RgbImage, CliError> {
    let pixels: usize = data.shape()[1..].iter().product();
    let channel = |c: usize| -> Vec<f32> { values.chunks(pixels).skip(c).step_by(3).flatten().copied().collect() };
    let [red, green, blue] = [0, 1, 2].map(|c| image_grid(data, &channel(c), order, columns));
    let (red, green, blue) = (red?, green?, blue?);
    Ok(image::RgbImage::from_fn(red.width(), red.height(), |x, y| {
        image::Rgb([red.get_pixel(x, y)[0], green.get_pixel(x, y)[0], blue.get_pixel(x, y)[0]])
    }))
}

fn image_grid(
    data: &DataConfig,
    values: &[f32],
    order: &[usize],
    columns: usize,
) -> Result<image::GrayImage, CliError> {
    let shape = data.shape();
    let (height, width) = (shape[1], shape[2]);
    let pixels = height * width;
    let sorted: Vec<f32> = if order.is_empty() {
        values.to_vec()
    } else {
        order.iter().flat_map(|&i| &values[i * pixels..(i + 1) * pixels]).copied().collect()
    };
    let zoom = ImageGrid::zoom_for(width, columns, WIDTH);
    Ok(ImageGrid { size: [width, height], columns, zoom, range: data.range() }.draw(&sorted)?)
}

fn scatter(data: &DataConfig, seed: u64, values: &[f32]) -> image::RgbImage {
    let mut canvas = Canvas::new(RANGE, SIDE);
    if let Some(toy) = data.toy() {
        canvas.dots(&toy.points(seed, 0..BACKDROP), DATA, 1.6, 0.5);
    }
    canvas.dots(values, SAMPLE, 1.6, 0.6);
    canvas.into_picture()
}

/// The loss over the steps as SVG: every batch, a running mean, the held-out data.
pub(crate) fn loss(history: &History, name: &str, path: &Path) -> Result<(), CliError> {
    let training: Vec<(f64, f64)> = history.training.iter().map(|r| (r.step as f64 + 1.0, r.loss)).collect();
    let validation: Vec<(f64, f64)> = history.validation.iter().map(|r| (r.step as f64, r.loss)).collect();
    let window = (training.len() / 40).max(1);
    let smooth: Vec<(f64, f64)> = training
        .windows(window)
        .map(|w| (w[w.len() - 1].0, w.iter().map(|p| p.1).sum::<f64>() / w.len() as f64))
        .collect();
    let end = training.last().map_or(1.0, |p| p.0).max(2.0);
    // The first steps stand far above the rest; show where the curve lives.
    let mut sorted: Vec<f64> = training.iter().chain(&validation).map(|p| p.1).collect();
    sorted.sort_by(f64::total_cmp);
    let quantile = |q: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * q) as usize).copied().unwrap_or(1.0);
    let (low, high) = (quantile(0.0) * 0.95, quantile(0.98) * 1.1 + 1e-9);
    let mut text = String::new();
    plot(&mut text, name, &[training, smooth, validation], end, low, high)
        .map_err(|e| CliError::failure(format!("cannot draw {}: {e}", path.display())))?;
    std::fs::write(path, text).map_err(|e| CliError::failure(format!("cannot write {}: {e}", path.display())))
}

fn plot(
    text: &mut String,
    name: &str,
    lines: &[Vec<(f64, f64)>; 3],
    end: f64,
    low: f64,
    high: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let [training, smooth, validation] = lines;
    let root = SVGBackend::with_string(text, (760, 440)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..end, low..high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("training step")
        .y_desc(name)
        .x_label_formatter(&|x| format!("{x:.0}"))
        .y_label_formatter(&|y| format!("{y:.3}"))
        .draw()?;
    let (gray, blue, red) = (RGBColor(190, 200, 210), RGBColor(46, 82, 120), RGBColor(214, 69, 65));
    let inside = |points: &[(f64, f64)]| -> Vec<(f64, f64)> { points.iter().map(|p| (p.0, p.1.min(high))).collect() };
    chart
        .draw_series(LineSeries::new(inside(training), gray))?
        .label("each batch")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], gray));
    chart
        .draw_series(LineSeries::new(inside(smooth), blue.stroke_width(2)))?
        .label("running mean")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], blue));
    chart
        .draw_series(inside(validation).into_iter().map(|p| Circle::new(p, 4, red.filled())))?
        .label("held-out data, averaged weights")
        .legend(move |(x, y)| Circle::new((x + 9, y), 4, red.filled()));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(220, 220, 220))
        .draw()?;
    root.present()?;
    Ok(())
}
