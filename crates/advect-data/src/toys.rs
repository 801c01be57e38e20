use advect_core::{NoiseKey, Purpose, normal};
use burn::tensor::{Device, Tensor, TensorData};
use rand::RngExt;
use std::f64::consts::PI;

/// A distribution on the plane, sampled without end: point `id` of a seed is always the same point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toy {
    /// Two interleaved half circles of radius 2, with Gaussian noise of 0.1 (after scikit-learn's `make_moons`).
    Moons,
    /// The dark squares of a 4x4 checkerboard on [-4, 4]^2, uniform.
    Checkerboard,
    /// Eight Gaussians of standard deviation 0.2 on a circle of radius 3.
    EightGaussians,
    /// Two circles of radii 3 and 1.5, each with half of the points, with Gaussian noise of 0.1 (after scikit-learn's
    /// `make_circles`).
    Circles,
}

impl Toy {
    /// A point and the component it came from (half circle, square, Gaussian, circle).
    #[must_use]
    pub fn point(self, seed: u64, id: u64) -> ([f64; 2], usize) {
        let mut rng = NoiseKey::new(seed, Purpose::Data).rng(id, 0);
        match self {
            Self::Moons => {
                let component = rng.random_range(0..2);
                let angle = PI * rng.random::<f64>();
                let [x, y] =
                    if component == 0 { [angle.cos(), angle.sin()] } else { [1.0 - angle.cos(), 0.5 - angle.sin()] };
                // Centred on the origin, at a scale where a standard normal source overlaps the data.
                let point = [2.0 * (x - 0.5), 2.0 * (y - 0.25)];
                (point.map(|v| v + 0.1 * normal(&mut rng)), component)
            }
            Self::Checkerboard => {
                let square = rng.random_range(0..8);
                let (row, pair) = (square / 2, square % 2);
                let column = 2 * pair + row % 2;
                let corner = [2.0 * column as f64 - 4.0, 2.0 * row as f64 - 4.0];
                (corner.map(|v| v + 2.0 * rng.random::<f64>()), square)
            }
            Self::EightGaussians => {
                let component = rng.random_range(0..8);
                let angle = 2.0 * PI * component as f64 / 8.0;
                ([3.0 * angle.cos(), 3.0 * angle.sin()].map(|v| v + 0.2 * normal(&mut rng)), component)
            }
            Self::Circles => {
                let component = rng.random_range(0..2);
                let angle = 2.0 * PI * rng.random::<f64>();
                let radius = [3.0, 1.5][component];
                ([radius * angle.cos(), radius * angle.sin()].map(|v| v + 0.1 * normal(&mut rng)), component)
            }
        }
    }

    /// The points of the given ids, one after the other: `[x_0, y_0, x_1, y_1, ...]`.
    #[must_use]
    pub fn points(self, seed: u64, ids: impl Iterator<Item = u64>) -> Vec<f32> {
        ids.flat_map(|id| self.point(seed, id).0).map(|v| v as f32).collect()
    }

    /// The points of the given ids.
    ///
    /// # Shapes
    /// - output: `[ids.len(), 2]`
    #[must_use]
    pub fn batch(self, seed: u64, ids: &[u64], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(self.points(seed, ids.iter().copied()), [ids.len(), 2]), device)
    }
}
