//! A training step, weights that change devices, and a run that must stop.

use crate::suite::{Errors, Place, Suite, Weights, error, parameters};
use advect::prelude::*;
use advect::train::{Mixed, TrainError, Weights as Stored};
use burn::module::Module;

pub(crate) fn run(suite: &mut Suite) {
    suite.group("training");
    steps(suite);
    stored(suite);
    not_a_number(suite);
}

fn network(device: &Device) -> Mlp {
    MlpConfig::new(2, 16, 2).init(device).expect("a valid configuration")
}

/// Inputs, times and targets.
type Pairs = (Tensor<2>, Tensor<1>, Tensor<2>);

fn squares(network: &Mlp, (x, t, target): &Pairs) -> Result<Tensor<1>, TrainError> {
    let error = network.forward(x.clone(), t.clone(), None) - target.clone();
    Ok((error.clone() * error).mean())
}

fn plan() -> Plan {
    Plan {
        steps: 100,
        rate: LearningRate::new(1e-2, 2, 100, 0.0).expect("valid"),
        // A larger epsilon than usual: with 1e-8 the sign of a gradient's last bit moves a weight by the whole rate.
        optimizer: AdamW { weight_decay: 0.1, epsilon: 1e-3, ..AdamW::standard() },
        clip_norm: 0.5,
        ema: Ema::new(0.9).expect("valid"),
    }
}

fn steps(suite: &mut Suite) {
    let weights = Weights::of(&network(&Device::flex()));
    let trained = |place: &Place, precision: Precision| {
        let place = place.autodiff();
        let mut trainer = Trainer::new(weights.give(network(&place.device), &place));
        let before = parameters(&trainer.model);
        let mut reports = Vec::new();
        for step in 0..5 {
            let batch = (place.noise(step, [8, 2]), place.tensor(&[0.25; 8], [8]), place.noise(50 + step, [8, 2]));
            let objective = |network: &Mlp, (x, t, target): &Pairs| {
                let error = precision.through(x.clone(), |x| network.forward(x, t.clone(), None)) - target.clone();
                Ok::<_, TrainError>((error.clone() * error).mean())
            };
            let report = trainer.step(&Mixed { objective, precision }, &batch, &plan()).expect("finite numbers");
            reports.extend([report.loss, report.gradient_norm]);
        }
        let moved = |now: Vec<f64>| now.iter().zip(&before).map(|(a, b)| a - b).collect::<Vec<_>>();
        (moved(parameters(&trainer.model)), moved(parameters(&trainer.averaged())), reports)
    };
    // How far the weights and their average moved, in five steps of AdamW with clipping.
    suite.case("five steps of AdamW, clipping, average", 2e-4, |place| {
        let (got, expected) = (trained(place, Precision::F32), trained(&Place::reference(), Precision::F32));
        assert!(expected.2.chunks(2).any(|report| report[1] > 0.5), "nothing was clipped");
        let errors = [(&got.0, &expected.0), (&got.1, &expected.1), (&got.2, &expected.2)];
        Errors::forward(errors.map(|(g, e)| error(g, e)).into_iter().fold(0.0, f64::max))
    });
    // The network's numbers and gradients are rounded, to 2^-9 or 2^-12; weights, moments and average are not.
    let half = [Precision::Bf16, Precision::F16].into_iter().find(|half| half.check(&suite.place.device).is_ok());
    if let Some(precision) = half {
        let bound = if precision == Precision::Bf16 { 1e-1 } else { 2e-2 };
        suite.case(&format!("five steps in {precision}"), bound, |place| {
            let (got, expected) = (trained(place, precision), trained(&Place::reference(), Precision::F32));
            let errors = [(&got.0, &expected.0), (&got.1, &expected.1), (&got.2, &expected.2)];
            Errors::forward(errors.map(|(g, e)| error(g, e)).into_iter().fold(0.0, f64::max))
        });
    }
}

fn stored(suite: &mut Suite) {
    suite.case("weights saved here and loaded there, both ways", 0.0, |place| {
        let path = std::env::temp_dir().join(format!("parity-{}.safetensors", std::process::id()));
        let small = UNetConfig::new(1, 8, vec![1]).with_blocks(1).with_groups(4).with_head_channels(8);
        let init = |device: &Device| small.init(device).expect("a valid configuration");
        let carry = |from: &Device, to: &Device| {
            let network = init(from);
            Stored::of(&network).save(&path).expect("it saves");
            let there = Stored::load(&path).expect("it loads").apply(init(to), &path).expect("it fits");
            error(&parameters(&there), &parameters(&network))
        };
        let errors = [carry(&place.device, &Device::flex()), carry(&Device::flex(), &place.device)];
        // On the card itself, without a file.
        let network = init(&Device::flex());
        let moved = network.clone().to_device(&place.device);
        std::fs::remove_file(&path).expect("it was written");
        Errors::forward(errors[0].max(errors[1]).max(error(&parameters(&moved), &parameters(&network))))
    });
}

fn not_a_number(suite: &mut Suite) {
    suite.case("a loss that is no number stops before the weights", 0.0, |place| {
        let place = place.autodiff();
        let mut trainer = Trainer::new(network(&place.device));
        let before = parameters(&trainer.model);
        for bad in [f64::NAN, f64::INFINITY] {
            let batch = (place.noise(1, [1, 2]), place.tensor(&[0.25], [1]), place.tensor(&[bad, 0.0], [1, 2]));
            let stopped = trainer.step(&squares, &batch, &plan());
            assert!(matches!(stopped, Err(TrainError::NotFinite { .. })), "{stopped:?}");
        }
        Errors::forward(error(&parameters(&trainer.model), &before))
    });
}
