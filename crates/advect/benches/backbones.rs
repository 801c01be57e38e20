//! Time and memory of the backbones: forward, and a training step with AdamW, clipping and EMA.
//!
//! `cargo bench -p advect --bench backbones [-- CASE]` measures each case in a process of its own and prints a table line
//! for each; `benches/peers/backbones.py` prints the same lines for PyTorch and diffusers. Without `--bench`, as under
//! `cargo test --benches`, each case runs once on one row.
#![allow(missing_docs, clippy::print_stdout, clippy::expect_used, clippy::panic)]

use advect::nn::{AutoencoderKlConfig, AutoencoderObjective, MmDiT, MmDiTConfig, Vae};
use advect::prelude::*;
use advect::train::TrainError;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Distribution, Int};
use std::hint::black_box;
use std::process::Command;
use std::time::{Duration, Instant};

use advect::burn;

/// Name and the batch that is measured.
const CASES: [(&str, usize); 6] =
    [("unet-digits", 128), ("unet-7m", 16), ("dit-mnist", 64), ("dit-s-2", 4), ("mm-dit", 2), ("autoencoder", 64)];
/// Each measurement takes at least this long, and at least so many runs.
const LONG: Duration = Duration::from_secs(4);
const RUNS: usize = 5;

fn main() {
    advect::kernels::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = arguments.iter().any(|a| a == "--bench");
    let wanted: Vec<&String> = arguments.iter().filter(|a| !a.starts_with("--")).collect();
    match (measured, &wanted[..]) {
        (true, &[]) => {
            println!("| case | parameters | batch | forward ms | training step ms | peak MiB |");
            println!("| --- | --- | --- | --- | --- | --- |");
            for (name, _) in CASES {
                let own = std::env::current_exe().expect("a path of this program");
                let done = Command::new(own).args(["--bench", name]).status().expect("to start this program again");
                assert!(done.success(), "{name} failed");
            }
        }
        (true, names) => CASES.iter().filter(|(case, _)| names.iter().any(|n| n == case)).for_each(|c| run(*c, true)),
        // Debug builds of tests: one row each shows that it runs.
        (false, _) => CASES.iter().for_each(|(case, _)| run((case, 1), false)),
    }
}

fn run((name, batch): (&str, usize), measured: bool) {
    let device = Device::flex().autodiff();
    let noise = |shape: [usize; 4]| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
    let t = Tensor::<1>::random([batch], Distribution::Default, &device);
    let class = || Some(Tensor::<1, Int>::zeros([batch], &device));
    let pixels = |x: Tensor<4>| x.square().mean();
    match name {
        "unet-digits" | "unet-7m" => {
            let (config, shape) = if name == "unet-digits" {
                (UNetConfig::digits().with_blocks(1), [batch, 1, 8, 8])
            } else {
                let config = UNetConfig::new(3, 64, vec![1, 2, 2]).with_attention(vec![2, 4]).with_groups(32);
                (config, [batch, 3, 32, 32])
            };
            let (x, classes) = (noise(shape), config.classes);
            let class = || classes.and_then(|_| class());
            let network = config.init(&device).expect("a valid configuration");
            assert_eq!(network.num_params(), config.num_params());
            case(name, batch, network, measured, |n: &UNet| pixels(n.forward(x.clone(), t.clone(), class())));
        }
        "dit-mnist" | "dit-s-2" => {
            let config = if name == "dit-mnist" { DiTConfig::mnist().with_size([32, 32]) } else { DiTConfig::s(2) };
            let x = noise([batch, config.in_channels, 32, 32]);
            let network = config.init(&device).expect("a valid configuration");
            assert_eq!(network.num_params(), config.num_params());
            case(name, batch, network, measured, |n: &DiT| pixels(n.forward(x.clone(), t.clone(), class())));
        }
        "mm-dit" => {
            let config = MmDiTConfig::new(16, 6, 6);
            let x = noise([batch, 16, 32, 32]);
            let text = Tensor::<3>::random([batch, 77, 4096], Distribution::Normal(0.0, 1.0), &device);
            let pooled = Tensor::<2>::random([batch, 2048], Distribution::Normal(0.0, 1.0), &device);
            let network = config.init(&device).expect("a valid configuration");
            case(name, batch, network, measured, |n: &MmDiT| {
                pixels(n.forward(x.clone(), t.clone(), text.clone(), pooled.clone()))
            });
        }
        "autoencoder" => {
            let config = AutoencoderKlConfig::mnist();
            let (x, latent) = (noise([batch, 1, 28, 28]), noise([batch, 4, 7, 7]));
            let network = Vae::new(config.init(&device).expect("a valid configuration"));
            let objective = AutoencoderObjective::new(0.05);
            case(name, batch, network, measured, |n: &Vae| {
                objective.loss(n, &n.reconstruct(x.clone(), latent.clone()))
            });
        }
        other => panic!("no case {other}"),
    }
}

fn case<M: Module>(name: &str, batch: usize, network: M, measured: bool, loss: impl Fn(&M) -> Tensor<1>) {
    let parameters = learned(&network);
    let plan = Plan {
        steps: u64::MAX,
        rate: LearningRate::new(1e-4, 0, u64::MAX, 1.0).expect("a valid rate"),
        optimizer: AdamW::standard(),
        clip_norm: 1.0,
        ema: Ema::new(0.999).expect("a valid decay"),
    };
    let mut trainer = Trainer::new(network);
    let step = |trainer: &mut Trainer<M>| {
        let objective = |model: &M, _: &()| Ok::<_, TrainError>(loss(model));
        trainer.step(&objective, &(), &plan).expect("a step").loss
    };
    // Outside autodiff: what sampling does.
    let frozen = trainer.averaged();
    let forward = |network: &M| black_box(loss(network).into_scalar::<f32>());
    assert!(forward(&frozen).is_finite() && step(&mut trainer).is_finite());
    if !measured {
        return;
    }
    let forward = median(|| {
        forward(&frozen);
    });
    let training = median(|| {
        step(&mut trainer);
    });
    println!("| {name} | {parameters} | {batch} | {forward:.1} | {training:.1} | {} |", peak());
}

/// The number of parameters that are learned; a table of positions is none.
fn learned<M: Module>(network: &M) -> usize {
    struct Learned(usize);
    impl ModuleVisitor for Learned {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0 += param.lazy_shape().num_elements();
            }
        }
    }
    let mut learned = Learned(0);
    network.visit(&mut learned);
    learned.0
}

/// The median time of a run in milliseconds.
fn median(mut run: impl FnMut()) -> f64 {
    let (mut times, started) = (Vec::new(), Instant::now());
    while times.len() < RUNS || started.elapsed() < LONG {
        let before = Instant::now();
        run();
        times.push(1e3 * before.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The largest memory that this process ever had, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}
