use crate::check::{
    LAYOUTS, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise, on_one_and_three_threads,
    tensor, values,
};
use advect_kernels::{group_norm, group_norm_silu, modulated_group_norm_silu};
use burn::tensor::{DType, Device, Tensor, activation};

const EPSILON: f64 = 1e-5;

fn reference(
    x: &[f64],
    [batch, channels, height, width]: [usize; 4],
    groups: usize,
    gamma: &[f64],
    beta: &[f64],
    silu: bool,
) -> Vec<f64> {
    let (pixels, per_group) = (height * width, channels / groups);
    let mut y = vec![0.0; x.len()];
    for n in 0..batch {
        for g in 0..groups {
            let members: Vec<usize> =
                (0..per_group * pixels).map(|i| ((n * channels) + g * per_group) * pixels + i).collect();
            let mean = members.iter().map(|&i| x[i]).sum::<f64>() / members.len() as f64;
            let variance = members.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / members.len() as f64;
            for i in members {
                let channel = i / pixels % channels;
                let z = (x[i] - mean) / (variance + EPSILON).sqrt() * gamma[channel] + beta[channel];
                y[i] = if silu { z / (1.0 + (-z).exp()) } else { z };
            }
        }
    }
    y
}

/// The same made of Burn's tensor operators, for its autodiff.
fn with_burn(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, silu: bool) -> Tensor<4> {
    let [b, c, h, w] = x.dims();
    let x = x.reshape([b, groups, c / groups * h * w]);
    let x = x.clone() - x.mean_dim(2);
    let deviation = ((x.clone() * x.clone()).mean_dim(2) + EPSILON).sqrt();
    let z = (x / deviation).reshape([b, c, h, w]) * gamma.reshape([1, c, 1, 1]) + beta.reshape([1, c, 1, 1]);
    if silu { activation::silu(z) } else { z }
}

fn ours(x: Tensor<4>, groups: usize, gamma: Tensor<1>, beta: Tensor<1>, silu: bool) -> Tensor<4> {
    if silu { group_norm_silu(x, groups, gamma, beta, EPSILON) } else { group_norm(x, groups, gamma, beta, EPSILON) }
}

/// Shapes and groups: one group, one channel a group, odd sizes, single pixels, many elements.
const CASES: [([usize; 4], usize); 7] = [
    ([2, 6, 3, 5], 2),
    ([1, 4, 4, 4], 1),
    ([3, 5, 7, 1], 5),
    ([2, 8, 1, 1], 2),
    ([0, 4, 3, 3], 2),
    ([2, 32, 33, 31], 4),
    ([9, 64, 8, 8], 8),
];

#[test]
fn agrees_with_the_formula_for_every_size_and_layout() {
    for (dtype, tolerance) in [(DType::F32, 4e-6), (DType::F64, 1e-12)] {
        for (shape, groups) in CASES {
            for (layout, silu) in
                LAYOUTS.into_iter().take(if shape[0] == 0 { 1 } else { 3 }).flat_map(|l| [(l, false), (l, true)])
            {
                let device = Device::flex();
                let x = laid_out(&noise(shape.iter().product(), 1), shape, dtype, layout, &device);
                let (gamma, beta) = (noise(shape[1], 2), noise(shape[1], 3));
                let expected = reference(&values(x.clone()), shape, groups, &gamma, &beta, silu);
                let y = ours(
                    x,
                    groups,
                    tensor(&gamma, [shape[1]], dtype, &device),
                    tensor(&beta, [shape[1]], dtype, &device),
                    silu,
                );
                assert_eq!((y.dims(), y.dtype()), (shape, dtype));
                assert_close(&format!("{dtype:?} {shape:?} {layout:?} {silu}"), &values(y), &expected, tolerance);
            }
        }
    }
}

#[test]
fn survives_a_mean_far_from_zero() {
    let (shape, device) = ([2, 8, 4, 4], Device::flex());
    let x: Vec<f64> = noise(256, 1).iter().map(|x| 1000.0 + x).collect();
    let x = tensor(&x, shape, DType::F32, &device);
    let expected = reference(&values(x.clone()), shape, 2, &[1.0; 8], &[0.0; 8], false);
    let y = group_norm(x, 2, Tensor::ones([8], &device), Tensor::zeros([8], &device), EPSILON);
    assert_close("mean 1000", &values(y), &expected, 5e-4);
}

#[test]
fn gradients_agree_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
    for (dtype, tolerance) in [(DType::F32, 5e-5), (DType::F64, 1e-6)] {
        for (shape, groups) in CASES.into_iter().filter(|(s, _)| s[0] > 0) {
            for (layout, silu) in [(LAYOUTS[0], false), (LAYOUTS[0], true), (LAYOUTS[1], true), (LAYOUTS[2], true)] {
                let (len, channels) = (shape.iter().product::<usize>(), shape[1]);
                // A group of one value has deviation zero, which finite differences see and no f32 does.
                if shape[2] * shape[3] * channels / groups < 3 {
                    continue;
                }
                let (x, gamma, beta, weights) = (noise(len, 1), noise(channels, 2), noise(channels, 3), noise(len, 4));
                let run = |f: &dyn Fn(Tensor<4>, Tensor<1>, Tensor<1>) -> Tensor<4>| {
                    let x = laid_out(&x, shape, dtype, layout, &device).require_grad();
                    let [gamma, beta] = [&gamma, &beta].map(|v| tensor(v, [channels], dtype, &device).require_grad());
                    let y = f(x.clone(), gamma.clone(), beta.clone());
                    let gradients = (y * tensor(&weights, shape, dtype, &device)).sum().backward();
                    [gradient(&x, &gradients), gradient(&gamma, &gradients), gradient(&beta, &gradients)]
                };
                let ours = run(&|x, gamma, beta| ours(x, groups, gamma, beta, silu));
                let burn = run(&|x, gamma, beta| with_burn(x, groups, gamma, beta, silu));
                let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| {
                    dot(&reference(x, shape, groups, gamma, beta, silu), &weights)
                };
                let slopes = [
                    differences(&x, 1 + len / 30, |x| loss(x, &gamma, &beta)),
                    differences(&gamma, 1 + channels / 8, |gamma| loss(&x, gamma, &beta)),
                    differences(&beta, 1 + channels / 8, |beta| loss(&x, &gamma, beta)),
                ];
                for (i, name) in ["x", "gamma", "beta"].into_iter().enumerate() {
                    let what = format!("{name} {dtype:?} {shape:?} {layout:?} {silu}");
                    assert_close(&what, &ours[i], &burn[i], 5e-5);
                    assert_slopes(&what, &ours[i], &slopes[i], tolerance);
                }
            }
        }
    }
}

/// Adaptive group normalisation in f64: parameters are gamma, beta, shift and scale.
fn modulated(x: &[f64], shape: [usize; 4], groups: usize, [gamma, beta, shift, scale]: &[Vec<f64>; 4]) -> Vec<f64> {
    let (channels, pixels) = (shape[1], shape[2] * shape[3]);
    let z = reference(x, shape, groups, gamma, beta, false);
    let value = |(i, z): (usize, &f64)| {
        let at = i / pixels % scale.len();
        let z = z * (1.0 + scale[at]) + shift[at];
        z / (1.0 + (-z).exp())
    };
    assert!(scale.len() == channels || scale.len() == shape[0] * channels);
    z.iter().enumerate().map(value).collect()
}

#[test]
fn modulated_agrees_with_the_formula_differences_and_burn() {
    let device = Device::flex().autodiff();
    for (dtype, tolerance) in [(DType::F32, 5e-5), (DType::F64, 1e-6)] {
        for (shape, groups) in CASES.into_iter().filter(|(shape, _)| shape[0] > 0) {
            for (images, layout) in [(shape[0], LAYOUTS[0]), (1, LAYOUTS[1]), (shape[0], LAYOUTS[2])] {
                let (len, channels) = (shape.iter().product::<usize>(), shape[1]);
                if shape[2] * shape[3] * channels / groups < 3 {
                    continue;
                }
                let (x, weights) = (noise(len, 1), noise(len, 2));
                let parameters = [(1, 3), (1, 4), (images, 5), (images, 6)].map(|(n, seed)| noise(n * channels, seed));
                type Modulated<'a> = &'a dyn Fn(Tensor<4>, [Tensor<1>; 2], [Tensor<2>; 2]) -> Tensor<4>;
                let run = |f: Modulated<'_>| {
                    let x = laid_out(&x, shape, dtype, layout, &device).require_grad();
                    let [gamma, beta, shift, scale] = &parameters;
                    let one = [gamma, beta].map(|p| tensor(p, [channels], dtype, &device).require_grad());
                    let two = [shift, scale].map(|p| tensor(p, [images, channels], dtype, &device).require_grad());
                    let y = f(x.clone(), one.clone(), two.clone());
                    let gradients = (y.clone() * laid_out(&weights, shape, dtype, layout, &device)).sum().backward();
                    let [gamma, beta] = one.map(|p| gradient(&p, &gradients));
                    let [shift, scale] = two.map(|p| gradient(&p, &gradients));
                    [values(y), gradient(&x, &gradients), gamma, beta, shift, scale]
                };
                let ours = run(&|x, [gamma, beta], [shift, scale]| {
                    modulated_group_norm_silu(x, groups, gamma, beta, shift, scale, EPSILON)
                });
                let burn = run(&|x, [gamma, beta], [shift, scale]| {
                    let z = with_burn(x, groups, gamma, beta, false);
                    let [shift, scale] = [shift, scale].map(|p| p.reshape([images, channels, 1, 1]));
                    activation::silu(z * (scale + 1.0) + shift)
                });
                let what = |name: &str| format!("{name} {dtype:?} {shape:?} {layout:?} {images}");
                let expected = modulated(&x, shape, groups, &parameters);
                assert_close(&what("y"), &ours[0], &expected, if dtype == DType::F32 { 1e-5 } else { 1e-12 });
                for (i, name) in ["y", "x", "gamma", "beta", "shift", "scale"].into_iter().enumerate() {
                    assert_close(&what(name), &ours[i], &burn[i], 5e-5);
                }
                let slopes = differences(&x, 1 + len / 8, |x| dot(&modulated(x, shape, groups, &parameters), &weights));
                assert_slopes(&what("x"), &ours[1], &slopes, tolerance);
                for (i, name) in ["gamma", "beta", "shift", "scale"].into_iter().enumerate() {
                    let slopes = differences(&parameters[i], 1 + parameters[i].len() / 4, |p| {
                        let mut parameters = parameters.clone();
                        parameters[i] = p.to_vec();
                        dot(&modulated(&x, shape, groups, &parameters), &weights)
                    });
                    assert_slopes(&what(name), &ours[i + 2], &slopes, tolerance);
                }
            }
        }
    }
    let parameter = || Tensor::<2>::zeros([1, 4], &device).require_grad();
    let (shift, ones) = (parameter(), Tensor::<1>::ones([4], &device));
    let x = Tensor::<4>::zeros([0, 4, 3, 3], &device);
    let y = modulated_group_norm_silu(x, 2, ones.clone(), ones, shift.clone(), parameter(), EPSILON);
    assert_eq!(y.dims(), [0, 4, 3, 3]);
    assert_eq!(shift.grad(&y.sum().backward()).map_or(vec![0.0; 4], values), [0.0; 4]);
}

#[test]
fn gradients_of_no_images_are_zero() {
    let device = Device::flex().autodiff();
    let gamma = Tensor::<1>::ones([4], &device).require_grad();
    let x = Tensor::<4>::zeros([0, 4, 3, 3], &device);
    let y = group_norm_silu(x, 2, gamma.clone(), Tensor::zeros([4], &device), EPSILON);
    let gradients = y.sum().backward();
    // Without the fast path the output of an empty batch hangs on no parameter.
    let slope = gamma.grad(&gradients).map_or(vec![0.0; 4], values);
    assert_eq!(slope, [0.0; 4]);
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    let (shape, device) = ([40, 16, 12, 12], Device::flex().autodiff());
    let (x, weights) = (noise(shape.iter().product(), 1), noise(shape.iter().product(), 2));
    let run = |images: usize| {
        let len = images * 16 * 144;
        let x = tensor(&x[..len], [images, 16, 12, 12], DType::F32, &device).require_grad();
        let gamma = Tensor::<1>::ones([16], &device).require_grad();
        let y = group_norm_silu(x.clone(), 4, gamma.clone(), Tensor::zeros([16], &device), EPSILON);
        let gradients =
            (y.clone() * tensor(&weights[..len], [images, 16, 12, 12], DType::F32, &device)).sum().backward();
        (values(y), gradient(&x, &gradients), gradient(&gamma, &gradients))
    };
    let [one, three] = on_one_and_three_threads(|| run(40));
    assert_eq!(one, three);
    if cfg!(feature = "flex") {
        let alone = run(1);
        assert_eq!((&alone.0[..], &alone.1[..]), (&one.0[..2304], &one.1[..2304]));
    }
}

#[test]
#[should_panic(expected = "3 groups do not divide 4 channels")]
fn refuses_groups_that_do_not_divide_the_channels() {
    let device = Device::flex();
    let _ = group_norm(
        Tensor::zeros([1, 4, 2, 2], &device),
        3,
        Tensor::ones([4], &device),
        Tensor::zeros([4], &device),
        EPSILON,
    );
}
