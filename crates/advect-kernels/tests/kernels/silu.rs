use crate::check::{
    LAYOUTS, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise, on_one_and_three_threads,
    tensor, values,
};
use advect_kernels::silu;
use burn::tensor::{DType, Device, Tensor, activation};

fn reference(x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| x / (1.0 + (-x).exp())).collect()
}

/// The tolerances of the two types.
const TYPES: [(DType, f64); 2] = [(DType::F32, 1e-6), (DType::F64, 1e-12)];

#[test]
fn agrees_with_the_formula_for_every_size_and_layout() {
    for (dtype, tolerance) in TYPES {
        for shape in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 2, 4, 4], [3, 5, 70, 70], [0, 3, 4, 4]] {
            let x: Vec<f64> = noise(shape.iter().product(), 1).iter().map(|x| 9.0 * x).collect();
            // A slice of nothing is no view Burn can make.
            for layout in LAYOUTS.into_iter().take(if shape[0] == 0 { 1 } else { 3 }) {
                let x_tensor = laid_out(&x, shape, dtype, layout, &Device::flex());
                let kept = x_tensor.clone();
                let y = silu(x_tensor);
                assert_eq!((y.dims(), y.dtype()), (shape, dtype));
                // The f32 input is the rounded one.
                assert_close(
                    &format!("{dtype:?} {shape:?} {layout:?}"),
                    &values(y),
                    &reference(&values(kept)),
                    tolerance,
                );
            }
        }
    }
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
    for dtype in [DType::F32, DType::F64] {
        let y = values(silu(tensor(&[-1e4, -104.0, -88.0, 0.0, 88.0, 1e4], [6], dtype, &Device::flex())));
        assert_close("silu", &y, &[0.0, 0.0, 0.0, 0.0, 88.0, 1e4], 1e-12);
    }
}

#[test]
fn gradient_agrees_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
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
            let run = |f: &dyn Fn(Tensor<4>) -> Tensor<4>| {
                let x = laid_out(&x, shape, dtype, layout, &device).require_grad();
                let gradients = (f(x.clone()) * tensor(&weights, shape, dtype, &device)).sum().backward();
                gradient(&x, &gradients)
            };
            let ours = run(&silu);
            let what = format!("{dtype:?} {layout:?} {shape:?}");
            assert_close(&what, &ours, &run(&activation::silu), 3e-6);
            let slopes = differences(&x, 1 + len / 500, |x| dot(&reference(x), &weights));
            assert_slopes(&what, &ours, &slopes, tolerance);
        }
    }
}

#[test]
fn gradient_passes_through_a_chain_that_uses_the_input_twice() {
    let device = Device::flex().autodiff();
    let x = tensor(&[0.3, -1.2, 2.0], [3], DType::F64, &device).require_grad();
    let gradients = (silu(silu(x.clone())) * x.clone()).sum().backward();
    let f = |x: &[f64]| dot(&reference(&reference(x)), x);
    assert_slopes("chain", &gradient(&x, &gradients), &differences(&[0.3, -1.2, 2.0], 1, f), 1e-7);
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads() {
    let x = noise(200_001, 3);
    let [one, three] = on_one_and_three_threads(|| values(silu(tensor(&x, [200_001], DType::F32, &Device::flex()))));
    assert_eq!(one, three);
}
