//! The flow-matching objective: what is keyed by what, and its expectation.

use crate::setup::device;
use advect_core::{NoiseKey, Purpose};
use advect_paths::{
    AffinePath, Coupling, DataWeighting, ExactOt, Linear, Pairing, PathError, Prediction, SourceLaw, TimeSampler,
    Uncoupled, UniformTime,
};
use advect_train::{Batch, FlowMatching, Objective, Scaling, Scalings, TrainError};
use burn::tensor::{Int, Tensor, TensorData};
use std::{cell::RefCell, f64::consts::PI};

const SEED: u64 = 11;
const NULL: usize = 10;

fn path() -> AffinePath<Linear> {
    AffinePath::new(Linear, SourceLaw::GaussianIndependent)
}

fn vector<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().try_into_vec_as::<f64>().unwrap()
}

/// The classes that a network sees.
fn seen(label_drop: f64, seed: u64, ids: &[u64], classes: &[usize]) -> Vec<usize> {
    let seen = RefCell::new(Vec::new());
    let forward = |(): &(), x: Tensor<2>, _t: Tensor<1>, class: Option<Tensor<1, Int>>| {
        *seen.borrow_mut() = class.unwrap().into_data().try_into_vec_as::<i64>().unwrap();
        x
    };
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, seed);
    let objective = FlowMatching { label_drop, null_class: NULL, ..objective };
    let data = Tensor::<2>::zeros([ids.len(), 1], &device());
    objective.loss(&(), &Batch { data, classes: Some(classes.to_vec()), ids: ids.to_vec() }).unwrap();
    seen.into_inner().into_iter().map(|class| class as usize).collect()
}

/// n = 20,000, p = 0.2: the standard error of the rate is 0.0028, the bound 4 of them.
#[test]
fn labels_drop_at_their_rate_and_by_id() {
    let ids: Vec<u64> = (0..20_000).collect();
    let classes: Vec<usize> = ids.iter().map(|id| *id as usize % 10).collect();
    let drop = 0.2;
    let all = seen(drop, SEED, &ids, &classes);
    let n = ids.len() as f64;
    let rate = all.iter().filter(|&&class| class == NULL).count() as f64 / n;
    let error = (drop * (1.0 - drop) / n).sqrt();
    assert!((rate - drop).abs() < 4.0 * error, "{rate}");
    assert!(all.iter().zip(&classes).all(|(seen, class)| seen == class || *seen == NULL));

    // The same rows in reverse, and a few alone: who loses its label is a matter of the id.
    let (back, back_classes) =
        (ids.iter().rev().copied().collect::<Vec<_>>(), classes.iter().rev().copied().collect::<Vec<_>>());
    let mut reversed = seen(drop, SEED, &back, &back_classes);
    reversed.reverse();
    assert_eq!(reversed, all);
    assert_eq!(seen(drop, SEED, &ids[500..600], &classes[500..600]), all[500..600]);
    assert_ne!(seen(drop, SEED + 1, &ids[500..600], &classes[500..600]), all[500..600]);

    // And of nothing else: rows without a label are not those of certain times. n = 4,000 of variance 1/12.
    let times = UniformTime::new().sample(NoiseKey::new(SEED, Purpose::Time), &ids, 0);
    let dropped: Vec<f64> = times.iter().zip(&all).filter(|(_, class)| **class == NULL).map(|(t, _)| *t).collect();
    let count = dropped.len() as f64;
    assert!((dropped.iter().sum::<f64>() / count - 0.5).abs() < 4.0 * (1.0 / 12.0 / count).sqrt());

    assert_eq!(seen(0.0, SEED, &ids[..500], &classes[..500]), classes[..500]);
    assert_eq!(seen(1.0, SEED, &ids[..500], &classes[..500]), [NULL; 500]);
}

/// With data at 0 the path is (1 - t) x_0: the noise and the time of an id are those of its keys.
#[test]
fn noise_and_time_belong_to_the_id() {
    let ids = [3, 1_000_000_007, 0, 42];
    let noise = vector(NoiseKey::new(SEED, Purpose::Source).normal::<2>(&ids, 0, [4, 3], &device()));
    let times = UniformTime::new().sample(NoiseKey::new(SEED, Purpose::Time), &ids, 0);
    let forward = |(): &(), x: Tensor<2>, t: Tensor<1>, class: Option<Tensor<1, Int>>| {
        assert!(class.is_none());
        for (have, want) in vector(t).iter().zip(&times) {
            assert!((have - want).abs() < 1e-7);
        }
        for (i, have) in vector(x.clone()).iter().enumerate() {
            assert!((have - (1.0 - times[i / 3]) * noise[i]).abs() < 1e-6);
        }
        x.zeros_like()
    };
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, SEED);
    let batch = Batch::new(Tensor::<2>::zeros([4, 3], &device()), ids.to_vec());
    let loss = vector(objective.loss(&(), &batch).unwrap())[0];
    // The velocity is 0 - x_0, the output 0.
    let want = noise.iter().map(|n| n * n).sum::<f64>() / 12.0;
    assert!((loss - want).abs() < 1e-5 * want, "{loss} {want}");
}

#[test]
fn a_batch_is_the_mean_of_its_parts() {
    let value = |id: u64| (id as f32 * 0.37).sin() * 2.0;
    let forward = |(): &(), x: Tensor<2>, t: Tensor<1>, class: Option<Tensor<1, Int>>| {
        let class: Tensor<2> = class.unwrap().float().unsqueeze_dim(1);
        (x + t.unsqueeze_dim(1)) * class * 0.1
    };
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, SEED);
    let objective = FlowMatching { label_drop: 0.3, null_class: NULL, ..objective };
    let loss = |ids: Vec<u64>| {
        let data = Tensor::<2>::from_data(
            TensorData::new(ids.iter().map(|&id| value(id)).collect::<Vec<_>>(), [ids.len(), 1]),
            &device(),
        );
        let classes = Some(ids.iter().map(|&id| id as usize % 10).collect());
        vector(objective.loss(&(), &Batch { data, classes, ids }).unwrap())[0]
    };
    let whole = loss((0..64).collect());
    // Every fourth id together: other neighbours, another place in the batch.
    let parts: f64 = (0..4).map(|k| loss((0..16).map(|i| (4 * i + k) ^ 8).collect())).sum();
    assert!((whole - parts / 4.0).abs() < 1e-5 * whole, "{whole} {}", parts / 4.0);
    let single: f64 = (0..64).rev().map(|id| loss(vec![id])).sum();
    assert!((whole - single / 64.0).abs() < 1e-5 * whole);
    assert!((whole - loss((1..65).collect())).abs() > 1e-4 * whole);
}

/// Data N(m, s^2): with the exact velocity the loss is what no network can know, var(x_1 - x_0 | x_t) = s^2 / v(t) with
/// v(t) = s^2 t^2 + (1 - t)^2; its mean over t is the integral of that, s pi / 2.
///
/// n = 40,000 in 100 batches, whose spread gives the standard error (about 0.02); the bound is 4 of them.
#[test]
fn the_exact_network_has_the_loss_of_the_closed_form() {
    let (m, s, rows) = (3.0_f64, 2.0_f64, 400);
    let exact = |offset: f64| {
        move |(): &(), x: Tensor<2>, t: Tensor<1>, _class: Option<Tensor<1, Int>>| {
            let slope = |t: f64| (t * s * s - (1.0 - t)) / (s * s * t * t + (1.0 - t) * (1.0 - t));
            let values: Vec<f64> =
                vector(x.clone()).iter().zip(vector(t)).map(|(x, t)| offset + m + slope(t) * (x - m * t)).collect();
            Tensor::from_data(TensorData::new(values, x.dims()), &x.device())
        }
    };
    let mean = |offset: f64| {
        let objective = FlowMatching::new(exact(offset), path(), UniformTime::new(), Prediction::Velocity, SEED);
        let losses: Vec<f64> = (0..100)
            .map(|k| {
                let ids: Vec<u64> = (k * rows..(k + 1) * rows).collect();
                let data = NoiseKey::new(5, Purpose::Data).normal::<2>(&ids, 0, [rows as usize, 1], &device()) * s + m;
                vector(objective.loss(&(), &Batch::new(data, ids)).unwrap())[0]
            })
            .collect();
        let n = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / n;
        let variance = losses.iter().map(|l| (l - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    };
    let (loss, error) = mean(0.0);
    let want = s * PI / 2.0;
    assert!(error < 0.04 && (loss - want).abs() < 4.0 * error, "{loss} +- {error}, not {want}");
    // A network that is off by 1 everywhere loses 1 more.
    let (loss, error) = mean(1.0);
    assert!((loss - want - 1.0).abs() < 4.0 * error, "{loss} +- {error}");
}

#[test]
fn batches_that_do_not_fit() {
    let forward = |(): &(), x: Tensor<2>, _: Tensor<1>, _: Option<Tensor<1, Int>>| x;
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, SEED);
    let data = Tensor::<2>::zeros([4, 1], &device());
    let short = Batch::new(data.clone(), vec![1, 2, 3]);
    let error = objective.loss(&(), &short).unwrap_err();
    assert!(matches!(error, TrainError::Batch { what: "ids", count: 3, rows: 4 }), "{error:?}");
    let unlabelled = Batch { data: data.clone(), classes: Some(vec![0; 5]), ids: vec![1, 2, 3, 4] };
    let error = objective.loss(&(), &unlabelled).unwrap_err();
    assert_eq!(error.to_string(), "the batch has 4 rows of data, but 5 classes: it needs one for each row");
    let good = Batch::new(data, vec![1, 2, 3, 4]);
    assert!(objective.loss(&(), &good).is_ok());
    for label_drop in [-0.1, 1.1, f64::NAN] {
        let objective = FlowMatching { label_drop, ..objective.clone() };
        assert!(matches!(objective.loss(&(), &good), Err(TrainError::Range { name: "label drop", .. })));
    }
}

/// On a line the optimal pairs are those in order of size; a network that answers 0 has their mean square as its loss.
#[test]
fn a_coupling_pairs_the_noise_of_the_batch_with_its_data() {
    let ids: Vec<u64> = (0..64).collect();
    let values: Vec<f64> = ids.iter().map(|&id| (7.0 * id as f64).sin()).collect();
    let data = Tensor::<2>::from_data(TensorData::new(values.clone(), [64, 1]), &device());
    let forward = |(): &(), x: Tensor<2>, _t: Tensor<1>, _class: Option<Tensor<1, Int>>| x.zeros_like();
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, SEED);
    let batch = Batch::new(data, ids.clone());
    let loss = |loss: Tensor<1>| vector(loss)[0];

    let noise = vector(NoiseKey::new(SEED, Purpose::Source).normal::<2>(&ids, 0, [64, 1], &device()));
    let mean = |noise: &[f64], data: &[f64]| {
        noise.iter().zip(data).map(|(noise, data)| (data - noise).powi(2)).sum::<f64>() / 64.0
    };
    let independent = loss(objective.loss(&(), &batch).unwrap());
    assert!((independent - mean(&noise, &values)).abs() < 1e-5);
    let (mut sorted_noise, mut sorted) = (noise, values);
    sorted_noise.sort_by(f64::total_cmp);
    sorted.sort_by(f64::total_cmp);
    let coupled = objective.with_coupling(ExactOt::new());
    let optimal = loss(coupled.loss(&(), &batch).unwrap());
    assert!((optimal - mean(&sorted_noise, &sorted)).abs() < 1e-5, "{optimal}");
    assert!(optimal < 0.5 * independent);

    // The pairs are no longer independent, and the objective knows.
    let score = FlowMatching { prediction: Prediction::Score, ..coupled };
    assert!(matches!(score.loss(&(), &batch), Err(TrainError::Path(PathError::NoScore { .. }))));
}

/// Noise as it comes, data from the last to the first.
struct Reversed;

impl Coupling<2> for Reversed {
    fn pair(&self, batch: &Uncoupled<'_, 2>) -> Result<Pairing, PathError> {
        let rows = batch.data.dims()[0];
        Ok(Pairing { noise: (0..rows).collect(), data: (0..rows).rev().collect() })
    }

    fn source_law(&self, before: SourceLaw) -> SourceLaw {
        before
    }
}

#[test]
fn labels_times_and_drops_follow_the_data() {
    let ids: Vec<u64> = (0..40).collect();
    let classes: Vec<usize> = (0..40).map(|row| row % 7).collect();
    let batch = Batch { data: Tensor::<2>::zeros([40, 1], &device()), classes: Some(classes), ids };
    let seen = RefCell::new(Vec::new());
    let forward = |(): &(), x: Tensor<2>, t: Tensor<1>, class: Option<Tensor<1, Int>>| {
        let class = class.unwrap().into_data().try_into_vec_as::<i64>().unwrap();
        seen.borrow_mut().push((vector(t), class));
        x
    };
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Velocity, SEED);
    let objective = FlowMatching { label_drop: 0.3, null_class: NULL, ..objective };
    objective.loss(&(), &batch).unwrap();
    objective.with_coupling(Reversed).loss(&(), &batch).unwrap();
    let [(times, classes), (mut back_times, mut back_classes)] = <[_; 2]>::try_from(seen.into_inner()).unwrap();
    back_times.reverse();
    back_classes.reverse();
    assert_eq!((times, classes), (back_times, back_classes));
}

#[test]
fn a_weighting_replaces_the_loss_of_the_velocity() {
    let ids: Vec<u64> = (0..64).collect();
    let data = Tensor::<2>::full([64, 1], 3.0, &device());
    let forward = |(): &(), x: Tensor<2>, _t: Tensor<1>, _class: Option<Tensor<1, Int>>| x.zeros_like();
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Data, SEED);
    // Off by 3 everywhere, and all data errors count alike.
    let loss = objective.with_weighting(DataWeighting).loss(&(), &Batch::new(data, ids)).unwrap();
    assert!((vector(loss)[0] - 9.0).abs() < 1e-5);
}

#[test]
fn a_scaled_network_is_asked_and_read_as_its_scaling_says() {
    // Data at one point, 3: the denoiser is the constant 3, so the raw network that makes it of any scaling is known,
    // F = (3 - skip x) / out; as it is asked at x' = input x and c = noise, it must find x and t back from those.
    let scaling = |t: f64| Scaling { skip: t * t, out: 2.0 - t, input: 1.0 / (1.0 + t), noise: 5.0 - 2.0 * t };
    let asked = RefCell::new(Vec::new());
    let forward = |(): &(), x: Tensor<2>, c: Tensor<1>, _class: Option<Tensor<1, Int>>| {
        let t = (c.neg() + 5.0) / 2.0;
        asked.borrow_mut().extend(vector(t.clone()));
        let t = t.unsqueeze_dim::<2>(1);
        let x = x * (t.clone() + 1.0);
        (x * t.clone() * t.clone() - 3.0).neg() / (t.neg() + 2.0)
    };
    let objective = FlowMatching::new(forward, path(), UniformTime::new(), Prediction::Data, SEED);
    let objective = objective.with_weighting(DataWeighting);
    let objective = FlowMatching { scaling: Some(Scalings::new(scaling)), ..objective };
    let ids: Vec<u64> = (0..64).collect();
    let batch = Batch::new(Tensor::<2>::full([64, 1], 3.0, &device()), ids.clone());
    let loss = objective.loss(&(), &batch).unwrap().into_scalar::<f32>();
    assert!(loss < 1e-10, "{loss}");
    // Each row at its own time.
    let times = UniformTime::new().sample(NoiseKey::new(SEED, Purpose::Time), &ids, 0);
    assert!(asked.borrow().iter().zip(&times).all(|(a, t)| (a - t).abs() < 1e-5));
    // Any other scaling of the same network is another prediction.
    for wrong in [
        |t: f64| Scaling { skip: t, out: 2.0 - t, input: 1.0 / (1.0 + t), noise: 5.0 - 2.0 * t },
        |t: f64| Scaling { skip: t * t, out: 2.0, input: 1.0 / (1.0 + t), noise: 5.0 - 2.0 * t },
        |t: f64| Scaling { skip: t * t, out: 2.0 - t, input: 1.0, noise: 5.0 - 2.0 * t },
    ] {
        let objective = FlowMatching { scaling: Some(Scalings::new(wrong)), ..objective.clone() };
        assert!(objective.loss(&(), &batch).unwrap().into_scalar::<f32>() > 1e-2);
    }
}
