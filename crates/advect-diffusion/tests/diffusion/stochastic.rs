//! Stochastic samplers. Where the data are Gaussian around zero every sampler is linear in its state and its noise, so
//! the law of what it draws is known exactly from its coefficients (`Law`), without sampling.

use crate::problems::{Basis, DATA, Exact, Law, both_ends, gaussian, inside};
use advect_analytic::gaussian::Gaussian;
use advect_analytic::order::{Fit, observed};
use advect_analytic::statistics::Estimate;
use advect_core::{BrownianPath, Gaussian as _, NoiseKey, Purpose, TimeGrid, Times, WhiteNoise};
use advect_diffusion::{
    Ancestral, Churn, Coordinates, Ddim, Denoiser, DpmSolverPpMultistep, EdmChurn, EdmHeun, LangevinCorrected, Order,
    Restarted, SaSolver, SdeDpmSolverPp, diffusion_sde_methods, renoise,
};
use advect_paths::{Linear, Prediction, Predictor, Schedule, SourceLaw, Vp};
use advect_solvers::{Stepper, solve};

/// Data N(0, std^2), exact, on a state that is a law.
fn centered<S: Schedule + Clone>(schedule: S, std: f64) -> Predictor<Exact<S>, S> {
    let field = Exact { data: Gaussian { mean: 0.0, std }, prediction: Prediction::Data, schedule: schedule.clone() };
    Predictor { field, prediction: Prediction::Data, schedule, source: SourceLaw::GaussianIndependent }
}

/// The variance of what a stepper draws over a grid, from the exact law at its start.
fn variance<S, M>(schedule: S, std: f64, stepper: M, grid: &TimeGrid) -> f64
where
    S: Schedule + Clone + 'static,
    M: Stepper<dyn Denoiser<Law>, Law>,
{
    let model = centered(schedule, std);
    let at = Coordinates::at(&model.schedule, grid.start());
    let start = Law(vec![((at.alpha * std).powi(2) + at.sigma * at.sigma).sqrt()]);
    let end = solve(&model as &dyn Denoiser<Law>, stepper, start, grid).unwrap();
    end.0.iter().map(|v| v * v).sum()
}

#[test]
fn with_data_at_one_point_every_step_has_the_exact_law() {
    let vp = Vp::default();
    let grid = inside(&vp, -2.0, 1.0, 5);
    let end = Coordinates::at(&vp, grid.end()).sigma.powi(2);
    for entry in diffusion_sde_methods(Basis::default()) {
        let got = variance(vp, 0.0, entry.stepper(), &grid);
        assert!((got - end).abs() < 1e-12, "{}: {got} {end}", entry.method.name);
    }
    let noise = Basis::default;
    let mut others: Vec<Box<dyn Stepper<dyn Denoiser<Law>, Law>>> = vec![
        Box::new(EdmChurn::new(Churn::new(2.0, 5).unwrap(), noise())),
        Box::new(EdmChurn::new(Churn::new(40.0, 5).unwrap().between(0.5, 3.0).unwrap(), noise())),
        Box::new(Restarted::new(Ddim, (0.3, 0.5), 3, 2, noise()).unwrap()),
    ];
    for tau in [0.3, 1.7] {
        others.push(Box::new(SdeDpmSolverPp::new(Order::Two, tau, noise()).unwrap()));
        others.push(Box::new(SdeDpmSolverPp::new(Order::Three, tau, noise()).unwrap()));
        others.push(Box::new(SaSolver::new(Order::Three, tau, noise()).unwrap()));
        others.push(Box::new(Ancestral::new(tau / 2.0, noise()).unwrap()));
    }
    for (i, stepper) in others.into_iter().enumerate() {
        let got = variance(vp, 0.0, stepper, &grid);
        assert!((got - end).abs() < 1e-12, "{i}: {got} {end}");
    }
}

#[test]
fn the_fresh_noise_of_a_step_is_that_of_the_papers() {
    // What is left of the noise at the start of one step on the linear path from 0.3 to 0.6: by hand, lambda from
    // ln(3/7) to ln(3/2), h = ln(7/2). Reverse SDE: fresh variance sigma'^2 (1 - e^(-2h)). DDPM the same, by its own
    // formula. Churn: none of the factors is shared.
    let grid = TimeGrid::new(vec![0.3, 0.6]).unwrap();
    let fresh = 0.16 * (1.0 - (2.0_f64 / 7.0).powi(2));
    for entry in diffusion_sde_methods(Basis::default()) {
        if entry.method.name == "edm-churn" {
            continue;
        }
        let model = centered(Linear, 0.0);
        let end = solve(&model as &dyn Denoiser<Law>, entry.stepper(), Law(vec![0.7]), &grid).unwrap();
        let got: f64 = end.0[1..].iter().map(|v| v * v).sum();
        assert!((got - fresh).abs() < 1e-12, "{}: {got} {fresh}", entry.method.name);
    }
    // tau = 1/2: 1 - e^(-h/2) = 1 - sqrt(2/7). eta = 1/2: a quarter of the variance.
    let model = centered(Linear, 0.0);
    let noise = Basis::default;
    let sde = SdeDpmSolverPp::new(Order::One, 0.5, noise()).unwrap();
    let end = solve(&model as &dyn Denoiser<Law>, sde, Law(vec![0.7]), &grid).unwrap();
    assert!((end.0[1].powi(2) - 0.16 * (1.0 - (2.0_f64 / 7.0).sqrt())).abs() < 1e-12);
    let eta = Ancestral::new(0.5, noise()).unwrap();
    let end = solve(&model as &dyn Denoiser<Law>, eta, Law(vec![0.7]), &grid).unwrap();
    assert!((end.0[1].powi(2) - fresh / 4.0).abs() < 1e-12);
    // Churn of a quarter: the level 7/3 becomes 35/12, then 2/3.
    let churn = EdmChurn::new(Churn::new(0.25, 1).unwrap().scaled(1.1).unwrap(), noise());
    let end = solve(&model as &dyn Denoiser<Law>, churn, Law(vec![0.7]), &grid).unwrap();
    let down = 0.6 * (2.0 / 3.0) / (35.0 / 12.0);
    assert!((end.0[0] - down * 7.0 / 3.0).abs() < 1e-12, "{:?}", end.0);
    assert!((end.0[1] - down * 1.1 * 7.0 / 3.0 * (1.25_f64.powi(2) - 1.0).sqrt()).abs() < 1e-12);
}

#[test]
fn langevin_corrections_have_the_stationary_law_of_their_recursion() {
    // Data at zero: the score is -x / s^2, a correction x (1 - 2 r^2) + 2 r s z: from variance s^2 to
    // s^2 ((1 - 2 r^2)^2 + 4 r^2) = s^2 (1 + 4 r^4).
    let (r, grid) = (0.3_f64, TimeGrid::new(vec![0.3, 0.6]).unwrap());
    let stepper = LangevinCorrected::new(Ddim, 1, r, Basis::default()).unwrap();
    let got = variance(Linear, 0.0, stepper, &grid);
    assert!((got - 0.16 * (1.0 + 4.0 * r.powi(4))).abs() < 1e-12, "{got}");
    // Two of them, and none where sigma is zero.
    let stepper = LangevinCorrected::new(Ddim, 2, r, Basis::default()).unwrap();
    let factor = (1.0 - 2.0 * r * r).powi(2);
    let wanted = 0.16 * ((1.0 + 4.0 * r.powi(4)) * factor + 4.0 * r * r);
    assert!((variance(Linear, 0.0, stepper, &grid) - wanted).abs() < 1e-12);
    let stepper = LangevinCorrected::new(Ddim, 2, r, Basis::default()).unwrap();
    assert_eq!(variance(Linear, 0.0, stepper, &TimeGrid::uniform(0.0, 1.0, 3).unwrap()), 0.0);
}

/// The order in which the variance of the samples approaches that of the data.
fn weak_order(stepper: impl Fn() -> Box<dyn Stepper<dyn Denoiser<Law>, Law>>) -> Fit {
    observed(512, 2, |n| (variance(Linear, 0.5, stepper(), &both_ends(n)) - 0.25).abs())
}

#[test]
fn the_law_of_the_samples_converges_with_the_weak_order() {
    for entry in diffusion_sde_methods(Basis::default()) {
        let fit = weak_order(|| entry.stepper());
        let order = entry.method.weak_order.unwrap();
        assert!((fit.slope - order).abs() < 0.15, "{}: {}", entry.method.name, fit.slope);
    }
}

#[test]
fn samples_have_the_moments_of_the_data() {
    // n = 4000, seed 11; the standard error of a mean is 0.8% of the deviation, that of a variance 2.2% of it.
    let ids: Vec<u64> = (0..4000).collect();
    let start = vec![0.0; ids.len()].standard_normal(&mut |row| NoiseKey::new(11, Purpose::Source).rng(ids[row], 0));
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &dyn Denoiser<Vec<f64>> = &model;
    for entry in diffusion_sde_methods(WhiteNoise::new(11, ids.clone())) {
        // First-order methods are off by more than a standard error on fewer steps.
        let steps = if entry.method.weak_order == Some(1.0) { 200 } else { 40 };
        let end = solve(model, entry.stepper(), start.clone(), &both_ends(steps)).unwrap();
        let (mean, variance) = (Estimate::mean(&end), Estimate::variance(&end));
        let name = entry.method.name;
        assert!(mean.deviation(DATA.mean) < 4.0, "{name}: {mean:?}");
        assert!(variance.deviation(DATA.std * DATA.std) < 4.0, "{name}: {variance:?}");
    }
}

#[test]
fn on_one_path_the_strong_order_is_at_least_one() {
    // 64 samples, seed 5: the mean distance to the same method on 1024 steps of the same Brownian path.
    let vp = Vp::default();
    let ids: Vec<u64> = (0..64).collect();
    let start = vec![0.0; 64].standard_normal(&mut |row| NoiseKey::new(5, Purpose::Source).rng(ids[row], 0));
    let model = gaussian(vp, Prediction::Data);
    let model: &dyn Denoiser<Vec<f64>> = &model;
    let path = BrownianPath::new(5, ids, 0.0, 1.0, 14).unwrap();
    for entry in diffusion_sde_methods(path) {
        // Its noise is that of a step, not of a path.
        if entry.method.name == "edm-churn" {
            continue;
        }
        let end = |n: usize| solve(model, entry.stepper(), start.clone(), &inside(&vp, -1.0, 1.5, n)).unwrap();
        let fine = end(1024);
        let fit =
            observed(16, 3, |n| end(n).iter().zip(&fine).map(|(a, b)| (a - b).abs()).sum::<f64>() / fine.len() as f64);
        // The error of order one is small in methods of more than one prediction: coarse steps look better than it.
        assert!(fit.slope > entry.method.order - 0.15, "{}: {}", entry.method.name, fit.slope);
    }
}

#[test]
fn without_noise_they_are_the_deterministic_methods() {
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &dyn Denoiser<f64> = &model;
    let grid = both_ends(12);
    let run = |stepper: Box<dyn Stepper<dyn Denoiser<f64>, f64>>| solve(model, stepper, -1.3, &grid).unwrap();
    let noise = || WhiteNoise::new(1, vec![0]);
    let ddim = run(Box::new(Ddim));
    assert!((run(Box::new(Ancestral::new(0.0, noise()).unwrap())) - ddim).abs() < 1e-14);
    for order in [Order::One, Order::Two, Order::Three] {
        let wanted = run(Box::new(DpmSolverPpMultistep::new(order)));
        let got = run(Box::new(SdeDpmSolverPp::new(order, 0.0, noise()).unwrap()));
        assert!((got - wanted).abs() < 1e-14, "{order:?}");
    }
    let heun = run(Box::new(EdmHeun));
    assert_eq!(run(Box::new(EdmChurn::new(Churn::new(0.0, 12).unwrap(), noise()))), heun);
    // Outside the levels of churn too.
    let outside = Churn::new(40.0, 12).unwrap().between(1e9, 1e10).unwrap();
    assert_eq!(run(Box::new(EdmChurn::new(outside, noise()))), heun);
    let none = Restarted::new(Ddim, (0.3, 0.5), 3, 0, noise()).unwrap();
    assert!(grid.points().contains(&0.5), "so that the interval's end splits no step");
    assert_eq!(run(Box::new(none)), ddim);
    assert_eq!(run(Box::new(LangevinCorrected::new(Ddim, 0, 0.16, noise()).unwrap())), ddim);
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &dyn Denoiser<Vec<f64>> = &model;
    let start = vec![0.3, -1.2, 0.8, 1.9];
    let grid = both_ends(9);
    let all = |ids: Vec<u64>| {
        let noise = WhiteNoise::new(3, ids);
        let mut list: Vec<Box<dyn Stepper<dyn Denoiser<Vec<f64>>, Vec<f64>>>> =
            diffusion_sde_methods(noise.clone()).iter().map(|entry| entry.stepper()).collect();
        list.push(Box::new(Restarted::new(EdmHeun, (0.3, 0.6), 3, 2, noise.clone()).unwrap()));
        list.push(Box::new(LangevinCorrected::new(Ddim, 2, 0.16, noise).unwrap()));
        list
    };
    for (i, (many, few)) in all(vec![10, 11, 12, 13]).into_iter().zip(all(vec![13, 11])).enumerate() {
        let whole = solve(model, many, start.clone(), &grid).unwrap();
        let part = solve(model, few, vec![start[3], start[1]], &grid).unwrap();
        assert_eq!(part, [whole[3], whole[1]], "{i}");
    }
}

#[test]
fn restarts_keep_the_law_and_forget_errors() {
    // Fine steps keep the law of Gaussian data; coarse steps before the interval leave an error, which restarts reduce.
    let restarted = |repeats| Box::new(Restarted::new(EdmHeun, (0.2, 0.6), 20, repeats, Basis::default()).unwrap());
    let fine = variance(Linear, 0.5, restarted(2), &both_ends(200));
    assert!((fine - 0.25).abs() < 1e-3, "{fine}");
    let coarse = TimeGrid::new(vec![0.0, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0]).unwrap();
    let error = |repeats| (variance(Linear, 0.5, restarted(repeats), &coarse) - 0.25).abs();
    assert!(error(3) < error(0) / 4.0, "{} {}", error(3), error(0));
}

#[test]
fn noise_is_added_by_the_forward_process() {
    // Twice in a row is once: variances add up, alphas multiply.
    for schedule in [&Linear as &dyn Schedule, &Vp::default()] {
        let mut law = Law(vec![1.0, 0.0, 0.0]);
        law = renoise(schedule, law, &Law(vec![0.0, 1.0, 0.0]), 1.0, 0.7).unwrap();
        law = renoise(schedule, law, &Law(vec![0.0, 0.0, 1.0]), 0.7, 0.2).unwrap();
        let at = Coordinates::at(schedule, 0.2);
        assert!((law.0[0] - at.alpha).abs() < 1e-14);
        assert!((law.0[1].hypot(law.0[2]) - at.sigma).abs() < 1e-14);
    }
    assert!(renoise(&Linear, 1.0, &0.0, 0.2, 0.7).is_err());
    assert!(renoise(&Linear, 1.0, &0.0, 1.2, 0.7).is_err());
}

#[test]
fn a_stochastic_step_needs_a_score_and_runs_toward_the_data() {
    let mut model = gaussian(Linear, Prediction::Velocity);
    for entry in diffusion_sde_methods(WhiteNoise::new(1, vec![0])) {
        let model: &dyn Denoiser<f64> = &model;
        let mut stepper = entry.stepper();
        let step = stepper.step(model, 0.1, &Times::Shared(0.5), &Times::Shared(0.4));
        assert!(step.unwrap_err().to_string().contains("toward the noise"));
    }
    model.source = SourceLaw::Other;
    for entry in diffusion_sde_methods(WhiteNoise::new(1, vec![0])) {
        let model: &dyn Denoiser<f64> = &model;
        let step = entry.stepper().step(model, 0.1, &Times::Shared(0.4), &Times::Shared(0.5));
        assert!(step.unwrap_err().to_string().contains("score"), "{}", entry.method.name);
    }
}
