use crate::{close, schedules};
use advect_core::{NoiseKey, Purpose};
use advect_paths::{Coefficients, Cosine, Linear, LinearVp, PathError, Polynomial, Schedule, Vp};
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
                let root = t == 1.0 && i == 1 && (name == "vp" || name == "linear vp");
                if root {
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
fn ends_are_noise_and_data() {
    for (name, schedule) in schedules() {
        let (start, end) = (schedule.at(0.0), schedule.at(1.0));
        assert_eq!((end.alpha, end.sigma), (1.0, 0.0), "{name}");
        if name.starts_with("vp") {
            // A diffusion never quite forgets its data.
            assert!(start.alpha > 0.0 && start.alpha < 0.06, "{name}");
        } else {
            assert_eq!((start.alpha, start.sigma), (0.0, 1.0), "{name}");
        }
    }
}

/// The definitions of flow_matching's schedulers (Lipman et al., 2024), evaluated by hand or in Python; and the
/// Gaussian perturbation kernel of Song et al., 2021, equation 33, at the noise end: exp(-19.9/4 - 0.1/2).
#[test]
fn published_values() {
    let root_half = 0.5_f64.sqrt();
    let quarter_turn = std::f64::consts::PI / 2.0 * root_half;
    let cases: [(&str, [f64; 4], [f64; 4]); 6] = [
        ("linear", values(Linear.at(0.25)), [0.25, 0.75, 1.0, -1.0]),
        ("cosine", values(Cosine.at(0.5)), [root_half, root_half, quarter_turn, -quarter_turn]),
        ("polynomial", values(Polynomial::new(3.0).unwrap().at(0.5)), [0.125, 0.875, 0.75, -0.75]),
        ("linear vp", values(LinearVp.at(0.6)), [0.6, 0.8, 1.0, -0.75]),
        ("vp inside", values(Vp::default().at(0.5)), VP_HALF),
        ("vp at the noise", values(Vp::default().at(0.0)), VP_START),
    ];
    for (name, got, published) in cases {
        for (got, published) in got.into_iter().zip(published) {
            assert!(close(got, published, 1e-14), "{name}: {got} vs {published}");
        }
    }
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
        assert_eq!(schedule.log_snr(1.0), f64::INFINITY, "{name}");
        assert_eq!(schedule.time_at_log_snr(f64::INFINITY), 1.0, "{name}");
        assert_eq!(schedule.time_at_log_snr(f64::NEG_INFINITY), 0.0, "{name}");
        if name.starts_with("vp") {
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
fn parameters_out_of_range_are_errors() {
    for power in [0.5, f64::NAN, f64::INFINITY, -1.0] {
        assert!(matches!(Polynomial::new(power), Err(PathError::Power { .. })), "{power}");
    }
    for (beta_min, beta_max) in [(-0.1, 20.0), (1.0, 0.5), (0.0, 0.0), (f64::NAN, 1.0), (0.1, f64::INFINITY)] {
        assert!(matches!(Vp::new(beta_min, beta_max), Err(PathError::Betas { .. })), "{beta_min}, {beta_max}");
    }
    assert_eq!(Vp::new(0.1, 20.0).unwrap(), Vp::default());
}
