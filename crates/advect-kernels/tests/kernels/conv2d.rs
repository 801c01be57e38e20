use crate::check::{
    LAYOUTS, Layout, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise,
    on_one_and_three_threads, tensor, values,
};
use advect_kernels::conv2d;
use burn::tensor::{DType, Device, Tensor, module, ops::ConvOptions};

#[derive(Clone, Copy, Debug)]
struct Case {
    x: [usize; 4],
    weight: [usize; 4],
    stride: [usize; 2],
    padding: [usize; 2],
}

impl Case {
    const fn new(x: [usize; 4], weight: [usize; 4], stride: [usize; 2], padding: [usize; 2]) -> Self {
        Self { x, weight, stride, padding }
    }

    fn output(&self) -> [usize; 4] {
        let side = |i: usize| (self.x[i] + 2 * self.padding[i - 2] - self.weight[i]) / self.stride[i - 2] + 1;
        [self.x[0], self.weight[0], side(2), side(3)]
    }

    fn reference(&self, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let ([_, inputs, height, width], [_, _, taps_y, taps_x], [batch, outputs, out_height, out_width]) =
            (self.x, self.weight, self.output());
        let mut y = Vec::new();
        for n in 0..batch {
            for m in 0..outputs {
                for oy in 0..out_height {
                    for ox in 0..out_width {
                        let mut sum = bias[m];
                        for c in 0..inputs {
                            for ky in 0..taps_y {
                                for kx in 0..taps_x {
                                    let iy = (oy * self.stride[0] + ky).wrapping_sub(self.padding[0]);
                                    let ix = (ox * self.stride[1] + kx).wrapping_sub(self.padding[1]);
                                    if iy < height && ix < width {
                                        sum += x[((n * inputs + c) * height + iy) * width + ix]
                                            * weight[((m * inputs + c) * taps_y + ky) * taps_x + kx];
                                    }
                                }
                            }
                        }
                        y.push(sum);
                    }
                }
            }
        }
        y
    }

    /// The gradients of input, weight and bias, from that of the output.
    fn reference_gradients(&self, x: &[f64], weight: &[f64], gradient: &[f64]) -> [Vec<f64>; 3] {
        let ([_, inputs, height, width], [outputs, _, taps_y, taps_x], [_, _, out_height, out_width]) =
            (self.x, self.weight, self.output());
        let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; weight.len()], vec![0.0; outputs]);
        for (at, slope) in gradient.iter().enumerate() {
            let (n, m) = (at / (outputs * out_height * out_width), at / (out_height * out_width) % outputs);
            let (oy, ox) = (at / out_width % out_height, at % out_width);
            db[m] += slope;
            for c in 0..inputs {
                for ky in 0..taps_y {
                    for kx in 0..taps_x {
                        let iy = (oy * self.stride[0] + ky).wrapping_sub(self.padding[0]);
                        let ix = (ox * self.stride[1] + kx).wrapping_sub(self.padding[1]);
                        if iy < height && ix < width {
                            let i = ((n * inputs + c) * height + iy) * width + ix;
                            let j = ((m * inputs + c) * taps_y + ky) * taps_x + kx;
                            dx[i] += slope * weight[j];
                            dw[j] += slope * x[i];
                        }
                    }
                }
            }
        }
        [dx, dw, db]
    }

    fn burn(&self, x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        module::conv2d(x, weight, Some(bias), ConvOptions::new(self.stride, self.padding, [1, 1], 1))
    }

    fn ours(&self, x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>) -> Tensor<4> {
        conv2d(x, weight, Some(bias), self.stride, self.padding)
    }
}

const fn len(shape: [usize; 4]) -> usize {
    shape[0] * shape[1] * shape[2] * shape[3]
}

const CASES: [Case; 14] = [
    // The layers of a small U-Net: the shapes the fast path is made for.
    Case::new([5, 16, 8, 8], [32, 16, 3, 3], [1, 1], [1, 1]),
    Case::new([9, 8, 4, 4], [24, 8, 3, 3], [1, 1], [1, 1]),
    Case::new([3, 8, 8, 8], [8, 8, 3, 3], [2, 2], [1, 1]),
    Case::new([3, 6, 8, 8], [17, 6, 1, 1], [1, 1], [0, 0]),
    Case::new([4, 1, 8, 8], [10, 1, 3, 3], [1, 1], [1, 1]),
    Case::new([4, 10, 8, 8], [1, 10, 3, 3], [1, 1], [1, 1]),
    // One of everything; odd sizes; kernels that are not square; padding wider than the kernel; strides that skip
    // pixels.
    Case::new([1, 1, 1, 1], [1, 1, 1, 1], [1, 1], [0, 0]),
    Case::new([2, 3, 7, 5], [4, 3, 3, 3], [1, 1], [0, 0]),
    Case::new([2, 3, 9, 11], [5, 3, 5, 2], [2, 3], [2, 4]),
    Case::new([2, 2, 7, 9], [3, 2, 1, 1], [3, 2], [1, 0]),
    Case::new([3, 2, 2, 2], [3, 2, 3, 3], [1, 1], [1, 1]),
    Case::new([2, 2, 5, 6], [2, 2, 2, 3], [1, 1], [3, 1]),
    // Images cut into strips of lines.
    Case::new([2, 3, 40, 33], [6, 3, 3, 3], [1, 1], [1, 1]),
    Case::new([1, 2, 45, 40], [3, 2, 3, 3], [2, 2], [1, 1]),
];

#[test]
fn agrees_with_the_sums_for_every_size_and_layout() {
    for (dtype, tolerance) in [(DType::F32, 3e-6), (DType::F64, 1e-12)] {
        for case in CASES {
            for layout in LAYOUTS {
                let device = Device::flex();
                let (x, weight, bias) = (noise(len(case.x), 1), noise(len(case.weight), 2), noise(case.weight[0], 3));
                let y = case.ours(
                    laid_out(&x, case.x, dtype, layout, &device),
                    laid_out(&weight, case.weight, dtype, layout, &device),
                    tensor(&bias, [case.weight[0]], dtype, &device),
                );
                assert_eq!((y.dims(), y.dtype()), (case.output(), dtype));
                assert_close(
                    &format!("{dtype:?} {layout:?} {case:?}"),
                    &values(y),
                    &case.reference(&x, &weight, &bias),
                    tolerance,
                );
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-8)] {
        for case in CASES {
            // Larger images cost the loops too much time with every layout.
            let layouts = if len(case.x) > 1000 { &LAYOUTS[..1] } else { &LAYOUTS[..] };
            for layout in layouts {
                let (x, weight, bias) = (noise(len(case.x), 1), noise(len(case.weight), 2), noise(case.weight[0], 3));
                let weights = noise(len(case.output()), 4);
                type Convolve<'a> = &'a dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>;
                let run = |f: Convolve<'_>| {
                    let x = laid_out(&x, case.x, dtype, *layout, &device).require_grad();
                    let weight = laid_out(&weight, case.weight, dtype, *layout, &device).require_grad();
                    let bias = tensor(&bias, [case.weight[0]], dtype, &device).require_grad();
                    let y = f(x.clone(), weight.clone(), bias.clone());
                    // The gradient of the output lies in memory as its layout says, too.
                    let gradients = (y * laid_out(&weights, case.output(), dtype, *layout, &device)).sum().backward();
                    [gradient(&x, &gradients), gradient(&weight, &gradients), gradient(&bias, &gradients)]
                };
                let ours = run(&|x, w, b| case.ours(x, w, b));
                let burn = run(&|x, w, b| case.burn(x, w, b));
                let loss = |x: &[f64], weight: &[f64], bias: &[f64]| dot(&case.reference(x, weight, bias), &weights);
                let slopes = [
                    differences(&x, 1 + x.len() / 40, |x| loss(x, &weight, &bias)),
                    differences(&weight, 1 + weight.len() / 40, |weight| loss(&x, weight, &bias)),
                    differences(&bias, 1 + bias.len() / 4, |bias| loss(&x, &weight, bias)),
                ];
                for (i, name) in ["x", "weight", "bias"].into_iter().enumerate() {
                    let what = format!("{name} {dtype:?} {layout:?} {case:?}");
                    assert_close(&what, &ours[i], &burn[i], tolerance);
                    assert_slopes(&what, &ours[i], &slopes[i], tolerance);
                }
            }
        }
    }
}

#[test]
fn agrees_with_burn_where_the_threads_share_the_work() {
    let device = Device::flex().autodiff();
    for case in [
        Case::new([33, 32, 8, 8], [64, 32, 3, 3], [1, 1], [1, 1]),
        Case::new([50, 64, 4, 4], [64, 64, 3, 3], [1, 1], [1, 1]),
        Case::new([33, 32, 8, 8], [32, 32, 3, 3], [2, 2], [1, 1]),
        Case::new([33, 64, 8, 8], [128, 64, 1, 1], [1, 1], [0, 0]),
    ] {
        let run = |f: &dyn Fn(Tensor<4>, Tensor<4>, Tensor<1>) -> Tensor<4>| {
            let x = laid_out(&noise(len(case.x), 1), case.x, DType::F32, Layout::Dense, &device).require_grad();
            let weight =
                laid_out(&noise(len(case.weight), 2), case.weight, DType::F32, Layout::Dense, &device).require_grad();
            let bias = tensor(&noise(case.weight[0], 3), [case.weight[0]], DType::F32, &device).require_grad();
            let y = f(x.clone(), weight.clone(), bias.clone());
            let weights = laid_out(&noise(len(case.output()), 4), case.output(), DType::F32, Layout::Dense, &device);
            let gradients = (y.clone() * weights).sum().backward();
            [values(y), gradient(&x, &gradients), gradient(&weight, &gradients), gradient(&bias, &gradients)]
        };
        let (ours, burn) = (run(&|x, w, b| case.ours(x, w, b)), run(&|x, w, b| case.burn(x, w, b)));
        for (name, (ours, burn)) in ["y", "x", "weight", "bias"].into_iter().zip(ours.iter().zip(&burn)) {
            assert_close(&format!("{name} {case:?}"), ours, burn, 1e-4);
        }
    }
}

/// Shapes of the layers that are worth a transform or a matrix product of their own, and the edges of the blocks in
/// which these are done.
const LARGE_CASES: [Case; 20] = [
    // Four vectors of output channels, and 27 and 20 rows: no whole number of tiles.
    Case::new([2, 3, 9, 11], [64, 3, 3, 3], [1, 1], [1, 1]),
    Case::new([2, 5, 8, 6], [70, 5, 2, 2], [2, 2], [0, 0]),
    // A stride whose phases see 3x3 of the taps.
    Case::new([1, 32, 16, 16], [32, 32, 6, 6], [2, 2], [2, 2]),
    // 3x3 taps over tiles of 4x4 pixels: channels that fill no vector, tiles over the edge, one image and several in a
    // block.
    Case::new([2, 32, 8, 8], [33, 32, 3, 3], [1, 1], [1, 1]),
    Case::new([3, 37, 13, 7], [35, 37, 3, 3], [1, 1], [1, 1]),
    Case::new([57, 32, 8, 8], [32, 32, 3, 3], [1, 1], [1, 1]),
    Case::new([17, 33, 7, 7], [34, 33, 3, 3], [1, 1], [1, 1]),
    // Other paddings.
    Case::new([2, 32, 9, 10], [32, 32, 3, 3], [1, 1], [0, 0]),
    Case::new([1, 33, 7, 9], [32, 33, 3, 3], [1, 1], [2, 2]),
    Case::new([1, 32, 6, 9], [33, 32, 3, 3], [1, 1], [3, 0]),
    // Strips of an image; a line with more tiles than a block.
    Case::new([1, 32, 45, 33], [32, 32, 3, 3], [1, 1], [1, 1]),
    Case::new([1, 32, 5, 150], [32, 32, 3, 3], [1, 1], [1, 1]),
    // More channels than a task's sums, or than a part of the depth.
    Case::new([2, 70, 8, 8], [130, 70, 3, 3], [1, 1], [1, 1]),
    Case::new([1, 260, 8, 8], [40, 260, 3, 3], [1, 1], [1, 1]),
    // 1x1 taps: pixels that fill no vector, several blocks of pixels, more channels than a part of the depth.
    Case::new([3, 40, 20, 23], [50, 40, 1, 1], [1, 1], [0, 0]),
    Case::new([2, 300, 16, 17], [33, 300, 1, 1], [1, 1], [0, 0]),
    Case::new([1, 5, 3, 1], [1, 5, 1, 1], [1, 1], [0, 0]),
    // As many as pay for the matrix units of processors that have them (four million products an image), with edges in each direction: pixels that are whole
    // steps of 32, so that the sums of the weight run over images too, in more than one pass, and pixels that are not.
    Case::new([5, 75, 16, 16], [93, 75, 1, 1], [1, 1], [0, 0]),
    Case::new([2, 163, 15, 17], [150, 163, 1, 1], [1, 1], [0, 0]),
    Case::new([3, 611, 8, 12], [90, 611, 1, 1], [1, 1], [0, 0]),
];

#[test]
fn large_layers_agree_with_the_sums() {
    let device = Device::flex().autodiff();
    for case in LARGE_CASES {
        let (x, weight, bias) = (noise(len(case.x), 1), noise(len(case.weight), 2), noise(case.weight[0], 3));
        let weights = noise(len(case.output()), 4);
        let [tx, tw] = [(&x, case.x), (&weight, case.weight)]
            .map(|(values, shape)| tensor(values, shape, DType::F32, &device).require_grad());
        let tb = tensor(&bias, [case.weight[0]], DType::F32, &device).require_grad();
        let y = case.ours(tx.clone(), tw.clone(), tb.clone());
        let gradients = (y.clone() * tensor(&weights, case.output(), DType::F32, &device)).sum().backward();
        let expected = case.reference_gradients(&x, &weight, &weights);
        let ours = [gradient(&tx, &gradients), gradient(&tw, &gradients), gradient(&tb, &gradients)];
        for (name, (ours, expected)) in ["x", "weight", "bias"].into_iter().zip(ours.iter().zip(&expected)) {
            assert_close_to_largest(&format!("{name} {case:?}"), ours, expected, 4e-6);
        }
        assert_close_to_largest(&format!("y {case:?}"), &values(y), &case.reference(&x, &weight, &bias), 4e-6);
    }
}

/// Asserts that two lists agree to `tolerance` times the largest expected number.
fn assert_close_to_largest(what: &str, actual: &[f64], expected: &[f64], tolerance: f64) {
    let largest = expected.iter().fold(0.0_f64, |largest, value| largest.max(value.abs()));
    let error = actual.iter().zip(expected).fold(0.0_f64, |error, (a, e)| error.max((a - e).abs()));
    assert_eq!(actual.len(), expected.len(), "{what}");
    assert!(error <= tolerance * largest, "{what}: off by {:.2e} of the largest", error / largest);
}

#[test]
fn many_channels_and_a_large_mean_cost_no_accuracy() {
    let case = Case::new([1, 256, 8, 8], [32, 256, 3, 3], [1, 1], [1, 1]);
    let (weight, device) = (noise(len(case.weight), 2), Device::flex());
    for mean in [0.0, 64.0, 4096.0] {
        let x: Vec<f64> = noise(len(case.x), 1).iter().map(|x| f64::from((x + mean) as f32)).collect();
        let y = conv2d(
            tensor(&x, case.x, DType::F32, &device),
            tensor(&weight, case.weight, DType::F32, &device),
            None,
            case.stride,
            case.padding,
        );
        let expected = case.reference(&x, &weight, &[0.0; 32]);
        assert_close_to_largest(&format!("mean {mean}"), &values(y), &expected, 1e-5);
    }
}

#[test]
fn an_infinity_reaches_its_neighborhood_alone() {
    let (case, device) = (Case::new([2, 32, 16, 16], [32, 32, 3, 3], [1, 1], [1, 1]), Device::flex());
    let mut x = noise(len(case.x), 1);
    let run = |x: &[f64]| {
        let weight = tensor(&noise(len(case.weight), 2), case.weight, DType::F32, &device);
        values(conv2d(tensor(x, case.x, DType::F32, &device), weight, None, case.stride, case.padding))
    };
    let clean = run(&x);
    // Line 6 and pixel 5 of the first image.
    x[6 * 16 + 5] = f64::INFINITY;
    for (i, (spoilt, clean)) in run(&x).into_iter().zip(clean).enumerate() {
        let (image, line, pixel) = (i / (32 * 256), i / 16 % 16, i % 16);
        if image == 0 && (5..8).contains(&line) && (4..7).contains(&pixel) {
            assert!(!spoilt.is_finite(), "{line} {pixel}");
        } else if image == 1 || !(4..8).contains(&line) || !(4..8).contains(&pixel) {
            assert_eq!(spoilt, clean, "{image} {line} {pixel}");
        }
    }
}

#[test]
fn a_large_1x1_layer_takes_infinities_as_sums_of_floats_do() {
    let (case, device) = (Case::new([4, 160, 16, 16], [160, 160, 1, 1], [1, 1], [0, 0]), Device::flex().autodiff());
    let (weight, image) = (noise(len(case.weight), 2), 160 * 256);
    for odd in [f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        let run = |x: &[f64]| {
            let x = tensor(x, case.x, DType::F32, &device).require_grad();
            let w = tensor(&weight, case.weight, DType::F32, &device).require_grad();
            let y = conv2d(x.clone(), w.clone(), None, case.stride, case.padding);
            let gradients = y.clone().sum().backward();
            [values(y), gradient(&x, &gradients), gradient(&w, &gradients)]
        };
        let mut x = noise(len(case.x), 1);
        let [y, dx, dw] = run(&x);
        // Channel 7 and pixel 33 of the third image.
        x[2 * image + 7 * 256 + 33] = odd;
        let [odd_y, odd_dx, odd_dw] = run(&x);
        for (i, (found, plain)) in odd_y.iter().zip(&y).enumerate() {
            let (image, channel, pixel) = (i / image, i / 256 % 160, i % 256);
            if image == 2 && pixel == 33 {
                let expected = odd * weight[channel * 160 + 7];
                assert!(
                    found.is_nan() == expected.is_nan() && (odd.is_nan() || *found == expected),
                    "{found} for {odd}"
                );
            } else {
                assert!((found - plain).abs() < 1e-4, "{image} {channel} {pixel}: {found} and {plain}");
            }
        }
        assert!(dx.iter().zip(&odd_dx).all(|(a, b)| (a - b).abs() < 1e-4));
        for (i, (found, plain)) in odd_dw.iter().zip(&dw).enumerate() {
            if i % 160 == 7 {
                assert!(!found.is_finite() && found.is_nan() == odd.is_nan(), "{found} for {odd}");
            } else {
                assert!((found - plain).abs() < 1e-2, "{i}: {found} and {plain}");
            }
        }
    }
}

#[test]
fn accepts_no_images_and_no_bias() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F32, DType::F64] {
        let weight = tensor(&noise(4 * 3 * 9, 1), [4, 3, 3, 3], dtype, &device).require_grad();
        let y = conv2d(Tensor::zeros([0, 3, 5, 6], (&device, dtype)), weight.clone(), None, [2, 1], [1, 0]);
        assert_eq!(y.dims(), [0, 4, 3, 4]);
        let gradients = y.sum().backward();
        let slope = weight.grad(&gradients).map_or(vec![0.0; 108], values);
        assert_eq!(slope, [0.0; 108]);

        for taps in [1, 3] {
            let weight = tensor(&noise(33 * 32 * taps * taps, 1), [33, 32, taps, taps], dtype, &device).require_grad();
            let x = Tensor::<4>::zeros([0, 32, 9, 8], (&device, dtype)).require_grad();
            let y = conv2d(x.clone(), weight.clone(), None, [1, 1], [taps / 2; 2]);
            assert_eq!(y.dims(), [0, 33, 9, 8]);
            let gradients = y.sum().backward();
            assert!(weight.grad(&gradients).is_none_or(|slope| values(slope).iter().all(|v| *v == 0.0)));
            assert!(x.grad(&gradients).is_none_or(|slope| slope.dims() == [0, 32, 9, 8]));
        }

        let case = Case::new([2, 3, 5, 6], [4, 3, 3, 3], [2, 1], [1, 0]);
        let x = noise(len(case.x), 2);
        let y = conv2d(tensor(&x, case.x, dtype, &device), weight, None, case.stride, case.padding);
        assert_close("no bias", &values(y), &case.reference(&x, &noise(108, 1), &[0.0; 4]), 1e-6);
    }
}

#[test]
fn computes_only_the_gradients_asked_for() {
    let device = Device::flex().autodiff();
    let x = tensor(&noise(2 * 3 * 16, 1), [2, 3, 4, 4], DType::F32, &device);
    let weight = tensor(&noise(27, 2), [1, 3, 3, 3], DType::F32, &device);
    let bias = tensor(&[0.5], [1], DType::F32, &device).require_grad();
    let gradients = conv2d(x.clone(), weight.clone(), Some(bias.clone()), [1, 1], [1, 1]).sum().backward();
    assert_eq!(gradient(&bias, &gradients), [32.0]);
    assert!(x.grad(&gradients).is_none() && weight.grad(&gradients).is_none());
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    let device = Device::flex().autodiff();
    let run = |images: usize, channels: usize, side: usize, taps: usize| {
        let (shape, kernel) = ([images, channels, side, side], [channels, channels, taps, taps]);
        let x = tensor(&noise(40 * channels * side * side, 1)[..len(shape)], shape, DType::F32, &device).require_grad();
        let weight = tensor(&noise(len(kernel), 2), kernel, DType::F32, &device).require_grad();
        let y = conv2d(x.clone(), weight.clone(), None, [1, 1], [taps / 2; 2]);
        let gradients = (y.clone() * y.clone()).sum().backward();
        (values(y), gradient(&x, &gradients), gradient(&weight, &gradients))
    };
    for (channels, side, taps) in
        [(16, 4, 3), (16, 7, 3), (16, 24, 3), (33, 8, 3), (32, 13, 3), (32, 24, 3), (33, 9, 1)]
    {
        let [one, three] = on_one_and_three_threads(|| run(40, channels, side, taps));
        assert_eq!(one, three);
        if cfg!(feature = "flex") {
            let (alone, len) = (run(1, channels, side, taps), channels * side * side);
            assert_eq!((&alone.0[..], &alone.1[..]), (&one.0[..len], &one.1[..len]), "{channels} {side} {taps}");
        }
    }
}

#[test]
#[should_panic(expected = "an image of 2 channels does not fit a weight for 3")]
fn refuses_channels_that_differ() {
    let device = Device::flex();
    let _ = conv2d(Tensor::zeros([1, 2, 4, 4], &device), Tensor::zeros([1, 3, 3, 3], &device), None, [1, 1], [1, 1]);
}

#[test]
#[should_panic(expected = "a kernel of 3x3 is larger than an image of 2x2 padded by [0, 0]")]
fn refuses_a_kernel_larger_than_the_image() {
    let device = Device::flex();
    let _ = conv2d(Tensor::zeros([1, 2, 2, 2], &device), Tensor::zeros([1, 2, 3, 3], &device), None, [1, 1], [0, 0]);
}
