//! Grids optimized on a pilot batch beat Karras' on other noise.

use crate::field::{mixture, model, noise, pilot};
use advect_analytic::diagonal_mixture::DiagonalMixture;
use advect_core::TimeGrid;
use advect_diffusion::{Ddim, Karras, Pilot, SigmaRange, Spacing, local_error_grid, optimize_grid};
use advect_paths::{Linear, Prediction};
use advect_solvers::solve;

/// The error on other noise than the pilot's.
fn judged<const D: usize>(mixture: &DiagonalMixture, truth: &Pilot<Vec<[f64; D]>>, grid: &TimeGrid) -> f64 {
    let end = solve(&model(mixture, Prediction::Data), Ddim, truth.start().clone(), grid).unwrap();
    truth.error(&end)
}

/// The best of Karras' grids over a table of smallest levels and powers: harder to beat than one of them.
fn best_karras<const D: usize>(mixture: &DiagonalMixture, truth: &Pilot<Vec<[f64; D]>>, steps: usize) -> f64 {
    let mut best = f64::INFINITY;
    for min in [0.002, 0.02, 0.1] {
        for rho in [3.0, 7.0] {
            let karras = Karras::new(SigmaRange::new(min, 80.0).unwrap(), rho).unwrap();
            best = best.min(judged(mixture, truth, &karras.grid(&Linear, steps).unwrap()));
        }
    }
    best
}

fn beats_karras<const D: usize>(mixture: &DiagonalMixture, rows: usize) {
    let fine = pilot::<D>(mixture, 11, rows);
    let coarse = fine.thinned(4);
    let truth = pilot::<D>(mixture, 12, rows);
    let model = model(mixture, Prediction::Data);
    for steps in [8, 12] {
        let karras = best_karras(mixture, &truth, steps);
        let local = local_error_grid(&model, Ddim, &coarse, steps).unwrap();
        let found = optimize_grid(&model, Ddim, &fine, std::slice::from_ref(&local), steps, 60).unwrap();
        let (local, global) = (judged(mixture, &truth, &local), judged(mixture, &truth, &found.grid));
        println!(
            "d = {D}, {steps} steps: karras {karras:.5}, local {local:.5}, end {global:.5} (pilot {:.5})",
            found.error
        );
        assert!(local < karras, "{D}-D, {steps} steps: local errors {local}, Karras {karras}");
        assert!(global < 0.9 * karras, "{D}-D, {steps} steps: optimized {global}, Karras {karras}");
        assert!(found.solves <= 80);
    }
}

#[test]
fn optimized_grids_beat_karras_in_two_dimensions() {
    beats_karras::<2>(&mixture::<2>(5, 2.0), 128);
}

#[test]
fn optimized_grids_beat_karras_in_64_dimensions() {
    beats_karras::<64>(&mixture::<64>(6, 0.5), 12);
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
