//! The rows of the table (see `table`) of models that jump, with the noise of PyTorch's generator: consistency models,
//! LCM, TCD.

use crate::table::{X, assert_sum, dummy, grid, noise, sample};
use crate::torch_noise::TorchNoise;
use advect_core::{Field, State, Times};
use advect_diffusion::{
    Consistency, Denoiser, DiscreteSchedule, Preconditioned, Preconditioning, Tcd, Thresholded, Thresholding,
};
use advect_paths::{Coefficients, Edm, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::solve;

#[test]
fn consistency_models() {
    // Steps of 200 on the path of EDM, from 80 to 0.002: step k is the time k / 200. Clipped to [-1, 1].
    let schedule = Edm::default();
    let preconditioning = Preconditioning::Consistency { data_std: 0.5, sigma_min: 0.002 };
    let network = |x: X, t: &Times| dummy(x, t.at(0));
    let model = Preconditioned::new(network, preconditioning, schedule).unwrap().into_predictor();
    let model = Thresholded::new(model, Thresholding::fixed());
    let run = |start: X, steps: &[f64]| {
        let times = steps.iter().map(|step| step / 200.0).chain([1.0]).collect();
        solve(&model, Consistency::new(TorchNoise::new(0)), start, &grid(times)).unwrap()
    };
    let start: X = sample().into_iter().map(|x| 80.0 * x).collect();
    assert_sum("cm, 1 step", &run(start.clone(), &[0.0]), 192.7614, 1e-2);
    assert_sum("cm, 1 step, own", &run(start.clone(), &[0.0]), 192.761305, 1e-5);
    assert_sum("cm, 2 steps", &run(start.clone(), &[0.0, 106.0]), 347.6357, 1e-2);
    assert_sum("cm, 2 steps, own", &run(start.clone(), &[0.0, 106.0]), 347.635_641, 2e-3);
    // Ten steps of stride 20, from the ninth: steps 160 and 180, with 80 x as the data to which noise is added.
    let noisy = start.combine(1.0, &[(schedule.at(0.8).sigma, &noise())]);
    assert_sum("cm with noise", &run(noisy.clone(), &[160.0, 180.0]), 763.9186, 1e-2);
    assert_sum("cm with noise, own", &run(noisy, &[160.0, 180.0]), 763.918_614, 2e-3);
}

/// The steps of Stable Diffusion, "scaled linear"; all times lie on steps, and below the steps' rounding stays.
#[derive(Clone)]
struct Steps(DiscreteSchedule);

impl Steps {
    fn new() -> Self {
        let root = |i: u16| 0.00085_f64.sqrt() + (0.012_f64.sqrt() - 0.00085_f64.sqrt()) * f64::from(i) / 999.0;
        let mut left = 1.0;
        let alpha_bar = |i| {
            left *= 1.0 - root(i).powi(2);
            left
        };
        Self(DiscreteSchedule::new(&(0..1000).map(alpha_bar).collect::<Vec<_>>()).unwrap())
    }

    /// A time is how far step 999 has come down to step 0.
    fn time(step: f64) -> f64 {
        1.0 - step / 999.0
    }

    fn step(t: f64) -> f64 {
        (999.0 * (1.0 - t) + 1e-9).floor()
    }
}

impl Schedule for Steps {
    fn at(&self, t: f64) -> Coefficients {
        self.0.at(self.0.time(Self::step(t)))
    }

    fn log_snr(&self, t: f64) -> f64 {
        self.0.log_snr(self.0.time(Self::step(t)))
    }

    fn time_at_log_snr(&self, _log_snr: f64) -> f64 {
        f64::NAN
    }
}

/// Of 50 steps 999, 979, .., 19 the first of each n-th part.
fn chosen(count: usize) -> Vec<f64> {
    (0..count).map(|i| 999.0 - 20.0 * ((50 * i) / count) as f64).collect()
}

#[test]
fn tcd() {
    let field = |x: X, t: &Times| dummy(x, Steps::step(t.at(0)));
    let model = Predictor {
        field,
        prediction: Prediction::Noise,
        schedule: Steps::new(),
        source: SourceLaw::GaussianIndependent,
    };
    let model: &dyn Denoiser<X> = &model;
    let run = |gamma, count| {
        // The end of their path is step 0, with a little noise.
        let times = chosen(count).into_iter().chain([0.0]).map(Steps::time).collect();
        solve(model, Tcd::new(gamma, TorchNoise::new(0)).unwrap(), sample(), &grid(times)).unwrap()
    };
    assert_sum("tcd, 1 step, eta 0", &run(0.0, 1), 29.8715, 1e-2);
    assert_sum("tcd, 1 step, eta 0, own", &run(0.0, 1), 29.871_537, 2e-4);
    assert_sum("tcd, 10 steps, eta 0", &run(0.0, 10), 181.2040, 1e-2);
    assert_sum("tcd, 10 steps, eta 0, own", &run(0.0, 10), 181.204_000, 2e-3);
    assert_sum("tcd, 4 steps, eta 0.3, own", &run(0.3, 4), 233.508_732, 2e-3);
    assert_sum("tcd, 10 steps, eta 1, own", &run(1.0, 10), 211.781_138, 2e-3);
}

#[test]
fn latent_consistency_models() {
    // The boundary of their network: c_skip x + c_out D, with 10 times the step as the way to it.
    #[derive(Clone)]
    struct Boundary(DiscreteSchedule);
    impl Field<X> for Boundary {
        fn eval(&self, x: X, t: &Times) -> X {
            let step = self.0.step(t.at(0)).round();
            let at = self.0.at(t.at(0));
            let data = x.clone().combine(1.0 / at.alpha, &[(-at.sigma / at.alpha, &dummy(x.clone(), step))]);
            let total = (10.0 * step).powi(2) + 0.25;
            data.combine(10.0 * step / total.sqrt(), &[(0.25 / total, &x)])
        }
    }
    let schedule = Steps::new().0;
    let model = Predictor {
        field: Boundary(schedule.clone()),
        prediction: Prediction::Data,
        schedule: schedule.clone(),
        source: SourceLaw::GaussianIndependent,
    };
    let run = |count| {
        let times = chosen(count).into_iter().map(|step| schedule.time(step)).chain([1.0]).collect();
        solve(&model, Consistency::new(TorchNoise::new(0)), sample(), &grid(times)).unwrap()
    };
    assert_sum("lcm, 1 step", &run(1), 18.7097, 1e-2);
    assert_sum("lcm, 1 step, own", &run(1), 18.709_679, 2e-4);
    assert_sum("lcm, 10 steps", &run(10), 197.7616, 1e-2);
    assert_sum("lcm, 10 steps, own", &run(10), 197.761_639, 3e-3);
}
