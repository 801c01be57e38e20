//! The autoencoder against diffusers, its losses against `torch.distributions`, the discriminator against `torch.nn`.

use std::collections::BTreeMap;

use advect_nn::checkpoint::{self, CheckpointError, Layout, Manifest, Row, Tensors};
use advect_nn::{
    AutoencoderKl, AutoencoderKlConfig, AutoencoderObjective, CoderBlock, LatentDistribution, NnError,
    PatchDiscriminatorConfig, Vae, autoencoder_loss, discriminator_hinge_loss, generator_hinge_loss,
};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Device, Distribution, Tensor, TensorData};
use safetensors::SafeTensors;

use crate::fixture::{Fixture, assert_close, values};

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn scalar(tensor: &Tensor<1>) -> f64 {
    values(&tensor.to_data())[0]
}

/// Four levels, as in the published ones.
fn four() -> AutoencoderKlConfig {
    AutoencoderKlConfig::new(3, 4, vec![1, 2, 2, 1], 2).with_blocks(1).with_groups(2)
}

/// Compares a network of `tools/fixtures-nn/autoencoder.py`: moments, divergence, image, and the gradients of
/// `sum(y * cotangent) + sum(kl)` by x and every parameter.
fn check(name: &str, config: &AutoencoderKlConfig) {
    let device = Device::flex().autodiff();
    let fixture = Fixture::read(&format!("autoencoder/{name}"));
    let network = config.init(&device).unwrap();
    assert_eq!(network.num_params(), fixture.parameters, "{name}");
    assert_eq!(config.num_params(), fixture.parameters, "{name}");
    assert_eq!(network.factor(), config.factor(), "{name}");

    let network = fixture.load(network, &AutoencoderKl::DIFFUSERS);
    let x = fixture.get("x").tensor::<4>(&device).require_grad();
    let latent = network.encode(x.clone());
    let moments = Tensor::cat(vec![latent.mean(), latent.log_variance()], 1);
    assert_eq!(moments.dims().to_vec(), fixture.get("moments").shape, "{name}");
    assert_close("moments", &moments.into_data(), &fixture.get("moments").values);
    assert_close("kl", &latent.kl().into_data(), &fixture.get("kl").values);
    let noise = fixture.get("noise").tensor::<4>(&device);
    let made = Vae::new(network.clone()).reconstruct(x.clone(), noise.clone());
    assert_close("y, in training", &made.y.into_data(), &fixture.get("y").values);
    let y = network.decode(latent.sample(noise));
    assert_eq!(y.dims().to_vec(), fixture.get("y").shape, "{name}");
    assert_close("y", &y.clone().into_data(), &fixture.get("y").values);

    let loss = (y * fixture.get("cotangent").tensor::<4>(&device)).sum() + latent.kl().sum();
    let gradients = loss.backward();
    assert_close("gradient by x", &x.grad(&gradients).unwrap().into_data(), &fixture.get("grad/x").values);
    fixture.check_gradients(network, &AutoencoderKl::DIFFUSERS, &gradients);
}

#[test]
fn four_levels_with_attention_and_quant_convs() {
    check("four", &four());
}

#[test]
fn three_levels_without_quant_convs_and_latents_of_odd_size() {
    check("three", &AutoencoderKlConfig::new(1, 4, vec![1, 1, 2], 4).with_groups(2).with_quant_convs(false));
}

#[test]
fn no_attention() {
    let config = AutoencoderKlConfig::new(2, 4, vec![2, 1, 2], 3).with_blocks(1).with_groups(2);
    check("bare", &config.with_attention(false));
}

#[test]
fn one_level() {
    check("one", &AutoencoderKlConfig::new(3, 8, vec![1], 2).with_blocks(1).with_groups(2).with_quant_convs(false));
}

/// The fixture's weights under the names that its metadata give, and in CompVis' arrangement.
fn renamed(fixture: &Fixture, key: &str) -> Tensors {
    let path = format!("{}/tests/fixtures/autoencoder/four.safetensors", env!("CARGO_MANIFEST_DIR"));
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let names: BTreeMap<String, String> = serde_json::from_str(&header.metadata().as_ref().unwrap()[key]).unwrap();
    let weights = fixture.weights().into_iter();
    let rename = |(name, data): (String, TensorData)| {
        let shape = data.shape().to_vec();
        let is_convolution = key == "compvis" && name.contains(".attentions.") && shape.len() == 2;
        let shape = if is_convolution { [shape, vec![1, 1]].concat() } else { shape };
        (names[&name].clone(), TensorData::new(data.try_to_vec::<f32>().unwrap(), shape))
    };
    weights.map(rename).collect()
}

#[test]
fn three_tables_of_names_give_one_network() {
    let fixture = Fixture::read("autoencoder/four");
    let new = || four().init(&Device::flex()).unwrap();
    let expected = checkpoint::export(&fixture.load(new(), &AutoencoderKl::DIFFUSERS), &AutoencoderKl::DIFFUSERS);
    let expected = expected.unwrap();
    assert_eq!(expected, fixture.weights());
    for (key, layout) in [("compvis", &AutoencoderKl::COMPVIS), ("old", &AutoencoderKl::DIFFUSERS_OLD)] {
        let theirs = renamed(&fixture, key);
        let network = checkpoint::load(new(), layout, &theirs).unwrap();
        assert_eq!(checkpoint::export(&network, &AutoencoderKl::DIFFUSERS).unwrap(), expected, "{key}");
        assert_eq!(checkpoint::export(&network, layout).unwrap(), theirs, "{key}");
        // One table does not take another's names.
        let error = checkpoint::load(new(), &AutoencoderKl::DIFFUSERS, &theirs).unwrap_err();
        assert!(matches!(error, CheckpointError::Mismatch { .. }), "{error}");
    }
}

fn manifest(name: &str) -> Manifest {
    let path = format!("{}/tests/fixtures/manifest/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn published_checkpoints_have_the_names_and_shapes_that_the_tables_say() {
    let (sd1, sdxl, sd3) = (AutoencoderKlConfig::sd1(), AutoencoderKlConfig::sdxl(), AutoencoderKlConfig::sd3());
    let flux = AutoencoderKlConfig::flux();
    for (config, layout, name) in [
        (&sd1, AutoencoderKl::DIFFUSERS, "vae_sd"),
        (&sd1, AutoencoderKl::DIFFUSERS_OLD, "vae_sd_old"),
        (&sd1, AutoencoderKl::COMPVIS, "vae_sd_compvis"),
        (&sdxl, AutoencoderKl::DIFFUSERS, "vae_sd"),
        (&sdxl, AutoencoderKl::COMPVIS, "vae_sd_compvis"),
        (&sd3, AutoencoderKl::DIFFUSERS, "vae_sd3"),
        (&sd3, AutoencoderKl::COMPVIS, "vae_sd3_compvis"),
        (&flux, AutoencoderKl::DIFFUSERS, "vae_sd3"),
    ] {
        let (network, manifest) = (config.init(&Device::flex()).unwrap(), manifest(name));
        checkpoint::check(&network, &layout, &manifest).unwrap();
        let parameters: usize = manifest.values().map(|entry| entry.shape.iter().product::<usize>()).sum();
        assert_eq!(parameters, config.num_params(), "{name}");

        /// How many parameters have numbers.
        struct Made(usize);
        impl ModuleVisitor for Made {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                self.0 += usize::from(param.is_initialized());
            }
        }
        let mut made = Made(0);
        network.visit(&mut made);
        assert_eq!(made.0, 0, "weights were allocated");
    }
}

#[test]
fn the_presets_have_the_parameters_of_the_originals() {
    // Printed by autoencoder.py; 83.65 million is also what the documents of `sd-vae-ft-mse` and DiT state.
    assert_eq!(AutoencoderKlConfig::sd1().num_params(), 83_653_863);
    assert_eq!(AutoencoderKlConfig::sdxl().num_params(), 83_653_863);
    assert_eq!(AutoencoderKlConfig::sd3().num_params(), 83_819_683);
    assert_eq!(AutoencoderKlConfig::mnist().num_params(), 241_657);
    let mnist = AutoencoderKlConfig::mnist();
    assert_eq!(mnist.init(&Device::flex()).unwrap().num_params(), mnist.num_params());
    for config in [AutoencoderKlConfig::sd1(), AutoencoderKlConfig::sd3()] {
        assert_eq!(config.factor(), 8);
    }
    assert_eq!(mnist.factor(), 4);
    // The originals' config.json: scaling_factor, shift_factor.
    let scale = |config: AutoencoderKlConfig| [config.scale, config.shift];
    assert_eq!(scale(AutoencoderKlConfig::sd1()), [0.18215, 0.0]);
    assert_eq!(scale(AutoencoderKlConfig::sdxl()), [0.13025, 0.0]);
    assert_eq!(scale(AutoencoderKlConfig::sd3()), [1.5305, 0.0609]);
    assert_eq!(scale(AutoencoderKlConfig::flux()), [0.3611, 0.1159]);
}

#[test]
fn a_configuration_that_describes_no_network_is_an_error_with_operands() {
    let mnist = AutoencoderKlConfig::mnist;
    let error = |config: AutoencoderKlConfig| {
        let error = config.validate().unwrap_err();
        assert_eq!(config.init(&Device::flex()).err(), Some(error.clone()));
        error
    };
    assert!(mnist().validate().is_ok());
    assert_eq!(error(mnist().with_blocks(0)), NnError::Zero { field: "blocks" });
    assert_eq!(
        error(AutoencoderKlConfig { latent_channels: 0, ..mnist() }),
        NnError::Zero { field: "latent_channels" }
    );
    assert_eq!(error(AutoencoderKlConfig { multipliers: vec![], ..mnist() }), NnError::Empty { field: "multipliers" });
    assert_eq!(
        error(AutoencoderKlConfig { multipliers: vec![1; 70], ..mnist() }),
        NnError::TooManyLevels { levels: 70, max: 16 }
    );
    let expected = NnError::Indivisible { field: "groups", divisor: 12, channels: 16, place: "a level" };
    assert_eq!(error(mnist().with_groups(12)), expected);
    assert_eq!(
        error(mnist().with_latent_scale(0.0, 0.0)).to_string(),
        "`scale` = 0, but latents become (z - shift) * scale with finite numbers and a positive scale"
    );
    let expected = NnError::LatentScale { field: "shift", value: f64::INFINITY };
    assert_eq!(error(mnist().with_latent_scale(f64::INFINITY, 1.0)), expected);

    let discriminator = PatchDiscriminatorConfig::new(3);
    assert!(discriminator.validate().is_ok());
    let wrong = PatchDiscriminatorConfig { groups: 48, ..discriminator };
    assert!(matches!(wrong.init(&Device::flex()).err(), Some(NnError::Indivisible { channels: 128, .. })));
}

#[test]
fn toml_says_what_is_needed_and_no_more() {
    let config = AutoencoderKlConfig::sd3();
    let text = toml::to_string(&config).unwrap();
    assert_eq!(toml::from_str::<AutoencoderKlConfig>(&text).unwrap(), config);
    let text = "in_channels = 3\nlatent_channels = 4\nchannels = 64\nmultipliers = [1, 2]";
    let config = AutoencoderKlConfig::new(3, 64, vec![1, 2], 4);
    assert_eq!(toml::from_str::<AutoencoderKlConfig>(text).unwrap(), config);
    assert!(toml::from_str::<AutoencoderKlConfig>(&format!("{text}\nscaling = 1.0")).is_err());
}

#[test]
#[should_panic(expected = "crop or resize to multiples of 4")]
fn an_image_that_cannot_be_halved_often_enough_says_what_to_do() {
    AutoencoderKlConfig::mnist().init(&Device::flex()).unwrap().encode(normal([1, 1, 28, 30]));
}

/// Replaces each parameter by random numbers, so that nothing is zero.
struct Scramble;

impl ModuleMapper for Scramble {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.val().random_like(Distribution::Normal(0.0, 0.3)))
    }
}

#[test]
fn a_new_residual_branch_is_the_identity() {
    let network = four().init(&Device::flex()).unwrap();
    let check = |block: &CoderBlock| {
        let [_, from, _, _] = block.conv1.weight.dims();
        let x = normal([2, from, 3, 5]);
        let expected = match &block.shortcut {
            Some(shortcut) => shortcut.forward(x.clone()),
            None => x.clone(),
        };
        assert_close("block", &block.forward(x).into_data(), &values(&expected.into_data()));
    };
    for level in network.encoder.down.iter().chain(&network.decoder.up) {
        level.blocks.iter().for_each(check);
    }
    for middle in [&network.encoder.middle, &network.decoder.middle] {
        check(&middle.block1);
        check(&middle.block2);
        let x = normal([2, 4, 3, 5]);
        let y = middle.attention.as_ref().unwrap().forward(x.clone());
        y.into_data().assert_eq(&x.into_data(), true);
    }
    // But the latents say something about the image, and the image about the latents.
    let x = normal([2, 3, 8, 16]);
    let z = network.encode(x).mean();
    let y = network.decode(z.clone());
    let differs = |x: Tensor<4>| values(&x.var(0).mean().into_data())[0] > 1e-12;
    assert!(differs(z) && differs(y));
}

#[test]
fn rows_do_not_see_each_other() {
    let network = four().init(&Device::flex()).unwrap().map(&mut Scramble);
    let x = normal([3, 3, 8, 16]);
    let one = network.latents(x.clone().narrow(0, 1, 1));
    let all = network.latents(x);
    assert_close("latents", &one.clone().into_data(), &values(&all.clone().narrow(0, 1, 1).into_data()));
    let image = network.decode_latents(all).narrow(0, 1, 1);
    assert_close("image", &network.decode_latents(one).into_data(), &values(&image.into_data()));
}

#[test]
fn latents_are_shifted_and_scaled_there_and_back() {
    let network = four().with_latent_scale(0.0609, 1.5305).init(&Device::flex()).unwrap().map(&mut Scramble);
    let x = normal([2, 3, 8, 16]);
    let mean = network.encode(x.clone()).mean();
    let latents = network.latents(x);
    let expected: Vec<f64> = values(&mean.to_data()).iter().map(|z| (z - 0.0609) * 1.5305).collect();
    assert_close("latents", &latents.clone().into_data(), &expected);
    let back = network.denormalize(network.normalize(mean.clone()));
    assert_close("round trip", &back.into_data(), &values(&mean.to_data()));
    let image = network.decode_latents(latents);
    assert_close("image", &image.into_data(), &values(&network.decode(mean).into_data()));
}

#[test]
fn a_sample_has_the_mean_and_the_deviation() {
    let device = Device::flex();
    let tensor = |values: [f32; 4]| Tensor::<1>::from_floats(values, &device).reshape([1, 4, 1, 1]);
    let latent = LatentDistribution::new(tensor([1.0, -2.0, 0.5, 0.0]), tensor([0.0, 4.0_f32.ln(), -80.0, 31.0]));
    // Log-variances end at -30 and 20.
    let expected = [1.0 + 0.5, -2.0 + 2.0 * 0.25, 0.5 - 3.0 * (-15.0_f64).exp(), 10.0_f64.exp()];
    let sample = latent.sample(tensor([0.5, 0.25, -3.0, 1.0]));
    assert_close("sample", &sample.into_data(), &expected);
    assert_close("log-variance", &latent.log_variance().into_data(), &[0.0, 4.0_f64.ln(), -30.0, 20.0]);
}

#[test]
fn the_divergence_is_its_integral() {
    // KL = int q log(q / p), by Simpson's rule with 4000 intervals over 14 deviations on each side.
    let integral = |mean: f64, log_variance: f64| {
        let deviation = (0.5 * log_variance).exp();
        let log_normal = |x: f64| -0.5 * (x * x + std::f64::consts::TAU.ln());
        let f = |u: f64| {
            let log_q = log_normal(u) - deviation.ln();
            (log_q - log_normal(mean + deviation * u)) * log_normal(u).exp()
        };
        let (count, width) = (4000, 28.0 / 4000.0);
        let weight = |i: usize| if i == 0 || i == count { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        (0..=count).map(|i| weight(i) * f(-14.0 + width * i as f64)).sum::<f64>() * width / 3.0
    };
    let tensor = |value: f64| Tensor::<4>::full([1, 1, 1, 1], value, &Device::flex());
    for (mean, log_variance) in [(0.0, 0.0), (1.5, 0.0), (-0.3, 1.2), (2.0, -3.0), (0.0, 4.0)] {
        let found = scalar(&LatentDistribution::new(tensor(mean), tensor(log_variance)).kl());
        let expected = integral(mean, log_variance);
        assert!((found - expected).abs() < 1e-5 * expected.max(0.1), "{found} {expected}");
    }
}

#[test]
fn the_loss_is_the_evidence_lower_bound() {
    let device = Device::flex();
    let fixture = Fixture::read("autoencoder/loss");
    let get = |name: &str| fixture.get(name).tensor::<4>(&device);
    let latent = LatentDistribution::new(get("mean"), get("log_variance"));
    assert_close("kl", &latent.kl().into_data(), &fixture.get("kl").values);

    let (x, y) = (get("x"), get("y"));
    let rows = x.dims()[0] as f64;
    let (pixels, latents) =
        (x.dims().iter().product::<usize>() as f64, get("mean").dims().iter().product::<usize>() as f64);
    let mean = |name: &str| fixture.get(name).values.iter().sum::<f64>() / rows;
    let mse = (x - y).square().mean();
    let loss = |kl_weight: f64| {
        scalar(&autoencoder_loss(mse.clone(), fixture.get("s").tensor::<1>(&device), &latent, kl_weight))
    };
    // The bound itself, with the weight that the documentation says.
    let bound = -2.0 * rows / pixels * mean("bound") - std::f64::consts::TAU.ln();
    assert!((loss(latents / pixels) - bound).abs() < 1e-5 * bound.abs(), "{} {bound}", loss(latents / pixels));
    // And the notes' mean(mu^2 + e^s - s - 1), which is twice the divergence of one latent.
    let notes = -2.0 * rows / pixels * mean("log_likelihood") - std::f64::consts::TAU.ln();
    let notes = notes + 10.0 * 2.0 * rows / latents * mean("kl");
    assert!((loss(10.0) - notes).abs() < 1e-5 * notes.abs(), "{} {notes}", loss(10.0));
}

fn small() -> AutoencoderKlConfig {
    AutoencoderKlConfig::new(1, 8, vec![1, 2], 4).with_blocks(1).with_groups(4).with_quant_convs(false)
}

#[test]
fn the_best_log_variance_is_the_log_of_the_mean_squared_error() {
    let device = Device::flex().autodiff();
    let mut vae = Vae::new(small().init(&device).unwrap());
    let (x, noise) = (normal([3, 1, 8, 8]), normal([3, 4, 4, 4]));
    let (x, noise) = (x.to_device(&device), noise.to_device(&device));
    let made = vae.reconstruct(x.clone(), noise.clone());
    let mse = scalar(&(made.x - made.y).square().mean());
    let mut slope = |log_variance: f64| {
        vae.log_variance = Param::from_tensor(Tensor::from_data(TensorData::from([log_variance as f32]), &device));
        let made = vae.reconstruct(x.clone(), noise.clone());
        let gradients = AutoencoderObjective::new(0.3).loss(&vae, &made).backward();
        scalar(&vae.log_variance.grad(&gradients).unwrap())
    };
    assert!(slope(mse.ln()).abs() < 1e-5, "{}", slope(mse.ln()));
    // d/ds (mse e^-s + s) = 1 - mse e^-s
    assert!((slope(mse.ln() + 1.0) - (1.0 - (-1.0_f64).exp())).abs() < 1e-5);
    assert!((slope(mse.ln() - 1.0) - (1.0 - 1.0_f64.exp())).abs() < 1e-5);
}

#[test]
fn a_perceptual_term_adds_to_the_squared_error() {
    let device = Device::flex().autodiff();
    let mut vae = Vae::new(small().init(&device).unwrap());
    vae.log_variance = Param::from_tensor(Tensor::from_floats([0.5], &device));
    let made = vae.reconstruct(normal([2, 1, 8, 8]).to_device(&device), normal([2, 4, 4, 4]).to_device(&device));
    let perceptual = |x: Tensor<4>, y: Tensor<4>| (x - y).abs().mean_dims(&[1, 2, 3]).reshape([2]); // [batch]
    let loss = scalar(&AutoencoderObjective::new(0.0).with_perceptual(0.7, perceptual).loss(&vae, &made));
    let difference: Vec<f64> =
        values(&made.x.into_data()).iter().zip(values(&made.y.into_data())).map(|(x, y)| x - y).collect();
    let mean = |f: fn(f64) -> f64| difference.iter().map(|&d| f(d)).sum::<f64>() / difference.len() as f64;
    let expected = (mean(|d| d * d) + 0.7 * mean(f64::abs)) * (-0.5_f64).exp() + 0.5;
    assert!((loss - expected).abs() < 1e-5 * expected, "{loss} {expected}");
}

#[test]
fn it_overfits_eight_samples() {
    let device = Device::flex().autodiff();
    let mut vae = Vae::new(small().init(&device).unwrap());
    let x = normal([8, 1, 8, 8]).to_device(&device).sign();
    let objective = AutoencoderObjective::new(1e-3);
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    let mut errors = Vec::new();
    for _ in 0..250 {
        let made = vae.reconstruct(x.clone(), normal([8, 4, 4, 4]).to_device(&device));
        errors.push(scalar(&(made.x.clone() - made.y.clone()).square().mean()));
        let gradients = GradientsParams::from_grads(objective.loss(&vae, &made).backward(), &vae);
        vae = optimizer.step(5e-3, vae, gradients);
    }
    let (first, last) = (errors[0], errors[249]);
    assert!(first > 0.8 && last < 0.05, "from {first} to {last}");
    // On its way to the logarithm of the error, at the pace of the learning rate.
    assert!(scalar(&vae.log_variance.val()) < -1.0, "{}", vae.log_variance.val());
}

/// Ours, but that the parameters of norms are called as in PyTorch.
const DISCRIMINATOR: Layout = Layout {
    name: "a PatchGAN of torch.nn",
    rows: &[
        Row::same("layers.*.norm.gamma", &["layers.*.norm.weight"]),
        Row::same("layers.*.norm.beta", &["layers.*.norm.bias"]),
        Row::same("layers.*.conv.*", &["layers.*.conv.*"]),
        Row::same("conv_out.*", &["conv_out.*"]),
    ],
    constants: &[],
};

#[test]
fn the_discriminator_and_the_losses_of_both_sides() {
    let device = Device::flex().autodiff();
    let fixture = Fixture::read("autoencoder/discriminator");
    let config = PatchDiscriminatorConfig { in_channels: 2, channels: 4, layers: 2, groups: 2 };
    assert_eq!(config.num_params(), fixture.parameters);
    let network = fixture.load(config.init(&device).unwrap(), &DISCRIMINATOR);
    let fake = fixture.get("fake").tensor::<4>(&device).require_grad();
    let real = network.forward(fixture.get("real").tensor(&device));
    let verdicts = network.forward(fake.clone());
    assert_close("verdicts", &real.clone().into_data(), &fixture.get("real_verdicts").values);
    assert_close("verdicts", &verdicts.clone().into_data(), &fixture.get("fake_verdicts").values);

    let loss = generator_hinge_loss(verdicts.clone());
    assert_close("generator", &loss.clone().into_data(), &fixture.get("generator_loss").values);
    let gradients = loss.backward();
    assert_close("gradient by fake", &fake.grad(&gradients).unwrap().into_data(), &fixture.get("grad/fake").values);

    let loss = discriminator_hinge_loss(real, network.forward(fake));
    assert_close("discriminator", &loss.clone().into_data(), &fixture.get("discriminator_loss").values);
    let gradients = loss.backward();
    fixture.check_gradients(network, &DISCRIMINATOR, &gradients);
}

#[test]
fn the_discriminators_for_mnist_and_for_patches_of_70() {
    let mnist = PatchDiscriminatorConfig::mnist();
    let network = mnist.init(&Device::flex()).unwrap();
    assert_eq!((network.num_params(), mnist.num_params()), (42_545, 42_545));
    assert_eq!(network.forward(normal([2, 1, 28, 28])).dims(), [2, 1, 5, 5]);
    // The authors' PyTorch code prints 2.769 million for pairs of color images; its normalized layers have no bias.
    assert_eq!(PatchDiscriminatorConfig::new(6).num_params(), 2_768_705 + 128 + 256 + 512);
    // A fourth layer halves once more, and is no wider than the third.
    let deeper = PatchDiscriminatorConfig { layers: 4, ..PatchDiscriminatorConfig::new(6) }.num_params();
    assert_eq!(deeper - PatchDiscriminatorConfig::new(6).num_params(), 16 * 512 * 512 + 512 + 2 * 512);
}

#[test]
fn the_adversarial_term_reaches_the_autoencoder_and_the_discriminators_step_does_not() {
    let device = Device::flex().autodiff();
    let vae = Vae::new(small().init(&device).unwrap());
    let config = PatchDiscriminatorConfig { in_channels: 1, channels: 4, layers: 1, groups: 2 };
    let discriminator = config.init(&device).unwrap();
    let made = vae.reconstruct(normal([2, 1, 8, 8]).to_device(&device), normal([2, 4, 4, 4]).to_device(&device));
    let gradients = generator_hinge_loss(discriminator.forward(made.y.clone())).backward();
    let norm =
        |weight: &Param<Tensor<4>>| values(&weight.grad(&gradients).unwrap().into_data()).iter().map(|x| x * x).sum();
    let norms: [f64; 2] =
        [norm(&vae.autoencoder.encoder.conv_in.weight), norm(&vae.autoencoder.decoder.conv_out.weight)];
    assert!(norms.iter().all(|&norm| norm > 0.0), "{norms:?}");

    let fake = discriminator.forward(made.y.detach());
    let gradients = discriminator_hinge_loss(discriminator.forward(made.x), fake).backward();
    assert!(vae.autoencoder.decoder.conv_out.weight.grad(&gradients).is_none());
    assert!(discriminator.conv_out.weight.grad(&gradients).is_some());
}

#[test]
fn no_images_give_no_latents_and_no_images() {
    let device = Device::flex();
    for config in [AutoencoderKlConfig::mnist(), AutoencoderKlConfig::mnist().with_quant_convs(true)] {
        let autoencoder = config.init(&device).unwrap();
        let z = autoencoder.latents(Tensor::zeros([0, 1, 28, 56], &device));
        assert_eq!(z.dims(), [0, 4, 7, 14]);
        assert_eq!(autoencoder.decode_latents(z).dims(), [0, 1, 28, 56]);
    }
}

#[test]
fn the_divergence_of_half_precision_is_finite() {
    let full = |x: f64| Tensor::<4>::full([1, 2, 2, 2], x, (&Device::flex(), DType::F16));
    let latent = LatentDistribution::new(full(300.0), full(20.0));
    // (90,000 + e^20 - 20 - 1) / 2 for each of eight latents.
    let expected = 8.0 * (90_000.0 + 20_f64.exp() - 21.0) / 2.0;
    let found = values(&latent.kl().into_data())[0];
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
    let number = |x: f64| Tensor::<1>::full([1], x, (&Device::flex(), DType::F16));
    let found = values(&autoencoder_loss(number(1.0), number(0.0), &latent, 1e-6).into_data())[0];
    let expected = 1.0 + 1e-6 * expected / 4.0;
    assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
}
