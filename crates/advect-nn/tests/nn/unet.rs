//! The U-Net's structure: zero initialization, the null class, a shared time, records.

use advect_nn::{Conditioning, Resample, Resampling, SelfAttention, UNet, UNetConfig};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Int, Tensor};

use crate::fixture::values;

fn config() -> UNetConfig {
    UNetConfig::new(2, 8, vec![1, 2])
        .with_blocks(1)
        .with_attention(vec![2])
        .with_head_channels(4)
        .with_groups(4)
        .with_classes(Some(3))
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

fn scrambled(config: &UNetConfig) -> UNet {
    config.init(&Device::flex()).unwrap().map(&mut Scramble)
}

fn assert_equal<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
    let (a, b) = (values(&a.into_data()), values(&b.into_data()));
    assert!(a.iter().any(|&x| x.abs() > 1e-3), "only zeros were compared");
    assert_eq!(a.len(), b.len());
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + a.abs())), "{a:?} {b:?}");
}

#[test]
fn a_new_residual_branch_is_the_identity() {
    for (conditioning, resample) in
        [(Conditioning::Add, Resampling::Conv), (Conditioning::ScaleShift, Resampling::ResidualBlock)]
    {
        let device = Device::flex();
        let unet = config().with_conditioning(conditioning).with_resample(resample).init(&device).unwrap();
        let (x, embedding) = (normal([2, 16, 3, 5]), normal([2, 32]));
        let block = &unet.middle.block1;
        block.forward(x.clone(), embedding.clone()).into_data().assert_eq(&x.clone().into_data(), true);
        unet.middle.block2.forward(x.clone(), embedding).into_data().assert_eq(&x.clone().into_data(), true);
        unet.middle.attention.forward(x.clone()).into_data().assert_eq(&x.clone().into_data(), true);
        unet.down[1].attention[0].forward(x.clone()).into_data().assert_eq(&x.into_data(), true);

        // Blocks that change the channels are their shortcut: what the embedding says does not matter.
        for level in unet.down.iter().chain(&unet.up) {
            for block in &level.blocks {
                let [_, from, _, _] = block.conv1.weight.dims();
                let x = normal([2, from, 3, 5]);
                let outputs = [1.0, -2.0].map(|by| block.forward(x.clone(), normal([2, 32]) * by).into_data());
                outputs[0].assert_eq(&outputs[1], true);
                if block.shortcut.is_none() {
                    outputs[0].assert_eq(&x.into_data(), true);
                }
            }
            if let Some(Resample::Block(block)) = &level.resample {
                let [_, from, _, _] = block.conv1.weight.dims();
                let x = normal([2, from, 4, 2]);
                let outputs = [1.0, -2.0].map(|by| block.forward(x.clone(), normal([2, 32]) * by).into_data());
                outputs[0].assert_eq(&outputs[1], true);
            }
        }

        // And so the new network's output is zero: exactly, whatever it sees.
        let output = unet.forward(normal([2, 2, 4, 6]), normal([2]), None);
        assert!(values(&output.into_data()).iter().all(|&y| y == 0.0));
    }
}

#[test]
fn every_parameter_but_the_zeroed_ones_starts_at_random() {
    struct Zeros {
        zero: usize,
        all: usize,
    }
    impl burn::module::ModuleVisitor for Zeros {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.all += 1;
            self.zero += usize::from(values(&param.val().into_data()).iter().all(|&x| x == 0.0));
        }
    }
    let unet = config().with_resample(Resampling::ResidualBlock).init(&Device::flex()).unwrap();
    let mut zeros = Zeros { zero: 0, all: 0 };
    unet.visit(&mut zeros);
    // Weight and bias of: 2 + 4 + 2 blocks and 2 resampling ones, 1 + 2 + 1 attentions, the output; and the shift of each norm:
    // two a block, one an attention, one at the output.
    assert_eq!(zeros.zero, 2 * (10 + 4 + 1) + 2 * 10 + 4 + 1);
    assert!(zeros.all > 2 * zeros.zero);
}

#[test]
fn no_class_is_the_null_class() {
    let unet = scrambled(&config());
    let (x, t) = (normal([3, 2, 4, 4]), normal([3]));
    let class = |class: [i64; 3]| Some(Tensor::<1, Int>::from_ints(class, &Device::flex()));
    let none = unet.forward(x.clone(), t.clone(), None);
    assert_equal(none.clone(), unet.forward(x.clone(), t.clone(), class([3, 3, 3])));
    let other = unet.forward(x, t, class([3, 0, 3]));
    let difference = (none - other).abs().mean_dims(&[1, 2, 3]).into_data();
    let difference = values(&difference);
    assert!(difference[0] < 1e-5 && difference[1] > 1e-2 && difference[2] < 1e-5, "{difference:?}");
}

#[test]
fn one_time_serves_the_whole_batch() {
    for conditioning in [Conditioning::Add, Conditioning::ScaleShift] {
        let unet = scrambled(&config().with_conditioning(conditioning));
        let x = normal([3, 2, 4, 4]);
        let time = |t: &[f32]| Tensor::<1>::from_floats(t, &Device::flex());
        let class = Some(Tensor::<1, Int>::from_ints([0, 1, 2], &Device::flex()));
        for class in [None, class] {
            let each = unet.forward(x.clone(), time(&[0.4, 0.4, 0.4]), class.clone());
            assert_equal(each, unet.forward(x.clone(), time(&[0.4]), class));
        }
    }
}

#[test]
fn rows_do_not_see_each_other() {
    let unet = scrambled(&config());
    let (x, t) = (normal([3, 2, 4, 4]), normal([3]));
    let all = unet.forward(x.clone(), t.clone(), None);
    let one = unet.forward(x.narrow(0, 1, 1), t.narrow(0, 1, 1), None);
    assert_equal(all.narrow(0, 1, 1), one);
}

#[test]
fn attention_permutes_with_its_pixels() {
    let unet = scrambled(&config());
    let attention: &SelfAttention = &unet.middle.attention;
    let x = normal([2, 16, 3, 4]);
    assert_equal(attention.forward(x.clone().flip([2])), attention.forward(x).flip([2]));
}

#[test]
fn a_record_restores_the_network() {
    let config = config().with_resample(Resampling::ResidualBlock);
    let (unet, other) = (scrambled(&config), scrambled(&config));
    let (x, t) = (normal([2, 2, 4, 4]), normal([2]));
    let expected = unet.forward(x.clone(), t.clone(), None);
    let restored = other.load_record(unet.into_record());
    restored.forward(x, t, None).into_data().assert_eq(&expected.into_data(), true);
}

#[test]
#[should_panic(expected = "multiples of 2^(levels - 1)")]
fn residual_resampling_of_an_odd_size_says_what_to_do() {
    let unet = scrambled(&config().with_resample(Resampling::ResidualBlock));
    unet.forward(normal([1, 2, 5, 4]), normal([1]), None);
}

#[test]
#[should_panic(expected = "knows no classes")]
fn a_class_for_a_network_without_classes_says_what_to_do() {
    let unet = scrambled(&config().with_classes(None));
    unet.forward(normal([1, 2, 4, 4]), normal([1]), Some(Tensor::from_ints([0], &Device::flex())));
}

#[test]
fn no_images_give_no_images() {
    let device = Device::flex();
    let unet = UNetConfig::digits().with_out_channels(2).init(&device).unwrap();
    let none = Tensor::<4>::zeros([0, 1, 8, 8], &device);
    for times in [0, 1] {
        assert_eq!(unet.forward(none.clone(), Tensor::zeros([times], &device), None).dims(), [0, 2, 8, 8]);
    }
    let pixels = Tensor::<4>::zeros([0, 64, 4, 4], &device);
    assert_eq!(unet.middle.attention.forward(pixels).dims(), [0, 64, 4, 4]);
}
