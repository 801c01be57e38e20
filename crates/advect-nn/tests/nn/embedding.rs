//! The sinusoidal features in closed form.

use advect_nn::{UNetConfig, sinusoidal};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::fixture::values;

/// The features of times in f64.
fn features(t: &[f64], count: usize, max_period: f64) -> Vec<f64> {
    let t = Tensor::<1>::from_data(TensorData::from(t), (&Device::flex(), DType::F64));
    values(&sinusoidal(t, count, max_period).into_data())
}

#[test]
fn values_in_closed_form() {
    // Frequencies 1 and 1/100; at t = 100 pi: 100 pi and pi.
    let found = features(&[0.0, 100.0 * std::f64::consts::PI], 4, 10_000.0);
    let expected = [1.0, 1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    // Frequencies 1, 1/10, 1/100; at t = 10: 10, 1, 0.1. cos(10), cos(1), cos(.1), sin(10), sin(1), sin(.1) from a table.
    let found = features(&[10.0], 6, 1_000.0);
    let expected = [
        -0.839_071_529_076_452_5,
        0.540_302_305_868_139_7,
        0.995_004_165_278_025_8,
        -0.544_021_110_889_369_8,
        0.841_470_984_807_896_5,
        0.099_833_416_646_828_15,
    ];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
}

#[test]
fn each_pair_is_on_the_unit_circle_and_turns_at_its_own_speed() {
    let (count, t) = (16, [0.3, 17.0, 999.0]);
    for (row, t) in features(&t, count, 10_000.0).chunks(count).zip(t) {
        for i in 0..count / 2 {
            let (cos, sin) = (row[i], row[i + count / 2]);
            assert!((cos.hypot(sin) - 1.0).abs() < 1e-12);
            let turn = t / 10_f64.powf(i as f64 / 2.0); // 10,000^(-i/8) = 10^(-i/2)
            assert!(
                (sin.atan2(cos) - turn)
                    .rem_euclid(std::f64::consts::TAU)
                    .min((turn - sin.atan2(cos)).rem_euclid(std::f64::consts::TAU))
                    < 1e-9
            );
        }
    }
}

#[test]
fn backward_is_the_same_embedding_with_time_turned_round() {
    let device = Device::flex();
    let unet = UNetConfig::new(1, 32, vec![1]).with_groups(8).init(&device).unwrap();
    let t = Tensor::<1>::from_floats([0.0, 0.25, 0.5, 0.999], &device);
    let expected = values(&unet.time.forward(t.clone() * -1.0 + 0.999).into_data());
    let found = values(&unet.time.clone().backward(999.0).forward(t).into_data());
    let size = expected.iter().fold(0.0_f64, |size, x| size.max(x.abs()));
    // Angles of up to 999 radians in f32.
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-4 * size), "{found:?} {expected:?}");
}
