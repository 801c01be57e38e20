//! Preconditioning, thresholding, discrete schedules.

use crate::problems::Exploding;
use advect_core::{Field, State, Times, shared};
use advect_diffusion::{
    Churn, Clip, Coordinates, Ddim, Denoiser, DiffusionError, DiscreteSchedule, DpmSolver2, LangevinCorrected, Order,
    Preconditioned, Preconditioning, Restarted, SaSolver, SdeDpmSolverPp, Thresholded, Thresholding,
};
use advect_paths::{Linear, Prediction, Predictor, Schedule, SourceLaw, Vp};
use advect_solvers::{TimeGrid, WhiteNoise, solve};
use burn::tensor::{Device, Tensor};

#[test]
fn preconditioned_networks_are_the_exact_denoiser() {
    // Data N(0, 0.5^2): D = s^2 / (s^2 + sigma^2) y and the noise sigma / (s^2 + sigma^2) y. Each network knows its own
    // input alone: c_in y and c_noise, from which it finds sigma by the forward formula of the paper.
    let exact = |y: f64, sigma: f64| 0.25 / (0.25 + sigma * sigma) * y;
    let noise = |y: f64, sigma: f64| sigma / (0.25 + sigma * sigma) * y;
    let vp_level = |c: f64| {
        let time = c / 999.0;
        (0.5 * 19.9 * time * time + 0.1 * time).exp_m1().sqrt()
    };
    type Network = Box<dyn Fn(f64, f64) -> f64>;
    let cases: [(&str, Preconditioning, Network); 3] = [
        // With the std of the data, all is in c_skip.
        ("edm", Preconditioning::Edm { data_std: 0.5 }, Box::new(|_x, _c| 0.0)),
        (
            "vp",
            Preconditioning::Vp { beta_slope: 19.9, beta_min: 0.1 },
            Box::new(move |x, c| noise(x * (vp_level(c).powi(2) + 1.0).sqrt(), vp_level(c))),
        ),
        ("ve", Preconditioning::Ve, Box::new(move |x, c| -noise(x, 2.0 * c.exp()))),
    ];
    for (name, preconditioning, network) in &cases {
        let network = |x: Vec<f64>, c: &Times| -> Vec<f64> {
            x.into_iter().enumerate().map(|(row, x)| network(x, c.at(row))).collect()
        };
        // The schedule may be any: here alpha is not one.
        let field = Preconditioned::new(network, *preconditioning, Linear).unwrap();
        for t in [0.05, 0.4, 0.9] {
            let at = Coordinates::at(&Linear, t);
            let got = field.eval(vec![0.8], &Times::Shared(t))[0];
            assert!((got - exact(0.8 / at.alpha, at.level())).abs() < 1e-12, "{name} at {t}: {got}");
            let rows = field.eval(vec![0.8, -0.3], &Times::Each(vec![t, 0.5]));
            assert!((rows[0] - got).abs() < 1e-14, "{name}");
            let other = Coordinates::at(&Linear, 0.5);
            assert!((rows[1] - exact(-0.3 / other.alpha, other.level())).abs() < 1e-12, "{name}");
        }
        // Data alone are what they are.
        assert_eq!(field.eval(vec![0.8], &Times::Shared(1.0)), [0.8]);
    }
    // EDM with another std than that of the data: the network is needed. c_out F = D - c_skip y.
    let (skip, out, input, at) = Preconditioning::Edm { data_std: 2.0 }.coefficients(3.0);
    assert!((skip - 4.0 / 13.0).abs() < 1e-15 && (out - 6.0 / 13.0_f64.sqrt()).abs() < 1e-15);
    assert!((input - 1.0 / 13.0_f64.sqrt()).abs() < 1e-15 && (at - 3.0_f64.ln() / 4.0).abs() < 1e-15);
}

#[test]
fn iddpm_asks_for_the_nearest_step() {
    // Without clipping, u_j^2 + 1 = alpha_bar_1000 / alpha_bar_j.
    let alpha_bar = |j: f64| (std::f64::consts::FRAC_PI_2 * j / 1000.0 / 1.008).sin().powi(2);
    let level = |j: f64| (alpha_bar(1000.0) / alpha_bar(j) - 1.0).sqrt();
    for j in [100.0, 500.0, 900.0] {
        for near in [-0.4, 0.0, 0.4] {
            let (skip, out, input, step) = Preconditioning::Iddpm.coefficients(level(j + near));
            assert_eq!(step, 999.0 - j);
            assert!(skip == 1.0 && out == -level(j + near));
            assert!((input - 1.0 / level(j + near).hypot(1.0)).abs() < 1e-15);
        }
    }
}

#[test]
fn thresholds_by_hand() {
    let x = vec![[0.5, -1.0, 2.0, -4.0], [0.1, 0.2, -0.3, 0.4]];
    let fixed = Thresholding::fixed().apply(x.clone());
    assert_eq!(fixed, [[0.5, -1.0, 1.0, -1.0], [0.1, 0.2, -0.3, 0.4]]);
    // The median of the magnitudes is 1.5 in the first row; below 1 nothing is done.
    let dynamic = Thresholding::dynamic(0.5, 10.0).unwrap();
    assert_eq!(dynamic.apply(x.clone()), [[0.5 / 1.5, -1.0 / 1.5, 1.0, -1.0], [0.1, 0.2, -0.3, 0.4]]);
    let limited = Thresholding::dynamic(1.0, 2.0).unwrap();
    assert_eq!(limited.apply(x.clone())[0], [0.25, -0.5, 1.0, -1.0]);
    // A tensor as the rows; NaN is not hidden.
    let tensor = Tensor::<2>::from_data([[0.5_f32, -1.0, 2.0, -4.0], [0.1, 0.2, -0.3, 0.4]], &Device::default());
    assert_eq!(tensor.magnitude_quantile(0.5)[0], 1.5);
    let got: Vec<f32> = dynamic.apply(tensor).into_data().try_to_vec().unwrap();
    for (got, wanted) in got.iter().zip([0.5 / 1.5, -1.0 / 1.5, 1.0, -1.0, 0.1, 0.2, -0.3, 0.4]) {
        assert!((f64::from(*got) - wanted).abs() < 1e-6, "{got} {wanted}");
    }
    assert!(Thresholding::fixed().apply(f64::NAN).is_nan());
    assert!(!Thresholding::fixed().apply(Tensor::<1>::from_data([f32::NAN, 0.1], &Device::default())).all_finite());
}

#[test]
fn a_thresholded_model_is_consistent() {
    // The data are predicted at 3 and cut to 1; the noise is read off that, so the sampler ends at 1.
    let model = Predictor {
        field: shared(|_x: f64, _t: f64| 3.0),
        prediction: Prediction::Data,
        schedule: Vp::default(),
        source: SourceLaw::GaussianIndependent,
    };
    let model = Thresholded::new(model, Thresholding::fixed());
    let end = solve(&model, Ddim, 0.4, &TimeGrid::uniform(0.0, 1.0, 5).unwrap()).unwrap();
    assert!((end - 1.0).abs() < 1e-12, "{end}");
    let (on_x, on_output) = Denoiser::<f64>::conversion(&model, Prediction::Noise, 0.4).unwrap();
    let at = Vp::default().at(0.4);
    let noise = on_x * 0.7 + on_output * model.output(0.7, 0.4);
    assert!((at.alpha * 1.0 + at.sigma * noise - 0.7).abs() < 1e-12);
}

#[test]
fn a_discrete_schedule_is_a_schedule() {
    let schedule = DiscreteSchedule::linear(1000, 1e-4, 0.02).unwrap();
    let mut alpha_bar = 1.0;
    for i in 0..1000 {
        alpha_bar *= 1.0 - (1e-4 + (0.02 - 1e-4) * f64::from(i) / 999.0);
        let c = schedule.at(schedule.time(f64::from(i)));
        assert!((c.alpha * c.alpha - alpha_bar).abs() < 1e-12 && (c.sigma * c.sigma - 1.0 + alpha_bar).abs() < 1e-12);
    }
    // Between steps, where the derivatives have no jump.
    for t in [0.0, 0.12345, 0.50037, 0.99871, 0.9993, 1.0] {
        let c = schedule.at(t);
        assert!((c.alpha.hypot(c.sigma) - 1.0).abs() < 1e-14);
        assert!((schedule.time_at_log_snr(schedule.log_snr(t)) - t).abs() < 1e-12, "{t}");
        if t > 0.0 && t < 1.0 {
            let h = 1e-5;
            let (up, down) = (schedule.at(t + h), schedule.at(t - h));
            assert!(((up.alpha - down.alpha) / (2.0 * h) - c.d_alpha).abs() < 1e-5 * (1.0 + c.d_alpha.abs()), "{t}");
            assert!(((up.sigma - down.sigma) / (2.0 * h) - c.d_sigma).abs() < 1e-5 * (1.0 + c.d_sigma.abs()), "{t}");
        }
    }
    let end = schedule.at(1.0);
    assert_eq!((end.alpha, end.sigma), (1.0, 0.0));
    assert_eq!(schedule.steps(), 1000);
}

#[test]
fn settings_out_of_range_are_refused() {
    let noise = || WhiteNoise::new(1, vec![0]);
    let refused: Vec<Option<DiffusionError>> = vec![
        DpmSolver2::new(0.0).err(),
        DpmSolver2::new(f64::NAN).err(),
        Churn::new(-1.0, 5).err(),
        Churn::new(1.0, 0).err(),
        Churn::rate(f64::INFINITY).err(),
        Churn::default().between(2.0, 1.0).err(),
        Churn::default().scaled(0.0).err(),
        advect_diffusion::Ancestral::new(1.1, noise()).err(),
        SdeDpmSolverPp::<f64, _>::new(Order::Two, -0.1, noise()).err(),
        SaSolver::<f64, _>::new(Order::Four, 1.0, noise()).err(),
        SaSolver::<f64, _>::new(Order::Two, f64::NAN, noise()).err(),
        Restarted::new(Ddim, (0.5, 0.3), 3, 1, noise()).err(),
        Restarted::new(Ddim, (0.3, 0.5), 0, 1, noise()).err(),
        LangevinCorrected::new(Ddim, 1, 1.0, noise()).err(),
        Thresholding::dynamic(1.1, 2.0).err(),
        Thresholding::dynamic(0.9, 0.5).err(),
        DiscreteSchedule::new(&[0.9]).err(),
        DiscreteSchedule::new(&[0.9, 0.95]).err(),
        DiscreteSchedule::linear(10, 0.0, 0.1).err(),
        DiscreteSchedule::linear(10, 0.1, 1.0).err(),
        Preconditioned::new((), Preconditioning::Edm { data_std: 0.0 }, Exploding { max: 1.0 }).err(),
        Preconditioned::new((), Preconditioning::Vp { beta_slope: 0.0, beta_min: 0.1 }, Linear).err(),
    ];
    for (i, error) in refused.into_iter().enumerate() {
        assert!(matches!(error, Some(DiffusionError::Setting { .. })), "{i}: {error:?}");
    }
}
