//! Bytes that nobody would write: the readers answer with an error, or with tensors that are in the file.

use std::fs::File;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use advect_nn::checkpoint::{Backbone, Checkpoint, Layout, Manifest, Source, Which, check};
use advect_nn::{AutoencoderKl, DiT, MmDiT, NnError, UNet};
use burn::module::Module;
use burn::tensor::Device;

use crate::checkpoint::{path, unet};

/// SplitMix64 (Steele, Lea and Flood 2014): each case is a function of its number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Opens a file and reads all of it, in every way there is. What it may allocate is bounded by the file.
fn read(file: &Path) {
    let Ok(checkpoint) = Checkpoint::open(file) else { return };
    let length = std::fs::metadata(file).unwrap().len();
    for (name, entry) in checkpoint.manifest() {
        if let Ok(data) = checkpoint.tensor(&name) {
            assert_eq!(data.shape().to_vec(), entry.shape);
            assert!(data.as_bytes().len() as u64 <= length, "{name} is larger than the file");
        }
    }
    let _ = checkpoint.select(Which::Model);
    let _ = checkpoint.select(Which::Ema);
}

/// Builds the network of a configuration that was accepted, unless it is large, and compares it with the weights of
/// another one.
fn build(backbone: &Backbone, manifest: &Manifest) -> bool {
    fn compare<M: Module>(network: Result<M, NnError>, layout: &Layout, manifest: &Manifest) {
        let _ = check(&network.unwrap(), layout, manifest);
    }
    let parameters = match backbone {
        Backbone::UNet { config, .. } => config.num_params(),
        Backbone::DiT(config) => config.num_params(),
        Backbone::MmDiT(config) => config.num_params(),
        Backbone::AutoencoderKl(config) => config.num_params(),
        other => panic!("{other:?}"),
    };
    // Building takes time for each layer, and no layer is empty.
    if parameters > 50_000 {
        return false;
    }
    let device = Device::flex();
    match backbone {
        Backbone::UNet { config, .. } => compare(config.init(&device), &UNet::LAYOUT, manifest),
        Backbone::DiT(config) => compare(config.init(&device), &DiT::LAYOUT_DIFFUSERS, manifest),
        Backbone::MmDiT(config) => compare(config.init(&device), &MmDiT::LAYOUT, manifest),
        Backbone::AutoencoderKl(config) => compare(config.init(&device), &AutoencoderKl::DIFFUSERS, manifest),
        other => panic!("{other:?}"),
    }
    true
}

fn read_bytes(folder: &Path, manifest: &Manifest, bytes: &[u8]) {
    for name in ["case", "case.index.json"] {
        let path = folder.join(name);
        // Not emptied first: some file systems then wait for the disk.
        let mut file = File::options().write(true).create(true).truncate(false).open(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        read(&path);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(backbone) = Backbone::from_json(text, Path::new("config.json"))
    {
        build(&backbone, manifest);
    }
}

/// Numbers where arithmetic breaks.
const EDGES: [u64; 12] =
    [0, 1, 7, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 32, (1 << 63) - 1, 1 << 63, u64::MAX];

/// Changes bytes, wherever they are.
fn mutate_bytes(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, random.next() as u8),
            4 => drop(bytes.remove(at)),
            5 => {
                let size = [2, 4, 8][random.below(3)].min(bytes.len() - at);
                let word = random.pick(&EDGES).to_le_bytes();
                bytes[at..at + size].copy_from_slice(&word[..size]);
            }
            6 => {
                let part = bytes[at..(at + random.below(64)).min(bytes.len())].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, part);
            }
            _ => {
                let from = random.below(other.len());
                let part = &other[from..(from + random.below(64)).min(other.len())];
                bytes.splice(at..at, part.iter().copied());
            }
        }
    }
}

/// Changes one value of a JSON text, or a key, or its kind.
fn mutate_json(value: &mut serde_json::Value, random: &mut Random) {
    use serde_json::{Value, json};
    let inner: Option<&mut Value> = match value {
        Value::Array(values) if !values.is_empty() => {
            let index = random.below(values.len());
            values.get_mut(index)
        }
        Value::Object(entries) if !entries.is_empty() => {
            let key = entries.keys().nth(random.below(entries.len())).unwrap().clone();
            if random.below(8) == 0 {
                let value = entries.remove(&key).unwrap();
                entries.insert(random.pick(&["", "a.b", "data_offsets", "__metadata__", "\u{0}"]).to_string(), value);
                return;
            }
            entries.get_mut(&key)
        }
        _ => None,
    };
    match inner {
        Some(inner) if random.below(6) > 0 => mutate_json(inner, random),
        _ => {
            *value = match random.below(9) {
                0 => Value::Null,
                1 => json!(random.below(2) == 0),
                2 => json!(random.pick(&EDGES)),
                3 => json!(-1),
                4 => json!(1e300),
                5 => json!(random.pick(&["", "F16", "BF16", "I64", "F8_E5M2", "../x", "DownBlock2D", "scale_shift"])),
                6 => json!([]),
                7 => json!({}),
                _ => Value::Array(vec![value.clone(), value.clone()]),
            };
        }
    }
}

/// A safetensors file with its header changed as JSON, and the header's length made right again.
fn mutate_header(bytes: &[u8], random: &mut Random) -> Option<Vec<u8>> {
    let length = u64::from_le_bytes(*bytes.first_chunk()?) as usize;
    let mut header: serde_json::Value = serde_json::from_slice(bytes.get(8..length.checked_add(8)?)?).ok()?;
    for _ in 0..=random.below(3) {
        mutate_json(&mut header, random);
    }
    let text = header.to_string();
    Some([&(text.len() as u64).to_le_bytes(), text.as_bytes(), &bytes[8 + length..]].concat())
}

fn seeds() -> Vec<Vec<u8>> {
    let names = [
        "zip.pt",
        "legacy.pt",
        "nested.pt",
        "evil-hidden.pt",
        "evil-torch.pt",
        "half.safetensors",
        "wrapped.safetensors",
        "unet/io.safetensors",
        "unet/config.json",
        "sharded/diffusion_pytorch_model.safetensors.index.json",
    ];
    let configs = CONFIGS.iter().map(|text| text.as_bytes().to_vec());
    names.iter().map(|name| std::fs::read(path(name)).unwrap()).chain(configs).collect()
}

/// The other networks of diffusers, as small as they get.
const CONFIGS: [&str; 3] = [
    r#"{"_class_name":"DiTTransformer2DModel","num_attention_heads":2,"attention_head_dim":4,"in_channels":1,
        "out_channels":2,"num_layers":2,"sample_size":4,"patch_size":2,"num_embeds_ada_norm":3,
        "norm_elementwise_affine":false,"norm_type":"ada_norm_zero","norm_eps":1e-5}"#,
    r#"{"_class_name":"SD3Transformer2DModel","num_attention_heads":2,"attention_head_dim":4,"in_channels":1,
        "out_channels":1,"num_layers":2,"sample_size":8,"patch_size":2,"caption_projection_dim":8,
        "joint_attention_dim":6,"pooled_projection_dim":5,"pos_embed_max_size":4,"qk_norm":"rms_norm",
        "dual_attention_layers":[0]}"#,
    r#"{"_class_name":"AutoencoderKL","in_channels":1,"out_channels":1,"latent_channels":2,
        "block_out_channels":[4,8],"down_block_types":["DownEncoderBlock2D","DownEncoderBlock2D"],
        "up_block_types":["UpDecoderBlock2D","UpDecoderBlock2D"],"layers_per_block":1,"norm_num_groups":2,
        "scaling_factor":0.5,"shift_factor":0.25,"use_quant_conv":true,"use_post_quant_conv":true,
        "mid_block_add_attention":true,"sample_size":8,"act_fn":"silu"}"#,
];

/// Each of them is built, or the cases made of it would say nothing.
#[test]
fn the_seeds_of_configurations_are_accepted() {
    let manifest = unet().1.manifest();
    for text in CONFIGS {
        assert!(build(&Backbone::from_json(text, Path::new("config.json")).unwrap(), &manifest), "{text}");
    }
}

/// Case number `case`.
fn case(seeds: &[Vec<u8>], case: u64) -> Vec<u8> {
    let mut random = Random(case);
    let (seed, other) = (random.pick(seeds).clone(), random.pick(seeds).clone());
    let json = serde_json::from_slice::<serde_json::Value>(&seed).ok();
    match random.below(3) {
        0 => mutate_header(&seed, &mut random).or(json.map(|mut value| {
            for _ in 0..=random.below(3) {
                mutate_json(&mut value, &mut random);
            }
            value.to_string().into_bytes()
        })),
        _ => None,
    }
    .unwrap_or_else(|| {
        let mut bytes = seed;
        mutate_bytes(&mut bytes, &other, &mut random);
        bytes
    })
}

/// Runs cases until told to stop; a panic names the case and keeps its bytes.
fn run(cases: impl Iterator<Item = u64>) -> u64 {
    let (folder, manifest, seeds) = (tempfile::tempdir().unwrap(), unet().1.manifest(), seeds());
    let mut count = 0;
    for number in cases {
        let bytes = case(&seeds, number);
        if catch_unwind(AssertUnwindSafe(|| read_bytes(folder.path(), &manifest, &bytes))).is_err() {
            let kept = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("case-{number}"));
            std::fs::write(&kept, &bytes).unwrap();
            panic!("case {number} panicked; its bytes are in {}", kept.display());
        }
        count += 1;
    }
    count
}

#[test]
fn mutated_files_never_panic() {
    assert_eq!(run(0..20_000), 20_000);
}

/// See CONTRIBUTING.md.
#[test]
#[ignore = "runs for as long as it is told to"]
fn mutated_files_for_long() {
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(number("ADVECT_FUZZ_SECONDS", 60));
    let start = number("ADVECT_FUZZ_START", 1_000_000);
    let count = run((start..).take_while(|_| Instant::now() < end));
    println!("{count} cases from {start}, no panic");
}

#[test]
fn arbitrary_bytes_never_panic() {
    let (folder, manifest) = (tempfile::tempdir().unwrap(), unet().1.manifest());
    // Behind what the readers look for, or they would look no further: the length of a header, the opcode of a protocol,
    // the first four pickles of an old file.
    let old: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.\x80\x02";
    for number in 0..20_000 {
        let mut random = Random(number);
        let bytes: Vec<u8> = (0..random.below(256)).map(|_| random.next() as u8).collect();
        let bytes = match number % 4 {
            0 => bytes,
            1 => [&(bytes.len() as u64).to_le_bytes()[..], b"{", &bytes].concat(),
            2 => [b"\x80\x02", &bytes[..]].concat(),
            _ => [old, &bytes].concat(),
        };
        read_bytes(folder.path(), &manifest, &bytes);
    }
}
