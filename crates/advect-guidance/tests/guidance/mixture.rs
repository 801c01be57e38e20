use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_analytic::statistics::Estimate;
use advect_core::{Field, NoiseKey, Purpose, TimeGrid, Times, normal, shared};
use advect_guidance::{Guided, constant};
use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
use advect_solvers::{RK4, solve};

/// Data with two labels: components 0 and 1 have the label a, component 2 the label b.
fn mixture() -> Mixture {
    let means = [vec![-1.0, 0.5], vec![1.0, 1.0], vec![0.5, -1.0]];
    Mixture::isotropic(&[0.3, 0.3, 0.4], &means, &[0.5, 0.3, 0.4]).unwrap()
}

const LABEL_A: [usize; 2] = [0, 1];

fn as_pair(values: &[f64]) -> [f64; 2] {
    [values[0], values[1]]
}

/// ln p_t(x) + w ln p_t(a | x): what guidance by w claims to climb.
fn guided_log_density(mixture: &Mixture, weight: f64, at: Affine, x: &[f64]) -> f64 {
    let posterior: f64 = LABEL_A.iter().map(|&k| mixture.responsibilities(at, x)[k]).sum();
    mixture.log_density(at, x) + weight * posterior.ln()
}

#[test]
fn guided_scores_are_the_gradient_of_the_sharpened_density() {
    // Ho & Salimans, 2022: the guided score is that of p(x) p(a | x)^w. Its gradient by central differences.
    let mixture = mixture();
    let labelled = mixture.subset(&LABEL_A).unwrap();
    let h = 1e-5;
    for weight in [0.0, 0.5, 1.0, 2.0, 4.0] {
        let guided = Guided {
            strong: shared(|x: [f64; 2], t| as_pair(&labelled.score(Affine::linear(t), &x))),
            weak: shared(|x: [f64; 2], t| as_pair(&mixture.score(Affine::linear(t), &x))),
            scale: constant(weight),
        };
        for (t, x) in [(0.2, [0.5, -0.5]), (0.6, [0.3, 0.1]), (0.9, [-0.4, 0.8])] {
            let at = Affine::linear(t);
            let score = guided.eval(x, &Times::Shared(t));
            for i in 0..2 {
                let moved = |by: f64| {
                    let mut y = x;
                    y[i] += by;
                    guided_log_density(&mixture, weight, at, &y)
                };
                let gradient = (moved(h) - moved(-h)) / (2.0 * h);
                assert!((score[i] - gradient).abs() < 1e-6, "w = {weight}, t = {t}: {} vs {gradient}", score[i]);
            }
        }
    }
}

#[test]
fn guiding_velocities_is_guiding_scores() {
    // The conversion is affine with the same x for both, so guidance commutes with it.
    let mixture = mixture();
    let labelled = mixture.subset(&LABEL_A).unwrap();
    let guided = Guided {
        strong: shared(|x: [f64; 2], t| as_pair(&labelled.velocity(Affine::linear(t), &x))),
        weak: shared(|x: [f64; 2], t| as_pair(&mixture.velocity(Affine::linear(t), &x))),
        scale: constant(3.0),
    };
    let predictor = Predictor {
        field: guided,
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let score = predictor.field(Prediction::Score, 0.0, 0.95).unwrap();
    for (t, x) in [(0.0, [1.0, 0.3]), (0.5, [0.3, 0.1]), (0.95, [-0.4, 0.8])] {
        let at = Affine::linear(t);
        let (strong, weak) = (labelled.score(at, &x), mixture.score(at, &x));
        let got = score.eval(x, &Times::Shared(t));
        for i in 0..2 {
            let exact = weak[i] + 3.0 * (strong[i] - weak[i]);
            assert!((got[i] - exact).abs() < 1e-9 * (1.0 + exact.abs()), "t = {t}: {} vs {exact}", got[i]);
        }
    }
}

/// The end points of the guided flow from standard normal noise. n = 3,000, seed 51.
fn samples(weight: f64) -> Vec<[f64; 2]> {
    let mixture = mixture();
    let labelled = mixture.subset(&LABEL_A).unwrap();
    let field = |mixture: Mixture| {
        move |x: Vec<[f64; 2]>, t: &Times| -> Vec<[f64; 2]> {
            x.iter().map(|x| as_pair(&mixture.velocity(Affine::linear(t.at(0)), x))).collect()
        }
    };
    let guided = Guided { strong: field(labelled), weak: field(mixture), scale: constant(weight) };
    let key = NoiseKey::new(51, Purpose::Source);
    let point = |id| {
        let mut rng = key.rng(id, 0);
        [normal(&mut rng), normal(&mut rng)]
    };
    let start: Vec<[f64; 2]> = (0..3000).map(point).collect();
    solve(&guided, RK4.stepper(), start, &TimeGrid::uniform(0.0, 1.0, 50).unwrap()).unwrap()
}

#[test]
fn weight_one_samples_the_label_and_weight_zero_all() {
    // Four standard errors of each mean and variance.
    let mixture = mixture();
    let at = Affine::linear(1.0);
    for (weight, law) in [(1.0, mixture.subset(&LABEL_A).unwrap()), (0.0, mixture.clone())] {
        let points = samples(weight);
        for i in 0..2 {
            let values: Vec<f64> = points.iter().map(|p| p[i]).collect();
            assert!(Estimate::mean(&values).deviation(law.mean(at)[i]) < 4.0, "w = {weight}, mean {i}");
            assert!(
                Estimate::variance(&values).deviation(law.covariance(at)[i][i]) < 4.0,
                "w = {weight}, variance {i}"
            );
        }
    }
}

#[test]
fn more_weight_makes_the_label_surer() {
    let mixture = mixture();
    let at = Affine::linear(1.0);
    let sureness = |weight| {
        let points = samples(weight);
        let of = |x: &[f64; 2]| LABEL_A.iter().map(|&k| mixture.responsibilities(at, x)[k]).sum::<f64>();
        points.iter().map(of).sum::<f64>() / points.len() as f64
    };
    let (none, label, guided) = (sureness(0.0), sureness(1.0), sureness(3.0));
    assert!(none < label && label < guided && guided > 0.99, "{none} {label} {guided}");
}
