//! MM-DiT against diffusers' `SD3Transformer2DModel` with the same weights, and its structure.

use std::path::Path;

use advect_nn::checkpoint::{self, CheckpointError, Layout, Manifest};
use advect_nn::{MmDiT, MmDiTConfig, NnError, Probe, QkNorm, TextStream};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor, TensorData};

use crate::fixture::{Fixture, assert_close, largest, values};

/// The texts of all fixtures: 12 features a token, 10 of the pooled text.
fn config(in_channels: usize, layers: usize, [heads, head_channels]: [usize; 2]) -> MmDiTConfig {
    MmDiTConfig::new(in_channels, layers, heads)
        .with_head_channels(head_channels)
        .with_text_features(12)
        .with_pooled_features(10)
}

/// Compares a network of `tools/fixtures-nn/mm_dit.py`: output, and gradients by all inputs and every parameter.
fn check(name: &str, config: &MmDiTConfig, layout: &Layout) {
    let device = Device::flex().autodiff();
    let fixture = Fixture::read(&format!("mm_dit_{name}"));
    let network = config.init(&device).unwrap();
    let table = network.positions.lazy_shape().num_elements();
    assert_eq!(config.num_params(), fixture.parameters, "{name}");
    assert_eq!(network.num_params(), fixture.parameters + table, "{name}");

    let weights = fixture.weights();
    let network = checkpoint::load(network, layout, &weights).unwrap();
    assert_eq!(checkpoint::export(&network, layout).unwrap(), weights, "{name}");

    let x = fixture.get("x").tensor::<4>(&device).require_grad();
    let t = fixture.get("t").tensor::<1>(&device).require_grad();
    let text = fixture.get("text").tensor::<3>(&device).require_grad();
    let pooled = fixture.get("pooled").tensor::<2>(&device).require_grad();
    let output = network.forward(x.clone(), t.clone(), text.clone(), pooled.clone());
    assert_eq!(output.dims().to_vec(), fixture.get("output").shape, "{name}");
    assert_close("output", &output.clone().into_data(), &fixture.get("output").values);

    let gradients = (output * fixture.get("cotangent").tensor::<4>(&device)).sum().backward();
    let by = |what: &str, gradient: TensorData| {
        assert_close(&format!("gradient by {what}"), &gradient, &fixture.get(&format!("grad/{what}")).values);
    };
    by("x", x.grad(&gradients).unwrap().into_data());
    by("t", t.grad(&gradients).unwrap().into_data());
    by("text", text.grad(&gradients).unwrap().into_data());
    by("pooled", pooled.grad(&gradients).unwrap().into_data());
    assert!(network.positions.grad(&gradients).is_none(), "the table is not learned");

    let mut gradients = checkpoint::export(&network.map(&mut Derivatives(&gradients)), layout).unwrap();
    gradients.retain(|name, _| !name.ends_with("pos_embed"));
    assert_eq!(gradients.len(), fixture.count("norms/"), "gradient norms of diffusers that were not compared");
    let mut full = 0;
    for (name, gradient) in &gradients {
        let norm = values(gradient).iter().map(|x| x * x).sum::<f64>().sqrt();
        let expected = &fixture.get(&format!("norms/{name}")).values;
        assert_close(&format!("norm of the gradient of {name}"), &TensorData::from([norm]), expected);
        if let Some(expected) = fixture.find(&format!("grad/{name}")) {
            assert_eq!(gradient.shape().to_vec(), expected.shape, "{name}");
            by(name, gradient.clone());
            full += 1;
        }
    }
    assert_eq!(full, 4, "{name}");
}

/// Puts the gradient of each parameter in its place; zero where there is none.
struct Derivatives<'a>(&'a Gradients);

impl ModuleMapper for Derivatives<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.grad(self.0).unwrap_or_else(|| param.val().inner().zeros_like()))
    }
}

#[test]
fn as_stable_diffusion_3() {
    check("plain", &config(4, 2, [2, 8]).with_positions(6), &MmDiT::LAYOUT);
}

#[test]
fn normalized_queries_and_keys_with_more_text_than_image() {
    check("qk_norm", &config(3, 2, [4, 4]).with_positions(5).with_qk_norm(QkNorm::Rms), &MmDiT::LAYOUT);
}

#[test]
fn dual_attention_on_rectangles_with_a_table_of_its_own() {
    let config = config(4, 3, [2, 8]).with_positions(7).with_qk_norm(QkNorm::Rms).with_dual_attention(vec![0, 2]);
    check("dual", &config, &MmDiT::LAYOUT);
}

/// diffusers' `skip_layers`, and what its blocks return.
#[test]
fn blocks_are_left_out_and_looked_at() {
    let device = Device::flex();
    let config = config(4, 3, [2, 8]).with_positions(7).with_qk_norm(QkNorm::Rms).with_dual_attention(vec![0, 2]);
    let fixture = Fixture::read("mm_dit_dual");
    let network = checkpoint::load(config.init(&device).unwrap(), &MmDiT::LAYOUT, &fixture.weights()).unwrap();
    let probed = |features: &[usize], skip: &[usize]| {
        let (x, t) = (fixture.get("x").tensor(&device), fixture.get("t").tensor(&device));
        let (text, pooled) = (fixture.get("text").tensor(&device), fixture.get("pooled").tensor(&device));
        let probe = Probe { features: features.to_vec(), skip: skip.to_vec() };
        network.forward_probed(x, t, text, pooled, &probe)
    };
    for (asked, blocks) in [(&[2, 0, 1][..], &[0, 1, 2][..]), (&[0], &[0])] {
        let (output, features) = probed(asked, &[]);
        assert_close("output", &output.into_data(), &fixture.get("output").values);
        assert_eq!(features.len(), blocks.len());
        for (block, found) in blocks.iter().zip(features) {
            let expected = fixture.get(&format!("features/{block}"));
            assert_eq!(found.dims().to_vec(), expected.shape, "block {block}");
            assert_close(&format!("block {block}"), &found.into_data(), &expected.values);
        }
    }
    let (output, features) = probed(&[], &[0]);
    assert_close("output without block 0", &output.into_data(), &fixture.get("skipped").values);
    assert!(features.is_empty());

    // Nothing goes in, nothing comes out, of the shapes that are due.
    let (text, pooled) = (Tensor::zeros([0, 5, 12], &device), Tensor::zeros([0, 10], &device));
    let probe = Probe { features: vec![1], skip: vec![] };
    let (x, t) = (Tensor::zeros([0, 4, 6, 10], &device), Tensor::zeros([0], &device));
    let (output, features) = network.forward_probed(x, t, text, pooled, &probe);
    assert_eq!((output.dims(), features.len(), features[0].dims()), ([0, 4, 6, 10], 1, [0, 15, 16]));
}

#[test]
#[should_panic(expected = "the probe names block 3, but the network has 3 blocks, counted from 0")]
fn a_block_that_is_not_there_is_refused() {
    let device = Device::flex();
    let network = config(4, 3, [2, 8]).with_positions(7).init(&device).unwrap();
    let (x, t) = (Tensor::zeros([1, 4, 6, 10], &device), Tensor::zeros([1], &device));
    let (text, pooled) = (Tensor::zeros([1, 5, 12], &device), Tensor::zeros([1, 10], &device));
    network.forward_probed(x, t, text, pooled, &Probe { features: vec![], skip: vec![3] });
}

#[test]
fn the_names_of_the_originals() {
    let config = config(2, 2, [3, 4])
        .with_out_channels(3)
        .with_patch(4)
        .with_positions(4)
        .with_qk_norm(QkNorm::Rms)
        .with_dual_attention(vec![0]);
    check("original", &config, &MmDiT::ORIGINAL_LAYOUT);
}

#[test]
fn a_new_table_of_positions_is_that_of_diffusers() {
    // A sample size of 8, 12 and 16, of which diffusers takes half.
    for (name, positions, span, width, key) in [
        ("plain", 6, 4, 16, "pos_embed.pos_embed"),
        ("qk_norm", 5, 6, 16, "pos_embed.pos_embed"),
        ("original", 4, 4, 12, "model.diffusion_model.pos_embed"),
    ] {
        let config = config(4, 1, [1, width]).with_positions(positions).with_position_span(span);
        let table = config.init(&Device::flex()).unwrap().positions.val().into_data();
        let expected = &Fixture::read(&format!("mm_dit_{name}")).weights()[key];
        assert_eq!(table.shape(), expected.shape());
        let (table, expected) = (values(&table), values(expected));
        assert!(table.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-7), "{name}");
    }
}

#[test]
fn the_presets_have_the_parameters_of_the_originals() {
    // Printed by mm_dit.py; Stability AI says 2 B for 3 medium, 2.5 B for 3.5 medium and 8.1 B for 3.5 large.
    assert_eq!(MmDiTConfig::sd3_medium().num_params(), 2_028_328_000);
    assert_eq!(MmDiTConfig::sd35_medium().num_params(), 2_243_171_520);
    assert_eq!(MmDiTConfig::sd35_large().num_params(), 8_056_627_520);
}

fn manifest(name: &str) -> Manifest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.json"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn published_checkpoints_have_what_the_presets_need_and_nothing_else() {
    for (name, config, layout) in [
        ("sd3_medium_diffusers", MmDiTConfig::sd3_medium(), &MmDiT::LAYOUT),
        ("sd3_medium_original", MmDiTConfig::sd3_medium(), &MmDiT::ORIGINAL_LAYOUT),
        ("sd35_medium_diffusers", MmDiTConfig::sd35_medium(), &MmDiT::LAYOUT),
        ("sd35_medium_original", MmDiTConfig::sd35_medium(), &MmDiT::ORIGINAL_LAYOUT),
    ] {
        let (network, mut manifest) = (config.init(&Device::flex()).unwrap(), manifest(name));
        checkpoint::check(&network, layout, &manifest).unwrap();
        // Gigabytes, had they been made.
        assert!(!network.positions.is_initialized() && !network.blocks[0].image.modulation.weight.is_initialized());

        let (key, entry) = manifest.pop_last().unwrap();
        manifest.insert("surplus".to_owned(), entry);
        match checkpoint::check(&network, layout, &manifest) {
            Err(CheckpointError::Mismatch { missing, unexpected, misshapen, .. }) => {
                assert_eq!((missing, unexpected), (vec![key], vec!["surplus".to_owned()]));
                assert!(misshapen.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
    let wrong = MmDiTConfig::sd35_medium().with_positions(192).init(&Device::flex()).unwrap();
    assert!(checkpoint::check(&wrong, &MmDiT::LAYOUT, &manifest("sd35_medium_diffusers")).is_err());
}

/// A network with all options, for latents of 4 channels.
fn small() -> MmDiTConfig {
    config(4, 2, [2, 8]).with_positions(6).with_qk_norm(QkNorm::Rms).with_dual_attention(vec![0])
}

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

/// Replaces each parameter by random numbers, so that nothing is zero.
struct Scramble;

impl ModuleMapper for Scramble {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        Param::from_tensor(param.val().random_like(Distribution::Normal(0.0, 0.3)))
    }
}

fn scrambled() -> MmDiT {
    small().init(&Device::flex()).unwrap().map(&mut Scramble)
}

/// The greatest difference in each row of the batch.
fn differences(a: Tensor<4>, b: Tensor<4>) -> Vec<f64> {
    let (rows, data) = (a.dims()[0], (a - b).abs().into_data());
    let values = values(&data);
    values.chunks(values.len() / rows).map(|row| largest(row.iter().copied())).collect()
}

#[test]
fn a_new_network_is_the_identity_in_each_block_and_zero_at_the_end() {
    let network = small().init(&Device::flex()).unwrap();
    let (image, text, condition) = (normal([2, 6, 16]), normal([2, 5, 16]), normal([2, 16]));
    for block in &network.blocks {
        let (y, c) = block.forward(image.clone(), text.clone(), condition.clone());
        y.into_data().assert_eq(&image.clone().into_data(), true);
        c.into_data().assert_eq(&text.clone().into_data(), true);
    }
    let output = network.forward(normal([2, 4, 4, 6]), normal([2]), normal([2, 5, 12]), normal([2, 10]));
    assert!(values(&output.into_data()).iter().all(|&y| y == 0.0));
    assert!(
        matches!(network.blocks[0].text, TextStream::Full(_)) && matches!(network.blocks[1].text, TextStream::Last(_))
    );
}

#[test]
fn weights_start_with_the_sizes_of_dit() {
    let network = config(4, 1, [8, 16]).with_text_features(96).init(&Device::flex()).unwrap();
    let deviation = |weight: Tensor<2>| weight.var(0).mean().into_scalar::<f32>().sqrt();
    let close = |found: f32, expected: f32| assert!((found / expected - 1.0).abs() < 0.05, "{found} {expected}");
    close(deviation(network.text.weight.val()), (2.0_f32 / (96.0 + 128.0)).sqrt());
    close(deviation(network.blocks[0].image.attention.qkv.weight.val()), (2.0_f32 / (128.0 + 384.0)).sqrt());
    close(deviation(network.blocks[0].image.feed_forward.down.weight.val()), (2.0_f32 / (512.0 + 128.0)).sqrt());
    close(deviation(network.patches.weight.val().flatten(1, 3).swap_dims(0, 1)), (2.0_f32 / (16.0 + 128.0)).sqrt());
    close(deviation(network.time.linear_1.weight.val()), 0.02);
    close(deviation(network.pooled.linear_2.weight.val()), 0.02);
    for bias in [&network.text.bias, &network.time.linear_2.bias, &network.patches.bias] {
        assert!(values(&bias.as_ref().unwrap().val().into_data()).iter().all(|&x| x == 0.0));
    }
}

#[test]
fn the_output_depends_on_time_text_and_pooled_text_of_its_own_row() {
    let network = scrambled();
    let (x, t, text, pooled) = (normal([2, 4, 6, 4]), normal([2]), normal([2, 5, 12]), normal([2, 10]));
    let base = network.forward(x.clone(), t.clone(), text.clone(), pooled.clone());
    // Changes the second row only.
    fn other<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
        Tensor::cat(vec![x.clone().narrow(0, 0, 1), x.clone().narrow(0, 1, 1) + 0.5], 0)
    }
    for changed in [
        network.forward(other(&x), t.clone(), text.clone(), pooled.clone()),
        network.forward(x.clone(), other(&t), text.clone(), pooled.clone()),
        network.forward(x.clone(), t.clone(), other(&text), pooled.clone()),
        network.forward(x.clone(), t.clone(), text.clone(), other(&pooled)),
    ] {
        let difference = differences(base.clone(), changed);
        assert!(difference[0] < 1e-5 && difference[1] > 1e-2, "{difference:?}");
    }

    // The order of the text's tokens is for the text's own embedding to say; the image's patches have places.
    let flipped = network.forward(x.clone(), t.clone(), text.clone().flip([1]), pooled.clone());
    assert!(differences(base.clone(), flipped).iter().all(|&d| d < 1e-4));
    let flipped = network.forward(x.clone().flip([2]), t.clone(), text.clone(), pooled.clone()).flip([2]);
    assert!(differences(base, flipped).iter().all(|&d| d > 1e-2));

    // One time serves the batch.
    let one = network.forward(x.clone(), t.clone().narrow(0, 0, 1), text.clone(), pooled.clone());
    let each = network.forward(x, t.narrow(0, 0, 1).repeat_dim(0, 2), text, pooled);
    assert!(differences(one, each).iter().all(|&d| d < 1e-5));
}

#[test]
fn an_untrained_network_learns_eight_samples() {
    let device = Device::flex().autodiff();
    device.seed(7);
    let on = |x: Tensor<4>| Tensor::<4>::from_data(x.into_data(), &device);
    let config = small().with_head_channels(16);
    let mut network = config.init(&device).unwrap();
    let table = values(&network.positions.val().into_data());
    // Eight texts, and a picture for each: told apart by the texts and the pooled texts alone.
    let x = on(normal([1, 4, 4, 4])).repeat_dim(0, 8);
    let target = on(normal([8, 4, 4, 4]));
    let t = Tensor::<1>::full([8], 0.5, &device);
    let text = Tensor::<3>::from_data(normal([8, 3, 12]).into_data(), &device);
    let pooled = Tensor::<2>::from_data(normal([8, 10]).into_data(), &device);

    let mut losses = Vec::new();
    let mut moments = Moments::default();
    for _ in 0..150 {
        let output = network.forward(x.clone(), t.clone(), text.clone(), pooled.clone());
        let loss = (output - target.clone()).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        moments.start(loss.backward());
        network = network.map(&mut moments);
    }
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!((0.8..1.2).contains(&first), "{first}"); // zero against unit variance
    assert!(last < 0.02, "{losses:?}");
    assert_eq!(values(&network.positions.val().into_data()), table, "the table is not learned");
}

/// Adam with a rate of 0.003, a few lines.
#[derive(Default)]
struct Moments {
    gradients: Option<Gradients>,
    step: i32,
    index: usize,
    moments: Vec<[Tensor<1>; 2]>,
}

impl Moments {
    fn start(&mut self, gradients: Gradients) {
        (self.gradients, self.step, self.index) = (Some(gradients), self.step + 1, 0);
    }
}

impl ModuleMapper for Moments {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let gradients = self.gradients.as_ref().unwrap();
        let Some(gradient) = tensor.grad(gradients) else { return Param::from_mapped_value(id, tensor, mapper) };
        let (shape, gradient) = (tensor.dims(), gradient.flatten::<1>(0, D - 1));
        if self.moments.len() == self.index {
            self.moments.push([gradient.zeros_like(), gradient.zeros_like()]);
        }
        let [first, second] = &mut self.moments[self.index];
        *first = first.clone() * 0.9 + gradient.clone() * 0.1;
        *second = second.clone() * 0.99 + gradient.clone() * gradient * 0.01;
        let scale = 0.003 / (1.0 - 0.9_f64.powi(self.step));
        let root = (second.clone() / (1.0 - 0.99_f64.powi(self.step))).sqrt() + 1e-8;
        let weights = tensor.inner() - (first.clone() / root * scale).reshape(shape);
        self.index += 1;
        Param::from_mapped_value(id, Tensor::from_inner(weights).require_grad(), mapper)
    }
}

#[test]
fn a_configuration_that_describes_no_network_is_an_error_with_operands() {
    assert!(small().validate().is_ok());
    let error = |config: MmDiTConfig| config.init(&Device::flex()).unwrap_err();
    assert_eq!(error(config(4, 0, [2, 8])), NnError::Zero { field: "layers" });
    assert_eq!(error(config(4, 2, [0, 8])), NnError::Zero { field: "heads" });
    assert_eq!(error(small().with_patch(0)), NnError::Zero { field: "patch" });
    assert_eq!(error(small().with_positions(0)), NnError::Zero { field: "positions" });
    assert_eq!(error(small().with_position_span(0)), NnError::Zero { field: "position_span" });
    assert_eq!(error(small().with_text_features(0)), NnError::Zero { field: "text_features" });
    assert_eq!(error(small().with_pooled_features(0)), NnError::Zero { field: "pooled_features" });
    assert!(matches!(error(small().with_time_scale(-1.0)), NnError::NotPositive { field: "time_scale", .. }));
    assert!(matches!(error(config(4, 2, [3, 6])), NnError::NotMultiple { value: 18, factor: 4, .. }));
    assert_eq!(
        error(small().with_dual_attention(vec![1, 2])).to_string(),
        "`dual_attention` names block 2, but there are 2: the first is 0, the last 1"
    );
}

#[test]
fn toml_says_what_is_needed_and_no_more() {
    let text = toml::to_string(&MmDiTConfig::sd35_medium()).unwrap();
    assert!(text.contains("qk_norm = \"rms\""), "{text}");
    assert_eq!(toml::from_str::<MmDiTConfig>(&text).unwrap(), MmDiTConfig::sd35_medium());
    let text = "in_channels = 16\nout_channels = 16\nlayers = 24\nheads = 24";
    assert_eq!(toml::from_str::<MmDiTConfig>(text).unwrap(), MmDiTConfig::sd3_medium());
    assert!(toml::from_str::<MmDiTConfig>(&format!("{text}\nhedas = 3")).is_err());
}

#[test]
fn a_record_restores_the_network_with_its_table() {
    let (network, other) = (scrambled(), scrambled());
    let (x, t, text, pooled) = (normal([2, 4, 4, 4]), normal([2]), normal([2, 5, 12]), normal([2, 10]));
    let expected = network.forward(x.clone(), t.clone(), text.clone(), pooled.clone());
    let restored = other.load_record(network.into_record());
    restored.forward(x, t, text, pooled).into_data().assert_eq(&expected.into_data(), true);
}

#[test]
#[should_panic(expected = "patches of 2 x 2")]
fn an_odd_size_says_what_to_do() {
    scrambled().forward(normal([1, 4, 5, 4]), normal([1]), normal([1, 5, 12]), normal([1, 10]));
}

#[test]
#[should_panic(expected = "raise `positions`")]
fn a_latent_larger_than_the_table_says_what_to_do() {
    scrambled().forward(normal([1, 4, 4, 14]), normal([1]), normal([1, 5, 12]), normal([1, 10]));
}

#[test]
fn no_images_give_no_images() {
    let zeros = |tokens| Tensor::<3>::zeros([0, tokens, 12], &Device::flex());
    let pooled = Tensor::zeros([0, 10], &Device::flex());
    let x = Tensor::zeros([0, 4, 4, 6], &Device::flex());
    let output = scrambled().forward(x, Tensor::zeros([0], &Device::flex()), zeros(5), pooled);
    assert_eq!(output.dims(), [0, 4, 4, 6]);
}
