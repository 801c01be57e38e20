use image::{Rgb, RgbImage};

/// Points and lines on the plane, drawn into a square picture.
///
/// The square shows [-range, range] in both directions, y up, with a faint cross through the origin and a tick at
/// every unit, up to a range of 50. What lies outside is not drawn.
#[derive(Debug, Clone)]
pub struct Canvas {
    range: f64,
    picture: RgbImage,
}

impl Canvas {
    /// A white square of `side` screen pixels.
    #[must_use]
    pub fn new(range: f64, side: u32) -> Self {
        let mut canvas = Self { range, picture: RgbImage::from_pixel(side, side, Rgb([255; 3])) };
        let gray = [225; 3];
        canvas.line([-range, 0.0], [range, 0.0], gray, 1.0);
        canvas.line([0.0, -range], [0.0, range], gray, 1.0);
        let tick = range / 80.0;
        let mut unit = 1.0;
        // More ticks would fill the line, or never end.
        while unit < range && range <= 50.0 {
            for at in [unit, -unit] {
                canvas.line([at, -tick], [at, tick], gray, 1.0);
                canvas.line([-tick, at], [tick, at], gray, 1.0);
            }
            unit += 1.0;
        }
        canvas
    }

    /// Round dots at `[x_0, y_0, x_1, y_1, ...]`; `radius` in screen pixels, `alpha` in [0, 1].
    pub fn dots(&mut self, points: &[f32], color: [u8; 3], radius: f64, alpha: f64) {
        for point in points.chunks_exact(2) {
            let center = self.screen([f64::from(point[0]), f64::from(point[1])]);
            self.blend(center, center, radius, color, alpha);
        }
    }

    /// A line through the given points; `alpha` in [0, 1].
    pub fn path(&mut self, points: &[[f64; 2]], color: [u8; 3], alpha: f64) {
        for pair in points.windows(2) {
            self.line(pair[0], pair[1], color, alpha);
        }
    }

    /// The picture.
    #[must_use]
    pub fn into_picture(self) -> RgbImage {
        self.picture
    }

    fn screen(&self, point: [f64; 2]) -> [f64; 2] {
        let side = f64::from(self.picture.width());
        [(point[0] / self.range + 1.0) * side / 2.0, (1.0 - point[1] / self.range) * side / 2.0]
    }

    fn line(&mut self, from: [f64; 2], to: [f64; 2], color: [u8; 3], alpha: f64) {
        let (from, to) = (self.screen(from), self.screen(to));
        self.blend(from, to, 0.6, color, alpha);
    }

    /// Blends in every pixel by how far it lies inside `radius` of the segment: smooth edges.
    fn blend(&mut self, from: [f64; 2], to: [f64; 2], radius: f64, color: [u8; 3], alpha: f64) {
        let side = i64::from(self.picture.width());
        let bounds = |a: f64, b: f64| {
            let low = (a.min(b) - radius - 1.0).floor().max(0.0) as i64;
            let high = (a.max(b) + radius + 1.0).ceil().min(side as f64) as i64;
            low..high
        };
        let direction = [to[0] - from[0], to[1] - from[1]];
        let length = direction[0].powi(2) + direction[1].powi(2);
        for y in bounds(from[1], to[1]) {
            for x in bounds(from[0], to[0]) {
                let offset = [x as f64 + 0.5 - from[0], y as f64 + 0.5 - from[1]];
                let along = (offset[0] * direction[0] + offset[1] * direction[1]) / length.max(1e-12);
                let along = along.clamp(0.0, 1.0);
                let nearest = [offset[0] - along * direction[0], offset[1] - along * direction[1]];
                let distance = (nearest[0].powi(2) + nearest[1].powi(2)).sqrt();
                let cover = (radius + 0.5 - distance).clamp(0.0, 1.0) * alpha;
                if cover > 0.0 {
                    let pixel = self.picture.get_pixel_mut(x as u32, y as u32);
                    for (old, new) in pixel.0.iter_mut().zip(color) {
                        *old = (f64::from(*old) * (1.0 - cover) + f64::from(new) * cover).round() as u8;
                    }
                }
            }
        }
    }
}
