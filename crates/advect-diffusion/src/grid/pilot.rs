use advect_core::{State, TimeGrid, Times, Tolerance};
use advect_solvers::{SolveError, Stepper, trajectory};

/// A small batch whose trajectories are known finely: what grids and coefficients are optimized on.
///
/// Made once with a fine grid; its noise should be other noise than that which is sampled later. Every state is kept,
/// so the memory is that of the batch times the points of the fine grid.
#[derive(Debug, Clone)]
pub struct Pilot<X> {
    times: Vec<f64>,
    states: Vec<X>,
}

impl<X: State> Pilot<X> {
    /// Solves from `x` over a fine grid and keeps all of its points.
    ///
    /// The stepper should be an accurate one: what the pilot says is taken for the truth. `grid` should be fine where
    /// things happen: positions on it are what an optimization varies.
    ///
    /// # Errors
    /// What the stepper reports.
    pub fn new<G: ?Sized, S: Stepper<G, X>>(
        generator: &G,
        stepper: S,
        x: X,
        grid: &TimeGrid,
    ) -> Result<Self, SolveError> {
        let (mut times, mut states) = (Vec::new(), Vec::new());
        for point in trajectory(generator, stepper, x, grid) {
            let (at, x) = point?;
            times.push(at.range().0);
            states.push(x);
        }
        Ok(Self { times, states })
    }

    /// Every `every`-th point and the end: fewer candidates for [`local_error_grid`](super::local_error_grid).
    #[must_use]
    pub fn thinned(&self, every: usize) -> Self {
        let last = self.times.len() - 1;
        let kept = |&i: &usize| i % every.max(1) == 0 || i == last;
        let (times, states) = (0..=last).filter(kept).map(|i| (self.times[i], self.states[i].clone())).unzip();
        Self { times, states }
    }

    /// The times at which the trajectories are known.
    #[must_use]
    pub fn times(&self) -> &[f64] {
        &self.times
    }

    /// The states at [`Pilot::times`].
    #[must_use]
    pub fn states(&self) -> &[X] {
        &self.states
    }

    /// Where the batch starts.
    #[must_use]
    pub fn start(&self) -> &X {
        &self.states[0]
    }

    /// Where it truly ends.
    #[must_use]
    pub fn end(&self) -> &X {
        &self.states[self.states.len() - 1]
    }

    /// The state at a time between the ends: cubic interpolation through the four nearest points.
    #[must_use]
    pub fn at(&self, t: f64) -> X {
        let up = self.times[1] > self.times[0];
        let after = self.times.partition_point(|&p| if up { p < t } else { p > t });
        if let Some(&same) = self.times.get(after)
            && same == t
        {
            return self.states[after].clone();
        }
        let count = self.times.len().min(4);
        let first = after.saturating_sub(2).min(self.times.len() - count);
        let nodes = &self.times[first..first + count];
        let weight = |k: usize| -> f64 {
            (0..count).filter(|&m| m != k).map(|m| (t - nodes[m]) / (nodes[k] - nodes[m])).product()
        };
        let terms: Vec<(f64, &X)> = (1..count).map(|k| (weight(k), &self.states[first + k])).collect();
        self.states[first].clone().combine(weight(0), &terms)
    }

    /// The root mean square distance of a batch from the true end, over all elements. One device read.
    #[must_use]
    pub fn error(&self, x: &X) -> f64 {
        distance(x, self.end())
    }

    /// The time at a position between 0 and the number of gaps.
    pub(super) fn time_at(&self, position: f64) -> f64 {
        let last = self.times.len() - 1;
        let whole = (position.max(0.0) as usize).min(last - 1);
        let part = (position - whole as f64).clamp(0.0, 1.0);
        self.times[whole] + part * (self.times[whole + 1] - self.times[whole])
    }

    /// The time of a point, for a stepper.
    pub(super) fn shared(&self, index: usize) -> Times {
        Times::Shared(self.times[index])
    }
}

/// The root mean square of a state; infinite if it is not finite.
pub(super) fn size<X: State>(x: &X) -> f64 {
    // rtol = 0, atol = 1: the scaled norm is the plain one. The tolerance is valid by construction.
    Tolerance::new(0.0, 1.0).map_or(f64::INFINITY, |plain| {
        let norm = x.scaled_norm(x, x, plain);
        if norm.is_finite() { norm } else { f64::INFINITY }
    })
}

/// The root mean square of a difference.
pub(super) fn distance<X: State>(a: &X, b: &X) -> f64 {
    size(&a.clone().combine(1.0, &[(-1.0, b)]))
}
