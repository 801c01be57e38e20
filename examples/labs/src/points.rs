//! Points of the plane, as numbers and as tensors.

use crate::Error;
use advect::core::normal;
use advect::prelude::*;
use advect_analytic::mixture::Mixture;
use rand::RngExt;

/// A point of the plane.
pub type Point = [f64; 2];

/// Points of a mixture: each a function of seed and id.
pub fn draw(mixture: &Mixture, seed: u64, ids: &[u64]) -> Vec<Point> {
    let point = |&id: &u64| {
        let mut rng = NoiseKey::new(seed, Purpose::Data).rng(id, 0);
        let normals = [0; 2].map(|_| normal(&mut rng));
        pair(mixture.sample(rng.random(), &normals).1)
    };
    ids.iter().map(point).collect()
}

/// Points of N(0, I): the numbers of `NoiseKey::normal` with the purpose of a source.
pub fn normals(seed: u64, count: usize) -> Vec<Point> {
    let key = NoiseKey::new(seed, Purpose::Source);
    (0..count as u64).map(|id| key.rng(id, 0)).map(|mut rng| [0; 2].map(|_| normal(&mut rng))).collect()
}

/// The first two of some numbers.
pub fn pair(values: Vec<f64>) -> Point {
    [values[0], values[1]]
}

/// Points as rows of a tensor.
pub fn tensor(points: &[Point], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = points.iter().flatten().map(|&v| v as f32).collect();
    Tensor::<1>::from_floats(values.as_slice(), device).reshape([points.len(), 2])
}

/// The rows of a tensor as points.
pub fn points(tensor: Tensor<2>) -> Result<Vec<Point>, Error> {
    Ok(tensor.into_data().try_into_vec_as::<f64>()?.chunks(2).map(|x| [x[0], x[1]]).collect())
}
