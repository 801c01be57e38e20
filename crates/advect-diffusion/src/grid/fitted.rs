use super::least_squares::Directions;
use super::optimize::search;
use super::{OptimizedGrid, Pilot};
use crate::denoiser::predict;
use crate::error::check;
use crate::{Coordinates, Denoiser};
use advect_core::{State, TimeGrid, Times};
use advect_paths::Prediction;
use advect_solvers::{SolveError, Step, Stepper, arrive};
use std::sync::Arc;

/// A linear multistep method whose coefficients were fitted to one model on one grid.
///
/// Like the non-stationary solvers of Shaul et al., 2024 ("Bespoke Non-Stationary Solvers"), every state
/// is a combination of the start and all data predictions so far, `x_i = (sigma_i / sigma_0) x_0 + sum_j b_ij D_j` (a
/// form that holds all Runge-Kutta, Adams, DPM-Solver and UniPC methods), with a free `b_ij` for each step. Here they
/// are found without derivatives of the model: step after step, by linear least squares of the pilot's true state on
/// what the method has seen until then. The sum of the `b_ij` of a step is fixed such that a constant prediction is
/// integrated exactly.
///
/// One evaluation a step, no order: it is as good as the pilot is like what is sampled later. Fitted are
/// `N (N - 1) / 2` numbers for N steps; the pilot should have some hundred times more elements (rows times
/// dimension). Use it for the least error at 5 to 20 evaluations of one fixed model (and one guidance scale).
///
/// ```
/// use advect_core::shared;
/// use advect_diffusion::{FittedMultistep, Pilot, Spacing, Uniform};
/// use advect_paths::{Linear, Prediction, Predictor, SourceLaw};
/// use advect_solvers::{RK4, solve};
///
/// // Data N(0, 1/4) on the linear path; a pilot of two numbers.
/// let velocity = |x: Vec<f64>, t: f64| -> Vec<f64> {
///     let rate = (t / 4.0 - (1.0 - t)) / (t * t / 4.0 + (1.0 - t) * (1.0 - t));
///     x.into_iter().map(|x| rate * x).collect()
/// };
/// let field = shared(velocity);
/// let fine = Uniform::FULL.grid(&Linear, 200)?;
/// let pilot = Pilot::new(&field, RK4.stepper(), vec![1.0, -0.4], &fine)?;
/// let model = Predictor {
///     field,
///     prediction: Prediction::Velocity,
///     schedule: Linear,
///     source: SourceLaw::GaussianIndependent,
/// };
/// let fitted = FittedMultistep::fit(&model, &pilot, &Uniform::FULL.grid(&Linear, 4)?, 1e-8)?;
/// let x = solve(&model, fitted.stepper(), vec![0.8], fitted.grid())?;
/// assert!((x[0] - 0.4).abs() < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FittedMultistep {
    grid: TimeGrid,
    /// Of step i: on the start, and on the data predictions 0 to i.
    steps: Arc<Vec<(f64, Vec<f64>)>>,
    error: f64,
}

impl FittedMultistep {
    /// Fits the coefficients on a grid that runs from the start of the pilot to its end.
    ///
    /// `ridge` keeps predictions that hardly differ from getting large opposite coefficients: 1e-8 in f64, 1e-5 in f32.
    ///
    /// # Errors
    /// What the model reports; [`SolveError::Generator`] if the ends of grid and pilot differ, the start holds no
    /// noise, or
    /// `ridge` is negative or not finite.
    pub fn fit<X: State, G: Denoiser<X> + ?Sized>(
        model: &G,
        pilot: &Pilot<X>,
        grid: &TimeGrid,
        ridge: f64,
    ) -> Result<Self, SolveError> {
        check(ridge >= 0.0 && ridge.is_finite(), "ridge", ridge, "a ridge must be finite and not negative")?;
        let (first, last) = (pilot.times()[0], pilot.times()[pilot.times().len() - 1]);
        check(grid.start() == first, "start", grid.start(), "the grid must start where the pilot does")?;
        check(grid.end() == last, "end", grid.end(), "the grid must end where the pilot does")?;
        let at = |t: f64| Coordinates::at(model.schedule(), t);
        let start = at(first);
        check(start.sigma > 0.0, "start", first, "a fitted method starts in noise: sigma must be above 0 there")?;

        let mut x = pilot.start().clone();
        let mut predictions: Vec<X> = Vec::new();
        // Differences of successive predictions span the same space as predictions do, and are better conditioned.
        let mut changes = Directions::new();
        let mut steps = Vec::with_capacity(grid.steps());
        for pair in grid.points().windows(2) {
            let data = predict(model, Prediction::Data, &x, &at(pair[0]))?;
            if let Some(before) = predictions.last() {
                changes.push(data.clone().combine(1.0, &[(-1.0, before)]));
            }
            let (on_start, on_data) = start.with_data(&at(pair[1]));
            let truth = if pair[1] == last { pilot.end().clone() } else { pilot.at(pair[1]) };
            let residual = truth.combine(1.0, &[(-on_start, pilot.start()), (-on_data, &data)]);
            let on_changes = changes.fit(&residual, ridge);
            predictions.push(data);
            // sum c_k (D_k - D_(k-1)), k = 1..i, in terms of the predictions.
            let i = predictions.len() - 1;
            let c = |k: usize| if k == 0 || k > i { 0.0 } else { on_changes[k - 1] };
            let weights: Vec<f64> = (0..=i).map(|k| c(k) - c(k + 1) + if k == i { on_data } else { 0.0 }).collect();
            x = combination(pilot.start(), on_start, &weights, &predictions);
            steps.push((on_start, weights));
        }
        Ok(Self { grid: grid.clone(), steps: Arc::new(steps), error: pilot.error(&x) })
    }

    /// Fits coefficients and grid: the search of [`optimize_grid`](super::optimize_grid), with a fit for each grid it
    /// tries.
    ///
    /// `solves` fits of `steps` evaluations of the pilot batch each; 150 are plenty.
    ///
    /// # Errors
    /// Those of [`FittedMultistep::fit`], other than a state that is not finite.
    pub fn search<X: State, G: Denoiser<X> + ?Sized>(
        model: &G,
        pilot: &Pilot<X>,
        guesses: &[TimeGrid],
        steps: usize,
        solves: usize,
        ridge: f64,
    ) -> Result<Self, SolveError> {
        let OptimizedGrid { grid, .. } =
            search(pilot, guesses, steps, solves, |grid| Ok(Self::fit(model, pilot, grid, ridge)?.error))?;
        Self::fit(model, pilot, &grid, ridge)
    }

    /// The grid it was fitted on, and the only one it works on.
    #[must_use]
    pub fn grid(&self) -> &TimeGrid {
        &self.grid
    }

    /// The root mean square error of the pilot batch at the end: optimistic, since it is what was fitted.
    #[must_use]
    pub fn error(&self) -> f64 {
        self.error
    }

    /// The coefficients of each step: on the start of the solve, and on the data predictions so far.
    #[must_use]
    pub fn coefficients(&self) -> &[(f64, Vec<f64>)] {
        &self.steps
    }

    /// The stepper. It remembers the start and all predictions of the solve.
    #[must_use]
    pub fn stepper<X>(&self) -> FittedStepper<X> {
        FittedStepper { method: self.clone(), start: None, predictions: Vec::new() }
    }
}

/// `on_start * start + sum weights_j predictions_j`.
fn combination<X: State>(start: &X, on_start: f64, weights: &[f64], predictions: &[X]) -> X {
    let terms: Vec<(f64, &X)> = weights.iter().copied().zip(predictions).collect();
    start.clone().combine(on_start, &terms)
}

/// The stepper of a [`FittedMultistep`], for [`solve`](advect_solvers::solve) on its grid.
///
/// Shaul et al., 2024, "Bespoke Non-Stationary Solvers". One evaluation a step; see [`FittedMultistep`].
#[derive(Debug, Clone)]
pub struct FittedStepper<X> {
    method: FittedMultistep,
    start: Option<X>,
    predictions: Vec<X>,
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for FittedStepper<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let index = self.predictions.len();
        let points = self.method.grid.points();
        let rule = "a fitted method runs on the grid it was fitted on, from its start: solve on FittedMultistep::grid";
        let ((low, high), (low_end, high_end)) = (from.range(), to.range());
        let expected = index < self.method.steps.len() && low == points[index] && high == points[index];
        check(expected, "from", low, rule)?;
        check(low_end == points[index + 1] && high_end == points[index + 1], "to", low_end, rule)?;
        let at = Coordinates::at(model.schedule(), low);
        self.predictions.push(predict(model, Prediction::Data, &x, &at)?);
        let start = self.start.get_or_insert(x);
        let (on_start, weights) = &self.method.steps[index];
        arrive(combination(start, *on_start, weights, &self.predictions), from, to)
    }

    fn restart(&mut self) {
        self.start = None;
        self.predictions.clear();
    }
}
