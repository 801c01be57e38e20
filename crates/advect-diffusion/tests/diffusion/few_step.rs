//! Samplers of models that jump. A consistency function is known exactly for Gaussian data: it is the flow to the end.

use crate::problems::{Basis, Exploding, Law, affine, both_ends, flow, gaussian};
use advect_analytic::gaussian::Gaussian;
use advect_core::{Field, TimeGrid, Times, WhiteNoise};
use advect_diffusion::{Consistency, Coordinates, Ddim, Denoiser, Tcd, few_step_methods};
use advect_paths::{Edm, Linear, Prediction, Predictor, Schedule, SourceLaw, Vp};
use advect_solvers::{Stepper, solve};

/// The consistency function of data N(0, 1/4): from any time to the end of the path.
#[derive(Clone)]
struct Flow<S>(S);

const DATA: Gaussian = Gaussian { mean: 0.0, std: 0.5 };

impl<S: Schedule> Field<Law> for Flow<S> {
    fn eval(&self, x: Law, t: &Times) -> Law {
        let (now, end) = (affine(self.0.at(t.at(0))), affine(self.0.at(1.0)));
        Law(x.0.into_iter().map(|x| DATA.flow(now, end, x)).collect())
    }
}

fn model<S: Schedule + Clone>(schedule: S) -> Predictor<Flow<S>, S> {
    let field = Flow(schedule.clone());
    Predictor { field, prediction: Prediction::Data, schedule, source: SourceLaw::GaussianIndependent }
}

/// The variance of the samples over a grid, from the exact law at its start.
fn variance<S>(schedule: S, stepper: impl Stepper<dyn Denoiser<Law>, Law>, grid: &TimeGrid) -> f64
where
    S: Schedule + Clone + 'static,
{
    let model = model(schedule);
    let at = Coordinates::at(&model.schedule, grid.start());
    let start = Law(vec![(at.alpha * DATA.std).hypot(at.sigma)]);
    solve(&model as &dyn Denoiser<Law>, stepper, start, grid).unwrap().0.iter().map(|v| v * v).sum()
}

#[test]
fn a_consistency_function_is_sampled_exactly_in_law_in_any_number_of_steps() {
    // At the end, and where a solve stops before it; on a path that ends in data, and on one that ends in noise.
    let edm = Edm::new(0.05, 20.0, 7.0).unwrap();
    for steps in [1, 2, 5] {
        for end in [0.7, 1.0] {
            let grid = TimeGrid::uniform(0.0, end, steps).unwrap();
            for (name, got, at) in [
                ("linear", variance(Linear, Consistency::new(Basis::default()), &grid), Linear.at(end)),
                ("edm", variance(edm, Consistency::new(Basis::default()), &grid), edm.at(end)),
                ("vp", variance(Vp::default(), Consistency::new(Basis::default()), &grid), Vp::default().at(end)),
            ] {
                let wanted = (at.alpha * DATA.std).powi(2) + at.sigma * at.sigma;
                assert!((got - wanted).abs() < 1e-12, "{name}, {steps} steps to {end}: {got} {wanted}");
            }
        }
    }
}

#[test]
fn a_denoiser_is_not_a_consistency_function() {
    // On the plain denoiser the samples keep too little variance however many steps there are: order 0.
    let model: &dyn Denoiser<Law> = &Predictor {
        field: CenteredDenoiser,
        prediction: Prediction::Data,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let got = |n: usize| {
        let end = solve(model, Consistency::new(Basis::default()), Law(vec![1.0]), &both_ends(n)).unwrap();
        end.0.iter().map(|v| v * v).sum::<f64>()
    };
    let (few, many) = (got(16), got(64));
    assert!(few < 0.2 && many < 0.2, "{few} {many}");
}

/// E[x_1 | x] of the same data on the linear path.
struct CenteredDenoiser;

impl Field<Law> for CenteredDenoiser {
    fn eval(&self, x: Law, t: &Times) -> Law {
        let at = affine(Linear.at(t.at(0)));
        Law(x.0.into_iter().map(|x| DATA.data(at, x)).collect())
    }
}

#[test]
fn the_noise_of_a_step_is_that_of_the_papers() {
    // Data at zero on the linear path, from 0.3 to 0.6. Consistency: all noise is fresh, 0.4. TCD with gamma = 1/4:
    // the jump goes to a way left of 0.3, and noise back to 0.4 keeps the share 0.6/0.7 of it.
    let grid = TimeGrid::new(vec![0.3, 0.6]).unwrap();
    let model = Predictor {
        field: |x: Law, _t: &Times| Law(vec![0.0; x.0.len()]),
        prediction: Prediction::Data,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    let end = solve(&model, Consistency::new(Basis::default()), Law(vec![0.7]), &grid).unwrap();
    assert!(end.0[0].abs() < 1e-15 && (end.0[1].abs() - 0.4).abs() < 1e-15, "{:?}", end.0);
    let end = solve(&model, Tcd::new(0.25, Basis::default()).unwrap(), Law(vec![0.7]), &grid).unwrap();
    let kept = 0.3 * 0.6 / 0.7;
    assert!((end.0[0] - kept).abs() < 1e-15, "{:?}", end.0);
    assert!((end.0[1].powi(2) - (0.16 - kept * kept)).abs() < 1e-15, "{:?}", end.0);
}

#[test]
fn tcd_lies_between_ddim_and_consistency_sampling() {
    let model = gaussian(Linear, Prediction::Velocity);
    let model: &dyn Denoiser<f64> = &model;
    let noise = || WhiteNoise::new(5, vec![3]);
    let grid = both_ends(6);
    let run = |gamma| solve(model, Tcd::new(gamma, noise()).unwrap(), -1.3, &grid).unwrap();
    let ddim = solve(model, Ddim, -1.3, &grid).unwrap();
    let consistency = solve(model, Consistency::new(noise()), -1.3, &grid).unwrap();
    assert!((run(0.0) - ddim).abs() < 1e-14 && (run(1.0) - consistency).abs() < 1e-14);
    assert!((run(0.3) - ddim).abs() > 1e-3 && (run(0.3) - consistency).abs() > 1e-3);
    // One step has no noise: with a consistency function it is that function.
    let once = TimeGrid::uniform(0.0, 1.0, 1).unwrap();
    let exact = |x: f64, t: &Times| flow(&Linear, t.at(0), 1.0, x);
    let model = Predictor {
        field: exact,
        prediction: Prediction::Data,
        schedule: Linear,
        source: SourceLaw::GaussianIndependent,
    };
    for entry in few_step_methods(noise()) {
        let end: f64 = solve(&model as &dyn Denoiser<f64>, entry.stepper(), -1.3, &once).unwrap();
        assert!((end - flow(&Linear, 0.0, 1.0, -1.3)).abs() < 1e-14, "{}", entry.method.name);
    }
    for gamma in [-0.1, 1.1, f64::NAN] {
        let error = Tcd::new(gamma, noise()).unwrap_err();
        assert!(error.to_string().contains("gamma") && error.to_string().contains("[0, 1]"), "{error}");
    }
}

#[test]
fn a_sample_does_not_depend_on_its_batch() {
    let model = gaussian(Exploding { max: 20.0 }, Prediction::Data);
    let model: &dyn Denoiser<Vec<f64>> = &model;
    let grid = TimeGrid::uniform(0.0, 1.0, 4).unwrap();
    let all = |ids: Vec<u64>| few_step_methods::<dyn Denoiser<Vec<f64>>, Vec<f64>, _>(WhiteNoise::new(3, ids));
    for (many, few) in all(vec![10, 11, 12]).iter().zip(&all(vec![12, 10])) {
        let whole = solve(model, many.stepper(), vec![3.0, -12.0, 8.0], &grid).unwrap();
        let part = solve(model, few.stepper(), vec![8.0, 3.0], &grid).unwrap();
        assert_eq!(part, [whole[2], whole[0]], "{}", many.method.name);
    }
}

#[test]
fn a_step_needs_a_gaussian_source_and_runs_toward_the_data() {
    let mut model = gaussian(Linear, Prediction::Velocity);
    for entry in few_step_methods(WhiteNoise::new(1, vec![0])) {
        let step = entry.stepper().step(&model as &dyn Denoiser<f64>, 0.1, &Times::Shared(0.5), &Times::Shared(0.4));
        assert!(step.unwrap_err().to_string().contains("toward the noise"));
    }
    model.source = SourceLaw::Other;
    for entry in few_step_methods(WhiteNoise::new(1, vec![0])) {
        let step = entry.stepper().step(&model as &dyn Denoiser<f64>, 0.1, &Times::Shared(0.4), &Times::Shared(0.5));
        assert!(step.unwrap_err().to_string().contains("score"), "{}", entry.method.name);
    }
}
