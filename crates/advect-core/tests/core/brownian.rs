//! Brownian paths and white noise.

use advect_analytic::statistics::{Estimate, correlation};
use advect_core::{Brownian, BrownianPath, CoreError, Times, WhiteNoise};
use burn::tensor::{DType, Device, Tensor};

const SEED: u64 = 5;
const N: usize = 20_000;

fn path(start: f64, end: f64, depth: u32) -> BrownianPath {
    BrownianPath::new(SEED, (0..N as u64).collect(), start, end, depth).unwrap()
}

fn products(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a * b).collect()
}

#[test]
fn the_covariance_is_the_smaller_time() {
    // n = 20,000 paths, seed SEED, over [1, 3]: Cov(W_s, W_t) = min(s, t) - 1. Times on all levels of the tree.
    let path = path(1.0, 3.0, 12);
    let like = vec![0.0; N];
    let times = [1.25, 1.5, 1.8125, 2.0, 2.7, 3.0];
    let values: Vec<Vec<f64>> = times.iter().map(|&t| path.value(&like, &Times::Shared(t))).collect();
    assert!(path.value(&like, &Times::Shared(1.0)).iter().all(|w| *w == 0.0));
    for (i, &s) in times.iter().enumerate() {
        assert!(Estimate::mean(&values[i]).deviation(0.0) < 4.0, "mean at {s}");
        for (j, &t) in times.iter().enumerate().skip(i) {
            let covariance = Estimate::mean(&products(&values[i], &values[j]));
            assert!(covariance.deviation(s.min(t) - 1.0) < 4.0, "W({s}) W({t}): {covariance:?}");
        }
    }
    // Normal: the fourth moment is three times the squared variance.
    let fourth: Vec<f64> = values[2].iter().map(|w| w.powi(4)).collect();
    assert!(Estimate::mean(&fourth).deviation(3.0 * 0.8125 * 0.8125) < 4.0);
}

#[test]
fn increments_are_independent_and_as_wide_as_their_time() {
    let like = vec![0.0; N];
    let noises: [&mut dyn Brownian<Vec<f64>>; 2] =
        [&mut path(0.0, 1.0, 10), &mut WhiteNoise::new(SEED, (0..N as u64).collect())];
    for noise in noises {
        let a = noise.increment(&like, &0.0.into(), &0.25.into());
        let b = noise.increment(&like, &0.25.into(), &0.5.into());
        let c = noise.increment(&like, &1.0.into(), &0.5.into());
        for (values, variance) in [(&a, 0.25), (&b, 0.25), (&c, 0.5)] {
            assert!(Estimate::mean(values).deviation(0.0) < 4.0);
            assert!(Estimate::variance(values).deviation(variance) < 4.0);
        }
        for (x, y) in [(&a, &b), (&a, &c), (&b, &c)] {
            assert!(correlation(x, y).abs() < 4.0 / (N as f64).sqrt());
        }
    }
}

#[test]
fn a_path_is_a_function_of_time() {
    let mut path = BrownianPath::new(SEED, vec![3, 8], 0.0, 1.0, 30).unwrap();
    let like = vec![0.0; 2];
    let first = path.increment(&like, &0.1.into(), &0.7.into());
    // What was asked for in between does not matter; back is minus forth; parts add up.
    path.increment(&like, &0.2.into(), &0.3.into());
    assert_eq!(path.increment(&like, &0.1.into(), &0.7.into()), first);
    let back = path.increment(&like, &0.7.into(), &0.1.into());
    for row in 0..2 {
        assert_eq!(back[row], -first[row]);
        let parts: f64 = [0.1, 0.2, 0.35, 0.5, 0.69, 0.7]
            .windows(2)
            .map(|pair| path.increment(&like, &pair[0].into(), &pair[1].into())[row])
            .sum();
        assert!((parts - first[row]).abs() < 1e-13);
    }
    // Outside the span it stands still.
    assert_eq!(path.value(&like, &(-1.0).into()), [0.0, 0.0]);
    assert_eq!(path.value(&like, &2.0.into()), path.value(&like, &1.0.into()));
}

#[test]
fn finer_trees_go_through_the_points_of_coarser_ones() {
    let like = vec![0.0; N];
    for t in [0.25, 0.5, 0.625, 1.0] {
        assert_eq!(path(0.0, 1.0, 3).value(&like, &t.into()), path(0.0, 1.0, 20).value(&like, &t.into()));
    }
    // Below the finest level the path is a parabola: third differences vanish, the second do not.
    let coarse = path(0.0, 1.0, 3);
    let at = |t: f64| coarse.value(&like, &t.into())[7];
    let w = [0.25, 0.28, 0.31, 0.34].map(at);
    assert!((w[3] - 3.0 * w[2] + 3.0 * w[1] - w[0]).abs() < 1e-15);
    assert!((w[2] - 2.0 * w[1] + w[0]).abs() > 1e-4);
}

#[test]
fn rows_at_their_own_times_equal_rows_on_their_own() {
    let times = [0.0, 0.3, 1.0, 0.5, 0.300_000_1];
    let ids: Vec<u64> = vec![4, 9, 2, 4, 9];
    let path = BrownianPath::new(SEED, ids.clone(), 0.0, 1.0, 24).unwrap();
    let together = path.value(&vec![0.0; 5], &Times::Each(times.to_vec()));
    let tensor = path.value(&Tensor::<2>::zeros([5, 1], (&Device::flex(), DType::F64)), &Times::Each(times.to_vec()));
    let tensor = tensor.try_into_vec_as::<f64>().unwrap();
    for row in 0..5 {
        let alone = BrownianPath::new(SEED, vec![ids[row]], 0.0, 1.0, 24).unwrap();
        let value = alone.value(&0.0, &times[row].into());
        assert_eq!(together[row], value, "row {row}");
        assert!((tensor[row] - value).abs() < 1e-14, "row {row}");
    }
    let mut noise = WhiteNoise::new(SEED, ids);
    let each = noise.increment(&vec![0.0; 5], &0.0.into(), &Times::Each(times.to_vec()));
    for row in 0..5 {
        let mut alone = WhiteNoise::new(SEED, vec![[4, 9, 2, 4, 9][row]]);
        assert_eq!(each[row], alone.increment(&0.0, &0.0.into(), &times[row].into()));
    }
}

#[test]
fn spans_are_checked() {
    for (start, end) in [(1.0, 1.0), (1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert!(matches!(BrownianPath::new(SEED, vec![0], start, end, 4), Err(CoreError::Span { .. })));
    }
    // A depth beyond f64 is cut, not an overflow.
    let deep = BrownianPath::new(SEED, vec![0], 0.0, 1.0, 1000).unwrap();
    assert!(deep.value(&0.0, &(1.0 / 3.0).into()).is_finite());
}
