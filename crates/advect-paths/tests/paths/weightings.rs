use crate::{close, column, each, number, numbers, schedules};
use advect_analytic::gaussian::{Affine, Gaussian};
use advect_core::Times;
use advect_paths::{
    AffinePath, CosMapWeighting, Custom, DataWeighting, Edm, EdmWeighting, LikelihoodWeighting, Linear, LinearVp,
    MinSnrWeighting, NoiseWeighting, Path, PathError, Prediction, Schedule, SigmaSqrtWeighting, SoftMinSnrWeighting,
    SourceLaw, TimeLaw, UniformTime, VWeighting, VelocityWeighting, Vp, Weighting, adaptive_loss, convert,
    flow_matching_loss, prediction_loss, row_losses, score_matching_loss, uncertainty_loss, weighted_loss,
    weighted_row_losses,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::f64::consts::PI;

const GAUSSIAN: SourceLaw = SourceLaw::GaussianIndependent;

/// Every weighting of the crate. A new one joins all tests by a line here.
fn weightings() -> Vec<(&'static str, Box<dyn Weighting>)> {
    vec![
        ("data", Box::new(DataWeighting)),
        ("noise", Box::new(NoiseWeighting)),
        ("v", Box::new(VWeighting)),
        ("velocity", Box::new(VelocityWeighting::new())),
        ("velocity, floor", Box::new(VelocityWeighting::floored(0.05).unwrap())),
        ("likelihood", Box::new(LikelihoodWeighting)),
        ("min-snr", Box::new(MinSnrWeighting::new(5.0).unwrap())),
        ("soft-min-snr", Box::new(SoftMinSnrWeighting::new(4.0).unwrap())),
        ("edm", Box::new(EdmWeighting::new(0.5).unwrap())),
        ("sigma-sqrt", Box::new(SigmaSqrtWeighting)),
        ("cosmap", Box::new(CosMapWeighting)),
    ]
}

/// The weight on the squared error of a prediction: the loss of an output that is off by one.
fn weight(schedule: &dyn Schedule, t: f64, have: Prediction, weighting: &impl Weighting) -> Result<f64, PathError> {
    let path = AffinePath::new(schedule, GAUSSIAN);
    let sample = path.sample(column(&[0.3]), column(&[-0.8]), &Times::Shared(t))?;
    let output = sample.target(have)? + 1.0;
    Ok(number(weighted_loss(output, &sample, have, weighting)?))
}

/// A schedule, a time, a prediction, a weighting and its published weight on that prediction's squared error.
type Case<'a> = (&'a dyn Schedule, f64, Prediction, &'a dyn Weighting, f64);

#[test]
fn published_weights() {
    use Prediction::{Data, Noise, Score, V, Velocity};
    let (min_snr, soft) = (MinSnrWeighting::new(5.0).unwrap(), SoftMinSnrWeighting::new(4.0).unwrap());
    let (edm, jit) = (EdmWeighting::new(0.5).unwrap(), VelocityWeighting::floored(0.05).unwrap());
    let velocity = VelocityWeighting::new();
    let (vp, karras) = (Vp::default(), Edm::new(0.0, 5.0, 1.0).unwrap());
    // At t = 0.95 of the LinearVP path SNR is 0.9025 / 0.0975 = 9.256; at t = 0.6 it is 0.36 / 0.64 = 0.5625.
    let snr = 0.9025 / 0.0975;
    // beta = 10.05 and sigma^2 = 1 - e^-T, T = 2.5375, in the middle of the VP path.
    let variance = 1.0 - (-2.5375_f64).exp();
    let cases: Vec<Case<'_>> = vec![
        // Hang et al., 2023: min(SNR, 5) on x_0, min(SNR, 5) / SNR on the noise, min(SNR, 5) / (SNR + 1) on v.
        (&LinearVp, 0.95, Data, &min_snr, 5.0),
        (&LinearVp, 0.95, Noise, &min_snr, 5.0 / snr),
        (&LinearVp, 0.95, V, &min_snr, 5.0 / (snr + 1.0)),
        (&LinearVp, 0.6, Data, &min_snr, 0.5625),
        (&LinearVp, 0.6, Noise, &min_snr, 1.0),
        (&LinearVp, 0.6, V, &min_snr, 0.36),
        // Karras et al., 2022, table 1, at sigma = 0.5 = sigma_data: (0.25 + 0.25) / 0.0625; at sigma = 2: 4.25 / 1.
        (&karras, 0.9, Data, &edm, 8.0),
        (&karras, 0.6, Data, &edm, 4.25),
        // Crowson et al., 2024: 1 / (sigma^2 + sigma_data^2).
        (&karras, 0.9, Data, &soft, 2.0),
        (&karras, 0.6, Data, &soft, 1.0 / 4.25),
        // Esser et al., 2024, with their sigma = 1 - t: sigma^-2 and 2 / (pi (1 - 2 sigma + 2 sigma^2)) on the
        // velocity.
        (&Linear, 0.75, Velocity, &SigmaSqrtWeighting, 16.0),
        (&Linear, 0.75, Velocity, &CosMapWeighting, 2.0 / (PI * 0.625)),
        (&Linear, 0.5, Velocity, &CosMapWeighting, 4.0 / PI),
        // Salimans & Ho, 2022: SNR + 1 on x_0, 1 on v.
        (&LinearVp, 0.6, Data, &VWeighting, 1.5625),
        (&LinearVp, 0.6, V, &VWeighting, 1.0),
        // Song et al., 2021: g^2 = beta on the score's error, which is the noise's over sigma.
        (&vp, 0.5, Noise, &LikelihoodWeighting, 10.05 / variance),
        // EDM's SDE has g^2 = 2 sigma per unit of sigma; here sigma falls by 5 per unit of time.
        (&karras, 0.6, Noise, &LikelihoodWeighting, 2.0 * 2.0 * 5.0 / 4.0),
        // Ho et al., 2020; a score is judged as the noise, sigma^2 on its own error: 0.8^2.
        (&LinearVp, 0.6, Noise, &NoiseWeighting, 1.0),
        (&LinearVp, 0.6, Score, &NoiseWeighting, 0.64),
        // Lipman et al., 2023; Li & He, 2025: 1 / max(1 - t, 0.05)^2 on the data.
        (&Linear, 0.75, Velocity, &velocity, 1.0),
        (&Linear, 0.75, Data, &velocity, 16.0),
        (&Linear, 0.75, Data, &jit, 16.0),
        (&Linear, 0.99, Data, &jit, 400.0),
        (&Linear, 1.0, Data, &jit, 400.0),
        (&Linear, 0.75, Data, &DataWeighting, 1.0),
    ];
    for (schedule, t, have, weighting, published) in cases {
        let got = weight(schedule, t, have, &weighting).unwrap();
        assert!(close(got, published, 1e-12), "t = {t}, {have}: {got} vs {published}");
    }
}

#[test]
fn the_likelihood_weight_is_the_rate_of_the_signal_to_noise_ratio() {
    // Kingma et al., 2021: on the data prediction it is d SNR / dt.
    let h = 1e-6;
    for (name, schedule) in schedules() {
        for t in [0.2, 0.5, 0.8] {
            let snr = |t: f64| schedule.log_snr(t).exp();
            let rate = (snr(t + h) - snr(t - h)) / (2.0 * h);
            let got = LikelihoodWeighting.on_data(&schedule.at(t));
            assert!(close(got, rate, 1e-7), "{name}, t = {t}: {got} vs {rate}");
        }
    }
}

#[test]
fn a_weighting_is_one_loss_for_every_prediction() {
    for (name, schedule) in schedules() {
        for (kind, weighting) in weightings() {
            for t in [0.1, 0.45, 0.6, 0.9] {
                let c = schedule.at(t);
                // The two statements are one.
                let snr = (c.alpha / c.sigma).powi(2);
                let (on_data, on_noise) = (weighting.on_data(&c), weighting.on_noise(&c));
                assert!(close(on_data, on_noise * snr, 1e-11), "{name}, {kind}, t = {t}: {on_data} vs {on_noise}");
                // An error of any prediction counts as the error of the data that it makes.
                for have in Prediction::ALL {
                    let (_, slope) = convert(&schedule, t, have, Prediction::Data).unwrap();
                    let got = weight(&schedule, t, have, &weighting).unwrap();
                    assert!(close(got, on_data * slope * slope, 1e-9), "{name}, {kind}, t = {t}, {have}: {got}");
                }
            }
        }
    }
}

#[test]
fn the_named_losses_are_weightings() {
    let (noise, data, output) = ([0.4, -1.2, 0.3], [1.0, -0.5, 2.0], column(&[0.7, 0.1, -0.9]));
    for (name, schedule) in schedules() {
        let sample =
            AffinePath::new(schedule, GAUSSIAN).sample(column(&noise), column(&data), &each(&[0.2, 0.5, 0.9])).unwrap();
        for have in Prediction::ALL {
            let named = number(flow_matching_loss(output.clone(), &sample, have).unwrap());
            let weighted = number(weighted_loss(output.clone(), &sample, have, &VelocityWeighting::new()).unwrap());
            assert!(close(named, weighted, 1e-10), "{name}, {have}: {named} vs {weighted}");
            let named = number(score_matching_loss(output.clone(), &sample, have).unwrap());
            let weighted = number(weighted_loss(output.clone(), &sample, have, &NoiseWeighting).unwrap());
            assert!(close(named, weighted, 1e-10), "{name}, {have}: {named} vs {weighted}");
            let rows = numbers(&row_losses(output.clone(), &sample, have, Prediction::V).unwrap());
            let weighted = numbers(&weighted_row_losses(output.clone(), &sample, have, &VWeighting).unwrap());
            assert!(rows.iter().zip(&weighted).all(|(a, b)| close(*a, *b, 1e-10)), "{name}, {have}");
        }
    }
}

/// At the ends of the linear path: the weights worked out by hand. None is infinite.
#[test]
fn the_ends_divide_by_nothing() {
    use Prediction::{Data, Noise, Score, V, Velocity};
    let (min_snr, soft) = (MinSnrWeighting::new(5.0).unwrap(), SoftMinSnrWeighting::new(4.0).unwrap());
    let (edm, jit) = (EdmWeighting::new(0.5).unwrap(), VelocityWeighting::floored(0.05).unwrap());
    let velocity = VelocityWeighting::new();
    let infinite = f64::INFINITY;
    // (weighting, at t = 0: Data, Noise, V, Velocity; at t = 1 the same.)
    let cases: [(&str, &dyn Weighting, [f64; 4], [f64; 4]); 10] = [
        ("data", &DataWeighting, [1.0, infinite, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]),
        ("noise", &NoiseWeighting, [0.0, 1.0, 0.0, 0.0], [infinite, 1.0, 1.0, 1.0]),
        ("v", &VWeighting, [1.0, infinite, 1.0, 1.0], [infinite, 1.0, 1.0, 1.0]),
        ("velocity", &velocity, [1.0, infinite, 1.0, 1.0], [infinite, 1.0, 1.0, 1.0]),
        ("velocity, floor", &jit, [1.0, infinite, 1.0, 1.0], [400.0, 0.0, 0.0, 0.0]),
        ("min-snr", &min_snr, [0.0, 1.0, 0.0, 0.0], [5.0, 0.0, 0.0, 0.0]),
        ("soft-min-snr", &soft, [0.0, 1.0, 0.0, 0.0], [4.0, 0.0, 0.0, 0.0]),
        ("edm", &edm, [4.0, infinite, 4.0, 4.0], [infinite, 1.0, 1.0, 1.0]),
        (
            "cosmap",
            &CosMapWeighting,
            [2.0 / PI, infinite, 2.0 / PI, 2.0 / PI],
            [infinite, 2.0 / PI, 2.0 / PI, 2.0 / PI],
        ),
        ("sigma-sqrt", &SigmaSqrtWeighting, [1.0, infinite, 1.0, 1.0], [infinite, infinite, infinite, infinite]),
    ];
    for (name, weighting, start, end) in cases {
        for (t, wanted) in [(0.0, start), (1.0, end)] {
            for (have, wanted) in [Data, Noise, V, Velocity].into_iter().zip(wanted) {
                let got = weight(&Linear, t, have, &weighting);
                if wanted == infinite {
                    assert_eq!(got, Err(PathError::InfiniteWeight { have, t }), "{name}");
                    continue;
                }
                let got = got.unwrap_or_else(|e| panic!("{name}, t = {t}, {have}: {e}"));
                assert!(close(got, wanted, 1e-12), "{name}, t = {t}, {have}: {got} vs {wanted}");
                // And it is the limit of what is inside.
                let near = weight(&Linear, if t == 0.0 { 1e-7 } else { 1.0 - 1e-7 }, have, &weighting).unwrap();
                assert!(close(got, near, 1e-4), "{name}, t = {t}, {have}: {got} vs {near}");
            }
        }
    }
    // A score's own target is infinite at the data, its loss is not.
    let sample =
        AffinePath::new(Linear, GAUSSIAN).sample(column(&[0.3]), column(&[-0.8]), &Times::Shared(1.0)).unwrap();
    let loss = weighted_loss(column(&[7.0]), &sample, Score, &NoiseWeighting).unwrap();
    assert!(close(number(loss), 0.09, 1e-14));
}

const DATA: Gaussian = Gaussian { mean: 0.7, std: 1.6 };

/// For every weighting and prediction: of all networks `slope x + offset`, the same at three times, that of the least
/// weighted loss is the one of the weighted normal equations with the moments of N(0, 1) x N(mean, std^2).
#[test]
fn the_minimiser_of_every_loss_is_the_weighted_regression() {
    let device = Device::flex().autodiff();
    let times = [0.2, 0.5, 0.8];
    // Four pairs a time, whose first and second moments are exactly those of the law.
    let (high, low) = (DATA.mean + DATA.std, DATA.mean - DATA.std);
    let pairs = [(1.0, high), (1.0, low), (-1.0, high), (-1.0, low)];
    let tensor = |values: Vec<f64>| -> Tensor<2> {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count, 1]), (&device, DType::F64))
    };
    let rows: Vec<(f64, (f64, f64))> = times.iter().flat_map(|&t| pairs.map(|pair| (t, pair))).collect();
    let of = |part: fn(&(f64, (f64, f64))) -> f64| rows.iter().map(part).collect::<Vec<f64>>();
    for (name, schedule) in schedules() {
        let path = AffinePath::new(schedule.clone(), GAUSSIAN);
        let sample = path.sample(tensor(of(|r| r.1.0)), tensor(of(|r| r.1.1)), &Times::Each(of(|r| r.0))).unwrap();
        for (kind, weighting) in weightings() {
            for have in Prediction::ALL {
                // Sums over times of the weight times 1, x, x^2, y, x y, for the target y = a x_1 + b x_0.
                let mut sums = [0.0; 5];
                for t in times {
                    let c = schedule.at(t);
                    let (a, b) = match have {
                        Prediction::Data => (1.0, 0.0),
                        Prediction::Noise => (0.0, 1.0),
                        Prediction::Score => (0.0, -1.0 / c.sigma),
                        Prediction::Velocity => (c.d_alpha, c.d_sigma),
                        Prediction::V => (-c.sigma, c.alpha),
                    };
                    let (_, slope) = convert(&schedule, t, have, Prediction::Data).unwrap();
                    let weight = weighting.on_data(&c) * slope * slope;
                    let square = DATA.mean * DATA.mean + DATA.std * DATA.std;
                    let moments = [
                        1.0,
                        c.alpha * DATA.mean,
                        c.alpha * c.alpha * square + c.sigma * c.sigma,
                        a * DATA.mean,
                        c.alpha * a * square + c.sigma * b,
                    ];
                    for (sum, moment) in sums.iter_mut().zip(moments) {
                        *sum += weight * moment;
                    }
                }
                let [n, x, xx, y, xy] = sums;
                let slope = (n * xy - x * y) / (n * xx - x * x);
                let offset = (y - slope * x) / n;
                let gradients = |slope: f64, offset: f64| {
                    let (slope, offset) = (tensor(vec![slope]).require_grad(), tensor(vec![offset]).require_grad());
                    let output = sample.x.clone() * slope.clone() + offset.clone();
                    let loss = weighted_loss(output, &sample, have, &weighting).unwrap();
                    let value = number(loss.clone());
                    let gradients = loss.backward();
                    let read = |p: &Tensor<2>| p.grad(&gradients).unwrap().into_scalar::<f64>();
                    [value, read(&slope), read(&offset)]
                };
                let [least, on_slope, on_offset] = gradients(slope, offset);
                let small = 1e-9 * (1.0 + n + xx + least);
                assert!(on_slope.abs() < small && on_offset.abs() < small, "{name}, {kind}, {have}: {on_slope}");
                let [more, on_slope, _] = gradients(slope + 0.1, offset);
                assert!(more > least && on_slope > 0.0, "{name}, {kind}, {have}");
            }
        }
    }
}

#[test]
fn learned_uncertainty_is_the_log_of_the_loss() {
    let device = Device::flex().autodiff();
    let tensor = |values: &[f64]| -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), (&device, DType::F64))
    };
    let rows = [0.25, 1.0, 9.0_f64];
    let best: Vec<f64> = rows.iter().map(|l| l.ln()).collect();
    let value_and_slope = |u: &[f64]| {
        let u = tensor(u).require_grad();
        let loss = uncertainty_loss(tensor(&rows), u.clone()).unwrap();
        let value = number(loss.clone());
        (value, numbers(&u.grad(&loss.backward()).unwrap()))
    };
    let (least, slope) = value_and_slope(&best);
    // Each row contributes 1 + ln of its loss.
    assert!(close(least, 1.0 + best.iter().sum::<f64>() / 3.0, 1e-14));
    assert!(slope.iter().all(|g| g.abs() < 1e-15));
    // EDM2, equation 14, at another u: loss / e^u + u.
    let (value, slope) = value_and_slope(&[0.0, 1.0, 2.0]);
    let e = std::f64::consts::E;
    assert!(close(value, (0.25 + (1.0 / e + 1.0) + (9.0 / (e * e) + 2.0)) / 3.0, 1e-14));
    assert!(close(slope[0], 0.75 / 3.0, 1e-14));
    let error = uncertainty_loss(tensor(&rows), tensor(&[0.0])).unwrap_err();
    assert_eq!(error, PathError::Rows { rows: 3, times: 1 });
}

#[test]
fn adaptive_weights_are_constants() {
    let device = Device::flex().autodiff();
    let rows = Tensor::<1>::from_data(TensorData::new(vec![0.5, 2.0], [2]), (&device, DType::F64)).require_grad();
    for (p, c) in [(1.0, 1e-3), (0.5, 0.1), (0.0, 1e-3)] {
        let loss = adaptive_loss(rows.clone(), p, c).unwrap();
        let weights = [(0.5 + c).powf(-p), (2.0 + c).powf(-p)];
        assert!(close(number(loss.clone()), (0.5 * weights[0] + 2.0 * weights[1]) / 2.0, 1e-13), "p = {p}");
        // The slope is the weight alone: nothing of the weight's own.
        let slope = numbers(&rows.grad(&loss.backward()).unwrap());
        assert!(close(slope[0], weights[0] / 2.0, 1e-13) && close(slope[1], weights[1] / 2.0, 1e-13), "p = {p}");
    }
    for (p, c) in [(-1.0, 0.1), (f64::NAN, 0.1), (1.0, 0.0), (1.0, f64::INFINITY)] {
        assert!(matches!(adaptive_loss(rows.clone(), p, c), Err(PathError::Weighting { .. })), "{p}, {c}");
    }
}

/// The trap of the course: alpha = t, sigma = sqrt(1 - t). Every target at t < 1 is finite, and still the mean over t
/// of the least loss grows without bound as the clip goes to 0: by ln(10) / 4 a decade for the velocity, ln(10) for the
/// score. With the linear path the flow-matching loss converges.
#[test]
fn losses_of_a_root_sigma_diverge_logarithmically() {
    let root = |t: f64| {
        let sigma = (1.0 - t).sqrt();
        advect_paths::Coefficients { alpha: t, sigma, d_alpha: 1.0, d_sigma: -0.5 / sigma }
    };
    let course = Custom::new(root).unwrap();
    let (high, low) = (DATA.mean + DATA.std, DATA.mean - DATA.std);
    let (noise, data) = (column(&[1.0, 1.0, -1.0, -1.0]), column(&[high, low, high, low]));
    // The exact network's loss, integrated over 1 - t in [1e-k, 1e-(k-1)] on a geometric grid (the midpoint rule).
    let decade = |schedule: &dyn Schedule, k: i32, want: Prediction| -> f64 {
        let path = AffinePath::new(schedule, GAUSSIAN);
        let steps = 50;
        let ratio = 10_f64.powf(1.0 / f64::from(steps));
        let piece = |i: i32| {
            let left = 10_f64.powi(-k) * ratio.powi(i);
            let t = 1.0 - left * ratio.sqrt();
            let sample = path.sample(noise.clone(), data.clone(), &Times::Shared(t)).unwrap();
            let c = schedule.at(t);
            let at = Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma);
            let exact = |x: f64| if want == Prediction::Score { DATA.score(at, x) } else { DATA.velocity(at, x) };
            let output: Vec<f64> = numbers(&sample.x).into_iter().map(exact).collect();
            let loss = prediction_loss(column(&output), &sample, want, want, |_| 1.0).unwrap();
            number(loss) * left * (ratio - 1.0)
        };
        (0..steps).map(piece).sum()
    };
    for k in [4, 5, 6] {
        let ten = 10_f64.ln();
        let velocity = decade(&course, k, Prediction::Velocity);
        assert!(close(velocity, ten / 4.0, 2e-3), "decade {k}: {velocity}");
        // The conditional score's loss is 1 / sigma^2 - 1 / Var x_t: the part that diverges is the first.
        let score = decade(&course, k, Prediction::Score);
        assert!(close(score, ten, 2e-3), "decade {k}: {score}");
        assert!(decade(&Linear, k, Prediction::Velocity) < 10_f64.powi(1 - k) * 3.0, "decade {k}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_before() {
    use Prediction::{Data, Noise, Score, V, Velocity};
    let (whole, clipped) = (UniformTime::new(), UniformTime::clipped(1e-3).unwrap());
    let check = |schedule: &dyn Schedule, source, prediction, weighting: &dyn Weighting, law: UniformTime| {
        AffinePath::new(schedule, source).trainable(prediction, &weighting, law.quantile(0.0), law.quantile(1.0))
    };
    let velocity = VelocityWeighting::new();
    let refused = |have| Err(PathError::NoScore { have, want: have });
    assert_eq!(check(&Linear, SourceLaw::Other, Score, &velocity, clipped), refused(Score));
    assert_eq!(check(&Linear, SourceLaw::Other, Velocity, &velocity, whole), Ok(()));
    assert_eq!(check(&Linear, GAUSSIAN, Velocity, &velocity, whole), Ok(()));
    let target = Err(PathError::Target { target: Velocity, t: 1.0 });
    assert_eq!(check(&LinearVp, GAUSSIAN, Velocity, &velocity, whole), target);
    assert_eq!(check(&LinearVp, GAUSSIAN, Velocity, &velocity, clipped), Ok(()));
    assert_eq!(check(&LinearVp, GAUSSIAN, V, &VWeighting, whole), Ok(()));
    let infinite = |have, t| Err(PathError::InfiniteWeight { have, t });
    assert_eq!(check(&Linear, GAUSSIAN, Data, &velocity, whole), infinite(Data, 1.0));
    assert_eq!(check(&Linear, GAUSSIAN, Noise, &velocity, whole), infinite(Noise, 0.0));
    assert_eq!(check(&Linear, GAUSSIAN, Score, &LikelihoodWeighting, whole), infinite(Score, 0.0));
    assert_eq!(check(&Linear, GAUSSIAN, Score, &NoiseWeighting, whole), Ok(()));
    let error = AffinePath::new(Linear, GAUSSIAN).trainable(Data, &DataWeighting, 0.0, 1.5);
    assert_eq!(error, Err(PathError::Time { t: 1.5 }));
}

#[test]
fn parameters_out_of_range_are_errors() {
    for value in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(MinSnrWeighting::new(value), Err(PathError::Weighting { .. })), "{value}");
        assert!(matches!(SoftMinSnrWeighting::new(value), Err(PathError::Weighting { .. })), "{value}");
        assert!(matches!(EdmWeighting::new(value), Err(PathError::Weighting { .. })), "{value}");
        assert_eq!(VelocityWeighting::floored(value).is_ok(), value == 0.0, "{value}");
    }
}
