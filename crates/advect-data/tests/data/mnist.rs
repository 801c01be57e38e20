//! MNIST's files, made by hand: what is found, how images are resized, what is refused.

use advect_data::{DataError, mnist};
use std::fs;
use std::io::Write;
use std::path::Path;

/// An IDX file of bytes.
fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    fs::write(folder.join(name), bytes).unwrap();
}

#[test]
fn files_are_found_packed_or_not_and_training_comes_first() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "t10k-images-idx3-ubyte.gz", &packed(&idx(&[1, 1, 2], &[7, 8])));
    put(folder.path(), "t10k-labels-idx1-ubyte", &idx(&[1], &[9]));
    // 1x2 images are not square: any side resizes them.
    let test = mnist(folder.path(), 1).unwrap();
    assert_eq!((test.count(), test.shape(), test.labels()), (1, &[1, 1, 1][..], Some(&[9][..])));

    put(folder.path(), "train-images.idx3-ubyte", &idx(&[2, 2, 2], &[0, 1, 2, 3, 252, 253, 254, 255]));
    put(folder.path(), "train-labels.idx1-ubyte.gz", &packed(&idx(&[2], &[3, 4])));
    let train = mnist(folder.path(), 2).unwrap();
    assert_eq!((train.count(), train.labels()), (2, Some(&[3, 4][..])));
    assert_eq!(train.sample(1), [252.0, 253.0, 254.0, 255.0]);
    // (x - 0.1305 * 255) / (0.2891 * 255): the published mean and deviation.
    let model =
        train.units().to_model(burn::tensor::Tensor::<1>::from_floats([33.2775, 107.0], &burn::tensor::Device::flex()));
    let model = model.into_data().try_to_vec::<f32>().unwrap();
    assert!(
        (f64::from(model[0])).abs() < 1e-5 && (f64::from(model[1]) - (107.0 - 33.2775) / 73.7205).abs() < 1e-5,
        "{model:?}"
    );
}

#[test]
fn resizing_weighs_by_a_triangle() {
    let folder = tempfile::tempdir().unwrap();
    let image: Vec<u8> = [0, 100].repeat(2);
    put(folder.path(), "train-images-idx3-ubyte", &idx(&[1, 2, 2], &image));
    put(folder.path(), "train-labels-idx1-ubyte", &idx(&[1], &[0]));
    // Enlarged twice, the new centers lie a quarter of a pixel beside the old ones: 0, 25, 75, 100.
    let large = mnist(folder.path(), 4).unwrap();
    assert_eq!(large.sample(0), [0.0, 25.0, 75.0, 100.0].repeat(4));
    // Shrunk to one pixel it is the mean.
    assert_eq!(mnist(folder.path(), 1).unwrap().sample(0), [50.0]);
    // A packed file may come in several members, one after the other, as `cat a.gz b.gz` makes them.
    let whole = idx(&[1, 2, 2], &image);
    put(folder.path(), "train-images-idx3-ubyte", &[packed(&whole[..18]), packed(&whole[18..])].concat());
    assert_eq!(mnist(folder.path(), 1).unwrap().sample(0), [50.0]);
}

#[test]
fn what_does_not_fit_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |side| mnist(folder.path(), side).unwrap_err().to_string();
    assert!(said(28).contains("train-images-idx3-ubyte"), "{}", said(28));
    put(folder.path(), "train-images-idx3-ubyte", &idx(&[2, 1, 1], &[1, 2]));
    assert!(said(28).contains("does not hold the data set"), "labels are missing: {}", said(28));
    // The test images do not step in for half of the training ones.
    put(folder.path(), "t10k-images-idx3-ubyte", &idx(&[1, 1, 1], &[1]));
    put(folder.path(), "t10k-labels-idx1-ubyte", &idx(&[1], &[1]));
    assert!(said(28).contains("needs train-labels-idx1-ubyte(.gz) beside its images"), "{}", said(28));
    fs::rename(folder.path().join("train-images-idx3-ubyte"), folder.path().join("aside")).unwrap();
    assert_eq!(mnist(folder.path(), 1).unwrap().count(), 1);
    fs::rename(folder.path().join("aside"), folder.path().join("train-images-idx3-ubyte")).unwrap();
    put(folder.path(), "train-labels-idx1-ubyte", &idx(&[3], &[1, 2, 3]));
    assert!(said(28).contains("do not fit 2 images"), "{}", said(28));
    put(folder.path(), "train-labels-idx1-ubyte", &idx(&[2], &[1, 10]));
    assert!(matches!(mnist(folder.path(), 1), Err(DataError::Label { index: 1, label: 10, .. })));
    put(folder.path(), "train-images-idx3-ubyte", &idx(&[2], &[1, 2]));
    assert!(said(1).contains("not those of a stack of images"), "{}", said(1));
    put(folder.path(), "train-images-idx3-ubyte", &packed(&idx(&[2, 1, 1], &[1, 2]))[..20]);
    assert!(said(1).contains("too early"), "{}", said(1));
}
