//! Both ends of time, both directions, and what is refused.

use crate::problems::{Exploding, flow, gaussian};
use advect_core::{State, TimeGrid, Times, Tolerance, WhiteNoise, shared};
use advect_diffusion::{
    AdaptiveDpm, Ddim, Denoiser, DpmPair, Ended, LangevinCorrected, Restarted, Terminal, denoised, diffusion_methods,
    diffusion_sde_methods, few_step_methods,
};
use advect_paths::{Cosine, Edm, Linear, LinearVp, Prediction, Predictor, Schedule, SourceLaw, Vp};
use advect_solvers::{PiController, Stepper, solve};
use std::sync::Arc;

type Model<'a> = dyn Denoiser<f64> + 'a;

/// Every sampler of the crate.
fn samplers() -> Vec<(String, Box<dyn Stepper<Model<'static>, f64>>)> {
    let noise = || WhiteNoise::new(2, vec![0]);
    let tolerance = Tolerance::new(1e-6, 1e-6).unwrap();
    let mut list: Vec<(String, Box<dyn Stepper<Model<'static>, f64>>)> = diffusion_methods::<Model<'static>, f64>()
        .iter()
        .chain(&diffusion_sde_methods(noise()))
        .chain(&few_step_methods(noise()))
        .map(|entry| (entry.method.name.to_owned(), entry.stepper()))
        .collect();
    for (name, pair) in [("adaptive-12", DpmPair::OneTwo), ("adaptive-23", DpmPair::TwoThree)] {
        list.push((name.to_owned(), Box::new(AdaptiveDpm::new(pair, tolerance, PiController::standard()))));
    }
    list.push(("ended".to_owned(), Box::new(Ended::new(Ddim, Terminal::Mean))));
    list.push(("restarted".to_owned(), Box::new(Restarted::new(Ddim, (0.3, 0.6), 2, 2, noise()).unwrap())));
    list.push(("langevin".to_owned(), Box::new(LangevinCorrected::new(Ddim, 1, 0.16, noise()).unwrap())));
    list
}

#[test]
fn from_noise_alone_to_data_alone_nothing_is_left_over_on_any_schedule() {
    // Data at one point, 3: whatever noise is added, every sampler must end there, to round-off.
    let schedules: [(&str, Arc<dyn Schedule>); 6] = [
        ("linear", Arc::new(Linear)),
        ("cosine", Arc::new(Cosine)),
        ("linear-vp", Arc::new(LinearVp)),
        ("vp", Arc::new(Vp::default())),
        ("exploding", Arc::new(Exploding { max: 80.0 })),
        ("edm", Arc::new(Edm::new(0.0, 80.0, 7.0).unwrap())),
    ];
    for (name, schedule) in schedules {
        let noisiest = schedule.at(0.0);
        for prediction in [Prediction::Data, Prediction::Velocity, Prediction::Noise, Prediction::Score] {
            // At noise alone neither noise nor score shows the data.
            let readable = noisiest.alpha > 0.0 || matches!(prediction, Prediction::Data | Prediction::Velocity);
            if !readable {
                continue;
            }
            let path = schedule.clone();
            let field = shared(move |x: f64, t: f64| {
                let c = path.at(t);
                let noise = (x - 3.0 * c.alpha) / c.sigma;
                match prediction {
                    Prediction::Velocity => 3.0 * c.d_alpha + noise * c.d_sigma,
                    Prediction::Noise => noise,
                    Prediction::Score => -noise / c.sigma,
                    _ => 3.0,
                }
            });
            let schedule = schedule.clone();
            let model = Predictor { field, prediction, schedule, source: SourceLaw::GaussianIndependent };
            let model: &Model<'static> = &model;
            for (method, mut sampler) in samplers() {
                for steps in [1, 2, 7] {
                    let start = noisiest.alpha * 3.0 - 0.7 * noisiest.sigma;
                    let end = solve(model, &mut sampler, start, &TimeGrid::uniform(0.0, 1.0, steps).unwrap());
                    let end = end.unwrap_or_else(|e| panic!("{method}, {name}, {prediction}, {steps}: {e}"));
                    assert!((end - 3.0).abs() < 1e-8, "{method}, {name}, {prediction}, {steps} steps: {end}");
                }
            }
        }
    }
}

#[test]
fn what_a_schedule_leaves_over_is_taken_off() {
    // Data N(0.7, 0.5^2) at a noise of 0.3: Tweedie's mean by hand.
    let edm = Edm::new(0.3, 10.0, 7.0).unwrap();
    let model = gaussian(edm, Prediction::Noise);
    let model: &dyn Denoiser<f64> = &model;
    let end = solve(model, Ddim, 7.0, &TimeGrid::uniform(0.0, 1.0, 50).unwrap()).unwrap();
    let mean = (0.25 * end + 0.09 * 0.7) / (0.25 + 0.09);
    assert!((denoised(model, &end, 1.0).unwrap() - mean).abs() < 1e-12);
    assert!(denoised(model, &end, 1.1).is_err());
}

#[test]
fn the_euler_policy_is_an_euler_step_of_the_velocity() {
    let model = gaussian(Cosine, Prediction::Data);
    let model: &dyn Denoiser<f64> = &model;
    let grid = TimeGrid::new(vec![0.6, 1.0]).unwrap();
    let euler = solve(model, Ended::new(Ddim, Terminal::Euler), 0.4, &grid).unwrap();
    let c = Cosine.at(0.6);
    let u = crate::problems::DATA.velocity(crate::problems::affine(c), 0.4);
    assert!((euler - (0.4 + 0.4 * u)).abs() < 1e-12);
    let mean = solve(model, Ended::new(Ddim, Terminal::Mean), 0.4, &grid).unwrap();
    assert!((mean - crate::problems::DATA.data(crate::problems::affine(c), 0.4)).abs() < 1e-12);
    // Elsewhere the sampler makes the step.
    let grid = TimeGrid::new(vec![0.6, 0.9]).unwrap();
    let ended = solve(model, Ended::new(Ddim, Terminal::Euler), 0.4, &grid).unwrap();
    assert_eq!(ended, solve(model, Ddim, 0.4, &grid).unwrap());
}

#[test]
fn inversion_goes_from_data_to_noise_and_back() {
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &Model<'static> = &model;
    let up = crate::problems::both_ends(200);
    let down = TimeGrid::new(up.points().iter().rev().copied().collect()).unwrap();
    let exact = flow(&Linear, 0.0, 1.0, 0.4);
    for entry in diffusion_methods::<Model<'static>, f64>() {
        let noise = solve(model, entry.stepper(), exact, &down).unwrap();
        let data = solve(model, entry.stepper(), noise, &up).unwrap();
        let bound = if entry.method.order == 1.0 { 2e-2 } else { 1e-3 };
        let name = entry.method.name;
        assert!((noise - 0.4).abs() < bound, "{name} inverts {exact} to {noise} instead of 0.4");
        assert!((data - exact).abs() < bound, "{name} comes back to {data} instead of {exact}");
    }
}

#[test]
fn what_cannot_be_done_is_a_typed_error() {
    let model = gaussian(Linear, Prediction::Noise);
    let model: &Model<'static> = &model;
    // At noise alone a noise prediction says nothing of the data.
    for (name, mut sampler) in samplers() {
        let error = sampler.step(model, 0.3, &Times::Shared(0.0), &Times::Shared(0.5)).unwrap_err();
        assert!(error.to_string().contains("cannot be read off the noise at t = 0"), "{name}: {error}");
        let error = sampler.step(model, 0.3, &Times::Shared(0.5), &Times::Shared(1.5)).unwrap_err();
        assert!(error.to_string().contains("outside [0, 1]"), "{name}: {error}");
    }
    let model = gaussian(Linear, Prediction::Noise);
    let rows = Times::Each(vec![0.2, 0.3]);
    let error = Ddim.step(&model, vec![0.1, 0.2], &rows, &Times::Shared(0.5)).unwrap_err();
    assert!(error.to_string().contains("different times") || error.to_string().contains("rows stand at"), "{error}");
    let same = Ddim.step(&model, vec![0.1, 0.2], &Times::Each(vec![0.2, 0.2]), &Times::Shared(0.5)).unwrap();
    assert!(same.x.all_finite() && same.at.reached(&Times::Shared(0.5)));
    // A field that returns NaN.
    let broken = Predictor {
        field: |_x: f64, _t: &Times| f64::NAN,
        prediction: Prediction::Data,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let broken: &Model<'static> = &broken;
    for (name, mut sampler) in samplers() {
        let error = sampler.step(broken, 0.3, &Times::Shared(0.2), &Times::Shared(0.5)).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{name}: {error}");
    }
}

#[test]
fn the_adaptive_sampler_keeps_its_tolerance() {
    let model = gaussian(Linear, Prediction::Velocity);
    let exact = flow(&Linear, 0.0, 1.0, -1.3);
    let grid = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    for pair in [DpmPair::OneTwo, DpmPair::TwoThree] {
        let mut last = f64::INFINITY;
        for tolerance in [1e-3, 1e-5, 1e-7] {
            let bound = Tolerance::new(tolerance, tolerance).unwrap();
            let mut sampler = AdaptiveDpm::new(pair, bound, PiController::standard());
            let error = (solve(&model, &mut sampler, -1.3, &grid).unwrap() - exact).abs();
            assert!(error < 3.0 * tolerance && error < last, "{pair:?} {tolerance}: {error}");
            assert!(sampler.accepted() > 3 && sampler.rejected() > 0, "{pair:?}");
            last = error;
        }
    }
    // It stops where the grid says, and runs down too.
    let mut sampler =
        AdaptiveDpm::new(DpmPair::TwoThree, Tolerance::new(1e-7, 1e-7).unwrap(), PiController::standard());
    let grid = TimeGrid::new(vec![0.9, 0.5, 0.2]).unwrap();
    let end = solve(&model, &mut sampler, 0.4, &grid).unwrap();
    assert!((end - flow(&Linear, 0.9, 0.2, 0.4)).abs() < 1e-5);
}

#[test]
fn the_examples_hold() {
    // Those of the crate and of its README.
    let model = Predictor {
        field: shared(|x: f64, t: f64| (2.0 * t - 1.0) / (t * t + (1.0 - t) * (1.0 - t)) * x),
        prediction: Prediction::Velocity,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let x = solve(&model, Ddim, 0.8, &TimeGrid::uniform(0.0, 1.0, 100).unwrap()).unwrap();
    assert!((x - 0.8).abs() < 0.02, "{x}");
    let sampler = advect_diffusion::DpmSolverPpMultistep::new(advect_diffusion::Order::Two);
    let x = solve(&model, sampler, 0.8, &TimeGrid::uniform(0.0, 1.0, 40).unwrap()).unwrap();
    assert!((x - 0.8).abs() < 0.01, "{x}");
}
