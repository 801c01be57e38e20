//! The digits against what their publishers say of them.

use advect_data::digits;
use burn::tensor::{Device, Tensor};

/// The class counts of the test half, as listed in the set's own description (`optdigits.names`).
const COUNTS: [usize; 10] = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180];

/// The first image, as printed in scikit-learn's tutorial.
const FIRST: [[f32; 8]; 8] = [
    [0.0, 0.0, 5.0, 13.0, 9.0, 1.0, 0.0, 0.0],
    [0.0, 0.0, 13.0, 15.0, 10.0, 15.0, 5.0, 0.0],
    [0.0, 3.0, 15.0, 2.0, 0.0, 11.0, 8.0, 0.0],
    [0.0, 4.0, 12.0, 0.0, 0.0, 8.0, 8.0, 0.0],
    [0.0, 5.0, 8.0, 0.0, 0.0, 9.0, 8.0, 0.0],
    [0.0, 4.0, 11.0, 0.0, 1.0, 12.0, 7.0, 0.0],
    [0.0, 2.0, 14.0, 5.0, 10.0, 12.0, 0.0, 0.0],
    [0.0, 0.0, 6.0, 13.0, 10.0, 0.0, 0.0, 0.0],
];

#[test]
fn the_set_is_the_published_one() {
    let data = digits().unwrap();
    assert_eq!((data.count(), data.shape(), data.classes()), (1797, &[1, 8, 8][..], 10));
    let labels = data.labels().unwrap();
    let counts: Vec<usize> = (0..10).map(|class| labels.iter().filter(|&&l| l == class).count()).collect();
    assert_eq!(counts, COUNTS);
    assert_eq!(labels[..10], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(data.sample(0), FIRST.concat());
    let all: Vec<f32> = (0..1797).flat_map(|i| data.sample(i)).copied().collect();
    assert!(all.iter().all(|p| p.fract() == 0.0 && (0.0..=16.0).contains(p)));
    assert!(all.contains(&0.0) && all.contains(&16.0));
    // 4.884164579855314 by NumPy, over 1797 x 64 pixels: whole numbers, so the sum is exact.
    let sum: f64 = all.iter().map(|&p| f64::from(p)).sum();
    assert_eq!(sum, 561_718.0);
    assert!((sum / (1797.0 * 64.0) - 4.884_164_579_855_314).abs() < 1e-12);
}

#[test]
fn models_see_it_between_minus_one_and_one() {
    let data = digits().unwrap();
    let batch: Tensor<4> = data.batch(&[5, 0], &Device::flex());
    assert_eq!(batch.dims(), [2, 1, 8, 8]);
    let values = batch.clone().into_data().try_into_vec_as::<f32>().unwrap();
    // Eighths are exact in f32.
    assert_eq!(values[64..], FIRST.concat().iter().map(|p| p / 8.0 - 1.0).collect::<Vec<_>>());
    let back = data.units().to_data(batch).into_data().try_into_vec_as::<f32>().unwrap();
    assert_eq!(back, [data.sample(5), data.sample(0)].concat());
}
