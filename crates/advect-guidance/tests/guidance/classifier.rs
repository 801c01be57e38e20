use crate::{Labelled, NOW, close, each, fixed, numbers, tensor};
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_core::{Field, RowField, Times, shared};
use advect_guidance::{GradientGuided, constant, gradient};
use advect_paths::{Cosine, Linear, Prediction, Predictor, Schedule, SourceLaw, Vp};
use burn::tensor::{Tensor, activation::log_softmax};

const MEANS: [[f64; 2]; 3] = [[-1.0, 0.5], [1.0, 1.0], [0.5, -1.0]];
const STDS: [f64; 3] = [0.5, 0.3, 0.4];
const WEIGHTS: [f64; 3] = [0.3, 0.3, 0.4];
const LABEL_A: [usize; 2] = [0, 1];

fn mixture() -> Mixture {
    Mixture::isotropic(&WEIGHTS, &MEANS.map(|m| m.to_vec()), &STDS).unwrap()
}

fn affine(schedule: &impl Schedule, t: f64) -> Affine {
    let c = schedule.at(t);
    Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma)
}

/// The expectation that a prediction is, of this mixture.
fn exact(mixture: &Mixture, prediction: Prediction, at: Affine, x: &[f64; 2]) -> [f64; 2] {
    let v = match prediction {
        Prediction::Velocity => mixture.velocity(at, x),
        Prediction::Score => mixture.score(at, x),
        Prediction::Noise => mixture.noise(at, x),
        Prediction::Data => mixture.data(at, x),
        Prediction::V => {
            let (noise, data) = (mixture.noise(at, x), mixture.data(at, x));
            (0..2).map(|i| at.alpha * noise[i] - at.sigma * data[i]).collect()
        }
    };
    [v[0], v[1]]
}

/// grad ln P(a | x_t = x): the scores of the components of a, less the mean score, by their share of a.
fn exact_gradient(mixture: &Mixture, at: Affine, x: &[f64; 2]) -> [f64; 2] {
    let share = mixture.responsibilities(at, x);
    let total: f64 = LABEL_A.iter().map(|&k| share[k]).sum();
    let component = |k: usize, i: usize| mixture.subset(&[k]).unwrap().score(at, x)[i];
    std::array::from_fn(|i| {
        let mean: f64 = (0..3).map(|k| share[k] * component(k, i)).sum();
        LABEL_A.iter().map(|&k| share[k] / total * (component(k, i) - mean)).sum()
    })
}

const POINTS: [(f64, [f64; 2]); 4] = [(0.05, [0.3, -1.0]), (0.3, [0.5, -0.5]), (0.6, [0.3, 0.1]), (0.95, [-0.4, 0.8])];

fn check<S: Schedule + Clone>(schedule: S) {
    let (mixture, labelled) = (mixture(), mixture().subset(&LABEL_A).unwrap());
    for prediction in Prediction::ALL {
        let field = shared(|x: [f64; 2], t| exact(&mixture, prediction, affine(&schedule, t), &x));
        let source = SourceLaw::GaussianIndependent;
        let predictor = Predictor { field, prediction, schedule: schedule.clone(), source };
        let classifier = shared(|x: [f64; 2], t| exact_gradient(&mixture, affine(&schedule, t), &x));
        let guided = GradientGuided::new(predictor, classifier, constant(1.0), 0.05, 0.95).unwrap();
        for (t, x) in POINTS {
            let value = guided.eval(x, &Times::Shared(t));
            let wanted = exact(&labelled, prediction, affine(&schedule, t), &x);
            for i in 0..2 {
                let apart = (value[i] - wanted[i]).abs() / (1.0 + wanted[i].abs());
                assert!(apart < 1e-9, "{prediction}, t = {t}: {} vs {}", value[i], wanted[i]);
            }
        }
    }
}

#[test]
fn the_exact_classifier_makes_the_conditional_field() {
    check(Linear);
    check(Cosine);
    check(Vp::default());
}

/// ln P(a | x_t) of the mixture on the linear path, in tensors.
fn log_posterior(x: Tensor<2>, t: &Times) -> Tensor<1> {
    let [rows, _] = x.dims();
    let logits = (0..3).map(|k| {
        let constants: Vec<[f64; 3]> = (0..rows)
            .map(|r| {
                let t = t.at(r);
                let variance = (t * STDS[k]).powi(2) + (1.0 - t).powi(2);
                [t, -0.5 / variance, WEIGHTS[k].ln() - variance.ln()]
            })
            .collect();
        let constants = tensor(&constants);
        let mean = constants.clone().narrow(1, 0, 1) * tensor(&[MEANS[k]]);
        let away = x.clone() - mean;
        (away.clone() * away).sum_dim(1) * constants.clone().narrow(1, 1, 1) + constants.narrow(1, 2, 1)
    });
    let log_share = log_softmax(Tensor::cat(logits.collect(), 1), 1);
    log_share.narrow(1, 0, 2).exp().sum_dim(1).log().squeeze_dim::<1>(1)
}

#[test]
fn autodiff_finds_the_gradient() {
    let mixture = mixture();
    let x: Vec<[f64; 2]> = POINTS.iter().map(|p| p.1).collect();
    let times = each(&POINTS.map(|p| p.0));
    let value = gradient(log_posterior).eval(tensor(&x), &times);
    assert!(!value.is_autodiff());
    let wanted: Vec<[f64; 2]> = POINTS.iter().map(|(t, x)| exact_gradient(&mixture, Affine::linear(*t), x)).collect();
    for (a, b) in numbers(value).iter().zip(wanted.as_flattened()) {
        assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} vs {b}");
    }
    // And guides tensors by twice itself: the velocity plus 2 (1 - t) / t of it.
    let predictor = Predictor {
        field: fixed(&tensor(&[[1.0, 2.0]; 4])),
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let guided = GradientGuided::new(predictor, gradient(log_posterior), constant(2.0), 0.05, 0.95).unwrap();
    let value = numbers(guided.eval(tensor(&x), &times));
    for (r, (t, _)) in POINTS.iter().enumerate() {
        for i in 0..2 {
            let exact = [1.0, 2.0][i] + 2.0 * (1.0 - t) / t * wanted[r][i];
            assert!((value[2 * r + i] - exact).abs() < 1e-9 * (1.0 + exact.abs()));
        }
    }
    // What does not depend on x pulls nowhere.
    let flat = gradient(|x: Tensor<2>, _t: &Times| x.inner().sum_dim(1).squeeze_dim::<1>(1));
    assert!(close(&numbers(flat.eval(tensor(&x), &NOW)), &[0.0; 8]));
}

#[test]
fn weight_zero_costs_no_gradient() {
    let predictor = Predictor {
        field: fixed(&3.0),
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let scale = |t: f64| if t < 0.5 { 0.0 } else { 2.0 };
    let classifier = advect_core::Counted::new(|_x: f64, _t: &Times| 4.0);
    let guided = GradientGuided::new(predictor, |x: f64, t: &Times| classifier.eval(x, t), scale, 0.1, 1.0).unwrap();
    // At t = 0 the factor is infinite, but not asked for.
    assert_eq!(guided.eval(0.0, &Times::Shared(0.0)), 3.0);
    assert_eq!(classifier.calls(), 0);
    assert_eq!(guided.eval(0.0, &NOW), 3.0 + 2.0 * 4.0);
    assert_eq!(classifier.calls(), 1);
}

#[test]
fn rows_have_their_own_weights() {
    let predictor = Predictor {
        field: Labelled::new(&[2.0, 3.0, 5.0]),
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let scale = |t: f64| if t < 0.5 { 0.0 } else { 4.0 };
    let guided = GradientGuided::new(predictor, Labelled::new(&[1.0, -1.0, 2.0]), scale, 0.1, 1.0).unwrap();
    // Row 0 is at t = 0, where the factor is infinite, but its weight is 0. Row 1: 3 x + t + 4 (1 - t) / t (-x + t).
    let (x, t) = (vec![1.0, -2.0, 0.5], each(&[0.0, 0.5, 0.8]));
    let all = guided.eval(x.clone(), &t);
    assert!(close(&all, &[2.0, -5.5 + 4.0 * 2.5, 3.3 + 1.8]), "{all:?}");
    let part = guided.select(&[2, 0]).eval(vec![x[2], x[0]], &t.select(&[2, 0]));
    assert!(close(&part, &[all[2], all[0]]));
}

#[test]
fn what_cannot_be_is_refused() {
    let guided = |prediction, source, from| {
        let predictor = Predictor { field: fixed(&3.0), prediction, schedule: Linear, source };
        GradientGuided::new(predictor, fixed(&1.0), constant(1.0), from, 1.0).map(|_| ())
    };
    let gaussian = SourceLaw::GaussianIndependent;
    assert!(guided(Prediction::Velocity, gaussian, 0.1).is_ok());
    let error = guided(Prediction::Velocity, gaussian, 0.0).unwrap_err();
    assert!(error.to_string().contains("t = 0"), "{error}");
    let error = guided(Prediction::Velocity, SourceLaw::Other, 0.1).unwrap_err();
    assert!(error.to_string().contains("source law is Other"), "{error}");
    assert!(guided(Prediction::Noise, gaussian, 0.0).is_ok());
}
