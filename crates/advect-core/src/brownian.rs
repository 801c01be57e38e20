use crate::{DeviceNoise, Gaussian, NoiseKey, Purpose, State, Times};
use burn::tensor::Tensor;

/// Increments of a standard Brownian motion, row by row.
pub trait Brownian<X> {
    /// `W(to) - W(from)`, shaped like `like`: normal with variance `|to - from|`.
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X;
}

/// Increments together with their space-time Levy area, for methods of strong order above 1.
///
/// The area of an interval of length h is the mean of the Brownian bridge over it,
/// `H = (1/h) int (W(s) - W(from)) ds - (W(to) - W(from)) / 2`: normal with variance `h / 12` and independent of the
/// increment (Foster, Oberhauser & Lyons, *An optimal polynomial approximation of Brownian motion*, 2020, theorem 2.2).
/// Then `int int dW ds = h (W / 2 + H)`. It is the same in both directions of time, `W` turns its sign.
pub trait SpaceTimeLevyArea<X>: Brownian<X> {
    /// The increment, equal to that of [`Brownian::increment`], and the area.
    fn increment_and_area(&mut self, like: &X, from: &Times, to: &Times) -> (X, X);
}

/// Noise whose increments agree under refinement: a marker for what adaptive steps may read.
///
/// A rejected step must read the same path again, or the law of what is accepted is not that of Brownian motion.
pub trait Refinable {}

impl<X, B: Brownian<X> + ?Sized> Brownian<X> for &mut B {
    fn increment(&mut self, like: &X, from: &Times, to: &Times) -> X {
        (**self).increment(like, from, to)
    }
}

impl<X, B: SpaceTimeLevyArea<X> + ?Sized> SpaceTimeLevyArea<X> for &mut B {
    fn increment_and_area(&mut self, like: &X, from: &Times, to: &Times) -> (X, X) {
        (**self).increment_and_area(like, from, to)
    }
}

impl<B: Refinable + ?Sized> Refinable for &mut B {}

/// Fresh increments in the order they are asked for: one draw a step, the cheapest noise for a fixed grid.
///
/// A sample's numbers depend on its id and on how many increments it drew before. They do not agree under
/// refinement: take a [`BrownianPath`](crate::BrownianPath) for adaptive steps or to measure strong convergence.
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
        let z = like.keyed_normal(self.key, &self.ids, self.counter);
        self.counter += 1;
        scale(z, &from.zip(to, |a, b| (b - a).abs().sqrt()))
    }
}

impl<X: Gaussian> SpaceTimeLevyArea<X> for WhiteNoise {
    fn increment_and_area(&mut self, like: &X, from: &Times, to: &Times) -> (X, X) {
        let area = NoiseKey::new(self.key.seed(), Purpose::LevyArea);
        let z = like.keyed_normal(area, &self.ids, self.counter);
        let area = scale(z, &from.zip(to, |a, b| ((b - a).abs() / 12.0).sqrt()));
        (self.increment(like, from, to), area)
    }
}

/// White noise drawn by the device itself, without a copy from the processor; [`DeviceNoise`] says what it does not promise.
impl<const D: usize> Brownian<Tensor<D>> for DeviceNoise {
    fn increment(&mut self, like: &Tensor<D>, from: &Times, to: &Times) -> Tensor<D> {
        scale(self.like(like), &from.zip(to, |a, b| (b - a).abs().sqrt()))
    }
}

impl<const D: usize> SpaceTimeLevyArea<Tensor<D>> for DeviceNoise {
    fn increment_and_area(&mut self, like: &Tensor<D>, from: &Times, to: &Times) -> (Tensor<D>, Tensor<D>) {
        let area = scale(self.like(like), &from.zip(to, |a, b| ((b - a).abs() / 12.0).sqrt()));
        (self.increment(like, from, to), area)
    }
}

fn scale<X: State>(x: X, factor: &Times) -> X {
    match factor {
        Times::Shared(f) => x.combine(*f, &[]),
        Times::Each(f) => x.combine_rows(f, &[]),
    }
}
