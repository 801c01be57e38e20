use crate::check::{
    LAYOUTS, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise, on_one_and_three_threads,
    tensor, values,
};
use advect_kernels::{exp, gelu, gelu_tanh, sigmoid, silu, softmax, softplus, tanh};
use burn::tensor::{DType, Device, Tensor, activation};
use std::f64::consts::{PI, SQRT_2};

/// A function and what it should be: in f64, and made of Burn's operators for its autodiff.
struct Case {
    name: &'static str,
    ours: fn(Tensor<4>) -> Tensor<4>,
    burn: fn(Tensor<4>) -> Tensor<4>,
    reference: fn(f64) -> f64,
}

/// What silu, gelu and gelu_tanh should be.
pub(crate) const LINEAR_UNITS: [fn(f64) -> f64; 3] = [CASES[0].reference, CASES[1].reference, CASES[2].reference];

const CASES: [Case; 7] = [
    Case { name: "silu", ours: silu, burn: activation::silu, reference: |x| x / (1.0 + (-x).exp()) },
    Case { name: "gelu", ours: gelu, burn: activation::gelu, reference: |x| 0.5 * x * erfc(-x / SQRT_2) },
    Case {
        name: "gelu_tanh",
        ours: gelu_tanh,
        burn: |x| {
            let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044_715) * (2.0 / PI).sqrt();
            x * 0.5 * (inner.tanh() + 1.0)
        },
        // 1 + tanh(u) = 2 / (1 + exp(-2 u)), which keeps its digits where tanh(u) is close to -1.
        reference: |x| x / (1.0 + (-2.0 * (2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp()),
    },
    Case {
        name: "sigmoid",
        ours: sigmoid,
        burn: |x| ((-x).exp() + 1.0).recip(),
        reference: |x| 1.0 / (1.0 + (-x).exp()),
    },
    Case { name: "tanh", ours: tanh, burn: |x| x.tanh(), reference: f64::tanh },
    Case { name: "softplus", ours: softplus, burn: |x| (x.exp() + 1.0).log(), reference: softplus_of },
    Case { name: "exp", ours: exp, burn: |x| x.exp(), reference: f64::exp },
];

fn softplus_of(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The complementary error function: its series near 0, its continued fraction beyond.
fn erfc(x: f64) -> f64 {
    if x < 0.0 {
        return 2.0 - erfc(-x);
    }
    if x < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return 1.0 - 2.0 / PI.sqrt() * sum;
    }
    let tail = (1..100).rev().fold(x, |tail, n| x + 0.5 * f64::from(n) / tail);
    (-x * x).exp() / PI.sqrt() / tail
}

fn map(f: fn(f64) -> f64, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| f(*x)).collect()
}

/// The tolerances of the two types.
const TYPES: [(DType, f64); 2] = [(DType::F32, 1e-6), (DType::F64, 1e-12)];

#[test]
fn agrees_with_the_formula_for_every_size_and_layout() {
    for case in CASES {
        for (dtype, tolerance) in TYPES {
            for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 2, 4, 4], [3, 5, 70, 70], [0, 3, 4, 4]] {
                let x: Vec<f64> = noise(shape.iter().product(), 1).iter().map(|x| 9.0 * x).collect();
                // A slice of nothing is no view Burn can make.
                for layout in LAYOUTS.into_iter().take(if shape[0] == 0 { 1 } else { 3 }) {
                    let x_tensor = laid_out(&x, shape, dtype, layout, &Device::flex());
                    let kept = x_tensor.clone();
                    let y = (case.ours)(x_tensor);
                    assert_eq!((y.dims(), y.dtype()), (shape, dtype));
                    // The f32 input is the rounded one.
                    let expected = map(case.reference, &values(kept));
                    assert_close(
                        &format!("{} {dtype:?} {shape:?} {layout:?}", case.name),
                        &values(y),
                        &expected,
                        tolerance,
                    );
                }
            }
        }
    }
}

#[test]
fn keeps_its_digits_in_the_tail() {
    if !cfg!(feature = "flex") {
        // Burn's own GELU is made of 1 + erf.
        return;
    }
    // From -12.5 to 0, evenly and ever closer to 0.
    let far = noise(40_000, 7).into_iter().map(|x| 6.25 * (x - 1.0));
    let near = noise(4_000, 8).into_iter().map(|x| -(8.0 * x).exp2() * 1e-3);
    let x: Vec<f64> = far.chain(near).map(|x| f64::from(x as f32)).collect();
    for case in CASES {
        let y = values((case.ours)(tensor(&x, [1, 1, 1, x.len()], DType::F32, &Device::flex())));
        for (x, y) in x.iter().zip(&y) {
            let expected = (case.reference)(*x);
            if expected.abs() > 1e-30 {
                let error = (y / expected - 1.0).abs();
                assert!(error < 1e-5, "{}({x}) is {y}, expected {expected}, off by {error:.1e}", case.name);
            }
        }
    }
}

#[test]
fn the_exponential_is_right_from_where_it_vanishes_to_where_it_overflows() {
    let within = noise(20_000, 9).into_iter().map(|x| 88.7 * (x / 4.0).clamp(-1.0, 1.0));
    let edges = [-87.3, -1e-6, 0.0, 1e-6, 0.5, 88.0, 88.72];
    let x: Vec<f64> = within.chain(edges).map(|x| f64::from(x as f32)).collect();
    let exp = |x: &[f64]| values(exp(tensor(x, [1, 1, 1, x.len()], DType::F32, &Device::flex())));
    for (x, y) in x.iter().zip(exp(&x)).filter(|(x, _)| **x > -87.0) {
        let error = (y / x.exp() - 1.0).abs();
        // Two units in the last place.
        assert!(error < 2.5e-7, "exp({x}) is {y}, off by {error:.1e}");
    }
    let beyond = [88.8, 1e30, f64::INFINITY, -104.0, -1e30, f64::NEG_INFINITY, f64::NAN];
    let y = exp(&beyond);
    assert!(y[..3].iter().all(|y| *y == f64::INFINITY) && y[3..6].iter().all(|y| *y == 0.0) && y[6].is_nan(), "{y:?}");
}

#[test]
fn overwrites_nothing_that_is_shared() {
    let x = tensor(&noise(100, 1), [100], DType::F32, &Device::flex());
    let (copy, part) = (x.clone(), x.clone().narrow(0, 10, 10));
    let before = values(x.clone());
    let _ = silu(x);
    let _ = silu(part);
    assert_eq!(values(copy), before);
}

#[test]
fn keeps_far_values_finite() {
    let far = [-1e30, -1e4, -104.0, -88.0, 0.0, 88.0, 1e4, 1e30];
    for case in CASES.into_iter().take(3) {
        for dtype in [DType::F32, DType::F64] {
            let y = values((case.ours)(tensor(&far, [1, 1, 2, 4], dtype, &Device::flex())));
            assert_close(case.name, &y, &[0.0, 0.0, 0.0, 0.0, 0.0, 88.0, 1e4, 1e30], 1e-7);
        }
        let x = tensor(&far, [1, 1, 2, 4], DType::F32, &Device::flex().autodiff()).require_grad();
        let gradients = (case.ours)(x.clone()).sum().backward();
        assert_close(case.name, &gradient(&x, &gradients), &[0.0, 0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0], 1e-7);
        let x = tensor(&[-1e200, -1e4, 0.0, 1e4, 1e200], [5], DType::F64, &Device::flex().autodiff()).require_grad();
        let gradients = (case.ours)(x.clone().reshape([1, 1, 1, 5])).sum().backward();
        assert_close(case.name, &gradient(&x, &gradients), &[0.0, 0.0, 0.5, 1.0, 1.0], 1e-7);
    }
}

#[test]
fn reaches_its_limits() {
    let far = [-1e30, -200.0, 200.0, 1e30];
    for (case, (values_, slopes)) in CASES[3..].iter().zip([
        ([0.0, 0.0, 1.0, 1.0], [0.0; 4]),
        ([-1.0, -1.0, 1.0, 1.0], [0.0; 4]),
        ([0.0, 0.0, 200.0, 1e30], [0.0, 0.0, 1.0, 1.0]),
        ([0.0, 0.0, f64::INFINITY, f64::INFINITY], [0.0, 0.0, f64::INFINITY, f64::INFINITY]),
    ]) {
        let x = tensor(&far, [1, 1, 1, 4], DType::F32, &Device::flex().autodiff()).require_grad();
        let y = (case.ours)(x.clone());
        let (y, d) = (values(y.clone()), gradient(&x, &y.sum().backward()));
        for (actual, expected) in y.iter().zip(values_).chain(d.iter().zip(slopes)) {
            assert!(*actual == expected || (actual / expected - 1.0).abs() < 1e-6, "{} {y:?} {d:?}", case.name);
        }
    }
}

#[test]
fn softmax_agrees_with_the_formula_and_with_burn_along_every_axis() {
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-12)] {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 17], [1, 2, 33, 16], [3, 1, 70, 257], [0, 2, 3, 4]] {
            for (dim, layout) in (0..4).flat_map(|dim| LAYOUTS.map(|layout| (dim, layout))) {
                let len = shape.iter().product();
                if len == 0 && (layout != LAYOUTS[0] || dim != 3) {
                    continue;
                }
                let x: Vec<f64> = noise(len, 1).iter().map(|x| 20.0 * x).collect();
                let weights = noise(len, 2);
                let run = |f: &dyn Fn(Tensor<4>) -> Tensor<4>| {
                    let x = laid_out(&x, shape, dtype, layout, &Device::flex().autodiff()).require_grad();
                    let y = f(x.clone());
                    assert_eq!((y.dims(), y.dtype()), (shape, dtype));
                    let weights = laid_out(&weights, shape, dtype, layout, &Device::flex().autodiff());
                    (values(y.clone()), gradient(&x, &(y * weights).sum().backward()))
                };
                let ours = run(&|x| softmax(x, dim));
                if len == 0 {
                    continue;
                }
                let burn = run(&|x| {
                    let e = (x.clone() - x.max_dim(dim).detach()).exp();
                    e.clone() / e.sum_dim(dim)
                });
                let what = format!("{dtype:?} {shape:?} {layout:?} {dim}");
                assert_close(&what, &ours.0, &burn.0, tolerance);
                assert_close(&what, &ours.1, &burn.1, tolerance);
                if dim == 3 {
                    let rows = x.chunks_exact(shape[3]).flat_map(|row| {
                        let sum: f64 = row.iter().map(|x| x.exp()).sum();
                        row.iter().map(move |x| x.exp() / sum)
                    });
                    assert_close(&what, &ours.0, &rows.collect::<Vec<_>>(), tolerance);
                }
            }
        }
    }
    let large = tensor(&[1e4, 1e4, -1e4, f64::NAN, 0.0, 1.0], [2, 3], DType::F32, &Device::flex());
    let y = values(softmax(large, 1));
    assert!(y[..3] == [0.5, 0.5, 0.0] && y[3..].iter().all(|y| y.is_nan()), "{y:?}");
}

#[test]
fn passes_not_a_number_on() {
    for case in CASES {
        let x = tensor(&[f64::NAN, 1.0, f64::INFINITY], [1, 1, 1, 3], DType::F32, &Device::flex().autodiff());
        let x = x.require_grad();
        let y = (case.ours)(x.clone());
        let (values, slopes) = (values(y.clone()), gradient(&x, &y.sum().backward()));
        let limit = if ["sigmoid", "tanh"].contains(&case.name) { 1.0 } else { f64::INFINITY };
        assert!(values[0].is_nan() && values[1].is_finite() && values[2] == limit, "{} {values:?}", case.name);
        assert!(slopes[0].is_nan() && slopes[1].is_finite(), "{} {slopes:?}", case.name);
    }
}

#[test]
fn gradient_agrees_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
    for case in CASES {
        for (dtype, tolerance) in [(DType::F32, 3e-6), (DType::F64, 1e-7)] {
            for (layout, shape) in [
                (LAYOUTS[0], [3, 4, 5, 7]),
                (LAYOUTS[1], [2, 3, 4, 5]),
                (LAYOUTS[2], [2, 3, 4, 5]),
                (LAYOUTS[0], [2, 9, 65, 61]),
            ] {
                let len = shape.iter().product();
                let weights = noise(len, 2);
                let x: Vec<f64> = noise(len, 1).iter().map(|x| 8.0 * x).collect();
                let run = |f: fn(Tensor<4>) -> Tensor<4>| {
                    let x = laid_out(&x, shape, dtype, layout, &device).require_grad();
                    let gradients = (f(x.clone()) * tensor(&weights, shape, dtype, &device)).sum().backward();
                    gradient(&x, &gradients)
                };
                let ours = run(case.ours);
                let what = format!("{} {dtype:?} {layout:?} {shape:?}", case.name);
                assert_close(&what, &ours, &run(case.burn), 3e-6);
                // Each output depends on one input.
                let slope = |(x, weight): (&f64, &f64)| differences(&[*x], 1, |x| weight * (case.reference)(x[0]))[0];
                let slopes: Vec<_> = x.iter().zip(&weights).map(slope).collect();
                assert_slopes(&what, &ours, &slopes, tolerance);
            }
        }
    }
}

#[test]
fn gradient_passes_through_a_chain_that_uses_the_input_twice() {
    let device = Device::flex().autodiff();
    let x = tensor(&[0.3, -1.2, 2.0], [3], DType::F64, &device).require_grad();
    let gradients = (silu(silu(x.clone())) * x.clone()).sum().backward();
    let f = |x: &[f64]| dot(&map(CASES[0].reference, &map(CASES[0].reference, x)), x);
    assert_slopes("chain", &gradient(&x, &gradients), &differences(&[0.3, -1.2, 2.0], 1, f), 1e-7);
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads() {
    let x = noise(200_001, 3);
    for case in CASES {
        let [one, three] = on_one_and_three_threads(|| {
            values((case.ours)(tensor(&x, [1, 1, 1, 200_001], DType::F32, &Device::flex())))
        });
        assert_eq!(one, three, "{}", case.name);
    }
}
