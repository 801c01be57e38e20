use crate::activation::LINEAR_UNITS;
use crate::check::{
    LAYOUTS, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise, on_one_and_three_threads,
    tensor, values,
};
use advect_kernels::{beside, columns, feed_forward, gelu_linear, gelu_tanh_linear, linear, silu_chain, silu_linear};
use burn::tensor::{DType, Device, Tensor};

/// Two batch axes, features in and out: edges of vectors, tiles and blocks in each direction; those with 40 rows and more in parallel, with gradients summed in several
/// pieces, that of 120 x 160 with a weight too large to stay in the cache.
const CASES: [[usize; 4]; 15] = [
    [1, 1, 1, 1],
    [1, 1, 7, 3],
    [2, 3, 1, 5],
    [3, 2, 33, 17],
    [4, 5, 16, 1],
    [1, 53, 64, 64],
    [1, 9, 31, 48],
    [3, 500, 40, 96],
    [2, 700, 128, 64],
    [2, 40, 120, 160],
    // Few columns, and rows that fill no group.
    [1, 5, 16, 1],
    [2, 11, 21, 2],
    [1, 37, 130, 3],
    [3, 9, 64, 4],
    [2, 170, 96, 5],
];

/// The layer, and the function that comes first.
#[derive(Clone, Copy)]
struct Layer {
    name: &'static str,
    ours: fn(Tensor<4>, Tensor<2>, Option<Tensor<1>>) -> Tensor<4>,
    function: fn(f64) -> f64,
}

fn layers() -> [Layer; 4] {
    let [silu, gelu, gelu_tanh] = LINEAR_UNITS;
    [
        Layer { name: "linear", ours: linear, function: |x| x },
        Layer { name: "silu_linear", ours: silu_linear, function: silu },
        Layer { name: "gelu_linear", ours: gelu_linear, function: gelu },
        Layer { name: "gelu_tanh_linear", ours: gelu_tanh_linear, function: gelu_tanh },
    ]
}

fn reference(f: fn(f64) -> f64, x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
    let (to, from) = (bias.len(), weight.len() / bias.len());
    let x: Vec<f64> = x.iter().map(|x| f(*x)).collect();
    x.chunks_exact(from)
        .flat_map(|x| {
            (0..to).map(|j| bias[j] + (0..from).map(|i| x[i] * weight[i * to + j]).sum::<f64>()).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn agrees_with_the_formula_and_its_gradients_with_differences_for_every_layout() {
    let device = Device::flex().autodiff();
    for Layer { name, ours, function } in layers() {
        for [a, b, from, to] in CASES {
            // Twice as far from 0 as the noise, so that the functions bend.
            let x: Vec<f64> = noise(a * b * from, 1).iter().map(|x| 2.0 * x).collect();
            let (weight, bias) = (noise(from * to, 2), noise(to, 3));
            let scale = 1.0 / (from as f64).sqrt();
            let weight: Vec<f64> = weight.iter().map(|w| w * scale).collect();
            let weights = noise(a * b * to, 4);
            let expected = reference(function, &x, &weight, &bias);
            let large = a * b > 100;
            let loss = |x: &[f64], weight: &[f64], bias: &[f64]| dot(&reference(function, x, weight, bias), &weights);
            let every = |len: usize| if large { 1 + len / 5 } else { 1 + len / 12 };
            let slopes = [
                differences(&x, every(x.len()), |x| loss(x, &weight, &bias)),
                differences(&weight, every(weight.len()), |weight| loss(&x, weight, &bias)),
                differences(&bias, every(bias.len()), |bias| loss(&x, &weight, bias)),
            ];
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-8)] {
                for layout in LAYOUTS {
                    // Rank 4, so that every layout of the tests applies.
                    let x = laid_out(&x, [1, a, b, from], dtype, layout, &device).require_grad();
                    let w = laid_out(&weight, [1, 1, from, to], dtype, layout, &device)
                        .reshape([from, to])
                        .detach()
                        .require_grad();
                    let bias = tensor(&bias, [to], dtype, &device).require_grad();
                    let y = ours(x.clone(), w.clone(), Some(bias.clone()));
                    assert_eq!((y.dims(), y.dtype()), ([1, a, b, to], dtype));
                    let what = format!("{name} {dtype:?} {layout:?} {a} {b} {from} {to}");
                    assert_close(&what, &values(y.clone()), &expected, tolerance);
                    let cotangent = laid_out(&weights, [1, a, b, to], dtype, layout, &device);
                    let gradients = (y * cotangent).sum().backward();
                    let found = [gradient(&x, &gradients), gradient(&w, &gradients), gradient(&bias, &gradients)];
                    for (name, (found, slopes)) in ["x", "weight", "bias"].into_iter().zip(found.iter().zip(&slopes)) {
                        assert_slopes(&format!("{name} {what}"), found, slopes, 10.0 * tolerance);
                    }
                }
            }
        }
    }
}

/// Those of a feed-forward part that are not asked for are not there, and leave the others as they are.
#[test]
fn a_feed_forward_part_has_the_gradients_that_are_asked_for() {
    let device = Device::flex().autodiff();
    for [rows, from, between, to] in [[7, 5, 33, 3], [300, 130, 140, 130]] {
        let x = tensor(&noise(rows * from, 1), [rows, from], DType::F32, &device);
        let weights = [(from, between), (between, to)]
            .map(|(from, to)| tensor(&noise(from * to, from as u64), [from, to], DType::F32, &device));
        let biases = [between, to].map(|to| tensor(&noise(to, to as u64), [to], DType::F32, &device));
        let slopes = |ask: usize| {
            let asked = |i: usize| ask >> i & 1 > 0;
            let x = if asked(0) { x.clone().require_grad() } else { x.clone() };
            let [up, down] =
                [0, 1].map(|i| if asked(i + 1) { weights[i].clone().require_grad() } else { weights[i].clone() });
            let [first, second] =
                [0, 1].map(|i| if asked(i + 3) { biases[i].clone().require_grad() } else { biases[i].clone() });
            let y = feed_forward(x.clone(), (up.clone(), Some(first.clone())), (down.clone(), Some(second.clone())));
            let gradients = (y.clone() * y).sum().backward();
            [
                x.grad(&gradients).map(values),
                up.grad(&gradients).map(values),
                down.grad(&gradients).map(values),
                first.grad(&gradients).map(values),
                second.grad(&gradients).map(values),
            ]
        };
        let all = slopes(31);
        for ask in 1..31 {
            for (i, (found, all)) in slopes(ask).iter().zip(&all).enumerate() {
                assert!(if ask >> i & 1 > 0 { found == all } else { found.is_none() }, "{rows} {from} {to} {ask} {i}");
            }
        }
    }
}

/// Which gradients are computed depends on who asks.
#[test]
fn each_gradient_is_the_same_whichever_others_are_asked_for() {
    let device = Device::flex().autodiff();
    for (rows, from, to) in [(70, 24, 40), (300, 130, 140)] {
        for Layer { ours, .. } in layers() {
            let x = tensor(&noise(rows * from, 1), [1, 1, rows, from], DType::F32, &device);
            let weight = tensor(&noise(from * to, 2), [from, to], DType::F32, &device);
            let bias = tensor(&noise(to, 3), [to], DType::F32, &device);
            let slopes = |ask: [bool; 3]| {
                let x = if ask[0] { x.clone().require_grad() } else { x.clone() };
                let weight = if ask[1] { weight.clone().require_grad() } else { weight.clone() };
                let bias = if ask[2] { bias.clone().require_grad() } else { bias.clone() };
                let y = ours(x.clone(), weight.clone(), Some(bias.clone()));
                let gradients = (y.clone() * y).sum().backward();
                [x.grad(&gradients).map(values), weight.grad(&gradients).map(values), bias.grad(&gradients).map(values)]
            };
            let all = slopes([true; 3]);
            for ask in 1..7 {
                let ask = [ask & 1 > 0, ask & 2 > 0, ask & 4 > 0];
                for ((found, all), asked) in slopes(ask).iter().zip(&all).zip(ask) {
                    assert!(if asked { found == all } else { found.is_none() }, "{rows} {from} {to} {ask:?}");
                }
            }
        }
    }
}

/// Rows, features in, between and out; with the function in the second layer, or behind the first.
#[test]
fn a_feed_forward_part_agrees_with_the_formula_and_its_gradients_with_differences() {
    let (device, gelu) = (Device::flex().autodiff(), LINEAR_UNITS[2]);
    for [rows, from, between, to] in [[1, 1, 1, 1], [7, 5, 33, 3], [60, 24, 200, 90], [300, 130, 140, 130]] {
        let scaled = |size: usize, seed: u64, of: usize| -> Vec<f64> {
            noise(size, seed).iter().map(|x| 2.0 * x / (of as f64).sqrt()).collect()
        };
        let given = [
            scaled(rows * from, 1, 1),
            scaled(from * between, 2, from),
            noise(between, 3),
            scaled(between * to, 4, between),
            noise(to, 5),
        ];
        let cotangent = noise(rows * to, 6);
        let formula = |x: &[&[f64]; 5]| reference(gelu, &reference(|x| x, x[0], x[1], x[2]), x[3], x[4]);
        let all = given.each_ref().map(Vec::as_slice);
        let expected = formula(&all);
        let slopes: Vec<_> = (0..5)
            .map(|i| {
                let loss = |x: &[f64]| {
                    let mut all = all;
                    all[i] = x;
                    dot(&formula(&all), &cotangent)
                };
                differences(&given[i], 1 + given[i].len() / 6, loss)
            })
            .collect();
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-8)] {
            let x = tensor(&given[0], [1, rows, from], dtype, &device).require_grad();
            let up = tensor(&given[1], [from, between], dtype, &device).require_grad();
            let down = tensor(&given[3], [between, to], dtype, &device).require_grad();
            let [first, second] =
                [(2, between), (4, to)].map(|(i, n)| tensor(&given[i], [n], dtype, &device).require_grad());
            let y = feed_forward(x.clone(), (up.clone(), Some(first.clone())), (down.clone(), Some(second.clone())));
            assert_eq!((y.dims(), y.dtype()), ([1, rows, to], dtype));
            let what = format!("{dtype:?} {rows} {from} {between} {to}");
            assert_close(&what, &values(y.clone()), &expected, tolerance);
            let gradients = (y * tensor(&cotangent, [1, rows, to], dtype, &device)).sum().backward();
            let found = [
                gradient(&x, &gradients),
                gradient(&up, &gradients),
                gradient(&first, &gradients),
                gradient(&down, &gradients),
                gradient(&second, &gradients),
            ];
            for (i, (found, slopes)) in found.iter().zip(&slopes).enumerate() {
                assert_slopes(&format!("{what}, input {i}"), found, slopes, 10.0 * tolerance);
            }
            // Without gradients it is the same.
            let inner = |x: Tensor<2>| x.inner();
            let plain = feed_forward(
                x.inner(),
                (inner(up.clone()), Some(first.inner())),
                (inner(down.clone()), Some(second.inner())),
            );
            assert_close(&what, &values(plain), &expected, tolerance);
        }
    }
}

/// A chain of layers is one after the other, tracked or not, small or large, with biases or without, for any number of rows.
#[test]
fn a_chain_is_its_layers() {
    let silu = LINEAR_UNITS[0];
    for widths in [
        &[3, 64, 64, 2][..],
        &[2, 64, 96, 64, 1],
        &[1, 1],
        &[5, 7],
        &[2, 100, 130, 3],
        &[4, 31, 33, 48, 16, 5],
        &[3, 200, 200, 1],
    ] {
        for rows in [1, 2, 47, 200, 1000] {
            let x: Vec<f64> = noise(rows * widths[0], 1).iter().map(|x| 2.0 * x).collect();
            let layers: Vec<_> = widths
                .windows(2)
                .enumerate()
                .map(|(i, w)| {
                    let scale = 2.0 / (w[0] as f64).sqrt();
                    let weight: Vec<f64> = noise(w[0] * w[1], 10 + i as u64).iter().map(|v| v * scale).collect();
                    (weight, if i == 1 { vec![0.0; w[1]] } else { noise(w[1], 20 + i as u64) })
                })
                .collect();
            let mut expected = x.clone();
            for (i, (weight, bias)) in layers.iter().enumerate() {
                expected = reference(if i == 0 { |x| x } else { silu }, &expected, weight, bias);
            }
            for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
                for device in [Device::flex(), Device::flex().autodiff()] {
                    let tensors = layers.iter().zip(widths.windows(2)).enumerate();
                    let tensors = tensors.map(|(i, ((weight, bias), w))| {
                        let weight: Tensor<2> = tensor(weight, [w[0], w[1]], dtype, &device);
                        (weight, (i != 1).then(|| tensor(bias, [w[1]], dtype, &device)))
                    });
                    let y = silu_chain(tensor(&x, [rows, widths[0]], dtype, &device), tensors.collect());
                    assert_eq!(y.dims(), [rows, widths[widths.len() - 1]]);
                    assert_close(&format!("{widths:?} {rows} {dtype:?}"), &values(y), &expected, tolerance);
                }
            }
        }
    }
}

/// A row of a small layer does not depend on how many there are, to the last bit.
#[test]
fn a_row_of_a_small_layer_does_not_depend_on_the_others() {
    let device = Device::flex();
    let (from, to) = (50, 70);
    let x = noise(400 * from, 1);
    let weight = tensor(&noise(from * to, 2), [from, to], DType::F32, &device);
    let bias = tensor(&noise(to, 3), [to], DType::F32, &device);
    let rows = |x: &[f64]| {
        let x = tensor(x, [x.len() / from, from], DType::F32, &device);
        values(silu_linear(x, weight.clone(), Some(bias.clone())))
    };
    let all = rows(&x);
    for count in [1, 2, 5, 13, 60, 399] {
        assert!(rows(&x[from..(1 + count) * from]) == all[to..(1 + count) * to], "{count} rows");
    }
}

/// Widths that the matrix units of some processors take, with rows that fill no block: numbers that are not finite go their own way there, and leave the other rows
/// as they were, to the last bit; so do other rows, and other threads.
#[test]
fn a_row_of_a_chain_does_not_depend_on_the_others() {
    let device = Device::flex();
    let widths = [5, 64, 96, 64, 3];
    let layers = |odd: f64| -> Vec<(Tensor<2>, Option<Tensor<1>>)> {
        let layer = |(i, w): (usize, &[usize])| {
            let mut weight = noise(w[0] * w[1], 10 + i as u64);
            weight.iter_mut().for_each(|v| *v *= 2.0 / (w[0] as f64).sqrt());
            if i == 2 {
                weight[70] += odd;
            }
            let bias = noise(w[1], 20 + i as u64);
            (tensor(&weight, [w[0], w[1]], DType::F32, &device), Some(tensor(&bias, [w[1]], DType::F32, &device)))
        };
        widths.windows(2).enumerate().map(layer).collect()
    };
    let chain = |x: &[f64], odd: f64| values(silu_chain(tensor(x, [x.len() / 5, 5], DType::F32, &device), layers(odd)));
    let (rows, to) = (333, 3);
    let x = noise(rows * 5, 1);
    let plain = chain(&x, 0.0);
    assert!(plain.iter().all(|y| y.is_finite()));
    for (first, count) in [(0, 160), (7, 300), (100, 233)] {
        assert!(
            chain(&x[first * 5..][..count * 5], 0.0) == plain[first * to..][..count * to],
            "{count} from {first} on"
        );
    }
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut x = x.clone();
        for row in [33, 34, 332] {
            x[row * 5 + 2] = odd;
        }
        for (i, (y, plain)) in chain(&x, 0.0).iter().zip(&plain).enumerate() {
            assert!(
                if [33, 34, 332].contains(&(i / to)) { !y.is_finite() } else { y == plain },
                "{odd} {i}: {y} and {plain}"
            );
        }
        // A weight that is not finite is one for all rows; before it lies a SiLU, whose value is not 0.
        assert!(chain(&x, odd).iter().all(|y| y.is_nan() || y.is_infinite()), "{odd}");
    }
    // Where all weights are above 0, so is what an infinity becomes: without parts of it, which would be no numbers.
    let positive = |from: usize, to: usize, odd: f64| {
        let mut weight: Vec<f64> = noise(from * to, 3).iter().map(|w| 0.01 + w.abs()).collect();
        weight[5 * to + 9] += odd;
        (tensor(&weight, [from, to], DType::F32, &device), None)
    };
    // Of a small layer and, in the last case, of a large one, where the product has the activation inside.
    for [from, width] in [[64, 64], [64, 300]] {
        let through = |x: &[f64], odd: f64| {
            let layers = vec![positive(from, width, 0.0), positive(width, 160, odd)];
            values(silu_chain(tensor(x, [rows, from], DType::F32, &device), layers))
        };
        let mut x: Vec<f64> = noise(rows * from, 4).iter().map(|x| x.abs()).collect();
        for (i, y) in through(&x, f64::INFINITY).into_iter().enumerate() {
            assert!(if i % 160 == 9 { y == f64::INFINITY } else { y.is_finite() }, "{i}: {y}");
        }
        x[200 * from + 17] = f64::INFINITY;
        for (i, y) in through(&x, 0.0).into_iter().enumerate() {
            assert!(if i / 160 == 200 { y == f64::INFINITY } else { y.is_finite() }, "{i}: {y}");
        }
    }

    let [one, three] = on_one_and_three_threads(|| chain(&x, 0.0));
    assert!(one == three && one == plain);
}

/// Large enough for the matrix units of processors that have them, with edges in each direction, and a depth that takes several passes in each of the three
/// products, and in the last case more than are packed at a time.
#[test]
fn large_products_are_as_good_as_sums_of_f32_products() {
    let device = Device::flex().autodiff();
    let large = [[300, 400, 210], [1700, 210, 250], [260, 1601, 190], [200, 230, 900], [6200, 90, 190]];
    // And few rows with weights too large for small networks, with edges too.
    let few =
        [[5, 150, 203], [1, 700, 430], [3, 301, 290], [7, 290, 301], [19, 610, 333], [20, 130, 1040], [45, 260, 301]];
    for [rows, from, to] in large.into_iter().chain(few) {
        let (x, weight, bias) = (noise(rows * from, 1), noise(from * to, 2), noise(to, 3));
        let weights = noise(rows * to, 4);
        let single = |values: &[f64]| values.iter().map(|v| f64::from(*v as f32)).collect::<Vec<_>>();
        let (x, weight, bias, weights) = (single(&x), single(&weight), single(&bias), single(&weights));
        let track = |values: &[f64], shape: [usize; 2]| tensor(values, shape, DType::F32, &device).require_grad();
        let (tx, tw) = (track(&x, [rows, from]), track(&weight, [from, to]));
        let tb = tensor(&bias, [to], DType::F32, &device).require_grad();
        let y = linear(tx.clone(), tw.clone(), Some(tb.clone()));
        let found = values(y.clone());
        let gradients = (y * tensor(&weights, [rows, to], DType::F32, &device)).sum().backward();
        let (dx, dw, db) = (gradient(&tx, &gradients), gradient(&tw, &gradients), gradient(&tb, &gradients));

        // A sum of n products of f32 is off by some 6e-8 sqrt(n) of the root of the sum of their squares.
        let check = |what: &str, found: f64, terms: &mut dyn Iterator<Item = f64>| {
            let (sum, squares, count) = terms.fold((0.0, 0.0, 0.0), |(s, q, n), v| (s + v, q + v * v, n + 1.0));
            let error = (found - sum).abs() / f64::sqrt(squares);
            assert!(error < 2e-7 * f64::sqrt(count), "{what} of {rows} x {from} x {to}: {error:e}");
        };
        for i in (0..rows).step_by(if rows < 50 { 1 } else { 7 }).chain([rows - 1]) {
            for j in (0..to).step_by(11).chain([to - 1]) {
                let mut terms = (0..from).map(|d| x[i * from + d] * weight[d * to + j]).chain([bias[j]]);
                check("y", found[i * to + j], &mut terms);
            }
            for d in (0..from).step_by(23).chain([from - 1]) {
                let mut terms = (0..to).map(|j| weights[i * to + j] * weight[d * to + j]);
                check("dx", dx[i * from + d], &mut terms);
            }
        }
        for d in (0..from).step_by(29).chain([from - 1]) {
            for j in (0..to).step_by(13).chain([to - 1]) {
                check("dw", dw[d * to + j], &mut (0..rows).map(|i| x[i * from + d] * weights[i * to + j]));
            }
        }
        check("db", db[to - 1], &mut (0..rows).map(|i| weights[i * to + to - 1]));
    }
}

#[test]
fn large_products_with_infinities_are_those_of_floats() {
    let device = Device::flex();
    let (rows, from, to) = (256, 256, 256);
    let weight = tensor(&noise(from * to, 2), [from, to], DType::F32, &device);
    let bias = tensor(&noise(to, 3), [to], DType::F32, &device);
    // Two places, which lie in different halves of a vector of parts.
    let odd_ones = [f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 3e38, 1e-42];
    for (odd, at) in odd_ones.into_iter().flat_map(|odd| [(odd, 5), (odd, 21)]) {
        let mut x = noise(rows * from, 1);
        let plain = values(linear(tensor(&x, [rows, from], DType::F32, &device), weight.clone(), Some(bias.clone())));
        x[77 * from + at] = odd;
        let y = values(linear(tensor(&x, [rows, from], DType::F32, &device), weight.clone(), Some(bias.clone())));
        let w = values(weight.clone());
        for (i, (y, plain)) in y.iter().zip(&plain).enumerate() {
            let expected = f64::from((odd * w[at * to + i % to]) as f32);
            if i / to != 77 {
                // The other rows are finite, whichever way they went.
                assert!((y - plain).abs() < 1e-4, "{odd} at {i}: {y} and {plain}");
            } else if odd.is_nan() {
                assert!(y.is_nan());
            } else if odd.abs() > 1e38 {
                assert!(
                    *y == expected || (y - expected).abs() < 1e-5 * expected.abs(),
                    "{odd} at {i}: {y} and {expected}"
                );
            }
        }
    }
}

#[test]
fn a_row_of_a_narrow_layer_does_not_touch_its_neighbours() {
    let device = Device::flex();
    for (from, to) in [(21, 2), (33, 1), (64, 3)] {
        let weight = tensor(&noise(from * to, 2), [from, to], DType::F32, &device);
        let mut x = noise(5 * from, 1);
        x[2 * from..3 * from].fill(f64::NAN);
        let y = values(linear(tensor(&x, [5, from], DType::F32, &device), weight, None));
        let odd: Vec<usize> = (0..y.len()).filter(|i| y[*i].is_nan()).collect();
        assert_eq!(odd, (2 * to..3 * to).collect::<Vec<_>>(), "{from} to {to}");
    }
}

#[test]
fn without_bias_it_is_the_product() {
    let device = Device::flex();
    let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
    let weight = Tensor::<2>::from_floats([[3.0, -1.0, 0.5], [4.0, 0.0, -2.0]], &device);
    assert_eq!(values(linear(x, weight, None)), [11.0, -1.0, -3.5]);
}

#[test]
fn gives_the_same_bits_on_one_thread_and_on_three() {
    let run = || {
        let device = Device::flex().autodiff();
        let x = tensor(&noise(3000 * 96, 1), [3000, 96], DType::F32, &device).require_grad();
        let weight = tensor(&noise(96 * 200, 2), [96, 200], DType::F32, &device).require_grad();
        let bias = tensor(&noise(200, 3), [200], DType::F32, &device).require_grad();
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()));
        let gradients = (y.clone() * y.clone()).sum().backward();
        let large = [values(y), gradient(&x, &gradients), gradient(&weight, &gradients), gradient(&bias, &gradients)];
        let y = silu_linear(x.clone(), weight.clone().narrow(1, 0, 100), Some(bias.clone().narrow(0, 0, 100)));
        let gradients = (y.clone() * y.clone()).sum().backward();
        let small = [values(y), gradient(&x, &gradients), gradient(&weight, &gradients), gradient(&bias, &gradients)];
        [large, small]
    };
    let [one, three] = on_one_and_three_threads(run);
    assert!(one == three);
}

/// One to nine rows, of the input or, where there are as few features, of the weight's gradient: a weight that one thread reads, and those that all do; edges of
/// the vectors and of the strips that the threads take.
#[test]
fn few_rows_times_a_large_weight_are_the_formula_on_one_thread_and_on_three() {
    let run = || {
        let device = Device::flex().autodiff();
        let mut all = Vec::new();
        for [from, to] in [[130, 150], [257, 300], [64, 1027], [517, 128]] {
            for few in 1..=9 {
                let (x, weight, bias) = (noise(few * from, 1), noise(from * to, 2), noise(to, 3));
                let scale = 1.0 / (from as f64).sqrt();
                let weight: Vec<f64> = weight.iter().map(|w| w * scale).collect();
                let [x_, weight_] = [(&x, [few, from]), (&weight, [from, to])]
                    .map(|(values, shape)| tensor(values, shape, DType::F32, &device));
                let what = format!("{few} rows, {from} to {to}");
                let y = values(linear(x_.clone(), weight_.clone(), Some(tensor(&bias, [to], DType::F32, &device))));
                assert_close(&what, &y, &reference(|x| x, &x, &weight, &bias), 1e-5);
                let plain = values(linear(x_, weight_.clone(), None));
                assert_close(&what, &plain, &reference(|x| x, &x, &weight, &vec![0.0; to]), 1e-5);
                all.extend([y, plain]);
                // x^T g of a layer from as few features: `few` rows of a product.
                let (rows, wide) = (37, 16_384 / few + to);
                let narrow = tensor(&noise(few * wide, 4), [few, wide], DType::F32, &device).require_grad();
                let (x, cotangent) = (noise(rows * few, 6), noise(rows * wide, 5));
                let y = linear(tensor(&x, [rows, few], DType::F32, &device), narrow.clone(), None);
                let loss = (y * tensor(&cotangent, [rows, wide], DType::F32, &device)).sum();
                let turned: Vec<f64> = (0..few * rows).map(|i| x[i % rows * few + i / rows]).collect();
                let expected = reference(|x| x, &turned, &cotangent, &vec![0.0; wide]);
                let found = gradient(&narrow, &loss.backward());
                assert_close(&format!("gradient of {what}"), &found, &expected, 1e-5);
                all.push(found);
            }
        }
        all
    };
    let [one, three] = on_one_and_three_threads(run);
    assert!(one == three);
}

#[test]
fn an_empty_batch_has_gradients_of_zero() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F32, DType::F64] {
        let x = Tensor::<3>::zeros([0, 5, 4], (&device, dtype)).require_grad();
        let weight = Tensor::<2>::ones([4, 3], (&device, dtype)).require_grad();
        let bias = Tensor::<1>::ones([3], (&device, dtype)).require_grad();
        let y = linear(x.clone(), weight.clone(), Some(bias.clone()));
        assert_eq!(y.dims(), [0, 5, 3]);
        let gradients = y.sum().backward();
        assert_eq!(gradient(&weight, &gradients), [0.0; 12]);
        assert_eq!(gradient(&bias, &gradients), [0.0; 3]);
        assert_eq!(gradient(&x, &gradients), [0.0; 0]);
    }
}

#[test]
#[should_panic(expected = "rows of 5 features do not fit a weight of 4 x 3")]
fn refuses_rows_of_another_size() {
    let device = Device::flex();
    let _ = linear(Tensor::<2>::zeros([2, 5], &device), Tensor::zeros([4, 3], &device), None);
}

#[test]
fn columns_stand_beside_each_other_and_their_gradients_part() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F32, DType::F64] {
        for (rows, m, n) in [
            (0, 2, 1),
            (3, 0, 2),
            (3, 2, 0),
            (1, 1, 1),
            (5, 2, 1),
            (33, 3, 13),
            (20, 9, 8),
            (7000, 5, 6),
            (1000, 60, 7),
        ] {
            let (x, y) = (noise(rows * m, 1), noise(rows * n, 2));
            // The second is a view of its transpose.
            let (first, turned) = (
                tensor::<2>(&x, [rows, m], dtype, &device).require_grad(),
                tensor::<2>(&y, [n, rows], dtype, &device).require_grad(),
            );
            let joined = beside(first.clone(), turned.clone().transpose());
            let at = |i: usize| {
                let (row, column) = (i / (m + n), i % (m + n));
                if column < m { x[row * m + column] } else { y[(column - m) * rows + row] }
            };
            let expected: Vec<f64> = (0..rows * (m + n)).map(at).collect();
            assert_eq!(values(joined.clone()), expected, "{dtype:?} [{rows}, {m} + {n}]");
            let weights = noise(rows * (m + n), 3);
            let gradients = (joined * tensor::<2>(&weights, [rows, m + n], dtype, &device)).sum().backward();
            let dx: Vec<f64> = (0..rows * m).map(|i| weights[i / m * (m + n) + i % m]).collect();
            assert_eq!(gradient(&first, &gradients), dx);
            let dy: Vec<f64> = (0..rows * n).map(|i| weights[i % rows * (m + n) + m + i / rows]).collect();
            assert_eq!(gradient(&turned, &gradients), dy);
        }
    }
}

#[test]
#[should_panic(expected = "[2, 3] and [4, 1] do not stand beside each other")]
fn columns_of_other_rows_are_refused() {
    let device = Device::flex();
    let _ = beside(Tensor::zeros([2, 3], &device), Tensor::zeros([4, 1], &device));
}

#[test]
fn columns_are_apart_and_their_gradients_side_by_side() {
    let device = Device::flex().autodiff();
    for (rows, parts, wide) in [(1, 1, 3), (2, 2, 1), (5, 3, 4), (3, 6, 8), (4, 9, 2)] {
        for layout in LAYOUTS {
            let numbers = noise(rows * parts * wide, 5);
            let x = laid_out(&numbers, [rows, 1, 1, parts * wide], DType::F64, layout, &device).require_grad();
            let taken = columns(x.clone().reshape([rows, parts * wide]), parts);
            let column = |i: usize, r: usize, j: usize| numbers[(r * parts + i) * wide + j];
            let mut slopes = vec![0.0; numbers.len()];
            let mut loss: Tensor<1> = Tensor::zeros([1], (&device, DType::F64));
            for (i, part) in taken.iter().enumerate() {
                assert_eq!(part.dims(), [rows, wide]);
                let expected: Vec<f64> = (0..rows * wide).map(|at| column(i, at / wide, at % wide)).collect();
                assert_close("a part", &values(part.clone()), &expected, 1e-12);
                // Every third part is not used, every other one twice, with a factor of its own.
                let factor = (i + 1) as f64;
                if i % 3 == 2 {
                    continue;
                }
                loss = loss + (part.clone() * part.clone()).sum() * factor;
                let again = if i % 2 == 0 { 7.0 } else { 0.0 };
                if again > 0.0 {
                    loss = loss + part.clone().sum() * again;
                }
                for at in 0..rows * wide {
                    let (r, j) = (at / wide, at % wide);
                    slopes[(r * parts + i) * wide + j] = 2.0 * factor * column(i, r, j) + again;
                }
            }
            // And the matrix elsewhere.
            loss = loss + x.clone().sum() * 0.5;
            let mut gradients = loss.backward();
            let slopes: Vec<f64> = slopes.iter().map(|slope| slope + 0.5).collect();
            assert_close("the gradient", &values(x.grad_remove(&mut gradients).unwrap()), &slopes, 1e-12);
        }
    }
    // Without gradients, and where no part is used.
    let x = tensor(&noise(12, 1), [2, 6], DType::F32, &Device::flex());
    assert_eq!(values(columns(x.clone(), 3).pop().unwrap()), values(x.clone().narrow(1, 4, 2)));
    let x = tensor(&noise(12, 1), [2, 6], DType::F32, &device).require_grad();
    let unused = columns(x.clone(), 3);
    let mut gradients = x.clone().sum().backward();
    assert_eq!(values(x.grad_remove(&mut gradients).unwrap()), [1.0; 12]);
    drop(unused);
}

#[test]
#[should_panic(expected = "7 columns cannot be taken apart into 2 evenly")]
fn columns_that_do_not_divide_are_refused() {
    columns(Tensor::zeros([3, 7], &Device::flex()), 2);
}
