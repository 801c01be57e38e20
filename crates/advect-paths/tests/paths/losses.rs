use crate::{affine, close, column, each, number, numbers, schedules};
use advect_analytic::gaussian::{Affine, Gaussian};
use advect_analytic::mixture::Mixture;
use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose, Times, normal};
use advect_paths::{
    AffinePath, Linear, LinearVp, Path, PathError, PathSample, Prediction, Schedule, SourceLaw, convert_output,
    flow_matching_loss, prediction_loss, row_losses, score_matching_loss,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;

const GAUSSIAN: SourceLaw = SourceLaw::GaussianIndependent;
const DATA: Gaussian = Gaussian { mean: 0.7, std: 1.6 };

/// Four pairs whose first and second moments are exactly those of N(0, 1) x N(mean, std^2). All that is linear in x
/// is then exact: regression coefficients, least losses, gradients. No statistics needed.
fn four_pairs() -> (Tensor<2>, Tensor<2>) {
    let (high, low) = (DATA.mean + DATA.std, DATA.mean - DATA.std);
    (column(&[1.0, 1.0, -1.0, -1.0]), column(&[high, low, high, low]))
}

fn exact(at: Affine, x: f64, prediction: Prediction) -> f64 {
    match prediction {
        Prediction::Velocity => DATA.velocity(at, x),
        Prediction::Score => DATA.score(at, x),
        Prediction::Noise => DATA.noise(at, x),
        Prediction::Data => DATA.data(at, x),
        Prediction::V => at.alpha * DATA.noise(at, x) - at.sigma * DATA.data(at, x),
    }
}

/// The exact prediction at the points of a sample.
fn optimum<const D: usize>(schedule: &dyn Schedule, sample: &PathSample<D>, prediction: Prediction) -> Vec<f64> {
    let value = |(row, x): (usize, f64)| exact(affine(schedule, sample.times.at(row)), x, prediction);
    numbers(&sample.x).into_iter().enumerate().map(value).collect()
}

#[test]
fn the_least_losses_are_their_closed_forms() {
    let (noise, data) = four_pairs();
    for (name, schedule) in schedules() {
        let path = AffinePath::new(schedule.clone(), GAUSSIAN);
        for t in [0.1, 0.5, 0.9] {
            let at = affine(&schedule, t);
            let sample = path.sample(noise.clone(), data.clone(), &Times::Shared(t)).unwrap();
            let (_, variance) = DATA.marginal(at);
            // Var[x_0 | x_t]: what no network can know of the noise.
            let residual = (at.alpha * DATA.std).powi(2) / variance;
            for prediction in Prediction::ALL {
                let output = || column(&optimum(&schedule, &sample, prediction));
                let loss = number(flow_matching_loss(output(), &sample, prediction).unwrap());
                let least = DATA.velocity_variance(at);
                assert!(close(loss, least, 1e-9), "{name}, t = {t}, {prediction}: {loss} vs {least}");
                let loss = number(score_matching_loss(output(), &sample, prediction).unwrap());
                assert!(close(loss, residual, 1e-9), "{name}, t = {t}, {prediction}: {loss} vs {residual}");
            }
        }
    }
}

#[test]
fn the_gradient_vanishes_at_the_optimum_and_only_there() {
    let (noise, data) = four_pairs();
    let device = Device::flex().autodiff();
    let scalar =
        |value: f64| -> Tensor<1> { Tensor::from_data(TensorData::new(vec![value], [1]), (&device, DType::F64)) };
    let on_tape = |x: Tensor<2>| -> Tensor<2> { Tensor::from_data(x.into_data(), (&device, DType::F64)) };
    for (name, schedule) in schedules() {
        let at = affine(&schedule, 0.4);
        let path = AffinePath::new(schedule.clone(), GAUSSIAN);
        let sample = path.sample(on_tape(noise.clone()), on_tape(data.clone()), &Times::Shared(0.4)).unwrap();
        for prediction in Prediction::ALL {
            // The network is slope * x + offset; the exact prediction is of this form.
            let offset = exact(at, 0.0, prediction);
            let slope = exact(at, 1.0, prediction) - offset;
            let gradients = |slope: f64, offset: f64| {
                let (slope, offset) = (scalar(slope).require_grad(), scalar(offset).require_grad());
                let output = sample.x.clone() * slope.clone().reshape([1, 1]) + offset.clone().reshape([1, 1]);
                let loss = flow_matching_loss(output, &sample, prediction).unwrap();
                let value = number(loss.clone());
                let gradients = loss.backward();
                let read = |p: &Tensor<1>| p.grad(&gradients).unwrap().into_scalar::<f64>();
                (value, read(&slope), read(&offset))
            };
            let (least, on_slope, on_offset) = gradients(slope, offset);
            let scale = 1e-10 * (1.0 + least);
            assert!(on_slope.abs() < scale && on_offset.abs() < scale, "{name}, {prediction}: {on_slope}, {on_offset}");
            // Away from it the loss is larger and falls back.
            let (loss, on_slope, _) = gradients(slope + 0.1, offset);
            assert!(loss > least && on_slope > 0.0, "{name}, {prediction}");
            let (loss, _, on_offset) = gradients(slope, offset - 0.1);
            assert!(loss > least && on_offset < 0.0, "{name}, {prediction}");
        }
    }
}

/// The data of a mixture with many pairs, at one time each.
fn mixture_sample(n: usize) -> (Mixture, PathSample<2>) {
    let mixture = Mixture::isotropic(&[0.3, 0.7], &[vec![-1.5], vec![1.0]], &[0.4, 0.6]).unwrap();
    let key = NoiseKey::new(41, Purpose::Data);
    let (mut noise, mut data, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for id in 0..n as u64 {
        let mut rng = key.rng(id, 0);
        noise.push(normal(&mut rng));
        data.push(mixture.sample(rng.random(), &[normal(&mut rng)]).1[0]);
        times.push(rng.random());
    }
    let path = AffinePath::new(Linear, GAUSSIAN);
    let sample = path.sample(column(&noise), column(&data), &Times::Each(times)).unwrap();
    (mixture, sample)
}

#[test]
fn the_mixtures_velocity_is_the_optimum_and_the_gap_is_the_squared_error() {
    // n = 20,000, seed 41, four standard errors. Lipman et al., 2023, theorem 2:
    // L(u) = L(u*) + E|u - u*|^2 for every u, and L(u*) = E Var[x_1 - x_0 | x_t].
    let (mixture, sample) = mixture_sample(20_000);
    let x = numbers(&sample.x);
    let at = |row: usize| Affine::linear(sample.times.at(row));
    let best: Vec<f64> = x.iter().enumerate().map(|(i, x)| mixture.velocity(at(i), &[*x])[0]).collect();
    let rows = |output: &[f64]| {
        numbers(&row_losses(column(output), &sample, Prediction::Velocity, Prediction::Velocity).unwrap())
    };
    let least = rows(&best);
    let excess: Vec<f64> =
        least.iter().enumerate().map(|(i, l)| l - mixture.velocity_variance(at(i), &[x[i]])).collect();
    assert!(Estimate::mean(&excess).deviation(0.0) < 4.0);
    for wrong in [|x: f64| 0.5 * x.sin(), |x: f64| 0.2 - 0.1 * x] {
        let off: Vec<f64> = x.iter().map(|x| wrong(*x)).collect();
        let worse = rows(&best.iter().zip(&off).map(|(b, o)| b + o).collect::<Vec<_>>());
        let gap: Vec<f64> = (0..x.len()).map(|i| worse[i] - least[i] - off[i] * off[i]).collect();
        assert!(Estimate::mean(&gap).deviation(0.0) < 4.0);
        // So small a standard error that a mistake of a few percent of the gap would show.
        let squares = off.iter().map(|o| o * o).sum::<f64>() / off.len() as f64;
        assert!(Estimate::mean(&gap).standard_error < 0.2 * squares);
    }
}

#[test]
fn a_loss_in_another_space_is_that_of_the_converted_output() {
    let (noise, data, output) = ([0.4, -1.2, 0.3], [1.0, -0.5, 2.0], [0.7, 0.1, -0.9]);
    for (name, schedule) in schedules() {
        let path = AffinePath::new(schedule.clone(), GAUSSIAN);
        for times in [each(&[0.2, 0.5, 0.9]), Times::Shared(0.3)] {
            let sample = path.sample(column(&noise), column(&data), &times).unwrap();
            for have in Prediction::ALL {
                for want in Prediction::ALL {
                    let converted =
                        convert_output(&schedule, &times, have, want, sample.x.clone(), &column(&output)).unwrap();
                    let (got, target) = (numbers(&converted), numbers(&sample.target(want).unwrap()));
                    let squares: Vec<f64> = got.iter().zip(&target).map(|(a, b)| (a - b).powi(2)).collect();
                    let rows = numbers(&row_losses(column(&output), &sample, have, want).unwrap());
                    for i in 0..3 {
                        assert!(close(rows[i], squares[i], 1e-9), "{name}, {have} -> {want}, row {i}");
                    }
                    let weight = |t: f64| 1.0 + t * t;
                    let weighted = (0..3).map(|i| weight(times.at(i)) * squares[i]).sum::<f64>() / 3.0;
                    let loss = number(prediction_loss(column(&output), &sample, have, want, weight).unwrap());
                    assert!(close(loss, weighted, 1e-9), "{name}, {have} -> {want}");
                }
            }
        }
    }
}

#[test]
fn the_mean_is_over_elements() {
    let tensor = |values: Vec<f64>| -> Tensor<3> {
        Tensor::from_data(TensorData::new(values, [2, 1, 2]), (&Device::flex(), DType::F64))
    };
    let path = AffinePath::new(Linear, GAUSSIAN);
    let sample = path.sample(tensor(vec![0.0; 4]), tensor(vec![1.0, 2.0, 3.0, 5.0]), &each(&[0.5, 0.7])).unwrap();
    let rows = row_losses(tensor(vec![0.0; 4]), &sample, Prediction::Data, Prediction::Data).unwrap();
    assert_eq!(numbers(&rows), [2.5, 17.0]);
    let loss = prediction_loss(tensor(vec![0.0; 4]), &sample, Prediction::Data, Prediction::Data, |_| 1.0).unwrap();
    assert_eq!(number(loss), 9.75);
    // Not a number, and not a panic.
    let shared = path.sample(tensor(vec![0.0; 4]), tensor(vec![1.0; 4]), &Times::Shared(0.5)).unwrap();
    let loss = prediction_loss(tensor(vec![0.0; 4]), &shared, Prediction::Data, Prediction::Data, |_| f64::NAN);
    assert!(number(loss.unwrap()).is_nan());
    // So many elements that they are added up row by row: the mean of i^2 over the rows i.
    let values: Vec<f64> = (0..300 * 300).map(|i| f64::from(i / 300)).collect();
    let tensor = |values| Tensor::<2>::from_data(TensorData::new(values, [300, 300]), (&Device::flex(), DType::F64));
    let many = path.sample(tensor(vec![0.0; 300 * 300]), tensor(values), &each(&[0.5; 300])).unwrap();
    let loss = prediction_loss(tensor(vec![0.0; 300 * 300]), &many, Prediction::Data, Prediction::Data, |_| 2.0);
    assert!(close(number(loss.unwrap()), 299.0 * 599.0 / 3.0, 1e-12));
}

#[test]
fn score_matching_is_finite_at_the_data_where_it_can_be() {
    let path = AffinePath::new(LinearVp, GAUSSIAN);
    let sample = path.sample(column(&[0.5]), column(&[2.0]), &each(&[1.0])).unwrap();
    // sigma^2 |score + x_0 / sigma|^2 is |x_0|^2 at sigma = 0, whatever the score.
    let loss = score_matching_loss(column(&[3.0]), &sample, Prediction::Score).unwrap();
    assert!(close(number(loss), 0.25, 1e-15));
    let loss = score_matching_loss(column(&[3.0]), &sample, Prediction::Noise).unwrap();
    assert!(close(number(loss), 6.25, 1e-15));
    let error = score_matching_loss(column(&[3.0]), &sample, Prediction::Data).unwrap_err();
    assert_eq!(error, PathError::Singular { have: Prediction::Data, want: Prediction::Noise, t: 1.0 });
    let error = flow_matching_loss(column(&[3.0]), &sample, Prediction::Velocity).unwrap_err();
    assert_eq!(error, PathError::Target { target: Prediction::Velocity, t: 1.0 });
}

#[test]
fn a_coupled_source_has_a_flow_matching_loss_and_no_score_matching_loss() {
    let path = AffinePath::new(Linear, SourceLaw::Other);
    let sample = path.sample(column(&[0.5]), column(&[2.0]), &each(&[0.5])).unwrap();
    for prediction in Prediction::ALL {
        let error = score_matching_loss(column(&[0.0]), &sample, prediction).unwrap_err();
        assert_eq!(error, PathError::NoScore { have: prediction, want: Prediction::Score });
        let flow = flow_matching_loss(column(&[0.0]), &sample, prediction);
        assert_eq!(flow.is_ok(), prediction != Prediction::Score);
    }
}

#[test]
fn an_output_of_another_shape_is_an_error() {
    let path = AffinePath::new(Linear, GAUSSIAN);
    let sample = path.sample(column(&[0.5]), column(&[2.0]), &each(&[0.5])).unwrap();
    let error = flow_matching_loss(column(&[0.0, 1.0]), &sample, Prediction::Velocity).unwrap_err();
    assert!(matches!(error, PathError::Shape { what: "the output", .. }), "{error}");
    // Before anybody is asked for a weight.
    let weight = |t: f64| panic!("asked for the weight at {t}");
    let error = prediction_loss(column(&[0.0, 1.0]), &sample, Prediction::Velocity, Prediction::Data, weight);
    assert!(matches!(error, Err(PathError::Shape { what: "the output", .. })));
}
