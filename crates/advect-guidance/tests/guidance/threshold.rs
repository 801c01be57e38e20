use crate::{NOW, close, fixed, numbers, random, tensor};
use advect_core::Field;
use advect_guidance::{DynamicThreshold, Threshold};

#[test]
fn by_hand() {
    let row = [-3.0, 1.0, 0.5, 2.0];
    let value = |quantile, bound| DynamicThreshold::new(fixed(&row), quantile, bound).unwrap().eval(row, &NOW);
    // Half of the sizes 0.5, 1, 2, 3 are below 1.5.
    assert!(close(&value(0.5, 1.0), &[-1.0, 2.0 / 3.0, 1.0 / 3.0, 1.0]));
    // A share between two sizes: 2 + 0.4 * 1.
    assert!(close(&value(0.8, 1.2), &[-1.2, 0.5, 0.25, 1.0]));
    assert!(close(&value(1.0, 1.0), &[-1.0, 1.0 / 3.0, 0.5 / 3.0, 2.0 / 3.0]));
    // Inside the range of the data nothing happens; of a quantile below it only clipping is left.
    assert_eq!(value(1.0, 4.0), row);
    assert_eq!(value(0.0, 2.0), [-2.0, 1.0, 0.5, 2.0]);
}

#[test]
fn rows_are_on_their_own_and_tensors_agree() {
    let rows = random::<7>(5, 8);
    for quantile in [0.0, 0.3, 0.9, 1.0] {
        let value = rows.clone().threshold(quantile, 0.8);
        for (row, value) in rows.iter().zip(&value) {
            assert_eq!(row.threshold(quantile, 0.8), *value);
            assert!(value.iter().all(|v| v.abs() <= 0.8 + 1e-15));
        }
        let device = numbers(tensor(&rows).threshold(quantile, 0.8));
        assert!(close(&device, value.as_flattened()), "{quantile}");
    }
    assert_eq!(vec![3.0, -0.5].threshold(0.995, 1.0), [1.0, -0.5]);
}

#[test]
fn what_cannot_be_is_refused() {
    assert!(DynamicThreshold::new((), 1.5, 1.0).is_err());
    assert!(DynamicThreshold::new((), 0.995, 0.0).is_err());
    assert!(DynamicThreshold::new((), 0.995, f64::INFINITY).is_err());
}
