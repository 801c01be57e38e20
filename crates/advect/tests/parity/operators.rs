//! Every operator of advect-kernels.

use crate::suite::{BF16_BOUND, Errors, F16_BOUND, Place, Suite, error, flat, noise, values};
use advect::kernels::{self, AdamW, AdamWState};
use advect::prelude::*;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{DType, module};

const EPSILON: f64 = 1e-5;

pub(crate) fn run(suite: &mut Suite) {
    suite.group("operator");
    activations(suite);
    rows(suite);
    groups(suite);
    attention(suite);
    convolutions(suite);
    optimizer(suite);
    untracked(suite);
}

fn sigmoid(x: Tensor<1>) -> Tensor<1> {
    (x.neg().exp() + 1.0).recip()
}

fn activations(suite: &mut Suite) {
    // Ordinary numbers, and far ones, where a formula overflows that should not.
    let mut far: Vec<f64> = noise(5, 40).iter().map(|x| x * 3.0).collect();
    far.extend([0.0, 1e-4, -1e-4, 15.0, -15.0, 60.0, -60.0]);
    let near: Vec<f64> = far.iter().filter(|x| x.abs() < 20.0).copied().collect();
    let (far, near) = ([far], [near]);
    suite.operator_at("exp", 2e-6, &near, |x| kernels::exp(x[0].clone()), |x| x[0].clone().exp());
    suite.operator_at("sigmoid", 2e-6, &far, |x| kernels::sigmoid(x[0].clone()), |x| sigmoid(x[0].clone()));
    suite.operator_at("tanh", 2e-6, &far, |x| kernels::tanh(x[0].clone()), |x| x[0].clone().tanh());
    suite.operator_at("silu", 2e-6, &far, |x| kernels::silu(x[0].clone()), |x| x[0].clone() * sigmoid(x[0].clone()));
    suite.operator_at(
        "gelu",
        2e-6,
        &far,
        |x| kernels::gelu(x[0].clone()),
        |x| x[0].clone() * ((x[0].clone() / 2f64.sqrt()).erf() + 1.0) / 2.0,
    );
    suite.operator_at(
        "gelu (tanh)",
        2e-6,
        &far,
        |x| kernels::gelu_tanh(x[0].clone()),
        |x| {
            let inner = (x[0].clone() + x[0].clone().powi_scalar(3) * 0.044715) * (2.0 / std::f64::consts::PI).sqrt();
            x[0].clone() * (inner.tanh() + 1.0) / 2.0
        },
    );
    // Of far numbers the plain form has no f64 value to compare with.
    suite.operator_at(
        "softplus",
        2e-6,
        &near,
        |x| kernels::softplus(x[0].clone()),
        |x| (x[0].clone().exp() + 1.0).log(),
    );
    suite.operator(
        "softmax",
        2e-6,
        &[(5 * 7, 3.0)],
        |x| flat(kernels::softmax(x[0].clone().reshape([5, 7]), 1)),
        |x| flat(softmax(x[0].clone().reshape([5, 7]), 1)),
    );
    suite.operator(
        "softmax (first axis)",
        2e-6,
        &[(5 * 7, 3.0)],
        |x| flat(kernels::softmax(x[0].clone().reshape([5, 7]), 0)),
        |x| flat(softmax(x[0].clone().reshape([5, 7]), 0)),
    );
}

fn softmax<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    let e = x.exp();
    e.clone() / e.sum_dim(dim)
}

/// Over the last axis: the plain formula.
fn normalised<const D: usize>(x: Tensor<D>, centred: bool) -> Tensor<D> {
    let x = if centred { x.clone() - x.mean_dim(D - 1) } else { x };
    let mean_square = (x.clone() * x.clone()).mean_dim(D - 1);
    x / (mean_square + EPSILON).sqrt()
}

fn rows(suite: &mut Suite) {
    let linear = [(6 * 5, 1.0), (5 * 9, 1.0), (9, 1.0)];
    suite.operator(
        "linear",
        2e-6,
        &linear,
        |x| flat(kernels::linear(x[0].clone().reshape([6, 5]), x[1].clone().reshape([5, 9]), Some(x[2].clone()))),
        |x| flat(x[0].clone().reshape([6, 5]).matmul(x[1].clone().reshape([5, 9])) + x[2].clone().reshape([1, 9])),
    );
    suite.operator(
        "linear (rank 3, no bias)",
        2e-6,
        &[(2 * 3 * 5, 1.0), (5 * 9, 1.0)],
        |x| flat(kernels::linear(x[0].clone().reshape([2, 3, 5]), x[1].clone().reshape([5, 9]), None)),
        |x| flat(x[0].clone().reshape([6, 5]).matmul(x[1].clone().reshape([5, 9]))),
    );
    // So many rows that cards add the gradients of the weights and of the bias up in parts.
    suite.operator(
        "linear, 5120 rows",
        2e-6,
        &[(5120 * 5, 1.0), (5 * 70, 1.0), (70, 1.0)],
        |x| flat(kernels::linear(x[0].clone().reshape([5120, 5]), x[1].clone().reshape([5, 70]), Some(x[2].clone()))),
        |x| flat(x[0].clone().reshape([5120, 5]).matmul(x[1].clone().reshape([5, 70])) + x[2].clone().reshape([1, 70])),
    );
    let silu = |x: Tensor<2>| x.clone() / ((-x).exp() + 1.0);
    suite.operator(
        "silu, linear",
        2e-6,
        &linear,
        |x| flat(kernels::silu_linear(x[0].clone().reshape([6, 5]), x[1].clone().reshape([5, 9]), Some(x[2].clone()))),
        |x| {
            flat(silu(x[0].clone().reshape([6, 5])).matmul(x[1].clone().reshape([5, 9])) + x[2].clone().reshape([1, 9]))
        },
    );
    let gelu = |x: Tensor<2>| {
        let inner = (x.clone() + x.clone().powi_scalar(3) * 0.044_715) * (2.0 / std::f64::consts::PI).sqrt();
        x * 0.5 * (inner.tanh() + 1.0)
    };
    suite.operator(
        "gelu (tanh), linear",
        2e-6,
        &linear,
        |x| {
            let [rows, weight] = [x[0].clone().reshape([6, 5]), x[1].clone().reshape([5, 9])];
            flat(kernels::gelu_tanh_linear(rows, weight, Some(x[2].clone())))
        },
        |x| {
            let y = gelu(x[0].clone().reshape([6, 5])).matmul(x[1].clone().reshape([5, 9]));
            flat(y + x[2].clone().reshape([1, 9]))
        },
    );
    let up_and_down = |x: &[Tensor<1>]| {
        (x[0].clone().reshape([40, 64]), x[1].clone().reshape([64, 256]), x[3].clone().reshape([256, 72]))
    };
    suite.operator(
        "feed-forward",
        2e-6,
        &[(40 * 64, 1.0), (64 * 256, 0.125), (256, 1.0), (256 * 72, 0.0625), (72, 1.0)],
        |x| {
            let (rows, up, down) = up_and_down(x);
            flat(kernels::feed_forward(rows, (up, Some(x[2].clone())), (down, Some(x[4].clone()))))
        },
        |x| {
            let (rows, up, down) = up_and_down(x);
            let y = gelu(rows.matmul(up) + x[2].clone().reshape([1, 256]));
            flat(y.matmul(down) + x[4].clone().reshape([1, 72]))
        },
    );
    suite.operator(
        "perceptron",
        2e-6,
        &[(6 * 5, 1.0), (5 * 9, 1.0), (9, 1.0), (9 * 2, 1.0)],
        |x| {
            let [rows, first, second] =
                [x[0].clone().reshape([6, 5]), x[1].clone().reshape([5, 9]), x[3].clone().reshape([9, 2])];
            flat(kernels::silu_chain(rows, vec![(first, Some(x[2].clone())), (second, None)]))
        },
        |x| {
            let [rows, first, second] =
                [x[0].clone().reshape([6, 5]), x[1].clone().reshape([5, 9]), x[3].clone().reshape([9, 2])];
            flat(silu(rows.matmul(first) + x[2].clone().reshape([1, 9])).matmul(second))
        },
    );
    suite.operator(
        "weighted sum",
        2e-6,
        &[(30, 1.0), (30, 1.0), (30, 1.0)],
        |x| kernels::weighted_sum(x[0].clone(), 0.5, &[(-2.0, &x[1]), (1.0, &x[2])]),
        |x| x[0].clone() * 0.5 - x[1].clone() * 2.0 + x[2].clone(),
    );
    suite.operator(
        "weighted sum, factors of rows",
        2e-6,
        &[(30, 1.0), (30, 1.0)],
        |x| {
            let [x, d] = [&x[0], &x[1]].map(|x| x.clone().reshape([3, 10]));
            flat(kernels::weighted_sum_rows(x, &[0.5, 1.0, -2.0], &[(&[1.5, -1.0, 0.25], &d)]))
        },
        |x| {
            let [x, d] = [&x[0], &x[1]].map(|x| x.clone().reshape([3, 10]));
            let column = |values: [f64; 3]| Tensor::<2>::from_data(values.map(|v| [v]), (&x.device(), x.dtype()));
            flat(x.clone() * column([0.5, 1.0, -2.0]) + d * column([1.5, -1.0, 0.25]))
        },
    );
    suite.operator(
        "mean squared error",
        2e-6,
        &[(6 * 5, 1.0), (6 * 5, 1.0)],
        |x| flat(kernels::mean_squared_error(x[0].clone().reshape([6, 5]), x[1].clone().reshape([6, 5]))),
        |x| flat((x[0].clone() - x[1].clone()).powi_scalar(2).mean()),
    );
    suite.operator(
        "columns side by side",
        2e-6,
        &[(6 * 5, 1.0), (6 * 2, 1.0)],
        |x| flat(kernels::beside(x[0].clone().reshape([6, 5]), x[1].clone().reshape([6, 2]))),
        |x| flat(Tensor::cat(vec![x[0].clone().reshape([6, 5]), x[1].clone().reshape([6, 2])], 1)),
    );
    // Parts as wide as a view of a card begins at, and not, one of them unused, one twice.
    for wide in [5, 128] {
        let of = move |parts: &[Tensor<2>]| {
            let [a, b, c] = [&parts[0], &parts[1], &parts[3]].map(Clone::clone);
            flat(a.clone() * b + c * a)
        };
        suite.operator(
            &format!("columns apart, {wide}"),
            2e-6,
            &[(7 * 4 * wide, 1.0)],
            move |x| of(&kernels::columns(x[0].clone().reshape([7, 4 * wide]), 4)),
            move |x| of(&x[0].clone().reshape([7, 4 * wide]).chunk(4, 1)),
        );
    }
    suite.operator(
        "layer norm",
        1e-5,
        &[(6 * 16, 2.0), (16, 1.0), (16, 1.0)],
        |x| flat(kernels::layer_norm(x[0].clone().reshape([6, 16]), x[1].clone(), x[2].clone(), EPSILON)),
        |x| {
            let row = |i: usize| x[i].clone().reshape([1, 16]);
            flat(normalised(x[0].clone().reshape([6, 16]), true) * row(1) + row(2))
        },
    );
    suite.operator(
        "rms norm",
        1e-5,
        &[(6 * 16, 2.0), (16, 1.0)],
        |x| flat(kernels::rms_norm(x[0].clone().reshape([6, 16]), x[1].clone(), EPSILON)),
        |x| flat(normalised(x[0].clone().reshape([6, 16]), false) * x[1].clone().reshape([1, 16])),
    );
    // Two images of three tokens of 16 features: a shift and a scale for each image.
    let tokens = |x: &Tensor<1>| x.clone().reshape([2, 3, 16]);
    let entries = |x: &Tensor<1>| x.clone().reshape([2, 16]);
    let spread = |x: &Tensor<1>| x.clone().reshape([2, 1, 16]);
    let sizes = [(2 * 3 * 16, 2.0), (2 * 16, 1.0), (2 * 16, 1.0)];
    suite.operator(
        "modulate",
        2e-6,
        &sizes,
        |x| flat(kernels::modulate(tokens(&x[0]), entries(&x[1]), entries(&x[2]))),
        |x| flat(tokens(&x[0]) * (spread(&x[2]) + 1.0) + spread(&x[1])),
    );
    suite.operator(
        "modulated layer norm",
        1e-5,
        &sizes,
        |x| flat(kernels::modulated_layer_norm(tokens(&x[0]), entries(&x[1]), entries(&x[2]), EPSILON)),
        |x| flat(normalised(tokens(&x[0]), true) * (spread(&x[2]) + 1.0) + spread(&x[1])),
    );
    suite.operator(
        "gated residual",
        2e-6,
        &[(2 * 3 * 16, 2.0), (2 * 16, 1.0), (2 * 3 * 16, 1.0)],
        |x| flat(kernels::gated_residual(tokens(&x[0]), entries(&x[1]), tokens(&x[2]))),
        |x| flat(tokens(&x[0]) + spread(&x[1]) * tokens(&x[2])),
    );
}

fn groups(suite: &mut Suite) {
    let image = |x: &Tensor<1>| x.clone().reshape([2, 8, 4, 4]);
    let channels = |x: &Tensor<1>| x.clone().reshape([1, 8, 1, 1]);
    let each = |x: &Tensor<1>| x.clone().reshape([2, 8, 1, 1]);
    let normalise = move |x: &[Tensor<1>]| {
        let z = normalised(x[0].clone().reshape([2, 4, 32]), true).reshape([2, 8, 4, 4]);
        z * channels(&x[1]) + channels(&x[2])
    };
    let sizes = [(2 * 8 * 16, 2.0), (8, 1.0), (8, 1.0)];
    suite.operator(
        "group norm",
        1e-5,
        &sizes,
        |x| flat(kernels::group_norm(image(&x[0]), 4, x[1].clone(), x[2].clone(), EPSILON)),
        |x| flat(normalise(x)),
    );
    suite.operator(
        "group norm, silu",
        1e-5,
        &sizes,
        |x| flat(kernels::group_norm_silu(image(&x[0]), 4, x[1].clone(), x[2].clone(), EPSILON)),
        |x| {
            let z = flat(normalise(x));
            z.clone() * sigmoid(z)
        },
    );
    suite.operator(
        "modulated group norm, silu",
        1e-5,
        &[(2 * 8 * 16, 2.0), (8, 1.0), (8, 1.0), (16, 1.0), (16, 1.0)],
        |x| {
            let [shift, scale] = [3, 4].map(|i: usize| x[i].clone().reshape([2, 8]));
            let (gamma, beta) = (x[1].clone(), x[2].clone());
            flat(kernels::modulated_group_norm_silu(image(&x[0]), 4, gamma, beta, shift, scale, EPSILON))
        },
        |x| {
            let z = flat(normalise(x) * (each(&x[4]) + 1.0) + each(&x[3]));
            z.clone() * sigmoid(z)
        },
    );
    // As convolutions on cards leave their images.
    let last = |x: &Tensor<1>| kernels::permute(x.clone().reshape([2, 5, 5, 64]), [0, 3, 1, 2]);
    suite.operator(
        "modulated group norm, silu, channels last",
        1e-5,
        &[(2 * 64 * 25, 2.0), (64, 1.0), (64, 1.0), (128, 1.0), (128, 1.0)],
        |x| {
            let [shift, scale] = [3, 4].map(|i: usize| x[i].clone().reshape([2, 64]));
            let (gamma, beta) = (x[1].clone(), x[2].clone());
            flat(kernels::modulated_group_norm_silu(last(&x[0]), 16, gamma, beta, shift, scale, EPSILON))
        },
        |x| {
            let row = |i: usize, of: usize| x[i].clone().reshape([of, 64, 1, 1]);
            let h = normalised(last(&x[0]).reshape([2, 16, 100]), true).reshape([2, 64, 5, 5]);
            let z = flat((h * row(1, 1) + row(2, 1)) * (row(4, 2) + 1.0) + row(3, 2));
            z.clone() * sigmoid(z)
        },
    );
}

fn attention(suite: &mut Suite) {
    let plain = |q: Tensor<4>, k: Tensor<4>, v: Tensor<4>| {
        let scale = (q.dims()[3] as f64).sqrt();
        softmax(q.matmul(k.swap_dims(2, 3)) / scale, 3).matmul(v)
    };
    suite.operator(
        "attention",
        1e-5,
        &[(2 * 3 * 5 * 8, 1.0), (2 * 3 * 7 * 8, 1.0), (2 * 3 * 7 * 8, 1.0)],
        |x| {
            let [q, k, v] = [(0, 5), (1, 7), (2, 7)].map(|(i, n): (usize, usize)| x[i].clone().reshape([2, 3, n, 8]));
            flat(kernels::attention(q, k, v))
        },
        |x| {
            let [q, k, v] = [(0, 5), (1, 7), (2, 7)].map(|(i, n): (usize, usize)| x[i].clone().reshape([2, 3, n, 8]));
            flat(plain(q, k, v))
        },
    );
    // More keys than a kernel of ours has units.
    suite.operator(
        "attention, 300 keys",
        1e-5,
        &[(3 * 8, 1.0), (300 * 8, 1.0), (300 * 8, 1.0)],
        |x| {
            let [q, k, v] =
                [(0, 3), (1, 300), (2, 300)].map(|(i, n): (usize, usize)| x[i].clone().reshape([1, 1, n, 8]));
            flat(kernels::attention(q, k, v))
        },
        |x| {
            let [q, k, v] =
                [(0, 3), (1, 300), (2, 300)].map(|(i, n): (usize, usize)| x[i].clone().reshape([1, 1, n, 8]));
            flat(plain(q, k, v))
        },
    );
    suite.operator(
        "self-attention",
        1e-5,
        &[(2 * 6 * 48, 1.0)],
        |x| flat(kernels::self_attention(x[0].clone().reshape([2, 6, 48]), 2)),
        |x| {
            let parts = x[0].clone().reshape([2, 6, 3, 2, 8]);
            let [q, k, v] = [0, 1, 2].map(|i| parts.clone().narrow(2, i, 1).reshape([2, 6, 2, 8]).swap_dims(1, 2));
            flat(plain(q, k, v).swap_dims(1, 2))
        },
    );
    // As many tokens as fill a block of a kernel for cards, and some more.
    for (name, size) in [("self-attention, heads of 64", 64), ("self-attention, heads of 72", 72)] {
        suite.operator(
            name,
            1e-5,
            &[(2 * 70 * 6 * size, 1.0)],
            |x| flat(kernels::self_attention(x[0].clone().reshape([2, 70, 6 * size]), 2)),
            |x| {
                let parts = x[0].clone().reshape([2, 70, 3, 2, size]);
                let [q, k, v] =
                    [0, 1, 2].map(|i| parts.clone().narrow(2, i, 1).reshape([2, 70, 2, size]).swap_dims(1, 2));
                flat(plain(q, k, v).swap_dims(1, 2))
            },
        );
    }
}

/// Name, channels in and out, height and width, those of the kernel, stride, padding.
type Convolution = (&'static str, [usize; 2], [usize; 2], [usize; 2], [usize; 2], [usize; 2]);

fn convolutions(suite: &mut Suite) {
    let cases: [Convolution; 9] = [
        ("convolution 3x3", [4, 8], [6, 6], [3, 3], [1, 1], [1, 1]),
        ("convolution 3x3, 1 channel", [1, 8], [5, 7], [3, 3], [1, 1], [1, 1]),
        ("convolution 3x3, stride 2", [4, 8], [6, 6], [3, 3], [2, 2], [1, 1]),
        ("convolution 1x1", [4, 8], [6, 6], [1, 1], [1, 1], [0, 0]),
        ("convolution 3x3, 24 channels", [24, 40], [9, 12], [3, 3], [1, 1], [1, 1]),
        ("convolution 1x1, 64 channels", [64, 72], [9, 12], [1, 1], [1, 1], [0, 0]),
        // No two sizes are the same, and a Hopper card makes the kernel's gradient in parts.
        ("convolution 3x2, 72 channels", [72, 136], [18, 20], [3, 2], [1, 1], [0, 1]),
        ("convolution 2x2, stride 2 (patches)", [3, 8], [6, 6], [2, 2], [2, 2], [0, 0]),
        // Burn issue 4806: the stride leaves out two rows and columns of the input.
        ("convolution 3x3, stride 3, 8x8", [4, 8], [8, 8], [3, 3], [3, 3], [0, 0]),
    ];
    for (name, [from, to], [height, width], [high, wide], stride, padding) in cases {
        let image = move |x: &[Tensor<1>]| x[0].clone().reshape([2, from, height, width]);
        let weight = move |x: &[Tensor<1>]| x[1].clone().reshape([to, from, high, wide]);
        suite.operator(
            name,
            5e-6,
            &[(2 * from * height * width, 1.0), (to * from * high * wide, 1.0), (to, 1.0)],
            |x| flat(kernels::conv2d(image(x), weight(x), Some(x[2].clone()), stride, padding)),
            |x| flat(convolution(image(x), weight(x), x[2].clone(), stride, padding)),
        );
    }
    // The composed reference against Burn's own convolution, once: an error of both would have to be the same.
    let options = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
    suite.operator(
        "convolution, Burn's own",
        5e-6,
        &[(2 * 4 * 36, 1.0), (8 * 4 * 9, 1.0), (8, 1.0)],
        |x| {
            let (image, weight) = (x[0].clone().reshape([2, 4, 6, 6]), x[1].clone().reshape([8, 4, 3, 3]));
            flat(module::conv2d(image, weight, Some(x[2].clone()), options.clone()))
        },
        |x| {
            let (image, weight) = (x[0].clone().reshape([2, 4, 6, 6]), x[1].clone().reshape([8, 4, 3, 3]));
            flat(convolution(image, weight, x[2].clone(), [2, 2], [1, 1]))
        },
    );
}

/// By its definition: a product for each place of the kernel, added up.
fn convolution(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, stride: [usize; 2], padding: [usize; 2]) -> Tensor<4> {
    let ([batch, from, height, width], [to, _, high, wide_of_kernel]) = (x.dims(), weight.dims());
    let [down, across] = padding;
    let (tall, wide) = (height + 2 * down, width + 2 * across);
    let x = {
        let room = Tensor::<4>::zeros([batch, from, tall, wide], (&x.device(), x.dtype()));
        room.slice_assign([0..batch, 0..from, down..down + height, across..across + width], x)
    };
    let (rows, columns) = ((tall - high) / stride[0] + 1, (wide - wide_of_kernel) / stride[1] + 1);
    let mut y = bias.reshape([1, to, 1]).repeat_dim(0, batch).repeat_dim(2, rows * columns);
    for i in 0..high {
        for j in 0..wide_of_kernel {
            let [tops, lefts] = [(i, rows, stride[0]), (j, columns, stride[1])].map(|(first, count, stride)| {
                let places: Vec<i32> = (0..count).map(|k| (first + k * stride) as i32).collect();
                Tensor::<1, burn::tensor::Int>::from_ints(&places[..], &x.device())
            });
            let seen = x.clone().select(2, tops).select(3, lefts).reshape([batch, from, rows * columns]);
            let tap = weight.clone().slice([0..to, 0..from, i..i + 1, j..j + 1]).reshape([1, to, from]);
            y = y + tap.repeat_dim(0, batch).matmul(seen);
        }
    }
    y.reshape([batch, to, rows, columns])
}

fn optimizer(suite: &mut Suite) {
    suite.case("sum of squares", 2e-6, |place| {
        let x = noise(3, 1000);
        let sum: f64 = x.iter().map(|x| x * x).sum();
        Errors::forward(error(&values(kernels::sum_of_squares(place.tensor(&x, [10, 100]))), &[sum]))
    });
    suite.case("AdamW and average", 2e-6, |place| {
        let (weights, gradients) = (noise(1, 60), [noise(2, 60), noise(3, 60)]);
        let zeros = || place.tensor(&[0.0; 60], [6, 10]);
        let mut w = place.tensor(&weights, [6, 10]);
        let mut state = AdamWState { first: zeros(), second: zeros(), average: w.clone() };
        for (k, gradient) in gradients.iter().enumerate() {
            (w, state) = kernels::adamw(w, place.tensor(gradient, [6, 10]), state, &step(k as u64 + 1));
        }
        let got = [w, state.first, state.second, state.average].map(values);
        let expected = two_steps(&weights, &gradients);
        Errors::forward(got.iter().zip(&expected).map(|(got, want)| error(got, want)).fold(0.0, f64::max))
    });
}

fn step(step: u64) -> AdamW {
    AdamW {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
        weight_decay: 0.1,
        step,
        gradient_factor: 0.5,
        follow: 0.25,
    }
}

/// The algorithm in plain numbers: weights, moments and average.
fn two_steps(weights: &[f64], gradients: &[Vec<f64>; 2]) -> [Vec<f64>; 4] {
    let zeros = || vec![0.0; weights.len()];
    let mut held = [weights.to_vec(), zeros(), zeros(), weights.to_vec()];
    for (k, gradient) in gradients.iter().enumerate() {
        let s = step(k as u64 + 1);
        let [c1, c2] = [s.beta1, s.beta2].map(|beta| 1.0 - beta.powi(k as i32 + 1));
        for i in 0..weights.len() {
            let g = gradient[i] * s.gradient_factor;
            held[1][i] = s.beta1 * held[1][i] + (1.0 - s.beta1) * g;
            held[2][i] = s.beta2 * held[2][i] + (1.0 - s.beta2) * g * g;
            let w = held[0][i] * (1.0 - s.rate * s.weight_decay);
            held[0][i] = w - s.rate * (held[1][i] / c1) / ((held[2][i] / c2).sqrt() + s.epsilon);
            held[3][i] += s.follow * (held[0][i] - held[3][i]);
        }
    }
    held
}

/// What takes tensors that nobody tracks, many of them at once, in f32 and the half precision of the device: cards have kernels for that.
fn untracked(suite: &mut Suite) {
    let half = [DType::BF16, DType::F16].into_iter().find(|dtype| suite.place.device.supports_dtype(*dtype));
    for dtype in std::iter::once(DType::F32).chain(half) {
        let (kind, bound) = match dtype {
            DType::BF16 => (", bf16", BF16_BOUND),
            DType::F16 => (", f16", F16_BOUND),
            _ => ("", 2e-6),
        };
        chains(suite, dtype, kind, bound);
        lists(suite, dtype, kind);
    }
    suite.case("a tensor that stands in for another", 0.0, |place| {
        let place = place.autodiff();
        let (x, y, slope) = (noise(1, 20), noise(2, 20), noise(3, 20));
        let x = place.tensor(&x, [4, 5]).require_grad();
        let z = kernels::stand_in(x.clone(), place.tensor(&y, [4, 5]));
        let gradients = (z.clone() * place.tensor(&slope, [4, 5])).sum().backward();
        let got = values(x.grad(&gradients).expect("it takes part"));
        Errors { forward: error(&values(z), &y), gradient: Some(error(&got, &slope)) }
    });
}

fn chains(suite: &mut Suite, dtype: DType, kind: &str, bound: f64) {
    suite.case(&format!("perceptron, not tracked{kind}"), bound, |place| {
        let place = Place { device: place.device.clone(), dtype };
        // Widths, rows, whether the layers before the last have biases.
        let shapes: [(&[usize], usize, bool); 5] = [
            (&[3, 64, 64, 2], 1, true),
            (&[3, 64, 64, 64, 64, 2], 1000, true),
            (&[2, 5], 37, false),
            (&[5, 128, 33, 7], 4099, true),
            (&[128, 1, 128], 9, false),
        ];
        let mut worst = 0.0f64;
        for (widths, rows, biased) in shapes {
            let x = place.round(&noise(1, rows * widths[0]));
            let mut expected = x.clone();
            let mut layers = Vec::new();
            for (l, pair) in widths.windows(2).enumerate() {
                let scale = (pair[0] as f64).sqrt().recip();
                let weight: Vec<f64> = noise(2 + l as u64, pair[0] * pair[1]).iter().map(|w| w * scale).collect();
                let (weight, bias) = (place.round(&weight), place.round(&noise(20 + l as u64, pair[1])));
                let bias = (biased || l + 2 == widths.len()).then_some(bias);
                expected = dense(&expected, pair[0], &weight, bias.as_deref(), l > 0);
                let bias = bias.map(|bias| place.tensor(&bias, [pair[1]]));
                layers.push((place.tensor(&weight, [pair[0], pair[1]]), bias));
            }
            let got = values(kernels::silu_chain(place.tensor(&x, [rows, widths[0]]), layers));
            worst = worst.max(error(&got, &expected));
        }
        Errors::forward(worst)
    });
}

fn lists(suite: &mut Suite, dtype: DType, kind: &str) {
    // More tensors than one launch takes, of sizes around those that a cube takes.
    let mut sizes: Vec<usize> = (0..55).map(|k| 1 + 37 * k % 300).collect();
    sizes.extend([2047, 2048, 2049, 5000, 40_000]);
    let all = |seed: usize| -> Vec<Vec<f64>> {
        sizes.iter().enumerate().map(|(k, &size)| noise((seed + k) as u64, size)).collect()
    };
    let tensors = |place: &Place, numbers: &[Vec<f64>]| -> Vec<Tensor<1>> {
        numbers.iter().map(|x| place.tensor(x, [x.len()])).collect()
    };
    suite.case(&format!("AdamW and average of 60 tensors{kind}"), 2e-6, |place| {
        let half = Place { device: place.device.clone(), dtype };
        let weights = all(0);
        let gradients = [all(100), all(200)].map(|all| all.iter().map(|x| half.round(x)).collect::<Vec<_>>());
        let zeros = |w: &Tensor<1>| w.zeros_like();
        let start = |w: Tensor<1>| (w.clone(), AdamWState { first: zeros(&w), second: zeros(&w), average: w });
        let mut held: Vec<_> = tensors(place, &weights).into_iter().map(start).collect();
        // What somebody else holds must stay as it is.
        let before: Vec<Tensor<1>> = held.iter().map(|(weights, _)| weights.clone()).collect();
        for (k, gradients) in gradients.iter().enumerate() {
            let all = held.into_iter().zip(tensors(&half, gradients)).map(|((w, state), g)| (w, g, state));
            held = kernels::adamw_all(all.collect(), &step(k as u64 + 1));
        }
        let mut worst = 0.0f64;
        for (k, ((new, state), before)) in held.into_iter().zip(before).enumerate() {
            let expected = two_steps(&weights[k], &[gradients[0][k].clone(), gradients[1][k].clone()]);
            let got = [new, state.first, state.second, state.average, before].map(values);
            for (got, expected) in got.iter().zip(expected.iter().chain([&weights[k]])) {
                worst = worst.max(error(got, expected));
            }
        }
        Errors::forward(worst)
    });
    suite.case(&format!("squares of 60 tensors{kind}"), 2e-6, |place| {
        let place = Place { device: place.device.clone(), dtype };
        let numbers: Vec<Vec<f64>> = all(0).iter().map(|x| place.round(x)).collect();
        let sums = kernels::sums_of_squares(tensors(&place, &numbers));
        let expected: f64 = numbers.iter().flatten().map(|x| x * x).sum();
        Errors::forward(error(&[values(sums).iter().sum()], &[expected]))
    });
    suite.case(&format!("casts of 60 tensors{kind}"), 0.0, |place| {
        let half = Place { device: place.device.clone(), dtype };
        let numbers = all(0);
        let there = kernels::casts(tensors(place, &numbers), dtype);
        let back = kernels::casts(there.clone(), DType::F32);
        let mut worst = 0.0f64;
        for ((there, back), numbers) in there.into_iter().zip(back).zip(&numbers) {
            assert_eq!((there.dtype(), back.dtype()), (dtype, DType::F32));
            let expected = half.round(numbers);
            worst = worst.max(error(&values(there), &expected)).max(error(&values(back), &expected));
        }
        Errors::forward(worst)
    });
}

/// `f(x) weight + bias` in plain numbers, `f` being SiLU or nothing.
fn dense(x: &[f64], from: usize, weight: &[f64], bias: Option<&[f64]>, silu: bool) -> Vec<f64> {
    let to = weight.len() / from;
    let rows = x.chunks(from).flat_map(|row| {
        let row: Vec<f64> = row.iter().map(|x| if silu { x / (1.0 + (-x).exp()) } else { *x }).collect();
        let column = |c: usize| -> f64 { row.iter().enumerate().map(|(k, x)| x * weight[k * to + c]).sum() };
        (0..to).map(|c| column(c) + bias.map_or(0.0, |bias| bias[c])).collect::<Vec<f64>>()
    });
    rows.collect()
}
