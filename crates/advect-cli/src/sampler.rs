//! From a network to samples: noise by id, guidance, a solver, the data's own units.

use crate::args::NoiseName;
use crate::error::CliError;
use crate::grids::GridName;
use crate::latent::Decoder;
use crate::path::PathConfig;
use crate::solvers::{Diffusion, Model, Solver, SolverName, Velocity, controlled, list};
use crate::task::SAMPLE_NOISE;
use advect::core::{DeviceNoise, WhiteNoise};
use advect::data::Units;
use advect::diffusion::Preconditioned;
use advect::guidance::Paired;
use advect::paths::Schedule;
use advect::prelude::*;
use advect::solvers::Stepper;
use std::{sync::Arc, time::Instant};

/// Frames of a trajectory at most.
const FRAMES: usize = 48;

/// How to solve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Method {
    Fixed {
        solver: SolverName,
        steps: usize,
        grid: GridName,
    },
    /// Every sample with its own steps, so that results do not depend on the batch.
    Adaptive {
        solver: SolverName,
        tolerance: Tolerance,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    pub(crate) count: usize,
    /// The class of each sample.
    pub(crate) classes: Option<Vec<usize>>,
    pub(crate) null_class: usize,
    pub(crate) guidance: f64,
    pub(crate) method: Method,
    pub(crate) seed: u64,
    /// Who draws the noise.
    pub(crate) noise: NoiseName,
    pub(crate) batch: usize,
    pub(crate) span: [f64; 2],
    pub(crate) path: &'a PathConfig,
    pub(crate) shape: Vec<usize>,
    /// For a model of latents: what makes images of them.
    pub(crate) decoder: Option<&'a Decoder>,
    pub(crate) units: Units,
    pub(crate) device: Device,
    /// What the network computes in.
    pub(crate) precision: Precision,
    /// Keep the states on the way.
    pub(crate) frames: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Samples {
    /// One after the other, in the data's units, unclipped.
    pub(crate) values: Vec<f32>,
    /// The same at times on the way, if asked for; the last frame is `values`.
    pub(crate) frames: Vec<Vec<f32>>,
    pub(crate) classes: Option<Vec<usize>>,
    /// Evaluations of the network a sample; guidance counts once.
    pub(crate) evaluations: f64,
    pub(crate) seconds: f64,
}

/// Draws the samples, `batch` at a time. `progress` hears how many are done.
pub(crate) fn sample<N: Backbone<D>, const D: usize>(
    network: &N,
    request: &Request<'_>,
    mut progress: impl FnMut(usize),
) -> Result<Samples, CliError> {
    let started = Instant::now();
    let mut evaluated = 0;
    let grid = grid(request)?;
    let network = &request.precision.network(network);
    if request.noise == NoiseName::Device {
        request.device.seed(request.seed);
    }
    let mut frames: Vec<Vec<f32>> = Vec::new();
    let mut values = Vec::new();
    for start in (0..request.count).step_by(request.batch) {
        let end = (start + request.batch).min(request.count);
        let ids: Vec<u64> = (start as u64..end as u64).collect();
        let shape: [usize; D] = std::array::from_fn(|i| if i == 0 { end - start } else { request.shape[i - 1] });
        let noise = match request.noise {
            NoiseName::Host => NoiseKey::new(request.seed, SAMPLE_NOISE).normal(&ids, 0, shape, &request.device),
            NoiseName::Device => DeviceNoise.normal(shape, &request.device),
        };
        let noise = match request.path.start_scale(grid.start())? {
            Some(scale) => noise * scale,
            None => noise,
        };
        let classes = request.classes.as_ref().map(|classes| classes[start..end].to_vec());
        let (states, rows) = transport(network, request, noise, ids, classes, &grid)?;
        evaluated += rows;
        if request.frames {
            frames.resize_with(states.len(), Vec::new);
        }
        let last = states.len() - 1;
        for (k, state) in states.into_iter().enumerate() {
            let drawn = match request.decoder {
                Some(decoder) => request.units.to_data(decoder.images(state)).try_into_vec_as::<f32>(),
                None => request.units.to_data(state).try_into_vec_as::<f32>(),
            };
            let drawn = drawn.map_err(|_| CliError::failure("cannot read the samples back from the device"))?;
            if request.frames {
                frames[k].extend(&drawn);
            }
            if k == last {
                values.extend(drawn);
            }
        }
        progress(end);
    }
    Ok(Samples {
        values,
        frames,
        classes: request.classes.clone(),
        evaluations: evaluated as f64 / request.count as f64,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Fixed steps stop at each of theirs; an adaptive solver only where a frame is wanted.
fn grid(request: &Request<'_>) -> Result<TimeGrid, CliError> {
    let [from, to] = request.span;
    let steps = match request.method {
        Method::Fixed { steps, grid, .. } => return grid.points(&request.path.schedule()?, steps, request.span),
        Method::Adaptive { .. } if request.frames => FRAMES,
        Method::Adaptive { .. } => 1,
    };
    Ok(TimeGrid::uniform(from, to, steps)?)
}

/// The states, and how many rows were evaluated for them, those of rows that left the batch included. Guidance counts once.
fn transport<N: Backbone<D>, const D: usize>(
    network: &N,
    request: &Request<'_>,
    noise: Tensor<D>,
    ids: Vec<u64>,
    classes: Option<Vec<usize>>,
    grid: &TimeGrid,
) -> Result<(Vec<Tensor<D>>, u64), CliError> {
    let rows = noise.dims()[0];
    let conditioned = |classes| Conditioned::new(network, classes).computing_in(request.precision.dtype());
    match classes {
        Some(mut classes) if request.guidance != 1.0 => {
            // With and without the label in one batch: a card is asked once.
            classes.extend(std::iter::repeat_n(request.null_class, rows));
            let guidance = request.guidance;
            let field = Counted::new(Paired::new(conditioned(Some(classes)), rows, move |_t: f64| guidance));
            Ok((scaled(field.clone(), request, noise, ids, grid)?, field.rows()))
        }
        classes => {
            let field = Counted::new(conditioned(classes));
            Ok((scaled(field.clone(), request, noise, ids, grid)?, field.rows()))
        }
    }
}

/// The network with the scaling that it was trained in.
fn scaled<F: RowField<Tensor<D>>, const D: usize>(
    field: F,
    request: &Request<'_>,
    noise: Tensor<D>,
    ids: Vec<u64>,
    grid: &TimeGrid,
) -> Result<Vec<Tensor<D>>, CliError> {
    match request.path.preconditioning() {
        None => integrate(field, request, noise, ids, grid),
        Some(preconditioning) => {
            let field = Preconditioned::new(field, preconditioning, request.path.schedule()?)?;
            integrate(field, request, noise, ids, grid)
        }
    }
}

/// Moves the noise along the solver's own reading of the network: its velocity, its SDE, or the network as it is.
fn integrate<F: RowField<Tensor<D>>, const D: usize>(
    field: F,
    request: &Request<'_>,
    noise: Tensor<D>,
    ids: Vec<u64>,
    grid: &TimeGrid,
) -> Result<Vec<Tensor<D>>, CliError> {
    let schedule: Arc<dyn Schedule> = request.path.schedule()?;
    let source = request.path.source()?;
    let predictor = Predictor { field, prediction: request.path.prediction(), schedule: Arc::clone(&schedule), source };
    let (start, end, frames) = (grid.start(), grid.end(), request.frames);
    let solver = match request.method {
        Method::Fixed { solver, .. } => solver,
        Method::Adaptive { solver, tolerance } => {
            let velocity = predictor.field(Prediction::Velocity, start, end)?;
            let stepper = controlled(solver, tolerance).ok_or_else(|| CliError::usage(solver))?;
            return run(&velocity, stepper, noise, grid, frames);
        }
    };
    let solvers = match request.noise {
        // Named by the samples: a sample's noise on the way does not depend on the batch.
        NoiseName::Host => list(&WhiteNoise::new(request.seed, ids)),
        NoiseName::Device => list(&DeviceNoise),
    };
    match solver.of(solvers)? {
        Solver::Velocity(entry) => {
            let velocity = predictor.field(Prediction::Velocity, start, end)?;
            run(&velocity as &Velocity<'_, _>, entry.stepper(), noise, grid, frames)
        }
        Solver::Sde(entry) => {
            // Of all diffusions with the right marginals one that vanishes with sigma, where the score has no value.
            let sde = predictor.sde(move |t| schedule.at(t).sigma, start, end)?;
            let sde: Diffusion<'_, _> = Sde { drift: Box::new(sde.drift), diffusion: Box::new(sde.diffusion) };
            run(&sde, entry.stepper(), noise, grid, frames)
        }
        Solver::Model(entry) => run(&predictor as &Model<'_, _>, entry.stepper(), noise, grid, frames),
    }
}

fn run<G: ?Sized, S: Stepper<G, Tensor<D>>, const D: usize>(
    generator: &G,
    stepper: S,
    x: Tensor<D>,
    grid: &TimeGrid,
    frames: bool,
) -> Result<Vec<Tensor<D>>, CliError> {
    if !frames {
        return Ok(vec![solve(generator, stepper, x, grid)?]);
    }
    // At most FRAMES of them, the first and the last always.
    let stride = grid.steps().div_ceil(FRAMES);
    let wanted = |k: usize| k == 0 || (grid.steps() - k).is_multiple_of(stride);
    let mut kept = Vec::new();
    for (k, state) in trajectory(generator, stepper, x, grid).enumerate() {
        let (_, state) = state?;
        if wanted(k) {
            kept.push(state);
        }
    }
    Ok(kept)
}
