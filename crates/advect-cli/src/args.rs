//! The command line.

use crate::config::{MOST, MOST_STEPS};
use crate::grids::GridName;
use crate::path::{PredictionName, ScheduleName};
use crate::solvers::SolverName;
use advect::train::Precision;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Train generative models that move noise into data, sample them, look at them.
#[derive(Debug, Parser)]
#[command(
    name = "advect",
    version,
    arg_required_else_help = true,
    after_help = "Example: advect train --preset digits"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Where to compute: cuda, metal, rocm, vulkan, wgpu or flex (the processor), as far as compiled in; cuda:1 is the second
    /// card. See `advect devices`. Without it: the environment variable BURN_DEVICE, else the first that this machine has.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) device: Option<String>,
    /// Print nothing but errors.
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Print what happened as JSON, one object a line.
    #[arg(long, global = true, conflicts_with = "quiet")]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model into a run folder: weights, configuration, pictures.
    #[command(
        after_help = "Examples:\n  advect train --preset digits\n  advect train --preset mnist-dit --data FOLDER\n  advect train --preset moons --set train.learning_rate=1e-3 --run runs/try\n  advect train --run runs/digits --resume"
    )]
    Train(TrainArgs),
    /// Draw samples from a trained run.
    #[command(
        after_help = "Examples:\n  advect sample runs/digits --class 3 --count 16 --out threes.png\n  advect sample runs/digits --count 1000 --classes all --out digits.npz\n  advect sample runs/digits --solver uni-pc-3 --grid exponential --steps 8 --out quick.png\n  advect sample runs/moons --solver dopri5 --rtol 1e-5 --atol 1e-5 --out moons.npy"
    )]
    Sample(SampleArgs),
    /// Make a run folder of a network that diffusers trained, to draw samples from.
    #[command(
        after_help = "Examples:\n  advect import ddpm-butterflies/unet --out runs/butterflies\n  advect import my-unet --out runs/mine --schedule vp --prediction noise"
    )]
    Import(ImportArgs),
    /// Say what a run folder, a weights file or a folder of diffusers holds.
    #[command(
        after_help = "Examples:\n  advect info runs/digits\n  advect info runs/digits/ema.safetensors\n  advect info DiT-XL-2-256x256.pt"
    )]
    Info(InfoArgs),
    /// List the presets.
    #[command(after_help = "Example: advect presets")]
    Presets,
    /// List the solvers of `advect sample`.
    #[command(after_help = "Example: advect solvers")]
    Solvers,
    /// List the time grids of `advect sample`.
    #[command(after_help = "Example: advect grids")]
    Grids,
    /// List the devices that this build and this machine have.
    #[command(after_help = "Example: advect devices")]
    Devices,
}

#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// A ready configuration; see `advect presets`.
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    pub(crate) preset: Option<String>,
    /// A configuration file; it may name a preset and change only some keys.
    #[arg(long, value_name = "FILE.toml")]
    pub(crate) config: Option<PathBuf>,
    /// The folder with the files of the data, for presets whose data do not come with the program.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// The run folder [default: runs/PRESET].
    #[arg(long, value_name = "DIR")]
    pub(crate) run: Option<PathBuf>,
    /// Training steps in all.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_STEPS))]
    pub(crate) steps: Option<u64>,
    /// The seed of everything random.
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(..=i64::MAX as u64))]
    pub(crate) seed: Option<u64>,
    /// What the network computes in: f32, f16 or bf16. Weights and loss stay in f32 [default: the configuration's].
    #[arg(long, value_name = "P")]
    pub(crate) precision: Option<Precision>,
    /// Continue the run where its last checkpoint stands, bit for bit.
    #[arg(long)]
    pub(crate) resume: bool,
    /// Change one key of the configuration, such as train.batch=64; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SampleArgs {
    /// The run folder.
    pub(crate) run: PathBuf,
    /// How many samples [default: 100].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) count: Option<usize>,
    /// All samples of one class.
    #[arg(long, value_name = "C", conflicts_with = "classes")]
    pub(crate) class: Option<usize>,
    /// `all`: the classes in turn, sample by sample (the default of a model with classes).
    #[arg(long, value_name = "all")]
    pub(crate) classes: Option<Classes>,
    /// Classifier-free guidance: 1 is the plain conditional model [default: the run's].
    #[arg(long, value_name = "W", allow_negative_numbers = true)]
    pub(crate) guidance: Option<f64>,
    /// How to integrate: see `advect solvers` [default: the run's].
    #[arg(long, value_name = "NAME", value_parser = SolverName::find)]
    pub(crate) solver: Option<SolverName>,
    /// Steps of fixed size [default: the run's, but adaptive solvers choose their own].
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with_all = ["rtol", "atol"])]
    pub(crate) steps: Option<usize>,
    /// Where the steps are: see `advect grids` [default: the run's].
    #[arg(long, value_name = "NAME", value_parser = GridName::find, conflicts_with_all = ["rtol", "atol"])]
    pub(crate) grid: Option<GridName>,
    /// Relative tolerance of an adaptive solver, such as dopri5 [default: the run's].
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    pub(crate) rtol: Option<f64>,
    /// Absolute tolerance of an adaptive solver [default: the run's].
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    pub(crate) atol: Option<f64>,
    /// The seed of the noise [default: 0]. Sample i of a seed is the same, but for rounding, whatever --count and --batch.
    #[arg(long, value_name = "S", default_value_t = 0, hide_default_value = true)]
    pub(crate) seed: u64,
    /// Who draws the noise: `host`, by sample, or `device`, where a card is faster than the processor beside it; then a
    /// seed gives the same samples only on the same device and with the same --count and --batch.
    #[arg(long, value_name = "WHO", value_enum, default_value = "host")]
    pub(crate) noise: NoiseName,
    /// How many samples are computed together: memory against speed, not results [default: the run's].
    #[arg(long, value_name = "B", value_parser = positive)]
    pub(crate) batch: Option<usize>,
    /// What the network computes in: f32, f16 or bf16 [default: f32].
    #[arg(long, value_name = "P")]
    pub(crate) precision: Option<Precision>,
    /// The averaged weights or those as trained.
    #[arg(long, value_enum, default_value = "ema")]
    pub(crate) weights: WeightsName,
    /// The file to write: .png (grid or scatter), .gif (trajectory), .npy, .npz or .safetensors (float32, in the
    /// data's own units and shape).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A folder of diffusers: config.json of a UNet2DModel or DiTTransformer2DModel (with its autoencoder in vae/ beside it)
    /// and the weights, or the folder of a pipeline around it.
    pub(crate) folder: PathBuf,
    /// The run folder to make.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// The path it was trained on [default: as scheduler_config.json says, in the folder or in scheduler/ beside it].
    #[arg(long, value_enum, requires = "prediction")]
    pub(crate) schedule: Option<ScheduleName>,
    /// What it predicts [default: likewise].
    #[arg(long, value_enum, requires = "schedule")]
    pub(crate) prediction: Option<PredictionName>,
    /// Height and width of the images [default: those of its configuration].
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) side: Option<usize>,
    /// Take weights that are NaN or infinite as they are.
    #[arg(long)]
    pub(crate) allow_nan: bool,
}

/// clap's own ranges do not cover `usize`.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".to_owned()),
        Ok(n) if n > MOST => Err(format!("must be at most {MOST}")),
        Ok(n) => Ok(n),
        Err(_) => Err("is not a whole number".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Classes {
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NoiseName {
    Host,
    Device,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeightsName {
    Ema,
    Model,
}

#[derive(Debug, Args)]
pub(crate) struct InfoArgs {
    /// A run folder, a .safetensors, .pt, .pth or .bin file, an index of several, or a folder of diffusers.
    pub(crate) path: PathBuf,
}
