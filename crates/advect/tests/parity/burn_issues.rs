//! What was reported of Burn's fusion and autotuning, each as a case of this project's own use.
//!
//! Numbers are those of <https://github.com/tracel-ai/burn/issues>. On a device with a defect one of them fails, instead
//! of a model that is silently wrong.

use crate::suite::{Errors, Place, Suite, Weights, error, flat, noise, parameter_gradients, values};
use advect::kernels;
use advect::prelude::*;
use advect::train::Objective;
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Int;

pub(crate) fn run(suite: &mut Suite) {
    suite.group("Burn issue");
    cached_attention(suite);
    matrix_products(suite);
    adapters_alone(suite);
    loop_without_reads(suite);
    training_with_minibatches(suite);
    not_a_number(suite);
    two_sums(suite);
    images_of_one_channel(suite);
}

/// Attention with keys and values kept from an earlier call, as a sampler with a context keeps them.
fn cached_attention(suite: &mut Suite) {
    suite.case("5257: keys and values kept from an earlier call", 1e-5, |place| {
        let run = |place: &Place, cached: bool| {
            let layers: Vec<[Tensor<2>; 4]> =
                (0..2u64).map(|l| [0, 1, 2, 3].map(|i| place.noise(10 * l + i, [16, 16]) * 0.25)).collect();
            let heads = |x: Tensor<3>| {
                let tokens = x.dims()[1];
                x.reshape([1, tokens, 2, 8]).swap_dims(1, 2)
            };
            let mut out = Vec::new();
            for round in 0..6 {
                let tokens: Tensor<3> = place.noise(100 + round, [1, 7, 16]);
                let mut kept: Vec<Option<(Tensor<4>, Tensor<4>)>> = vec![None; layers.len()];
                let pieces = if cached { vec![(0, 6), (6, 1)] } else { vec![(0, 7)] };
                for (from, count) in pieces {
                    let mut x = tokens.clone().narrow(1, from, count);
                    for ([q, k, v, o], kept) in layers.iter().zip(&mut kept) {
                        let project = |x: &Tensor<3>, w: &Tensor<2>| heads(kernels::linear(x.clone(), w.clone(), None));
                        let (mut keys, mut others) = (project(&x, k), project(&x, v));
                        if let Some((old_keys, old_others)) = kept.take() {
                            keys = Tensor::cat(vec![old_keys, keys], 2);
                            others = Tensor::cat(vec![old_others, others], 2);
                        }
                        *kept = Some((keys.clone(), others.clone()));
                        // Each token attends to itself and those before it: one by one, as no mask is ours.
                        let past = keys.dims()[2] - count;
                        let queries = project(&x, q);
                        let rows = (0..count).map(|i| {
                            let seen = past + i + 1;
                            let [k, v] = [&keys, &others].map(|all| all.clone().narrow(2, 0, seen));
                            kernels::attention(queries.clone().narrow(2, i, 1), k, v)
                        });
                        let y = Tensor::cat(rows.collect(), 2).swap_dims(1, 2).reshape([1, count, 16]);
                        x = x + kernels::silu(kernels::linear(y, o.clone(), None));
                    }
                    if from + count == 7 {
                        out.push(flat(x.narrow(1, count - 1, 1)));
                    }
                }
            }
            values(Tensor::cat(out, 0))
        };
        let expected = run(&Place::reference(), false);
        Errors::forward(error(&run(place, true), &expected).max(error(&run(place, false), &expected)))
    });
}

/// A tuned product is chosen by a class of shapes: every member of the class must be able to run it.
fn matrix_products(suite: &mut Suite) {
    suite.case("5352: one product at many shapes, again and again", 1e-5, |place| {
        let run = |place: &Place| {
            let weight: Tensor<2> = place.noise(1, [17, 33]);
            let mut out = Vec::new();
            for _ in 0..2 {
                for rows in [1, 3, 8, 9, 16, 31, 5, 2] {
                    let x: Tensor<2> = place.noise(rows as u64, [rows, 17]);
                    // Once as it lies, once through a view whose rows are not aligned.
                    let view = place.noise::<2>(rows as u64 + 50, [19, rows]).transpose().narrow(1, 1, 17);
                    out.push(flat(kernels::linear(x + view, weight.clone(), None) * 2.0));
                }
            }
            values(Tensor::cat(out, 0))
        };
        Errors::forward(error(&run(place), &run(&Place::reference())))
    });
}

/// Gradients of a few parameters where neither the input nor the rest is tracked: adapters in a frozen network.
fn adapters_alone(suite: &mut Suite) {
    /// Follows the parameters whose number is in the list, and no others.
    struct Only<'a>(usize, &'a [usize]);
    impl ModuleMapper for Only<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let follow = self.1.contains(&self.0);
            self.0 += 1;
            param.map(|x| x.detach().set_require_grad(follow))
        }
    }
    let config = DiTConfig::new(2, [8, 8], 4, 24, 2, 3).with_time_scale(10.0).with_time_features(16);
    let init = |device: &Device| config.init(device).expect("a valid configuration");
    let weights = Weights::of(&init(&Device::flex()));
    suite.case("5162: gradients of a few parameters alone", 1e-4, |place| {
        let run = |place: &Place| {
            let place = place.autodiff();
            let network = weights.give(init(&place.device), &place).map(&mut Only(0, &[8, 9, 13, 20]));
            let mut all = Vec::new();
            for round in 0..3 {
                let (x, t) = (place.noise(round, [2, 2, 8, 8]), place.tensor(&[0.25, 0.75], [2]));
                let y = network.forward(x, t, None);
                let gradients = (y.clone() * place.noise(70, y.dims())).sum().backward();
                let found = parameter_gradients(&network, &gradients);
                assert_eq!(found.len(), 4, "gradients of four parameters");
                all.extend(found);
            }
            all
        };
        let (got, expected) = (run(place), run(&Place::reference()));
        Errors::forward(got.iter().zip(&expected).map(|(g, e)| error(g, e)).fold(0.0, f64::max))
    });
}

/// A sampler's loop: many steps, nothing read back before the end.
fn loop_without_reads(suite: &mut Suite) {
    suite.case("5563: 600 steps without a read", 1e-4, |place| {
        let field = shared(|x: Tensor<2>, t: f64| (x.clone() * (3.0 * t)).cos() * 0.5 - kernels::silu(x));
        let run = |place: &Place| {
            let grid = TimeGrid::uniform(0.0, 1.0, 300).expect("a grid");
            values(solve(&field, MIDPOINT.stepper(), place.noise(1, [5, 3]), &grid).expect("it solves"))
        };
        Errors::forward(error(&run(place), &run(&Place::reference())))
    });
}

/// Losses of a run with minibatches cut out of a set on the device.
fn training_with_minibatches(suite: &mut Suite) {
    let config = MlpConfig::new(2, 16, 2).with_classes(Some(2));
    let init = |device: &Device| config.init(device).expect("a valid configuration");
    let weights = Weights::of(&init(&Device::flex()));
    suite.case("5202, 5079, 4347, 4302: 40 training steps", 1e-3, |place| {
        let run = |place: &Place| {
            let place = place.autodiff();
            let plan = Plan {
                steps: 40,
                rate: LearningRate::new(1e-2, 5, 40, 0.1).expect("valid"),
                optimizer: AdamW { epsilon: 1e-3, ..AdamW::standard() },
                clip_norm: 1.0,
                ema: Ema::new(0.9).expect("valid"),
            };
            let (data, targets): (Tensor<2>, Tensor<2>) = (place.noise(1, [32, 2]), place.noise(2, [32, 2]));
            let objective = |network: &Mlp, rows: &Tensor<1, Int>| {
                let [x, target] = [&data, &targets].map(|all| all.clone().select(0, rows.clone()));
                let class = rows.clone().remainder_scalar(2);
                let error = network.forward(x, place.tensor(&[0.5; 8], [8]), Some(class)) - target;
                Ok((error.clone() * error).mean())
            };
            let mut trainer = Trainer::new(weights.give(init(&place.device), &place));
            let rows = |step: i64| place.classes(&[0, 1, 2, 3, 4, 5, 6, 7].map(|k| (5 * step + 3 * k) % 32));
            let step = |step| trainer.step(&objective, &rows(step), &plan).expect("finite numbers").loss;
            (0..40).map(step).collect::<Vec<f64>>()
        };
        Errors::forward(error(&run(place), &run(&Place::reference())))
    });
}

/// One sample that is no number must stay one, and must not reach the others.
fn not_a_number(suite: &mut Suite) {
    suite.case("5658, 5290: NaN stays in its row", 1e-5, |place| {
        let mut broken = noise(1, 4 * 8);
        broken[9] = f64::NAN;
        let run = |place: &Place| {
            let x = || -> Tensor<2> { place.tensor(&broken, [4, 8]) };
            let ones = || -> Tensor<1> { place.tensor(&[1.0; 8], [8]) };
            let image = x().reshape([4, 2, 2, 2]);
            let out = [
                flat(kernels::silu(x())),
                flat(kernels::gelu(x())),
                flat(kernels::softplus(x())),
                flat(kernels::softmax(x(), 1)),
                flat(kernels::layer_norm(x(), ones(), ones(), 1e-5)),
                flat(kernels::rms_norm(x(), ones(), 1e-5)),
                flat(kernels::group_norm_silu(image, 1, ones().narrow(0, 0, 2), ones().narrow(0, 0, 2), 1e-5)),
                flat(kernels::linear(x(), place.noise(2, [8, 3]), None)),
                kernels::sum_of_squares(x()),
            ];
            values(Tensor::cat(out.to_vec(), 0))
        };
        let expected = run(&Place::reference());
        assert_eq!(expected.iter().filter(|x| x.is_nan()).count(), 3 + 4 * 8 + 3 + 1, "of the reference");
        Errors::forward(error(&run(place), &expected))
    });
}

/// 3815: a product of broadcasts, summed over two axes: no reference of the fused kernel was found.
fn two_sums(suite: &mut Suite) {
    let run = |x: &[Tensor<1>]| {
        let (v, e) = (x[0].clone().reshape([1, 2, 3, 3, 1]), x[1].clone().reshape([1, 1, 3, 3, 2]));
        let both = flat((v.clone() * e).sum_dim(2).sum_dim(3));
        let alone = flat(v.sum_dim(2).sum_dim(3));
        Tensor::cat(vec![both, alone], 0)
    };
    suite.operator("3815: two sums of a product", 5e-6, &[(18, 1.0), (18, 1.0)], run, run);
}

/// Found by this project: behind an operator that gives images of one channel as a view with channels last, a fused mean of squares was wrong. The product
/// of a difference with itself shows it; what one of them alone reads is right.
fn images_of_one_channel(suite: &mut Suite) {
    let images = |x: &Tensor<1>| x.clone().reshape([4, 1, 8, 8]);
    let squares = |z: Tensor<4>, from: &Tensor<1>| {
        let [rows, channels, height, width] = z.dims();
        let error =
            z - from.clone().narrow(0, 0, rows * channels * height * width).reshape([rows, channels, height, width]);
        flat((error.clone() * error).reshape([rows, channels * height * width]).mean_dim(1))
    };
    let conv = move |x: &[Tensor<1>]| {
        let weight = x[2].clone().narrow(0, 0, 9).reshape([1, 1, 3, 3]);
        squares(kernels::conv2d(images(&x[0]), weight, None, [1, 1], [1, 1]), &x[1])
    };
    let sizes = [(256, 1.0), (256, 1.0), (256, 1.0)];
    suite.operator("one channel: convolution and mean of squares", 5e-6, &sizes, conv, conv);
    let pool = move |x: &[Tensor<1>]| {
        let operator = advect::guidance::AveragePool::new(2).expect("a valid factor");
        squares(advect::guidance::LinearOperator::apply(&operator, images(&x[0])), &x[1])
    };
    suite.operator("one channel: pooling and mean of squares", 5e-6, &sizes[..2], pool, pool);
    suite.case("one channel: the squares of a gradient", 5e-6, |place| {
        let run = |place: &Place| {
            let tracked = place.autodiff();
            let x = images(&tracked.noise::<1>(1, [256])).require_grad();
            let weight: Tensor<4> = tracked.noise(2, [3, 1, 3, 3]);
            let y = kernels::conv2d(x.clone(), weight, None, [1, 1], [1, 1]);
            let factors: Tensor<4> = tracked.noise(3, [4, 3, 8, 8]);
            let gradient = x.grad(&(y * factors).sum().backward()).expect("the images take part");
            values(squares(Tensor::from_inner(gradient), &place.noise::<1>(4, [256])))
        };
        Errors::forward(error(&run(place), &run(&Place::reference())))
    });
    suite.case("one channel: the loss of a U-Net, read at its end", 2e-5, |place| {
        let config = UNetConfig::new(1, 8, vec![1, 2]).with_blocks(1).with_groups(4);
        let config = config.with_head_channels(8).with_classes(Some(3));
        let init = |device: &Device| config.init(device).expect("a valid configuration");
        let weights = Weights::of(&init(&Device::flex()));
        let run = |place: &Place| {
            let place = place.autodiff();
            let network = weights.give(init(&place.device), &place);
            let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
            let forward = |n: &UNet, x: Tensor<4>, t: Tensor<1>, class: Option<Tensor<1, Int>>| n.forward(x, t, class);
            let objective = FlowMatching::new(forward, path, UniformTime::default(), Prediction::Velocity, 0);
            let data = images(&place.noise::<1>(1, [256]));
            let batch = Batch { data, classes: Some(vec![0, 2, 1, 0]), ids: (0..4).collect() };
            values(objective.loss(&network, &batch).expect("a valid batch"))
        };
        // The noise of the objective is f32 on either side.
        let reference = Place { device: Device::flex(), dtype: burn::tensor::DType::F32 };
        Errors::forward(error(&run(place), &run(&reference)))
    });
}
