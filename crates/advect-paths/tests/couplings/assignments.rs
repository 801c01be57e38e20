use crate::{cloud, key, squared, tensor};
use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose};
use advect_paths::{
    Assignment, Cost, CostMatrix, Coupling, Euclidean, ExactOt, Immiscible, NearestNoise, Pairing, PartialOt, Rows,
    SourceLaw, SquaredEuclidean, Uncoupled, assign,
};
use rand::RngExt;

/// All permutations of `0..n` by Heap's algorithm, each handed to `visit`.
fn permutations(n: usize, visit: &mut impl FnMut(&[usize])) {
    fn heap(k: usize, items: &mut [usize], visit: &mut impl FnMut(&[usize])) {
        if k <= 1 {
            return visit(items);
        }
        for i in 0..k {
            heap(k - 1, items, visit);
            if i + 1 < k {
                items.swap(if k.is_multiple_of(2) { i } else { 0 }, k - 1);
            }
        }
    }
    heap(n, &mut (0..n).collect::<Vec<_>>(), visit);
}

fn total(cost: &CostMatrix, columns: &[usize]) -> f64 {
    columns.iter().enumerate().map(|(i, &j)| cost.row(i)[j]).sum()
}

/// The least total cost and how many permutations reach it, by trying all.
fn brute_force(cost: &CostMatrix) -> (f64, usize, Vec<usize>) {
    let (mut best, mut count, mut seen, mut argmin) = (f64::INFINITY, 0, 0, Vec::new());
    permutations(cost.rows(), &mut |columns| {
        seen += 1;
        let value = total(cost, columns);
        if value < best - 1e-12 {
            (best, count, argmin) = (value, 1, columns.to_vec());
        } else if value <= best + 1e-12 {
            count += 1;
        }
    });
    assert_eq!(seen, (1..=cost.rows()).product::<usize>());
    (best, count, argmin)
}

/// A permutation, feasible potentials and no gap prove that an assignment is optimal, however it was found.
fn prove(cost: &CostMatrix, found: &Assignment) {
    let n = cost.rows();
    let scale = 1.0 + cost.values().iter().fold(0.0, |top: f64, c| top.max(c.abs()));
    let mut taken = vec![false; n];
    for &j in &found.columns {
        assert!(!std::mem::replace(&mut taken[j], true), "column {j} twice");
    }
    for i in 0..n {
        for j in 0..n {
            let slack = cost.row(i)[j] - found.row_potentials[i] - found.column_potentials[j];
            assert!(slack >= -1e-12 * scale, "potentials are not feasible at ({i}, {j}): {slack}");
        }
    }
    let dual: f64 = found.row_potentials.iter().chain(&found.column_potentials).sum();
    let primal = total(cost, &found.columns);
    assert!((primal - found.cost).abs() <= 1e-12 * scale * n as f64);
    assert!((primal - dual).abs() <= 1e-12 * scale * n as f64, "gap {} of {primal}", primal - dual);
    assert!(found.rows().iter().enumerate().all(|(column, &row)| found.columns[row] == column));
}

/// Costs at random (continuous, or small integers, which tie), degenerate ones, negative ones.
fn cases(n: usize) -> Vec<(&'static str, CostMatrix)> {
    let mut rng = NoiseKey::new(5, Purpose::Data).rng(n as u64, 0);
    let mut of = |value: &mut dyn FnMut(f64, usize) -> f64| {
        let values = (0..n * n).map(|k| value(rng.random(), k)).collect();
        CostMatrix::new(values, n).unwrap()
    };
    vec![
        ("uniform", of(&mut |u, _| u)),
        ("negative", of(&mut |u, _| u - 2.0)),
        ("ties", of(&mut |u, _| (4.0 * u).floor())),
        ("zero or one", of(&mut |u, _| if u < 0.6 { 1.0 } else { 0.0 })),
        ("all equal", of(&mut |_, _| 0.7)),
        ("product", of(&mut |_, k| ((k / n) * (k % n)) as f64)),
        ("equal rows", of(&mut |_, k| ((k % n) as f64).sqrt())),
        ("equal columns", of(&mut |_, k| ((k / n) as f64).sin())),
        ("huge and tiny", of(&mut |u, k| if k.is_multiple_of(3) { 1e9 * u } else { 1e-6 * u })),
        ("points", squared(&cloud(1, n, 2, 0.0), &cloud(2, n, 2, 1.0))),
        ("doubled points", {
            let double = |rows: &Rows| Rows::new(rows.iter().flat_map(|r| [r, r].concat()).collect(), 2 * rows.count());
            let half = |seed| double(&cloud(seed, n.div_ceil(2), 2, 0.0)).unwrap();
            let (a, b) = (half(3), half(4));
            let cut = |rows: &Rows| Rows::new(rows.iter().take(n).flatten().copied().collect(), n).unwrap();
            squared(&cut(&a), &cut(&b))
        }),
    ]
}

#[test]
fn eight_points_are_matched_as_by_trying_all_40320_permutations() {
    for (name, cost) in cases(8) {
        let (best, count, argmin) = brute_force(&cost);
        let found = assign(&cost).unwrap();
        let scale = 1.0 + best.abs();
        assert!((found.cost - best).abs() <= 1e-12 * scale, "{name}: {} vs {best}", found.cost);
        if count == 1 {
            assert_eq!(found.columns, argmin, "{name}");
        }
        prove(&cost, &found);
    }
}

#[test]
fn small_assignments_are_optimal_in_many_random_cases() {
    // Sizes 1 to 6, 60 seeds, costs from {0..m}: most have ties and displaced rows.
    for seed in 0..60 {
        for n in 1..=6 {
            let mut rng = NoiseKey::new(seed, Purpose::Data).rng(n as u64, 1);
            let values = (0..n * n).map(|_| f64::from(rng.random_range(0..2 + seed as u32))).collect();
            let cost = CostMatrix::new(values, n).unwrap();
            let found = assign(&cost).unwrap();
            assert_eq!(found.cost, brute_force(&cost).0, "seed {seed}, n {n}");
            prove(&cost, &found);
        }
    }
}

#[test]
fn large_assignments_carry_their_proof() {
    for n in [2, 3, 17, 64, 300] {
        for (name, cost) in cases(n) {
            let found = assign(&cost).unwrap();
            prove(&cost, &found);
            if name == "product" {
                // Sorted against sorted backwards: the rearrangement inequality.
                assert_eq!(found.cost, (0..n).map(|i| (i * (n - 1 - i)) as f64).sum::<f64>());
            }
        }
    }
}

#[test]
fn in_one_dimension_optimal_transport_sorts() {
    let (noise, data) = (cloud(8, 200, 1, 0.0), cloud(9, 200, 1, 3.0));
    let order = |rows: &Rows| {
        let mut order: Vec<usize> = (0..rows.count()).collect();
        order.sort_by(|&a, &b| rows.row(a)[0].total_cmp(&rows.row(b)[0]));
        order
    };
    let mut sorted = vec![0; 200];
    for (n, d) in order(&noise).into_iter().zip(order(&data)) {
        sorted[d] = n;
    }
    let pairing = ExactOt::new().pair(&Uncoupled::new(&tensor(&noise), &tensor(&data), key(0), 0)).unwrap();
    assert_eq!(pairing, Pairing { noise: sorted, data: (0..200).collect() });
}

#[test]
fn immiscible_noise_lies_at_the_least_total_distance_not_its_square() {
    // Noise 0 and 1, data 1 and 3, slightly off the line. Squares: 1 + 4 beats 9 + 0; distances: 3 + 0 beats 1 + 2
    // off the line.
    let noise = Rows::new(vec![0.0, 0.0, 1.0, 0.0], 2).unwrap();
    let data = Rows::new(vec![1.0, 0.0, 3.0, 0.2], 2).unwrap();
    let (noise, data) = (tensor(&noise), tensor(&data));
    let batch = Uncoupled::new(&noise, &data, key(0), 0);
    assert_eq!(ExactOt::new().pair(&batch).unwrap().noise, [0, 1]);
    assert_eq!(ExactOt { cost: Euclidean }.pair(&batch).unwrap().noise, [1, 0]);
    assert_eq!(Immiscible.pair(&batch).unwrap().noise, [1, 0]);
    // A cost of one's own: whatever is far is good.
    let far = ExactOt { cost: |a: &[f64], b: &[f64]| -(a[0] - b[0]).abs() - a[0] * b[0] };
    assert_eq!(far.pair(&batch).unwrap().noise, [0, 1]);
}

#[test]
fn partial_transport_is_the_cheapest_choice_of_pairs() {
    // Five noise rows, four data rows, by trying all: each permutation of the five, of which the best k columns count.
    let (noise, data) = (cloud(21, 5, 2, 0.0), cloud(22, 4, 2, 1.0));
    for shift in [0.0, -6.0] {
        let values = squared(&noise, &data).values().iter().map(|c| c + shift).collect();
        let cost = CostMatrix::new(values, 5).unwrap();
        for k in 1..=4 {
            let mut best = f64::INFINITY;
            permutations(5, &mut |rows| {
                let mut costs: Vec<f64> = (0..4).map(|j| cost.row(rows[j])[j]).collect();
                costs.sort_by(f64::total_cmp);
                best = best.min(costs[..k].iter().sum());
            });
            let found = PartialOt::new(SquaredEuclidean, k as f64 / 4.0).unwrap().pairs(&cost).unwrap();
            let value: f64 = found.noise.iter().zip(&found.data).map(|(&i, &j)| cost.row(i)[j]).sum();
            assert!(found.data.is_sorted_by(|a, b| a < b) && found.data.len() == k);
            let mut rows = found.noise.clone();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), k, "a noise row twice");
            assert!((value - best).abs() < 1e-12, "k = {k}: {value} vs {best}");
        }
    }
}

#[test]
fn partial_transport_leaves_outliers_out() {
    // A cloud, and one data row a thousand away: nine tenths of the pairs are without it.
    let mut values: Vec<f64> = cloud(31, 10, 2, 0.0).iter().flatten().copied().collect();
    values[6] = 1000.0;
    let data = tensor(&Rows::new(values, 10).unwrap());
    let noise = tensor(&cloud(32, 10, 2, 0.0));
    let pairs = PartialOt::new(SquaredEuclidean, 0.9).unwrap().pair(&Uncoupled::new(&noise, &data, key(0), 0)).unwrap();
    assert_eq!(pairs.data, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    let (noise, data) = pairs.apply(noise, data);
    assert_eq!((noise.dims(), data.dims()), ([9, 2], [9, 2]));
}

#[test]
fn nearest_noise_is_the_largest_of_its_candidates_far_out() {
    // n = 4,000 data at (1e4, 0), seed 41. Expected maxima of k normals: 1 / sqrt(pi) and 3 / (2 sqrt(pi)); the second
    // coordinate decides nothing and stays N(0, 1).
    let n = 4000;
    let data = Rows::new((0..2 * n).map(|k| if k % 2 == 0 { 1e4 } else { 0.0 }).collect(), n).unwrap();
    for (k, exact) in [(1, 0.0), (2, 0.564_189_583_5), (3, 0.846_284_375_3)] {
        let noise = cloud(41, n * k, 2, 0.0);
        let coupling = NearestNoise::new(k).unwrap();
        let pairing = coupling.pair(&Uncoupled::new(&tensor(&noise), &tensor(&data), key(0), 0)).unwrap();
        assert!(pairing.noise.iter().enumerate().all(|(i, row)| row / k == i), "candidates of its own");
        let along: Vec<f64> = pairing.noise.iter().map(|&row| noise.row(row)[0]).collect();
        let across: Vec<f64> = pairing.noise.iter().map(|&row| noise.row(row)[1]).collect();
        assert!(Estimate::mean(&along).deviation(exact) < 4.0, "k = {k}: {:?}", Estimate::mean(&along));
        assert!(Estimate::mean(&across).deviation(0.0) < 4.0 && Estimate::variance(&across).deviation(1.0) < 4.0);
    }
}

#[test]
fn costs_are_what_they_say() {
    // Widths around the four sums side by side; distances by the law of cosines.
    for width in [1, 2, 3, 4, 5, 8, 11] {
        let (a, b) = (cloud(51, 3, width, 0.0), cloud(52, 2, width, 1.0));
        let (squares, distances) = (squared(&a, &b), Euclidean.matrix(&a, &b).unwrap());
        for i in 0..3 {
            for j in 0..2 {
                let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
                let (x, y) = (a.row(i), b.row(j));
                let exact = dot(x, x) + dot(y, y) - 2.0 * dot(x, y);
                assert!((squares.row(i)[j] - exact).abs() < 1e-12 * (1.0 + exact));
                assert!((distances.row(i)[j].powi(2) - exact).abs() < 1e-12 * (1.0 + exact));
            }
        }
    }
}

#[test]
fn what_looks_at_values_has_no_gaussian_law_any_more() {
    let before = SourceLaw::GaussianIndependent;
    assert_eq!(Coupling::<2>::source_law(&ExactOt::new(), before), SourceLaw::Other);
    assert_eq!(Coupling::<2>::source_law(&Immiscible, before), SourceLaw::Other);
    assert_eq!(Coupling::<2>::source_law(&NearestNoise::new(2).unwrap(), before), SourceLaw::Other);
    let partial = PartialOt::new(SquaredEuclidean, 0.5).unwrap();
    assert_eq!(Coupling::<2>::source_law(&partial, before), SourceLaw::Other);
}
