//! Pieces of images with their channels innermost, and back.
use super::super::super::lanes::{SQUARE, transpose_square};
use super::super::rows::clip;

/// A rectangle of an image that may reach over its edges, where it sees zeros.
#[derive(Clone, Copy)]
pub(super) struct Window {
    /// Channels that are read, and their number with padding.
    pub channels: usize,
    pub padded: usize,
    /// Lines and pixels of a line of the image.
    pub image: [usize; 2],
    /// The line and the pixel of the image where the window begins.
    pub from: [isize; 2],
    /// Lines and pixels of a line of the window.
    pub size: [usize; 2],
}

impl Window {
    /// Floats of the window.
    pub(super) fn len(&self) -> usize {
        self.size[0] * self.size[1] * self.padded
    }

    /// Copies `[channel, line, pixel]` to `[line, pixel, padded channel]`. The channels of the padding keep what they
    /// were.
    pub(super) fn read(&self, image: &[f32], to: &mut [f32]) {
        let ([height, width], [lines, columns]) = (self.image, self.size);
        assert!(image.len() >= self.channels * height * width && self.padded >= self.channels);
        let to = &mut to[..self.len()];
        let (inside, seen) = (clip(self.from[0], 1, lines, height), clip(self.from[1], 1, columns, width));
        let line = columns * self.padded;
        to[..inside.start * line].fill(0.0);
        to[inside.end * line..].fill(0.0);
        for y in inside.clone() {
            to[y * line..][..seen.start * self.padded].fill(0.0);
            to[y * line..(y + 1) * line][seen.end * self.padded..].fill(0.0);
        }
        if inside.is_empty() || seen.is_empty() {
            return;
        }
        let first =
            (self.from[0] + inside.start as isize) as usize * width + (self.from[1] + seen.start as isize) as usize;
        // Few channels at a time, so that their lines are read one behind the other, and each pixel's are written
        // together.
        for channel in (0..self.channels).step_by(CHANNELS) {
            let channels = CHANNELS.min(self.channels - channel);
            let piece = Lines { channels, plane: height * width, padded: self.padded, pixels: seen.len() };
            for (i, y) in inside.clone().enumerate() {
                let from = &image[channel * height * width + first + i * width..];
                let to = &mut to[y * line + seen.start * self.padded + channel..];
                // SAFETY: the pixels `seen` lie inside this line of each channel, and inside line y of the window.
                unsafe { piece.read(from.as_ptr(), to.as_mut_ptr()) };
            }
        }
    }
}

/// Channels, and pixels, that are turned together: a line of the cache of each.
const CHANNELS: usize = 16;

/// A piece of a line: in each channel of an image, `plane` floats apart, and with `padded` channels side by side.
struct Lines {
    channels: usize,
    plane: usize,
    padded: usize,
    pixels: usize,
}

impl Lines {
    /// # Safety
    ///
    /// `from` is valid for reads of `pixels` floats in each plane, `to` for writes of `channels` floats for each pixel.
    unsafe fn read(&self, from: *const f32, to: *mut f32) {
        let (quads, pixels) = (self.channels / SQUARE * SQUARE, self.pixels / SQUARE * SQUARE);
        // SAFETY: as the caller promises.
        unsafe {
            for channel in (0..quads).step_by(SQUARE) {
                let (from, to) = (from.add(channel * self.plane), to.add(channel));
                for pixel in (0..pixels).step_by(SQUARE) {
                    transpose_square(from.add(pixel), self.plane, to.add(pixel * self.padded), self.padded);
                }
                for pixel in pixels..self.pixels {
                    for i in 0..SQUARE {
                        *to.add(pixel * self.padded + i) = *from.add(i * self.plane + pixel);
                    }
                }
            }
            for channel in quads..self.channels {
                for pixel in 0..self.pixels {
                    *to.add(pixel * self.padded + channel) = *from.add(channel * self.plane + pixel);
                }
            }
        }
    }

    /// # Safety
    ///
    /// `from` is valid for reads of `channels` floats for each pixel, `to` for writes of `pixels` floats in each plane.
    unsafe fn write(&self, from: *const f32, to: *mut f32) {
        let pixels = self.pixels / SQUARE * SQUARE;
        // SAFETY: as the caller promises.
        unsafe {
            if self.channels == SQUARE {
                for pixel in (0..pixels).step_by(SQUARE) {
                    transpose_square(from.add(pixel * self.padded), self.padded, to.add(pixel), self.plane);
                }
                for pixel in pixels..self.pixels {
                    for i in 0..SQUARE {
                        *to.add(i * self.plane + pixel) = *from.add(pixel * self.padded + i);
                    }
                }
            } else {
                for channel in 0..self.channels {
                    for pixel in 0..self.pixels {
                        *to.add(channel * self.plane + pixel) = *from.add(pixel * self.padded + channel);
                    }
                }
            }
        }
    }
}

/// Lines of pixels with a vector of channels side by side, to be written to an image.
pub(super) struct Strip {
    /// Channels, and their number with padding.
    pub channels: usize,
    pub padded: usize,
    /// Lines, pixels of a line, and those of them that belong to the image.
    pub lines: usize,
    pub columns: usize,
    pub width: usize,
    /// Pixels of the image.
    pub plane: usize,
}

impl Strip {
    /// Copies `[line, pixel, channel]` to `[channel, line, pixel]`.
    ///
    /// # Safety
    ///
    /// `from` is valid for reads of the lines, `to` for writes of `lines` times `width` floats in each plane.
    pub(super) unsafe fn write(&self, from: *const f32, to: *mut f32) {
        let whole = self.columns == self.width;
        let (lines, pixels) = if whole { (1, self.lines * self.width) } else { (self.lines, self.width) };
        // A few channels at a time, all their lines: each is on another page of the memory.
        for channel in (0..self.channels).step_by(SQUARE) {
            let channels = SQUARE.min(self.channels - channel);
            let piece = Lines { channels, plane: self.plane, padded: self.padded, pixels };
            for line in 0..lines {
                // SAFETY: as the caller promises.
                unsafe {
                    let to = to.add(channel * self.plane + line * self.width);
                    piece.write(from.add(line * self.columns * self.padded + channel), to);
                }
            }
        }
    }
}
