use crate::{Bench, npy};
use advect::burn;
use advect::burn::tensor::{Device, Int, Tensor};
use advect::nn::UNetConfig;
use advect::nn::checkpoint::{Checkpoint, Source, save};
use advect::prelude::RunFolder;
use advect::train::Which;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../advect-nn/tests/fixtures/checkpoint").join(name)
}

/// A bench with a folder `unet` of diffusers and the scheduler of DDPM beside it.
fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("unet")).unwrap();
    for name in ["config.json", "diffusion_pytorch_model.safetensors"] {
        std::fs::copy(fixture("unet").join(name), bench.path("unet").join(name)).unwrap();
    }
    scheduler(&bench, "epsilon", "linear");
    bench
}

fn scheduler(bench: &Bench, prediction: &str, betas: &str) {
    let text = format!(
        r#"{{"_class_name": "DDPMScheduler", "beta_start": 0.0001, "beta_end": 0.02, "num_train_timesteps": 1000,
            "beta_schedule": "{betas}", "prediction_type": "{prediction}"}}"#
    );
    std::fs::create_dir_all(bench.path("scheduler")).unwrap();
    std::fs::write(bench.path("scheduler/scheduler_config.json"), text).unwrap();
}

#[test]
fn an_imported_network_is_diffusers_network_with_time_turned_round() {
    let bench = bench();
    bench.ok("import unet --out run");
    let config: toml::Table = bench.text("run/config.toml").parse().unwrap();
    assert_eq!(config["path"]["schedule"].as_str(), Some("vp"));
    assert_eq!(config["path"]["prediction"].as_str(), Some("noise"));
    let unet: UNetConfig = {
        let mut model = config["model"].as_table().unwrap().clone();
        model.remove("kind");
        model.try_into().unwrap()
    };

    let device = Device::flex();
    let io = Checkpoint::open(&fixture("unet/io.safetensors")).unwrap();
    let get = |name: &str| io.tensor(name).unwrap();
    for which in [Which::Model, Which::Ema] {
        let run = RunFolder::open(&bench.path("run")).unwrap();
        let network = run.load(unet.init(&device).unwrap(), which).unwrap();
        // diffusers saw n = 1000 t there, with n = 999 the noise; here 0 is the noise.
        let t = Tensor::<1>::from_data(get("t"), &device) * -1.0 + 0.999;
        let class = Tensor::<1, Int>::from_data(get("class"), &device);
        let output = network.forward(Tensor::from_data(get("x"), &device), t, Some(class));
        let (output, expected) =
            (output.into_data().try_to_vec::<f32>().unwrap(), get("output").try_to_vec::<f32>().unwrap());
        let size = expected.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
        let off = output.iter().zip(&expected).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
        assert!(off < 2e-4 * size, "off by {off}, values up to {size}");
    }
}

#[test]
fn an_imported_network_draws_samples() {
    let bench = bench();
    let said = bench.ok("import unet --out run");
    assert!(said.contains("2 classes (the last of its 3 is taken as \"no class\")"), "{said}");
    let said = bench.fails(1, "import unet --out run");
    assert!(said.contains("already holds a run") && said.contains("--out") && !said.contains("--resume"), "{said}");
    bench.ok("sample run --count 3 --steps 4 --out samples.npy");
    let (values, shape) = npy(&bench.path("samples.npy"));
    assert!(shape.contains("(3, 1, 8, 8"), "{shape}");
    assert!(values.iter().all(|x| x.is_finite()));
    bench.ok("sample run --class 1 --count 2 --steps 4 --out samples.png");
    let said = bench.ok("info run");
    assert!(said.contains("preset imported") && said.contains("finished"), "{said}");
    let said = bench.fails(2, "train --run run --resume --steps 2");
    assert!(said.contains("it can be sampled, not trained"), "{said}");
}

#[test]
fn info_prints_the_layout_of_other_peoples_files() {
    let bench = bench();
    let said = bench.ok("info unet");
    assert!(said.contains("conv_in.weight  [4, 1, 3, 3]  F32"), "{said}");
    assert!(said.contains("\n  conv_in  40\n"), "{said}");
    assert!(said.contains("UNet {"), "{said}");
    std::fs::copy(fixture("nested.pt"), bench.path("nested.pt")).unwrap();
    let said = bench.ok("info nested.pt");
    assert!(said.contains("model.module.weight  [2, 3]  F32") && said.contains("\n  ema  8\n"), "{said}");
}

/// That the import fails with one sentence and leaves nothing.
fn refused(bench: &Bench, code: i32, arguments: &str, part: &str) {
    let said = bench.fails(code, &format!("import {arguments} --out run"));
    assert!(said.contains(part), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    assert!(!bench.path("run").exists(), "{said}");
}

#[test]
fn bad_checkpoints_are_one_sentence_and_leave_nothing() {
    let weights = "unet/diffusion_pytorch_model.safetensors";
    let bench = bench();
    let good = bench.bytes(weights);
    let write = |bytes: &[u8]| std::fs::write(bench.path(weights), bytes).unwrap();
    write(&good[..good.len() - 1]);
    refused(&bench, 1, "unet", "cut off");
    write(&good[..100]);
    refused(&bench, 1, "unet", "its header should have");
    write(b"not a checkpoint at all");
    refused(&bench, 1, "unet", "neither a safetensors file nor one of `torch.save`");

    let checkpoint = Checkpoint::open(&fixture(weights)).unwrap();
    let mut tensors = checkpoint.manifest().into_keys().map(|name| (name.clone(), checkpoint.tensor(&name).unwrap()));
    let mut tensors: advect::nn::checkpoint::Tensors = tensors.by_ref().collect();
    let kept = tensors.insert("conv_in.bias".into(), [1.0_f32, f32::NAN, 2.0, 3.0].into()).unwrap();
    save(&bench.path(weights), &tensors).unwrap();
    refused(&bench, 1, "unet", "1 values in 1 tensors, the first is `conv_in.bias`");
    bench.ok("import unet --allow-nan --out with-nan");
    tensors.remove("conv_in.bias").unwrap();
    tensors.insert("conv_in.offset".into(), kept.clone());
    save(&bench.path(weights), &tensors).unwrap();
    refused(&bench, 1, "unet", "1 missing (conv_in.bias); 1 unexpected (conv_in.offset)");
    // A name that would clear the screen and begin another line.
    tensors.remove("conv_in.offset").unwrap();
    tensors.insert("conv_in.\u{1b}[2J\nok".into(), kept);
    save(&bench.path(weights), &tensors).unwrap();
    refused(&bench, 1, "unet", "1 unexpected (conv_in.\\u{1b}[2J\\nok)");
    for path in ["unet", weights] {
        let said = bench.ok(&format!("info {path}"));
        assert!(said.contains("conv_in.\\u{1b}[2J\\nok") && !said.contains('\u{1b}'), "{said}");
    }

    write(&good);
    let config = bench.text("unet/config.json");
    let replaced =
        |from: &str, to: &str| std::fs::write(bench.path("unet/config.json"), config.replace(from, to)).unwrap();
    replaced("\"layers_per_block\": 1", "\"layers_per_block\": 2");
    refused(&bench, 1, "unet", "does not fit the network");
    replaced("\"norm_eps\": 1e-05", "\"norm_eps\": 1e-06");
    refused(&bench, 1, "unet", "`norm_eps` = 1e-6 is not supported");
    replaced("\"sample_size\": 8", "\"sample_size\": null");
    refused(&bench, 2, "unet", "with --side");
    refused(&bench, 2, "unet --side 2000", "--side 2000: images of 2000x2000 pixels with 1 channels are out of range");
    replaced("\"sample_size\": 8", "\"sample_size\": 2000");
    refused(&bench, 1, "unet", "config.json: images of 2000x2000 pixels with 1 channels are out of range");
    replaced("", "");
    scheduler(&bench, "flow_prediction", "linear");
    refused(&bench, 1, "unet", "`prediction_type` = flow_prediction is not supported");
    scheduler(&bench, "v_prediction", "linear");
    bench.ok("import unet --out with-v");
    assert!(bench.text("with-v/config.toml").contains("prediction = \"v\""));
    bench.ok("sample with-v --count 2 --steps 3 --out v.npy --quiet");
    scheduler(&bench, "epsilon", "squaredcos_cap_v2");
    refused(&bench, 1, "unet", "`beta_schedule` = squaredcos_cap_v2 is not supported");
    std::fs::remove_file(bench.path("scheduler/scheduler_config.json")).unwrap();
    refused(&bench, 2, "unet", "give --schedule and --prediction");
    assert!(bench.fails(2, "import unet --schedule vp --out run").contains("--prediction"));
    refused(&bench, 1, weights, "is no folder");
    refused(&bench, 1, "nosuch", "nosuch does not exist");

    std::fs::remove_file(bench.path(weights)).unwrap();
    std::fs::copy(fixture("evil-torch.pt"), bench.path("unet/diffusion_pytorch_model.bin")).unwrap();
    refused(&bench, 1, "unet --schedule vp --prediction noise", "it was not run");
}

/// A pipeline of a small DiT of two classes on the 4x4 latents of a small autoencoder.
fn pipeline(bench: &Bench) -> (advect::nn::DiT, advect::nn::AutoencoderKl) {
    use advect::nn::checkpoint::export;
    use advect::nn::{AutoencoderKl, AutoencoderKlConfig, DiT, DiTConfig};
    use burn::tensor::Distribution;
    let device = Device::flex();
    // A fresh DiT is zero: give each weight a value.
    struct Random;
    impl burn::module::ModuleMapper for Random {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<D>>,
        ) -> burn::module::Param<Tensor<D>> {
            param.map(|x| x.random_like(Distribution::Normal(0.0, 0.2)))
        }
    }
    use burn::module::Module;
    let dit: DiT =
        DiTConfig::new(4, [4, 4], 2, 16, 2, 2).with_classes(Some(2)).with_out_channels(8).init(&device).unwrap();
    let dit = dit.map(&mut Random);
    // The scale is an entry of the configuration, not a weight.
    let vae = AutoencoderKlConfig::new(3, 8, vec![1, 2], 4).with_blocks(1).with_groups(4).with_latent_scale(0.0, 0.5);
    let vae: AutoencoderKl = vae.init(&device).unwrap();
    for (name, config, tensors) in [
        (
            "transformer",
            r#"{"_class_name": "DiTTransformer2DModel", "activation_fn": "gelu-approximate", "attention_bias": true,
                "attention_head_dim": 8, "in_channels": 4, "norm_elementwise_affine": false, "norm_type": "ada_norm_zero",
                "num_attention_heads": 2, "num_embeds_ada_norm": 2, "num_layers": 2, "out_channels": 8, "patch_size": 2,
                "sample_size": 4}"#,
            export(&dit, &DiT::LAYOUT_DIFFUSERS).unwrap(),
        ),
        (
            "vae",
            r#"{"_class_name": "AutoencoderKL", "block_out_channels": [8, 16], "in_channels": 3, "out_channels": 3,
                "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D"], "latent_channels": 4,
                "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D"], "layers_per_block": 1, "norm_num_groups": 4,
                "scaling_factor": 0.5}"#,
            export(&vae, &AutoencoderKl::DIFFUSERS).unwrap(),
        ),
    ] {
        std::fs::create_dir_all(bench.path("pipe").join(name)).unwrap();
        std::fs::write(bench.path("pipe").join(name).join("config.json"), config).unwrap();
        save(&bench.path("pipe").join(name).join("diffusion_pytorch_model.safetensors"), &tensors).unwrap();
    }
    std::fs::write(bench.path("pipe/model_index.json"), "{}").unwrap();
    (dit, vae)
}

#[test]
fn a_transformer_is_imported_with_its_autoencoder() {
    let bench = Bench::new();
    let (dit, vae) = pipeline(&bench);
    let said = bench.fails(2, "import pipe --out run");
    assert!(said.contains("scheduler_config.json") && !bench.path("run").exists(), "{said}");
    scheduler(&bench, "epsilon", "linear");
    std::fs::rename(bench.path("scheduler"), bench.path("pipe/scheduler")).unwrap();
    bench.ok("import pipe --out run");
    let said = bench.ok("sample run --count 3 --class 1 --guidance 2 --solver euler --steps 1 --out s.npy");
    assert!(said.contains("1.0 evaluations"), "{said}");
    let (values, header) = npy(&bench.path("s.npy"));
    assert!(header.contains("(3, 3, 8, 8"), "{header}");

    // One Euler step by hand. On the variance-preserving path x = a z + s e, dx/dt = a' z + s' e, where the network says e; the noise comes by seed.
    let device = Device::flex();
    let noise = advect::prelude::NoiseKey::new(0, advect::core::Purpose::Custom(1));
    let x: Tensor<4> = noise.normal(&[0, 1, 2], 0, [3, 4, 4, 4], &device);
    let at = |class: i64| {
        let class = Tensor::<1, Int>::from_ints([class; 3], &device);
        // Their time of pure noise is 999 of 1000.
        dit.forward(x.clone(), Tensor::from_floats([0.999; 3], &device), Some(class)).narrow(1, 0, 4)
    };
    let e = at(2) + (at(1) - at(2)) * 2.0; // the null class, and twice the way from it
    // The betas rise from 0.1 to 20: at the noise a = exp(-(20 + 0.1) / 4), s^2 = 1 - a^2, a' = a 20 / 2, s' = -a a' / s.
    let a = (-(20.0_f64 + 0.1) / 4.0).exp();
    let (s, d_a) = ((1.0 - a * a).sqrt(), 10.0 * a);
    let d_s = -a * d_a / s;
    let z = (x.clone() - e.clone() * s) / a;
    let end = x + (z * d_a + e * d_s) * 0.999;
    let image = vae.decode_latents(end) * 127.5 + 127.5;
    let expected = image.into_data().try_to_vec::<f32>().unwrap();
    let size = expected.iter().fold(0.0_f32, |size, x| size.max(x.abs()));
    let off = values.iter().zip(&expected).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
    assert!(off < 2e-3 * size, "off by {off}, values up to {size}");

    // Networks that cannot be, places that are taken: nothing is written.
    let config = bench.text("pipe/transformer/config.json");
    let replaced =
        |from: &str, to: &str| std::fs::write(bench.path("pipe/transformer/config.json"), config.replace(from, to));
    replaced("\"out_channels\": 8", "\"out_channels\": 6").unwrap();
    assert!(bench.fails(1, "import pipe --out other").contains("takes 4 channels and gives 6"));
    replaced("\"sample_size\": 4", "\"sample_size\": 9223372036854775808").unwrap();
    assert!(bench.fails(1, "import pipe --out other").contains("9223372036854775808"));
    replaced("", "").unwrap();
    std::fs::create_dir_all(bench.path("taken/autoencoder")).unwrap();
    std::fs::write(bench.path("taken/autoencoder/state.json"), "{}").unwrap();
    let said = bench.fails(1, "import pipe --out taken");
    assert!(said.contains("already holds a run") && said.contains("--out"), "{said}");
    assert!(!bench.path("taken/config.toml").exists(), "nothing half imported");
    assert!(bench.fails(1, "info pipe").contains("whole pipeline"));

    // Without its autoencoder, and as one.
    std::fs::rename(bench.path("pipe/vae"), bench.path("pipe/away")).unwrap();
    assert!(bench.fails(1, "import pipe --out other").contains("has to be in vae/ beside it"));
    assert!(bench.fails(1, "import pipe/away --out other").contains("draws no samples of its own"));
    assert!(!bench.path("other").exists(), "nothing half imported");
}
