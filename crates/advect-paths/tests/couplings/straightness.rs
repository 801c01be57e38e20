use crate::{cloud, squared, tensor};
use advect_core::{Field, NoiseKey, Purpose, TimeGrid, Times, normal};
use advect_paths::{Coupling, ExactOt, Rows, Sinkhorn, SquaredEuclidean, Stop, Uncoupled};
use advect_solvers::{RK4, trajectory};
use rand::RngExt;

type Point = [f64; 2];

/// Noise and data atoms, blurred by this much.
const BLUR: f64 = 0.15;

/// The exact marginal velocity of weighted pairs (z, y): given the pair, `x_t = (1 - t) z + t y + blur xi`, with one
/// xi ~ N(0, I) for all times, so that its velocity is y - z.
fn velocity(pairs: &[(f64, Point, Point)]) -> impl Fn(Point, &Times) -> Point {
    move |x, times| {
        let t = times.at(0);
        let exponent = |(_, z, y): &(f64, Point, Point)| {
            let off = [0, 1].map(|k| x[k] - (1.0 - t) * z[k] - t * y[k]);
            -(off[0] * off[0] + off[1] * off[1]) / (2.0 * BLUR * BLUR)
        };
        let top = pairs.iter().map(exponent).fold(f64::NEG_INFINITY, f64::max);
        let (mut total, mut sum) = (0.0, [0.0; 2]);
        for pair in pairs {
            let weight = pair.0 * (exponent(pair) - top).exp();
            total += weight;
            for k in 0..2 {
                sum[k] += weight * (pair.2[k] - pair.1[k]);
            }
        }
        sum.map(|s| s / total)
    }
}

/// How bent trajectories are: the mean of length / displacement - 1, and the mean of `int |v - (x_1 - x_0)|^2 dt`
/// over the mean of `|x_1 - x_0|^2` (Liu et al., 2023, "Flow straight and fast"). Both are 0 for straight lines at
/// constant speed.
fn bend(field: &impl Field<Point>, starts: &[Point], atoms: &Rows) -> [f64; 2] {
    let steps = 40;
    let grid = TimeGrid::uniform(0.0, 1.0, steps).unwrap();
    let distance = |a: Point, b: Point| (a[0] - b[0]).hypot(a[1] - b[1]);
    let (mut longer, mut off, mut way) = (0.0, 0.0, 0.0);
    for &start in starts {
        let mut path = vec![start];
        path.extend(trajectory(field, RK4.stepper(), start, &grid).skip(1).map(|step| step.unwrap().1));
        assert_eq!(path.len(), steps + 1);
        let end = path[steps];
        // Whatever the coupling, the flow ends in the blurred data.
        let nearest = atoms.iter().map(|y| distance(end, [y[0], y[1]])).fold(f64::INFINITY, f64::min);
        assert!(nearest < 5.0 * BLUR, "{end:?} is {nearest} from the data");
        let pieces: Vec<f64> = path.windows(2).map(|w| distance(w[0], w[1])).collect();
        longer += pieces.iter().sum::<f64>() / distance(start, end) - 1.0;
        let straight = [0, 1].map(|k| (end[k] - start[k]) / steps as f64);
        let piece = |w: &[Point]| distance([w[1][0] - w[0][0], w[1][1] - w[0][1]], straight).powi(2);
        off += path.windows(2).map(piece).sum::<f64>() * steps as f64;
        way += distance(start, end).powi(2);
    }
    [longer / starts.len() as f64, off / way]
}

#[test]
fn transport_straightens_trajectories() {
    // 48 noise atoms, 48 data atoms on eight Gaussians of radius 4, 96 starts at the blurred noise, seeds 91 to 93.
    // Exact fields: nothing is trained.
    let n = 48;
    let noise = cloud(91, n, 2, 0.0);
    let mut rng = NoiseKey::new(92, Purpose::Data).rng(0, 0);
    let ring = (0..n).flat_map(|_| {
        let angle = std::f64::consts::FRAC_PI_4 * f64::from(rng.random_range(0..8));
        [4.0 * angle.cos() + 0.2 * normal(&mut rng), 4.0 * angle.sin() + 0.2 * normal(&mut rng)]
    });
    let data = Rows::new(ring.collect(), n).unwrap();
    let point = |row: &[f64]| [row[0], row[1]];
    let blur = cloud(93, 2 * n, 2, 0.0);
    let starts: Vec<Point> = (0..2 * n).map(|i| [0, 1].map(|k| noise.row(i % n)[k] + BLUR * blur.row(i)[k])).collect();

    let weighted = |masses: &[f64]| -> Vec<(f64, Point, Point)> {
        let pair = |(k, mass): (usize, &f64)| (*mass, point(noise.row(k / n)), point(data.row(k % n)));
        masses.iter().enumerate().filter(|(_, mass)| **mass > 1e-12).map(pair).collect()
    };
    let independent = weighted(&vec![1.0; n * n]);
    let stop = Stop::new(1e-8, 100_000).unwrap();
    let entropic = Sinkhorn::new(SquaredEuclidean, 2.0, stop).unwrap().plan(&squared(&noise, &data)).unwrap();
    let entropic = weighted(entropic.masses());
    let (x, y) = (tensor(&noise), tensor(&data));
    let pairing = ExactOt::new();
    let pairing = pairing.pair(&Uncoupled::new(&x, &y, crate::key(0), 0)).unwrap();
    let exact: Vec<_> = pairing
        .noise
        .iter()
        .zip(&pairing.data)
        .map(|(&i, &j)| (1.0, point(noise.row(i)), point(data.row(j))))
        .collect();

    let [independent, entropic, exact] =
        [independent, entropic, exact].map(|pairs| bend(&velocity(&pairs), &starts, &data));
    println!(
        "length / displacement - 1, relative bend: independent {independent:?}, entropic {entropic:?}, exact {exact:?}"
    );
    for k in 0..2 {
        assert!(exact[k] < entropic[k] && entropic[k] < independent[k]);
        assert!(exact[k] < 0.2 * independent[k]);
    }
}
