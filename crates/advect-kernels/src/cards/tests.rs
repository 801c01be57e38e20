//! Rows with gaps between them, as CUDA lays matrices out; other backends never do, so that no other test sees any.
use super::*;
use burn::tensor::TensorData;
use cubecl::zspace::metadata::Metadata;

fn device() -> CubeDevice {
    CubeDevice::default()
}

fn tensor(data: Vec<f32>, shape: &[usize]) -> CubeTensor {
    <Bare as FloatTensorOps<Bare>>::float_from_data(TensorData::new(data, shape.to_vec()), &device())
}

/// Numbers without a pattern, the same for a seed.
fn numbers(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729 + i * i * 31) % 1009) as f32 / 500.0 - 1.0).collect()
}

/// A tensor, and the same with so many numbers that are none behind each row.
fn both(seed: usize, shape: &[usize], gap: usize) -> [CubeTensor; 2] {
    let (rows, columns) = (shape[..shape.len() - 1].iter().product::<usize>(), shape[shape.len() - 1]);
    let data = numbers(seed, rows * columns);
    let mut wide = vec![f32::NAN; rows * (columns + gap)];
    for (wide, row) in wide.chunks_mut(columns + gap).zip(data.chunks(columns)) {
        wide[..columns].copy_from_slice(row);
    }
    let CubeTensor { client, handle, device, dtype, .. } = tensor(wide, &[rows * (columns + gap)]);
    let mut strides = vec![1; shape.len()];
    let mut stride = columns + gap;
    for axis in (0..shape.len() - 1).rev() {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let meta = Metadata::new(Shape::from(shape.to_vec()), strides);
    [tensor(data, shape), CubeTensor::new(client, handle, meta, device, dtype)]
}

fn read(x: &CubeTensor) -> Vec<f32> {
    let x = into_contiguous(x.clone());
    let count = x.meta.shape().num_elements();
    let bytes = x.client.read_one_unchecked(x.handle);
    bytes.chunks_exact(4).take(count).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// That a kernel gives the same bits for inputs with gaps.
fn same_with_gaps<const N: usize>(shapes: [(&[usize], usize); N], kernel: impl Fn([CubeTensor; N]) -> Vec<CubeTensor>) {
    let mut seed = 0;
    let inputs = shapes.map(|(shape, gap)| {
        seed += 1;
        both(seed, shape, gap)
    });
    let [dense, spaced] = [0, 1].map(|k| kernel(inputs.each_ref().map(|both| both[k].clone())));
    assert_eq!(dense.len(), spaced.len());
    for (i, (dense, spaced)) in dense.iter().zip(&spaced).enumerate() {
        let (dense, spaced) = (read(dense), read(spaced));
        assert!(dense.iter().all(|x| x.is_finite()), "output {i}: {dense:?}");
        assert_eq!(dense, spaced, "output {i}");
    }
}

#[test]
fn a_layout_with_gaps_is_seen_and_others_are_not() {
    let even = |shape: &[usize], strides: &[usize]| {
        let CubeTensor { client, handle, device, dtype, .. } = tensor(vec![0.0; 64], &[64]);
        let meta = Metadata::new(Shape::from(shape.to_vec()), strides.to_vec());
        evenly_spaced(&CubeTensor::new(client, handle, meta, device, dtype))
    };
    assert!(even(&[4, 3], &[3, 1]) && even(&[4, 3], &[8, 1]) && even(&[2, 4, 3], &[20, 5, 1]));
    assert!(even(&[1, 4, 3], &[7, 5, 1]) && even(&[4, 1], &[1, 7]) && even(&[5], &[1]));
    // Transposed, permuted, repeated, every other number.
    assert!(!even(&[4, 3], &[1, 4]) && !even(&[2, 4, 3], &[3, 6, 1]) && !even(&[4, 3], &[0, 1]));
    assert!(!even(&[2, 4, 3], &[21, 5, 1]) && !even(&[4, 3], &[6, 2]));
}

#[test]
fn kernels_read_rows_with_gaps() {
    let options = RowOptions { epsilon: 1e-5, plus_one: true };
    let x: &[usize] = &[2, 9, 37];
    same_with_gaps([(x, 3), (&[2, 37], 5), (&[2, 37], 1)], |[x, scale, shift]| {
        vec![row_norm::forward(x, scale, shift, options)]
    });
    same_with_gaps([(x, 3), (&[2, 37], 5), (x, 2)], |[x, scale, gradient]| {
        let (dx, d_scale, d_shift) = row_norm::backward(x, scale, gradient, options);
        vec![dx, d_scale, d_shift]
    });
    same_with_gaps([(&[2, 37], 5), (x, 3), (x, 2)], |[gate, y, gradient]| {
        let (d_gate, dy) = gate::backward(gate, y, gradient);
        vec![d_gate, dy]
    });
    same_with_gaps([(&[5000, 37], 3)], |[x]| vec![row_sum::forward(x, DType::F32)]);
    // The same in vectors of four, with several blocks of features and parts of the rows.
    let x: &[usize] = &[2, 150, 136];
    same_with_gaps([(x, 8), (&[2, 136], 4), (&[2, 136], 12)], |[x, scale, shift]| {
        vec![row_norm::forward(x, scale, shift, options)]
    });
    same_with_gaps([(x, 8), (&[2, 136], 4), (x, 12)], |[x, scale, gradient]| {
        let (dx, d_scale, d_shift) = row_norm::backward(x, scale, gradient, options);
        vec![dx, d_scale, d_shift]
    });
    same_with_gaps([(&[2, 136], 4), (x, 8), (x, 12)], |[gate, y, gradient]| {
        let (d_gate, dy) = gate::backward(gate, y, gradient);
        vec![d_gate, dy]
    });
    same_with_gaps([(&[5000, 136], 8)], |[x]| vec![row_sum::forward(x, DType::F32)]);
    same_with_gaps([(&[2, 3, 5, 37], 3)], |[x]| vec![softmax::softmax(x)]);
    same_with_gaps([(&[2, 3, 5, 37], 3), (&[2, 3, 5, 37], 4)], |[scores, slopes]| {
        let (weights, slopes) = softmax::weights_and_slopes(scores, slopes);
        vec![weights, slopes]
    });
    same_with_gaps([(&[2, 5, 3 * 2 * 7], 3)], |[x]| heads::split::<3>(x, 2, 0.5).into());
    same_with_gaps([(&[2, 3, 5, 7], 1), (&[2, 3, 5, 7], 2), (&[2, 3, 5, 7], 3)], |parts| vec![heads::join(parts, 0.5)]);
    same_with_gaps([(&[9, 3], 5), (&[3, 10], 1), (&[10, 2], 6)], |[x, first, second]| {
        vec![chain::forward(x, vec![first, second], vec![None, None])]
    });
}

/// A tensor, and the same in memory that goes on behind it with numbers that are none.
fn with_rest(seed: usize, count: usize, rest: usize) -> [CubeTensor; 2] {
    let data = numbers(seed, count);
    let longer = data.iter().copied().chain(std::iter::repeat_n(f32::NAN, rest)).collect();
    let CubeTensor { client, handle, device, dtype, .. } = tensor(longer, &[count + rest]);
    [tensor(data, &[count]), CubeTensor::new(client, handle, Metadata::new(Shape::new([count]), [1]), device, dtype)]
}

#[test]
fn kernels_of_many_tensors_stop_at_their_ends() {
    let step = AdamW {
        rate: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-3,
        weight_decay: 0.1,
        step: 3,
        gradient_factor: 0.5,
        follow: 0.25,
    };
    let sizes = [2, 70, 2048, 2050, 40_000];
    // The moments are squares, which numbers are not: no root of a negative one.
    let inputs = |k: usize| -> Vec<CubeTensor> {
        let of = |i: usize, part: usize| {
            let both = with_rest(5 * i + part, sizes[i], 3 + 17 * part);
            if part == 3 { positive(&both[k]) } else { both[k].clone() }
        };
        (0..sizes.len()).flat_map(|i| (0..5).map(move |part| (i, part))).map(|(i, part)| of(i, part)).collect()
    };
    let [dense, longer] = [0, 1].map(|k| many::launch_adamw(inputs(k), &step));
    assert_eq!((dense.len(), longer.len()), (20, 20));
    for (dense, longer) in dense.iter().zip(&longer) {
        let dense = read(dense);
        assert!(dense.iter().all(|x| x.is_finite()));
        assert_eq!(dense, read(longer));
    }
    let all = |k: usize| -> Vec<CubeTensor> {
        sizes.iter().enumerate().map(|(i, &size)| with_rest(i, size, 7)[k].clone()).collect()
    };
    let [dense, longer] = [0, 1].map(|k| read(&many::launch_squares(all(k))));
    assert_eq!(dense, longer);
    let squares: f64 = sizes.iter().enumerate().flat_map(|(i, &n)| numbers(i, n)).map(|x| f64::from(x).powi(2)).sum();
    let sum: f64 = dense.iter().map(|&x| f64::from(x)).sum();
    assert!((sum / squares - 1.0).abs() < 1e-5, "{sum} for {squares}");
    let same = many::launch_casts(all(1), DType::F32);
    for (i, (same, &size)) in same.iter().zip(&sizes).enumerate() {
        assert_eq!(read(same), numbers(i, size));
    }
}

/// The squares of a tensor's numbers, in memory as long as its own.
fn positive(x: &CubeTensor) -> CubeTensor {
    let squares: Vec<f32> = read(x).iter().map(|x| x * x).collect();
    let CubeTensor { client, handle, device, dtype, .. } = tensor(squares.clone(), &[squares.len()]);
    CubeTensor::new(client, handle, Metadata::new(Shape::new([squares.len()]), [1]), device, dtype)
}

#[test]
fn no_part_of_a_sum_is_left_unwritten() {
    // 66,049 rows make 257 parts of 257 rows where 258 were wished for.
    for [rows, columns] in [[1, 3], [2048, 5], [2049, 5], [66_049, 2], [140_000, 64], [150_000, 2]] {
        let data = numbers(rows, rows * columns);
        let mut sums = vec![0.0f64; columns];
        for row in data.chunks(columns) {
            for (sum, x) in sums.iter_mut().zip(row) {
                *sum += f64::from(*x);
            }
        }
        let got = read(&row_sum::forward(tensor(data, &[rows, columns]), DType::F32));
        for (got, sum) in got.iter().zip(&sums) {
            assert!((f64::from(*got) - sum).abs() < 1e-6 * rows as f64, "{rows} x {columns}: {got} for {sum}");
        }
    }
}

#[test]
fn a_chain_longer_than_a_launch_is_cut() {
    // More layers than a launch has buffers for: forty of three numbers.
    let x = tensor(numbers(1, 15), &[5, 3]);
    let weights: Vec<CubeTensor> = (0..60).map(|l| tensor(numbers(l + 2, 9), &[3, 3])).collect();
    let whole = read(&chain::forward(x.clone(), weights.clone(), vec![None; 60]));
    let mut expected: Vec<f64> = read(&x).into_iter().map(f64::from).collect();
    for (l, weight) in weights.iter().enumerate() {
        let weight = read(weight);
        let row = |row: &[f64]| -> Vec<f64> {
            let f = |x: &f64| if l > 0 { x / (1.0 + (-x).exp()) } else { *x };
            (0..3).map(|c| (0..3).map(|k| f(&row[k]) * f64::from(weight[3 * k + c])).sum()).collect()
        };
        expected = expected.chunks(3).flat_map(row).collect();
    }
    let largest = expected.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    for (got, expected) in whole.iter().zip(&expected) {
        assert!((f64::from(*got) - expected).abs() < 1e-4 * largest, "{got} for {expected}");
    }
}

#[test]
fn attention_does_not_depend_on_how_it_is_cut() {
    // Of 100 scores at once: two entries, one, some queries of one.
    for [batch, heads, tokens, size] in [[5, 2, 5, 3], [3, 2, 7, 3], [2, 2, 20, 3]] {
        let shape = [batch, heads, tokens, size];
        let inputs = [1, 2, 3].map(|seed| numbers(seed, shape.iter().product()));
        let tensors = inputs.clone().map(|data| {
            let data = TensorData::new(data, shape.to_vec());
            <Cube as FloatTensorOps<Cube>>::float_from_data(data, &device())
        });
        let [q, k, v] = tensors;
        let y = burn::tensor::read_sync(<Cube as FloatTensorOps<Cube>>::float_into_data(attention(q, k, v))).unwrap();
        let y: Vec<f32> = y.try_to_vec().unwrap();
        let at = |input: usize, row: usize, i: usize| f64::from(inputs[input][row * size + i]);
        for row in 0..batch * heads * tokens {
            let first = row / tokens * tokens;
            let score =
                |key: usize| (0..size).map(|i| at(0, row, i) * at(1, key, i)).sum::<f64>() / (size as f64).sqrt();
            let weights: Vec<f64> = (first..first + tokens).map(|key| score(key).exp()).collect();
            let total: f64 = weights.iter().sum();
            for i in 0..size {
                let expected: f64 = (0..tokens).map(|t| weights[t] / total * at(2, first + t, i)).sum();
                let got = f64::from(y[row * size + i]);
                assert!((got - expected).abs() < 1e-5, "{shape:?}, row {row}: {got} for {expected}");
            }
        }
    }
}

/// Images, and the same with their channels side by side, and so many numbers that are none behind each pixel.
fn both_orders(seed: usize, [images, channels, height, width]: [usize; 4], gap: usize) -> [CubeTensor; 2] {
    let [_, spaced] = both(seed, &[images, height, width, channels], gap);
    let last = burn_cubecl::ops::permute_nhwc_to_nchw(spaced);
    [into_contiguous(last.clone()), last]
}

fn close(what: &str, expected: &CubeTensor, found: &CubeTensor) {
    assert_eq!(expected.meta.shape(), found.meta.shape(), "{what}");
    let (expected, found) = (read(expected), read(found));
    let size = expected.iter().fold(1.0_f32, |size, x| size.max(x.abs()));
    for (i, (e, f)) in expected.iter().zip(&found).enumerate() {
        assert!((e - f).abs() <= 2e-6 * size, "{what}: element {i} is {f}, not {e}, of up to {size}");
    }
}

#[test]
fn a_group_norm_is_the_same_in_both_orders_and_leaves_the_order() {
    // Groups of one and of many channels, several and one of them for a cube, fewer pixels than units for a channel, and rows of one pixel.
    let cases = [
        ([2, 8, 5, 7], 4, 3),
        ([3, 6, 1, 5], 6, 1),
        ([2, 96, 4, 4], 32, 0),
        ([1, 128, 9, 3], 32, 128),
        ([2, 80, 3, 5], 2, 5),
        ([2, 256, 2, 2], 1, 0),
        ([2, 24, 33, 1], 8, 2),
    ];
    for (index, (shape, groups, gap)) in cases.into_iter().enumerate() {
        for (each, silu) in [(false, false), (true, true)] {
            let options = NormOptions { groups, epsilon: 1e-5, silu };
            let [images, channels, ..] = shape;
            let parameter = |seed| tensor(numbers(seed, images * channels), &[images, channels]);
            let row = |seed| tensor(numbers(seed, channels), &[1, channels]);
            let [factor, offset] = [7, 8].map(|seed| if each { parameter(seed) } else { row(seed) });
            let ([x, last], [gradient, slopes]) =
                (both_orders(index, shape, gap), both_orders(index + 50, shape, 2 * gap));
            let what = format!("{shape:?} in {groups} groups");
            let run = |x: &CubeTensor| group_norm::forward(x.clone(), factor.clone(), offset.clone(), options);
            let found = run(&last);
            assert_eq!(found.meta.strides()[1], 1, "{what}: the channels lie apart");
            close(&what, &run(&x), &found);
            let run = |x: &CubeTensor, gradient: &CubeTensor| {
                let (dx, gh, g) =
                    group_norm::backward(x.clone(), factor.clone(), offset.clone(), gradient.clone(), options);
                [dx, gh, g]
            };
            let expected = run(&x, &gradient);
            // The gradient may come in either order.
            for gradient in [&slopes, &gradient] {
                let found = run(&last, gradient);
                assert_eq!(found[0].meta.strides()[1], 1, "{what}: the channels of the gradient lie apart");
                for (i, (expected, found)) in expected.iter().zip(&found).enumerate() {
                    close(&format!("{what}, gradient {i}"), expected, found);
                }
            }
        }
    }
}

/// That the norm of such images, their channels side by side, is that of an f64 computation.
fn normalises([height, width, channels]: [usize; 3], groups: usize, tolerance: f64, data: Vec<f32>) {
    let last = burn_cubecl::ops::permute_nhwc_to_nchw(tensor(data.clone(), &[1, height, width, channels]));
    let [factor, offset] = [1.0, 0.0].map(|value| tensor(vec![value; channels], &[1, channels]));
    let options = NormOptions { groups, epsilon: 1e-5, silu: false };
    let y = read(&group_norm::forward(last, factor, offset, options));
    let (group, pixels) = (channels / groups, height * width);
    for k in 0..groups {
        let own: Vec<f64> =
            data.chunks(channels).flat_map(|pixel| &pixel[group * k..group * (k + 1)]).map(|x| f64::from(*x)).collect();
        let mean = own.iter().sum::<f64>() / own.len() as f64;
        let variance = own.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / own.len() as f64;
        for (i, found) in y[k * group * pixels..(k + 1) * group * pixels].iter().enumerate() {
            let (channel, pixel) = (k * group + i / pixels, i % pixels);
            let expected = (f64::from(data[pixel * channels + channel]) - mean) / (variance + 1e-5).sqrt();
            let error = (expected - f64::from(*found)).abs() / expected.abs().max(1.0);
            assert!(error < tolerance, "channel {channel}, pixel {pixel}: {found} instead of {expected}");
        }
    }
}

#[test]
fn a_large_mean_costs_a_group_norm_few_digits() {
    normalises([16, 16, 8], 2, 1e-5, numbers(3, 8 * 256).iter().map(|x| 4096.0 + x).collect());
    normalises([64, 64, 64], 2, 1e-5, numbers(4, 64 * 64 * 64).iter().map(|x| 4096.0 + x).collect());
}

#[test]
fn first_pixels_far_from_the_others_cost_a_group_norm_few_digits() {
    // Where the first number of each unit is far from all others, sums of squares less the square of a sum are below zero here.
    let first = |pixels: usize, count: usize, rest: f32| move |i: usize| if i / count < pixels { 0.0 } else { rest };
    normalises([512, 512, 32], 8, 1e-3, (0..512 * 512 * 32).map(first(8, 32, 0.7)).collect());
    normalises([256, 256, 128], 1, 1e-3, (0..256 * 256 * 128).map(first(2, 128, 3.3)).collect());
}

#[test]
fn the_sums_of_channels_are_those_of_either_order() {
    for (shape, gap) in [([2, 3, 5, 7], 2), ([4, 130, 1, 1], 0), ([9, 40, 16, 17], 24), ([1, 1, 6, 5], 0)] {
        let [x, last] = both_orders(5, shape, gap);
        let [images, channels, height, width] = shape;
        let (pixels, values) = (height * width, read(&x));
        let sum = |c: usize| {
            let rows = (0..images).map(|i| &values[(i * channels + c) * pixels..][..pixels]);
            rows.flatten().map(|v| f64::from(*v)).sum::<f64>()
        };
        for x in [x, last] {
            let sums = read(&row_sum::forward(permute_nchw_to_nhwc(x), DType::F32));
            for (c, found) in sums.iter().enumerate() {
                assert!((sum(c) - f64::from(*found)).abs() < 1e-4, "{shape:?}, channel {c}: {found}, not {}", sum(c));
            }
        }
    }
}
