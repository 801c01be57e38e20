//! Problems whose probability flow is known exactly, or to round-off.

use advect_analytic::gaussian::{Affine, Gaussian};
use advect_analytic::mixture::Mixture;
use advect_core::{Brownian, Field, State, TimeGrid, Times, Tolerance};
use advect_paths::{Coefficients, Prediction, Predictor, Schedule, SourceLaw};
use advect_solvers::{RK4, solve};

/// Noise of standard deviation `max (1 - t)` added to the data, as in Karras et al., 2022.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exploding {
    pub(crate) max: f64,
}

impl Schedule for Exploding {
    fn at(&self, t: f64) -> Coefficients {
        Coefficients { alpha: 1.0, sigma: self.max * (1.0 - t), d_alpha: 0.0, d_sigma: -self.max }
    }

    fn log_snr(&self, t: f64) -> f64 {
        -2.0 * self.at(t).sigma.ln()
    }

    fn time_at_log_snr(&self, log_snr: f64) -> f64 {
        (1.0 - (-log_snr / 2.0).exp() / self.max).clamp(0.0, 1.0)
    }
}

pub(crate) fn affine(c: Coefficients) -> Affine {
    Affine::new(c.alpha, c.sigma, c.d_alpha, c.d_sigma)
}

/// The exact predictions for data N(0.7, 0.5^2), evaluated in f64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exact<S> {
    pub(crate) data: Gaussian,
    pub(crate) prediction: Prediction,
    pub(crate) schedule: S,
}

impl<S: Schedule> Exact<S> {
    fn value(&self, x: f64, t: f64) -> f64 {
        let at = affine(self.schedule.at(t));
        match self.prediction {
            Prediction::Velocity => self.data.velocity(at, x),
            Prediction::Score => self.data.score(at, x),
            Prediction::Noise => self.data.noise(at, x),
            Prediction::Data => self.data.data(at, x),
            Prediction::V => at.alpha * self.data.noise(at, x) - at.sigma * self.data.data(at, x),
        }
    }
}

impl<S: Schedule> Field<f64> for Exact<S> {
    fn eval(&self, x: f64, t: &Times) -> f64 {
        self.value(x, t.at(0))
    }
}

impl<S: Schedule> Field<Vec<f64>> for Exact<S> {
    fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
        x.into_iter().enumerate().map(|(row, x)| self.value(x, t.at(row))).collect()
    }
}

impl<S: Schedule> Field<Law> for Exact<S> {
    fn eval(&self, x: Law, t: &Times) -> Law {
        Law(x.0.into_iter().map(|x| self.value(x, t.at(0))).collect())
    }
}

/// A centered Gaussian variable as its coefficients on independent standard normals: the first is the start, each draw
/// of noise adds one. Its variance is the sum of squares. Missing coefficients are zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct Law(pub(crate) Vec<f64>);

impl State for Law {
    fn combine(mut self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        let count = terms.iter().map(|(_, term)| term.0.len()).fold(self.0.len(), usize::max);
        self.0.resize(count, 0.0);
        self.0.iter_mut().for_each(|x| *x *= scale);
        for (factor, term) in terms {
            self.0.iter_mut().zip(&term.0).for_each(|(x, y)| *x += factor * y);
        }
        self
    }

    fn scaled_norm(&self, _before: &Self, _after: &Self, _tolerance: Tolerance) -> f64 {
        self.0.iter().map(|x| x * x).sum::<f64>().sqrt()
    }
}

/// Draws the next independent standard normal.
#[derive(Debug, Clone, Default)]
pub(crate) struct Basis {
    drawn: usize,
}

impl Brownian<Law> for Basis {
    fn increment(&mut self, _like: &Law, from: &Times, to: &Times) -> Law {
        self.drawn += 1;
        let mut coefficients = vec![0.0; self.drawn + 1];
        coefficients[self.drawn] = (to.at(0) - from.at(0)).abs().sqrt();
        Law(coefficients)
    }
}

pub(crate) const DATA: Gaussian = Gaussian { mean: 0.7, std: 0.5 };

/// The model of Gaussian data, exact.
pub(crate) fn gaussian<S: Schedule + Clone>(schedule: S, prediction: Prediction) -> Predictor<Exact<S>, S> {
    let field = Exact { data: DATA, prediction, schedule: schedule.clone() };
    Predictor { field, prediction, schedule, source: SourceLaw::GaussianIndependent }
}

/// Where the probability flow of the Gaussian takes `x` from one time to another.
pub(crate) fn flow<S: Schedule>(schedule: &S, from: f64, to: f64, x: f64) -> f64 {
    DATA.flow(affine(schedule.at(from)), affine(schedule.at(to)), x)
}

/// Two components in the plane.
pub(crate) fn mixture() -> Mixture {
    Mixture::isotropic(&[0.4, 0.6], &[vec![-1.0, 0.5], vec![1.2, -0.3]], &[0.5, 0.7]).unwrap()
}

#[derive(Debug, Clone)]
pub(crate) struct ExactMixture<S> {
    data: Mixture,
    prediction: Prediction,
    schedule: S,
}

impl<S: Schedule> Field<[f64; 2]> for ExactMixture<S> {
    fn eval(&self, x: [f64; 2], t: &Times) -> [f64; 2] {
        let at = affine(self.schedule.at(t.at(0)));
        let value = match self.prediction {
            Prediction::Velocity => self.data.velocity(at, &x),
            Prediction::Score => self.data.score(at, &x),
            Prediction::Noise => self.data.noise(at, &x),
            Prediction::Data => self.data.data(at, &x),
            Prediction::V => {
                let pairs = self.data.noise(at, &x).into_iter().zip(self.data.data(at, &x));
                pairs.map(|(noise, data)| at.alpha * noise - at.sigma * data).collect()
            }
        };
        [value[0], value[1]]
    }
}

/// The model of the mixture, exact.
pub(crate) fn mixture_model<S: Schedule + Clone>(schedule: S, prediction: Prediction) -> Predictor<ExactMixture<S>, S> {
    let field = ExactMixture { data: mixture(), prediction, schedule: schedule.clone() };
    Predictor { field, prediction, schedule, source: SourceLaw::GaussianIndependent }
}

/// Where the flow of the mixture on the linear path takes `x` from t = 0 to t = 1: RK4 on the velocity.
pub(crate) fn mixture_flow(x: [f64; 2]) -> [f64; 2] {
    let model = mixture_model(advect_paths::Linear, Prediction::Velocity);
    solve(&model.field, RK4.stepper(), x, &TimeGrid::uniform(0.0, 1.0, 1000).unwrap()).unwrap()
}

/// From noise alone to data alone on the linear path, finer toward both ends: `lambda = 3 logit(s)`, s uniform.
pub(crate) fn both_ends(steps: usize) -> TimeGrid {
    let cube = |i: usize| (i as f64 / steps as f64).powi(3);
    TimeGrid::new((0..=steps).map(|i| cube(i) / (cube(i) + cube(steps - i))).collect()).unwrap()
}

/// From t = 0 (where alpha is not zero) to data alone, finer toward both: `sigma / alpha` falls like the cube of what
/// is left of a clock that starts slowly.
pub(crate) fn to_data<S: Schedule>(schedule: &S, steps: usize) -> TimeGrid {
    let start = schedule.log_snr(0.0);
    let point = |i: usize| match i {
        0 => 0.0,
        i if i == steps => 1.0,
        i => schedule.time_at_log_snr(start - 6.0 * (1.0 - (i as f64 / steps as f64).powi(2)).ln()),
    };
    TimeGrid::new((0..=steps).map(point).collect()).unwrap()
}

/// Between two lambdas, finer toward the first: multistep methods start with order one, whose one error of h^2 would
/// hide order three on a uniform grid.
pub(crate) fn inside<S: Schedule>(schedule: &S, low: f64, high: f64, steps: usize) -> TimeGrid {
    let lambda = |i: usize| low + (high - low) * (i as f64 / steps as f64).powi(2);
    TimeGrid::new((0..=steps).map(|i| schedule.time_at_log_snr(2.0 * lambda(i))).collect()).unwrap()
}

#[test]
fn the_reference_flow_of_the_mixture_is_converged() {
    let model = mixture_model(advect_paths::Linear, Prediction::Velocity);
    let coarse: [f64; 2] =
        solve(&model.field, RK4.stepper(), [0.3, -0.8], &TimeGrid::uniform(0.0, 1.0, 500).unwrap()).unwrap();
    let fine = mixture_flow([0.3, -0.8]);
    assert!((coarse[0] - fine[0]).abs() < 1e-10 && (coarse[1] - fine[1]).abs() < 1e-10);
}
