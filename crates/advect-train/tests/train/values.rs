//! Values and ranges of the small parts.

use crate::setup;
use advect_train::{AdamW, Ema, LearningRate, Plan, TrainError, Trainer};

#[test]
fn learning_rate() {
    let rate = LearningRate::new(0.1, 4, 12, 0.1).unwrap();
    let half = 0.5_f64.sqrt();
    let known = [
        (0, 0.025),
        (1, 0.05),
        (3, 0.1),
        (4, 0.1),
        // A quarter, a half and three quarters of the cosine.
        (6, 0.1 * (0.1 + 0.45 * (1.0 + half))),
        (8, 0.055),
        (10, 0.1 * (0.1 + 0.45 * (1.0 - half))),
        (12, 0.01),
        // A run that goes on stays at the floor.
        (1000, 0.01),
    ];
    for (step, want) in known {
        assert!((rate.at(step) - want).abs() < 1e-15, "step {step}: {}", rate.at(step));
    }
    assert_eq!(LearningRate::new(0.3, 0, 10, 0.0).unwrap().at(0), 0.3);
    assert_eq!(LearningRate::new(0.3, 0, 0, 0.5).unwrap().at(1), 0.15);
    let constant = LearningRate::new(0.3, 0, 10, 1.0).unwrap();
    assert!((0..20).all(|step| constant.at(step) == 0.3));
}

#[test]
fn ema_decay() {
    let ema = Ema::new(0.999).unwrap();
    assert_eq!(ema.decay(0), 0.1);
    assert_eq!(ema.decay(8), 0.5);
    assert_eq!(ema.decay(8990), 8991.0 / 9000.0);
    assert_eq!(ema.decay(8_990_000), 0.999);
    assert_eq!(Ema::new(0.0).unwrap().decay(5), 0.0);
}

#[test]
fn out_of_range() {
    let range = |result: Result<(), TrainError>| match result {
        Err(TrainError::Range { name, .. }) => name,
        other => panic!("{other:?}"),
    };
    for peak in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(range(LearningRate::new(peak, 0, 1, 0.0).map(drop)), "learning rate");
    }
    for floor in [-0.1, 1.1, f64::NAN] {
        assert_eq!(range(LearningRate::new(1.0, 0, 1, floor).map(drop)), "floor of the learning rate");
    }
    for decay in [1.0, -0.1, f64::NAN] {
        assert_eq!(range(Ema::new(decay).map(drop)), "EMA decay");
    }

    let plan = setup::plan(1);
    let standard = AdamW::standard();
    let optimizers = [
        ("beta1", AdamW { beta1: 1.0, ..standard }),
        ("beta1", AdamW { beta1: f64::NAN, ..standard }),
        ("beta2", AdamW { beta2: -0.1, ..standard }),
        ("epsilon", AdamW { epsilon: 0.0, ..standard }),
        ("weight decay", AdamW { weight_decay: -0.1, ..standard }),
    ];
    let mut plans = optimizers.map(|(name, optimizer)| (name, Plan { optimizer, ..plan })).to_vec();
    plans.extend([0.0, -1.0, f64::NAN].map(|clip_norm| ("clip norm", Plan { clip_norm, ..plan })));
    let mut trainer = Trainer::new(setup::network(1));
    for (name, plan) in plans {
        let result = trainer.step(&setup::objective(), &setup::batch(0), &plan).map(drop);
        assert_eq!(range(result), name);
        assert_eq!(trainer.step, 0);
    }
    let message = Ema::new(1.5).unwrap_err().to_string();
    assert_eq!(message, "EMA decay = 1.5 is out of range: 0 <= decay < 1");
}
