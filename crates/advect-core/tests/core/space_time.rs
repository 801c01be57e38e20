//! Brownian paths with space-time Levy area: laws, consistency, one path for all rows and states.

use advect_analytic::statistics::{correlation, kolmogorov_smirnov, normal_cdf};
use advect_core::{Brownian, BrownianPath, SpaceTimeLevyArea, TimeGrid, Times, WhiteNoise};
use burn::tensor::{DType, Device, Tensor};

const SEED: u64 = 11;
const ROWS: usize = 128;
/// Rows of 1024 elements: n = 131,072 paths.
const N: usize = ROWS * 1024;
/// sqrt(n) times the Kolmogorov-Smirnov distance exceeds this with probability 1e-3.
const KS_LIMIT: f64 = 1.95;

#[derive(Debug, Clone, Copy)]
struct Pieces {
    w: f64,
    h: f64,
}

/// Draws of all paths over an interval.
fn draw(path: &mut BrownianPath, from: f64, to: f64) -> Vec<Pieces> {
    let like = vec![[0.0; 1024]; ROWS];
    let (w, h) = path.increment_and_area(&like, &from.into(), &to.into());
    w.iter().flatten().zip(h.iter().flatten()).map(|(&w, &h)| Pieces { w, h }).collect()
}

fn ks(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    assert_eq!(values.len(), N);
    kolmogorov_smirnov(&mut values, normal_cdf) * (N as f64).sqrt()
}

fn ids() -> Vec<u64> {
    (0..ROWS as u64).collect()
}

fn independent(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>, what: &str) {
    let r = correlation(&a.collect::<Vec<_>>(), &b.collect::<Vec<_>>());
    assert!(r.abs() < 4.0 / (N as f64).sqrt(), "{what}: correlation {r}");
}

#[test]
fn increments_and_areas_are_normal_of_the_right_width_and_independent() {
    // n = 131,072 draws each, seed SEED: whole cells, halves, dyadic and other times, across cells, short intervals.
    let mut tree = BrownianPath::new(SEED, ids(), 0.0, 2.0, 40).unwrap();
    let mut cells = BrownianPath::on_grid(SEED, ids(), &TimeGrid::uniform(0.0, 2.0, 7).unwrap(), 40);
    for path in [&mut tree, &mut cells] {
        for (from, to) in [(0.0_f64, 2.0_f64), (0.0, 1.0), (1.0, 1.5), (0.3, 1.7), (1.234, 1.235), (0.7, 0.2)] {
            let z = draw(path, from, to);
            let width = (to - from).abs().sqrt();
            assert!(ks(z.iter().map(|z| z.w / width)) < KS_LIMIT, "W over [{from}, {to}]");
            assert!(ks(z.iter().map(|z| z.h / width * 12.0_f64.sqrt())) < KS_LIMIT, "H over [{from}, {to}]");
            independent(z.iter().map(|z| z.w), z.iter().map(|z| z.h), "W and H");
        }
    }
    // Neighbours, and an interval against the one beside it in another cell.
    for path in [&mut tree, &mut cells] {
        let (a, b) = (draw(path, 0.1, 0.9), draw(path, 0.9, 1.3));
        independent(a.iter().map(|z| z.w), b.iter().map(|z| z.w), "neighbours' W");
        independent(a.iter().map(|z| z.h), b.iter().map(|z| z.h), "neighbours' H");
        independent(a.iter().map(|z| z.w), b.iter().map(|z| z.h), "W and the neighbour's H");
        independent(a.iter().map(|z| z.h), b.iter().map(|z| z.w), "H and the neighbour's W");
    }
}

#[test]
fn given_the_ends_the_inside_is_a_bridge() {
    // n = 131,072, seed SEED. Given W over [a, b]: W(u) - W(a) is normal around r W with variance h r (1 - r). Given H
    // too: around r W + 6 r (1 - r) H with variance h (r (1 - r) - 3 r^2 (1 - r)^2) (covariance of bridge and mean).
    let mut tree = BrownianPath::new(SEED, ids(), 0.0, 1.0, 40).unwrap();
    let mut cells = BrownianPath::on_grid(SEED, ids(), &TimeGrid::uniform(0.0, 1.0, 5).unwrap(), 40);
    for path in [&mut tree, &mut cells] {
        for (a, u, b) in [(0.0, 0.5, 1.0), (0.2, 0.3, 0.4), (0.1, 0.37, 0.93), (0.0, 0.3, 1.0)] {
            let (h, r) = (b - a, (u - a) / (b - a));
            let (whole, part) = (draw(path, a, b), draw(path, a, u));
            let given_w = (h * r * (1.0 - r)).sqrt();
            let z = whole.iter().zip(&part).map(|(z, p)| (p.w - r * z.w) / given_w);
            assert!(ks(z) < KS_LIMIT, "W({u}) given the ends {a}, {b}");
            let given_both = (h * (r * (1.0 - r) - 3.0 * (r * (1.0 - r)).powi(2))).sqrt();
            let residual = |(z, p): (&Pieces, &Pieces)| (p.w - r * z.w - 6.0 * r * (1.0 - r) * z.h) / given_both;
            assert!(ks(whole.iter().zip(&part).map(residual)) < KS_LIMIT, "W({u}) given ends and area {a}, {b}");
            independent(whole.iter().zip(&part).map(residual), whole.iter().map(|z| z.h), "residual and H");
            independent(whole.iter().zip(&part).map(residual), whole.iter().map(|z| z.w), "residual and W");
        }
    }
}

#[test]
fn parts_add_up_to_the_whole() {
    // W = sum W_i; h H = sum h_i (H_i + W_i / 2 + what came before) - h W / 2, from the definition as an integral.
    let grid = TimeGrid::new(vec![0.0, 0.5, 0.7, 2.0]).unwrap();
    for mut path in
        [BrownianPath::new(SEED, ids(), 0.0, 2.0, 48).unwrap(), BrownianPath::on_grid(SEED, ids(), &grid, 48)]
    {
        let like = vec![0.0; ROWS];
        for (from, to, parts) in [(0.0, 2.0, 3), (0.3, 1.7, 11), (0.25, 0.5, 64), (0.6, 0.600_1, 7), (1.7, 0.3, 9)] {
            let (w, h) = path.increment_and_area(&like, &from.into(), &to.into());
            let (mut sum, mut integral) = ([0.0; ROWS], [0.0; ROWS]);
            for pair in TimeGrid::uniform(from, to, parts).unwrap().points().windows(2) {
                let (a, b) = path.increment_and_area(&like, &pair[0].into(), &pair[1].into());
                for row in 0..ROWS {
                    integral[row] += (pair[1] - pair[0]) * (b[row] + 0.5 * a[row] + sum[row]);
                    sum[row] += a[row];
                }
            }
            for row in 0..ROWS {
                assert!((sum[row] - w[row]).abs() < 1e-12, "W over [{from}, {to}]");
                let area = integral[row] / (to - from) - 0.5 * w[row];
                assert!((area - h[row]).abs() < 1e-12, "H over [{from}, {to}]: {area} {}", h[row]);
            }
        }
    }
}

#[test]
fn values_do_not_depend_on_what_was_asked_before() {
    let grid = TimeGrid::uniform(0.0, 1.0, 6).unwrap();
    let like = vec![0.0; 3];
    let queries = [(0.0, 1.0), (0.1, 0.7), (1.0 / 6.0, 0.5), (0.25, 0.26), (0.9, 0.2), (1.0 / 3.0, 0.5)];
    let fresh = || BrownianPath::on_grid(SEED, vec![5, 1, 9], &grid, 40);
    let ask = |path: &mut BrownianPath, (a, b): (f64, f64)| path.increment_and_area(&like, &a.into(), &b.into());
    let alone: Vec<_> = queries.iter().map(|&q| ask(&mut fresh(), q)).collect();
    let (mut forth, mut back) = (fresh(), fresh());
    for i in 0..queries.len() {
        assert_eq!(ask(&mut forth, queries[i]), alone[i]);
        let last = queries.len() - 1 - i;
        assert_eq!(ask(&mut back, queries[last]), alone[last]);
        // The increment alone is the same number, and back is minus forth with the same area.
        let (a, b) = queries[i];
        assert_eq!(forth.increment(&like, &a.into(), &b.into()), alone[i].0);
        let (w, h) = ask(&mut forth, (b, a));
        assert_eq!((w.iter().map(|w| -w).collect::<Vec<_>>(), h), alone[i]);
    }
    // A grid that runs down has the same cells.
    let down = TimeGrid::new(grid.points().iter().rev().copied().collect()).unwrap();
    let mut down = BrownianPath::on_grid(SEED, vec![5, 1, 9], &down, 40);
    assert_eq!(ask(&mut down, queries[1]), alone[1]);
    // Depth refines and does not change.
    let mut deep = BrownianPath::on_grid(SEED, vec![5, 1, 9], &grid, 48);
    assert_eq!(ask(&mut deep, (1.0 / 6.0, 0.5)), alone[2]);
    // Times that round-off moved are the same time.
    let (w, _) = ask(&mut deep, (1.0 / 6.0 + 2e-17, 0.5 - 1e-16));
    assert_eq!(w, alone[2].0);
}

#[test]
fn a_fixed_grid_reads_one_number_a_step() {
    // Counted by what the state is asked for: one normal an increment over a cell, two with its area, two more to halve.
    use advect_core::{Gaussian, State, Tolerance};
    use std::cell::Cell;
    #[derive(Clone, Debug)]
    struct Counting<'a>(f64, &'a Cell<u32>);
    impl State for Counting<'_> {
        fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
            Self(terms.iter().fold(scale * self.0, |sum, (c, d)| sum + c * d.0), self.1)
        }
        fn scaled_norm(&self, _: &Self, _: &Self, _: Tolerance) -> f64 {
            0.0
        }
    }
    impl Gaussian for Counting<'_> {
        fn standard_normal(&self, stream: &mut dyn FnMut(usize) -> rand_chacha::ChaCha8Rng) -> Self {
            self.1.set(self.1.get() + 1);
            Self(advect_core::normal(&mut stream(0)), self.1)
        }
    }
    let grid = TimeGrid::uniform(0.0, 1.0, 100).unwrap();
    let mut path = BrownianPath::on_grid(SEED, vec![0], &grid, 48);
    let draws = Cell::new(0);
    let like = Counting(0.0, &draws);
    for pair in grid.points().windows(2) {
        let (from, to, middle) = (pair[0].into(), pair[1].into(), (0.5 * (pair[0] + pair[1])).into());
        draws.set(0);
        path.increment(&like, &from, &to);
        assert_eq!(draws.replace(0), 1);
        path.increment_and_area(&like, &from, &to);
        assert_eq!(draws.replace(0), 2);
        path.increment(&like, &from, &middle);
        assert_eq!(draws.replace(0), 3);
        path.increment_and_area(&like, &middle, &to);
        assert_eq!(draws.replace(0), 4);
    }
}

#[test]
fn rows_tensors_and_numbers_agree() {
    let ids: Vec<u64> = vec![4, 9, 2, 4];
    let (from, to) = ([0.0, 0.3, 1.0, 0.4], [0.5, 0.300_1, 0.2, 0.4]);
    let grid = TimeGrid::uniform(0.0, 1.0, 3).unwrap();
    let path = |ids: Vec<u64>| BrownianPath::on_grid(SEED, ids, &grid, 30);
    let (from_rows, to_rows) = (Times::Each(from.to_vec()), Times::Each(to.to_vec()));
    let together = path(ids.clone()).increment_and_area(&vec![[0.0; 2]; 4], &from_rows, &to_rows);
    let like = Tensor::<2>::zeros([4, 2], (&Device::flex(), DType::F64));
    let (w, h) = path(ids.clone()).increment_and_area(&like, &from_rows, &to_rows);
    let (w, h) = (w.try_into_vec_as::<f64>().unwrap(), h.try_into_vec_as::<f64>().unwrap());
    for row in 0..4 {
        let alone = path(vec![ids[row]]).increment_and_area(&[0.0; 2], &from[row].into(), &to[row].into());
        assert_eq!((together.0[row], together.1[row]), alone, "row {row}");
        for i in 0..2 {
            assert!((w[2 * row + i] - alone.0[i]).abs() < 1e-14 && (h[2 * row + i] - alone.1[i]).abs() < 1e-14);
        }
    }
    assert_eq!(together.0[3], [0.0; 2]);
    // White noise too: each row by its own id and count, the area independent of the increment.
    let mut white = WhiteNoise::new(SEED, ids.clone());
    let first = white.increment_and_area(&vec![0.0; 4], &0.0.into(), &0.5.into());
    let second = white.increment_and_area(&vec![0.0; 4], &0.5.into(), &1.0.into());
    assert!(first.0 != second.0 && first.1 != second.1);
    for row in 0..4 {
        let mut alone = WhiteNoise::new(SEED, vec![ids[row]]);
        let (w, h) = alone.increment_and_area(&0.0, &0.0.into(), &0.5.into());
        assert_eq!((first.0[row], first.1[row]), (w, h));
    }
    let mut without = WhiteNoise::new(SEED, ids);
    assert_eq!(without.increment(&vec![0.0; 4], &0.0.into(), &0.5.into()), first.0);
}

#[test]
fn white_noise_has_areas_of_the_right_law() {
    // n = 131,072, seed SEED.
    let mut white = WhiteNoise::new(SEED, ids());
    let (w, h) = white.increment_and_area(&vec![[0.0; 1024]; ROWS], &0.0.into(), &0.3.into());
    let (w, h): (Vec<f64>, Vec<f64>) = (w.concat(), h.concat());
    assert!(ks(w.iter().map(|w| w / 0.3_f64.sqrt())) < KS_LIMIT);
    assert!(ks(h.iter().map(|h| h / 0.025_f64.sqrt())) < KS_LIMIT);
    independent(w.into_iter(), h.into_iter(), "W and H");
}

#[test]
fn below_the_finest_level_it_is_the_parabola_of_increment_and_area() {
    // W(s) = s W + 6 s (1 - s) H; its area over a part of length l is l^2 H.
    let mut path = BrownianPath::new(SEED, vec![0], 0.0, 1.0, 0).unwrap();
    let (w, h) = path.increment_and_area(&0.0, &0.0.into(), &1.0.into());
    let at = |s: f64| s * w + 6.0 * s * (1.0 - s) * h;
    let (part, area) = path.increment_and_area(&0.0, &0.2.into(), &0.6.into());
    assert!((part - (at(0.6) - at(0.2))).abs() < 1e-15 && (area - 0.16 * h).abs() < 1e-15);
}
