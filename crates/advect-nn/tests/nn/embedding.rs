//! The features of numbers in closed form.

use advect_nn::{DiTConfig, FourierFeatures, Frequencies, MlpConfig, NnError, NumberEmbedding, UNetConfig, sinusoidal};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::fixture::{largest, values};

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
fn fourier_features_in_closed_form() {
    let device = Device::flex();
    let mut fourier = FourierFeatures::new(5, 1.0, Frequencies::Fixed, &device);
    assert_eq!(fourier.frequencies.val().dims(), [2], "an odd number of features is rounded down");
    fourier.frequencies = Param::from_tensor(Tensor::from_floats([0.25, 1.0], &device));
    // At t = 1/2 an eighth of a turn and half a turn: sqrt(2) (cos 45, cos 180, sin 45, sin 180); at t = -1 a quarter back and one back.
    let found = values(&fourier.forward(Tensor::from_floats([0.5, -1.0], &device)).into_data());
    let root = std::f64::consts::SQRT_2;
    let expected = [1.0, -root, 1.0, 0.0, 0.0, root, -root, 0.0];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
}

#[test]
fn frequencies_are_spread_as_told_and_learned_or_not() {
    let device = Device::flex().autodiff();
    let t = Tensor::<1>::from_floats([0.3, 0.7], &device);
    for (frequencies, learned) in [(Frequencies::Fixed, false), (Frequencies::Learned, true)] {
        let fourier = FourierFeatures::new(20_000, 3.0, frequencies, &device);
        let gradients = fourier.forward(t.clone().require_grad()).sum().backward();
        assert_eq!(fourier.frequencies.val().grad(&gradients).is_some(), learned);
        let drawn = values(&fourier.frequencies.val().into_data());
        let (n, mean) = (drawn.len() as f64, drawn.iter().sum::<f64>() / drawn.len() as f64);
        let deviation = (drawn.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / n).sqrt();
        // Four standard errors of 10,000 draws: 3 / 100 and 3 / sqrt(20,000).
        assert!(mean.abs() < 0.12 && (deviation - 3.0).abs() < 0.085, "mean {mean}, deviation {deviation}");
    }
}

#[test]
fn numbers_are_embedded_one_after_the_other() {
    let device = Device::flex();
    let embedding = NumberEmbedding::new(2, 4, 3, 0.5, &device).unwrap();
    assert_eq!(embedding.num_params(), 2 * 4 * 3 + 3 + 3 * 3 + 3);
    let found = values(&embedding.forward(Tensor::from_floats([[3.0, -2.0]], &device)).into_data());
    // In f64, from the weights: features of 1.5 and of -1 at the frequencies 1 and 1/100.
    let features: Vec<f64> =
        [1.5_f64, -1.0].iter().flat_map(|&a| [a.cos(), (a / 100.0).cos(), a.sin(), (a / 100.0).sin()]).collect();
    let apply = |weight: Vec<f64>, bias: Vec<f64>, x: &[f64]| -> Vec<f64> {
        let to = bias.len();
        (0..to).map(|j| bias[j] + x.iter().enumerate().map(|(i, x)| x * weight[i * to + j]).sum::<f64>()).collect()
    };
    let of = |layer: &burn::nn::Linear| {
        (values(&layer.weight.val().into_data()), values(&layer.bias.as_ref().unwrap().val().into_data()))
    };
    let ((w1, b1), (w2, b2)) = (of(&embedding.linear_1), of(&embedding.linear_2));
    let hidden: Vec<f64> = apply(w1, b1, &features).iter().map(|z| z / (1.0 + (-z).exp())).collect();
    let expected = apply(w2, b2, &hidden);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {expected:?}");

    assert_eq!(
        NumberEmbedding::new(1, 3, 8, 1.0, &device).unwrap_err(),
        NnError::OddFeatures { field: "features", features: 3 }
    );
    assert_eq!(NumberEmbedding::new(0, 4, 8, 1.0, &device).unwrap_err(), NnError::Zero { field: "numbers" });
}

#[test]
fn backward_is_the_same_embedding_with_time_turned_round() {
    let device = Device::flex();
    let unet = UNetConfig::new(1, 32, vec![1]).with_groups(8).init(&device).unwrap();
    let t = Tensor::<1>::from_floats([0.0, 0.25, 0.5, 0.999], &device);
    let expected = values(&unet.time.forward(t.clone() * -1.0 + 0.999).into_data());
    let found = values(&unet.time.clone().backward(999.0).forward(t).into_data());
    let size = largest(expected.iter().copied());
    // Angles of up to 999 radians in f32.
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 2e-4 * size), "{found:?} {expected:?}");
}

/// The parameters in another type.
struct InType(DType);

impl ModuleMapper for InType {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.val().cast(self.0))
    }
}

#[test]
fn networks_of_half_precision_are_told_the_time_as_exactly_as_others() {
    let device = Device::flex();
    // Exact in every type; the angles, 1000 t, are not.
    let t = Tensor::<1>::from_floats([0.0, 0.328_125, 0.644_531_25, 0.984_375, 0.996_093_75], &device);
    let dit = DiTConfig::new(1, [4, 4], 2, 64, 1, 2).init(&device).unwrap();
    let unet = UNetConfig::new(1, 32, vec![1]).with_groups(8).init(&device).unwrap();
    let numbers = NumberEmbedding::new(2, 64, 32, 1.0, &device).unwrap();
    let sizes = t.clone().unsqueeze_dim::<2>(1).repeat_dim(1, 2) * 1024.0; // [batch, numbers]
    let mut fourier = FourierFeatures::new(64, 1.0, Frequencies::Fixed, &device);
    fourier.frequencies = Param::from_tensor(Tensor::from_data(TensorData::from([1.0_f32, 200.0, 1000.0]), &device));
    let mlp = MlpConfig::new(2, 16, 2).with_time_scale(1000.0).init(&device).unwrap();
    let x = Tensor::<2>::zeros([5, 2], &device);

    for (dtype, rounding) in [(DType::BF16, 1.0 / 128.0), (DType::F16, 1.0 / 1024.0)] {
        let close = |what: &str, half: Tensor<2>, full: Tensor<2>| {
            assert_eq!(half.dtype(), dtype, "{what}");
            let (half, full) = (values(&half.into_data()), values(&full.into_data()));
            let size = largest(full.iter().copied());
            let error = largest(half.iter().zip(&full).map(|(a, b)| a - b));
            assert!(error <= 2.0 * rounding * size, "{what} in {dtype:?}: off by {error} of {size}");
        };
        let full = [&dit.time, &unet.time].map(|time| time.forward(t.clone()));
        let half = [&dit.time, &unet.time].map(|time| time.clone().map(&mut InType(dtype)));
        for times in [t.clone(), t.clone().cast(dtype)] {
            for (half, full) in half.iter().zip(&full) {
                close("time", half.forward(times.clone()), full.clone());
            }
        }
        let half = numbers.clone().map(&mut InType(dtype)).forward(sizes.clone().cast(dtype));
        close("numbers", half, numbers.forward(sizes.clone()));
        let half = fourier.clone().map(&mut InType(dtype)).forward(t.clone().cast(dtype));
        close("Fourier", half, fourier.forward(t.clone()));
        let half = mlp.clone().map(&mut InType(dtype)).forward(x.clone().cast(dtype), t.clone().cast(dtype), None);
        close("perceptron", half, mlp.forward(x.clone(), t.clone(), None));
    }
}
