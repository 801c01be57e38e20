use crate::denoiser::{ends, first_order, predict};
use crate::history::integral;
use crate::{Coordinates, Denoiser};
use advect_core::{State, Times, Tolerance};
use advect_paths::Prediction;
use advect_solvers::{PiController, SolveError, Step, Stepper, arrive};

/// A pair of DPM-Solvers whose difference estimates the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DpmPair {
    /// DPM-Solver-1 in DPM-Solver-2: order 2, two evaluations an attempt.
    OneTwo,
    /// DPM-Solver-2 in DPM-Solver-3: order 3, three evaluations an attempt.
    TwoThree,
}

/// Adaptive DPM-Solver (12 or 23): steps in lambda, chosen by an error estimate, on the noise prediction.
///
/// Lu et al., 2022, "DPM-Solver", section 3.4 and appendix C, with a [`PiController`]. The grid says where to stop, the
/// controller takes the steps between. The solution is that of the higher order. One error norm for the batch, so
/// a sample depends on its neighbours within the tolerance.
///
/// A solve that starts at noise alone begins with a first-order step to `alpha / sigma = 0.1 sqrt(tolerance)`. One
/// that ends at data alone ends at the predicted data, once `(sigma / alpha)^2` and what is left of the change of the
/// prediction, which falls like it, are below the tolerance (for data of about unit size). Use it where the number of
/// evaluations is free and the error is not.
#[derive(Debug, Clone)]
pub struct AdaptiveDpm<X> {
    pair: DpmPair,
    tolerance: Tolerance,
    controller: PiController,
    /// The next step in lambda, without sign, and the error of the last accepted one.
    pace: (f64, [f64; 2]),
    /// Lambda and predicted data where the last step started.
    before: Option<(f64, X)>,
    accepted: u64,
    rejected: u64,
}

/// The first step in lambda, as in the paper.
const FIRST: f64 = 0.05;
/// The longest step in lambda toward data alone.
const FARTHEST: f64 = 2.0;
/// Steps below are not taken: in lambda they are round-off.
const SMALLEST: f64 = 1e-9;

impl<X> AdaptiveDpm<X> {
    /// Controls the steps of a pair so that its error estimate stays within `tolerance`, step by step.
    #[must_use]
    pub fn new(pair: DpmPair, tolerance: Tolerance, controller: PiController) -> Self {
        Self { pair, tolerance, controller, pace: (FIRST, [1.0; 2]), before: None, accepted: 0, rejected: 0 }
    }

    /// How many steps were accepted since it was made.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many attempts were rejected since it was made.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// The order of the lower solution.
    fn error_order(&self) -> u32 {
        match self.pair {
            DpmPair::OneTwo => 1,
            DpmPair::TwoThree => 2,
        }
    }
}

impl<X: State, G: Denoiser<X> + ?Sized> Stepper<G, X> for AdaptiveDpm<X> {
    fn step(&mut self, model: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let (start, end) = ends(model, from, to)?;
        if start.alpha == 0.0 {
            let reach = 0.1 * self.tolerance.rtol().max(self.tolerance.atol()).sqrt();
            let at = Coordinates::at_lambda(model.schedule(), reach.ln().min(end.lambda));
            let at = if at.lambda < end.lambda { Times::Shared(at.t) } else { to.clone() };
            let (_, end) = ends(model, from, &at)?;
            return arrive(first_order(model, x, &start, &end)?, from, &at);
        }
        if !start.is_inside() || end.alpha == 0.0 {
            return arrive(first_order(model, x, &start, &end)?, from, to);
        }
        let noise = predict(model, Prediction::Noise, &x, &start)?;
        let data = x.clone().combine(1.0 / start.alpha, &[(-start.level(), &noise)]);
        if end.sigma == 0.0
            && let Some((lambda, before)) = self.before.take()
        {
            let change = data.clone().combine(1.0, &[(-1.0, &before)]);
            let left = change.scaled_norm(&data, &data, self.tolerance) / (2.0 * (start.lambda - lambda)).exp_m1();
            // Far from the data the prediction changes as little: the noise must be small as well.
            let level = start.level();
            let noise = level * level * noise.scaled_norm(&data, &data, self.tolerance);
            if left <= 1.0 && noise <= 1.0 {
                return arrive(data.combine(end.alpha, &[]), from, to);
            }
        }
        let direction = (end.lambda - start.lambda).signum();
        let mut shrunk = false;
        loop {
            let (step, previous) = self.pace;
            // Data alone are infinitely far: the next check of that end is not to be stepped over.
            let reach = if end.lambda.is_finite() { step } else { step.min(FARTHEST) };
            let target = start.lambda + direction * reach;
            let last = (end.lambda - start.lambda).abs() <= 1.01 * step;
            let at = if last { end } else { Coordinates::at_lambda(model.schedule(), target) };
            let used = (at.lambda - start.lambda).abs();
            let (next, error) = self.attempt(model, &x, &noise, &start, &at)?;
            let norm = error.scaled_norm(&x, &next, self.tolerance);
            if norm <= 1.0 {
                let factor = self.controller.grow([norm, previous[0], previous[1]], self.error_order());
                let planned = used * if shrunk { factor.min(1.0) } else { factor };
                // A step cut short by the grid says nothing against the one that was planned.
                self.pace = (if last { planned.max(step) } else { planned }, [norm, previous[0]]);
                self.accepted += 1;
                self.before = Some((start.lambda, data));
                return arrive(next, from, &if last { to.clone() } else { Times::Shared(at.t) });
            }
            self.rejected += 1;
            if used <= SMALLEST {
                let (time, step) = (start.t, at.t - start.t);
                return Err(if norm.is_finite() {
                    SolveError::StepTooSmall { time, step, norm, limit: SMALLEST }
                } else {
                    SolveError::NotFinite { time, step }
                });
            }
            shrunk = true;
            self.pace.0 = used * self.controller.shrink(norm, self.error_order());
        }
    }

    fn restart(&mut self) {
        self.pace = (FIRST, [1.0; 2]);
        self.before = None;
    }
}

impl<X: State> AdaptiveDpm<X> {
    /// The solution of the higher order, and its difference to the lower.
    fn attempt<G: Denoiser<X> + ?Sized>(
        &self,
        model: &G,
        x: &X,
        noise: &X,
        start: &Coordinates,
        end: &Coordinates,
    ) -> Result<(X, X), SolveError> {
        let h = end.lambda - start.lambda;
        let (on_x, on_noise) = start.with_noise(end);
        let ratio = match self.pair {
            DpmPair::OneTwo => 0.5,
            DpmPair::TwoThree => 1.0 / 3.0,
        };
        let one = Coordinates::at_lambda(model.schedule(), start.lambda + ratio * h);
        let (stage_x, stage_noise) = start.with_noise(&one);
        let stage = x.clone().combine(stage_x, &[(stage_noise, noise)]);
        let second = predict(model, Prediction::Noise, &stage, &one)?;
        let share = on_noise / (2.0 * ratio);
        let two = |x: X| x.combine(on_x, &[(on_noise - share, noise), (share, &second)]);
        if self.pair == DpmPair::OneTwo {
            let error = second.clone().combine(share, &[(-share, noise)]);
            return Ok((two(x.clone()), error));
        }
        let far = Coordinates::at_lambda(model.schedule(), start.lambda + 2.0 * h / 3.0);
        let line = |known: [(f64, X); 2], end: &Coordinates| {
            let terms = integral(&known, start.lambda, end.lambda, -1.0, -end.sigma);
            x.clone().combine(start.with_noise(end).0, &terms)
        };
        let stage = line([(start.lambda, noise.clone()), (one.lambda, second.clone())], &far);
        let third = predict(model, Prediction::Noise, &stage, &far)?;
        let high = line([(start.lambda, noise.clone()), (far.lambda, third)], end);
        let error = high.clone().combine(1.0, &[(-1.0, &two(x.clone()))]);
        Ok((high, error))
    }
}
