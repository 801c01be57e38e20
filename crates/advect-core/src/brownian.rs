use crate::{CoreError, Gaussian, NoiseKey, Purpose, State, Times};

/// Increments of a standard Brownian motion, row by row.
pub trait Brownian<X> {
    /// `W(to) - W(from)`, shaped like `like`: normal with variance `|to - from|`.
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X;
}

/// Fresh increments in the order they are asked for: one draw a step, the cheapest noise for a fixed grid.
///
/// A sample's numbers depend on its id and on how many increments it drew before. They do not agree under
/// refinement: take a [`BrownianPath`] for adaptive steps or to measure strong convergence.
#[derive(Debug, Clone)]
pub struct WhiteNoise {
    key: NoiseKey,
    ids: Vec<u64>,
    counter: u64,
}

impl WhiteNoise {
    /// The noise of a seed for the samples named by `ids`, one a row.
    #[must_use]
    pub fn new(seed: u64, ids: Vec<u64>) -> Self {
        Self { key: NoiseKey::new(seed, Purpose::Brownian), ids, counter: 0 }
    }
}

impl<X: Gaussian> Brownian<X> for WhiteNoise {
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X {
        let z = like.standard_normal(&mut |row| self.key.rng(self.ids[row], self.counter));
        self.counter += 1;
        scale(z, &from.zip(to, |a, b| (b - a).abs().sqrt()))
    }
}

/// A Brownian path addressed by time: a virtual tree of dyadic bridges (Gaines & Lyons, 1997; Li et al., 2020).
///
/// `W(t)` is a function of (seed, sample id, t) alone. A rejected step reads the same path again, and the increments
/// of a fine grid add up to those of a coarse one. Nothing is stored; a value costs `depth` normal draws an element.
/// Between neighbours of the finest level, `(end - start) / 2^depth` apart, the path is a straight line.
#[derive(Debug, Clone)]
pub struct BrownianPath {
    key: NoiseKey,
    ids: Vec<u64>,
    start: f64,
    end: f64,
    depth: u32,
}

impl BrownianPath {
    /// A path over `[start, end]` for the samples named by `ids`, one a row, resolved to `2^-depth` of the span
    /// (`depth` is cut at 48).
    ///
    /// # Errors
    /// [`CoreError::Span`] unless `start < end`, both finite.
    pub fn new(seed: u64, ids: Vec<u64>, start: f64, end: f64, depth: u32) -> Result<Self, CoreError> {
        if !(start.is_finite() && end.is_finite() && start < end) {
            return Err(CoreError::Span { start, end });
        }
        Ok(Self { key: NoiseKey::new(seed, Purpose::Brownian), ids, start, end, depth: depth.min(48) })
    }

    /// `W(t)`, with `W(start) = 0`, shaped like `like`. Times outside the span read the nearest end.
    #[must_use]
    pub fn value<X: Gaussian>(&self, like: &X, t: &Times) -> X {
        let span = self.end - self.start;
        let rows = like.rows();
        let unit: Vec<f64> = t.to_vec(rows).iter().map(|t| ((t - self.start) / span).clamp(0.0, 1.0)).collect();
        // Node 0 is the whole span; node n of a level has the children 2n and 2n + 1, and counter 2^level + n.
        let mut node = vec![0_u64; rows];
        let mut low = vec![0.0; rows];
        let mut width = 1.0;
        let mut left = like.clone().combine(0.0, &[]);
        let draw =
            |like: &X, counters: &[u64]| like.standard_normal(&mut |row| self.key.rng(self.ids[row], counters[row]));
        let mut right = draw(like, &vec![0; rows]).combine(span.sqrt(), &[]);
        for level in 0..self.depth {
            if (0..rows).all(|r| unit[r] == low[r] || unit[r] == low[r] + width) {
                break;
            }
            let counters: Vec<u64> = node.iter().map(|n| (1 << level) + n).collect();
            // Bridge: the middle is normal around the mean of the ends with variance width / 4.
            let spread = (width * span).sqrt() / 2.0;
            let middle = left.clone().combine(0.5, &[(0.5, &right), (spread, &draw(like, &counters))]);
            width /= 2.0;
            let upper: Vec<bool> = (0..rows).map(|r| unit[r] >= low[r] + width).collect();
            let one = |b: bool| if b { 1.0 } else { 0.0 };
            let up: Vec<f64> = upper.iter().map(|&u| one(u)).collect();
            let down: Vec<f64> = upper.iter().map(|&u| one(!u)).collect();
            left = left.combine_rows(&down, &[(&up, &middle)]);
            right = right.combine_rows(&up, &[(&down, &middle)]);
            for r in 0..rows {
                node[r] = 2 * node[r] + u64::from(upper[r]);
                low[r] += width * one(upper[r]);
            }
        }
        let after: Vec<f64> = (0..rows).map(|r| (unit[r] - low[r]) / width).collect();
        let before: Vec<f64> = after.iter().map(|a| 1.0 - a).collect();
        left.combine_rows(&before, &[(&after, &right)])
    }
}

impl<X: Gaussian> Brownian<X> for BrownianPath {
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X {
        self.value(like, to).combine(1.0, &[(-1.0, &self.value(like, from))])
    }
}

fn scale<X: State>(x: X, factor: &Times) -> X {
    match factor {
        Times::Shared(f) => x.combine(*f, &[]),
        Times::Each(f) => x.combine_rows(f, &[]),
    }
}
