//! Sets of one's own, and units.

use advect_data::{DataError, Dataset, Units};
use burn::tensor::{Device, Tensor};

const UNITS: Units = Units { offset: 10.0, scale: 4.0 };

#[test]
fn units_there_and_back() {
    let device = Device::flex();
    let data = Tensor::<2>::from_data([[10.0, 14.0], [2.0, 11.0]], &device);
    let model = UNITS.to_model(data.clone());
    model.clone().into_data().assert_eq(&Tensor::<2>::from_data([[0.0, 1.0], [-2.0, 0.25]], &device).into_data(), true);
    UNITS.to_data(model).into_data().assert_eq(&data.into_data(), true);
}

#[test]
fn a_set_of_ones_own() {
    let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
    let set = Dataset::new(vec![2, 2], values.clone(), Some(vec![1, 0, 1]), 2, UNITS).unwrap();
    assert_eq!((set.count(), set.classes(), set.labels().unwrap()), (3, 2, &[1, 0, 1][..]));
    assert_eq!(set.sample(1), [4.0, 5.0, 6.0, 7.0]);
    let batch: Tensor<3> = set.batch(&[2, 2, 0], &Device::flex());
    assert_eq!(batch.dims(), [3, 2, 2]);
    let rows = [-0.5, -0.25, 0.0, 0.25, -0.5, -0.25, 0.0, 0.25, -2.5, -2.25, -2.0, -1.75];
    assert_eq!(batch.into_data().try_into_vec_as::<f32>().unwrap(), rows);

    let unlabelled = Dataset::new(vec![3], values, None, 7, UNITS).unwrap();
    assert_eq!((unlabelled.count(), unlabelled.classes(), unlabelled.labels()), (4, 0, None));
    let numbers = Dataset::new(vec![], vec![1.0, 2.0], None, 0, UNITS).unwrap();
    assert_eq!((numbers.count(), numbers.sample(1)), (2, &[2.0][..]));
}

#[test]
fn sets_that_are_none() {
    let new = |shape: &[usize], count: usize, labels: Option<&[usize]>| {
        Dataset::new(shape.to_vec(), vec![0.0; count], labels.map(<[usize]>::to_vec), 2, UNITS).map(drop)
    };
    assert!(new(&[2], 4, Some(&[0, 1])).is_ok());
    for bad in [
        new(&[2], 5, None),
        new(&[2], 0, None),
        new(&[0], 1, None),
        new(&[2], 4, Some(&[0])),
        new(&[2], 4, Some(&[])),
        new(&[0], 0, Some(&[0])),
    ] {
        assert!(matches!(bad, Err(DataError::Shape { .. })), "{bad:?}");
    }
    let error = new(&[2], 4, Some(&[0, 2])).unwrap_err();
    assert_eq!(error.to_string(), "label 2 of sample 1 names no class: there are 2, counted from 0");
    for (offset, scale) in [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        let result = Dataset::new(vec![1], vec![0.0], None, 0, Units { offset, scale });
        assert!(matches!(result, Err(DataError::Units { .. })));
    }
}
