//! Each backbone, small: its output, and the gradients of its input and of all parameters.
//!
//! The reference is the same network in f64, which this project's fast paths do not touch.

use crate::suite::{Errors, Place, Suite, error, flat, noise, values};
use advect::nn::{
    Activation, AutoencoderKlConfig, Conditioning, DiTCondition, DiTConditioning, MmDiTConfig, Norm,
    PatchDiscriminatorConfig, Positions, QkNorm, Resampling, sinusoidal,
};
use advect::prelude::*;

/// Times that f32 holds exactly.
const TIMES: [f64; 2] = [0.25, 0.8125];

fn times(place: &Place) -> Tensor<1> {
    place.tensor(&TIMES, [2])
}

pub(crate) fn run(suite: &mut Suite) {
    suite.group("backbone");
    time_features(suite);
    mlp(suite);
    unet(suite);
    dit(suite);
    mm_dit(suite);
    autoencoder(suite);
}

fn time_features(suite: &mut Suite) {
    // A thousand radians and more: f32 alone loses 6e-5 there, and shaders may lose far more than f32.
    suite.case("time features, up to 1000 radians", 1e-4, |place| {
        let t: Vec<f64> = noise(4, 16).iter().map(|x| f64::from((x.abs() * 400.0) as f32)).collect();
        let got = values(sinusoidal(place.tensor(&t, [16]), 32, 10_000.0));
        let mut expected = Vec::new();
        for t in t {
            let angle = |i: i32| t * f64::from(10_000f64.powf(-f64::from(i) / 16.0) as f32);
            expected.extend((0..16).map(|i| angle(i).cos()));
            expected.extend((0..16).map(|i| angle(i).sin()));
        }
        Errors::forward(error(&got, &expected))
    });
}

fn mlp(suite: &mut Suite) {
    let config = MlpConfig::new(2, 24, 3).with_classes(Some(3));
    suite.network(
        "perceptron with classes",
        2e-5,
        |device| config.init(device).expect("a valid configuration"),
        2 * 2,
        |network, x, place| flat(network.forward(x.reshape([2, 2]), times(place), Some(place.classes(&[2, 0])))),
    );
}

fn unet(suite: &mut Suite) {
    let small = UNetConfig::new(1, 8, vec![1, 2]).with_blocks(1).with_groups(4).with_head_channels(8);
    let small = small.with_attention(vec![2]).with_time_scale(10.0);
    let with_classes = small.clone().with_classes(Some(3));
    suite.network(
        "U-Net, scale and shift, attention",
        1e-4,
        |device| with_classes.init(device).expect("a valid configuration"),
        2 * 64,
        |network, x, place| flat(network.forward(x.reshape([2, 1, 8, 8]), times(place), Some(place.classes(&[1, 3])))),
    );
    let shared = small.clone().with_conditioning(Conditioning::Add);
    suite.network(
        "U-Net, additive, one time for all images",
        1e-4,
        |device| shared.init(device).expect("a valid configuration"),
        2 * 64,
        |network, x, place| flat(network.forward(x.reshape([2, 1, 8, 8]), times(place).narrow(0, 0, 1), None)),
    );
    let added = small.with_conditioning(Conditioning::Add).with_resample(Resampling::ResidualBlock);
    suite.network(
        "U-Net, additive, residual resampling",
        1e-4,
        |device| added.init(device).expect("a valid configuration"),
        2 * 64,
        |network, x, place| flat(network.forward(x.reshape([2, 1, 8, 8]), times(place), None)),
    );
}

fn dit(suite: &mut Suite) {
    let plain = DiTConfig::new(2, [8, 8], 4, 24, 2, 3).with_time_scale(10.0).with_time_features(16);
    let with_classes = plain.clone().with_classes(Some(3));
    suite.network(
        "DiT, adaLN-zero",
        1e-4,
        |device| with_classes.init(device).expect("a valid configuration"),
        2 * 2 * 64,
        |network, x, place| flat(network.forward(x.reshape([2, 2, 8, 8]), times(place), Some(place.classes(&[0, 3])))),
    );
    let modern = plain
        .clone()
        .with_positions(Positions::Rotary)
        .with_norm(Norm::Rms)
        .with_qk_norm(QkNorm::Rms)
        .with_activation(Activation::SwiGlu)
        .with_conditioning(DiTConditioning::CrossAttention { context: 10 });
    suite.network(
        "DiT, rotary, rms, SwiGLU, cross-attention",
        1e-4,
        |device| modern.init(device).expect("a valid configuration"),
        2 * 2 * 64,
        |network, x, place| {
            let context = Some(place.noise(9, [2, 3, 10]));
            let condition = DiTCondition { class: None, context, extra: None };
            flat(network.forward_with(x.reshape([2, 2, 8, 8]), times(place), condition))
        },
    );
    let in_context = plain.with_conditioning(DiTConditioning::InContext).with_positions(Positions::Learned);
    suite.network(
        "DiT, in context, learned positions",
        1e-4,
        |device| in_context.init(device).expect("a valid configuration"),
        2 * 2 * 64,
        |network, x, place| flat(network.forward(x.reshape([2, 2, 8, 8]), times(place), None)),
    );
}

fn mm_dit(suite: &mut Suite) {
    let config = MmDiTConfig::new(2, 2, 2)
        .with_head_channels(8)
        .with_text_features(12)
        .with_pooled_features(10)
        .with_positions(6)
        .with_position_span(4)
        .with_qk_norm(QkNorm::Rms)
        .with_dual_attention(vec![0])
        .with_time_scale(10.0);
    suite.network(
        "MM-DiT, dual attention",
        1e-4,
        |device| config.init(device).expect("a valid configuration"),
        2 * 2 * 64,
        |network, x, place| {
            let (text, pooled) = (place.noise(8, [2, 3, 12]), place.noise(9, [2, 10]));
            flat(network.forward(x.reshape([2, 2, 8, 8]), times(place), text, pooled))
        },
    );
}

fn autoencoder(suite: &mut Suite) {
    let config = AutoencoderKlConfig::new(1, 8, vec![1, 2], 2).with_blocks(1).with_groups(4);
    suite.network(
        "autoencoder, there and back",
        1e-4,
        |device| config.init(device).expect("a valid configuration"),
        64,
        |network, x, place| {
            let latents = network.encode(x.reshape([1, 1, 8, 8]));
            let kl = latents.kl();
            let z = latents.sample(place.noise(8, latents.mean().dims()));
            Tensor::cat(vec![flat(network.decode(z)), kl], 0)
        },
    );
    let judge = PatchDiscriminatorConfig::new(1);
    suite.network(
        "patch discriminator",
        1e-4,
        |device| judge.init(device).expect("a valid configuration"),
        32 * 32,
        |network, x, _| flat(network.forward(x.reshape([1, 1, 32, 32]))),
    );
}
