use crate::squared;
use advect_paths::{PartialOt, Rows, Sinkhorn, SquaredEuclidean, Stop, UnbalancedSinkhorn, assign};
use serde_json::Value;

/// Plans by POT, written by tools/fixtures-paths/transport.py.
fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/ot.json")).unwrap()
}

fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn indices(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn points(value: &Value) -> Rows {
    let values = floats(value);
    let count = values.len() / 2;
    Rows::new(values, count).unwrap()
}

#[test]
fn exact_plans_on_256_points_are_pots() {
    let fixture = fixture();
    let cost = squared(&points(&fixture["noise"]), &points(&fixture["data"]));
    let found = assign(&cost).unwrap();
    let theirs = number(&fixture["exact"]["cost"]);
    assert!((found.cost / 256.0 - theirs).abs() < 1e-9, "{} vs {theirs}", found.cost / 256.0);
    // Costs at random have one optimum.
    assert_eq!(found.columns, indices(&fixture["exact"]["columns"]));
}

#[test]
fn partial_plans_on_256_points_are_pots() {
    let fixture = fixture();
    let cost = squared(&points(&fixture["noise"]), &points(&fixture["data"]));
    let theirs = &fixture["partial"];
    let found = PartialOt::new(SquaredEuclidean, number(&theirs["share"])).unwrap().pairs(&cost).unwrap();
    let value: f64 = found.noise.iter().zip(&found.data).map(|(&i, &j)| cost.row(i)[j]).sum();
    assert!((value / 256.0 - number(&theirs["cost"])).abs() < 1e-9, "{}", value / 256.0);
    let mut pairs: Vec<Vec<usize>> = found.noise.iter().zip(&found.data).map(|(&i, &j)| vec![i, j]).collect();
    pairs.sort();
    let theirs: Vec<Vec<usize>> = theirs["pairs"].as_array().unwrap().iter().map(indices).collect();
    assert_eq!(pairs, theirs);
}

#[test]
fn entropic_plans_are_pots() {
    let fixture = fixture();
    let small = squared(&points(&fixture["small_noise"]), &points(&fixture["small_data"]));
    let stop = Stop::new(1e-10, 200_000).unwrap();
    for case in fixture["balanced"].as_array().unwrap() {
        let epsilon = number(&case["epsilon"]);
        let plan = Sinkhorn::new(SquaredEuclidean, epsilon, stop).unwrap().plan(&small).unwrap();
        agree(plan.masses(), &floats(&case["plan"]), &format!("epsilon {epsilon}"));
    }
    for case in fixture["unbalanced"].as_array().unwrap() {
        let [epsilon, noise, data] = ["epsilon", "rho_noise", "rho_data"].map(|name| number(&case[name]));
        let coupling = UnbalancedSinkhorn::new(SquaredEuclidean, epsilon, noise, data, stop).unwrap();
        agree(coupling.plan(&small).unwrap().masses(), &floats(&case["plan"]), &format!("{epsilon} {noise} {data}"));
    }
    let cost = squared(&points(&fixture["noise"]), &points(&fixture["data"]));
    let theirs = &fixture["entropic"];
    let coupling =
        Sinkhorn::new(SquaredEuclidean, number(&theirs["epsilon"]), Stop::new(1e-8, 20_000).unwrap()).unwrap();
    let value = coupling.plan(&cost).unwrap().cost(&cost);
    assert!((value - number(&theirs["cost"])).abs() < 1e-6, "{value} vs {theirs}");
}

fn agree(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (k, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() < 1e-8, "{what}, entry {k}: {a} vs {b}");
    }
}
