//! Output and gradients against diffusers' `UNet2DModel` with the same weights, in f32.

use advect_nn::{Conditioning, Resampling, UNet, UNetConfig};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::fixture::{Fixture, assert_close};

/// Compares a network of `tools/fixtures-nn/generate.py`: output, and gradients by x, t and every parameter.
fn check(name: &str, config: &UNetConfig) {
    let device = Device::flex().autodiff();
    let fixture = Fixture::read(name);
    let network = config.init(&device).unwrap();
    assert_eq!(network.num_params(), fixture.parameters, "{name}");
    assert_eq!(config.num_params(), fixture.parameters, "{name}");

    let network = fixture.load(network, &UNet::LAYOUT);
    let x = fixture.get("x").tensor::<4>(&device).require_grad();
    let t = fixture.get("t").tensor::<1>(&device).require_grad();
    let class = fixture.find("class").map(|class| {
        let class: Vec<i64> = class.values.iter().map(|&class| class as i64).collect();
        Tensor::<1, Int>::from_data(TensorData::from(class.as_slice()), &device)
    });
    assert_eq!(class.is_some(), config.classes.is_some(), "{name}");
    let output = network.forward(x.clone(), t.clone(), class);
    assert_eq!(output.dims().to_vec(), fixture.get("output").shape, "{name}");
    assert_close("output", &output.clone().into_data(), &fixture.get("output").values);

    let gradients = (output * fixture.get("cotangent").tensor::<4>(&device)).sum().backward();
    assert_close("gradient by x", &x.grad(&gradients).unwrap().into_data(), &fixture.get("grad/x").values);
    assert_close("gradient by t", &t.grad(&gradients).unwrap().into_data(), &fixture.get("grad/t").values);
    fixture.check_gradients(network, &UNet::LAYOUT, &gradients);
}

#[test]
fn added_conditioning_without_attention() {
    let config = UNetConfig::new(1, 8, vec![1, 2, 1])
        .with_blocks(1)
        .with_head_channels(8)
        .with_groups(4)
        .with_conditioning(Conditioning::Add);
    check("plain", &config);
}

#[test]
fn attention_with_heads_on_rectangles() {
    let config = UNetConfig::new(2, 8, vec![1, 1])
        .with_attention(vec![1, 2])
        .with_head_channels(4)
        .with_groups(2)
        .with_classes(Some(3))
        .with_conditioning(Conditioning::Add);
    check("attention", &config);
}

#[test]
fn the_adm_shape() {
    let config = UNetConfig::new(3, 8, vec![1, 2])
        .with_blocks(1)
        .with_attention(vec![2])
        .with_head_channels(4)
        .with_groups(4)
        .with_classes(Some(2))
        .with_resample(Resampling::ResidualBlock);
    check("adm", &config);
}

#[test]
fn odd_sizes() {
    let config = UNetConfig::new(1, 8, vec![1, 1, 1]).with_blocks(1).with_head_channels(4).with_groups(2);
    check("odd", &config);
}

#[test]
fn a_finest_level_wider_than_the_base() {
    let config =
        UNetConfig::new(1, 4, vec![2, 2]).with_blocks(1).with_head_channels(8).with_groups(4).with_classes(Some(1));
    check("wide", &config);
}

#[test]
fn the_presets_have_the_parameters_of_the_originals() {
    // Printed by generate.py; 35.7 and 296 million are also the published counts (Ho et al. 2020, section 4, and
    // Dhariwal and Nichol 2021, table 4).
    assert_eq!(UNetConfig::digits().num_params(), 1_081_569);
    assert_eq!(UNetConfig::cifar10().num_params(), 35_746_307);
    assert_eq!(UNetConfig::imagenet64().num_params(), 295_900_035);
    let digits = UNetConfig::digits();
    assert_eq!(digits.init(&Device::flex()).unwrap().num_params(), digits.num_params());
}
