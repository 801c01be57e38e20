//! Our side of `benches/gpu.sh`: training steps and sampling on a card, one piece of work at a time, on demand.
//!
//! `serve DEVICE PRECISION [tiny]` answers line by line: `rows` lists the work, `check NAME FILE` writes inputs, weights
//! and results as safetensors, which the other side compares with its own in f64; `time NAME SECONDS` runs the work for so
//! long and answers with the median in milliseconds, the number of runs and the bytes that the device then holds;
//! `ceilings` measures what this device reaches in a large product and a copy; `norms` the normalisations of `advect-kernels`, forward and backward, beside
//! the same formulas made of Burn's operators, which its fusion makes kernels of: a name and both times in milliseconds, for each; `products` the layers of a DiT, a
//! U-Net's convolutions and attention, forward and with their gradients, beside Burn's: a name, and milliseconds and TFLOP/s of each. `tiny` shrinks every network: to try both
//! sides out. Without a command, as under `cargo test --benches`, every tiny work runs once on the processor.
#![allow(missing_docs, clippy::print_stderr, clippy::print_stdout, clippy::expect_used, clippy::panic)]

use advect::burn::module::{ModuleMapper, Param};
use advect::burn::tensor::ops::ConvOptions;
use advect::burn::tensor::{DType, Distribution, Int, TensorData, activation, module};
use advect::core::{DeviceNoise, normal};
use advect::guidance::Paired;
use advect::kernels;
use advect::nn::checkpoint::{Tensors, export, save};
use advect::paths::TimeSampler;
use advect::prelude::*;
use advect::train::{Mixed, Report, TrainError};
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

const ROWS: [Row; 12] = [
    Row::new("DiT-S/2 32x32x4, training step", Network::DiT { side: 32, width: 384, depth: 12, heads: 6 }, 256, None),
    Row::new("DiT-S/2 32x32x4, sampling", Network::DiT { side: 32, width: 384, depth: 12, heads: 6 }, 64, Some(50)),
    Row::new("DiT-B/2 32x32x4, training step", Network::DiT { side: 32, width: 768, depth: 12, heads: 12 }, 256, None),
    Row::new("DiT-B/2 32x32x4, sampling", Network::DiT { side: 32, width: 768, depth: 12, heads: 12 }, 64, Some(50)),
    Row::new("DiT-XL/2 32x32x4, training step", Network::DiT { side: 32, width: 1152, depth: 28, heads: 16 }, 64, None),
    Row::new("DiT-XL/2 32x32x4, sampling", Network::DiT { side: 32, width: 1152, depth: 28, heads: 16 }, 64, Some(50)),
    Row::new("DiT-XL/2 64x64x4, training step", Network::DiT { side: 64, width: 1152, depth: 28, heads: 16 }, 16, None),
    Row::new("DiT-XL/2 64x64x4, sampling", Network::DiT { side: 64, width: 1152, depth: 28, heads: 16 }, 16, Some(50)),
    Row::new("U-Net CIFAR 32x32x3, training step", Network::UNet, 128, None),
    Row::new("U-Net CIFAR 32x32x3, sampling", Network::UNet, 256, Some(50)),
    Row::new("perceptron 2-D, training step", Network::Perceptron, 1000, None),
    Row::new("perceptron 2-D, sampling", Network::Perceptron, 1000, Some(100)),
];

/// A piece of work.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    network: Network,
    batch: usize,
    /// Solver steps of a sampling, none of a training step.
    steps: Option<usize>,
}

#[derive(Clone, Copy, PartialEq)]
enum Network {
    DiT { side: usize, width: usize, depth: usize, heads: usize },
    UNet,
    Perceptron,
}

impl Row {
    const fn new(name: &'static str, network: Network, batch: usize, steps: Option<usize>) -> Self {
        Self { name, network, batch, steps }
    }

    /// The same work in small.
    fn tiny(mut self) -> Self {
        if let Network::DiT { side, .. } = self.network {
            self.network = Network::DiT { side: side / 4, width: 32, depth: 2, heads: 2 };
        }
        self.batch = 2;
        self.steps = self.steps.map(|_| 3);
        self
    }
}

/// Where and how the work runs.
#[derive(Clone)]
struct Setup {
    device: Device,
    precision: Precision,
    tiny: bool,
}

struct Work {
    /// Runs once, to the end of the device's queue.
    run: Box<dyn FnMut()>,
    /// Inputs `in.*`, weights `w.*` and results `out.*` of a small batch.
    results: Box<dyn FnMut() -> Tensors>,
    parameters: usize,
}

fn main() {
    advect::kernels::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", device, precision, ref rest @ ..] => match advect::device::choose(Some(device)) {
            Ok(chosen) => {
                let precision = precision.parse().expect("a precision");
                serve(&Setup { device: chosen.device, precision, tiny: rest == ["tiny"] });
            }
            Err(error) => {
                eprintln!("{error}");
                std::process::exit(2);
            }
        },
        _ => {
            let setup = Setup { device: Device::flex(), precision: Precision::F32, tiny: true };
            for row in ROWS {
                let mut work = Work::new(row, &setup);
                (work.run)();
                for (key, data) in (work.results)() {
                    let finite = data.iter::<f32>().all(f32::is_finite);
                    assert!(finite, "{}: {key} is not finite", row.name);
                }
            }
        }
    }
}

fn serve(setup: &Setup) {
    let mut current: Option<(String, Work)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split('\t').collect();
        let mut work = |name: &str| {
            if current.as_ref().is_none_or(|(known, _)| known != name) {
                current = None;
                let row = ROWS.into_iter().find(|row| row.name == name);
                let row = row.unwrap_or_else(|| panic!("no work {name}"));
                current = Some((name.to_owned(), Work::new(row, setup)));
            }
        };
        match words[..] {
            ["rows"] => {
                let row = |row: &Row| format!("{} b{} s{}", row.name, row.batch, row.steps.unwrap_or(0));
                println!("{}", ROWS.iter().map(row).collect::<Vec<_>>().join("\t"));
            }
            ["check", name, file] => {
                work(name);
                let work = &mut current.as_mut().expect("the work").1;
                save(file.as_ref(), &(work.results)()).expect("to write the results");
                println!("{}", work.parameters);
            }
            ["time", name, seconds] => {
                work(name);
                let run = &mut current.as_mut().expect("the work").1.run;
                let (milliseconds, runs) = median(run, seconds.parse().expect("seconds"));
                let held = setup.device.memory_pool_usage().map_or(0, |usage| usage.bytes_reserved);
                println!("{milliseconds} {runs} {held}");
            }
            ["ceilings"] => println!("{}", ceilings(setup)),
            ["norms"] => println!("{}", norms(setup)),
            ["products"] => println!("{}", products(setup)),
            _ => panic!("what is `{line}`?"),
        }
        std::io::stdout().flush().expect("to answer");
    }
}

/// The median time of a run in milliseconds, and how many there were after those that warm up and tune.
fn median(run: &mut dyn FnMut(), seconds: f64) -> (f64, usize) {
    let started = Instant::now();
    for _ in 0..3 {
        if started.elapsed() < Duration::from_secs(10) {
            run();
        }
    }
    let (mut times, started) = (Vec::new(), Instant::now());
    while times.len() < 3 || started.elapsed() < Duration::from_secs_f64(seconds) {
        let before = Instant::now();
        run();
        times.push(1e3 * before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times.len())
}

/// TFLOP/s of a large product, and GB/s of a copy, read and written.
fn ceilings(setup: &Setup) -> String {
    let device = &setup.device;
    let (size, count) = if setup.tiny { (256, 1 << 20) } else { (8192, 1 << 28) };
    let noise = |seed: f64| {
        let x = Tensor::<2>::random([size, size], Distribution::Normal(seed, 1.0), device);
        x.cast(setup.precision.dtype())
    };
    let (a, b) = (noise(0.0), noise(1.0));
    let mut product = || {
        let y = a.clone().matmul(b.clone());
        device.sync().expect("the device answers");
        drop(black_box(y)); // Only now: what nobody holds is never computed.
    };
    let (milliseconds, _) = median(&mut product, 1.0);
    let flops = 2.0 * (size as f64).powi(3) / milliseconds / 1e9;
    let x = Tensor::<1>::zeros([count], (device, DType::F32));
    let mut copy = || {
        let y = x.clone() + 1.0;
        device.sync().expect("the device answers");
        drop(black_box(y));
    };
    let (milliseconds, _) = median(&mut copy, 1.0);
    format!("{flops} {}", 8.0 * count as f64 / milliseconds / 1e6)
}

/// Linear layers, convolutions and attention by our operators and by Burn's products and convolutions, and both with the gradients of all inputs.
fn products(setup: &Setup) -> String {
    let small = |n: usize, by: usize| if setup.tiny { (n / by).max(8) } else { n };
    let mut answers = Vec::new();
    for shape in [[65536, 384, 1536], [65536, 1536, 384], [65536, 384, 1152], [32768, 768, 3072], [16384, 1152, 4608]] {
        let [rows, from, to] = shape.map(|n| small(n, 512));
        let side_by_side = SideBySide {
            name: format!("{rows} x {from} x {to}"),
            flops: 2.0 * (rows * from * to) as f64,
            with_gradients: 3.0,
            inputs: vec![rows * from, from * to, to],
            output: rows * to,
        };
        answers.extend(side_by_side.measure(setup, |x, ours| {
            let (rows, weight) = (x[0].clone().reshape([rows, from]), x[1].clone().reshape([from, to]));
            let y = match ours {
                true => kernels::linear(rows, weight, Some(x[2].clone())),
                false => rows.matmul(weight) + x[2].clone().unsqueeze(),
            };
            y.reshape([-1])
        }));
    }
    for [side, from, to] in [[32, 128, 128], [16, 256, 256], [8, 256, 256], [16, 512, 256]] {
        let [images, side, from, to] = [small(128, 64), small(side, 4), small(from, 16), small(to, 16)];
        let pixels = images * side * side;
        let side_by_side = SideBySide {
            name: format!("convolution 3x3, {images} of {side} x {side}, {from} to {to}"),
            flops: 2.0 * (pixels * from * to * 9) as f64,
            with_gradients: 3.0,
            inputs: vec![pixels * from, to * from * 9, to],
            output: pixels * to,
        };
        answers.extend(side_by_side.measure(setup, |x, ours| {
            // As networks on cards have them: channels side by side.
            let image = x[0].clone().reshape([images, side, side, from]).permute([0, 3, 1, 2]);
            let (weight, bias) = (x[1].clone().reshape([to, from, 3, 3]), Some(x[2].clone()));
            let y = match ours {
                true => kernels::conv2d(image, weight, bias, [1, 1], [1, 1]),
                false => module::conv2d(image, weight, bias, ConvOptions::new([1, 1], [1, 1], [1, 1], 1)),
            };
            y.permute([0, 2, 3, 1]).reshape([-1])
        }));
    }
    for (batch, tokens, heads, size) in [(256, 256, 6, 64), (64, 256, 16, 72), (16, 1024, 16, 72)] {
        let [batch, tokens] = [small(batch, 128), small(tokens, 16)];
        let side_by_side = SideBySide {
            name: format!("attention, {batch} of {tokens} tokens, {heads} heads of {size}"),
            flops: 4.0 * (batch * heads * tokens * tokens * size) as f64,
            with_gradients: 3.5,
            inputs: vec![batch * tokens * 3 * heads * size],
            output: batch * tokens * heads * size,
        };
        answers.extend(side_by_side.measure(setup, |x, ours| {
            if ours {
                let qkv = x[0].clone().reshape([batch, tokens, 3 * heads * size]);
                return kernels::self_attention(qkv, heads).reshape([-1]);
            }
            let qkv = x[0].clone().reshape([batch, tokens, 3, heads, size]);
            let [q, k, v] =
                [0, 1, 2].map(|i| qkv.clone().narrow(2, i, 1).reshape([batch, tokens, heads, size]).swap_dims(1, 2));
            let scores = q.matmul(k.swap_dims(2, 3)) * (size as f64).powf(-0.5);
            activation::softmax(scores, 3).matmul(v).swap_dims(1, 2).reshape([-1])
        }));
    }
    answers.join("\n")
}

/// A piece of work in two ways.
struct SideBySide {
    name: String,
    /// Of the forward pass, and how many of these it is with the gradients.
    flops: f64,
    with_gradients: f64,
    /// Numbers of each tensor.
    inputs: Vec<usize>,
    output: usize,
}

impl SideBySide {
    fn measure(&self, setup: &Setup, run: impl Fn(&[Tensor<1>], bool) -> Tensor<1>) -> [String; 2] {
        let device = &setup.device;
        let normal = |count: usize| {
            Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), device).cast(setup.precision.dtype())
        };
        let (inputs, slope): (Vec<_>, _) =
            (self.inputs.iter().map(|&count| normal(count)).collect(), normal(self.output));
        let time = |run: &dyn Fn() -> Vec<Tensor<1>>| {
            let mut run = || {
                let results = run();
                device.sync().expect("the device answers");
                drop(black_box(results));
            };
            median(&mut run, 0.3).0
        };
        let forward = |ours: bool| time(&|| vec![run(&inputs, ours)]);
        let both = |ours: bool| {
            time(&|| {
                let inputs: Vec<_> = inputs.iter().map(|x| x.clone().autodiff().require_grad()).collect();
                let slopes = (run(&inputs, ours) * slope.clone().autodiff()).sum().backward();
                inputs.iter().map(|x| x.grad(&slopes).expect("a gradient")).collect()
            })
        };
        let passes = [
            ("forward", [forward(true), forward(false)], 1.0),
            ("with gradients", [both(true), both(false)], self.with_gradients),
        ];
        passes.map(|(pass, times, work)| {
            let [ours, theirs] = times.map(|ms| format!("{ms:.3}\t{:.1}", 1e-9 * work * self.flops / ms));
            format!("{}, {pass}\t{ours}\t{theirs}", self.name)
        })
    }
}

/// Normalisations and their gradients by our kernels, and by formulas of Burn's operators.
fn norms(setup: &Setup) -> String {
    let (entries, tokens, images, side) = if setup.tiny { (8, 64, 4, 16) } else { (256, 256, 128, 32) };
    let time = |run: &mut dyn FnMut() -> Vec<f32>| {
        median(
            &mut || {
                black_box(run());
            },
            1.0,
        )
        .0
    };
    let device = setup.device.clone();
    let normal = |shape: &[usize]| {
        let count = shape.iter().product::<usize>();
        Tensor::<1>::random([count], Distribution::Normal(0.0, 1.0), &device).cast(setup.precision.dtype())
    };
    // What ends in one number per result costs both sides the same little.
    let read = |results: Vec<Tensor<1>>| -> Vec<f32> {
        let sums: Vec<Tensor<1>> = results.into_iter().map(|x| x.cast(DType::F32).sum()).collect();
        Tensor::cat(sums, 0).into_data().try_to_vec().expect("f32")
    };
    let gradients = |y: Tensor<1>, slope: Tensor<1>, inputs: [Tensor<1>; 3]| {
        let slopes = (y * slope).sum().backward();
        read(inputs.iter().map(|x| x.grad(&slopes).expect("a gradient")).collect())
    };
    let tracked = |x: &Tensor<1>| x.clone().autodiff().require_grad();

    // adaLN: [entries, tokens, features].
    let rows = [entries, tokens, 384];
    let [x, slope] = [normal(&rows), normal(&rows)];
    let [shift, scale] = [normal(&[rows[0], rows[2]]), normal(&[rows[0], rows[2]])];
    let ours = time(&mut || {
        let inputs = [&x, &shift, &scale].map(tracked);
        let [x, shift, scale] = inputs.clone();
        let of_entries = |t: Tensor<1>| t.reshape([rows[0], rows[2]]);
        let y = kernels::modulated_layer_norm(x.reshape(rows), of_entries(shift), of_entries(scale), 1e-6);
        gradients(y.reshape([-1]), slope.clone().autodiff(), inputs)
    });
    let theirs = time(&mut || {
        let wide = |t: &Tensor<1>| t.clone().cast(DType::F32);
        let of_entries = |t: &Tensor<1>| wide(t).reshape([rows[0], 1, rows[2]]);
        let dtype = setup.precision.dtype();
        let normalised = || {
            let x = wide(&x).reshape(rows);
            let x = x.clone() - x.mean_dim(2);
            let rstd = ((x.clone() * x.clone()).mean_dim(2) + 1e-6).sqrt().recip();
            (x * rstd.clone(), rstd)
        };
        let y = (normalised().0 * (of_entries(&scale) + 1.0) + of_entries(&shift)).cast(dtype);
        let total = (y.reshape([-1]) * slope.clone()).sum();
        let ((h, rstd), g) = (normalised(), wide(&slope).reshape(rows));
        let (d_scale, d_shift) = ((g.clone() * h.clone()).sum_dim(1).cast(dtype), g.clone().sum_dim(1).cast(dtype));
        let g = g * (of_entries(&scale) + 1.0);
        let dx = (g.clone() - g.clone().mean_dim(2) - h.clone() * (g * h).mean_dim(2)) * rstd;
        read(vec![dx.cast(dtype).reshape([-1]), d_shift.reshape([-1]), d_scale.reshape([-1]), total])
    });
    let mut answer = format!("modulated layer norm {rows:?}\t{ours}\t{theirs}");

    // A U-Net's: [images, channels, height, width] in groups.
    let (image, groups) = ([images, 128, side, side], 32);
    let [x, slope] = [normal(&image), normal(&image)];
    let [gamma, beta] = [normal(&[128]), normal(&[128])];
    let ours = time(&mut || {
        let inputs = [&x, &gamma, &beta].map(tracked);
        let [x, gamma, beta] = inputs.clone();
        let y = kernels::group_norm_silu(x.reshape(image), groups, gamma, beta, 1e-5);
        gradients(y.reshape([-1]), slope.clone().autodiff(), inputs)
    });
    let theirs = time(&mut || {
        let wide = |t: &Tensor<1>| t.clone().cast(DType::F32);
        let of_channels = |t: &Tensor<1>| wide(t).reshape([1, 128, 1, 1]);
        let (dtype, group) = (setup.precision.dtype(), [images, groups, 128 / groups * side * side]);
        let normalised = || {
            let x = wide(&x).reshape(group);
            let x = x.clone() - x.mean_dim(2);
            let rstd = ((x.clone() * x.clone()).mean_dim(2) + 1e-5).sqrt().recip();
            ((x * rstd.clone()).reshape(image), rstd)
        };
        let affine = |h: Tensor<4>| h * of_channels(&gamma) + of_channels(&beta);
        let sigmoid = |z: Tensor<4>| ((-z).exp() + 1.0).recip();
        let z = affine(normalised().0);
        let total = ((z.clone() * sigmoid(z)).cast(dtype).reshape([-1]) * slope.clone()).sum();
        let (h, rstd) = normalised();
        let z = affine(h.clone());
        let s = sigmoid(z.clone());
        let g = wide(&slope).reshape(image) * s.clone() * (z * (-s + 1.0) + 1.0);
        let over = |t: Tensor<4>| t.sum_dim(3).sum_dim(2).sum_dim(0).cast(dtype).reshape([-1]);
        let (d_gamma, d_beta) = (over(g.clone() * h.clone()), over(g.clone()));
        let (g, h) = ((g * of_channels(&gamma)).reshape(group), h.reshape(group));
        let dx = (g.clone() - g.clone().mean_dim(2) - h.clone() * (g * h).mean_dim(2)) * rstd;
        read(vec![dx.cast(dtype).reshape([-1]), d_gamma, d_beta, total])
    });
    answer += &format!("\tgroup norm, silu {image:?}\t{ours}\t{theirs}");
    answer
}

impl Work {
    fn new(row: Row, setup: &Setup) -> Self {
        let row = if setup.tiny { row.tiny() } else { row };
        // Compared are networks of two blocks: f64 on a processor would take long for all of them.
        match row.network {
            Network::DiT { side, width, depth, heads } => {
                let config = |depth| {
                    DiTConfig::new(4, [side, side], 2, width, depth, heads)
                        .with_out_channels(8)
                        .with_classes(Some(1000))
                };
                let init =
                    move |depth: usize, device: &Device| config(depth).init(device).expect("a valid configuration");
                let weights = |network: &DiT| network.export_original().expect("names for the weights");
                let small = init(depth.min(2), &setup.device.clone().autodiff());
                let whole = move |device: &Device| init(depth, device);
                work(row, setup, whole, small, [4, side, side], Some(1000), weights)
            }
            Network::UNet => {
                let (config, side) = if setup.tiny {
                    (UNetConfig::new(3, 32, vec![1, 2]).with_attention(vec![2]).with_blocks(1), 8)
                } else {
                    (UNetConfig::cifar10(), 32)
                };
                let init = move |device: &Device| config.init(device).expect("a valid configuration");
                let small = init(&setup.device.clone().autodiff());
                let weights = |network: &UNet| export(network, &UNet::LAYOUT).expect("names for the weights");
                work(row, setup, init, small, [3, side, side], None, weights)
            }
            Network::Perceptron => {
                let config = MlpConfig::new(2, 64, 4).with_time_features(1).with_time_scale(1.0);
                let init = move |device: &Device| config.init(device).expect("a valid configuration");
                let small = init(&setup.device.clone().autodiff());
                work(row, setup, init, small, [2], None, weights_of_mlp)
            }
        }
    }
}

/// The work of a row: `whole` is measured, `small` compared.
fn work<N: Backbone<D> + 'static, const D: usize, const E: usize>(
    row: Row,
    setup: &Setup,
    whole: impl Fn(&Device) -> N,
    small: N,
    shape: [usize; E],
    classes: Option<usize>,
    weights: impl Fn(&N) -> Tensors + 'static,
) -> Work {
    let Setup { device, precision, .. } = setup.clone();
    let shaped = move |rows: usize| -> [usize; D] { std::array::from_fn(|i| if i == 0 { rows } else { shape[i - 1] }) };
    let network = whole(&device.clone().autodiff());
    let parameters = network.num_params();
    let run: Box<dyn FnMut()> = match row.steps {
        None => training(row, setup, network, shaped(row.batch), classes),
        Some(steps) => {
            let network = precision.network(&network.valid());
            let device = device.clone();
            Box::new(move || {
                let noise = DeviceNoise.normal(shaped(row.batch), &device);
                let samples = sample(&network, noise, steps, classes, precision);
                device.sync().expect("the device answers");
                drop(black_box(samples));
            })
        }
    };
    let small = small.map(&mut Moved(0));
    let results = Box::new(move || {
        let tracked = device.clone().autodiff();
        let keyed =
            |device: &Device| -> Tensor<D> { NoiseKey::new(3, Purpose::Source).normal(&[0, 1], 0, shaped(2), device) };
        let t = Tensor::<1>::from_floats([0.25, 0.8125], &tracked);
        let mut results: Tensors =
            weights(&small.valid()).into_iter().map(|(name, data)| (format!("w.{name}"), data)).collect();
        results.insert("in.x".to_owned(), keyed(&device).into_data());
        results.insert("in.t".to_owned(), t.to_data());
        let class = || classes.map(|_| Tensor::<1, Int>::from_ints([7, 3], &tracked));
        let objective = |model: &N, (): &()| {
            let y = precision.through(keyed(&tracked), |x| model.forward(x, t.clone(), class()));
            Ok::<_, TrainError>(y.square().mean())
        };
        let half = precision.network(&small);
        let y = precision.through(keyed(&tracked), |x| half.forward(x, t.clone(), class()));
        results.insert("out.y".to_owned(), y.inner().into_data());
        let end = sample(&precision.network(&small.valid()), keyed(&device), 4, classes, precision);
        results.insert("out.end".to_owned(), end.into_data());
        let mut trainer = Trainer::new(small.clone());
        let mixed = Mixed { objective, precision };
        let reports: Vec<Report> = (0..3).map(|_| trainer.step(&mixed, &(), &plan()).expect("a step")).collect();
        for (name, number) in [("losses", Report::loss as fn(&Report) -> f64), ("norms", Report::norm)] {
            let numbers: Vec<f32> = reports.iter().map(|report| number(report) as f32).collect();
            results.insert(format!("out.{name}"), TensorData::from(numbers.as_slice()));
        }
        results
    });
    Work { run, results, parameters }
}

trait Numbers {
    fn loss(&self) -> f64;
    fn norm(&self) -> f64;
}

impl Numbers for Report {
    fn loss(&self) -> f64 {
        self.loss
    }

    fn norm(&self) -> f64 {
        self.gradient_norm
    }
}

/// A step of flow matching: noise and times, loss, gradients, clipping, AdamW, average.
fn training<N: Backbone<D> + 'static, const D: usize>(
    row: Row,
    setup: &Setup,
    network: N,
    shape: [usize; D],
    classes: Option<usize>,
) -> Box<dyn FnMut()> {
    let Setup { device, precision, .. } = setup.clone();
    let tracked = device.clone().autodiff();
    let data: Tensor<D> = DeviceNoise.normal(shape, &tracked);
    let class = classes.map(|classes| {
        let labels: Vec<i64> = (0..row.batch).map(|i| (i % classes) as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::new(labels, [row.batch]), &tracked)
    });
    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let mut trainer = Trainer::new(network);
    Box::new(move || {
        let ids: Vec<u64> = (0..row.batch as u64).map(|i| trainer.step * row.batch as u64 + i).collect();
        let times = Times::Each(UniformTime::new().sample(NoiseKey::new(7, Purpose::Time), &ids, 0));
        let objective = |model: &N, (): &()| {
            let sample = path.sample(DeviceNoise.normal(shape, &tracked), data.clone(), &times)?;
            let t = times.tensor(row.batch, &tracked);
            let y = precision.through(sample.x.clone(), |x| model.forward(x, t, class.clone()));
            Ok::<_, TrainError>(flow_matching_loss(y, &sample, Prediction::Velocity)?)
        };
        black_box(trainer.step(&Mixed { objective, precision }, &(), &plan()).expect("a step"));
        device.sync().expect("the device answers");
    })
}

/// Euler with classifier-free guidance in one call of twice the rows, or the midpoint rule where there are no classes.
fn sample<N: Backbone<D>, const D: usize>(
    network: &N,
    noise: Tensor<D>,
    steps: usize,
    classes: Option<usize>,
    precision: Precision,
) -> Tensor<D> {
    let grid = TimeGrid::uniform(0.0, 1.0, steps).expect("a valid grid");
    let rows = noise.dims()[0];
    match classes {
        Some(classes) => {
            let labels = (0..rows).map(|i| [7, 3][i % 2] % classes).chain(vec![classes; rows]).collect();
            let both = Conditioned::new(network, Some(labels)).computing_in(precision.dtype());
            solve(&Paired::new(both, rows, |_| 4.0), EULER.stepper(), noise, &grid).expect("a solution")
        }
        None if D == 2 => {
            let field = Conditioned::new(network, None).computing_in(precision.dtype());
            solve(&field, MIDPOINT.stepper(), noise, &grid).expect("a solution")
        }
        None => {
            let field = Conditioned::new(network, None).computing_in(precision.dtype());
            solve(&field, EULER.stepper(), noise, &grid).expect("a solution")
        }
    }
}

fn plan() -> Plan {
    Plan {
        steps: u64::MAX,
        rate: LearningRate::new(1e-4, 0, u64::MAX, 1.0).expect("a valid rate"),
        optimizer: AdamW::standard(),
        clip_norm: 1.0,
        ema: Ema::new(0.999).expect("a valid decay"),
    }
}

/// Moves parameters away from the zeros that initialization leaves.
struct Moved(u64);

impl ModuleMapper for Moved {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0 += 1;
        let mut rng = NoiseKey::new(1, Purpose::Init).rng(self.0, 0);
        let (id, old, mapper) = param.consume();
        if !old.is_require_grad() {
            return Param::from_mapped_value(id, old, mapper);
        }
        let count: usize = old.dims().iter().product();
        // Classes have to tell, or guidance would not be compared.
        let size = if old.dims()[0] == 1001 { 0.5 } else { 0.05 };
        let values: Vec<f32> = (0..count).map(|_| size * normal(&mut rng) as f32).collect();
        let noise = Tensor::from_data(TensorData::new(values, old.shape()), &old.device().inner());
        Param::from_mapped_value(id, Tensor::from_inner(old.inner() + noise).require_grad(), mapper)
    }
}

/// The weights under PyTorch's names and in its arrangement.
fn weights_of_mlp(network: &Mlp) -> Tensors {
    let mut results = Tensors::new();
    // PyTorch's first layer takes (x, t) side by side.
    let first = Tensor::cat(vec![network.input.weight.val(), network.time.weight.val()], 0);
    let layers = [(first, &network.input)].into_iter();
    let layers = layers.chain(network.layers.iter().chain([&network.output]).map(|l| (l.weight.val(), l)));
    for (i, (weight, layer)) in layers.enumerate() {
        results.insert(format!("{}.weight", 2 * i), weight.transpose().into_data());
        let bias = layer.bias.as_ref().expect("a bias").val();
        results.insert(format!("{}.bias", 2 * i), bias.into_data());
    }
    results
}
