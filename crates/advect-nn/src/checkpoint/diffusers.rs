//! A folder of diffusers: `config.json` and the weights beside it.

use std::path::Path;

use serde_json::{Value, json};

use super::config::Entries;
use super::file::OpenFile;
use super::{Checkpoint, CheckpointError, Layout, Source};
use crate::{
    AutoencoderKl, AutoencoderKlConfig, Conditioning, DiT, DiTConfig, MmDiT, MmDiTConfig, NnError, QkNorm, Resampling,
    UNet, UNetConfig,
};

/// A network that diffusers saved (`save_pretrained`): what it is, and its weights.
///
/// ```no_run
/// use advect_nn::checkpoint::{Backbone, Folder, load};
/// use burn::tensor::Device;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = Folder::open("unet".as_ref())?;
/// if let Backbone::UNet { config, .. } = &folder.backbone {
///     let mut unet = load(config.init(&Device::flex())?, &folder.layout(), &folder.checkpoint)?;
///     // Their time runs from 0 (data) to 999 (noise); from here on t = 0 is noise and t = 1 data, as everywhere in advect.
///     unet.time = unet.time.backward(999.0);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Folder {
    /// The network that `config.json` describes.
    pub backbone: Backbone,
    /// Its weights, not yet read, under diffusers' names.
    pub checkpoint: Checkpoint,
}

/// A network of diffusers, as ours.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Backbone {
    /// `UNet2DModel`. Its times run from 0 (data) to 999 (noise).
    UNet {
        /// The network. Of `num_class_embeds` classes the last one is our null class.
        config: UNetConfig,
        /// Height and width of the images it was made for, if it says so.
        size: Option<[usize; 2]>,
    },
    /// `DiTTransformer2DModel`. Its times run from 0 (data) to 999 (noise).
    DiT(DiTConfig),
    /// `SD3Transformer2DModel`. Its times run from 0 (data) to 1000 (noise).
    MmDiT(MmDiTConfig),
    /// `AutoencoderKL`.
    AutoencoderKl(AutoencoderKlConfig),
}

/// The weights' names, best first.
const WEIGHTS: &[&str] = &[
    "diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.bin",
    "diffusion_pytorch_model.bin.index.json",
    "diffusion_pytorch_model.fp16.safetensors",
];

/// The longest `config.json` that is read; real ones have two thousand bytes.
const MOST_CONFIG: u64 = 1 << 20;

impl Folder {
    /// Opens a folder; reads no weights.
    ///
    /// # Errors
    /// [`CheckpointError::Config`] with the entry that describes a network we do not have; as for [`Checkpoint::open`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |reason: &str| CheckpointError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
        let config = path.join("config.json");
        if !config.exists() {
            if !path.join("model_index.json").exists() {
                return Err(damaged("it has no config.json"));
            }
            let networks = networks(path);
            let which =
                if networks.is_empty() { "such as `unet` or `transformer`".to_owned() } else { networks.join(" or ") };
            return Err(damaged(&format!("it is a whole pipeline: name the folder of one network in it, {which}")));
        }
        let file = OpenFile::open(&config)?;
        if file.length > MOST_CONFIG {
            return Err(file.damaged(format!("a configuration of {} bytes is none", file.length)));
        }
        let text = String::from_utf8(file.read(0, file.length as usize)?);
        let backbone = Backbone::from_json(&text.map_err(|_| file.damaged("it is not UTF-8"))?, &config)?;
        let weights = WEIGHTS.iter().map(|name| path.join(name)).find(|path| path.exists());
        let weights = weights.ok_or_else(|| damaged("it has no diffusion_pytorch_model.safetensors"))?;
        let checkpoint = Checkpoint::open(&weights)?;
        // Each layer has a tensor at least: what the weights do not have should not be built to say so.
        let ((key, levels, layers), tensors) = (backbone.layers(), checkpoint.manifest().len());
        if layers.saturating_mul(levels) > tensors {
            let (path, key, value) = (config, key.to_owned(), layers.to_string());
            let reason = format!("the weights beside it have {tensors} tensors, too few for so many layers");
            return Err(CheckpointError::Config { path, key, value, reason });
        }
        Ok(Self { backbone, checkpoint })
    }

    /// The names of its weights.
    pub fn layout(&self) -> Layout {
        match &self.backbone {
            Backbone::UNet { .. } => UNet::LAYOUT,
            Backbone::DiT(_) => DiT::LAYOUT_DIFFUSERS,
            Backbone::MmDiT(_) => MmDiT::LAYOUT,
            // The configuration does not tell which version wrote the weights.
            Backbone::AutoencoderKl(_)
                if self.checkpoint.manifest().keys().any(|name| name.contains(".proj_attn.")) =>
            {
                AutoencoderKl::DIFFUSERS_OLD
            }
            Backbone::AutoencoderKl(_) => AutoencoderKl::DIFFUSERS,
        }
    }
}

/// The folders of networks in that of a pipeline, sorted.
fn networks(path: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
    let is_network =
        |path: &Path| path.join("config.json").exists() && WEIGHTS.iter().any(|name| path.join(name).exists());
    let found = entries.flatten().filter(|entry| is_network(&entry.path()));
    let mut names: Vec<String> =
        found.map(|entry| format!("`{}`", entry.file_name().to_string_lossy().escape_debug())).collect();
    names.sort();
    names
}

impl Backbone {
    /// The entry of `config.json` that says how many layers each level has, the number of levels, and that entry.
    fn layers(&self) -> (&'static str, usize, usize) {
        match self {
            Self::UNet { config, .. } => ("layers_per_block", config.multipliers.len(), config.blocks),
            Self::DiT(config) => ("num_layers", 1, config.depth),
            Self::MmDiT(config) => ("num_layers", 1, config.layers),
            Self::AutoencoderKl(config) => ("layers_per_block", config.multipliers.len(), config.blocks),
        }
    }

    /// The network that a `config.json` describes; `path` is for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Config`] with the entry that is unknown or not supported.
    pub fn from_json(text: &str, path: &Path) -> Result<Self, CheckpointError> {
        let mut entries = Entries::read(text, path)?;
        let class: Value = entries.take("_class_name", Value::Null)?;
        match class.as_str() {
            Some("UNet2DModel") => unet(entries),
            Some("DiTTransformer2DModel" | "Transformer2DModel") => dit(entries),
            Some("SD3Transformer2DModel") => mm_dit(entries),
            Some("AutoencoderKL") => autoencoder(entries),
            _ => Err(entries.refuse(
                "_class_name",
                &class,
                "known are UNet2DModel, DiTTransformer2DModel, SD3Transformer2DModel and AutoencoderKL",
            )),
        }
    }
}

/// What our own check of a configuration says about theirs.
fn valid(entries: Entries, checked: Result<(), NnError>) -> Result<(), CheckpointError> {
    checked.map_err(|error| entries.refuse("config", &Value::Null, error.to_string()))?;
    entries.finish()
}

/// `UNet2DModel`: what our U-Net computes exactly, and nothing else.
fn unet(mut entries: Entries) -> Result<Backbone, CheckpointError> {
    let e = &mut entries;
    for (key, values) in [
        ("center_input_sample", [json!(false)].as_slice()),
        ("time_embedding_type", &[json!("positional")]),
        ("freq_shift", &[json!(0)]),
        ("flip_sin_to_cos", &[json!(true)]),
        ("mid_block_type", &[json!("UNetMidBlock2D")]),
        ("mid_block_scale_factor", &[json!(1)]),
        ("downsample_padding", &[json!(1)]),
        ("act_fn", &[json!("silu"), json!("swish")]),
        ("norm_eps", &[json!(1e-5)]),
        ("add_attention", &[json!(true)]),
        ("class_embed_type", &[Value::Null]),
    ] {
        e.expect(key, values)?;
    }
    // Dropout is of training; the other counts steps for embeddings that were refused above.
    e.ignore(&["dropout", "num_train_timesteps"]);

    let (channels, multipliers) = e.multipliers("block_out_channels", json!([224, 448, 672, 896]))?;
    e.expect("time_embedding_dim", &[Value::Null, json!(channels.saturating_mul(4))])?;
    let groups: usize = e.take("norm_num_groups", json!(32))?;
    let conditioning = match e.expect("resnet_time_scale_shift", &[json!("default"), json!("scale_shift")])?.as_str() {
        Some("scale_shift") => Conditioning::ScaleShift,
        _ => Conditioning::Add,
    };
    // Without its own number of groups, the middle attention of scale-shift networks has no norm there.
    match conditioning {
        Conditioning::Add => e.expect("attn_norm_num_groups", &[Value::Null, json!(groups)])?,
        Conditioning::ScaleShift => match e.take("attn_norm_num_groups", Value::Null)? {
            Some::<usize>(own) if own == groups => json!(own),
            own => return Err(e.refuse("attn_norm_num_groups", &json!(own), format!("it has to be {groups}"))),
        },
    };

    let levels = multipliers.len();
    let (mut attention, mut resamples) = (Vec::new(), Vec::new());
    let convolution = json!("conv");
    let [down, up] = [("down", false), ("up", true)].map(|(direction, reversed)| {
        let key = format!("{direction}_block_types");
        let default = match direction {
            "down" => json!(["DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"]),
            _ => json!(["AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"]),
        };
        let resample = e.expect(&format!("{direction}sample_type"), &[convolution.clone(), json!("resnet")])?;
        let names: Vec<String> = e.take(&key, default)?;
        let kind = if direction == "down" { "Down" } else { "Up" };
        let mut kinds = names
            .iter()
            .map(|name| match name.strip_suffix("Block2D") {
                Some(name) if name == format!("Attn{kind}") => Ok((true, resample == convolution)),
                Some(name) if name == kind => Ok((false, true)),
                Some(name) if name == format!("Resnet{kind}sample") => Ok((false, false)),
                _ => Err(e.refuse(&key, &json!(names), format!("`{name}` is not among our blocks"))),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if names.len() != levels {
            return Err(e.refuse(&key, &json!(names), format!("`block_out_channels` has {levels} levels")));
        }
        if reversed {
            kinds.reverse();
        }
        Ok((key, names, kinds))
    });
    let ((_, _, down), (up_key, up_names, up)) = (down?, up?);
    // At the coarsest level nothing changes size, so the kind of that is free.
    for (level, (down, up)) in down.iter().zip(&up).enumerate() {
        let last = level + 1 == levels;
        if down.0 != up.0 || !last && down.1 != up.1 {
            return Err(e.refuse(&up_key, &json!(up_names), "the way up has to mirror the way down"));
        }
        if down.0 {
            attention.push(1_usize.checked_shl(level as u32).unwrap_or(0));
        }
        if !last {
            resamples.push(down.1);
        }
    }
    let resample = match (resamples.iter().all(|&conv| conv), resamples.iter().all(|&conv| !conv)) {
        (true, _) => Resampling::Conv,
        (_, true) => Resampling::ResidualBlock,
        _ => return Err(e.refuse(&up_key, &json!(up_names), "all levels have to change size in the same way")),
    };

    // Without a size each attention has one head over all its channels.
    let widths = down.iter().zip(&multipliers).filter(|(down, _)| down.0).map(|(_, width)| width * channels);
    let mut widths: Vec<usize> = widths.chain(multipliers.last().map(|width| width * channels)).collect();
    widths.dedup();
    let head_channels = match (e.take("attention_head_dim", json!(8))?, &widths[..]) {
        (Some(size), _) => size,
        (None::<usize>, &[width]) => width,
        (None, _) => {
            return Err(e.refuse("attention_head_dim", &Value::Null, "levels of several widths need one head size"));
        }
    };
    let classes = match e.take::<Option<usize>>("num_class_embeds", Value::Null)? {
        Some(count) if count < 2 => {
            return Err(e.refuse("num_class_embeds", &json!(count), "the last class is the null class: at least 2"));
        }
        count => count.map(|count| count - 1),
    };
    let size = match e.take::<Value>("sample_size", Value::Null)? {
        Value::Null => None,
        value => Some(square(e, &value)?),
    };
    let config = UNetConfig::new(e.take("in_channels", json!(3))?, channels, multipliers)
        .with_out_channels(e.take("out_channels", json!(3))?)
        .with_blocks(e.take("layers_per_block", json!(2))?)
        .with_attention(attention)
        .with_head_channels(head_channels)
        .with_groups(groups)
        .with_classes(classes)
        .with_conditioning(conditioning)
        .with_resample(resample);
    let checked = config.validate();
    valid(entries, checked)?;
    Ok(Backbone::UNet { config, size })
}

/// A number or two.
fn square(entries: &Entries, value: &Value) -> Result<[usize; 2], CheckpointError> {
    let number = |value: &Value| value.as_u64().map(|size| size as usize);
    let pair = value.as_array().and_then(|pair| match &pair[..] {
        [height, width] => Some([number(height)?, number(width)?]),
        _ => None,
    });
    let size = pair.or_else(|| number(value).map(|size| [size, size]));
    size.ok_or_else(|| entries.refuse("sample_size", value, "it has to be a number, or height and width"))
}

/// `DiTTransformer2DModel`, and the `Transformer2DModel` that it was before it had a class of its own.
fn dit(mut entries: Entries) -> Result<Backbone, CheckpointError> {
    let e = &mut entries;
    for (key, values) in [
        ("norm_type", [json!("ada_norm_zero")].as_slice()),
        ("activation_fn", &[json!("gelu-approximate")]),
        ("attention_bias", &[json!(true)]),
        ("norm_elementwise_affine", &[json!(false)]),
        // The original has 1e-6. The converted checkpoints do not say, and diffusers takes 1e-5 at one of three places.
        ("norm_eps", &[json!(1e-5), json!(1e-6)]),
        ("cross_attention_dim", &[Value::Null]),
        ("num_vector_embeds", &[Value::Null]),
        ("only_cross_attention", &[json!(false)]),
        ("double_self_attention", &[json!(false)]),
        ("use_linear_projection", &[json!(false)]),
        ("caption_channels", &[Value::Null]),
    ] {
        e.expect(key, values)?;
    }
    e.ignore(&["dropout", "norm_num_groups", "upcast_attention", "attention_type", "interpolation_scale"]);
    e.ignore(&["use_additional_conditions"]);
    let in_channels: usize = e.take("in_channels", json!(4))?;
    let heads: usize = e.take("num_attention_heads", json!(16))?;
    let head: usize = e.take("attention_head_dim", json!(72))?;
    let Some(width) = heads.checked_mul(head) else {
        return Err(e.refuse("attention_head_dim", &json!(head), "the width would be too large"));
    };
    let size: usize = e.take("sample_size", json!(32))?;
    let depth = e.take("num_layers", json!(28))?;
    let config = DiTConfig::new(in_channels, [size, size], e.take("patch_size", json!(2))?, width, depth, heads)
        .with_out_channels(e.take::<Option<usize>>("out_channels", Value::Null)?.unwrap_or(in_channels))
        .with_classes(Some(e.take("num_embeds_ada_norm", json!(1000))?));
    let checked = config.validate();
    valid(entries, checked)?;
    Ok(Backbone::DiT(config))
}

/// `SD3Transformer2DModel`.
fn mm_dit(mut entries: Entries) -> Result<Backbone, CheckpointError> {
    let e = &mut entries;
    let heads: usize = e.take("num_attention_heads", json!(18))?;
    let head: usize = e.take("attention_head_dim", json!(64))?;
    let Some(width) = heads.checked_mul(head) else {
        return Err(e.refuse("attention_head_dim", &json!(head), "the width would be too large"));
    };
    // The text is added to nothing and joined to the image: it has to be as wide.
    let text: usize = e.take("caption_projection_dim", json!(1152))?;
    if text != width {
        return Err(e.refuse(
            "caption_projection_dim",
            &json!(text),
            format!("it has to be {width}, as the heads say"),
        ));
    }
    let qk_norm = match e.expect("qk_norm", &[Value::Null, json!("rms_norm")])? {
        Value::Null => QkNorm::Off,
        _ => QkNorm::Rms,
    };
    let patch: usize = e.take("patch_size", json!(2))?;
    let size: usize = e.take("sample_size", json!(128))?;
    let in_channels = e.take("in_channels", json!(16))?;
    let config = MmDiTConfig::new(in_channels, e.take("num_layers", json!(18))?, heads)
        .with_out_channels(e.take::<Option<usize>>("out_channels", json!(16))?.unwrap_or(in_channels))
        .with_head_channels(head)
        .with_text_features(e.take("joint_attention_dim", json!(4096))?)
        .with_pooled_features(e.take("pooled_projection_dim", json!(2048))?)
        .with_patch(patch)
        .with_positions(e.take("pos_embed_max_size", json!(96))?)
        .with_position_span(size.checked_div(patch).unwrap_or(0))
        .with_qk_norm(qk_norm)
        .with_dual_attention(e.take("dual_attention_layers", json!([]))?);
    let checked = config.validate();
    valid(entries, checked)?;
    Ok(Backbone::MmDiT(config))
}

/// `AutoencoderKL`.
fn autoencoder(mut entries: Entries) -> Result<Backbone, CheckpointError> {
    let e = &mut entries;
    for (key, values) in [
        ("act_fn", [json!("silu"), json!("swish")].as_slice()),
        // Latents normalized channel by channel.
        ("latents_mean", &[Value::Null]),
        ("latents_std", &[Value::Null]),
    ] {
        e.expect(key, values)?;
    }
    // The size is that of training; upcasting is a matter of how it is run.
    e.ignore(&["sample_size", "force_upcast"]);
    let (channels, multipliers) = e.multipliers("block_out_channels", json!([64]))?;
    for (key, name) in [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")] {
        let names: Vec<String> = e.take(key, json!([name]))?;
        if names.len() != multipliers.len() || names.iter().any(|found| found != name) {
            return Err(e.refuse(key, &json!(names), format!("it has to be `{name}` for each level")));
        }
    }
    let in_channels: usize = e.take("in_channels", json!(3))?;
    e.expect("out_channels", &[json!(in_channels)])?;
    let quant_convs: bool = e.take("use_quant_conv", json!(true))?;
    e.expect("use_post_quant_conv", &[json!(quant_convs)])?;
    let shift: Option<f64> = e.take("shift_factor", Value::Null)?;
    let config = AutoencoderKlConfig::new(in_channels, channels, multipliers, e.take("latent_channels", json!(4))?)
        .with_blocks(e.take("layers_per_block", json!(1))?)
        .with_groups(e.take("norm_num_groups", json!(32))?)
        .with_attention(e.take("mid_block_add_attention", json!(true))?)
        .with_quant_convs(quant_convs)
        .with_latent_scale(shift.unwrap_or(0.0), e.take("scaling_factor", json!(0.18215))?);
    let checked = config.validate();
    valid(entries, checked)?;
    Ok(Backbone::AutoencoderKl(config))
}
