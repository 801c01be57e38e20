//! The operators against Burn's own on the CPU, forward and with the backward pass; each pair is compared before it is timed.
use advect_kernels::{conv2d, group_norm_silu, silu};
use burn::tensor::{Device, Distribution, Tensor, activation, module, ops::ConvOptions};
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
}

fn norms(c: &mut Criterion) {
    for shape in [[128, 64, 8, 8], [64, 64, 16, 16]] {
        let parameter = |value| {
            let tensor = Tensor::<1>::full([64], value, &Device::flex());
            // Tracked with a tracked input, constant with a constant one: what a training step and a sampling step do.
            move |x: &Tensor<4>| {
                if x.is_require_grad() { tensor.clone().autodiff().require_grad() } else { tensor.clone() }
            }
        };
        let (gamma, beta) = (parameter(1.1), parameter(0.2));
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
    targets = activations, norms, convolutions
}
criterion_main!(operators);
