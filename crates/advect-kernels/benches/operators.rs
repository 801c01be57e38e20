//! The operators against Burn's own on the CPU, forward and with the backward pass; each pair is compared before it is
//! timed.
use advect_kernels::{
    AdamW, AdamWState, adamw, attention, conv2d, exp, gated_residual, gelu, gelu_tanh, group_norm_silu, layer_norm,
    modulated_layer_norm, rms_norm, sigmoid, silu, softmax, softplus, tanh,
};
use burn::tensor::{Device, Distribution, Tensor, activation, module, ops::AttentionModuleOptions, ops::ConvOptions};
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use std::hint::black_box;

type Operator<'a, const D: usize> = &'a dyn Fn(Tensor<D>) -> Tensor<D>;

/// A function of one tensor (and of parameters it holds), ours and Burn's.
fn compare<const D: usize>(
    c: &mut Criterion,
    name: &str,
    shape: [usize; D],
    ours: Operator<'_, D>,
    burn: Operator<'_, D>,
) {
    let mut group = c.benchmark_group(name);
    let device = Device::flex();
    let x = Tensor::<D>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let slope = |f: Operator<'_, D>| {
        let x = x.clone().autodiff().require_grad();
        let mut gradients = f(x.clone()).sum().backward();
        x.grad_remove(&mut gradients)
    };
    assert_close(name, ours(x.clone()), burn(x.clone()));
    if let (Some(ours), Some(burn)) = (slope(ours), slope(burn)) {
        assert_close(name, ours, burn);
    }
    for (who, f) in [("advect", ours), ("burn", burn)] {
        forward(&mut group, who, &x, f);
        group.bench_function(format!("forward and backward/{who}"), |b| b.iter(|| black_box(slope(f))));
    }
    group.finish();
}

fn forward<const D: usize>(group: &mut BenchmarkGroup<'_, WallTime>, who: &str, x: &Tensor<D>, f: Operator<'_, D>) {
    group.bench_function(format!("forward/{who}"), |b| {
        b.iter_batched(|| x.clone(), |x| black_box(f(x)), BatchSize::SmallInput)
    });
}

fn assert_close<const D: usize>(name: &str, ours: Tensor<D>, burn: Tensor<D>) {
    let worst = ((ours - burn.clone()).abs() / (burn.abs() + 1.0)).max().into_scalar::<f32>();
    assert!(worst < 1e-4, "{name}: off by {worst}");
}

fn activations(c: &mut Criterion) {
    compare::<1>(c, "silu 1M", [1 << 20], &silu, &activation::silu);
    compare::<1>(c, "gelu 1M", [1 << 20], &gelu, &activation::gelu);
    compare::<1>(c, "gelu tanh 1M", [1 << 20], &gelu_tanh, &activation::gelu_approximate);
    compare::<1>(c, "sigmoid 1M", [1 << 20], &sigmoid, &activation::sigmoid);
    compare::<1>(c, "tanh 1M", [1 << 20], &tanh, &activation::tanh);
    compare::<1>(c, "softplus 1M", [1 << 20], &softplus, &|x| activation::softplus(x, 1.0));
    compare::<1>(c, "exp 1M", [1 << 20], &exp, &|x| x.exp());
    compare::<2>(c, "softmax [1000, 1000]", [1000, 1000], &|x| softmax(x, 1), &|x| activation::softmax(x, 1));
}

/// A parameter that is tracked with a tracked input and constant with a constant one: what a training step and a
/// sampling step do.
fn parameter<const D: usize, const P: usize>(value: Tensor<P>) -> impl Fn(&Tensor<D>) -> Tensor<P> {
    move |x| if x.is_require_grad() { value.clone().autodiff().require_grad() } else { value.clone() }
}

fn rows(c: &mut Criterion) {
    let device = Device::flex();
    let random = |rows, features| Tensor::<2>::random([rows, features], Distribution::Normal(0.0, 1.0), &device);
    let centred = |x: Tensor<3>| {
        let x = x.clone() - x.mean_dim(2);
        let variance = (x.clone() * x.clone()).mean_dim(2);
        x / (variance + 1e-6).sqrt()
    };
    for shape in [[1, 1000, 1000], [256, 49, 128], [4, 256, 384]] {
        let [batch, _, features] = shape;
        let [gamma, beta] = [1, 2].map(|_| parameter::<3, 1>(random(1, features).reshape([features])));
        let ours = |x: Tensor<3>| {
            let (gamma, beta) = (gamma(&x), beta(&x));
            layer_norm(x, gamma, beta, 1e-6)
        };
        let burn = |x: Tensor<3>| {
            let (gamma, beta) = (gamma(&x).unsqueeze(), beta(&x).unsqueeze());
            centred(x) * gamma + beta
        };
        compare::<3>(c, &format!("layer norm {shape:?}"), shape, &ours, &burn);
        let ours = |x: Tensor<3>| {
            let gamma = gamma(&x);
            rms_norm(x, gamma, 1e-6)
        };
        let burn = |x: Tensor<3>| {
            let (gamma, square) = (gamma(&x).unsqueeze(), (x.clone() * x.clone()).mean_dim(2));
            x / (square + 1e-6).sqrt() * gamma
        };
        compare::<3>(c, &format!("rms norm {shape:?}"), shape, &ours, &burn);
        let [shift, scale] = [1, 2].map(|_| parameter::<3, 2>(random(batch, features)));
        let ours = |x: Tensor<3>| {
            let (shift, scale) = (shift(&x), scale(&x));
            modulated_layer_norm(x, shift, scale, 1e-6)
        };
        let burn = |x: Tensor<3>| {
            let (shift, scale) = (shift(&x).unsqueeze_dim::<3>(1), scale(&x).unsqueeze_dim::<3>(1));
            centred(x) * (scale + 1.0) + shift
        };
        compare::<3>(c, &format!("modulated layer norm {shape:?}"), shape, &ours, &burn);
        let branch = parameter::<3, 3>(Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device));
        let ours = |x: Tensor<3>| {
            let (gate, branch) = (scale(&x), branch(&x));
            gated_residual(x, gate, branch)
        };
        let burn = |x: Tensor<3>| {
            let (gate, branch) = (scale(&x).unsqueeze_dim::<3>(1), branch(&x));
            x + branch * gate
        };
        compare::<3>(c, &format!("gated residual {shape:?}"), shape, &ours, &burn);
    }
}

fn attentions(c: &mut Criterion) {
    let burn = |q: Tensor<4>, k: Tensor<4>, v: Tensor<4>| {
        module::attention(q, k, v, None, None, AttentionModuleOptions::default())
    };
    for shape in [[32, 6, 64, 64], [4, 6, 256, 64], [256, 4, 49, 32], [1, 1, 1024, 128]] {
        let [k, v] =
            [1, 2].map(|_| parameter::<4, 4>(Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())));
        let ours = |q: Tensor<4>| {
            let (k, v) = (k(&q), v(&q));
            attention(q, k, v)
        };
        let burn = |q: Tensor<4>| {
            let (k, v) = (k(&q), v(&q));
            burn(q, k, v)
        };
        compare::<4>(c, &format!("attention {shape:?}"), shape, &ours, &burn);
    }
}

fn norms(c: &mut Criterion) {
    for shape in [[128, 64, 8, 8], [64, 64, 16, 16]] {
        let [gamma, beta] = [1.1, 0.2].map(|value| parameter::<4, 1>(Tensor::full([64], value, &Device::flex())));
        let burn = |x: Tensor<4>| {
            let [b, ch, h, w] = x.dims();
            let (gamma, beta) = (gamma(&x).reshape([1, ch, 1, 1]), beta(&x).reshape([1, ch, 1, 1]));
            let y = x.reshape([b, 8, ch / 8 * h * w]);
            let y = y.clone() - y.mean_dim(2);
            let deviation = ((y.clone() * y.clone()).mean_dim(2) + 1e-5).sqrt();
            activation::silu((y / deviation).reshape([b, ch, h, w]) * gamma + beta)
        };
        let ours = |x: Tensor<4>| {
            let (gamma, beta) = (gamma(&x), beta(&x));
            group_norm_silu(x, 8, gamma, beta, 1e-5)
        };
        compare::<4>(c, &format!("group norm and silu {shape:?}"), shape, &ours, &burn);
    }
}

/// One step over as many weights as a small transformer has; each step gets what the one before left, as in training.
fn optimizer(c: &mut Criterion) {
    type Numbers = [Tensor<1>; 4];
    let step = AdamW {
        rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.01,
        step: 10,
        gradient_factor: 0.9,
        follow: 1e-3,
    };
    let start = || [0.0, 0.0, 1.0, 0.0].map(|value| Tensor::<1>::full([1 << 22], value, &Device::flex()));
    let gradient = Tensor::<1>::random([1 << 22], Distribution::Normal(0.0, 1.0), &Device::flex());
    let ours = |[weights, first, second, average]: Numbers| {
        let (weights, state) = adamw(weights, gradient.clone(), AdamWState { first, second, average }, &step);
        [weights, state.first, state.second, state.average]
    };
    let burn = |[weights, first, second, average]: Numbers| {
        let gradient = gradient.clone() * step.gradient_factor;
        let first = first * step.beta1 + gradient.clone() * (1.0 - step.beta1);
        let second = second * step.beta2 + gradient.clone() * gradient * (1.0 - step.beta2);
        let [fix1, fix2] = [step.beta1, step.beta2].map(|beta| 1.0 - beta.powi(10));
        let direction = first.clone() / ((second.clone() / fix2).sqrt() + step.epsilon);
        let weights = weights * (1.0 - step.rate * step.weight_decay) - direction * (step.rate / fix1);
        let average = average.clone() + (weights.clone() - average) * step.follow;
        [weights, first, second, average]
    };
    for (ours, burn) in ours(start()).into_iter().zip(burn(start())) {
        assert_close("adamw", ours, burn);
    }
    let mut group = c.benchmark_group("adamw and average 4M");
    let run = |group: &mut BenchmarkGroup<'_, WallTime>, who: &str, f: &dyn Fn(Numbers) -> Numbers| {
        let mut numbers = Some(start());
        group.bench_function(who, |b| b.iter(|| numbers = numbers.take().map(f)));
    };
    run(&mut group, "advect", &ours);
    run(&mut group, "burn", &burn);
    group.finish();
}

fn convolutions(c: &mut Criterion) {
    for (name, shape, outputs, kernel, stride) in [
        ("3x3 64-64 8x8", [128, 64, 8, 8], 64, 3, 1),
        ("3x3 64-64 4x4", [128, 64, 4, 4], 64, 3, 1),
        ("3x3 32-32 8x8", [128, 32, 8, 8], 32, 3, 1),
        ("3x3 32-32 8x8 stride 2", [128, 32, 8, 8], 32, 3, 2),
        ("1x1 64-128 8x8", [128, 64, 8, 8], 128, 1, 1),
        ("3x3 64-64 32x32 batch 32", [32, 64, 32, 32], 64, 3, 1),
    ] {
        let device = Device::flex();
        let weight = Tensor::<4>::random([outputs, shape[1], kernel, kernel], Distribution::Normal(0.0, 0.1), &device);
        let bias = Tensor::<1>::random([outputs], Distribution::Default, &device);
        let parameters = |x: &Tensor<4>| {
            if x.is_require_grad() {
                (weight.clone().autodiff().require_grad(), Some(bias.clone().autodiff().require_grad()))
            } else {
                (weight.clone(), Some(bias.clone()))
            }
        };
        let padding = [kernel / 2; 2];
        let ours = |x: Tensor<4>| {
            let (weight, bias) = parameters(&x);
            conv2d(x, weight, bias, [stride; 2], padding)
        };
        let burn = |x: Tensor<4>| {
            let (weight, bias) = parameters(&x);
            module::conv2d(x, weight, bias, ConvOptions::new([stride; 2], padding, [1, 1], 1))
        };
        compare::<4>(c, &format!("conv {name}"), shape, &ours, &burn);
    }
}

criterion_group! {
    name = operators;
    config = Criterion::default().sample_size(30).warm_up_time(std::time::Duration::from_millis(500)).measurement_time(std::time::Duration::from_secs(2));
    targets = activations, rows, norms, attentions, optimizer, convolutions
}
criterion_main!(operators);
