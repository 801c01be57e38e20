use image::{Rgb, RgbImage};
use std::collections::BTreeMap;

/// Half the width of a line, in screen pixels.
const LINE: f64 = 0.6;

/// Points and lines on a window of the plane, y up. What lies outside is not drawn.
#[derive(Debug, Clone)]
pub struct Canvas {
    x: [f64; 2],
    y: [f64; 2],
    picture: RgbImage,
}

impl Canvas {
    /// A white picture of `size` screen pixels (width and height) that shows the window from `x[0]` to `x[1]` and from
    /// `y[0]` to `y[1]`.
    #[must_use]
    pub fn window(x: [f64; 2], y: [f64; 2], size: [u32; 2]) -> Self {
        Self { x, y, picture: RgbImage::from_pixel(size[0], size[1], Rgb([255; 3])) }
    }

    /// A white square of `side` screen pixels that shows [-range, range] in both directions, with a faint cross through
    /// the origin and a tick at every unit, up to a range of 50.
    #[must_use]
    pub fn new(range: f64, side: u32) -> Self {
        let mut canvas = Self::window([-range, range], [-range, range], [side; 2]);
        let gray = [225; 3];
        canvas.path(&[[-range, 0.0], [range, 0.0]], gray, 1.0);
        canvas.path(&[[0.0, -range], [0.0, range]], gray, 1.0);
        let tick = range / 80.0;
        let mut unit = 1.0;
        // More ticks would fill the line, or never end.
        while unit < range && range <= 50.0 {
            for at in [unit, -unit] {
                canvas.path(&[[at, -tick], [at, tick]], gray, 1.0);
                canvas.path(&[[-tick, at], [tick, at]], gray, 1.0);
            }
            unit += 1.0;
        }
        canvas
    }

    /// Round dots at `[x_0, y_0, x_1, y_1, ...]`; `radius` in screen pixels, `alpha` in [0, 1].
    pub fn dots(&mut self, points: &[f32], color: [u8; 3], radius: f64, alpha: f64) {
        for point in points.chunks_exact(2) {
            let center = self.screen([f64::from(point[0]), f64::from(point[1])]);
            self.stroke(&[center, center], radius, color, alpha);
        }
    }

    /// A line through the given points; `alpha` in [0, 1], the same all along.
    pub fn path(&mut self, points: &[[f64; 2]], color: [u8; 3], alpha: f64) {
        let points: Vec<[f64; 2]> = points.iter().map(|&point| self.screen(point)).collect();
        self.stroke(&points, LINE, color, alpha);
    }

    /// The picture.
    #[must_use]
    pub fn into_picture(self) -> RgbImage {
        self.picture
    }

    fn screen(&self, point: [f64; 2]) -> [f64; 2] {
        let along = |v: f64, [low, high]: [f64; 2], size: u32| (v - low) / (high - low) * f64::from(size);
        let (width, height) = self.picture.dimensions();
        [along(point[0], self.x, width), f64::from(height) - along(point[1], self.y, height)]
    }

    /// Draws a line through screen points with round ends and smooth edges.
    ///
    /// A pixel takes the largest share that any segment has in it and is blended once: where segments overlap, at
    /// every joint, a line is no darker than elsewhere.
    fn stroke(&mut self, points: &[[f64; 2]], radius: f64, color: [u8; 3], alpha: f64) {
        let mut shares = BTreeMap::new();
        for pair in points.windows(2) {
            self.share(pair[0], pair[1], radius, &mut shares);
        }
        for ((y, x), share) in shares {
            let cover = share * alpha;
            let pixel = self.picture.get_pixel_mut(x, y);
            for (old, new) in pixel.0.iter_mut().zip(color) {
                *old = (f64::from(*old) * (1.0 - cover) + f64::from(new) * cover).round() as u8;
            }
        }
    }

    /// How far each pixel lies inside `radius` of a segment.
    fn share(&self, from: [f64; 2], to: [f64; 2], radius: f64, shares: &mut BTreeMap<(u32, u32), f64>) {
        let (width, height) = self.picture.dimensions();
        let bounds = |a: f64, b: f64, size: u32| {
            let low = (a.min(b) - radius - 1.0).floor().clamp(0.0, f64::from(size)) as u32;
            let high = (a.max(b) + radius + 1.0).ceil().clamp(0.0, f64::from(size)) as u32;
            low..high
        };
        let direction = [to[0] - from[0], to[1] - from[1]];
        let length = direction[0].powi(2) + direction[1].powi(2);
        for y in bounds(from[1], to[1], height) {
            for x in bounds(from[0], to[0], width) {
                let offset = [f64::from(x) + 0.5 - from[0], f64::from(y) + 0.5 - from[1]];
                let along = (offset[0] * direction[0] + offset[1] * direction[1]) / length.max(1e-12);
                let along = along.clamp(0.0, 1.0);
                let nearest = [offset[0] - along * direction[0], offset[1] - along * direction[1]];
                let distance = (nearest[0].powi(2) + nearest[1].powi(2)).sqrt();
                let share = (radius + 0.5 - distance).clamp(0.0, 1.0);
                if share > 0.0 {
                    let best = shares.entry((y, x)).or_insert(0.0);
                    *best = share.max(*best);
                }
            }
        }
    }
}
