use crate::check::{
    LAYOUTS, assert_close, assert_slopes, differences, gradient, laid_out, noise, on_one_and_three_threads, tensor,
    values,
};
use advect_kernels::mean_squared_error;
use burn::tensor::{DType, Device, Tensor};

fn reference(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>() / x.len() as f64
}

#[test]
fn agrees_with_the_formula_and_its_gradients_with_differences_for_every_layout() {
    let device = Device::flex().autodiff();
    for shape in [[1, 1, 1, 1], [2, 1, 3, 5], [3, 2, 4, 16], [1, 7, 33, 31], [9, 8, 41, 33]] {
        let len: usize = shape.iter().product();
        let (x, y) = (noise(len, 1), noise(len, 2));
        let slopes =
            [differences(&x, 1 + len / 12, |x| reference(x, &y)), differences(&y, 1 + len / 12, |y| reference(&x, y))];
        for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-8)] {
            for layout in LAYOUTS {
                let what = format!("{shape:?} {dtype:?} {layout:?}");
                let tx = laid_out(&x, shape, dtype, layout, &device).require_grad();
                let ty = laid_out(&y, shape, dtype, layout, &device).require_grad();
                let loss = mean_squared_error(tx.clone(), ty.clone());
                assert_eq!((loss.dims(), loss.dtype()), ([1], dtype));
                assert_close(&what, &values(loss.clone()), &[reference(&x, &y)], tolerance);
                // Three times, so that the gradient that comes in is not 1.
                let gradients = (loss * 3.0).backward();
                for (found, slopes) in [gradient(&tx, &gradients), gradient(&ty, &gradients)].iter().zip(&slopes) {
                    let found: Vec<f64> = found.iter().map(|d| d / 3.0).collect();
                    assert_slopes(&what, &found, slopes, 10.0 * tolerance);
                }
            }
        }
    }
}

/// A learned target has its gradient too, and alone.
#[test]
fn each_side_may_be_the_only_one_that_learns() {
    let device = Device::flex().autodiff();
    let (x, y) = (noise(12, 1), noise(12, 2));
    for learned in [0, 1] {
        let [mut tx, mut ty] = [&x, &y].map(|values| tensor::<2>(values, [3, 4], DType::F32, &device));
        let place = if learned == 0 { &mut tx } else { &mut ty };
        *place = place.clone().require_grad();
        let gradients = mean_squared_error(tx.clone(), ty.clone()).backward();
        let found = [tx.grad(&gradients), ty.grad(&gradients)];
        let sign = [1.0, -1.0][learned];
        let expected: Vec<f64> = x.iter().zip(&y).map(|(x, y)| sign * 2.0 * (x - y) / 12.0).collect();
        assert_close("gradient", &values(found[learned].clone().unwrap()), &expected, 1e-6);
        assert!(found[1 - learned].is_none());
    }
}

/// The gradient is that of Burn's own operators.
#[test]
fn the_target_may_be_untracked() {
    let x = tensor::<2>(&noise(12, 1), [3, 4], DType::F32, &Device::flex().autodiff()).require_grad();
    let y = tensor::<2>(&noise(12, 2), [3, 4], DType::F32, &Device::flex().autodiff()).detach();
    let ours = gradient(&x, &mean_squared_error(x.clone(), y.clone()).backward());
    let plain = gradient(&x, &(x.clone() - y).powi_scalar(2).mean().backward());
    assert_close("gradient", &ours, &plain, 1e-6);
}

#[test]
fn what_is_no_number_stays_so_and_an_empty_mean_is_none() {
    let device = Device::flex();
    let y = Tensor::<1>::from_floats([1.0, 2.0], &device);
    let of = |x: [f32; 2]| values(mean_squared_error(Tensor::from_floats(x, &device), y.clone()))[0];
    assert!(of([f32::NAN, 0.0]).is_nan());
    assert_eq!(of([0.0, f32::INFINITY]), f64::INFINITY);
    let none = Tensor::<1>::zeros([0], &device);
    assert!(values(mean_squared_error(none.clone(), none))[0].is_nan());
}

#[test]
fn gives_the_same_bits_on_one_thread_and_on_three() {
    let run = || {
        let device = Device::flex().autodiff();
        let x: Tensor<2> = tensor(&noise(300_007, 1), [300_007, 1], DType::F32, &device).require_grad();
        let loss = mean_squared_error(x.clone(), tensor(&noise(300_007, 2), [300_007, 1], DType::F32, &device));
        (values(loss.clone()), gradient(&x, &loss.backward()))
    };
    let [one, three] = on_one_and_three_threads(run);
    assert!(one == three);
}

#[test]
#[should_panic(expected = "there is no error between [2, 3] and [3, 2]")]
fn refuses_other_shapes() {
    let device = Device::flex();
    let _ = mean_squared_error(Tensor::<2>::zeros([2, 3], &device), Tensor::zeros([3, 2], &device));
}
