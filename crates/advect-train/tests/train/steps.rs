//! What stops a step, and the loop around steps.

use crate::setup::{self, batch, network, objective, plan};
use advect_nn::Mlp;
use advect_train::{Batch, Plan, TrainError, Trainer, Weights, train};
use burn::tensor::Tensor;
use std::ops::ControlFlow;

/// Everything a trainer holds, as file bytes.
fn bytes(trainer: &Trainer<Mlp>) -> [Vec<u8>; 2] {
    [Weights::of(&trainer.model), Weights::of(&trainer.averaged())].map(|w| w.to_bytes().unwrap())
}

/// A step that fails leaves no trace: the run goes on as if it had not been tried.
fn leaves_no_trace(bad: impl Fn(&Mlp, &Batch<2>) -> Result<Tensor<1>, TrainError>, culprit: &str) {
    let (mut trainer, mut history) = setup::trained(3);
    let before = bytes(&trainer);
    let error = trainer.step(&bad, &batch(3), &plan(5)).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { what, step: 3, .. } if what == culprit), "{error:?}");
    let message = error.to_string();
    assert!(message.contains(culprit) && message.contains("at step 3"), "{message}");
    assert_eq!(bytes(&trainer), before);
    assert_eq!(trainer.step, 3);
    setup::advance(&mut trainer, &mut history, 5);
    assert_eq!(bytes(&trainer), bytes(&setup::trained(5).0));
}

#[test]
fn a_loss_that_is_not_a_number() {
    for value in [f32::NAN, f32::INFINITY] {
        leaves_no_trace(
            |m, b| Ok(m.forward(b.data.clone(), b.data.clone().narrow(1, 1, 1).flatten(0, 1), None).mean() * value),
            "loss",
        );
    }
}

#[test]
fn a_gradient_that_is_not_a_number() {
    // The root of 0 times the output: the loss is 0, its gradient 0 / 0.
    let root = |m: &Mlp, b: &Batch<2>| -> Result<Tensor<1>, TrainError> {
        let time = b.data.clone().narrow(1, 1, 1).flatten(0, 1);
        let loss = (m.forward(b.data.clone(), time, None) * 0.0).sqrt().mean();
        assert_eq!(loss.clone().into_scalar::<f32>(), 0.0);
        Ok(loss)
    };
    leaves_no_trace(root, "gradient norm");
}

#[test]
fn the_error_of_an_objective_passes_through() {
    let mut trainer = Trainer::new(network(1));
    let refuse = |_: &Mlp, (): &()| -> Result<Tensor<1>, TrainError> { Err(TrainError::Read { what: "a test" }) };
    assert!(matches!(trainer.step(&refuse, &(), &plan(1)), Err(TrainError::Read { what: "a test" })));
    assert_eq!(trainer.step, 0);
}

#[test]
fn the_loop_is_its_steps() {
    let mut asked = Vec::new();
    let mut seen = Vec::new();
    let source = |step| {
        asked.push(step);
        batch(step)
    };
    let observe = |trainer: &Trainer<Mlp>, report: advect_train::Report| {
        assert_eq!(trainer.step, report.step + 1);
        seen.push(report.step);
        Ok::<_, TrainError>(ControlFlow::Continue(()))
    };
    let trainer = train(Trainer::new(network(1)), &objective(), source, &plan(4), observe).unwrap();
    assert_eq!((asked, seen), (vec![0, 1, 2, 3], vec![0, 1, 2, 3]));
    assert_eq!(bytes(&trainer), bytes(&setup::trained(4).0));

    // It goes on where the trainer stands, and stops when told.
    let stop = |_: &Trainer<Mlp>, report: advect_train::Report| {
        Ok::<_, TrainError>(if report.step == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    };
    let more = Plan { steps: 9, ..plan(4) };
    let trainer = train(trainer, &objective(), batch, &more, stop).unwrap();
    assert_eq!(trainer.step, 6);
    let fail = |_: &Trainer<Mlp>, _| Err(TrainError::Read { what: "the terminal" });
    assert!(matches!(train(trainer, &objective(), batch, &more, fail), Err(TrainError::Read { .. })));
}
