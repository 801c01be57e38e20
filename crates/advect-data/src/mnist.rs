use crate::{DataError, Dataset, Idx, Units};
use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma};
use std::path::{Path, PathBuf};

/// Mean and standard deviation of the pixels, in units of full ink, that MNIST is normalized by: those of its training
/// images at 32x32.
const MEAN: f64 = 0.1305;
const DEVIATION: f64 = 0.2891;
const INK: f64 = 255.0;
const CLASSES: usize = 10;

/// The units of MNIST: pixels from 0 (paper) to 255 (ink) in the data, about zero mean and unit variance in a model.
#[must_use]
pub fn mnist_units() -> Units {
    Units { offset: MEAN * INK, scale: DEVIATION * INK }
}

/// The handwritten digits of MNIST (LeCun et al. 1998) or a set of its form (Fashion-MNIST, KMNIST), from a folder that
/// holds its files: `train-images-idx3-ubyte` with `train-labels-idx1-ubyte`, or else the test images `t10k-*`; each
/// packed (`.gz`) or not, with `-` or `.` before `idx`. Of each pair both files or none have to be there.
///
/// `side` enlarges or shrinks the images, each weighted by a triangle as wide as a pixel of the coarser grid, to
/// `side` x `side` pixels; 32 is usual, as it can be halved five times.
///
/// # Shapes
/// - one sample: `[1, side, side]`; models see [`mnist_units`]
///
/// # Errors
/// [`DataError::Folder`] if the folder has no such files, [`DataError::File`] if one of them is damaged or they do not
/// fit together.
pub fn mnist(folder: impl AsRef<Path>, side: usize) -> Result<Dataset, DataError> {
    let folder = folder.as_ref();
    let (images, labels) = find(folder)?;
    let (pixels, classes) = (Idx::read(&images)?, Idx::read(&labels)?);
    let [count, height, width] = pixels.shape[..] else {
        let reason = format!("its sizes {:?} are not those of a stack of images", pixels.shape);
        return Err(DataError::File { path: images, reason });
    };
    if classes.shape != [count] {
        let reason = format!("its sizes {:?} do not fit {count} images", classes.shape);
        return Err(DataError::File { path: labels, reason });
    }
    let values = if [height, width] == [side, side] {
        pixels.values.iter().map(|&p| f32::from(p)).collect()
    } else {
        resized(&pixels.values, [height, width], side)
    };
    let classes = classes.values.iter().map(|&c| usize::from(c)).collect();
    Dataset::new(vec![1, side, side], values, Some(classes), CLASSES, mnist_units())
}

/// Rounded to whole shades, as an image file would hold them.
fn resized(pixels: &[u8], [height, width]: [usize; 2], side: usize) -> Vec<f32> {
    let mut values = Vec::new();
    for image in pixels.chunks_exact((height * width).max(1)) {
        let image = ImageBuffer::<Luma<u8>, _>::from_raw(width as u32, height as u32, image);
        let image = image.map(|image| resize(&image, side as u32, side as u32, FilterType::Triangle));
        values.extend(image.map_or_else(Vec::new, |image| image.into_raw()).into_iter().map(f32::from));
    }
    values
}

/// The files of images and labels: those for training if there are any.
fn find(folder: &Path) -> Result<(PathBuf, PathBuf), DataError> {
    let file = |part: &str, what: &str| {
        ["-", "."]
            .into_iter()
            .flat_map(|dot| ["", ".gz"].map(|end| format!("{part}-{what}{dot}{}-ubyte{end}", rank(what))))
            .map(|name| folder.join(name))
            .find(|path| path.is_file())
    };
    let missing = |wanted| Err(DataError::Folder { path: folder.to_owned(), wanted });
    // Half a pair is a mistake, not a wish for the other pair.
    for (part, [no_images, no_labels]) in [
        ("train", ["train-images-idx3-ubyte(.gz) beside its labels", "train-labels-idx1-ubyte(.gz) beside its images"]),
        ("t10k", ["t10k-images-idx3-ubyte(.gz) beside its labels", "t10k-labels-idx1-ubyte(.gz) beside its images"]),
    ] {
        match (file(part, "images"), file(part, "labels")) {
            (Some(images), Some(labels)) => return Ok((images, labels)),
            (None, None) => {}
            (None, Some(_)) => return missing(no_images),
            (Some(_), None) => return missing(no_labels),
        }
    }
    missing("train-images-idx3-ubyte(.gz) and train-labels-idx1-ubyte(.gz), or those of t10k")
}

fn rank(what: &str) -> &'static str {
    if what == "images" { "idx3" } else { "idx1" }
}
