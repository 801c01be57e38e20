//! Half precision beside f32.

use crate::setup::{CLASSES, batch, device, network, objective, plan};
use advect_nn::{Mlp, MlpConfig};
use advect_paths::{AffinePath, Linear, Prediction, SourceLaw, UniformTime};
use advect_train::{
    AdamW, Batch, FlowMatching, LearningRate, Mixed, Objective, Plan, Precision, TrainError, Trainer, Weights,
};
use burn::tensor::{DType, Device, Tensor, bf16, f16};
use std::path::Path;

fn mixed(precision: Precision) -> impl Objective<Mlp, Batch<2>> {
    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let forward = move |network: &Mlp, x, t, class| {
        // Not the network of f32 that the trainer holds.
        assert_eq!(network.output.weight.val().dtype(), precision.dtype());
        precision.through(x, |x| network.forward(x, t, class))
    };
    let objective = FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 5);
    Mixed { objective: FlowMatching { label_drop: 0.3, null_class: CLASSES, ..objective }, precision }
}

/// Losses, gradient norms, and the weights after the steps.
fn run(objective: &impl Objective<Mlp, Batch<2>>, steps: u64) -> (Vec<f64>, Vec<f64>, Trainer<Mlp>) {
    let (mut trainer, mut losses, mut norms) = (Trainer::new(network(1)), Vec::new(), Vec::new());
    for step in 0..steps {
        let report = trainer.step(objective, &batch(step), &plan(steps)).unwrap();
        losses.push(report.loss);
        norms.push(report.gradient_norm);
    }
    (losses, norms, trainer)
}

#[test]
fn half_precision_trains_as_f32_does() {
    let (losses, norms, _) = run(&objective(), 12);
    // Digits of the type: 2^-11 and 2^-8, and a few operators in a row.
    for (precision, near) in [(Precision::F16, 0.005), (Precision::Bf16, 0.04)] {
        let (half_losses, half_norms, trainer) = run(&mixed(precision), 12);
        for (exact, half) in losses.iter().zip(&half_losses).chain(norms.iter().zip(&half_norms)) {
            assert!((exact - half).abs() < near * exact, "{precision}: {half}, {exact} in f32");
        }
        assert_ne!(losses, half_losses, "{precision} computed in f32");
        // Master weights and averages stay in f32, and hold more digits than the type has.
        for weights in [Weights::of(&trainer.model), Weights::of(&trainer.averaged())] {
            assert!(weights.tensors.values().all(|data| data.dtype() == DType::F32));
            let fine = |x: f32| f16::from_f32(x).to_f32() != x && bf16::from_f32(x).to_f32() != x;
            let numbers: Vec<f32> =
                weights.tensors.values().flat_map(|data| data.clone().try_to_vec::<f32>().unwrap()).collect();
            assert!(numbers.into_iter().filter(|x| fine(*x)).count() > 100);
        }
    }
}

#[test]
fn f32_is_the_plain_objective() {
    let (losses, norms, trainer) = run(&objective(), 3);
    let (mixed_losses, mixed_norms, mixed_trainer) = run(&mixed(Precision::F32), 3);
    assert_eq!((losses, norms), (mixed_losses, mixed_norms));
    assert_eq!(Weights::of(&trainer.model), Weights::of(&mixed_trainer.model));
}

#[test]
fn small_gradients_survive_f16() {
    // The gradient of the output is 2e-8 a number: below the smallest f16 (6e-8), but for the scale of the loss.
    let small = |precision: Precision| {
        let objective = move |network: &Mlp, batch: &Batch<2>| {
            let t = Tensor::zeros([batch.ids.len()], &device());
            let y = precision.through(batch.data.clone(), |x| network.forward(x, t, None));
            Ok::<_, TrainError>(y.sum() * 2e-8)
        };
        Mixed { objective, precision }
    };
    let (_, exact, _) = run(&small(Precision::F32), 1);
    let (_, half, _) = run(&small(Precision::F16), 1);
    assert!(exact[0] > 0.0 && (half[0] / exact[0] - 1.0).abs() < 0.01, "{half:?} {exact:?}");
}

#[test]
fn a_device_says_what_it_computes_in() {
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        assert!(precision.check(&Device::flex()).is_ok());
    }
    let refused = TrainError::Precision { precision: Precision::Bf16 };
    assert!(refused.to_string().contains("bf16"), "{refused}");
}

#[test]
fn gradients_are_divided_by_the_scale_again() {
    // With an epsilon far above the gradients AdamW moves weights in proportion to them.
    let moved = |objective: &dyn Fn(&mut Trainer<Mlp>, &Plan)| {
        let optimizer = AdamW { epsilon: 100.0, ..AdamW::standard() };
        let mut trainer = Trainer::new(network(1));
        objective(&mut trainer, &Plan { optimizer, rate: LearningRate::new(10.0, 0, 10, 1.0).unwrap(), ..plan(10) });
        let [before, after] = [network(1), trainer.model].map(|model| model.output.weight.val().inner());
        (after - before).abs().sum().into_scalar::<f64>()
    };
    let exact = moved(&|trainer, plan| {
        trainer.step(&objective(), &batch(0), plan).unwrap();
    });
    let half = moved(&|trainer, plan| {
        trainer.step(&mixed(Precision::F16), &batch(0), plan).unwrap();
    });
    assert!(exact > 1e-3 && (half / exact - 1.0).abs() < 0.01, "{half} {exact}");
}

#[test]
fn gradients_are_f32_but_for_a_trainer() {
    let (model, objective) = (network(1), mixed(Precision::Bf16));
    let gradient = |loss: Tensor<1>| model.output.weight.val().grad(&loss.backward()).unwrap();
    let own = gradient(objective.loss(&model, &batch(0)).unwrap());
    let of_step = gradient(objective.loss_of_step(&model, &batch(0)).unwrap());
    assert_eq!((own.dtype(), of_step.dtype()), (DType::F32, DType::BF16));
    assert_eq!(own.into_data(), of_step.cast(DType::F32).into_data());
}

#[test]
fn a_tape_that_recomputes_stays_one() {
    let device = device().gradient_checkpointing();
    let train = |precision: Precision| {
        let model = Weights::of(&network(1))
            .apply(MlpConfig::new(2, 16, 3).with_classes(Some(CLASSES)).init(&device).unwrap(), Path::new("setup"));
        let mut trainer = Trainer::new(model.unwrap());
        let strategy = |model: &Mlp| model.output.weight.val().gradient_checkpointing_strategy();
        let before = strategy(&trainer.model);
        for step in 0..2 {
            let Batch { data, .. } = batch(step);
            let data = Tensor::<2>::from_data(data.into_data(), &device);
            let objective = |model: &Mlp, (): &()| {
                let t = Tensor::zeros([data.dims()[0]], &device);
                let y = precision.through(data.clone(), |x| model.forward(x, t, None));
                Ok::<_, TrainError>(y.square().mean())
            };
            trainer.step(&Mixed { objective, precision }, &(), &plan(2)).unwrap();
        }
        assert_eq!(strategy(&trainer.model), before);
        assert_ne!(before, network(1).output.weight.val().gradient_checkpointing_strategy());
    };
    train(Precision::F32);
    train(Precision::Bf16);
}
