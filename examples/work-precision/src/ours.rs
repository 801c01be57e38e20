//! What of ours is measured.

use crate::field::{Model, Problem, Rows, errors};
use crate::row::Row;
use advect_core::{Counted, TimeGrid};
use advect_diffusion::{
    Beta, CosineSpacing, Exponential, FittedMultistep, Karras, Quadratic, Shifted, SigmaRange, Spacing, Uniform,
    diffusion_methods, local_error_grid, optimize_grid,
};
use advect_paths::Linear;
use advect_solvers::{Method, Stepper, ode_methods, solve};
use std::error::Error;

/// Evaluations allowed.
const BUDGETS: [u64; 9] = [5, 6, 8, 10, 12, 15, 20, 30, 40];
/// Those for which grids and coefficients are searched.
const SEARCHED: [u64; 5] = [5, 10, 20, 8, 15];
/// Solves of the pilot batch that a search may take.
const SOLVES: usize = 120;

/// The published grids.
#[allow(clippy::type_complexity)]
fn grids() -> Result<Vec<(&'static str, Box<dyn Spacing>)>, Box<dyn Error>> {
    let range = SigmaRange::new(0.01, 80.0)?;
    Ok(vec![
        ("uniform", Box::new(Uniform::FULL)),
        ("karras", Box::new(Karras::EDM)),
        ("karras-short", Box::new(Karras::new(SigmaRange::new(0.05, 20.0)?, 7.0)?)),
        ("exponential", Box::new(Exponential::new(range))),
        ("exponential-short", Box::new(Exponential::new(SigmaRange::new(0.05, 20.0)?))),
        ("beta", Box::new(Beta::default())),
        ("cosine", Box::new(CosineSpacing)),
        ("quadratic", Box::new(Quadratic::FULL)),
        ("shift-3", Box::new(Shifted::new(3.0)?)),
    ])
}

/// A grid that begins at noise alone, where the test batch begins: the first of its levels is moved there.
fn from_noise(spacing: &dyn Spacing, steps: usize) -> Result<TimeGrid, Box<dyn Error>> {
    let grid = spacing.grid(&Linear, steps)?;
    Ok(TimeGrid::new(std::iter::once(0.0).chain(grid.points()[1..].iter().copied()).collect())?)
}

/// All measurements of one problem.
pub(crate) fn measure<const D: usize>(problem: &Problem<D>) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let published = grids()?;
    for budget in BUDGETS {
        for (grid, spacing) in &published {
            for entry in diffusion_methods::<Model, Rows<D>>() {
                if let Some(steps) = steps(budget, &entry.method) {
                    let points = from_noise(spacing, steps)?;
                    rows.push(sampled(problem, entry.method.name, grid, &points, || entry.stepper())?);
                }
            }
            rows.extend(runge_kutta(problem, grid, spacing, budget)?);
        }
    }
    eprintln!("{D}-D: {} measurements on published grids", rows.len());
    for budget in SEARCHED {
        searched(problem, budget, &mut rows)?;
        eprintln!("{D}-D: searches for {budget} evaluations done");
    }
    Ok(rows)
}

/// The steps that a budget of evaluations pays for.
fn steps(budget: u64, method: &Method) -> Option<usize> {
    let steps = (budget as f64 / method.evaluations) as usize;
    (steps > 0).then_some(steps)
}

/// The methods of advect-solvers on the velocity.
fn runge_kutta<const D: usize>(
    problem: &Problem<D>,
    grid: &str,
    spacing: &dyn Spacing,
    budget: u64,
) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for entry in ode_methods::<Counted<crate::field::Exact>, Rows<D>>() {
        let Some(steps) = steps(budget, &entry.method) else { continue };
        let points = from_noise(spacing, steps)?;
        let run = |start: &Rows<D>| -> Result<_, Box<dyn Error>> {
            let field = problem.velocity();
            let end = solve(&field, entry.stepper(), start.clone(), &points)?;
            Ok((field.calls(), end))
        };
        rows.push(row(problem, entry.method.name, grid, run)?);
    }
    Ok(rows)
}

/// Grids and coefficients made for the model, on the pilot batch.
fn searched<const D: usize>(problem: &Problem<D>, budget: u64, rows: &mut Vec<Row>) -> Result<(), Box<dyn Error>> {
    let model = problem.model();
    for entry in diffusion_methods::<Model, Rows<D>>() {
        let Some(steps) = steps(budget, &entry.method).filter(|&steps| steps > 1) else { continue };
        let guesses = [
            local_error_grid(&model, entry.stepper(), &problem.pilot.thinned(6), steps)?,
            from_noise(&Exponential::new(SigmaRange::new(0.02, 20.0)?), steps)?,
        ];
        let found = optimize_grid(&model, entry.stepper(), &problem.pilot, &guesses, steps, SOLVES)?;
        for (name, grid) in [("local-errors", &guesses[0]), ("optimized", &found.grid)] {
            rows.push(sampled(problem, entry.method.name, name, grid, || entry.stepper())?);
        }
    }
    let steps = usize::try_from(budget)?;
    let guess = from_noise(&Exponential::new(SigmaRange::new(0.02, 20.0)?), steps)?;
    let fitted = FittedMultistep::search(&model, &problem.pilot, &[guess], steps, SOLVES, 1e-8)?;
    rows.push(sampled(problem, "fitted-multistep", "optimized", fitted.grid(), || fitted.stepper())?);
    Ok(())
}

/// A sampler of the denoiser on a grid.
fn sampled<const D: usize, S: Stepper<Model, Rows<D>>>(
    problem: &Problem<D>,
    method: &str,
    name: &str,
    grid: &TimeGrid,
    stepper: impl Fn() -> S,
) -> Result<Row, Box<dyn Error>> {
    row(problem, method, name, |start| {
        let model = problem.model();
        let end = solve(&model, stepper(), start.clone(), grid)?;
        Ok((model.field.calls(), end))
    })
}

/// What `run` costs from a start, and where it ends: for the test batch, and for the pilot by which it may be chosen.
fn row<const D: usize>(
    problem: &Problem<D>,
    method: &str,
    grid: &str,
    run: impl Fn(&Rows<D>) -> Result<(u64, Rows<D>), Box<dyn Error>>,
) -> Result<Row, Box<dyn Error>> {
    let (evaluations, end) = run(problem.test.start())?;
    let (error, median) = errors(&problem.test, &end);
    let (pilot, _) = errors(&problem.pilot, &run(problem.pilot.start())?.1);
    let (library, method, grid) = ("advect".into(), method.into(), grid.into());
    Ok(Row { library, dimension: D, method, grid, evaluations, error, median, pilot })
}
