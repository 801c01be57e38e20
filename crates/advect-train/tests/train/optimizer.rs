//! AdamW, clipping by global norm and EMA against PyTorch (`tools/fixtures-train`).

use advect_train::{AdamW, Ema, History, LearningRate, Plan, RunFolder, TrainError, Trainer, Weights};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use std::{collections::BTreeMap, path::Path};

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn close(what: &str, have: Vec<f64>, want: Vec<f64>) {
    assert_eq!(have.len(), want.len(), "{what}");
    for (have, want) in have.iter().zip(&want) {
        // f32 against f64: half a dozen steps of numbers near 1, each rounded to 6e-8.
        assert!((have - want).abs() < 1e-6, "{what}: {have} instead of {want}");
    }
}

fn values(layer: &Linear, name: &str) -> Vec<f64> {
    Weights::of(layer).tensors[name].clone().try_into_vec_as::<f64>().unwrap()
}

type Pair = (Tensor<2>, Tensor<2>);

fn squared_error(layer: &Linear, (x, y): &Pair) -> Result<Tensor<1>, TrainError> {
    Ok((layer.forward(x.clone()) - y.clone()).square().mean())
}

#[test]
fn six_steps_are_pytorchs() {
    let fixture: Value = serde_json::from_str(include_str!("../fixtures/adamw.json")).unwrap();
    let device = Device::flex().autodiff();
    let setting = |name: &str| fixture["settings"][name].as_f64().unwrap();
    let start = |name: &str, shape: &[usize]| {
        (name.to_owned(), TensorData::new(numbers(&fixture["start"][name]), shape.to_vec()))
    };
    let tensors = BTreeMap::from([start("weight", &[3, 2]), start("bias", &[2])]);
    let weights = Weights { tensors, metadata: String::new() };
    let layer = weights.apply(LinearConfig::new(3, 2).init(&device), Path::new("fixture")).unwrap();
    let mut trainer = Trainer::new(layer);
    for (n, step) in fixture["steps"].as_array().unwrap().iter().enumerate() {
        let matrix = |name: &str| {
            let values = numbers(&step[name]);
            let rows = setting("batch") as usize;
            let columns = values.len() / rows;
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &device)
        };
        let rate = step["rate"].as_f64().unwrap();
        let plan = Plan {
            steps: 6,
            // A floor of 1 is a constant rate.
            rate: LearningRate::new(rate, 0, 1, 1.0).unwrap(),
            optimizer: AdamW {
                beta1: setting("beta1"),
                beta2: setting("beta2"),
                epsilon: setting("epsilon"),
                weight_decay: setting("weight_decay"),
            },
            clip_norm: setting("clip"),
            ema: Ema::new(setting("ema")).unwrap(),
        };
        let report = trainer.step(&squared_error, &(matrix("x"), matrix("y")), &plan).unwrap();
        assert_eq!((report.step, report.rate), (n as u64, rate));
        // The norm is that before clipping; PyTorch divides by the norm + 1e-6, which is below f32's own error here.
        close("loss", vec![report.loss], vec![step["loss"].as_f64().unwrap()]);
        close("norm", vec![report.gradient_norm], vec![step["norm"].as_f64().unwrap()]);
        for name in ["weight", "bias"] {
            close(name, values(&trainer.model, name), numbers(&step[name]));
            close("average", values(&trainer.averaged(), name), numbers(&step[format!("ema_{name}")]));
        }
    }
    let folder = tempfile::tempdir().unwrap();
    RunFolder::create(folder.path(), "").unwrap().save(&trainer, &History::default()).unwrap();
    let memory = Weights::load(&folder.path().join("optimizer.safetensors")).unwrap();
    for name in ["weight", "bias"] {
        for moment in ["first", "second"] {
            let have = memory.tensors[&format!("{moment}.{name}")].clone().try_into_vec_as::<f64>().unwrap();
            close(moment, have, numbers(&fixture["moments"][name][moment]));
        }
    }
}

#[derive(Module, Debug)]
struct Two {
    used: Linear,
    idle: Linear,
}

/// A parameter without a part in the loss is not touched (no weight decay, as in PyTorch), but its average goes on.
#[test]
fn a_parameter_without_gradient_rests_and_its_average_follows() {
    let device = Device::flex().autodiff();
    let two = Two { used: LinearConfig::new(2, 2).init(&device), idle: LinearConfig::new(2, 2).init(&device) };
    let mut trainer = Trainer::new(two);
    let plan = Plan {
        steps: 9,
        rate: LearningRate::new(0.5, 0, 1, 1.0).unwrap(),
        optimizer: AdamW { weight_decay: 0.5, ..AdamW::standard() },
        clip_norm: f64::INFINITY,
        ema: Ema::new(0.1).unwrap(),
    };
    let loss = |two: &Two, both: &bool| -> Result<Tensor<1>, TrainError> {
        let x = Tensor::<2>::ones([4, 2], &two.used.weight.val().device());
        let y = two.used.forward(x.clone());
        Ok(if *both { (y + two.idle.forward(x)).square().mean() } else { y.square().mean() })
    };
    let idle = |two: &Two| values(&two.idle, "weight");
    let first = idle(&trainer.model);
    trainer.step(&loss, &true, &plan).unwrap();
    let moved = idle(&trainer.model);
    assert_ne!(first, moved);
    // By hand, from the formula: the decay of every step is 0.1.
    let mut average: Vec<f64> = first.iter().zip(&moved).map(|(a, b)| 0.1 * a + 0.9 * b).collect();
    for _ in 0..4 {
        close("average", idle(&trainer.averaged()), average.clone());
        let used = values(&trainer.model.used, "weight");
        trainer.step(&loss, &false, &plan).unwrap();
        assert_eq!(idle(&trainer.model), moved);
        assert_ne!(values(&trainer.model.used, "weight"), used);
        average = average.iter().zip(&moved).map(|(a, b)| 0.1 * a + 0.9 * b).collect();
    }
    // Nine decays of 0.1 are less than f32's last bit, and there it stays.
    for _ in 0..9 {
        trainer.step(&loss, &false, &plan).unwrap();
    }
    assert_eq!(idle(&trainer.averaged()), moved);
}

/// What is not learned has nothing to average: whatever is put there is what samples.
#[test]
fn the_average_of_a_frozen_parameter_is_the_parameter() {
    let device = Device::flex().autodiff();
    let layer = || LinearConfig::new(2, 2).init(&device);
    let two = Two { used: layer(), idle: layer().no_grad() };
    let mut trainer = Trainer::new(two);
    let plan = Plan {
        steps: 9,
        rate: LearningRate::new(0.1, 0, 1, 1.0).unwrap(),
        optimizer: AdamW { weight_decay: 0.5, ..AdamW::standard() },
        clip_norm: f64::INFINITY,
        ema: Ema::new(0.9).unwrap(),
    };
    let loss = |two: &Two, (): &()| -> Result<Tensor<1>, TrainError> {
        let x = Tensor::<2>::ones([4, 2], &two.used.weight.val().device());
        Ok(two.idle.forward(two.used.forward(x)).square().mean())
    };
    let idle = |two: &Two| values(&two.idle, "weight");
    let [first, used] = [idle(&trainer.model), values(&trainer.model.used, "weight")];
    trainer.step(&loss, &(), &plan).unwrap();
    assert_ne!(values(&trainer.model.used, "weight"), used);
    assert_eq!([idle(&trainer.model), idle(&trainer.averaged())], [first.clone(), first.clone()]);
    trainer.model.idle = layer().no_grad();
    let second = idle(&trainer.model);
    assert_ne!(second, first);
    trainer.step(&loss, &(), &plan).unwrap();
    assert_eq!([idle(&trainer.model), idle(&trainer.averaged())], [second.clone(), second]);
}

/// A large tensor is summed in pieces: none may be lost, and none counted twice.
#[test]
fn the_norm_of_many_numbers() {
    let device = Device::flex().autodiff();
    // 1025 x 1024 weights: one piece of 2^20 and a rest. The loss is the sum of all weights, every gradient 1.
    let mut trainer = Trainer::new(LinearConfig::new(1025, 1024).with_bias(false).init(&device));
    let plan = Plan {
        steps: 1,
        rate: LearningRate::new(0.1, 0, 1, 1.0).unwrap(),
        optimizer: AdamW::standard(),
        clip_norm: 1.0,
        ema: Ema::new(0.0).unwrap(),
    };
    let sum = |layer: &Linear, (): &()| -> Result<Tensor<1>, TrainError> { Ok(layer.weight.val().sum()) };
    let report = trainer.step(&sum, &(), &plan).unwrap();
    assert!((report.gradient_norm - (1025.0 * 1024.0_f64).sqrt()).abs() < 1e-9, "{}", report.gradient_norm);
}
