//! The DiT against diffusers and a reference of timm's parts; its structure, its tables of names.
//!
//! Longer than other files, because all of it builds the same few small networks.

use advect_nn::checkpoint::{self, CheckpointError, Layout, Loading, Manifest, Tensors};
use advect_nn::{
    Activation, DiT, DiTCondition, DiTConditioning, DiTConfig, NnError, Norm, Positions, Probe, QkNorm, sin_cos_2d,
};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{DType, Device, Distribution, Int, Tensor, TensorData};

use crate::fixture::{self, Fixture, assert_close, values};

/// Compares a network of `tools/fixtures-nn/dit.py`: output, gradients by x, t and every parameter, and the way back to
/// the peer's names.
fn check(name: &str, config: &DiTConfig, layout: &Layout) {
    let device = Device::flex().autodiff();
    let fixture = Fixture::read(&format!("dit/{name}"));
    let network = config.init(&device).unwrap();
    assert_eq!(network.num_params(), fixture.parameters, "{name}");
    assert_eq!(config.num_params(), fixture.parameters, "{name}");

    let network = fixture.load(network, layout);
    assert_eq!(checkpoint::export(&network, layout).unwrap(), fixture.weights());
    let x = fixture.get("x").tensor::<4>(&device).require_grad();
    let t = fixture.get("t").tensor::<1>(&device).require_grad();
    let class = fixture.find("class").map(|class| {
        let class: Vec<i64> = class.values.iter().map(|&class| class as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::from(class.as_slice()), &device)
    });
    assert_eq!(class.is_some(), config.classes.is_some(), "{name}");
    let context = fixture.find("context").map(|context| context.tensor::<3>(&device));
    let output = network.forward_with(x.clone(), t.clone(), DiTCondition { class, context, extra: None });
    assert_eq!(output.dims().to_vec(), fixture.get("output").shape, "{name}");
    assert_close("output", &output.clone().into_data(), &fixture.get("output").values);

    let gradients = (output * fixture.get("cotangent").tensor::<4>(&device)).sum().backward();
    assert_close("gradient by x", &x.grad(&gradients).unwrap().into_data(), &fixture.get("grad/x").values);
    assert_close("gradient by t", &t.grad(&gradients).unwrap().into_data(), &fixture.get("grad/t").values);
    fixture.check_gradients(network, layout, &gradients);
}

#[test]
fn diffusers_with_patches_of_two_four_and_eight() {
    let diffusers = |name, config: DiTConfig| check(name, &config, &DiT::LAYOUT_DIFFUSERS);
    diffusers("diffusers_p2", DiTConfig::new(4, [8, 8], 2, 16, 2, 2).with_classes(Some(3)).with_out_channels(8));
    diffusers("diffusers_p4", DiTConfig::new(1, [8, 8], 4, 24, 2, 3).with_classes(Some(2)));
    diffusers("diffusers_p8", DiTConfig::new(1, [16, 16], 8, 16, 2, 2).with_classes(Some(1)));
}

/// The reference has fewer time features.
fn reference(name: &str, config: DiTConfig) {
    check(name, &config.with_time_features(16), &DiT::LAYOUT);
}

#[test]
fn a_rectangle_with_learned_sigma() {
    reference("rectangle", DiTConfig::new(3, [4, 10], 2, 16, 2, 4).with_classes(Some(4)).with_out_channels(6));
}

#[test]
fn odd_sides_without_classes() {
    reference("unconditional", DiTConfig::new(1, [9, 15], 3, 16, 2, 2));
}

#[test]
fn rms_norms_rotary_positions_and_swiglu() {
    let config = DiTConfig::new(2, [6, 4], 2, 16, 2, 2)
        .with_classes(Some(2))
        .with_mlp_ratio(2)
        .with_norm(Norm::Rms)
        .with_qk_norm(QkNorm::Rms)
        .with_positions(Positions::Rotary)
        .with_activation(Activation::SwiGlu);
    reference("modern", config);
}

#[test]
fn learned_positions_and_layer_norms_of_queries_and_keys() {
    let config = DiTConfig::new(2, [4, 6], 2, 16, 2, 2)
        .with_mlp_ratio(2)
        .with_qk_norm(QkNorm::Layer)
        .with_positions(Positions::Learned);
    reference("learned", config);
}

#[test]
fn conditions_in_context() {
    let config = DiTConfig::new(2, [4, 6], 2, 16, 2, 4).with_classes(Some(2));
    reference("in_context", config.with_conditioning(DiTConditioning::InContext));
    let config = DiTConfig::new(2, [5, 3], 1, 16, 2, 2).with_norm(Norm::Rms).with_positions(Positions::Rotary);
    reference("in_context_rotary", config.with_conditioning(DiTConditioning::InContext));
}

#[test]
fn cross_attention_to_a_context() {
    let config = DiTConfig::new(2, [4, 6], 2, 16, 2, 2)
        .with_classes(Some(2))
        .with_mlp_ratio(2)
        .with_qk_norm(QkNorm::Rms)
        .with_conditioning(DiTConditioning::CrossAttention { context: 7 });
    reference("cross", config);
}

#[test]
fn the_presets_have_the_parameters_of_the_originals() {
    // Counted by dit.py; as published (32.96, 130.5, 458.1 and 675.1 million for patches of two). The original counts
    // its frozen positions, one row for each of (32 / patch)^2 tokens.
    let published = [
        (DiTConfig::s as fn(usize) -> DiTConfig, [32_963_360, 32_945_024, 33_148_160]),
        (DiTConfig::b, [130_512_416, 130_475_648, 130_881_536]),
        (DiTConfig::l, [458_102_816, 458_053_760, 458_594_816]),
        (DiTConfig::xl, [675_129_632, 675_074_432, 675_683_072]),
    ];
    for (preset, counts) in published {
        for (patch, count) in [2, 4, 8].into_iter().zip(counts) {
            let config = preset(patch);
            assert_eq!(config.num_params() + (32 / patch) * (32 / patch) * config.width, count, "{config:?}");
            assert!(config.validate().is_ok());
        }
    }
    let mnist = DiTConfig::mnist();
    assert_eq!(mnist.num_params(), 781_200);
    assert_eq!(mnist.init(&Device::flex()).unwrap().num_params(), mnist.num_params());
    assert_eq!(mnist.width / mnist.heads, 32);
}

fn config() -> DiTConfig {
    DiTConfig::new(2, [4, 6], 2, 16, 3, 2).with_time_features(8).with_classes(Some(3))
}

/// One of each option.
fn configs() -> Vec<DiTConfig> {
    vec![
        config(),
        config().with_norm(Norm::Rms).with_positions(Positions::Rotary).with_activation(Activation::SwiGlu),
        config().with_positions(Positions::Learned).with_qk_norm(QkNorm::Layer).with_out_channels(4),
        config().with_conditioning(DiTConditioning::InContext).with_qk_norm(QkNorm::Rms),
        config().with_conditioning(DiTConditioning::InContext).with_classes(None).with_positions(Positions::Rotary),
        config().with_conditioning(DiTConditioning::CrossAttention { context: 5 }),
    ]
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

fn scrambled(config: &DiTConfig) -> DiT {
    config.init(&Device::flex()).unwrap().map(&mut Scramble)
}

fn classes(class: [i64; 3]) -> Option<Tensor<1, Int>> {
    Some(Tensor::from_ints(class, &Device::flex()))
}

/// A condition of three rows with all that the network knows.
fn condition(config: &DiTConfig) -> DiTCondition {
    let context = match config.conditioning {
        DiTConditioning::CrossAttention { context } => Some(normal([3, 4, context])),
        _ => None,
    };
    DiTCondition { class: config.classes.and_then(|_| classes([0, 1, 2])), context, extra: None }
}

fn largest<const D: usize>(x: Tensor<D>) -> f64 {
    fixture::largest(values(&x.into_data()))
}

fn assert_equal<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    let size = largest(a.clone());
    assert!(size > 1e-2, "only zeros were compared");
    let error = largest(a - b);
    assert!(error <= 1e-5 * size, "off by {error:e} of {size:e}");
}

/// How much each row of two outputs differs.
fn difference(a: Tensor<4>, b: Tensor<4>) -> Vec<f64> {
    values(&(a - b).abs().mean_dims(&[1, 2, 3]).into_data())
}

#[test]
fn a_new_network_is_the_identity_block_by_block_and_gives_zero() {
    for config in configs() {
        let dit = config.init(&Device::flex()).unwrap();
        let (x, t) = (normal([3, 2, 4, 6]), normal([3]));
        let all = Probe { features: vec![0, 1, 2], skip: vec![] };
        let (output, features) = dit.forward_probed(x.clone(), t.clone(), condition(&config), &all);
        assert!(values(&output.into_data()).iter().all(|&y| y == 0.0), "{config:?}");
        let none = Probe { features: vec![2], skip: vec![0, 1, 2] };
        let (_, embedded) = dit.forward_probed(x, t, condition(&config), &none);
        for tokens in features {
            tokens.into_data().assert_eq(&embedded[0].to_data(), true);
        }
    }
}

#[test]
fn weights_start_as_in_dit() {
    struct Moments(Vec<(String, f64, f64)>, Vec<String>);
    impl ModuleVisitor for Moments {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.1.push(name.to_owned());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.1.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = values(&param.val().into_data());
            let square = values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64;
            self.0.push((self.1.join("."), square.sqrt(), fixture::largest(values)));
        }
    }
    let config = DiTConfig::new(4, [16, 16], 2, 192, 1, 4).with_classes(Some(100)).with_positions(Positions::Learned);
    let mut moments = Moments(vec![], vec![]);
    config.init(&Device::flex()).unwrap().visit(&mut moments);
    for (name, deviation, largest) in moments.0 {
        // Uniform on +- sqrt(6 / (from + to)).
        let bound = |from: f64, to: f64| (6.0 / (from + to)).sqrt();
        let uniform = match name.as_str() {
            "patches.weight" => Some(bound(16.0, 192.0)),
            "blocks.0.attention.qkv.weight" => Some(bound(192.0, 576.0)),
            "blocks.0.attention.out.weight" => Some(bound(192.0, 192.0)),
            "blocks.0.feed_forward.up.weight" | "blocks.0.feed_forward.down.weight" => Some(bound(192.0, 768.0)),
            _ => None,
        };
        let is_normal = ["position", "class.table.weight", "time.linear_1.weight", "time.linear_2.weight"];
        if let Some(bound) = uniform {
            // At least 3072 numbers: the deviation is known to 1%, four times that is allowed.
            assert!((deviation * 3_f64.sqrt() / bound - 1.0).abs() < 0.04, "{name}: {deviation}");
            assert!(largest <= bound * 1.000_001 && largest > 0.99 * bound, "{name}: {largest}");
        } else if is_normal.contains(&name.as_str()) {
            assert!((deviation / 0.02 - 1.0).abs() < 0.04 && largest > 0.06, "{name}: {deviation}");
        } else {
            assert_eq!(largest, 0.0, "{name}");
        }
    }
}

#[test]
fn no_class_is_the_null_class() {
    for conditioning in [DiTConditioning::AdaLnZero, DiTConditioning::InContext] {
        let dit = scrambled(&config().with_conditioning(conditioning));
        let (x, t) = (normal([3, 2, 4, 6]), normal([3]));
        let none = dit.forward(x.clone(), t.clone(), None);
        assert_equal(none.clone(), dit.forward(x.clone(), t.clone(), classes([3, 3, 3])));
        let difference = difference(none, dit.forward(x, t, classes([3, 0, 3])));
        assert!(difference[0] < 1e-6 && difference[1] > 1e-4 && difference[2] < 1e-6, "{difference:?}");
    }
}

#[test]
fn the_output_depends_on_time_and_context() {
    for config in configs() {
        let dit = scrambled(&config);
        let (x, condition) = (normal([3, 2, 4, 6]), condition(&config));
        let at = |t: [f32; 3]| dit.forward_with(x.clone(), Tensor::from_floats(t, &Device::flex()), condition.clone());
        let difference = difference(at([0.2, 0.2, 0.2]), at([0.2, 0.7, 0.2]));
        assert!(difference[0] < 1e-6 && difference[1] > 1e-4 && difference[2] < 1e-6, "{difference:?}");
    }
    let config = config().with_conditioning(DiTConditioning::CrossAttention { context: 5 });
    let (dit, x, t, with) = (scrambled(&config), normal([3, 2, 4, 6]), normal([3]), condition(&config));
    let output = dit.forward_with(x.clone(), t.clone(), with.clone());
    let without = dit.forward(x.clone(), t.clone(), with.class.clone());
    assert!(difference(output.clone(), without).iter().all(|&d| d > 1e-4));
    // A context is a set: its order does not matter.
    let turned = with.context.map(|context| context.flip([1]));
    assert_equal(output, dit.forward_with(x, t, DiTCondition { context: turned, ..with }));
}

#[test]
fn one_time_serves_the_whole_batch() {
    for config in configs() {
        let (dit, x, condition) = (scrambled(&config), normal([3, 2, 4, 6]), condition(&config));
        let time = |t: &[f32]| Tensor::<1>::from_floats(t, &Device::flex());
        for class in [None, condition.class.clone()] {
            let condition = DiTCondition { class, ..condition.clone() };
            let each = dit.forward_with(x.clone(), time(&[0.4, 0.4, 0.4]), condition.clone());
            assert_equal(each, dit.forward_with(x.clone(), time(&[0.4]), condition));
        }
    }
}

#[test]
fn an_extra_vector_is_added_to_the_embedding_of_the_time() {
    for config in configs() {
        let (dit, x, t, condition) = (scrambled(&config), normal([3, 2, 4, 6]), normal([3]), condition(&config));
        let extra = normal([1, 16]);
        let mut shifted = dit.clone();
        shifted.time.linear_2.bias =
            shifted.time.linear_2.bias.map(|bias| Param::from_tensor(bias.val() + extra.clone().reshape([16])));
        let expected = shifted.forward_with(x.clone(), t.clone(), condition.clone());
        let with = |extra| DiTCondition { extra: Some(extra), ..condition.clone() };
        assert_equal(expected.clone(), dit.forward_with(x.clone(), t.clone(), with(extra.clone())));
        assert_equal(expected.clone(), dit.forward_with(x.clone(), t.clone(), with(extra.repeat_dim(0, 3))));
        assert!(difference(expected, dit.forward_with(x, t, condition.clone())).iter().all(|&d| d > 1e-4));
    }
}

#[test]
fn no_images_give_no_images() {
    let device = Device::flex();
    for config in configs() {
        let (dit, context) = (
            scrambled(&config),
            match config.conditioning {
                DiTConditioning::CrossAttention { context } => Some(Tensor::zeros([0, 4, context], &device)),
                _ => None,
            },
        );
        for times in [0, 1] {
            let condition = DiTCondition { context: context.clone(), ..DiTCondition::default() };
            let probe = Probe { features: vec![2, 0, 2], skip: vec![1] };
            let (x, t) = (Tensor::zeros([0, 2, 4, 6], &device), Tensor::zeros([times], &device));
            let (y, features) = dit.forward_probed(x, t, condition, &probe);
            assert_eq!(y.dims(), [0, config.out_channels, 4, 6]);
            assert_eq!(features.iter().map(|tokens| tokens.dims()).collect::<Vec<_>>(), [[0, 6, 16]; 2]);
        }
    }
}

#[test]
fn rows_do_not_see_each_other() {
    for config in configs() {
        let (dit, x, t) = (scrambled(&config), normal([3, 2, 4, 6]), normal([3]));
        let extra = Some(normal([3, 16]));
        let DiTCondition { class, context, .. } = condition(&config);
        let all = DiTCondition { class: class.clone(), context: context.clone(), extra: extra.clone() };
        let all = dit.forward_with(x.clone(), t.clone(), all);
        for row in 0..3 {
            let class = class.clone().map(|class| class.narrow(0, row, 1));
            let context = context.clone().map(|context| context.narrow(0, row, 1));
            let extra = extra.clone().map(|extra| extra.narrow(0, row, 1));
            let condition = DiTCondition { class, context, extra };
            let one = dit.forward_with(x.clone().narrow(0, row, 1), t.clone().narrow(0, row, 1), condition);
            assert_equal(all.clone().narrow(0, row, 1), one);
        }
    }
}

#[test]
fn probing_does_not_change_the_output_and_returns_the_tokens() {
    for config in configs() {
        let (dit, x, t, condition) = (scrambled(&config), normal([3, 2, 4, 6]), normal([3]), condition(&config));
        let pass = |features: Vec<usize>, skip: Vec<usize>| {
            dit.forward_probed(x.clone(), t.clone(), condition.clone(), &Probe { features, skip })
        };
        let plain = dit.forward_with(x.clone(), t.clone(), condition.clone());
        let (output, features) = pass(vec![2, 0], vec![]);
        output.into_data().assert_eq(&plain.to_data(), true);
        assert_eq!(features.len(), 2);
        assert!(features.iter().all(|tokens| tokens.dims() == [3, 6, 16]));
        // In the order of the blocks, whatever was asked for first.
        features[0].to_data().assert_eq(&pass(vec![0], vec![]).1[0].to_data(), true);
        assert!(largest(features[0].clone() - features[1].clone()) > 1e-2);

        // Without the last block: what was there before it, and another output.
        let (output, without) = pass(vec![1, 2], vec![2]);
        without[0].to_data().assert_eq(&without[1].to_data(), true);
        without[0].to_data().assert_eq(&pass(vec![1], vec![]).1[0].to_data(), true);
        assert!(difference(output.clone(), plain).iter().all(|&d| d > 1e-4));
        // It is the output of the network that never had the block.
        let mut shorter = dit.clone();
        shorter.blocks.truncate(2);
        shorter.forward_with(x.clone(), t.clone(), condition.clone()).into_data().assert_eq(&output.into_data(), true);

        // Without any: the embedding of the patches, which knows nothing of the time.
        let embedded = pass(vec![0], vec![0, 1, 2]).1.remove(0);
        let later = dit.forward_probed(
            x.clone(),
            t.clone() + 0.3,
            condition.clone(),
            &Probe { features: vec![0], skip: vec![0, 1, 2] },
        );
        later.1[0].to_data().assert_eq(&embedded.into_data(), true);
    }
}

#[test]
fn positions_are_those_of_the_formula_and_follow_the_image() {
    // Place 2 rows down, 1 column right on a 3 x 2 grid, frequencies 1 and 1/100: columns first, sines before cosines.
    let table = values(&sin_cos_2d([3, 2], 8, (&Device::flex(), DType::F64)).into_data());
    let expected = [1_f64, 0.01, 2.0, 0.02];
    for (i, expected) in
        [(0, expected[0].sin()), (1, expected[1].sin()), (2, expected[0].cos()), (3, expected[1].cos())]
    {
        assert!((table[5 * 8 + i] - expected).abs() < 1e-12);
    }
    for (i, expected) in
        [(4, expected[2].sin()), (5, expected[3].sin()), (6, expected[2].cos()), (7, expected[3].cos())]
    {
        assert!((table[5 * 8 + i] - expected).abs() < 1e-12);
    }

    // Other sizes than the configured one: a network with the same weights, made for that size, agrees.
    for positions in [Positions::SinCos, Positions::Rotary] {
        let dit = scrambled(&config().with_positions(positions));
        let other = config().with_positions(positions).with_size([8, 2]).init(&Device::flex()).unwrap();
        let other = other.load_record(dit.clone().into_record());
        let (x, t) = (normal([3, 2, 8, 2]), normal([3]));
        assert_equal(dit.forward(x.clone(), t.clone(), None), other.forward(x, t, None));
    }
}

#[test]
fn rotary_attention_knows_differences_of_places_only() {
    // One query and one key, at every place of a grid.
    let rotation = |grid| advect_nn::Rotation::axial(grid, 0, 8, (&Device::flex(), DType::F32));
    let (q, k) = (normal([1, 1, 12, 8]), normal([1, 1, 12, 8]));
    let same = |x: Tensor<4>, index: usize| x.narrow(2, index, 1);
    let (one, other) = (same(q, 0).repeat_dim(2, 12), same(k, 0).repeat_dim(2, 12));
    let (q, k) = (rotation([3, 4]).apply(one), rotation([3, 4]).apply(other));
    let score = |from: [usize; 2], to: [usize; 2]| {
        let (a, b) = (same(q.clone(), 4 * from[0] + from[1]), same(k.clone(), 4 * to[0] + to[1]));
        values(&(a * b).sum().into_data())[0]
    };
    assert!((score([0, 0], [1, 2]) - score([1, 1], [2, 3])).abs() < 1e-5);
    assert!((score([1, 2], [0, 1]) - score([2, 3], [1, 2])).abs() < 1e-5);
    assert!((score([0, 0], [1, 2]) - score([0, 0], [2, 1])).abs() > 1e-4);
    assert!((score([0, 0], [1, 2]) - score([1, 2], [0, 0])).abs() > 1e-4);
}

#[test]
fn it_overfits_eight_samples() {
    let device = Device::flex().autodiff();
    let config = DiTConfig::new(1, [8, 8], 4, 32, 2, 2).with_classes(Some(8)).with_time_features(32);
    let mut dit = config.init(&device).unwrap();
    let x = Tensor::<4>::random([8, 1, 8, 8], Distribution::Normal(0.0, 1.0), &device);
    let target = Tensor::<4>::random([8, 1, 8, 8], Distribution::Normal(0.0, 1.0), &device);
    let t = Tensor::<1>::from_floats([0.0, 0.1, 0.2, 0.4, 0.5, 0.7, 0.9, 1.0], &device);
    let class = Tensor::<1, Int>::from_ints([0, 1, 2, 3, 4, 5, 6, 7], &device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(0.0).init();
    let mut losses = Vec::new();
    for _ in 0..300 {
        let output = dit.forward(x.clone(), t.clone(), Some(class.clone()));
        let loss = (output - target.clone()).square().mean();
        losses.push(values(&loss.to_data())[0]);
        let gradients = GradientsParams::from_grads(loss.backward(), &dit);
        dit = optimizer.step(3e-3, dit, gradients);
    }
    let (first, last) = (losses[0], losses[299]);
    assert!((first - 1.0).abs() < 0.3, "the loss of the prediction zero is the target's variance: {first}");
    assert!(last < 1e-2, "from {first} to {last}");
}

#[test]
fn a_record_restores_the_network() {
    for config in configs() {
        let (dit, other) = (scrambled(&config), scrambled(&config));
        let (x, t, condition) = (normal([3, 2, 4, 6]), normal([3]), condition(&config));
        let expected = dit.forward_with(x.clone(), t.clone(), condition.clone());
        let restored = other.load_record(dit.into_record());
        restored.forward_with(x, t, condition).into_data().assert_eq(&expected.into_data(), true);
    }
}

fn manifest(name: &str) -> Manifest {
    let path = format!("{}/tests/fixtures/dit/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn published_checkpoints_have_the_names_and_shapes_that_the_tables_say() {
    let network = DiTConfig::xl(2).init(&Device::flex()).unwrap(); // no weight is made
    let (original, diffusers) = (manifest("xl_2_original"), manifest("xl_2_256_diffusers"));
    assert!(original.contains_key("pos_embed"));
    checkpoint::check(&network, &DiT::LAYOUT, &original).unwrap();
    checkpoint::check(&network, &DiT::LAYOUT_DIFFUSERS, &diffusers).unwrap();
    assert!(checkpoint::check(&network, &DiT::LAYOUT, &diffusers).is_err());
    assert!(checkpoint::check(&DiTConfig::l(2).init(&Device::flex()).unwrap(), &DiT::LAYOUT, &original).is_err());
}

#[test]
fn stored_positions_are_compared_with_ours() {
    let load = |config: &DiTConfig, tensors: &Tensors| {
        config.init(&Device::flex()).unwrap().load_original(tensors, Loading::default())
    };
    // A square, a rectangle, and one with as many tokens as a square.
    for (size, grid) in [([6, 6], [3, 3]), ([4, 10], [2, 5]), ([4, 16], [2, 8])] {
        let config = config().with_size(size);
        let dit = scrambled(&config);
        let positions = dit.fixed_positions().unwrap();
        let tokens = grid[0] * grid[1];
        assert_eq!(positions.shape().to_vec(), [1, tokens, 16]);
        let computed = sin_cos_2d(grid, 16, (&Device::flex(), DType::F32));
        assert_close("positions", &positions, &values(&computed.into_data()));

        let mut tensors: Tensors = checkpoint::export(&dit, &DiT::LAYOUT).unwrap();
        assert_eq!(load(&config, &tensors).unwrap().export_original().unwrap()["pos_embed"], positions);
        tensors.insert("pos_embed".to_owned(), positions.clone());
        assert_eq!(load(&config, &tensors).unwrap().export_original().unwrap(), tensors);
        assert_eq!(dit.export_original().unwrap(), tensors);

        // The table of names does not know the size.
        let alone = checkpoint::load(config.init(&Device::flex()).unwrap(), &DiT::LAYOUT, &tensors).unwrap_err();
        assert!(alone.to_string().contains("`DiT::load_original`"), "{alone}");

        let mut wrong = positions.try_into_vec_as::<f32>().unwrap();
        wrong[20] += 0.1;
        tensors.insert("pos_embed".to_owned(), TensorData::new(wrong, [1, tokens, 16]));
        assert!(load(&config, &tensors).unwrap_err().to_string().contains("value 20 is"));
    }
}

#[test]
fn positions_of_another_network_are_refused() {
    let tensors = scrambled(&config()).export_original().unwrap();
    let error = |config: &DiTConfig, tensors: &Tensors| {
        let error = config.init(&Device::flex()).unwrap().load_original(tensors, Loading::default()).unwrap_err();
        assert!(matches!(&error, CheckpointError::Constant { name, .. } if name == "pos_embed"), "{error}");
        error.to_string()
    };
    let rotary = config().with_positions(Positions::Rotary);
    assert!(error(&rotary, &tensors).contains("turns queries and keys"));
    let refused = checkpoint::load(rotary.init(&Device::flex()).unwrap(), &DiT::LAYOUT, &tensors);
    assert!(matches!(refused, Err(CheckpointError::Constant { .. })));
    // The same number of tokens on another grid, and shapes that would never end.
    assert!(error(&config().with_size([6, 4]), &tensors).contains("value "));
    assert!(error(&config().with_size([8, 8]), &tensors).contains("its shape is [1, 6, 16], not [1, 16, 16]"));
    for shape in [[1_usize, 1 << 62, 0], [1, 1 << 30, 0], [1, 6, 0]] {
        let mut tensors = tensors.clone();
        tensors.insert("pos_embed".to_owned(), TensorData::new(Vec::<f32>::new(), shape));
        assert!(error(&config(), &tensors).contains("not [1, 6, 16]"));
    }

    // Learned ones are weights.
    let learned = config().with_positions(Positions::Learned);
    let tensors = scrambled(&learned).export_original().unwrap();
    let loaded = learned.init(&Device::flex()).unwrap().load_original(&tensors, Loading::default()).unwrap();
    assert!(loaded.fixed_positions().is_none());
    assert_eq!(loaded.export_original().unwrap(), tensors);
}

#[test]
fn copies_that_differ_are_an_error() {
    let fixture = Fixture::read("dit/diffusers_p2");
    let mut tensors = fixture.weights();
    let name = "transformer_blocks.1.norm1.emb.timestep_embedder.linear_2.bias".to_owned();
    let other = tensors["transformer_blocks.0.norm1.linear.bias"].clone().try_into_vec_as::<f32>().unwrap();
    tensors.insert(name, TensorData::new(other[..16].to_vec(), [16]));
    let network = DiTConfig::new(4, [8, 8], 2, 16, 2, 2).with_classes(Some(3)).with_out_channels(8);
    let loaded = checkpoint::load(network.init(&Device::flex()).unwrap(), &DiT::LAYOUT_DIFFUSERS, &tensors);
    assert!(matches!(loaded, Err(CheckpointError::Copies { .. })));
}

#[test]
fn a_configuration_that_describes_no_network_is_an_error_with_operands() {
    fn error(config: DiTConfig) -> NnError {
        let error = config.validate().unwrap_err();
        assert_eq!(config.init(&Device::flex()).err(), Some(error.clone()));
        error
    }
    for config in configs() {
        assert!(config.validate().is_ok());
    }
    let zero = |field| NnError::Zero { field };
    assert_eq!(error(DiTConfig { depth: 0, ..config() }), zero("depth"));
    assert_eq!(error(DiTConfig { heads: 0, ..config() }), zero("heads"));
    assert_eq!(error(DiTConfig { patch: 0, ..config() }), zero("patch"));
    assert_eq!(error(DiTConfig { width: 0, ..config() }), zero("width"));
    assert_eq!(error(config().with_size([4, 0])), zero("size"));
    assert_eq!(error(config().with_mlp_ratio(0)), zero("mlp_ratio"));
    assert_eq!(error(config().with_classes(Some(0))), zero("classes"));
    let context = DiTConditioning::CrossAttention { context: 0 };
    assert_eq!(error(config().with_conditioning(context)), zero("context"));
    assert_eq!(error(config().with_time_features(5)), NnError::OddFeatures { field: "time_features", features: 5 });
    assert!(matches!(error(config().with_time_scale(f64::INFINITY)), NnError::NotPositive { field: "time_scale", .. }));
    assert_eq!(
        error(DiTConfig { heads: 3, ..config() }),
        NnError::Indivisible { field: "heads", divisor: 3, channels: 16, place: "a token" }
    );
    assert!(matches!(error(DiTConfig { width: 18, ..config() }), NnError::NotMultiple { field: "width", .. }));
    assert!(DiTConfig { width: 18, ..config() }.with_positions(Positions::Learned).validate().is_ok());
    let rotary = DiTConfig { heads: 8, ..config() }.with_positions(Positions::Rotary);
    assert!(matches!(error(rotary), NnError::NotMultiple { field: "width / heads", value: 2, .. }));
    assert_eq!(
        error(config().with_size([4, 7])).to_string(),
        "`size` = 7 is no multiple of 2, but the image has to be a whole number of patches: use 8"
    );
}

#[test]
fn toml_says_what_is_needed_and_no_more() {
    let config = config()
        .with_conditioning(DiTConditioning::CrossAttention { context: 5 })
        .with_positions(Positions::Rotary)
        .with_qk_norm(QkNorm::Rms)
        .with_activation(Activation::SwiGlu);
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("activation = \"swi_glu\"") && text.contains("context = 5"), "{text}");
    assert_eq!(toml::from_str::<DiTConfig>(&text).unwrap(), config);

    let text = "in_channels = 3\nout_channels = 3\nsize = [32, 48]\npatch = 4\nwidth = 384\ndepth = 12\nheads = 6";
    assert_eq!(toml::from_str::<DiTConfig>(text).unwrap(), DiTConfig::new(3, [32, 48], 4, 384, 12, 6));
    assert!(toml::from_str::<DiTConfig>(&format!("{text}\nhedas = 3")).is_err());
}

#[test]
#[should_panic(expected = "no whole number of patches")]
fn an_image_that_cannot_be_cut_says_so() {
    scrambled(&config()).forward(normal([1, 2, 4, 5]), normal([1]), None);
}

#[test]
#[should_panic(expected = "learned positions are for images of the size [4, 6] only")]
fn another_size_for_learned_positions_says_so() {
    scrambled(&config().with_positions(Positions::Learned)).forward(normal([1, 2, 4, 8]), normal([1]), None);
}

#[test]
#[should_panic(expected = "knows no classes")]
fn a_class_for_a_network_without_classes_says_what_to_do() {
    let config = config().with_classes(None).with_conditioning(DiTConditioning::InContext);
    scrambled(&config).forward(normal([3, 2, 4, 6]), normal([3]), classes([0, 0, 0]));
}

#[test]
#[should_panic(expected = "no cross-attention")]
fn a_context_for_a_network_without_cross_attention_says_what_to_do() {
    let condition = DiTCondition { context: Some(normal([1, 2, 3])), ..DiTCondition::default() };
    scrambled(&config()).forward_with(normal([1, 2, 4, 6]), normal([1]), condition);
}

#[test]
#[should_panic(expected = "names block 3, but the network has 3 blocks")]
fn a_probe_of_a_block_that_is_not_there_says_so() {
    let probe = Probe { features: vec![], skip: vec![3] };
    scrambled(&config()).forward_probed(normal([1, 2, 4, 6]), normal([1]), DiTCondition::default(), &probe);
}

#[test]
#[should_panic(expected = "the extra condition has 1 features, the embedding of the time 16")]
fn an_extra_vector_of_another_width_says_so() {
    let condition = DiTCondition { extra: Some(normal([1, 1])), ..DiTCondition::default() };
    scrambled(&config()).forward_with(normal([1, 2, 4, 6]), normal([1]), condition);
}

#[test]
#[should_panic(expected = "a rotation for 1 tokens of 8 features cannot turn 6 of 8")]
fn a_rotation_for_another_grid_says_so() {
    advect_nn::Rotation::axial([1, 1], 0, 8, (&Device::flex(), DType::F32)).apply(normal([1, 2, 6, 8]));
}
