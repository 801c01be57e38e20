use crate::check::{
    LAYOUTS, Layout, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise,
    on_one_and_three_threads, tensor, values,
};
use advect_kernels::{gated_residual, layer_norm, modulate, modulated_layer_norm, rms_norm};
use burn::tensor::{DType, Device, Tensor};

const EPSILON: f64 = 1e-6;

/// Three arguments: tokens and two parameters, or tokens, a gate and other tokens.
type Operator = fn(Tensor<3>, Tensor<2>, Tensor<2>) -> Tensor<3>;

/// A row of each.
type Row = fn(&[f64], &[f64], &[f64]) -> Vec<f64>;

/// An operator, the same made of Burn's, and one row of it in f64.
struct Case {
    name: &'static str,
    ours: Operator,
    burn: Operator,
    reference: Row,
    /// Whether the parameters are shared by all batch entries.
    one_entry: bool,
}

fn mean(x: impl Iterator<Item = f64> + Clone) -> f64 {
    x.clone().sum::<f64>() / x.count() as f64
}

fn normalised(x: &[f64]) -> Vec<f64> {
    let centre = mean(x.iter().copied());
    let variance = mean(x.iter().map(|x| (x - centre).powi(2)));
    x.iter().map(|x| (x - centre) / (variance + EPSILON).sqrt()).collect()
}

fn zip(x: &[f64], a: &[f64], b: &[f64], f: fn(f64, f64, f64) -> f64) -> Vec<f64> {
    x.iter().zip(a).zip(b).map(|((x, a), b)| f(*x, *a, *b)).collect()
}

fn burn_normalised(x: Tensor<3>) -> Tensor<3> {
    let x = x.clone() - x.mean_dim(2);
    let variance = (x.clone() * x.clone()).mean_dim(2);
    x / (variance + EPSILON).sqrt()
}

fn row(parameter: Tensor<2>) -> Tensor<1> {
    let features = parameter.dims()[1];
    parameter.reshape([features])
}

const CASES: [Case; 4] = [
    Case {
        name: "layer_norm",
        ours: |x, gamma, beta| layer_norm(x, row(gamma), row(beta), EPSILON),
        burn: |x, gamma, beta| burn_normalised(x) * gamma.unsqueeze_dim::<3>(1) + beta.unsqueeze_dim::<3>(1),
        reference: |x, gamma, beta| zip(&normalised(x), gamma, beta, |x, gamma, beta| x * gamma + beta),
        one_entry: true,
    },
    Case {
        name: "rms_norm",
        // The second parameter has no part in it.
        ours: |x, gamma, beta| rms_norm(x, row(gamma), EPSILON) + beta.sum().reshape([1, 1, 1]) * 0.0,
        burn: |x, gamma, beta| {
            let square = (x.clone() * x.clone()).mean_dim(2);
            x / (square + EPSILON).sqrt() * gamma.unsqueeze_dim::<3>(1) + beta.sum().reshape([1, 1, 1]) * 0.0
        },
        reference: |x, gamma, beta| {
            let root = (mean(x.iter().map(|x| x * x)) + EPSILON).sqrt();
            zip(x, gamma, beta, |x, gamma, _| x * gamma).iter().map(|y| y / root).collect()
        },
        one_entry: true,
    },
    Case {
        name: "modulated_layer_norm",
        ours: |x, shift, scale| modulated_layer_norm(x, shift, scale, EPSILON),
        burn: |x, shift, scale| burn_normalised(x) * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1),
        reference: |x, shift, scale| zip(&normalised(x), shift, scale, |x, shift, scale| x * (1.0 + scale) + shift),
        one_entry: false,
    },
    Case {
        name: "modulate",
        ours: modulate,
        burn: |x, shift, scale| x * (scale.unsqueeze_dim::<3>(1) + 1.0) + shift.unsqueeze_dim::<3>(1),
        reference: |x, shift, scale| zip(x, shift, scale, |x, shift, scale| x * (1.0 + scale) + shift),
        one_entry: false,
    },
];

/// Batch, tokens and features: single features, odd numbers, more features than a task takes, more tokens than a task
/// takes.
const SHAPES: [[usize; 3]; 9] = [
    [2, 3, 1],
    [1, 1, 3],
    [3, 5, 17],
    [2, 49, 33],
    [5, 7, 16],
    [2, 3, 1000],
    [2, 2, 20_000],
    [3, 257, 96],
    [40, 49, 64],
];

impl Case {
    fn entries(&self, batch: usize) -> usize {
        if self.one_entry { 1 } else { batch }
    }

    fn rows(&self, [batch, tokens, features]: [usize; 3], x: &[f64], a: &[f64], b: &[f64]) -> Vec<f64> {
        let entries = a.len() / features;
        let entry = |i: usize| i / (batch * tokens / entries) * features;
        let row = |(i, x): (usize, &[f64])| (self.reference)(x, &a[entry(i)..][..features], &b[entry(i)..][..features]);
        x.chunks_exact(features).enumerate().flat_map(row).collect()
    }
}

fn tokens(values: &[f64], shape: [usize; 3], dtype: DType, layout: Layout, device: &Device) -> Tensor<3> {
    let [batch, tokens, features] = shape;
    laid_out(values, [1, batch, tokens, features], dtype, layout, device).reshape(shape)
}

/// Reshapes copy: these views stay views.
fn seen(values: &[f64], shape: [usize; 3], dtype: DType, layout: Layout, device: &Device) -> Tensor<3> {
    let [batch, tokens, features] = shape;
    let dense = tensor(values, shape, dtype, device);
    match layout {
        Layout::Dense => dense,
        Layout::Permuted => {
            let other = dense.permute([2, 0, 1]).into_data();
            Tensor::<3>::from_data(other, (device, dtype)).permute([1, 2, 0])
        }
        Layout::Sliced => {
            let room = Tensor::<3>::full([batch + 1, tokens + 3, features + 2], 7.0, (device, dtype));
            let place = [1..batch + 1, 2..tokens + 2, 1..features + 1];
            room.slice_assign(place.clone(), dense).slice(place)
        }
    }
}

#[test]
fn agrees_with_the_formula_for_every_size_and_layout() {
    let device = Device::flex();
    for case in CASES {
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
            for shape in SHAPES {
                let [batch, _, features] = shape;
                let (len, parameters) = (shape.iter().product(), case.entries(batch) * features);
                let (x, a, b) = (noise(len, 1), noise(parameters, 2), noise(parameters, 3));
                let expected = case.rows(shape, &x, &a, &b);
                for layout in LAYOUTS {
                    let x = seen(&x, shape, dtype, layout, &device);
                    let [a, b] = [&a, &b].map(|p| tensor(p, [case.entries(batch), features], dtype, &device));
                    let y = (case.ours)(x, a, b);
                    assert_eq!((y.dims(), y.dtype()), (shape, dtype));
                    let what = format!("{} {dtype:?} {shape:?} {layout:?}", case.name);
                    assert_close(&what, &values(y), &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn a_gate_lets_through_what_it_should() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-15)] {
        for shape in SHAPES {
            let [batch, _, features] = shape;
            for entries in [batch, 1] {
                let len = shape.iter().product();
                let (x, gate, y) = (noise(len, 1), noise(entries * features, 2), noise(len, 3));
                let gates = |i: usize| gate[i / (len / entries) * features + i % features];
                let expected: Vec<f64> = (0..len).map(|i| x[i] + gates(i) * y[i]).collect();
                for layout in LAYOUTS {
                    let z = gated_residual(
                        seen(&x, shape, dtype, layout, &device),
                        tensor(&gate, [entries, features], dtype, &device),
                        seen(&y, shape, dtype, layout, &device),
                    );
                    assert_close(&format!("{dtype:?} {shape:?} {layout:?}"), &values(z), &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn parameters_of_one_row_serve_the_whole_batch() {
    let (shape, device) = ([3, 4, 5], Device::flex().autodiff());
    for case in CASES.iter().filter(|case| !case.one_entry) {
        let (x, a, b, weights) = (noise(60, 1), noise(5, 2), noise(5, 3), noise(60, 4));
        let [a_tensor, b_tensor] = [&a, &b].map(|p| tensor(p, [1, 5], DType::F32, &device).require_grad());
        let y = (case.ours)(tensor(&x, shape, DType::F32, &device), a_tensor.clone(), b_tensor.clone());
        assert_close(case.name, &values(y.clone()), &case.rows(shape, &x, &a, &b), 1e-5);
        let gradients = (y * tensor(&weights, shape, DType::F32, &device)).sum().backward();
        let slopes = differences(&a, 1, |a| dot(&case.rows(shape, &x, a, &b), &weights));
        assert_slopes(case.name, &gradient(&a_tensor, &gradients), &slopes, 1e-5);
        let slopes = differences(&b, 1, |b| dot(&case.rows(shape, &x, &a, b), &weights));
        assert_slopes(case.name, &gradient(&b_tensor, &gradients), &slopes, 1e-5);
    }
}

#[test]
fn survives_a_mean_far_from_zero() {
    let (shape, device) = ([4, 2, 65], Device::flex());
    let x: Vec<f64> = noise(520, 1).iter().map(|x| 1e4 + x).collect();
    let x = tensor(&x, shape, DType::F32, &device);
    // The f32 input is the rounded one.
    let expected: Vec<f64> = values(x.clone()).chunks_exact(65).flat_map(normalised).collect();
    let y = layer_norm(x, Tensor::ones([65], &device), Tensor::zeros([65], &device), EPSILON);
    assert_close("mean 1e4", &values(y), &expected, 2e-3);
}

#[test]
fn gradients_agree_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
    for case in CASES {
        for (dtype, tolerance) in [(DType::F32, 3e-5), (DType::F64, 1e-6)] {
            for shape in SHAPES {
                let [batch, _, features] = shape;
                // A row of one value has deviation zero, which finite differences see and no f32 does.
                if features == 1 && case.name != "modulate" {
                    continue;
                }
                let (len, parameters) = (shape.iter().product(), case.entries(batch) * features);
                let (x, a, b) = (noise(len, 1), noise(parameters, 2), noise(parameters, 3));
                let weights = noise(len, 4);
                for layout in LAYOUTS {
                    let run = |f: Operator| {
                        let x = seen(&x, shape, dtype, layout, &device).require_grad();
                        let parameter =
                            |p: &[f64]| tensor(p, [case.entries(batch), features], dtype, &device).require_grad();
                        let (a, b) = (parameter(&a), parameter(&b));
                        let y = f(x.clone(), a.clone(), b.clone());
                        // The gradient of the output lies in memory as its layout says, too.
                        let gradients = (y * seen(&weights, shape, dtype, layout, &device)).sum().backward();
                        [gradient(&x, &gradients), gradient(&a, &gradients), gradient(&b, &gradients)]
                    };
                    let (ours, burn) = (run(case.ours), run(case.burn));
                    let loss = |x: &[f64], a: &[f64], b: &[f64]| dot(&case.rows(shape, x, a, b), &weights);
                    let slopes = [
                        differences(&x, 1 + len / 8, |x| loss(x, &a, &b)),
                        differences(&a, 1 + parameters / 4, |a| loss(&x, a, &b)),
                        differences(&b, 1 + parameters / 4, |b| loss(&x, &a, b)),
                    ];
                    for (i, name) in ["x", "first", "second"].into_iter().enumerate() {
                        let what = format!("{} {name} {dtype:?} {shape:?} {layout:?}", case.name);
                        assert_close(&what, &ours[i], &burn[i], 3e-5);
                        if layout == Layout::Dense {
                            assert_slopes(&what, &ours[i], &slopes[i], tolerance);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn gradients_of_a_gated_residual_agree_with_burn() {
    let device = Device::flex().autodiff();
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
        for shape in SHAPES {
            let [batch, _, features] = shape;
            let len = shape.iter().product();
            for entries in [batch, 1] {
                for layout in LAYOUTS {
                    let run = |f: fn(Tensor<3>, Tensor<2>, Tensor<3>) -> Tensor<3>| {
                        let [x, y] =
                            [1, 3].map(|seed| seen(&noise(len, seed), shape, dtype, layout, &device).require_grad());
                        let gate =
                            tensor(&noise(entries * features, 2), [entries, features], dtype, &device).require_grad();
                        let z = f(x.clone(), gate.clone(), y.clone());
                        let gradients = (z * seen(&noise(len, 4), shape, dtype, layout, &device)).sum().backward();
                        [gradient(&x, &gradients), gradient(&gate, &gradients), gradient(&y, &gradients)]
                    };
                    let ours = run(gated_residual);
                    let burn = run(|x, gate, y| x + y * gate.unsqueeze_dim::<3>(1));
                    for (ours, burn) in ours.iter().zip(&burn) {
                        assert_close(&format!("{dtype:?} {shape:?} {layout:?}"), ours, burn, tolerance);
                    }
                }
            }
        }
    }
}

#[test]
fn accepts_no_tokens() {
    let device = Device::flex().autodiff();
    for case in CASES {
        for dtype in [DType::F32, DType::F64] {
            for shape in [[0, 3, 4], [2, 0, 4]] {
                let entries = case.entries(shape[0]);
                let a = Tensor::<2>::ones([entries, 4], (&device, dtype)).require_grad();
                let b = Tensor::<2>::ones([entries, 4], (&device, dtype)).require_grad();
                let y = (case.ours)(Tensor::zeros(shape, (&device, dtype)), a.clone(), b);
                assert_eq!(y.dims(), shape, "{}", case.name);
                let gradients = y.sum().backward();
                let slope = a.grad(&gradients).map_or(vec![0.0; entries * 4], values);
                assert_eq!(slope, vec![0.0; entries * 4], "{}", case.name);
            }
        }
    }
    let empty = || Tensor::<3>::zeros([0, 3, 4], &device);
    assert_eq!(gated_residual(empty(), Tensor::zeros([0, 4], &device), empty()).dims(), [0, 3, 4]);
}

#[test]
fn computes_only_the_gradients_asked_for() {
    let device = Device::flex().autodiff();
    let x = tensor(&noise(24, 1), [2, 3, 4], DType::F32, &device);
    let gate = tensor(&noise(8, 2), [2, 4], DType::F32, &device).require_grad();
    let gradients = gated_residual(x.clone(), gate.clone(), x.clone()).sum().backward();
    assert!(gate.grad(&gradients).is_some() && x.grad(&gradients).is_none());
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    let device = Device::flex().autodiff();
    let (tokens_, features) = (49, 96);
    let (x, weights) = (noise(40 * tokens_ * features, 1), noise(40 * tokens_ * features, 2));
    for case in CASES {
        let run = |batch: usize| {
            let shape = [batch, tokens_, features];
            let len = shape.iter().product::<usize>();
            let x = tokens(&x[..len], shape, DType::F32, Layout::Dense, &device).require_grad();
            let entries = case.entries(batch);
            let [a, b] = [3, 4].map(|seed| {
                let values = &noise(40 * features, seed)[..entries * features];
                tensor(values, [entries, features], DType::F32, &device).require_grad()
            });
            let y = (case.ours)(x.clone(), a.clone(), b.clone());
            let weights = tokens(&weights[..len], shape, DType::F32, Layout::Dense, &device);
            let gradients = (y.clone() * weights).sum().backward();
            (values(y), gradient(&x, &gradients), gradient(&a, &gradients), gradient(&b, &gradients))
        };
        let [one, three] = on_one_and_three_threads(|| run(40));
        assert_eq!(one, three, "{}", case.name);
        if cfg!(feature = "flex") {
            let (alone, len) = (run(1), tokens_ * features);
            assert_eq!((&alone.0[..], &alone.1[..]), (&one.0[..len], &one.1[..len]), "{}", case.name);
            if !case.one_entry {
                assert_eq!((&alone.2[..], &alone.3[..]), (&one.2[..features], &one.3[..features]), "{}", case.name);
            }
        }
    }
}

#[test]
#[should_panic(expected = "gamma [3] does not fit 4 features")]
fn refuses_parameters_of_another_length() {
    let device = Device::flex();
    let _ = layer_norm(
        Tensor::<2>::zeros([2, 4], &device),
        Tensor::ones([3], &device),
        Tensor::zeros([4], &device),
        EPSILON,
    );
}

#[test]
#[should_panic(expected = "shift and scale [[3, 4], [3, 4]] do not fit tokens [2, 5, 4]")]
fn refuses_parameters_of_another_batch() {
    let device = Device::flex();
    let parameter = || Tensor::zeros([3, 4], &device);
    let _ = modulate(Tensor::zeros([2, 5, 4], &device), parameter(), parameter());
}

#[test]
fn sums_over_tokens_are_wider_than_half_precision() {
    let device = Device::flex().autodiff();
    for (dtype, rounding) in [(DType::F16, 1e-3), (DType::BF16, 8e-3)] {
        // Products of 90,000, beyond f16, that cancel, and what is left: a one, and another one in 256 parts.
        let mut numbers = vec![300.0, 1.0, -300.0];
        numbers.extend([1.0 / 256.0; 256]);
        let tokens = numbers.len();
        let x = || tensor(&numbers, [1, tokens, 1], dtype, &device).require_grad();
        let parameter = |value: f64| tensor(&[value], [1, 1], dtype, &device).require_grad();
        let slope = |t: Tensor<2>, y: Tensor<3>| gradient(&t, &(y * 300.0).sum().backward())[0];
        let sum: f64 = 300.0 * numbers.iter().sum::<f64>();
        let (shift, scale, gate) = (parameter(0.5), parameter(0.25), parameter(0.5));
        let found = [
            slope(scale.clone(), modulate(x(), shift.clone(), scale.clone())),
            slope(gate.clone(), gated_residual(x().detach(), gate, x())),
        ];
        for found in found {
            assert!((found / sum - 1.0).abs() <= rounding, "{dtype:?}: {found}, expected {sum}");
        }
        let shifted = slope(shift.clone(), modulate(x(), shift, scale));
        let expected = 300.0 * tokens as f64;
        assert!(dtype == DType::F16 || (shifted / expected - 1.0).abs() <= rounding, "{shifted}, expected {expected}");
    }
}
