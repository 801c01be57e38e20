use crate::CoreError;

/// The points at which a solve must stop: finite, strictly monotone, at least two. It may run down.
#[derive(Debug, Clone, PartialEq)]
pub struct TimeGrid(Vec<f64>);

impl TimeGrid {
    /// A grid of the given points.
    ///
    /// # Errors
    /// [`CoreError`] if there are fewer than two points, one is not finite, or they do not run strictly one way.
    pub fn new(points: Vec<f64>) -> Result<Self, CoreError> {
        if points.len() < 2 {
            return Err(CoreError::GridTooShort { points: points.len() });
        }
        if let Some((index, &value)) = points.iter().enumerate().find(|(_, p)| !p.is_finite()) {
            return Err(CoreError::GridNotFinite { index, value });
        }
        let up = points[1] > points[0];
        for (index, pair) in points.windows(2).enumerate() {
            let forward = if up { pair[1] > pair[0] } else { pair[1] < pair[0] };
            if !forward {
                return Err(CoreError::GridNotMonotone { index, before: pair[0], after: pair[1] });
            }
        }
        Ok(Self(points))
    }

    /// `steps` equal steps from `start` to `end`; both ends are met exactly.
    ///
    /// # Errors
    /// [`CoreError`] if `steps` is zero, an end is not finite, or the ends are equal.
    pub fn uniform(start: f64, end: f64, steps: usize) -> Result<Self, CoreError> {
        let point = |i: usize| {
            if i == steps { end } else { start + (end - start) * (i as f64 / steps as f64) }
        };
        if steps == 0 {
            return Err(CoreError::GridTooShort { points: 1 });
        }
        Self::new((0..=steps).map(point).collect())
    }

    /// The points, in the order of the solve.
    #[must_use]
    pub fn points(&self) -> &[f64] {
        &self.0
    }

    /// The number of intervals.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.0.len() - 1
    }

    /// Where the solve starts.
    #[must_use]
    pub fn start(&self) -> f64 {
        self.0[0]
    }

    /// Where the solve ends.
    #[must_use]
    pub fn end(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}
