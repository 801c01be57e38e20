//! The fitted multistep method.

use crate::field::{mixture, model, noise, pilot};
use advect_core::{TimeGrid, shared};
use advect_diffusion::{Ddim, FittedMultistep, Karras, Pilot, Spacing, Uniform};
use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
use advect_solvers::{RK4, SolveError, solve};

/// Data N(0.7, 0.25): the flow is affine.
fn velocity(x: Vec<f64>, t: f64) -> Vec<f64> {
    let variance = 0.25 * t * t + (1.0 - t) * (1.0 - t);
    let rate = (0.25 * t - (1.0 - t)) / variance;
    x.into_iter().map(|x| 0.7 + rate * (x - 0.7 * t)).collect()
}

#[test]
fn a_gaussian_is_fitted_exactly() {
    // The state and all predictions are multiples of x_0 up to a shift: two predictions span what is needed, so the fit
    // is exact for every x_0, in the closed form x_1 = 0.7 + 0.5 x_0.
    let field = shared(velocity);
    let fine = Uniform::FULL.grid(&Linear, 400).unwrap();
    let pilot = Pilot::new(&field, RK4.stepper(), vec![1.0, -0.4, 0.2], &fine).unwrap();
    let model =
        Predictor { field, prediction: Prediction::Velocity, schedule: Linear, source: SourceLaw::GaussianIndependent };
    for steps in [2, 4] {
        let fitted = FittedMultistep::fit(&model, &pilot, &Uniform::FULL.grid(&Linear, steps).unwrap(), 1e-13).unwrap();
        let x = solve(&model, fitted.stepper(), vec![2.3, -1.7], fitted.grid()).unwrap();
        assert!((x[0] - 1.85).abs() < 1e-6 && (x[1] + 0.15).abs() < 1e-6, "{steps}: {x:?}");
    }
}

#[test]
fn a_constant_prediction_is_integrated_exactly_whatever_was_fitted() {
    let mixture = mixture::<2>(4, 1.5);
    let pilot = pilot::<2>(&mixture, 1, 64);
    let grid = Karras::EDM.grid(&Linear, 6).unwrap();
    // The pilot starts at t = 0, not at 80.
    let points: Vec<f64> = std::iter::once(0.0).chain(grid.points()[1..].iter().copied()).collect();
    let grid = TimeGrid::new(points).unwrap();
    let fitted = FittedMultistep::fit(&model(&mixture, Prediction::Data), &pilot, &grid, 1e-8).unwrap();
    for (step, (on_start, weights)) in fitted.coefficients().iter().enumerate() {
        let t = grid.points()[step + 1];
        assert_eq!(weights.len(), step + 1);
        assert!((on_start - (1.0 - t)).abs() < 1e-12);
        assert!((weights.iter().sum::<f64>() - t).abs() < 1e-9);
    }
}

#[test]
fn fitted_beats_the_first_order_many_times_over_on_other_noise() {
    let mixture = mixture::<64>(6, 0.5);
    let fine = pilot::<64>(&mixture, 11, 16);
    let truth = pilot::<64>(&mixture, 12, 16);
    let model = model(&mixture, Prediction::Data);
    let fitted = FittedMultistep::search(&model, &fine, &[], 8, 40, 1e-8).unwrap();
    let ours = truth.error(&solve(&model, fitted.stepper(), truth.start().clone(), fitted.grid()).unwrap());
    let ddim =
        truth.error(&solve(&model, Ddim, truth.start().clone(), &Karras::EDM.grid(&Linear, 8).unwrap()).unwrap());
    println!("fitted {ours:.6} (pilot {:.6}), DDIM {ddim:.6}", fitted.error());
    assert!(ours < 0.1 * ddim, "{ours} vs {ddim}");
}

#[test]
fn what_it_cannot_do_is_an_error() {
    let mixture = mixture::<2>(3, 1.0);
    let pilot = pilot::<2>(&mixture, 1, 8);
    let model = model(&mixture, Prediction::Data);
    let grid = Uniform::FULL.grid(&Linear, 4).unwrap();
    let fitted = FittedMultistep::fit(&model, &pilot, &grid, 1e-8).unwrap();
    let x = noise::<2>(2, 3);
    let other = Uniform::FULL.grid(&Linear, 5).unwrap();
    let message = solve(&model, fitted.stepper(), x.clone(), &other).unwrap_err().to_string();
    assert!(message.contains("FittedMultistep::grid"), "{message}");
    // From the middle, and past the end.
    let part = TimeGrid::new(vec![0.25, 0.5]).unwrap();
    assert!(solve(&model, fitted.stepper(), x, &part).is_err());
    for (grid, ridge) in
        [(Uniform::new(0.1, 1.0), 1e-8), (Uniform::new(0.0, 0.9), 1e-8), (Uniform::new(0.0, 1.0), -1.0)]
    {
        let grid = grid.unwrap().grid(&Linear, 3).unwrap();
        assert!(matches!(FittedMultistep::fit(&model, &pilot, &grid, ridge), Err(SolveError::Generator(_))));
    }
}
