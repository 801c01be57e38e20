//! Our side of `benches/compare.sh`: each piece of work that is measured beside PyTorch, one at a time, on demand.
//!
//! `benches/compare.py` starts this program with `serve` and asks, line by line: `check NAME FILE` writes inputs, weights
//! and results as safetensors, which the other side must reproduce; `time NAME SECONDS` runs the work for so long and
//! answers the median in milliseconds; `drop` forgets it. `memory NAME` in place of `serve` takes five training steps and
//! prints how far the resident memory rose above what it was just before the network was built. Without a command, as
//! under `cargo test --benches`, every work runs once.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::panic)]

use advect::burn::module::{Module, ModuleMapper, Param};
use advect::burn::tensor::{Distribution, Int, TensorData};
use advect::kernels;
use advect::nn::checkpoint::{Tensors, export, save};
use advect::paths::TimeSampler;
use advect::prelude::*;
use advect::train::TrainError;
use std::hint::black_box;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Runs of a timing, at least.
const RUNS: usize = 3;

fn main() {
    kernels::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve(),
        ["memory", name] => memory(name),
        _ => NAMES.iter().for_each(|name| {
            let mut work = Work::new(name);
            (work.run)();
            let results = (work.results)();
            assert!(!results.is_empty(), "{name} has no results");
            for (key, data) in results {
                assert!(data.iter::<f32>().all(f32::is_finite), "{name}: {key} is not finite");
            }
        }),
    }
}

fn serve() {
    let mut current: Option<(String, Work)> = None;
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("a line");
        let words: Vec<&str> = line.split('\t').collect();
        let mut work = |name: &str| {
            if current.as_ref().is_none_or(|(known, _)| known != name) {
                current = None;
                current = Some((name.to_owned(), Work::new(name)));
            }
        };
        match words[..] {
            ["names"] => println!("{}", NAMES.join("\t")),
            ["check", name, file] => {
                work(name);
                let results = (current.as_mut().expect("the work").1.results)();
                save(file.as_ref(), &results).expect("to write the results");
                println!("done");
            }
            ["time", name, seconds] => {
                work(name);
                let run = &mut current.as_mut().expect("the work").1.run;
                println!("{}", median(run, seconds.parse().expect("seconds")));
            }
            ["drop"] => {
                current = None;
                println!("done");
            }
            _ => panic!("what is `{line}`?"),
        }
        std::io::stdout().flush().expect("to answer");
    }
}

/// The median time of a run in milliseconds.
fn median(run: &mut dyn FnMut(), seconds: f64) -> f64 {
    run();
    let (mut times, started) = (Vec::new(), Instant::now());
    while times.len() < RUNS || started.elapsed() < Duration::from_secs_f64(seconds) {
        let before = Instant::now();
        run();
        times.push(1e3 * before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Something to be timed.
struct Work {
    /// Once, with everything that it allocates.
    run: Box<dyn FnMut()>,
    /// Inputs `in.*`, weights `w.*` and results `out.*` of it.
    results: Box<dyn Fn() -> Tensors>,
}

const NAMES: [&str; 40] = [
    "gemm 1024",
    "silu 1M",
    "gelu 1M",
    "sigmoid 1M",
    "tanh 1M",
    "exp 1M",
    "softmax 1000x1000",
    "layer norm 1000x1000",
    "group norm + silu, forward",
    "group norm + silu, forward and backward",
    "conv 3x3 3-64 32 b32, forward",
    "conv 3x3 64-64 32 b32, forward",
    "conv 3x3 128-128 16 b32, forward",
    "conv 3x3 256-256 8 b32, forward",
    "conv 3x3 1-32 28 b64, forward",
    "conv 1x1 128-256 16 b32, forward",
    "conv 3x3 3-64 32 b32, forward and backward",
    "conv 3x3 64-64 32 b32, forward and backward",
    "conv 3x3 128-128 16 b32, forward and backward",
    "conv 3x3 256-256 8 b32, forward and backward",
    "conv 3x3 1-32 28 b64, forward and backward",
    "conv 1x1 128-256 16 b32, forward and backward",
    "attention b4 h6 t256 d64, forward",
    "attention b4 h6 t256 d64, forward and backward",
    "flow 2-D width 64, 50 midpoint steps, 1000 points",
    "flow 2-D width 64, 50 midpoint steps, 1 point",
    "flow 2-D width 64, 50 midpoint steps, 1000 points, torchdiffeq",
    "flow 2-D width 64, 50 midpoint steps, 1000 points, flow_matching",
    "flow 2-D width 64, dopri5 at 1e-5, 1000 points, torchdiffeq",
    "flow 2-D width 64, dopri5 at 1e-5, 1000 points, flow_matching",
    "flow 2-D width 64, training step b4096",
    "flow 2-D width 512, 50 midpoint steps, 1000 points",
    "flow 2-D width 512, 50 midpoint steps, 1 point",
    "flow 2-D width 512, training step b4096",
    "DiT-S/2 b4, forward",
    "DiT-S/2 b4, training step",
    "U-Net b16, forward",
    "U-Net b16, training step",
    "silu 1M, forward and backward",
    "layer norm 1000x1000, forward and backward",
];

impl Work {
    fn new(name: &str) -> Self {
        let (what, backward) = match name.strip_suffix(", forward and backward") {
            Some(what) => (what, true),
            None => (name.strip_suffix(", forward").unwrap_or(name), false),
        };
        if let Some(rest) = what.strip_prefix("conv ") {
            return convolution(rest, backward);
        }
        if let Some(rest) = what.strip_prefix("flow 2-D width ") {
            return flow(rest);
        }
        let square = [1000, 1000];
        match what {
            "gemm 1024" => operator(&[[1024, 1024]; 2], false, |x: &[Tensor<2>]| x[0].clone().matmul(x[1].clone())),
            "silu 1M" => operator(&[[1 << 20]], backward, |x: &[Tensor<1>]| kernels::silu(x[0].clone())),
            "gelu 1M" => operator(&[[1 << 20]], backward, |x: &[Tensor<1>]| kernels::gelu(x[0].clone())),
            "sigmoid 1M" => operator(&[[1 << 20]], backward, |x: &[Tensor<1>]| kernels::sigmoid(x[0].clone())),
            "tanh 1M" => operator(&[[1 << 20]], backward, |x: &[Tensor<1>]| kernels::tanh(x[0].clone())),
            "exp 1M" => operator(&[[1 << 20]], backward, |x: &[Tensor<1>]| kernels::exp(x[0].clone())),
            "softmax 1000x1000" => operator(&[square], backward, |x: &[Tensor<2>]| kernels::softmax(x[0].clone(), 1)),
            "layer norm 1000x1000" => operator(&[square, [1, 1000], [1, 1000]], backward, |x: &[Tensor<2>]| {
                let row = |x: &Tensor<2>| x.clone().reshape([1000]);
                kernels::layer_norm(x[0].clone(), row(&x[1]), row(&x[2]), 1e-5)
            }),
            "group norm + silu" => {
                operator(&[[64, 64, 16, 16], [1, 1, 1, 64], [1, 1, 1, 64]], backward, |x: &[Tensor<4>]| {
                    let channels = |x: &Tensor<4>| x.clone().reshape([64]);
                    kernels::group_norm_silu(x[0].clone(), 8, channels(&x[1]), channels(&x[2]), 1e-5)
                })
            }
            "attention b4 h6 t256 d64" => operator(&[[4, 6, 256, 64]; 3], backward, |x: &[Tensor<4>]| {
                kernels::attention(x[0].clone(), x[1].clone(), x[2].clone())
            }),
            "DiT-S/2 b4" => network(DiTCase, false),
            "DiT-S/2 b4, training step" => network(DiTCase, true),
            "U-Net b16" => network(UNetCase, false),
            "U-Net b16, training step" => network(UNetCase, true),
            other => panic!("no work {other}"),
        }
    }
}

/// `3x3 64-64 32 b8`: kernel, channels, side and batch.
fn convolution(what: &str, backward: bool) -> Work {
    let numbers: Vec<usize> = what.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    let [kernel, _, from, to, side, batch] = numbers[..] else { panic!("what is a convolution of {what}?") };
    let shapes = [[batch, from, side, side], [to, from, kernel, kernel], [1, 1, 1, to]];
    operator(&shapes, backward, move |x: &[Tensor<4>]| {
        let bias = x[2].clone().reshape([to]);
        kernels::conv2d(x[0].clone(), x[1].clone(), Some(bias), [1, 1], [kernel / 2, kernel / 2])
    })
}

/// An operator on random inputs; backward is the gradient of the sum of its output with respect to all of them.
fn operator<const D: usize>(
    shapes: &[[usize; D]],
    backward: bool,
    f: impl Fn(&[Tensor<D>]) -> Tensor<D> + Clone + 'static,
) -> Work {
    let device = Device::flex();
    let inputs: Vec<Tensor<D>> =
        shapes.iter().map(|&shape| Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device)).collect();
    let tracked: Vec<Tensor<D>> = inputs.iter().map(|x| Tensor::from_inner(x.clone()).require_grad()).collect();
    let (f_, inputs_, tracked_) = (f.clone(), inputs.clone(), tracked.clone());
    Work {
        run: Box::new(move || {
            if backward {
                let gradients = f(&tracked).backward();
                for x in &tracked {
                    black_box(x.grad(&gradients));
                }
            } else {
                black_box(f(&inputs));
            }
        }),
        results: Box::new(move || {
            let mut results = Tensors::new();
            for (i, x) in inputs_.iter().enumerate() {
                results.insert(format!("in.{i}"), x.to_data());
            }
            results.insert("out.y".to_owned(), f_(&inputs_).into_data());
            if backward {
                let gradients = f_(&tracked_).backward();
                for (i, x) in tracked_.iter().enumerate() {
                    results.insert(format!("out.d{i}"), x.grad(&gradients).expect("a gradient").into_data());
                }
            }
            results
        }),
    }
}

/// The perceptron 3-w-w-w-w-2 of the time and a point of the plane.
fn flow(what: &str) -> Work {
    let (width, what) = what.split_once(", ").expect("a width");
    let config = MlpConfig::new(2, width.parse().expect("a width"), 4).with_time_features(1).with_time_scale(1.0);
    let network = config.init(&Device::flex().autodiff()).expect("a valid configuration");
    if what == "training step b4096" {
        return flow_training(network);
    }
    // The last word of some is the library on the other side.
    let points = if what.contains("1000 points") { 1000 } else { 1 };
    let adaptive = what.starts_with("dopri5 at 1e-5");
    let (network, device) = (network.valid(), Device::flex());
    let weights = weights_of_mlp(&network);
    let noise = Tensor::<2>::random([points, 2], Distribution::Normal(0.0, 1.0), &device);
    let start = noise.clone();
    let sample = move || {
        let field = shared(|x: Tensor<2>, t: f64| network.forward(x, Tensor::full([1], t, &device), None));
        let grid = |steps| TimeGrid::uniform(0.0, 1.0, steps).expect("a valid grid");
        if adaptive {
            let tolerance = Tolerance::new(1e-5, 1e-5).expect("a valid tolerance");
            let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
            return solve(&field, stepper, noise.clone(), &grid(1)).expect("a solution");
        }
        solve(&field, MIDPOINT.stepper(), noise.clone(), &grid(50)).expect("a solution")
    };
    let end = sample().into_data();
    Work {
        run: Box::new(move || {
            black_box(sample());
        }),
        results: Box::new(move || {
            let mut results = weights.clone();
            results.insert("in.0".to_owned(), start.to_data());
            results.insert("out.y".to_owned(), end.clone());
            results
        }),
    }
}

/// Flow matching between noise and given points: draw noise and times, loss, gradients, Adam.
fn flow_training(network: Mlp) -> Work {
    const BATCH: usize = 4096;
    let ids = |step: u64| (0..BATCH as u64).map(|i| step * BATCH as u64 + i).collect::<Vec<_>>();
    let data = Tensor::<2>::random([BATCH, 2], Distribution::Normal(0.0, 1.0), &Device::flex().autodiff());
    let objective = || {
        let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
        let forward = |m: &Mlp, x: Tensor<2>, t: Tensor<1>, _class| m.forward(x, t, None);
        FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 7)
    };
    let (shown, start) = (data.clone(), network.clone());
    let results = move || {
        let mut results = weights_of_mlp(&start.valid());
        let noise = NoiseKey::new(7, Purpose::Source).normal::<2>(&ids(0), 0, [BATCH, 2], &Device::flex());
        let times = UniformTime::new().sample(NoiseKey::new(7, Purpose::Time), &ids(0), 0);
        results.insert("in.noise".to_owned(), noise.into_data());
        results.insert("in.t".to_owned(), TensorData::from(times.as_slice()).convert::<f32>());
        results.insert("in.data".to_owned(), shown.to_data());
        // Three steps on the same batch: the second and third loss show that the first update was right.
        let (mut trainer, objective) = (Trainer::new(start.clone()), objective());
        let batch = Batch::new(shown.clone(), ids(0));
        let reports: Vec<_> = (0..3).map(|_| trainer.step(&objective, &batch, &plan()).expect("a step")).collect();
        report(&mut results, &reports);
        results
    };
    let (mut trainer, objective) = (Trainer::new(network), objective());
    Work {
        run: Box::new(move || {
            let batch = Batch::new(data.clone(), ids(trainer.step));
            black_box(trainer.step(&objective, &batch, &plan()).expect("a step"));
        }),
        results: Box::new(results),
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
        results.insert(format!("w.{}.weight", 2 * i), weight.transpose().into_data());
        let bias = layer.bias.as_ref().expect("a bias").val();
        results.insert(format!("w.{}.bias", 2 * i), bias.into_data());
    }
    results
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

fn report(results: &mut Tensors, reports: &[advect::train::Report]) {
    let numbers = |f: fn(&advect::train::Report) -> f64| {
        TensorData::from(reports.iter().map(|r| f(r) as f32).collect::<Vec<_>>().as_slice())
    };
    results.insert("out.losses".to_owned(), numbers(|r| r.loss));
    results.insert("out.norms".to_owned(), numbers(|r| r.gradient_norm));
}

/// A backbone with its input: a batch of images, times and, if it has classes, classes.
trait Case: Copy + 'static {
    type Network: Module + 'static;
    const SHAPE: [usize; 4];
    fn init(self, device: &Device) -> Self::Network;
    fn forward(self, network: &Self::Network, x: Tensor<4>, t: Tensor<1>) -> Tensor<4>;
    fn export(self, network: &Self::Network) -> Tensors;
}

#[derive(Clone, Copy)]
struct DiTCase;

impl Case for DiTCase {
    type Network = DiT;
    const SHAPE: [usize; 4] = [4, 4, 32, 32];

    fn init(self, device: &Device) -> DiT {
        DiTConfig::s(2).init(device).expect("a valid configuration")
    }

    fn forward(self, network: &DiT, x: Tensor<4>, t: Tensor<1>) -> Tensor<4> {
        let class = Tensor::<1, Int>::arange(0..4, &x.device());
        network.forward(x, t, Some(class))
    }

    fn export(self, network: &DiT) -> Tensors {
        network.export_original().expect("its names")
    }
}

#[derive(Clone, Copy)]
struct UNetCase;

impl Case for UNetCase {
    type Network = UNet;
    const SHAPE: [usize; 4] = [16, 3, 32, 32];

    fn init(self, device: &Device) -> UNet {
        let config = UNetConfig::new(3, 64, vec![1, 2, 2]).with_attention(vec![2, 4]).with_groups(32);
        config.init(device).expect("a valid configuration")
    }

    fn forward(self, network: &UNet, x: Tensor<4>, t: Tensor<1>) -> Tensor<4> {
        network.forward(x, t, None)
    }

    fn export(self, network: &UNet) -> Tensors {
        export(network, &UNet::LAYOUT).expect("its names")
    }
}

/// Layers that start at zero would hide what stands before them.
struct Perturb;

impl ModuleMapper for Perturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|x| {
            let noise = x.random_like(Distribution::Normal(0.0, 0.02));
            Tensor::from_inner((x + noise).inner()).require_grad()
        })
    }
}

fn network<C: Case>(case: C, training: bool) -> Work {
    let network = case.init(&Device::flex().autodiff()).map(&mut Perturb);
    let x = Tensor::<4>::random(C::SHAPE, Distribution::Normal(0.0, 1.0), &Device::flex());
    let t = Tensor::<1>::random([C::SHAPE[0]], Distribution::Default, &Device::flex());
    let (x_, t_, network_) = (x.clone(), t.clone(), network.clone());
    let results = move || {
        let mut results = Tensors::new();
        for (name, tensor) in case.export(&network_) {
            results.insert(format!("w.{name}"), tensor);
        }
        results.insert("in.x".to_owned(), x_.to_data());
        results.insert("in.t".to_owned(), t_.to_data());
        if training {
            let mut trainer = Trainer::new(network_.clone());
            let reports: Vec<_> = (0..3).map(|_| training_step(case, &mut trainer, &x_, &t_)).collect();
            report(&mut results, &reports);
        } else {
            let y = case.forward(&network_.valid(), x_.clone(), t_.clone());
            results.insert("out.y".to_owned(), y.into_data());
        }
        results
    };
    let run: Box<dyn FnMut()> = if training {
        let mut trainer = Trainer::new(network);
        Box::new(move || {
            black_box(training_step(case, &mut trainer, &x, &t));
        })
    } else {
        let network = network.valid();
        Box::new(move || {
            black_box(case.forward(&network, x.clone(), t.clone()));
        })
    };
    Work { run, results: Box::new(results) }
}

/// Loss (the mean square of the output), gradients, clipping by their norm, AdamW, EMA.
fn training_step<C: Case>(
    case: C,
    trainer: &mut Trainer<C::Network>,
    x: &Tensor<4>,
    t: &Tensor<1>,
) -> advect::train::Report {
    let objective = |network: &C::Network, (): &()| {
        let (x, t) = (Tensor::from_inner(x.clone()), Tensor::from_inner(t.clone()));
        Ok::<_, TrainError>(case.forward(network, x, t).square().mean())
    };
    trainer.step(&objective, &(), &plan()).expect("a step")
}

fn memory(name: &str) {
    match name {
        "DiT-S/2 b4" => memory_of(DiTCase),
        "U-Net b16" => memory_of(UNetCase),
        other => panic!("no network {other}"),
    }
}

fn memory_of<C: Case>(case: C) {
    let x = Tensor::<4>::random(C::SHAPE, Distribution::Normal(0.0, 1.0), &Device::flex());
    let t = Tensor::<1>::random([C::SHAPE[0]], Distribution::Default, &Device::flex());
    let before = resident("VmRSS:");
    let mut trainer = Trainer::new(case.init(&Device::flex().autodiff()));
    for _ in 0..5 {
        training_step(case, &mut trainer, &x, &t);
    }
    println!("{}", (resident("VmHWM:") - before) / 1024.0);
}

/// A line of what the system says of this process, in KiB.
fn resident(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a system that says");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the line");
    line.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number")
}
