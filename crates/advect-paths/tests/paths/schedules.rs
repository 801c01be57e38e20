use crate::{close, has_data_at_0, keeps_noise, root, schedules};
use advect_core::{NoiseKey, Purpose};
use advect_paths::{
    Coefficients, Cosine, Custom, Edm, Linear, LinearVp, PathError, Polynomial, Schedule, SigmaMin, Ve, Vp,
};
use rand::RngExt;

fn values(c: Coefficients) -> [f64; 4] {
    [c.alpha, c.sigma, c.d_alpha, c.d_sigma]
}

/// Alpha, sigma and half sigma squared, with the derivatives that the schedule states for them.
fn derivatives(schedule: &dyn Schedule, t: f64) -> [(f64, f64); 3] {
    let c = schedule.at(t);
    [(c.alpha, c.d_alpha), (c.sigma, c.d_sigma), (c.sigma * c.sigma / 2.0, schedule.sigma_d_sigma(t))]
}

#[test]
fn derivatives_are_central_differences_inside() {
    let mut rng = NoiseKey::new(1, Purpose::Custom(1)).rng(0, 0);
    let h = 1e-5;
    for (name, schedule) in schedules() {
        for _ in 0..100 {
            let t = 0.01 + 0.98 * rng.random::<f64>();
            let (low, at, high) =
                (derivatives(&schedule, t - h), derivatives(&schedule, t), derivatives(&schedule, t + h));
            for i in 0..3 {
                let difference = (high[i].0 - low[i].0) / (2.0 * h);
                assert!(close(at[i].1, difference, 1e-6), "{name}, t = {t}, {i}: {} vs {difference}", at[i].1);
            }
        }
    }
}

#[test]
fn derivatives_are_one_sided_differences_at_the_ends() {
    // The second-order one-sided formula; where sigma falls like a square root it diverges, and so must d_sigma.
    let h = 1e-5;
    for (name, schedule) in schedules() {
        for (t, h) in [(0.0, h), (1.0, -h)] {
            let (a, b, c) =
                (derivatives(&schedule, t), derivatives(&schedule, t + h), derivatives(&schedule, t + 2.0 * h));
            for i in 0..3 {
                let difference = (-3.0 * a[i].0 + 4.0 * b[i].0 - c[i].0) / (2.0 * h);
                if t == 1.0 && i == 1 && root(name) {
                    assert_eq!(a[i].1, f64::NEG_INFINITY, "{name}: sigma has an infinite slope at t = 1");
                    assert!(difference < -50.0, "{name}: {difference}");
                } else {
                    assert!(close(a[i].1, difference, 2e-5), "{name}, t = {t}, {i}: {} vs {difference}", a[i].1);
                }
            }
        }
    }
}

#[test]
fn the_ends_are_those_of_the_method() {
    for (name, schedule) in schedules() {
        let (start, end) = (schedule.at(0.0), schedule.at(1.0));
        let left = match name {
            "sigma min" | "ve" => 0.05,
            "edm" => 0.002,
            _ => 0.0,
        };
        assert!(end.alpha == 1.0 && close(end.sigma, left, 1e-15), "{name}: {end:?}");
        let most = match name {
            "ve" => 10.0,
            "edm" => 80.0,
            "edm to 0, rho 1" => 5.0,
            "edm to 0, rho 3" => 20.0,
            _ => 1.0,
        };
        if name.starts_with("vp") {
            // A diffusion never quite forgets its data.
            assert!(start.alpha > 0.0 && start.alpha < 0.06, "{name}");
        } else {
            let exploding = name == "ve" || name.starts_with("edm");
            assert_eq!(start.alpha, if exploding { 1.0 } else { 0.0 }, "{name}");
            assert!(close(start.sigma, most, 1e-14), "{name}: {start:?}");
        }
        // In between, alpha never falls, sigma never rises, and the log-SNR rises.
        for i in 0..100 {
            let (t, u) = (f64::from(i) / 100.0, f64::from(i + 1) / 100.0);
            let (a, b) = (schedule.at(t), schedule.at(u));
            assert!(a.alpha <= b.alpha && a.sigma >= b.sigma && schedule.log_snr(t) < schedule.log_snr(u), "{name}");
        }
    }
}

/// The definitions of flow_matching's schedulers (Lipman et al., 2024), evaluated by hand or in Python; and the
/// Gaussian perturbation kernel of Song et al., 2021, equation 33, at the noise end: exp(-19.9/4 - 0.1/2).
#[test]
fn published_values() {
    let root_half = 0.5_f64.sqrt();
    let quarter_turn = std::f64::consts::PI / 2.0 * root_half;
    let (ve, sigma_min) = (Ve::default(), SigmaMin::new(0.1).unwrap());
    let cases: [(&str, [f64; 4], [f64; 4]); 8] = [
        ("linear", values(Linear.at(0.25)), [0.25, 0.75, 1.0, -1.0]),
        ("cosine", values(Cosine.at(0.5)), [root_half, root_half, quarter_turn, -quarter_turn]),
        ("polynomial", values(Polynomial::new(3.0).unwrap().at(0.5)), [0.125, 0.875, 0.75, -0.75]),
        ("linear vp", values(LinearVp.at(0.6)), [0.6, 0.8, 1.0, -0.75]),
        ("vp inside", values(Vp::default().at(0.5)), VP_HALF),
        ("vp at the noise", values(Vp::default().at(0.0)), VP_START),
        // Song et al., 2021, equation 30: the geometric mean of 0.01 and 50 in the middle, times -ln 5000.
        ("ve", values(ve.at(0.5)), [1.0, root_half, 0.0, -8.517_193_191_416_238 * root_half]),
        // Lipman et al., 2023, equation 20: sigma = 1 - (1 - sigma_min) t.
        ("sigma min", values(sigma_min.at(0.25)), [0.25, 0.775, 1.0, -0.9]),
    ];
    for (name, got, published) in cases {
        for (got, published) in got.into_iter().zip(published) {
            assert!(close(got, published, 1e-14), "{name}: {got} vs {published}");
        }
    }
}

#[test]
fn edm_is_the_published_grid() {
    // The table of diffusers' test of flow sigmas on Karras' grid: sigma / (1 + sigma) for 200 down to 0.01, rho = 7.
    let published = [0.995_024_86, 0.978_745_46, 0.877_488_43, 0.360_497_18, 0.009_900_99];
    let edm = Edm::new(0.01, 200.0, 7.0).unwrap();
    for (i, published) in published.into_iter().enumerate() {
        let sigma = edm.at(i as f64 / 4.0).sigma;
        assert!((sigma / (1.0 + sigma) - published).abs() < 1e-7, "{i}: {sigma}");
    }
    // EDM's own sigma(t) = t, run backwards.
    assert_eq!(values(Edm::new(0.0, 80.0, 1.0).unwrap().at(0.25)), [1.0, 60.0, 0.0, -80.0]);
}

const VP_HALF: [f64; 4] = [0.2811828807967524, 0.9596542020680363, 1.4129439760036806, -0.41399876822397896];
const VP_START: [f64; 4] = [0.006571586494929619, 0.9999784068923386, 0.06571586494929618, -0.00043186681595006564];

#[test]
fn log_snr_is_that_of_the_coefficients_and_its_inverse_returns() {
    let mut rng = NoiseKey::new(2, Purpose::Custom(1)).rng(0, 0);
    for (name, schedule) in schedules() {
        let mut times: Vec<f64> = (0..100).map(|_| rng.random()).collect();
        times.extend([1e-3, 0.999]);
        for t in times {
            let c = schedule.at(t);
            let log_snr = schedule.log_snr(t);
            assert!(close(log_snr, (c.alpha / c.sigma).powi(2).ln(), 1e-11), "{name}, t = {t}");
            let back = schedule.time_at_log_snr(log_snr);
            assert!((back - t).abs() < 1e-11, "{name}, t = {t}: {back}");
        }
    }
}

#[test]
fn log_snr_of_known_times() {
    // flow_matching's snr_inverse, by hand: alpha / sigma = 3 is t = 3/4, sqrt(9/10), atan(3) 2/pi.
    let log_snr = 2.0 * 3.0_f64.ln();
    assert!(close(Linear.time_at_log_snr(log_snr), 0.75, 1e-15));
    assert!(close(LinearVp.time_at_log_snr(log_snr), 0.9_f64.sqrt(), 1e-15));
    assert!(close(Cosine.time_at_log_snr(log_snr), 0.795_167_235_300_866_5, 1e-15));
    // Equal parts of data and noise.
    for (name, schedule) in schedules() {
        let c = schedule.at(schedule.time_at_log_snr(0.0));
        assert!(close(c.alpha, c.sigma, 1e-12), "{name}");
    }
}

#[test]
fn log_snr_at_the_ends_and_out_of_range() {
    for (name, schedule) in schedules() {
        assert_eq!(schedule.log_snr(1.0) == f64::INFINITY, !keeps_noise(name), "{name}");
        // What lies beyond the ends of a schedule is its end.
        assert_eq!((schedule.time_at_log_snr(1e3), schedule.time_at_log_snr(-1e5)), (1.0, 0.0), "{name}");
        assert_eq!(schedule.time_at_log_snr(f64::INFINITY), 1.0, "{name}");
        assert_eq!(schedule.time_at_log_snr(f64::NEG_INFINITY), 0.0, "{name}");
        if has_data_at_0(name) {
            assert!(schedule.log_snr(0.0).is_finite(), "{name}");
        } else {
            assert_eq!(schedule.log_snr(0.0), f64::NEG_INFINITY, "{name}");
        }
    }
    // Near the data, where 1 - t carries the information.
    for t in [1.0 - 1e-9, 1.0 - 1e-6] {
        let back = Cosine.time_at_log_snr(Cosine.log_snr(t));
        assert!(((1.0 - back) / (1.0 - t) - 1.0).abs() < 1e-5, "{back}");
    }
}

#[test]
fn a_custom_schedule_is_checked() {
    let at = |alpha: f64, sigma: f64, d_alpha: f64, d_sigma: f64| Coefficients { alpha, sigma, d_alpha, d_sigma };
    // A polynomial of one's own is the polynomial of the crate.
    let (own, ours) =
        (Custom::new(|t: f64| at(t * t, 1.0 - t * t, 2.0 * t, -2.0 * t)).unwrap(), Polynomial::new(2.0).unwrap());
    for t in [0.0, 0.3, 0.99, 1.0] {
        assert!(values(own.at(t)).iter().zip(values(ours.at(t))).all(|(a, b)| close(*a, b, 1e-14)), "{t}");
        assert!(close(own.time_at_log_snr(ours.log_snr(t)), t, 1e-13), "{t}");
    }
    // Half the rate of the noise variance at an end where sigma is a root: the limit of -1/2.
    let course = Custom::new(crate::course).unwrap();
    assert!(close(course.sigma_d_sigma(1.0), -0.5, 1e-9), "{}", course.sigma_d_sigma(1.0));
    // A derivative forgotten, a factor of one in a hundred thousand, an endless one.
    let wrong = |d_alpha: f64, d_sigma: f64| Custom::new(move |t: f64| at(t, 1.0 - t, d_alpha, d_sigma)).err();
    let first = 0.5 / 64.0;
    assert!(wrong(1.0, -1.0).is_none());
    let is = |error: Option<PathError>, wanted: &str| {
        assert!(matches!(error, Some(PathError::Derivative { of, t, .. }) if of == wanted && t == first), "{error:?}");
    };
    is(wrong(0.0, -1.0), "alpha");
    is(wrong(1.000_01, -1.0), "alpha");
    is(wrong(1.0, 1.0), "sigma");
    assert!(wrong(f64::NAN, -1.0).is_some() && wrong(1.0, f64::INFINITY).is_some());
    // And what else a schedule promises, with the time where it breaks.
    let broken = |f: fn(f64) -> Coefficients| match Custom::new(f) {
        Err(PathError::Schedule { t, .. }) => t,
        other => panic!("{:?}", other.map(|_| ())),
    };
    let flat = |t: f64| Coefficients { alpha: 0.5, sigma: 0.5, d_alpha: 0.0 * t, d_sigma: 0.0 };
    assert!(close(broken(flat), first, 1e-15));
    let short = |t: f64| Coefficients { alpha: 0.9 * t, sigma: 1.0 - t, d_alpha: 0.9, d_sigma: -1.0 };
    assert_eq!(broken(short), 1.0);
    let negative = |t: f64| Coefficients { alpha: t, sigma: 0.5 - t, d_alpha: 1.0, d_sigma: -1.0 };
    assert!(broken(negative) > 0.5);
    let infinite = |t: f64| Coefficients { alpha: t, sigma: 1.0 / t, d_alpha: 1.0, d_sigma: -1.0 / (t * t) };
    assert_eq!(broken(infinite), 0.0);
}

#[test]
fn parameters_out_of_range_are_errors() {
    for power in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(Polynomial::new(power), Err(PathError::Power { .. })), "{power}");
    }
    for (beta_min, beta_max) in [(-0.1, 20.0), (1.0, 0.5), (0.0, 0.0), (f64::NAN, 1.0), (0.1, f64::INFINITY)] {
        assert!(matches!(Vp::new(beta_min, beta_max), Err(PathError::Betas { .. })), "{beta_min}, {beta_max}");
    }
    assert_eq!(Vp::new(0.1, 20.0).unwrap(), Vp::default());
    for (sigma_min, sigma_max) in [(0.0, 1.0), (-0.1, 1.0), (2.0, 1.0), (f64::NAN, 1.0), (0.1, f64::INFINITY)] {
        assert!(matches!(Ve::new(sigma_min, sigma_max), Err(PathError::Sigmas { .. })), "{sigma_min}, {sigma_max}");
    }
    for (sigma_min, sigma_max) in [(-0.1, 1.0), (1.0, 1.0), (f64::NAN, 1.0), (0.1, f64::INFINITY)] {
        let refused = matches!(Edm::new(sigma_min, sigma_max, 7.0), Err(PathError::Sigmas { .. }));
        assert!(refused, "{sigma_min}, {sigma_max}");
    }
    for rho in [0.5, f64::NAN, f64::INFINITY] {
        assert!(matches!(Edm::new(0.002, 80.0, rho), Err(PathError::Rho { .. })), "{rho}");
    }
    for sigma_min in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(SigmaMin::new(sigma_min), Err(PathError::Sigmas { .. })), "{sigma_min}");
    }
}
