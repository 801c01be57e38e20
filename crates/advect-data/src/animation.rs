use crate::DataError;
use image::{GrayImage, RgbImage};
use std::path::Path;

/// Hundredths of a second a frame stands, and how much longer the last one does.
const FRAME: u16 = 6;
const LAST: u16 = 150;

fn failed(path: &Path, reason: impl std::fmt::Display) -> DataError {
    DataError::Picture { path: path.to_owned(), reason: reason.to_string() }
}

fn encode<'a>(
    path: &Path,
    size: (u32, u32),
    frames: impl ExactSizeIterator<Item = gif::Frame<'a>>,
    palette: &[u8],
) -> Result<(), DataError> {
    let side = |v: u32| u16::try_from(v).map_err(|_| failed(path, format!("{v} pixels are too many for a GIF")));
    let mut encoder =
        gif::Encoder::new(Vec::new(), side(size.0)?, side(size.1)?, palette).map_err(|e| failed(path, e))?;
    encoder.set_repeat(gif::Repeat::Infinite).map_err(|e| failed(path, e))?;
    let count = frames.len();
    for (i, mut frame) in frames.enumerate() {
        frame.delay = if i + 1 == count { LAST } else { FRAME };
        encoder.write_frame(&frame).map_err(|e| failed(path, e))?;
    }
    // Written as a whole: a buffered file would swallow the error of a full disk when it is dropped.
    std::fs::write(path, encoder.into_inner().map_err(|e| failed(path, e))?).map_err(|e| failed(path, e))
}

/// Writes grayscale frames of one size as an endless GIF; the last frame stands longest. Shades are exact.
///
/// # Errors
/// [`DataError::Picture`] if there are no frames, their sizes differ, or the file cannot be written.
pub fn save_gif(frames: &[GrayImage], path: impl AsRef<Path>) -> Result<(), DataError> {
    let path = path.as_ref();
    let size = same_size(frames.iter().map(GrayImage::dimensions), path)?;
    let grays: Vec<u8> = (0..=255).flat_map(|v| [v; 3]).collect();
    let frames = frames
        .iter()
        .map(|f| gif::Frame::from_indexed_pixels(size.0 as u16, size.1 as u16, f.as_raw().as_slice(), None));
    encode(path, size, frames, &grays)
}

/// [`save_gif`] for pictures in colour; each frame gets its own palette of 256 colours, exact if it has no more.
///
/// # Errors
/// As for [`save_gif`].
pub fn save_color_gif(frames: &[RgbImage], path: impl AsRef<Path>) -> Result<(), DataError> {
    let path = path.as_ref();
    let size = same_size(frames.iter().map(RgbImage::dimensions), path)?;
    let frames = frames.iter().map(|f| gif::Frame::from_rgb_speed(size.0 as u16, size.1 as u16, f.as_raw(), 10));
    encode(path, size, frames, &[])
}

fn same_size(mut sizes: impl Iterator<Item = (u32, u32)>, path: &Path) -> Result<(u32, u32), DataError> {
    let first = sizes.next().ok_or_else(|| failed(path, "there are no frames"))?;
    if let Some(other) = sizes.find(|s| *s != first) {
        return Err(failed(path, format!("frames differ in size: {first:?} and {other:?}")));
    }
    Ok(first)
}
