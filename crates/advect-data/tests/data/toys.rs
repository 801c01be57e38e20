//! The toys: geometry of every point, moments within 4 standard errors (n = 40,000).

use advect_data::Toy;
use burn::tensor::Device;
use std::f64::consts::PI;

const ALL: [Toy; 4] = [Toy::Moons, Toy::Checkerboard, Toy::EightGaussians, Toy::Circles];
const N: u64 = 40_000;

fn points(toy: Toy) -> Vec<([f64; 2], usize)> {
    (0..N).map(|id| toy.point(7, id)).collect()
}

/// The mean of independent values lies within 4 standard errors of `want`.
fn mean_is(what: &str, values: impl Iterator<Item = f64>, want: f64) {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let error = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n * (n - 1.0))).sqrt();
    assert!((mean - want).abs() < 4.0 * error, "{what}: {mean} +- {error}, not {want}");
}

fn components_are_even(points: &[([f64; 2], usize)], count: usize) {
    for component in 0..count {
        let hits = points.iter().map(|(_, c)| f64::from(*c == component));
        mean_is("component", hits, 1.0 / count as f64);
    }
    assert!(points.iter().all(|(_, c)| *c < count));
}

#[test]
fn moons() {
    let points = points(Toy::Moons);
    components_are_even(&points, 2);
    // Half circles of radius 2: the upper about (-1, -1/2), the lower about (1, 1/2).
    for (component, center, sign) in [(0, [-1.0, -0.5], 1.0), (1, [1.0, 0.5], -1.0)] {
        let own = || {
            points.iter().filter(move |(_, c)| *c == component).map(move |([x, y], _)| [x - center[0], y - center[1]])
        };
        // Across: noise of 0.1, whose part along the circle adds 0.01 / (2 * 2) to the mean radius.
        mean_is("radius", own().map(|[x, y]| x.hypot(y)), 2.0025);
        mean_is("width", own().map(|[x, y]| (x.hypot(y) - 2.0).powi(2)), 0.01);
        // Along: uniform in the angle, so <cos> = 0, <sin> = 2 / pi, <cos^2> = 1/2, each times the radius of 2.
        mean_is("x", own().map(|[x, _]| x), 0.0);
        mean_is("y", own().map(|[_, y]| sign * y), 4.0 / PI);
        mean_is("x^2", own().map(|[x, _]| x * x), 2.01);
        assert!(own().all(|[x, y]| sign * y > -0.6 && (x.hypot(y) - 2.0).abs() < 0.6));
    }
}

#[test]
fn checkerboard() {
    let points = points(Toy::Checkerboard);
    components_are_even(&points, 8);
    let square = |[x, y]: [f64; 2]| [((x + 4.0) / 2.0).floor(), ((y + 4.0) / 2.0).floor()];
    let mut seen = std::collections::BTreeMap::new();
    for (point, component) in &points {
        let [column, row] = square(*point);
        assert!((0.0..4.0).contains(&column) && (0.0..4.0).contains(&row), "{point:?}");
        assert_eq!((column + row) % 2.0, 0.0, "{point:?}");
        // One component, one square.
        assert_eq!(*seen.entry(*component).or_insert([column, row]), [column, row]);
    }
    // Uniform inside: mean 1, mean square 4/3 on [0, 2].
    for axis in 0..2 {
        let inside = || points.iter().map(move |(p, _)| p[axis] + 4.0 - 2.0 * square(*p)[axis]);
        mean_is("mean", inside(), 1.0);
        mean_is("square", inside().map(|v| v * v), 4.0 / 3.0);
    }
}

#[test]
fn eight_gaussians() {
    let points = points(Toy::EightGaussians);
    components_are_even(&points, 8);
    for component in 0..8 {
        let angle = PI / 4.0 * component as f64;
        for (axis, center) in [(0, 3.0 * angle.cos()), (1, 3.0 * angle.sin())] {
            let own = || points.iter().filter(move |(_, c)| *c == component).map(move |(p, _)| p[axis] - center);
            mean_is("mean", own(), 0.0);
            mean_is("variance", own().map(|v| v * v), 0.04);
        }
    }
}

#[test]
fn circles() {
    let points = points(Toy::Circles);
    components_are_even(&points, 2);
    for (component, radius) in [(0, 3.0), (1, 1.5)] {
        let own = || points.iter().filter(move |(_, c)| *c == component).map(|(p, _)| *p);
        // As with the moons: the noise along the circle adds 0.01 / (2 radius).
        mean_is("radius", own().map(|[x, y]| x.hypot(y)), radius + 0.01 / (2.0 * radius));
        mean_is("width", own().map(|[x, y]| (x.hypot(y) - radius).powi(2)), 0.01);
        mean_is("x", own().map(|[x, _]| x), 0.0);
        mean_is("y", own().map(|[_, y]| y), 0.0);
        mean_is("x^2", own().map(|[x, _]| x * x), radius * radius / 2.0 + 0.01);
        mean_is("x^2 y^2", own().map(|[x, y]| (x * y).powi(2)), radius.powi(4) / 8.0 + 0.01 * radius.powi(2) + 1e-4);
    }
}

#[test]
fn a_point_is_a_function_of_seed_and_id() {
    for toy in ALL {
        let ids = [5, u64::MAX, 0, 5];
        let together = toy.points(3, ids.into_iter());
        for (k, id) in ids.into_iter().enumerate() {
            let alone = toy.point(3, id).0.map(|v| v as f32);
            assert_eq!(together[2 * k..2 * k + 2], alone);
        }
        let batch = toy.batch(3, &ids, &Device::flex());
        assert_eq!(batch.dims(), [4, 2]);
        assert_eq!(batch.into_data().try_into_vec_as::<f32>().unwrap(), together);
        assert_ne!(toy.point(3, 0), toy.point(4, 0));
        assert_ne!(toy.point(3, 0), toy.point(3, 1));
    }
}
