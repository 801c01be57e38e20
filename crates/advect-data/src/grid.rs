use crate::DataError;
use image::{GrayImage, Luma};
use std::{io::Cursor, path::Path};

/// Grayscale images of one size side by side, each pixel enlarged to a square so that a person can see it.
#[derive(Debug, Clone)]
pub struct ImageGrid {
    /// Width and height of one image, in its own pixels.
    pub size: [usize; 2],
    /// Images in a row of the grid.
    pub columns: usize,
    /// Screen pixels a pixel.
    pub zoom: usize,
    /// Values that show as black and as white.
    pub range: [f32; 2],
}

/// Screen pixels between images.
const GAP: usize = 4;
const BACKGROUND: u8 = 96;

impl ImageGrid {
    /// Draws images given one after the other, rows from the top; the last row of the grid may be short.
    ///
    /// # Errors
    /// [`DataError::Shape`] if the numbers are not whole images, or there are none.
    pub fn draw(&self, pixels: &[f32]) -> Result<GrayImage, DataError> {
        let [width, height] = self.size;
        let count = pixels.len() / (width * height).max(1);
        if count == 0 || count * width * height != pixels.len() || self.columns == 0 || self.zoom == 0 {
            return Err(DataError::Shape { values: pixels.len(), count, shape: vec![height, width] });
        }
        let columns = self.columns.min(count);
        let rows = count.div_ceil(columns);
        let cell = [width * self.zoom + GAP, height * self.zoom + GAP];
        let size = [columns * cell[0] + GAP, rows * cell[1] + GAP];
        let mut picture = GrayImage::from_pixel(size[0] as u32, size[1] as u32, Luma([BACKGROUND]));
        for (i, image) in pixels.chunks_exact(width * height).enumerate() {
            let corner = [GAP + (i % columns) * cell[0], GAP + (i / columns) * cell[1]];
            for y in 0..height * self.zoom {
                for x in 0..width * self.zoom {
                    let value = image[(y / self.zoom) * width + x / self.zoom];
                    picture.put_pixel((corner[0] + x) as u32, (corner[1] + y) as u32, Luma([self.shade(value)]));
                }
            }
        }
        Ok(picture)
    }

    /// A grid that is at most about `limit` screen pixels wide keeps pixels visible and files small.
    #[must_use]
    pub fn zoom_for(width: usize, columns: usize, limit: usize) -> usize {
        (limit / (width * columns).max(1)).clamp(1, 8)
    }

    fn shade(&self, value: f32) -> u8 {
        let [low, high] = self.range;
        ((value - low) / (high - low) * 255.0).round().clamp(0.0, 255.0) as u8
    }
}

/// Writes a picture as PNG.
///
/// # Errors
/// [`DataError::Picture`] if the file cannot be written.
pub fn save_png<P: image::PixelWithColorType<Subpixel = u8>>(
    picture: &image::ImageBuffer<P, Vec<u8>>,
    path: impl AsRef<Path>,
) -> Result<(), DataError>
where
    [u8]: image::EncodableLayout,
{
    let path = path.as_ref();
    let failed = |reason: String| DataError::Picture { path: path.to_owned(), reason };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).map_err(|e| failed(e.to_string()))?;
    // Written as a whole: a buffered file would swallow the error of a full disk when it is dropped.
    std::fs::write(path, bytes.into_inner()).map_err(|e| failed(e.to_string()))
}
