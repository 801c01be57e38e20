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

    /// Copies `[channel, line, pixel]` to `[line, pixel, padded channel]`. The channels of the padding keep what they were.
    pub(super) fn read(&self, image: &[f32], to: &mut [f32]) {
        let ([height, width], [_, columns]) = (self.image, self.size);
        assert!(image.len() >= self.channels * height * width && to.len() >= self.len() && self.padded >= self.channels);
        let seen = clip(self.from[1], 1, columns, width);
        for (line, to) in to[..self.len()].chunks_exact_mut(columns * self.padded).enumerate() {
            let y = self.from[0] + line as isize;
            if y < 0 || y >= height as isize {
                to.fill(0.0);
                continue;
            }
            to[..seen.start * self.padded].fill(0.0);
            to[seen.end * self.padded..].fill(0.0);
            if seen.is_empty() {
                continue;
            }
            let start = y as usize * width + (self.from[1] + seen.start as isize) as usize;
            let lines = Lines { channels: self.channels, plane: height * width, padded: self.padded, pixels: seen.len() };
            // SAFETY: the pixels `seen` lie inside line y of each channel, and inside this line of the window.
            unsafe { lines.read(image.as_ptr().add(start), to.as_mut_ptr().add(seen.start * self.padded)) };
        }
    }
}

/// A piece of a line: in each channel of an image, `plane` floats apart, and with `padded` channels side by side.
pub(super) struct Lines {
    pub channels: usize,
    pub plane: usize,
    pub padded: usize,
    pub pixels: usize,
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
    pub(super) unsafe fn write(&self, from: *const f32, to: *mut f32) {
        let (quads, pixels) = (self.channels / SQUARE * SQUARE, self.pixels / SQUARE * SQUARE);
        // SAFETY: as the caller promises.
        unsafe {
            for channel in (0..quads).step_by(SQUARE) {
                let (from, to) = (from.add(channel), to.add(channel * self.plane));
                for pixel in (0..pixels).step_by(SQUARE) {
                    transpose_square(from.add(pixel * self.padded), self.padded, to.add(pixel), self.plane);
                }
                for pixel in pixels..self.pixels {
                    for i in 0..SQUARE {
                        *to.add(i * self.plane + pixel) = *from.add(pixel * self.padded + i);
                    }
                }
            }
            for channel in quads..self.channels {
                for pixel in 0..self.pixels {
                    *to.add(channel * self.plane + pixel) = *from.add(pixel * self.padded + channel);
                }
            }
        }
    }
}
