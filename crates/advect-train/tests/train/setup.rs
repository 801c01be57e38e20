//! A small real run: a conditional perceptron that learns the flow to points on a line.

use advect_core::{NoiseKey, Purpose, normal};
use advect_nn::{Mlp, MlpConfig};
use advect_paths::{AffinePath, Linear, Prediction, SourceLaw, UniformTime};
use advect_train::{AdamW, Batch, Ema, FlowMatching, History, LearningRate, Objective, Plan, Record, Trainer, Weights};
use burn::tensor::{Device, Tensor, TensorData};
use std::path::Path;

pub(crate) const CLASSES: usize = 3;
const BATCH: u64 = 16;

pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// Weights by keyed noise: Burn's own generator is shared by all tests of the process.
pub(crate) fn network(seed: u64) -> Mlp {
    let network = MlpConfig::new(2, 16, 3).with_classes(Some(CLASSES)).init(&device()).unwrap();
    let mut weights = Weights::of(&network);
    for (id, data) in weights.tensors.values_mut().enumerate() {
        let mut rng = NoiseKey::new(seed, Purpose::Init).rng(id as u64, 0);
        let values: Vec<f32> = (0..data.num_elements()).map(|_| 0.3 * normal(&mut rng) as f32).collect();
        *data = TensorData::new(values, data.shape().to_vec());
    }
    weights.apply(network, Path::new("setup")).unwrap()
}

pub(crate) fn batch(step: u64) -> Batch<2> {
    let ids: Vec<u64> = (step * BATCH..(step + 1) * BATCH).collect();
    let values: Vec<f32> = ids.iter().flat_map(|&id| [id as f32 % 7.0 - 3.0, 1.0]).collect();
    let data = Tensor::from_data(TensorData::new(values, [ids.len(), 2]), &device());
    let classes = Some(ids.iter().map(|&id| id as usize % CLASSES).collect());
    Batch { data, classes, ids }
}

pub(crate) fn objective() -> impl Objective<Mlp, Batch<2>> {
    let path = AffinePath::new(Linear, SourceLaw::GaussianIndependent);
    let forward = |network: &Mlp, x, t, class| network.forward(x, t, class);
    let objective = FlowMatching::new(forward, path, UniformTime::new(), Prediction::Velocity, 5);
    FlowMatching { label_drop: 0.3, null_class: CLASSES, ..objective }
}

pub(crate) fn plan(steps: u64) -> Plan {
    Plan {
        steps,
        rate: LearningRate::new(0.02, 2, 6, 0.1).unwrap(),
        optimizer: AdamW { weight_decay: 0.1, ..AdamW::standard() },
        clip_norm: 1.0,
        ema: Ema::new(0.5).unwrap(),
    }
}

/// Goes on until `steps` are done.
pub(crate) fn advance(trainer: &mut Trainer<Mlp>, history: &mut History, steps: u64) {
    let plan = plan(steps);
    while trainer.step < steps {
        let report = trainer.step(&objective(), &batch(trainer.step), &plan).unwrap();
        history.training.push(Record { step: report.step, loss: report.loss });
    }
    history.validation.push(Record { step: steps, loss: 1.0 / steps as f64 });
}

pub(crate) fn trained(steps: u64) -> (Trainer<Mlp>, History) {
    let (mut trainer, mut history) = (Trainer::new(network(1)), History::default());
    advance(&mut trainer, &mut history, steps);
    (trainer, history)
}
