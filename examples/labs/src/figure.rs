//! Figures: panels with a title and axes, side by side.

use advect::data::Canvas;
use font8x8::legacy::BASIC_LEGACY;
use image::{GenericImage, GrayImage, Rgb, RgbImage};

pub const BLUE: [u8; 3] = [46, 98, 168];
pub const RED: [u8; 3] = [204, 62, 58];
pub const GREEN: [u8; 3] = [40, 140, 90];
pub const ORANGE: [u8; 3] = [222, 140, 30];
pub const GRAY: [u8; 3] = [175, 182, 190];
/// One for each component of a mixture.
pub const COLORS: [[u8; 3]; 5] = [BLUE, RED, GREEN, ORANGE, [120, 80, 160]];

/// Width of a panel's window, and the room for what is written around it, in screen pixels.
const SIDE: u32 = 400;
const LEFT: u32 = 56;
const TOP: u32 = 34;
const BOTTOM: u32 = 30;
const GAP: u32 = 16;
const INK: [u8; 3] = [40, 44, 52];

/// A window of the plane with a title and axes.
pub struct Panel {
    title: String,
    ranges: [[f64; 2]; 2],
    canvas: Canvas,
}

impl Panel {
    /// The square `[-range, range]` in both directions.
    pub fn square(title: impl Into<String>, range: f64) -> Self {
        Self::new(title, [-range, range], [-range, range], SIDE)
    }

    /// A wide window for what changes with time.
    pub fn wide(title: impl Into<String>, x: [f64; 2], y: [f64; 2]) -> Self {
        Self::new(title, x, y, SIDE * 5 / 8)
    }

    fn new(title: impl Into<String>, x: [f64; 2], y: [f64; 2], height: u32) -> Self {
        Self { title: title.into(), ranges: [x, y], canvas: Canvas::window(x, y, [SIDE, height]) }
    }

    /// Points.
    pub fn dots<'a>(mut self, points: impl IntoIterator<Item = &'a [f64; 2]>, color: [u8; 3]) -> Self {
        let points: Vec<f32> = points.into_iter().flatten().map(|&v| v as f32).collect();
        self.canvas.dots(&points, color, 1.4, 0.6);
        self
    }

    /// Larger points, over the others.
    pub fn marks<'a>(mut self, points: impl IntoIterator<Item = &'a [f64; 2]>) -> Self {
        let points: Vec<f32> = points.into_iter().flatten().map(|&v| v as f32).collect();
        self.canvas.dots(&points, [255; 3], 5.0, 1.0);
        self.canvas.dots(&points, INK, 3.5, 1.0);
        self
    }

    /// A line through points.
    pub fn line(mut self, points: impl IntoIterator<Item = [f64; 2]>, color: [u8; 3]) -> Self {
        self.canvas.path(&points.into_iter().collect::<Vec<_>>(), color, 0.9);
        self
    }

    /// Faint lines, one a path.
    pub fn paths(mut self, paths: impl IntoIterator<Item = Vec<[f64; 2]>>, color: [u8; 3]) -> Self {
        paths.into_iter().for_each(|path| self.canvas.path(&path, color, 0.25));
        self
    }

    /// The graph of a function.
    pub fn curve(self, f: impl Fn(f64) -> f64, color: [u8; 3]) -> Self {
        let [from, to] = self.ranges[0];
        self.line((0..=200).map(|i| from + (to - from) * f64::from(i) / 200.0).map(|x| [x, f(x)]), color)
    }

    /// The density of values, in 60 bins over the width of the panel.
    pub fn histogram(self, values: &[f64], color: [u8; 3]) -> Self {
        const BINS: usize = 60;
        let [from, to] = self.ranges[0];
        let width = (to - from) / BINS as f64;
        let mut counts = [0_usize; BINS];
        for bin in values.iter().map(|v| (v - from) / width).filter(|bin| (0.0..BINS as f64).contains(bin)) {
            counts[bin as usize] += 1;
        }
        let height = |bin: usize| counts[bin] as f64 / (values.len() as f64 * width);
        let step = |bin: usize| [0, 1].map(|side| [from + width * (bin + side) as f64, height(bin)]);
        self.line((0..BINS).flat_map(step), color)
    }

    fn draw(self) -> RgbImage {
        let window = self.canvas.into_picture();
        let (width, height) = window.dimensions();
        let mut picture = blank([LEFT + width + GAP, TOP + height + BOTTOM]);
        paste(&mut picture, &window, [LEFT, TOP]);
        for edge in 0..=width {
            picture.put_pixel(LEFT + edge, TOP, Rgb(INK));
            picture.put_pixel(LEFT + edge, TOP + height, Rgb(INK));
        }
        for edge in 0..=height {
            picture.put_pixel(LEFT, TOP + edge, Rgb(INK));
            picture.put_pixel(LEFT + width, TOP + edge, Rgb(INK));
        }
        let [x, y] = self.ranges;
        for tick in ticks(x) {
            let at = LEFT + ((tick - x[0]) / (x[1] - x[0]) * f64::from(width)) as u32;
            (0..5).for_each(|k| picture.put_pixel(at, TOP + height - k, Rgb(INK)));
            write(&mut picture, &label(tick), [at, TOP + height + 8], Align::Middle, 1);
        }
        for tick in ticks(y) {
            let at = TOP + height - ((tick - y[0]) / (y[1] - y[0]) * f64::from(height)) as u32;
            (0..5).for_each(|k| picture.put_pixel(LEFT + k, at, Rgb(INK)));
            write(&mut picture, &label(tick), [LEFT - 6, at.saturating_sub(4)], Align::Right, 1);
        }
        write(&mut picture, &self.title, [LEFT + width / 2, 10], Align::Middle, title_size(&self.title, width));
        picture
    }
}

/// Panels in rows.
pub struct Figure {
    columns: usize,
    panels: Vec<RgbImage>,
}

impl Figure {
    /// Panels in rows of `columns`.
    pub fn new(columns: usize, panels: impl IntoIterator<Item = Panel>) -> Self {
        Self { columns, panels: panels.into_iter().map(Panel::draw).collect() }
    }

    /// Grids of images with titles, side by side.
    pub fn grids(grids: impl IntoIterator<Item = (String, GrayImage)>) -> Self {
        let panels = grids.into_iter().map(|(title, grid)| {
            let colored = RgbImage::from_fn(grid.width(), grid.height(), |x, y| Rgb([grid.get_pixel(x, y)[0]; 3]));
            let mut panel = blank([grid.width() + GAP, TOP + grid.height()]);
            paste(&mut panel, &colored, [GAP / 2, TOP]);
            let middle = panel.width() / 2;
            write(&mut panel, &title, [middle, 10], Align::Middle, title_size(&title, grid.width()));
            panel
        });
        let panels: Vec<RgbImage> = panels.collect();
        Self { columns: panels.len(), panels }
    }

    /// The whole picture.
    pub fn draw(self) -> RgbImage {
        let size = |of: fn(&RgbImage) -> u32| self.panels.iter().map(of).max().unwrap_or(1);
        let (width, height) = (size(RgbImage::width), size(RgbImage::height));
        let columns = self.columns.clamp(1, self.panels.len().max(1));
        let rows = self.panels.len().div_ceil(columns);
        let mut picture = blank([width * columns as u32 + GAP, height * rows as u32 + GAP]);
        for (k, panel) in self.panels.iter().enumerate() {
            paste(&mut picture, panel, [width * (k % columns) as u32, height * (k / columns) as u32]);
        }
        picture
    }
}

fn blank([width, height]: [u32; 2]) -> RgbImage {
    RgbImage::from_pixel(width, height, Rgb([255; 3]))
}

/// Lays one picture on a larger one.
fn paste(on: &mut RgbImage, picture: &RgbImage, [x, y]: [u32; 2]) {
    // It fits, for the larger one was made to hold it.
    let _ = on.copy_from(picture, x, y);
}

/// Round numbers inside a range, about six.
fn ticks([from, to]: [f64; 2]) -> impl Iterator<Item = f64> {
    let rough = (to - from) / 6.0;
    let unit = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|k| k * unit).into_iter().find(|step| *step >= rough).unwrap_or(rough);
    let first = (from / step - 1e-9).ceil() as i64;
    (first..).map(move |k| k as f64 * step).take_while(move |tick| *tick <= to + 1e-9 * step)
}

fn label(tick: f64) -> String {
    let text = format!("{tick:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

enum Align {
    Middle,
    Right,
}

/// Two screen pixels a dot of the letters, if so much fits.
fn title_size(title: &str, width: u32) -> u32 {
    if title.len() as u32 * 16 <= width + LEFT { 2 } else { 1 }
}

fn write(on: &mut RgbImage, text: &str, [x, y]: [u32; 2], align: Align, size: u32) {
    let width = 8 * size * text.len() as u32;
    let left = match align {
        Align::Middle => x.saturating_sub(width / 2),
        Align::Right => x.saturating_sub(width),
    };
    for (place, letter) in text.bytes().enumerate() {
        let rows = BASIC_LEGACY[usize::from(letter.min(127))];
        for (dy, dx) in (0..8 * size).flat_map(|dy| (0..8 * size).map(move |dx| (dy, dx))) {
            let (px, py) = (left + 8 * size * place as u32 + dx, y + dy);
            if rows[(dy / size) as usize] >> (dx / size) & 1 == 1 && px < on.width() && py < on.height() {
                on.put_pixel(px, py, Rgb(INK));
            }
        }
    }
}
