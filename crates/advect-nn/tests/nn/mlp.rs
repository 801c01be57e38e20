//! The perceptron: a formula by hand, gradients by finite differences.

use advect_nn::{Mlp, MlpConfig};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Distribution, FloatDType, Int, Tensor, TensorData};

use crate::fixture::values;

/// All parameters as f64, each a random number.
struct Doubles;

impl ModuleMapper for Doubles {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = param.val().cast(FloatDType::F64);
        Param::from_tensor(value.random_like(Distribution::Normal(0.0, 0.5)))
    }
}

fn tensor<const D: usize>(data: impl Into<TensorData>, device: &Device) -> Tensor<D> {
    Tensor::from_data(data, (device, DType::F64))
}

#[test]
fn a_forward_by_hand() {
    let device = Device::flex();
    let mlp = MlpConfig::new(2, 3, 2).with_classes(Some(1)).with_time_features(4).with_time_scale(5.0);
    let mlp = mlp.init(&device).unwrap().map(&mut Doubles);
    let (x, t, class) = ([0.3, -1.2], 0.7_f64, 1);
    let output =
        mlp.forward(tensor([x], &device), tensor([t], &device), Some(Tensor::<1, Int>::from_ints([class], &device)));

    let matrix = |p: &Param<Tensor<2>>| values(&p.val().into_data());
    let vector = |p: &Option<Param<Tensor<1>>>| values(&p.as_ref().unwrap().val().into_data());
    let apply = |m: &[f64], x: &[f64]| -> Vec<f64> {
        let columns = m.len() / x.len();
        (0..columns).map(|j| x.iter().enumerate().map(|(i, x)| x * m[i * columns + j]).sum()).collect()
    };
    let add = |a: Vec<f64>, b: &[f64]| -> Vec<f64> { a.iter().zip(b).map(|(a, b)| a + b).collect() };
    let silu = |a: Vec<f64>| -> Vec<f64> { a.iter().map(|a| a / (1.0 + (-a).exp())).collect() };

    // Angular frequencies 5 and 0.5: a tenth of it, 100^(-1/2).
    let features = [(5.0 * t).cos(), (0.5 * t).cos(), (5.0 * t).sin(), (0.5 * t).sin()];
    let mut h = add(apply(&matrix(&mlp.input.weight), &x), &vector(&mlp.input.bias));
    h = add(h, &apply(&matrix(&mlp.time.weight), &features));
    h = add(h, &matrix(&mlp.class.as_ref().unwrap().table.weight)[3..6]);
    h = add(apply(&matrix(&mlp.layers[0].weight), &silu(h)), &vector(&mlp.layers[0].bias));
    let expected = add(apply(&matrix(&mlp.output.weight), &silu(h)), &vector(&mlp.output.bias));
    let found = values(&output.into_data());
    assert_eq!(found.len(), 2);
    assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
}

/// A loss that weighs each output differently, so that no gradient is zero by symmetry.
fn loss(mlp: &Mlp, x: Tensor<2>, t: Tensor<1>) -> Tensor<1> {
    let device = x.device();
    let class = Tensor::<1, Int>::from_ints([0, 2, 1], &device);
    let weights = tensor([[0.7, -0.4], [1.1, 0.2], [-0.9, 0.5]], &device);
    let output = mlp.forward(x, t, Some(class));
    (output.clone() * output * weights).sum()
}

/// Moves the entry `index` of the `number`-th parameter.
struct Nudge {
    number: usize,
    index: usize,
    by: f64,
}

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let hit = self.number == 0;
        self.number = self.number.wrapping_sub(1);
        if !hit {
            return param;
        }
        let value = param.val();
        let mut entries = values(&value.clone().into_data());
        entries[self.index] += self.by;
        Param::from_tensor(tensor(TensorData::new(entries, value.dims()), &value.device()))
    }
}

#[test]
fn gradients_are_finite_differences() {
    struct Collect<'a>(&'a burn::tensor::Gradients, Vec<Vec<f64>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(values(&param.grad(self.0).unwrap().into_data()));
        }
    }

    let device = Device::flex().autodiff();
    let mlp = MlpConfig::new(2, 4, 2).with_classes(Some(2)).with_time_features(4);
    let mlp = mlp.init(&device).unwrap().map(&mut Doubles);
    let (x0, t0) = ([[0.3, -0.8], [1.4, 0.1], [-0.5, 0.9]], [0.2, 0.55, 0.9]);
    let (x, t) = (tensor::<2>(x0, &device).require_grad(), tensor::<1>(t0, &device).require_grad());
    let gradients = loss(&mlp, x.clone(), t.clone()).backward();
    let mut collect = Collect(&gradients, Vec::new());
    mlp.visit(&mut collect);

    let step = 1e-5; // central differences in f64: an error of about 1e-10
    let value = |mlp: &Mlp, x: [[f64; 2]; 3], t: [f64; 3]| {
        values(&loss(mlp, tensor(x, &device), tensor(t, &device)).into_data())[0]
    };
    let close = |what: &str, difference: f64, gradient: f64| {
        assert!((difference - gradient).abs() < 1e-8 * (1.0 + gradient.abs()), "{what}: {difference} {gradient}");
    };
    let mut compared = 0;
    for (number, gradient) in collect.1.iter().enumerate() {
        for (index, &gradient) in gradient.iter().enumerate() {
            let at = |by: f64| value(&mlp.clone().map(&mut Nudge { number, index, by }), x0, t0);
            close(&format!("parameter {number}[{index}]"), (at(step) - at(-step)) / (2.0 * step), gradient);
            compared += 1;
        }
    }
    assert_eq!(compared, mlp.num_params());
    for (i, gradient) in values(&x.grad(&gradients).unwrap().into_data()).into_iter().enumerate() {
        let at = |by: f64| {
            let mut x = x0;
            x[i / 2][i % 2] += by;
            value(&mlp, x, t0)
        };
        close(&format!("x[{i}]"), (at(step) - at(-step)) / (2.0 * step), gradient);
    }
    // Features turn ten times as fast as t: the error, which grows with the third derivative, needs a smaller step.
    let step = step / 10.0;
    for (i, gradient) in values(&t.grad(&gradients).unwrap().into_data()).into_iter().enumerate() {
        let at = |by: f64| {
            let mut t = t0;
            t[i] += by;
            value(&mlp, x0, t)
        };
        close(&format!("t[{i}]"), (at(step) - at(-step)) / (2.0 * step), gradient);
    }
}

#[test]
fn parameters_are_counted_without_making_them() {
    // By hand, for 2 -> 64 x 4 -> 2 with 16 time features: 3 * 64 + 16 * 64 + 3 * 65 * 64 + 65 * 2.
    assert_eq!(MlpConfig::new(2, 64, 4).num_params(), 192 + 1024 + 12_480 + 130);
    for config in [MlpConfig::new(2, 64, 4), MlpConfig::new(3, 8, 1).with_classes(Some(5)).with_time_features(2)] {
        assert_eq!(config.init(&Device::flex()).unwrap().num_params(), config.num_params());
    }
}

#[test]
fn no_class_is_the_null_class_and_one_time_serves_the_batch() {
    let device = Device::flex();
    let mlp = MlpConfig::new(2, 16, 3).with_classes(Some(4)).init(&device).unwrap().map(&mut Doubles);
    let x = tensor::<2>([[0.3, -0.8], [1.4, 0.1]], &device);
    let class = |class: [i64; 2]| Some(Tensor::<1, Int>::from_ints(class, &device));
    let each = |class| values(&mlp.forward(x.clone(), tensor([0.3, 0.3], &device), class).into_data());
    let shared = |class| values(&mlp.forward(x.clone(), tensor([0.3], &device), class).into_data());
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(close(&each(None), &each(class([4, 4]))));
    assert!(!close(&each(None), &each(class([4, 0]))));
    assert!(close(&each(None), &shared(None)));
    assert!(close(&each(class([1, 2])), &shared(class([1, 2]))));
}

#[test]
fn no_points_give_no_points() {
    let device = Device::flex();
    let mlp = MlpConfig::new(3, 8, 2).init(&device).unwrap();
    assert_eq!(mlp.forward(Tensor::zeros([0, 3], &device), Tensor::zeros([0], &device), None).dims(), [0, 3]);
}
