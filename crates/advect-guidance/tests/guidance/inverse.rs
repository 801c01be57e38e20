use crate::{each, fixed, numbers};
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_core::{Field, RowField, Times, unconditional};
use advect_guidance::{
    AveragePool, DataConsistent, Inpainting, LinearOperator, Measurement, PosteriorSampling, constant, unit_spread,
};
use advect_paths::{Linear, Prediction, Predictor, SourceLaw, convert_output};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Data are images of 2 x 2 pixels, N(MEAN, STD^2 I).
const MEAN: [f64; 4] = [0.5, -0.3, 1.0, 0.2];
const STD: f64 = 0.7;
const NOISE: f64 = 0.3;

fn images(values: &[f64], [rows, side]: [usize; 2]) -> Tensor<4> {
    let data = TensorData::new(values.to_vec(), [rows, 1, side, side]);
    Tensor::from_data(data, (&Device::flex(), DType::F64))
}

fn close(a: &[f64], b: &[f64], within: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= within * (1.0 + b.abs()))
}

/// The operators, and the rows of their matrices.
fn pool() -> (AveragePool, Vec<[f64; 4]>, Vec<f64>) {
    (AveragePool::new(2).unwrap(), vec![[0.25; 4]], vec![0.9])
}

fn mask() -> (Inpainting<4>, Vec<[f64; 4]>, Vec<f64>) {
    let mask = images(&[1.0, 0.0, 0.0, 1.0], [1, 2]);
    let rows = vec![[1.0, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4], [0.0, 0.0, 0.0, 1.0]];
    (Inpainting::new(mask), rows, vec![1.4, 0.0, 0.0, -0.6])
}

/// The law of the data given the measurement, by conditioning on one seen number after the other.
fn posterior(rows: &[[f64; 4]], seen: &[f64]) -> Mixture {
    let mut mean = MEAN.to_vec();
    let mut covariance: Vec<Vec<f64>> =
        (0..4).map(|i| (0..4).map(|j| if i == j { STD * STD } else { 0.0 }).collect()).collect();
    for (a, y) in rows.iter().zip(seen) {
        let gain: Vec<f64> = covariance.iter().map(|c| crate::dot(c, a)).collect();
        let variance = crate::dot(&gain, a) + NOISE * NOISE;
        let missing = y - crate::dot(&mean, a);
        for i in 0..4 {
            mean[i] += gain[i] * missing / variance;
            for j in 0..4 {
                covariance[i][j] -= gain[i] * gain[j] / variance;
            }
        }
    }
    Mixture::new(&[1.0], &[mean], &[covariance]).unwrap()
}

/// The data prediction of N(MEAN, STD^2 I) on the linear path, differentiable in x.
fn denoiser(x: Tensor<4>, t: &Times) -> Tensor<4> {
    let rows = x.dims()[0];
    let column = |f: &dyn Fn(f64) -> f64| {
        let values: Vec<f64> = (0..rows).map(|r| f(t.at(r))).collect();
        let data = TensorData::new(values, [rows, 1, 1, 1]);
        Tensor::<4>::from_data(data, (&Device::flex(), DType::F64))
    };
    let gain = column(&|t| t * STD * STD / (t * t * STD * STD + (1.0 - t).powi(2)));
    let mean = images(&MEAN, [1, 2]);
    mean.clone() + (x - mean * column(&|t| t)) * gain
}

fn spread(t: f64) -> f64 {
    STD * (1.0 - t) / (t * t * STD * STD + (1.0 - t).powi(2)).sqrt()
}

fn network(prediction: Prediction) -> Predictor<impl Field<Tensor<4>>, Linear> {
    let field = move |x: Tensor<4>, t: &Times| {
        let data = denoiser(x.clone(), t);
        convert_output(&Linear, t, Prediction::Data, prediction, x, &data).unwrap()
    };
    Predictor { field, prediction, schedule: Linear, source: SourceLaw::GaussianIndependent }
}

const TIMES: [f64; 3] = [0.05, 0.5, 0.9];
const X: [f64; 12] = [0.3, -1.0, 0.2, 0.6, 1.5, 0.1, -0.4, 0.9, 0.7, 0.0, 1.1, -0.2];

/// What `exact(at, x)` says of each row.
fn rows_of(exact: impl Fn(Affine, &[f64]) -> Vec<f64>) -> Vec<f64> {
    (0..3).flat_map(|r| exact(Affine::linear(TIMES[r]), &X[4 * r..4 * r + 4])).collect()
}

fn check<A: LinearOperator<Tensor<4>> + Clone>((operator, rows, seen): (A, Vec<[f64; 4]>, Vec<f64>)) {
    let law = posterior(&rows, &seen);
    let side = if seen.len() == 1 { 1 } else { 2 };
    let measurement = || Measurement::new(operator.clone(), images(&seen, [1, side]), NOISE).unwrap();
    let (x, t) = (images(&X, [3, 2]), each(&TIMES));
    let velocity = rows_of(|at, x| law.velocity(at, x));
    let data = rows_of(|at, x| law.data(at, x));
    for (prediction, exact) in [(Prediction::Velocity, &velocity), (Prediction::Data, &data)] {
        let guided =
            PosteriorSampling::new(network(prediction), measurement(), spread, constant(1.0), 0.05, 0.9).unwrap();
        let value = numbers(guided.eval(x.clone(), &t));
        assert!(close(&value, exact, 1e-9), "{prediction}: {value:?} vs {exact:?}");
        for (r, t) in TIMES.iter().enumerate() {
            let alone = numbers(guided.eval(images(&X[4 * r..4 * r + 4], [1, 2]), &Times::Shared(*t)));
            assert!(close(&alone, &exact[4 * r..4 * r + 4], 1e-9), "{prediction}, t = {t}");
        }
    }
    let consistent = DataConsistent { denoiser: unconditional(denoiser), measurement: measurement(), spread };
    let value = numbers(consistent.eval(x.clone(), &t));
    assert!(close(&value, &data, 1e-12), "{value:?} vs {data:?}");
    let some = consistent.select(&[2, 0]).eval(images(&[&X[8..], &X[..4]].concat(), [2, 2]), &each(&[0.9, 0.05]));
    assert!(close(&numbers(some), &[&data[8..], &data[..4]].concat(), 1e-12));
}

#[test]
fn the_posterior_of_a_gaussian_is_exact() {
    check(pool());
    check(mask());
}

#[test]
fn without_spread_it_trusts_the_measurement_too_much_until_the_end() {
    // DPS: the pull of the measurement is (r_t^2 a + noise^2) / noise^2 times the exact one, which tends to 1.
    let (operator, rows, seen) = pool();
    let law = posterior(&rows, &seen);
    let measurement = Measurement::new(operator, images(&seen, [1, 1]), NOISE).unwrap();
    let dps = PosteriorSampling::new(network(Prediction::Data), measurement, |_| 0.0, constant(1.0), 0.1, 0.999);
    let dps = dps.unwrap();
    let x = [0.3, -1.0, 0.2, 0.6];
    for t in [0.1, 0.5, 0.9, 0.999] {
        let prior = numbers(denoiser(images(&x, [1, 2]), &Times::Shared(t)));
        let value = numbers(dps.eval(images(&x, [1, 2]), &Times::Shared(t)));
        let exact = law.data(Affine::linear(t), &x);
        let bias = (spread(t).powi(2) / 4.0 + NOISE * NOISE) / (NOISE * NOISE);
        for i in 0..4 {
            let ratio = (value[i] - prior[i]) / (exact[i] - prior[i]);
            assert!((ratio - bias).abs() < 1e-6, "t = {t}: {ratio} vs {bias}");
        }
        assert!((bias - 1.0).abs() < 3.0 * (1.0 - t).powi(2) / (NOISE * NOISE));
    }
}

#[test]
fn without_noise_what_was_seen_is_restored() {
    let (x, t) = (images(&X, [3, 2]), each(&TIMES));
    let prior = numbers(denoiser(x.clone(), &t));
    let (operator, _, seen) = mask();
    let measurement = Measurement::new(operator, images(&seen, [1, 2]), 0.0).unwrap();
    // No spread either: the gain does not depend on it.
    let value = numbers(DataConsistent { denoiser, measurement, spread: |_| 0.0 }.eval(x.clone(), &t));
    let wanted: Vec<f64> = (0..12)
        .map(|i| {
            if i % 4 == 0 {
                1.4
            } else if i % 4 == 3 {
                -0.6
            } else {
                prior[i]
            }
        })
        .collect();
    assert!(close(&value, &wanted, 1e-12), "{value:?}");
    // Averages: each block moves as a whole.
    let (operator, _, seen) = pool();
    let measurement = Measurement::new(operator, images(&seen, [1, 1]), 0.0).unwrap();
    let value = numbers(DataConsistent { denoiser, measurement, spread }.eval(x, &t));
    for r in 0..3 {
        let row = &value[4 * r..4 * r + 4];
        assert!((row.iter().sum::<f64>() / 4.0 - 0.9).abs() < 1e-12);
        let by = row[0] - prior[4 * r];
        assert!((1..4).all(|i| (row[i] - prior[4 * r + i] - by).abs() < 1e-12));
    }
}

#[test]
fn operators_are_what_they_say() {
    // <A x, y> = <x, A^T y> and A A^T A x = gram A x, on images of 4 x 6 pixels with two channels.
    fn check(operator: &impl LinearOperator<Tensor<4>>, x: Tensor<4>) {
        let seen = operator.apply(x.clone());
        let y = seen.clone() * seen.clone() + 1.0;
        let one = (seen.clone() * y.clone()).sum();
        let other = (x * operator.adjoint(y)).sum();
        assert!(close(&numbers(one), &numbers(other), 1e-12));
        let again = operator.apply(operator.adjoint(seen.clone()));
        assert!(close(&numbers(again), &numbers(seen * operator.gram()), 1e-12));
    }
    let values: Vec<f64> = (0..96).map(|i| (f64::from(i) * 0.7).sin()).collect();
    let x = Tensor::from_data(TensorData::new(values, [2, 2, 4, 6]), (&Device::flex(), DType::F64));
    check(&AveragePool::new(2).unwrap(), x.clone());
    check(&AveragePool::new(1).unwrap(), x.clone());
    check(&Inpainting::new(x.clone().narrow(0, 0, 1).greater_elem(0.0).float().cast(DType::F64)), x.clone());
    // The last block of the last image by hand: rows 2 and 3, columns 4 and 5 of the fourth plane of 24 pixels.
    let seen = numbers(AveragePool::new(2).unwrap().apply(x.clone()));
    let values = numbers(x);
    let block = (values[72 + 16] + values[72 + 17] + values[72 + 22] + values[72 + 23]) / 4.0;
    assert_eq!(seen.len(), 24);
    assert!((seen[23] - block).abs() < 1e-12);
    assert!(AveragePool::new(0).is_err());
    assert!(Measurement::new(pool().0, 0.0, -1.0).is_err());
}

#[test]
fn weight_zero_costs_no_gradient_and_ends_are_checked() {
    let (operator, _, seen) = pool();
    let measurement = || Measurement::new(operator, images(&seen, [1, 1]), NOISE).unwrap();
    let value = images(&X[..4], [1, 2]);
    let field = || Predictor {
        field: fixed(&value),
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let idle = PosteriorSampling::new(field(), measurement(), spread, constant(0.0), 0.1, 1.0).unwrap();
    let same = idle.eval(value.clone(), &Times::Shared(0.0));
    assert!(!same.is_autodiff());
    assert_eq!(numbers(same), &X[..4]);
    assert!(PosteriorSampling::new(field(), measurement(), spread, constant(1.0), 0.0, 1.0).is_err());
    let other = Predictor { source: SourceLaw::Other, ..field() };
    assert!(PosteriorSampling::new(other, measurement(), spread, constant(1.0), 0.1, 1.0).is_err());
}

#[test]
fn rows_have_their_own_measurements() {
    // Half the weight is half of the way; measurements and conditions follow their rows.
    let (operator, rows, _) = pool();
    let seen = [0.9, -0.2, 1.3];
    let measurement = Measurement::new(operator, images(&seen, [3, 1]), NOISE).unwrap();
    let predictor = Predictor {
        field: unconditional(denoiser),
        prediction: Prediction::Data,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let guided = PosteriorSampling::new(predictor, measurement, spread, constant(0.5), 0.05, 0.9).unwrap();
    let wanted: Vec<Vec<f64>> = (0..3)
        .map(|r| {
            let (x, t) = (&X[4 * r..4 * r + 4], TIMES[r]);
            let prior = numbers(denoiser(images(x, [1, 2]), &Times::Shared(t)));
            let exact = posterior(&rows, &seen[r..=r]).data(Affine::linear(t), x);
            prior.iter().zip(exact).map(|(a, b)| 0.5 * a + 0.5 * b).collect()
        })
        .collect();
    let value = numbers(guided.eval(images(&X, [3, 2]), &each(&TIMES)));
    assert!(close(&value, &wanted.concat(), 1e-9), "{value:?}");
    let part = guided.select(&[2, 1]).eval(images(&[&X[8..], &X[4..8]].concat(), [2, 2]), &each(&[0.9, 0.5]));
    assert!(close(&numbers(part), &[&wanted[2][..], &wanted[1]].concat(), 1e-9));
}

#[test]
fn the_spread_of_data_of_variance_one() {
    // Var(x_1 | x_t) of x_1, x_0 ~ N(0, 1): 1 - alpha^2 / (alpha^2 + sigma^2).
    for t in [0.0, 0.3, 0.8, 1.0_f64] {
        let exact = 1.0 - t * t / (t * t + (1.0 - t).powi(2));
        assert!((unit_spread(Linear)(t).powi(2) - exact).abs() < 1e-15);
    }
}
