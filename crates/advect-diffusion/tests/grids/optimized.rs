//! Grids optimized on a pilot batch beat Karras' on other noise.

use crate::field::{Model, mixture, model, noise, pilot};
use advect_analytic::diagonal_mixture::DiagonalMixture;
use advect_core::TimeGrid;
use advect_diffusion::{
    Ddim, DpmSolverPpMultistep, Karras, Order, Pilot, SigmaRange, Spacing, UniPc, UniPcVariant, local_error_grid,
    optimize_grid,
};
use advect_paths::{Linear, Prediction};
use advect_solvers::{Stepper, solve};

type Rows<const D: usize> = Vec<[f64; D]>;

/// The error on other noise than the pilot's.
fn judged<const D: usize, S: Stepper<Model, Rows<D>>>(
    model: &Model,
    stepper: S,
    truth: &Pilot<Rows<D>>,
    grid: &TimeGrid,
) -> f64 {
    truth.error(&solve(model, stepper, truth.start().clone(), grid).unwrap())
}

/// The best of Karras' grids over a table of smallest levels and powers: harder to beat than one of them. All begin
/// at t = 0, where the truth does.
fn best_karras<const D: usize, S: Stepper<Model, Rows<D>>>(
    model: &Model,
    stepper: &mut S,
    truth: &Pilot<Rows<D>>,
    steps: usize,
) -> f64 {
    let mut best = f64::INFINITY;
    for min in [0.002, 0.02, 0.1] {
        for rho in [3.0, 7.0] {
            let karras = Karras::new(SigmaRange::new(min, 80.0).unwrap(), rho).unwrap().grid(&Linear, steps).unwrap();
            let points = std::iter::once(0.0).chain(karras.points()[1..].iter().copied()).collect();
            best = best.min(judged(model, &mut *stepper, truth, &TimeGrid::new(points).unwrap()));
        }
    }
    best
}

/// The mission of these grids: less error than Karras' at 8 and 12 evaluations, on noise that was not the pilot's.
fn beats_karras<const D: usize, S: Stepper<Model, Rows<D>>>(
    mixture: &DiagonalMixture,
    rows: usize,
    name: &str,
    mut stepper: S,
) {
    let fine = pilot::<D>(mixture, 11, rows);
    let coarse = fine.thinned(4);
    let truth = pilot::<D>(mixture, 12, rows);
    let model = model(mixture, Prediction::Data);
    for steps in [8, 12] {
        let karras = best_karras(&model, &mut stepper, &truth, steps);
        let local = local_error_grid(&model, &mut stepper, &coarse, steps).unwrap();
        let found = optimize_grid(&model, &mut stepper, &fine, std::slice::from_ref(&local), steps, 60).unwrap();
        let local = judged(&model, &mut stepper, &truth, &local);
        let global = judged(&model, &mut stepper, &truth, &found.grid);
        println!(
            "{name}, d = {D}, {steps}: karras {karras:.5}, local {local:.5}, end {global:.5} ({:.5})",
            found.error
        );
        assert!(global < 0.8 * karras, "{name}, {D}-D, {steps} steps: optimized {global}, Karras {karras}");
        assert!(local < 0.9 * karras, "{name}, {D}-D, {steps} steps: local errors {local}, Karras {karras}");
        assert!(found.solves <= 80);
    }
}

fn methods<const D: usize>(mixture: &DiagonalMixture, rows: usize) {
    beats_karras::<D, _>(mixture, rows, "ddim", Ddim);
    beats_karras::<D, _>(mixture, rows, "dpm-solver++ 2m", DpmSolverPpMultistep::new(Order::Two));
    beats_karras::<D, _>(mixture, rows, "unipc", UniPc::new(Order::Three, UniPcVariant::Bh2));
}

#[test]
fn optimized_grids_beat_karras_in_two_dimensions() {
    methods::<2>(&mixture::<2>(5, 2.0), 128);
}

#[test]
fn optimized_grids_beat_karras_in_64_dimensions() {
    methods::<64>(&mixture::<64>(6, 0.5), 12);
}

#[test]
fn a_pilot_of_one_step_has_one_grid() {
    let mixture = mixture::<2>(3, 1.0);
    let pilot = pilot::<2>(&mixture, 1, 4).thinned(1000);
    let model = model(&mixture, Prediction::Data);
    assert_eq!(local_error_grid(&model, Ddim, &pilot, 1).unwrap().points(), [0.0, 1.0]);
    assert!(local_error_grid(&model, Ddim, &pilot, 2).is_err());
    assert_eq!(optimize_grid(&model, Ddim, &pilot, &[], 1, 10).unwrap().grid.points(), [0.0, 1.0]);
    assert!(optimize_grid(&model, Ddim, &pilot, &[], 0, 10).is_err());
    assert_eq!(noise::<2>(1, 4), *pilot.start());
}
