use crate::{affine, close, each, normal_integral, root, schedules};
use advect_analytic::gaussian::{Affine, Gaussian};
use advect_analytic::mixture::Mixture;
use advect_analytic::statistics::Estimate;
use advect_core::{Counted, Field, NoiseKey, Purpose, RowField, Sde, TimeGrid, Times, WhiteNoise, normal, shared};
use advect_paths::{Linear, LinearVp, PathError, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::{EulerMaruyama, RK4, solve};
use rand::RngExt;

const GAUSSIAN: SourceLaw = SourceLaw::GaussianIndependent;

fn mixture() -> Mixture {
    let covariance = |a: f64, b: f64, c: f64| vec![vec![a, c], vec![c, b]];
    let covariances = [covariance(0.5, 0.3, 0.2), covariance(0.2, 0.8, -0.1), covariance(0.1, 0.1, 0.0)];
    Mixture::new(&[0.5, 0.3, 0.2], &[vec![2.0, 0.5], vec![-1.5, 1.0], vec![0.0, -2.0]], &covariances).unwrap()
}

/// Standard normal points, one generator a point.
fn noise(seed: u64, n: usize) -> Vec<[f64; 2]> {
    let key = NoiseKey::new(seed, Purpose::Source);
    let point = |id| {
        let mut rng = key.rng(id, 0);
        [normal(&mut rng), normal(&mut rng)]
    };
    (0..n as u64).map(point).collect()
}

/// Moments of the sample against those of the mixture at `at`: means, covariances, and the share in a half plane
/// that a single Gaussian of these moments would miss.
fn same_law(name: &str, points: &[[f64; 2]], mixture: &Mixture, at: Affine) {
    let (mean, covariance) = (mixture.mean(at), mixture.covariance(at));
    for i in 0..2 {
        let values: Vec<f64> = points.iter().map(|p| p[i]).collect();
        let deviation = Estimate::mean(&values).deviation(mean[i]);
        assert!(deviation < 4.0, "{name}: mean {i} is off by {deviation} standard errors");
        for j in 0..=i {
            let products: Vec<f64> = points.iter().map(|p| (p[i] - mean[i]) * (p[j] - mean[j])).collect();
            let deviation = Estimate::mean(&products).deviation(covariance[i][j]);
            assert!(deviation < 4.0, "{name}: covariance {i}{j} is off by {deviation} standard errors");
        }
    }
    // P(x_1 + x_2 > c) of a mixture is a sum of normal tails.
    for c in [-1.0, 0.0, 2.0] {
        let above: Vec<f64> = points.iter().map(|p| if p[0] + p[1] > c { 1.0 } else { 0.0 }).collect();
        let exact: f64 = (0..3).map(|k| mixture.weights()[k] * tail(&mixture.subset(&[k]).unwrap(), at, c)).sum();
        let deviation = Estimate::mean(&above).deviation(exact);
        assert!(deviation < 4.0, "{name}: P(x_1 + x_2 > {c}) is off by {deviation} standard errors");
    }
}

/// P(x_1 + x_2 > c) for one Gaussian.
fn tail(component: &Mixture, at: Affine, c: f64) -> f64 {
    let (m, s) = (component.mean(at), component.covariance(at));
    let z = (c - m[0] - m[1]) / (s[0][0] + s[1][1] + 2.0 * s[0][1]).sqrt();
    0.5 - normal_integral(z)
}

/// Points of the exact marginal, one generator a point.
fn points_at(mixture: &Mixture, at: Affine, seed: u64, n: usize) -> Vec<[f64; 2]> {
    let (noise, key) = (noise(seed, n), NoiseKey::new(seed, Purpose::Data));
    let point = |(id, noise): (usize, [f64; 2])| {
        let mut rng = key.rng(id as u64, 0);
        let (_, data) = mixture.sample(rng.random(), &[normal(&mut rng), normal(&mut rng)]);
        [at.alpha * data[0] + at.sigma * noise[0], at.alpha * data[1] + at.sigma * noise[1]]
    };
    noise.into_iter().enumerate().map(point).collect()
}

#[test]
fn the_exact_mixture_velocity_transports_noise_to_the_mixture() {
    // n = 2,000, seed 21, four standard errors; RK4 with 60 steps, whose error is far below them. At t = 0 the points
    // are those of the schedule: noise, or with VP, VE and EDM noise with some data in it.
    let (mixture, n) = (mixture(), 2000);
    for (name, schedule) in schedules() {
        let predictor = Predictor {
            field: |x: Vec<[f64; 2]>, t: &Times| {
                let at = affine(&schedule, t.at(0));
                let velocity = |x: &[f64; 2]| {
                    let v = mixture.velocity(at, x);
                    [v[0], v[1]]
                };
                x.iter().map(velocity).collect()
            },
            prediction: Prediction::Velocity,
            schedule: schedule.clone(),
            source: GAUSSIAN,
        };
        // Where sigma ends in a square root the velocity is infinite at t = 1.
        let end = if root(name) { 0.9999 } else { 1.0 };
        let velocity = predictor.field(Prediction::Velocity, 0.0, end).unwrap();
        let mut points = points_at(&mixture, affine(&schedule, 0.0), 21, n);
        for (from, to) in [(0.0, 0.5), (0.5, end)] {
            points = solve(&velocity, RK4.stepper(), points, &TimeGrid::uniform(from, to, 30).unwrap()).unwrap();
            same_law(&format!("{name}, t = {to}"), &points, &mixture, affine(&schedule, to));
        }
    }
}

#[test]
fn every_prediction_gives_the_exact_flow_map() {
    // Data N(1.2, 0.5^2): the flow map is affine and known. Five decimals, from any prediction, on every schedule.
    let gaussian = Gaussian { mean: 1.2, std: 0.5 };
    for (name, schedule) in schedules() {
        for prediction in Prediction::ALL {
            let field = shared(|x: f64, t: f64| {
                let at = affine(&schedule, t);
                match prediction {
                    Prediction::Velocity => gaussian.velocity(at, x),
                    Prediction::Score => gaussian.score(at, x),
                    Prediction::Noise => gaussian.noise(at, x),
                    Prediction::Data => gaussian.data(at, x),
                    Prediction::V => at.alpha * gaussian.noise(at, x) - at.sigma * gaussian.data(at, x),
                }
            });
            let predictor = Predictor { field, prediction, schedule: schedule.clone(), source: GAUSSIAN };
            let (from, to) = (0.1, 0.95);
            let velocity = predictor.field(Prediction::Velocity, from, to).unwrap();
            let grid = TimeGrid::uniform(from, to, 200).unwrap();
            for x in [-1.0, 0.7] {
                let got = solve(&velocity, RK4.stepper(), x, &grid).unwrap();
                let exact = gaussian.flow(affine(&schedule, from), affine(&schedule, to), x);
                assert!(close(got, exact, 1e-6), "{name}, {prediction}: {got} vs {exact}");
            }
        }
    }
}

/// A 1-D mixture as a predictor on any schedule.
fn predictor<S: Schedule + Clone>(
    mixture: &Mixture,
    schedule: S,
    prediction: Prediction,
) -> Predictor<impl Field<Vec<f64>>, S> {
    let at_time = schedule.clone();
    let field = move |x: Vec<f64>, t: &Times| {
        let value = |(row, x): (usize, &f64)| {
            let at = affine(&at_time, t.at(row));
            match prediction {
                Prediction::Velocity => mixture.velocity(at, &[*x])[0],
                Prediction::Score => mixture.score(at, &[*x])[0],
                Prediction::Noise => mixture.noise(at, &[*x])[0],
                Prediction::Data => mixture.data(at, &[*x])[0],
                Prediction::V => at.alpha * mixture.noise(at, &[*x])[0] - at.sigma * mixture.data(at, &[*x])[0],
            }
        };
        x.iter().enumerate().map(value).collect()
    };
    Predictor { field, prediction, schedule, source: GAUSSIAN }
}

fn line() -> Mixture {
    Mixture::isotropic(&[0.4, 0.6], &[vec![-1.2], vec![1.0]], &[0.5, 0.4]).unwrap()
}

/// n points of the marginal at `at`.
fn marginal(mixture: &Mixture, at: Affine, seed: u64, n: usize) -> Vec<f64> {
    let key = NoiseKey::new(seed, Purpose::Data);
    let point = |id| {
        let mut rng = key.rng(id, 0);
        let (_, x) = mixture.sample(rng.random(), &[normal(&mut rng)]);
        at.alpha * x[0] + at.sigma * normal(&mut rng)
    };
    (0..n as u64).map(point).collect()
}

/// Mean, variance and P(x > 0) of the sample against the exact marginal: four standard errors.
fn same_marginal(name: &str, values: &[f64], mixture: &Mixture, at: Affine) {
    let (mean, variance) = (mixture.mean(at)[0], mixture.covariance(at)[0][0]);
    let deviation = Estimate::mean(values).deviation(mean);
    assert!(deviation < 4.0, "{name}: the mean is off by {deviation} standard errors");
    let deviation = Estimate::variance(values).deviation(variance);
    assert!(deviation < 4.0, "{name}: the variance is off by {deviation} standard errors");
    let exact: f64 = (0..2)
        .map(|k| {
            let part = mixture.subset(&[k]).unwrap();
            let z = part.mean(at)[0] / part.covariance(at)[0][0].sqrt();
            mixture.weights()[k] * (0.5 + normal_integral(z))
        })
        .sum();
    let positive: Vec<f64> = values.iter().map(|v| if *v > 0.0 { 1.0 } else { 0.0 }).collect();
    let deviation = Estimate::mean(&positive).deviation(exact);
    assert!(deviation < 4.0, "{name}: P(x > 0) is off by {deviation} standard errors");
}

fn simulate<F: Field<Vec<f64>>, G: Fn(f64) -> f64>(
    sde: &Sde<F, G>,
    x: Vec<f64>,
    from: f64,
    to: f64,
    seed: u64,
) -> Vec<f64> {
    let noise = WhiteNoise::new(seed, (0..x.len() as u64).collect());
    solve(sde, EulerMaruyama::new(noise), x, &TimeGrid::uniform(from, to, 250).unwrap()).unwrap()
}

#[test]
fn the_sde_family_has_the_marginals_of_the_flow() {
    // n = 2,000, seeds 31 and 32, four standard errors; 250 Euler-Maruyama steps, whose weak error is below one.
    let (mixture, n) = (line(), 2000);
    // g proportional to sigma, up to t = 1 itself, from the velocity.
    for c in [0.0, 1.0, 2.0] {
        let predictor = predictor(&mixture, Linear, Prediction::Velocity);
        let sde = predictor.sde(|t| c * (1.0 - t), 0.0, 1.0).unwrap();
        let start = marginal(&mixture, Affine::linear(0.0), 31, n);
        let end = simulate(&sde, start, 0.0, 1.0, 32);
        same_marginal(&format!("g = {c} sigma"), &end, &mixture, Affine::linear(1.0));
    }
    // A constant g, stopping short of t = 1, from each prediction.
    for prediction in Prediction::ALL {
        let predictor = predictor(&mixture, Linear, prediction);
        let (from, to) = (0.1, 0.9);
        let sde = predictor.sde(|_| 1.0, from, to).unwrap();
        let start = marginal(&mixture, Affine::linear(from), 31, n);
        let end = simulate(&sde, start, from, to, 32);
        same_marginal(&format!("g = 1 from {prediction}"), &end, &mixture, Affine::linear(to));
    }
}

#[test]
fn the_sde_keeps_the_marginals_on_every_schedule() {
    // n = 1,000, seeds 35 and 36, four standard errors; 250 Euler-Maruyama steps. g proportional to sigma, from end to
    // end, or just short of an infinite slope.
    let (mixture, n) = (line(), 1000);
    for (name, schedule) in schedules() {
        let (from, to) = (0.0, if root(name) { 0.999 } else { 1.0 });
        let predictor = predictor(&mixture, schedule.clone(), Prediction::Velocity);
        let sde = predictor.sde(|t| schedule.at(t).sigma, from, to).unwrap();
        let start = marginal(&mixture, affine(&schedule, from), 35, n);
        let end = simulate(&sde, start, from, to, 36);
        same_marginal(name, &end, &mixture, affine(&schedule, to));
    }
}

#[test]
fn running_down_the_sde_turns_data_into_noise() {
    // n = 4,000, seeds 33 and 34. The score term changes sign with the direction, or the marginals are wrong.
    let (mixture, n) = (line(), 4000);
    let predictor = predictor(&mixture, Linear, Prediction::Velocity);
    let sde = predictor.sde(|_| 0.8, 0.9, 0.0).unwrap();
    let start = marginal(&mixture, Affine::linear(0.9), 33, n);
    let end = simulate(&sde, start, 0.9, 0.0, 34);
    same_marginal("down", &end, &mixture, Affine::linear(0.0));
}

#[test]
fn the_drift_is_the_velocity_plus_half_g_squared_scores() {
    // N(0.5, 2^2) on the linear path, point by point, in closed form.
    let gaussian = Gaussian { mean: 0.5, std: 2.0 };
    let field = shared(move |x: f64, t: f64| gaussian.data(Affine::linear(t), x));
    let predictor = Predictor { field, prediction: Prediction::Data, schedule: Linear, source: GAUSSIAN };
    let sde = predictor.sde(|t| 1.0 + t, 0.0, 0.9).unwrap();
    for (x, t) in [(0.3, 0.0), (-1.0, 0.4), (2.0, 0.9)] {
        let at = Affine::linear(t);
        let exact = gaussian.velocity(at, x) + (1.0 + t) * (1.0 + t) / 2.0 * gaussian.score(at, x);
        assert!(close(sde.drift.eval(x, &Times::Shared(t)), exact, 1e-12));
        assert!(close((sde.diffusion)(t), 1.0 + t, 1e-15));
    }
}

fn constant(prediction: Prediction) -> Predictor<impl Field<f64>, Linear> {
    Predictor { field: shared(|_x: f64, _t: f64| 1.0), prediction, schedule: Linear, source: GAUSSIAN }
}

#[test]
fn sdes_need_a_gaussian_independent_source() {
    for prediction in Prediction::ALL {
        let predictor = Predictor { source: SourceLaw::Other, ..constant(prediction) };
        let error = predictor.sde(|_| 1.0, 0.1, 0.9).err().unwrap();
        assert_eq!(error, PathError::NoScore { have: prediction, want: Prediction::Score });
        let score = predictor.field(Prediction::Score, 0.1, 0.9).err();
        assert_eq!(score, Some(PathError::NoScore { have: prediction, want: Prediction::Score }));
        // The velocity is right under any coupling, except read off a "score".
        assert_eq!(predictor.field(Prediction::Velocity, 0.1, 0.9).is_ok(), prediction != Prediction::Score);
    }
}

#[test]
fn ends_are_checked_before_the_solve() {
    use Prediction::{Data, Noise, Score, Velocity};
    let field = |have, want, from, to| constant(have).field(want, from, to).err();
    assert_eq!(field(Noise, Velocity, 0.0, 1.0), Some(PathError::Singular { have: Noise, want: Velocity, t: 0.0 }));
    assert_eq!(field(Noise, Velocity, 1e-3, 1.0), None);
    assert_eq!(field(Data, Velocity, 0.0, 1.0), Some(PathError::Singular { have: Data, want: Velocity, t: 1.0 }));
    assert_eq!(field(Data, Velocity, 1.0, 0.0), Some(PathError::Singular { have: Data, want: Velocity, t: 1.0 }));
    assert_eq!(field(Score, Velocity, 0.1, 1.0), None);
    assert_eq!(field(Velocity, Data, 0.0, 1.5), Some(PathError::Time { t: 1.5 }));
    // SDEs: at t = 1 the score of the linear path is singular unless g vanishes there; on LinearVP it is not.
    let singular = Some(PathError::SingularDrift { have: Velocity, t: 1.0, g: 0.5 });
    assert_eq!(constant(Velocity).sde(|_| 0.5, 0.0, 1.0).err(), singular);
    assert_eq!(constant(Velocity).sde(|t| 0.5 * (1.0 - t), 0.0, 1.0).err(), None);
    let smooth =
        Predictor { field: shared(|x: f64, _t: f64| x), prediction: Velocity, schedule: LinearVp, source: GAUSSIAN };
    assert!(smooth.sde(|_| 0.5, 0.0, 1.0).is_ok());
    let negative = constant(Velocity).sde(|_| -1.0, 0.0, 0.9).err();
    assert_eq!(negative, Some(PathError::Diffusion { t: 0.0, g: -1.0 }));
}

#[test]
fn an_evaluation_costs_one_and_none_where_nothing_is_asked() {
    let counted = Counted::new(shared(|x: f64, _t: f64| 2.0 * x));
    let predictor = Predictor { field: counted, prediction: Prediction::Velocity, schedule: Linear, source: GAUSSIAN };
    let at = Times::Shared;
    let velocity = predictor.field(Prediction::Velocity, 0.0, 1.0).unwrap();
    assert_eq!(velocity.eval(3.0, &at(0.5)), 6.0);
    assert_eq!(predictor.field.calls(), 1);
    predictor.sde(|_| 1.0, 0.0, 0.5).unwrap().drift.eval(3.0, &at(0.25));
    assert_eq!(predictor.field.calls(), 2);
    // At t = 1 x is the data: (1, 0).
    assert_eq!(predictor.field(Prediction::Data, 0.0, 1.0).unwrap().eval(3.0, &at(1.0)), 3.0);
    assert_eq!(predictor.field.calls(), 2);
}

#[test]
fn outside_the_checked_times_there_is_no_number() {
    let predictor = constant(Prediction::Data);
    let velocity = predictor.field(Prediction::Velocity, 0.0, 0.9).unwrap();
    assert!(velocity.eval(0.5, &Times::Shared(1.0)).is_nan());
    assert!(velocity.eval(0.5, &Times::Shared(-0.5)).is_nan());
    // Only the row that is outside.
    let field = |x: Vec<f64>, _t: &Times| vec![1.0; x.len()];
    let predictor = Predictor { field, prediction: Prediction::Data, schedule: Linear, source: GAUSSIAN };
    let velocity = predictor.field(Prediction::Velocity, 0.0, 0.9).unwrap();
    let values = velocity.eval(vec![0.5, 0.5], &each(&[1.0, 0.5]));
    assert!(values[0].is_nan());
    assert!(close(values[1], 1.0, 1e-15));
}

/// A field whose rows have labels.
struct Labelled(Vec<f64>);

impl Field<Vec<f64>> for Labelled {
    fn eval(&self, x: Vec<f64>, _t: &Times) -> Vec<f64> {
        assert_eq!(x.len(), self.0.len());
        self.0.clone()
    }
}

impl RowField<Vec<f64>> for Labelled {
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&r| self.0[r]).collect())
    }
}

#[test]
fn conditions_follow_their_rows() {
    let field = Labelled(vec![1.0, 2.0, 3.0]);
    let predictor = Predictor { field, prediction: Prediction::Data, schedule: Linear, source: GAUSSIAN };
    let (x, times) = (vec![0.1, 0.2, 0.3], each(&[0.2, 0.4, 0.6]));
    let velocity = predictor.field(Prediction::Velocity, 0.0, 0.9).unwrap();
    let sde = predictor.sde(|_| 0.7, 0.0, 0.9).unwrap();
    let (all, drift) = (velocity.eval(x.clone(), &times), sde.drift.eval(x, &times));
    let chosen = velocity.select(&[2, 0]).eval(vec![0.3, 0.1], &each(&[0.6, 0.2]));
    assert_eq!(chosen, [all[2], all[0]]);
    let chosen = sde.drift.select(&[1]).eval(vec![0.2], &each(&[0.4]));
    assert_eq!(chosen, [drift[1]]);
    // Owned, the field outlives its predictor and is the same.
    let owned = predictor.into_field(Prediction::Velocity, 0.0, 0.9).unwrap();
    assert_eq!(owned.eval(vec![0.1, 0.2, 0.3], &times), all);
}
