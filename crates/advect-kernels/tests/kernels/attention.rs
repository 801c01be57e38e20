use crate::check::{
    LAYOUTS, Layout, assert_close, assert_slopes, differences, dot, gradient, laid_out, noise,
    on_one_and_three_threads, tensor, values,
};
use advect_kernels::{attention, self_attention};
use burn::tensor::{DType, Device, Tensor, activation::softmax};

/// Batch, heads, queries, keys, size and width.
#[derive(Clone, Copy, Debug)]
struct Case([usize; 6]);

/// Odd numbers, single tokens, cross-attention, other widths, the shapes of digit and image transformers, queries in
/// several blocks and several tasks.
const CASES: [Case; 10] = [
    Case([1, 1, 1, 1, 1, 1]),
    Case([2, 3, 4, 5, 3, 2]),
    Case([1, 2, 17, 1, 4, 17]),
    Case([2, 1, 1, 33, 16, 5]),
    Case([3, 2, 49, 49, 32, 32]),
    Case([1, 2, 77, 257, 9, 33]),
    Case([1, 1, 257, 77, 40, 16]),
    Case([1, 2, 100, 100, 64, 64]),
    Case([1, 1, 600, 1100, 8, 8]),
    Case([1, 1, 1100, 600, 8, 8]),
];

impl Case {
    fn shapes(&self) -> [[usize; 4]; 3] {
        let Self([batch, heads, queries, keys, size, width]) = *self;
        [[batch, heads, queries, size], [batch, heads, keys, size], [batch, heads, keys, width]]
    }

    fn output(&self) -> [usize; 4] {
        let Self([batch, heads, queries, _, _, width]) = *self;
        [batch, heads, queries, width]
    }

    fn inputs(&self, stretch: f64) -> [Vec<f64>; 3] {
        let mut seed = 0;
        self.shapes().map(|shape| {
            seed += 1;
            noise(shape.iter().product(), seed).iter().map(|x| stretch * x).collect()
        })
    }

    fn reference(&self, q: &[f64], k: &[f64], v: &[f64]) -> Vec<f64> {
        let Self([batch, heads, queries, keys, size, width]) = *self;
        let mut y = Vec::new();
        for head in 0..batch * heads {
            let (k, v) = (&k[head * keys * size..][..keys * size], &v[head * keys * width..][..keys * width]);
            for q in q[head * queries * size..][..queries * size].chunks_exact(size) {
                let scores: Vec<f64> = k.chunks_exact(size).map(|k| dot(q, k) / (size as f64).sqrt()).collect();
                let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - most).exp()).collect();
                let sum: f64 = weights.iter().sum();
                for i in 0..width {
                    y.push(weights.iter().zip(v.chunks_exact(width)).map(|(w, v)| w * v[i]).sum::<f64>() / sum);
                }
            }
        }
        y
    }
}

fn with_burn(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>) -> Tensor<4> {
    let scale = 1.0 / (q.dims()[3] as f64).sqrt();
    softmax((q * scale).matmul(k.swap_dims(2, 3)), 3).matmul(v)
}

#[test]
fn agrees_with_the_formula_for_every_size_and_layout() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
        for case in CASES {
            let inputs = case.inputs(3.0);
            let expected = case.reference(&inputs[0], &inputs[1], &inputs[2]);
            for layout in LAYOUTS {
                let mut shapes = case.shapes().into_iter();
                let [q, k, v] =
                    inputs.each_ref().map(|values| laid_out(values, shapes.next().unwrap(), dtype, layout, &device));
                let y = attention(q, k, v);
                assert_eq!((y.dims(), y.dtype()), (case.output(), dtype));
                assert_close(&format!("{dtype:?} {layout:?} {case:?}"), &values(y), &expected, tolerance);
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences_and_with_burn() {
    let device = Device::flex().autodiff();
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-7)] {
        for case in CASES {
            let inputs = case.inputs(1.5);
            let weights = noise(case.output().iter().product(), 4);
            let large = inputs[0].len() * inputs[1].len() > 1 << 20;
            for layout in LAYOUTS.into_iter().take(if large { 1 } else { 3 }) {
                let run = |f: fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>| {
                    let mut shapes = case.shapes().into_iter();
                    let [q, k, v] = inputs
                        .each_ref()
                        .map(|values| laid_out(values, shapes.next().unwrap(), dtype, layout, &device).require_grad());
                    let y = f(q.clone(), k.clone(), v.clone());
                    // The gradient of the output lies in memory as its layout says, too.
                    let gradients = (y * laid_out(&weights, case.output(), dtype, layout, &device)).sum().backward();
                    [gradient(&q, &gradients), gradient(&k, &gradients), gradient(&v, &gradients)]
                };
                let (ours, burn) = (run(attention), run(with_burn));
                let [q, k, v] = &inputs;
                let loss = |q: &[f64], k: &[f64], v: &[f64]| dot(&case.reference(q, k, v), &weights);
                let every = |len: usize| 1 + len / if large { 3 } else { 12 };
                let slopes = [
                    differences(q, every(q.len()), |q| loss(q, k, v)),
                    differences(k, every(k.len()), |k| loss(q, k, v)),
                    differences(v, every(v.len()), |v| loss(q, k, v)),
                ];
                for (i, name) in ["q", "k", "v"].into_iter().enumerate() {
                    let what = format!("{name} {dtype:?} {layout:?} {case:?}");
                    assert_close(&what, &ours[i], &burn[i], tolerance);
                    assert_slopes(&what, &ours[i], &slopes[i], tolerance);
                }
            }
        }
    }
}

#[test]
fn joined_heads_agree_with_burn_as_views_and_by_themselves() {
    // [batch, tokens, 3 heads size], cut into parts and heads, and joined again; the last one in several tasks a head.
    for [batch, tokens, heads, size] in [[3, 21, 2, 8], [1, 1, 3, 5], [2, 49, 4, 32], [1, 900, 2, 48]] {
        let features = 3 * heads * size;
        let parts = |x: Tensor<3>, f: fn(Tensor<4>, Tensor<4>, Tensor<4>) -> Tensor<4>| {
            let y = x.reshape([batch, tokens, 3 * heads, size]).swap_dims(1, 2);
            let [q, k, v] = [0, 1, 2].map(|i| y.clone().narrow(1, i * heads, heads));
            f(q, k, v).swap_dims(1, 2).reshape([batch, tokens, heads * size])
        };
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-12)] {
            let device = Device::flex().autodiff();
            let run = |permuted: bool, f: &dyn Fn(Tensor<3>) -> Tensor<3>| {
                let x = tensor(&noise(batch * tokens * features, 1), [batch, tokens, features], dtype, &device);
                let x = x * 1.5;
                let x = if permuted {
                    Tensor::<3>::from_data(x.swap_dims(0, 1).into_data(), (&device, dtype)).swap_dims(0, 1)
                } else {
                    x
                };
                let x = x.detach().require_grad();
                let y = f(x.clone());
                let weights = tensor(&noise(batch * tokens * heads * size, 2), y.dims(), dtype, &device);
                let gradients = (y.clone() * weights).sum().backward();
                (values(y), gradient(&x, &gradients))
            };
            let burn = run(false, &|x| parts(x, with_burn));
            for ours in [
                run(false, &|x| parts(x, attention)),
                run(false, &|x| self_attention(x, heads)),
                run(true, &|x| self_attention(x, heads)),
            ] {
                assert_close("joined heads", &ours.0, &burn.0, tolerance);
                assert_close("gradient", &ours.1, &burn.1, tolerance);
            }
        }
    }
    let empty = Tensor::<3>::zeros([0, 5, 12], &Device::flex().autodiff()).require_grad();
    assert_eq!(self_attention(empty.clone(), 2).dims(), [0, 5, 4]);
    let _ = self_attention(empty, 2).sum().backward();
}

#[test]
#[should_panic(expected = "10 features are not 3 x 2 heads")]
fn refuses_features_that_are_not_three_times_the_heads() {
    let _ = self_attention(Tensor::zeros([1, 2, 10], &Device::flex()), 2);
}

#[test]
fn survives_large_scores() {
    // Scores of up to 1e4 either way: exp of them would overflow, and all but a few weights are zero.
    let (case, device) = (Case([1, 2, 9, 33, 4, 5]), Device::flex().autodiff());
    let [q, k, v] = case.inputs(100.0);
    let mut shapes = case.shapes().into_iter();
    let [q_tensor, k_tensor, v_tensor] = [&q, &k, &v]
        .map(|values| laid_out(values, shapes.next().unwrap(), DType::F32, Layout::Dense, &device).require_grad());
    let y = attention(q_tensor.clone(), k_tensor.clone(), v_tensor);
    assert_close("large scores", &values(y.clone()), &case.reference(&q, &k, &v), 1e-2);
    let gradients = y.sum().backward();
    assert!(gradient(&q_tensor, &gradients).iter().all(|d| d.is_finite()));
    assert!(gradient(&k_tensor, &gradients).iter().all(|d| d.is_finite()));
}

#[test]
fn spoils_only_the_queries_that_are_not_numbers() {
    let (case, device) = (Case([1, 1, 3, 20, 4, 4]), Device::flex());
    let [mut q, k, v] = case.inputs(1.0);
    q[5] = f64::NAN;
    let mut shapes = case.shapes().into_iter();
    let [q, k, v] =
        [&q, &k, &v].map(|values| laid_out(values, shapes.next().unwrap(), DType::F32, Layout::Dense, &device));
    let y = values(attention(q, k, v));
    let broken: Vec<bool> = y.iter().map(|y| y.is_nan()).collect();
    assert_eq!(broken, [[false; 4], [true; 4], [false; 4]].concat());
}

#[test]
fn accepts_no_batch_and_no_tokens() {
    let device = Device::flex().autodiff();
    for dtype in [DType::F32, DType::F64] {
        for [batch, queries, keys] in [[0, 3, 3], [2, 0, 3], [2, 3, 0]] {
            let [q, k, v] = [queries, keys, keys]
                .map(|tokens| Tensor::<4>::zeros([batch, 2, tokens, 4], (&device, dtype)).require_grad());
            let y = attention(q.clone(), k, v);
            assert_eq!(y.dims(), [batch, 2, queries, 4]);
            let gradients = y.sum().backward();
            let slope = q.grad(&gradients).map_or(vec![0.0; batch * 2 * queries * 4], values);
            assert_eq!(slope, vec![0.0; batch * 2 * queries * 4]);
        }
    }
}

#[test]
fn gives_the_same_bits_on_any_number_of_threads_and_in_any_batch() {
    let device = Device::flex().autodiff();
    for [tokens, size] in [[49, 32], [65, 24], [700, 64]] {
        let len = 2 * tokens * size;
        let run = |batch: usize| {
            let shape = [batch, 2, tokens, size];
            let [q, k, v] = [1, 2, 3]
                .map(|seed| tensor(&noise(9 * len, seed)[..batch * len], shape, DType::F32, &device).require_grad());
            let y = attention(q.clone(), k.clone(), v.clone());
            let gradients = (y.clone() * y.clone()).sum().backward();
            [values(y), gradient(&q, &gradients), gradient(&k, &gradients), gradient(&v, &gradients)]
        };
        let batch = if tokens > 500 { 2 } else { 9 };
        let [one, three] = on_one_and_three_threads(|| run(batch));
        assert_eq!(one, three);
        if cfg!(feature = "flex") {
            for (alone, among) in run(1).iter().zip(&one) {
                assert_eq!(alone[..], among[..len], "{tokens}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "queries [1, 2, 3, 4], keys [1, 2, 5, 3] and values [1, 2, 5, 4] do not fit together")]
fn refuses_keys_of_another_size() {
    let device = Device::flex();
    let zeros = |tokens, size| Tensor::<4>::zeros([1, 2, tokens, size], &device);
    let _ = attention(zeros(3, 4), zeros(5, 3), zeros(5, 4));
}
