use crate::{close, column, each, number, numbers, schedules};
use advect_analytic::statistics::Estimate;
use advect_core::{Field, NoiseKey, Purpose, RowField, TimeGrid, Times, WhiteNoise, normal, shared};
use advect_paths::{
    BrownianBridge, Cosine, Interpolant, InterpolantPredictor, Latent, Linear, PathError, Schedule, ScoreHead,
    SineSquared, VelocityHead,
};
use advect_solvers::{EulerMaruyama, RK4, solve};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::sync::Arc;

const VELOCITIES: [VelocityHead; 2] = [VelocityHead::Velocity, VelocityHead::MeanVelocity];
const SCORES: [ScoreHead; 2] = [ScoreHead::Denoiser, ScoreHead::Score];

/// Every latent of the crate.
fn latents() -> Vec<(&'static str, Arc<dyn Latent>)> {
    vec![
        ("bridge", Arc::new(BrownianBridge::new(0.8).unwrap())),
        ("sine squared", Arc::new(SineSquared::new(0.6).unwrap())),
    ]
}

/// Jointly Gaussian source and data, correlated: no independent pairs, and no standard normal source.
#[derive(Clone, Copy)]
struct Joint {
    source: (f64, f64),
    data: (f64, f64),
    covariance: f64,
}

const JOINT: Joint = Joint { source: (-1.0, 0.7), data: (1.5, 1.3), covariance: 0.55 };

impl Joint {
    /// Mean and variance of x_t, in closed form.
    fn marginal(&self, schedule: &dyn Schedule, latent: &dyn Latent, t: f64) -> (f64, f64) {
        let c = schedule.at(t);
        let mean = c.alpha * self.data.0 + c.sigma * self.source.0;
        let pair = (c.alpha * self.data.1).powi(2) + (c.sigma * self.source.1).powi(2);
        (mean, pair + 2.0 * c.alpha * c.sigma * self.covariance + latent.gamma(t).powi(2))
    }

    /// `E[a x_1 + b x_0 + g z | x_t = x]`: linear regression.
    fn expect(&self, schedule: &dyn Schedule, latent: &dyn Latent, t: f64, [a, b, g]: [f64; 3], x: f64) -> f64 {
        let c = schedule.at(t);
        let (mean, variance) = self.marginal(schedule, latent, t);
        let own = c.alpha * a * self.data.1.powi(2) + c.sigma * b * self.source.1.powi(2) + latent.gamma(t) * g;
        let covariance = own + (c.alpha * b + c.sigma * a) * self.covariance;
        a * self.data.0 + b * self.source.0 + covariance / variance * (x - mean)
    }

    fn velocity(&self, schedule: &dyn Schedule, latent: &dyn Latent, t: f64, head: VelocityHead, x: f64) -> f64 {
        let c = schedule.at(t);
        let g = if head == VelocityHead::Velocity { latent.d_gamma(t) } else { 0.0 };
        self.expect(schedule, latent, t, [c.d_alpha, c.d_sigma, g], x)
    }

    /// The true score is that of the marginal; the denoiser is a regression of its own.
    fn score(&self, schedule: &dyn Schedule, latent: &dyn Latent, t: f64, head: ScoreHead, x: f64) -> f64 {
        let (mean, variance) = self.marginal(schedule, latent, t);
        match head {
            ScoreHead::Score => -(x - mean) / variance,
            ScoreHead::Denoiser => self.expect(schedule, latent, t, [0.0, 0.0, 1.0], x),
        }
    }

    /// Pairs of source and data, one generator a pair.
    fn pairs(&self, seed: u64, n: usize) -> Vec<(f64, f64)> {
        let key = NoiseKey::new(seed, Purpose::Data);
        let slope = self.covariance / self.source.1.powi(2);
        let rest = (self.data.1.powi(2) - slope * self.covariance).sqrt();
        let pair = |id| {
            let mut rng = key.rng(id, 0);
            let x = self.source.1 * normal(&mut rng);
            (self.source.0 + x, self.data.0 + slope * x + rest * normal(&mut rng))
        };
        (0..n as u64).map(pair).collect()
    }
}

#[test]
fn latents_vanish_at_the_ends_and_know_their_derivatives() {
    for (name, latent) in latents() {
        assert_eq!((latent.gamma(0.0), latent.gamma(1.0)), (0.0, 0.0), "{name}");
        let h = 1e-6;
        for t in [0.05, 0.3, 0.5, 0.77, 0.95] {
            let slope = (latent.gamma(t + h) - latent.gamma(t - h)) / (2.0 * h);
            assert!(close(latent.d_gamma(t), slope, 1e-8), "{name}, t = {t}: {} vs {slope}", latent.d_gamma(t));
            let half = (latent.gamma(t + h).powi(2) - latent.gamma(t - h).powi(2)) / (4.0 * h);
            assert!(close(latent.gamma_d_gamma(t), half, 1e-8), "{name}, t = {t}");
        }
        for (t, h) in [(0.0, 1e-7), (1.0, -1e-7)] {
            let half = latent.gamma(t + h).powi(2) / (2.0 * h);
            assert!(close(latent.gamma_d_gamma(t), half, 1e-6), "{name}, t = {t}");
        }
    }
    // Tong et al., 2023: sigma sqrt(t (1 - t)).
    assert!(close(BrownianBridge::new(2.0).unwrap().gamma(0.2), 0.8, 1e-15));
    for size in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(BrownianBridge::new(size), Err(PathError::Latent { .. })), "{size}");
        assert!(matches!(SineSquared::new(size), Err(PathError::Latent { .. })), "{size}");
    }
}

#[test]
fn x_is_the_interpolant_and_its_velocity_the_derivative() {
    let (source, data, latent) = ([1.0, -0.5, 0.2], [3.0, 2.0, -1.0], [0.4, -1.1, 0.9]);
    let times = [0.1, 0.5, 0.9];
    for (name, gamma) in latents() {
        for (schedule_name, schedule) in schedules() {
            let path = Interpolant::new(schedule.clone(), gamma.clone());
            let at = |times: Times| path.sample(column(&source), column(&data), column(&latent), &times).unwrap();
            let (sample, h) = (at(each(&times)), 1e-5);
            let (ahead, behind) = (at(each(&times).map(|t| t + h)), at(each(&times).map(|t| t - h)));
            for i in 0..3 {
                let c = schedule.at(times[i]);
                let x = c.alpha * data[i] + c.sigma * source[i] + gamma.gamma(times[i]) * latent[i];
                assert!(close(numbers(&sample.x)[i], x, 1e-14), "{name}, {schedule_name}");
                assert!(close(numbers(&at(Times::Shared(times[i])).x)[i], x, 1e-14), "{name}, {schedule_name}");
                let slope = (numbers(&ahead.x)[i] - numbers(&behind.x)[i]) / (2.0 * h);
                let velocity = numbers(&sample.velocity(VelocityHead::Velocity).unwrap())[i];
                assert!(close(velocity, slope, 1e-6), "{name}, {schedule_name}: {velocity} vs {slope}");
                let mean = numbers(&sample.velocity(VelocityHead::MeanVelocity).unwrap())[i];
                let rest = gamma.d_gamma(times[i]) * latent[i];
                assert!(close(velocity - mean, rest, 1e-9), "{name}, {schedule_name}");
            }
        }
    }
}

#[test]
fn the_target_of_the_bridge_is_that_of_sf2m() {
    // Tong et al., 2023, equation 8: u = (1 - 2 t) / (2 t (1 - t)) (x - mean) + x_1 - x_0 and the score
    // (mean - x) / (sigma^2 t (1 - t)), with mean = t x_1 + (1 - t) x_0.
    let (source, data, latent, t, sigma) = (0.4, -1.3, 0.7, 0.3, 0.5);
    let path = Interpolant::new(Linear, BrownianBridge::new(sigma).unwrap());
    let sample = path.sample(column(&[source]), column(&[data]), column(&[latent]), &Times::Shared(t)).unwrap();
    let (x, mean) = (numbers(&sample.x)[0], t * data + (1.0 - t) * source);
    let published = (1.0 - 2.0 * t) / (2.0 * t * (1.0 - t)) * (x - mean) + data - source;
    assert!(close(numbers(&sample.velocity(VelocityHead::Velocity).unwrap())[0], published, 1e-13));
    // Their loss |lambda s + eps|^2 with lambda = 2 sqrt(t (1 - t)) / sigma and s = sigma^2 / 2 times the score is
    // zero at the conditional score.
    let score = (mean - x) / (sigma * sigma * t * (1.0 - t));
    assert!(number(sample.score_loss(column(&[score]), ScoreHead::Score).unwrap()) < 1e-25);
    let lambda = 2.0 * (t * (1.0 - t)).sqrt() / sigma;
    let (wrong, half) = (0.3, sigma * sigma / 2.0);
    let loss = number(sample.score_loss(column(&[wrong]), ScoreHead::Score).unwrap());
    assert!(close(loss, (lambda * half * wrong + latent).powi(2), 1e-13));
}

#[test]
fn the_minimisers_are_the_closed_forms() {
    // Eight triples whose first and second moments are exactly those of the joint law and an independent latent.
    let device = Device::flex().autodiff();
    let tensor = |values: Vec<f64>| -> Tensor<2> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count, 1]), (&device, DType::F64))
    };
    let signs: Vec<[f64; 3]> = (0..8).map(|i| [1, 2, 4].map(|bit| if i & bit == 0 { -1.0 } else { 1.0 })).collect();
    let slope = JOINT.covariance / JOINT.source.1;
    let rest = (JOINT.data.1.powi(2) - slope * slope).sqrt();
    let source: Vec<f64> = signs.iter().map(|s| JOINT.source.0 + JOINT.source.1 * s[0]).collect();
    let data: Vec<f64> = signs.iter().map(|s| JOINT.data.0 + slope * s[0] + rest * s[1]).collect();
    let latent: Vec<f64> = signs.iter().map(|s| s[2]).collect();
    for (name, gamma) in latents() {
        for schedule in [Arc::new(Linear) as Arc<dyn Schedule>, Arc::new(Cosine)] {
            for t in [0.2, 0.6] {
                let path = Interpolant::new(schedule.clone(), gamma.clone());
                let (source, data) = (tensor(source.clone()), tensor(data.clone()));
                let sample = path.sample(source, data, tensor(latent.clone()), &Times::Shared(t)).unwrap();
                let check = |exact: &dyn Fn(f64) -> f64, loss: &dyn Fn(Tensor<2>) -> Tensor<1>| {
                    let (best_offset, best_slope) = (exact(0.0), exact(1.0) - exact(0.0));
                    let gradient = |slope: f64, offset: f64| {
                        let (slope, offset) = (tensor(vec![slope]).require_grad(), tensor(vec![offset]).require_grad());
                        let gradients = loss(sample.x.clone() * slope.clone() + offset.clone()).backward();
                        let read = |p: &Tensor<2>| p.grad(&gradients).unwrap().into_scalar::<f64>();
                        (read(&slope), read(&offset))
                    };
                    let (on_slope, on_offset) = gradient(best_slope, best_offset);
                    assert!(on_slope.abs() < 1e-12 && on_offset.abs() < 1e-12, "{name}, t = {t}: {on_slope}");
                    assert!(gradient(best_slope + 0.1, best_offset).0 > 1e-3, "{name}, t = {t}");
                };
                for head in VELOCITIES {
                    check(&|x| JOINT.velocity(&schedule, &*gamma, t, head, x), &|output| {
                        sample.velocity_loss(output, head).unwrap()
                    });
                }
                for head in SCORES {
                    check(&|x| JOINT.score(&schedule, &*gamma, t, head, x), &|output| {
                        sample.score_loss(output, head).unwrap()
                    });
                }
            }
        }
    }
}

/// The exact heads, as fields on batches.
fn exact<S: Schedule + Clone, L: Latent + Clone>(
    joint: Joint,
    schedule: S,
    latent: L,
    velocity_head: VelocityHead,
    score_head: ScoreHead,
) -> InterpolantPredictor<impl Field<Vec<f64>>, impl Field<Vec<f64>>, L> {
    let (s, l) = (schedule.clone(), latent.clone());
    let velocity = move |x: Vec<f64>, t: &Times| -> Vec<f64> {
        x.iter().enumerate().map(|(row, x)| joint.velocity(&s, &l, t.at(row), velocity_head, *x)).collect()
    };
    let (s, l) = (schedule, latent.clone());
    let score = move |x: Vec<f64>, t: &Times| -> Vec<f64> {
        x.iter().enumerate().map(|(row, x)| joint.score(&s, &l, t.at(row), score_head, *x)).collect()
    };
    InterpolantPredictor { velocity, velocity_head, score, score_head, latent }
}

#[test]
fn every_pair_of_heads_gives_the_exact_flow_map() {
    let grid = TimeGrid::uniform(0.05, 0.95, 100).unwrap();
    for (name, latent) in latents() {
        for velocity_head in VELOCITIES {
            for score_head in SCORES {
                let model = exact(JOINT, Cosine, latent.clone(), velocity_head, score_head);
                let flow = model.flow(0.05, 0.95).unwrap();
                // The flow of a Gaussian keeps the standard score.
                let (from, to) = (JOINT.marginal(&Cosine, &*latent, 0.05), JOINT.marginal(&Cosine, &*latent, 0.95));
                let wanted = |x: f64| to.0 + (to.1 / from.1).sqrt() * (x - from.0);
                let points = solve(&flow, RK4.stepper(), vec![-1.7, 0.4], &grid).unwrap();
                for (got, wanted) in points.into_iter().zip([wanted(-1.7), wanted(0.4)]) {
                    let case = format!("{name}, {velocity_head:?}, {score_head:?}");
                    assert!(close(got, wanted, 1e-6), "{case}: {got} vs {wanted}");
                }
            }
        }
    }
}

#[test]
fn the_sde_family_keeps_the_marginals_of_coupled_pairs() {
    // n = 3,000, seeds 51 and 52, four standard errors; 150 Euler-Maruyama steps. Up and down, from all heads.
    let n = 3000;
    for (index, (name, latent)) in latents().into_iter().enumerate() {
        for (g, velocity_head, score_head, from, to) in [
            (0.9, VelocityHead::Velocity, ScoreHead::Denoiser, 0.1, 0.9),
            (0.5, VelocityHead::MeanVelocity, ScoreHead::Score, 0.0, 1.0),
            (0.7, VelocityHead::MeanVelocity, ScoreHead::Denoiser, 0.9, 0.2),
        ] {
            let model = exact(JOINT, Linear, latent.clone(), velocity_head, score_head);
            let sde = model.sde(|_| g, from, to).unwrap();
            let key = NoiseKey::new(51 + index as u64, Purpose::Source);
            let (mean, variance) = JOINT.marginal(&Linear, &*latent, from);
            let start = (0..n).map(|id| mean + variance.sqrt() * normal(&mut key.rng(id, 0))).collect();
            let noise = WhiteNoise::new(52, (0..n).collect());
            let grid = TimeGrid::uniform(from, to, 150).unwrap();
            let end: Vec<f64> = solve(&sde, EulerMaruyama::new(noise), start, &grid).unwrap();
            let (mean, variance) = JOINT.marginal(&Linear, &*latent, to);
            let off = (Estimate::mean(&end).deviation(mean), Estimate::variance(&end).deviation(variance));
            assert!(off.0 < 4.0 && off.1 < 4.0, "{name}, {velocity_head:?}, {score_head:?}: {off:?}");
        }
    }
}

#[test]
fn after_an_optimal_transport_coupling_the_score_is_the_true_one() {
    // N(0, 1) to N(0, 4), coupled as x_1 = 2 x_0: what AffinePath must refuse. In the middle x = 1.5 x_0 + gamma z.
    let joint = Joint { source: (0.0, 1.0), data: (0.0, 2.0), covariance: 2.0 };
    let latent = BrownianBridge::new(1.0).unwrap();
    let denoiser = joint.score(&Linear, &latent, 0.5, ScoreHead::Denoiser, 1.0);
    assert!(close(-denoiser / latent.gamma(0.5), -1.0 / (1.5_f64.powi(2) + 0.25), 1e-14));
}

#[test]
fn sf2m_is_the_schroedinger_bridge() {
    // N(-1, 0.7^2) to N(1.5, 1.3^2) with diffusion sigma = 1: the entropic plan of regularization 2 sigma^2 has
    // covariance (sqrt(4 s0^2 s1^2 + sigma^4) - sigma^2) / 2 (Janati et al., 2020). Its SDE with g = sigma, which knows
    // only the present, must give back the plan: the covariance of where a path starts and where it ends. n = 6,000,
    // seeds 53 and 54, four standard errors; 200 steps from t = 0 to t = 1 itself.
    let (sigma, n) = (1.0_f64, 6000);
    let product = (2.0 * JOINT.source.1 * JOINT.data.1).powi(2);
    let covariance = ((product + sigma.powi(4)).sqrt() - sigma * sigma) / 2.0;
    let joint = Joint { covariance, ..JOINT };
    let latent = BrownianBridge::new(sigma).unwrap();
    let model = exact(joint, Linear, latent, VelocityHead::MeanVelocity, ScoreHead::Score);
    let sde = model.sde(|_| sigma, 0.0, 1.0).unwrap();
    let start: Vec<f64> = joint.pairs(53, n).into_iter().map(|(source, _)| source).collect();
    let noise = WhiteNoise::new(54, (0..n as u64).collect());
    let grid = TimeGrid::uniform(0.0, 1.0, 200).unwrap();
    let end = solve(&sde, EulerMaruyama::new(noise), start.clone(), &grid).unwrap();
    let products: Vec<f64> = start.iter().zip(&end).map(|(a, b)| (a - joint.source.0) * (b - joint.data.0)).collect();
    let off = [
        Estimate::mean(&end).deviation(joint.data.0),
        Estimate::variance(&end).deviation(joint.data.1.powi(2)),
        Estimate::mean(&products).deviation(covariance),
    ];
    assert!(off.iter().all(|d| *d < 4.0), "{off:?}");
    // Another diffusion keeps the ends and not the plan: the flow's is 0.91 = s0 s1.
    assert!(covariance < 0.6, "{covariance}");
}

#[test]
fn ends_have_values_or_errors() {
    use ScoreHead::{Denoiser, Score};
    use VelocityHead::{MeanVelocity, Velocity};
    let bridge = || -> Arc<dyn Latent> { Arc::new(BrownianBridge::new(0.8).unwrap()) };
    let smooth = || -> Arc<dyn Latent> { Arc::new(SineSquared::new(0.8).unwrap()) };
    let flow = |latent, b, s| exact(JOINT, Linear, latent, b, s).flow(0.0, 1.0).err();
    let error = |what, t| Some(PathError::InterpolantEnd { what, t });
    assert_eq!(flow(bridge(), Velocity, Score), error("the velocity", 0.0));
    assert_eq!(flow(bridge(), MeanVelocity, Denoiser), error("the score read off the denoiser", 0.0));
    assert_eq!(flow(bridge(), MeanVelocity, Score), None);
    assert_eq!(flow(smooth(), Velocity, Denoiser), None);
    let sde = |latent, b, s, g: f64, to| exact(JOINT, Linear, latent, b, s).sde(move |_| g, 0.1, to).err();
    assert_eq!(sde(smooth(), Velocity, Denoiser, 0.5, 1.0), error("the score read off the denoiser", 1.0));
    assert_eq!(sde(smooth(), Velocity, Score, 0.5, 1.0), None);
    assert_eq!(sde(smooth(), Velocity, Score, -0.5, 1.0), Some(PathError::Diffusion { t: 0.1, g: -0.5 }));
    assert_eq!(sde(smooth(), Velocity, Score, 0.5, 1.5), Some(PathError::Time { t: 1.5 }));
    // Targets.
    let path = Interpolant::new(Linear, bridge());
    let one = || column(&[1.0]);
    let sample = path.sample(one(), one(), one(), &each(&[1.0])).unwrap();
    let target = |head| sample.velocity(head).err();
    assert_eq!(target(Velocity), error("the velocity target", 1.0));
    assert_eq!(target(MeanVelocity), None);
    assert!(sample.score_loss(one(), Score).is_ok() && sample.score_loss(one(), Denoiser).is_ok());
    // Input.
    let two = column(&[1.0, 2.0]);
    let shape = path.sample(two.clone(), one(), one(), &Times::Shared(0.5)).unwrap_err();
    assert!(matches!(shape, PathError::Shape { what: "the source", .. }), "{shape}");
    let shape = path.sample(one(), one(), two.clone(), &Times::Shared(0.5)).unwrap_err();
    assert!(matches!(shape, PathError::Shape { what: "the latent", .. }), "{shape}");
    let rows = path.sample(one(), one(), one(), &each(&[0.5, 0.5])).unwrap_err();
    assert_eq!(rows, PathError::Rows { rows: 1, times: 2 });
    let time = path.sample(one(), one(), one(), &Times::Shared(-0.1)).unwrap_err();
    assert_eq!(time, PathError::Time { t: -0.1 });
    let shape = sample.velocity_loss(two.clone(), MeanVelocity).unwrap_err();
    assert!(matches!(shape, PathError::Shape { what: "the output", .. }), "{shape}");
    assert!(sample.score_loss(two, Score).is_err());
}

/// A field whose rows have labels.
struct Labelled(Vec<f64>);

impl Field<Vec<f64>> for Labelled {
    fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
        x.iter().enumerate().map(|(row, x)| self.0[row] * x + t.at(row)).collect()
    }
}

impl RowField<Vec<f64>> for Labelled {
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&r| self.0[r]).collect())
    }
}

#[test]
fn rows_have_their_own_times_and_conditions() {
    let model = InterpolantPredictor {
        velocity: Labelled(vec![1.0, 2.0, 3.0]),
        velocity_head: VelocityHead::MeanVelocity,
        score: Labelled(vec![-1.0, 0.5, 0.3]),
        score_head: ScoreHead::Denoiser,
        latent: BrownianBridge::new(0.7).unwrap(),
    };
    let sde = model.sde(|t| t, 0.1, 0.9).unwrap();
    let (x, times) = (vec![0.1, 0.2, 0.3], [0.2, 0.4, 0.6]);
    let all = sde.drift.eval(x.clone(), &each(&times));
    for row in 0..3 {
        let chosen = sde.drift.select(&[row]);
        assert_eq!(chosen.eval(vec![x[row]], &each(&[times[row]])), [all[row]]);
        assert!(close(chosen.eval(vec![x[row]], &Times::Shared(times[row]))[0], all[row], 1e-15));
    }
    // Outside the path there is no number.
    assert!(sde.drift.eval(x, &Times::Shared(1.5)).iter().all(|x| x.is_nan()));
    // A velocity alone does not ask the score head, which may know nothing.
    let lone = InterpolantPredictor {
        velocity: shared(|x: f64, _t: f64| 2.0 * x),
        velocity_head: VelocityHead::Velocity,
        score: shared(|_x: f64, _t: f64| f64::NAN),
        score_head: ScoreHead::Score,
        latent: SineSquared::new(0.5).unwrap(),
    };
    assert_eq!(lone.flow(0.0, 1.0).unwrap().eval(3.0, &Times::Shared(0.5)), 6.0);
}
