use crate::{Labelled, close, each};
use advect_core::{Field, RowField, TimeGrid, Times};
use advect_guidance::{Guided, Paired, constant, interval};
use advect_solvers::{HEUN, solve};
use burn::tensor::{Device, Tensor};

const LABELS: [f64; 4] = [2.0, 3.0, 5.0, -2.0];
const NULL: [f64; 4] = [-1.0, -1.0, 0.5, -1.0];
const X: [f64; 4] = [1.0, -2.0, 0.5, 3.0];

fn guided<G>(scale: G) -> Guided<Labelled, Labelled, G> {
    Guided { strong: Labelled::new(&LABELS), weak: Labelled::new(&NULL), scale }
}

fn paired<G>(scale: G) -> (Labelled, Paired<Labelled, G>) {
    let both = Labelled::new(&[LABELS, NULL].concat());
    (both.clone(), Paired::new(both, 4, scale))
}

#[test]
fn one_call_equals_two() {
    for weight in [-0.5, 0.0, 0.3, 1.0, 4.0] {
        let (network, paired) = paired(constant(weight));
        for t in [Times::Shared(0.4), each(&[0.0, 0.3, 0.6, 1.0])] {
            let value = paired.eval(X.to_vec(), &t);
            assert_eq!(value, guided(constant(weight)).eval(X.to_vec(), &t), "w = {weight}, {t}");
            let rows = if weight == 0.0 || weight == 1.0 { 4 } else { 8 };
            assert_eq!(network.taken(), (1, rows), "w = {weight}, {t}");
        }
    }
}

#[test]
fn rows_cost_what_their_weight_needs() {
    // Weights 0, 1, 2, 1: one weak row, two strong ones, and both parts of one row.
    let scale = |t: f64| 10.0 * t;
    let (network, paired) = paired(scale);
    let times = each(&[0.0, 0.1, 0.2, 0.1]);
    let value = paired.eval(X.to_vec(), &times);
    assert!(close(&value, &guided(scale).eval(X.to_vec(), &times)), "{value:?}");
    assert_eq!(network.taken(), (1, 5));
}

#[test]
fn a_row_that_diverged_stays_alone() {
    let (_, paired) = paired(|t: f64| 10.0 * t);
    for broken in 0..4 {
        let mut x = X.to_vec();
        x[broken] = f64::NAN;
        let value = paired.eval(x, &each(&[0.0, 0.1, 0.2, 0.1]));
        for (row, v) in value.iter().enumerate() {
            assert_eq!(v.is_nan(), row == broken, "row {row}, broken {broken}: {value:?}");
        }
    }
}

#[test]
fn conditions_follow_their_rows() {
    let (_, paired) = paired(constant(2.0));
    let all = paired.eval(X.to_vec(), &Times::Shared(0.5));
    let part = paired.select(&[3, 1]);
    assert_eq!(part.eval(vec![X[3], X[1]], &Times::Shared(0.5)), [all[3], all[1]]);
    // And of a part.
    assert_eq!(part.select(&[1]).eval(vec![X[1]], &Times::Shared(0.5)), [all[1]]);
}

#[test]
fn a_solve_makes_one_call_an_evaluation() {
    let grid = TimeGrid::uniform(0.0, 1.0, 10).unwrap();
    let scale = || interval(3.0, 0.25, 0.65);
    let (network, paired) = paired(scale());
    let one = solve(&paired, HEUN.stepper(), X.to_vec(), &grid).unwrap();
    let (calls, _) = network.taken();
    let two_fields = guided(scale());
    let two = solve(&two_fields, HEUN.stepper(), X.to_vec(), &grid).unwrap();
    assert!(close(&one, &two));
    let (strong, weak) = (two_fields.strong.taken().0, two_fields.weak.taken().0);
    assert_eq!(calls, strong, "every evaluation needs the strong field, in the same call as the weak one");
    assert!(weak > 0 && weak < strong);
}

/// A tensor network with a label a row, as a program has it.
struct Network {
    labels: Tensor<2>,
}

impl Field<Tensor<2>> for Network {
    fn eval(&self, x: Tensor<2>, t: &Times) -> Tensor<2> {
        let time = t.tensor(x.dims()[0], &x.device()).unsqueeze_dim(1);
        (x + self.labels.clone()) * time
    }
}

impl RowField<Tensor<2>> for Network {
    fn select(&self, rows: &[usize]) -> Self {
        Self { labels: advect_core::Batched::gather(&self.labels, rows) }
    }
}

#[test]
fn tensors_too() {
    let device = Device::flex();
    let tensor = |rows: [[f32; 2]; 2]| Tensor::<2>::from_data(rows, &device);
    let (labels, null, x) =
        (tensor([[1.0, 2.0], [3.0, 4.0]]), tensor([[0.0; 2]; 2]), tensor([[0.5, 0.5], [1.0, -1.0]]));
    let scale = |t: f64| 4.0 * t;
    let both = Network { labels: Tensor::cat(vec![labels.clone(), null.clone()], 0) };
    let paired = Paired::new(both, 2, scale);
    let guided = Guided { strong: Network { labels }, weak: Network { labels: null }, scale };
    for t in [Times::Shared(0.5), each(&[0.25, 0.5]), each(&[0.0, 0.75])] {
        let one = paired.eval(x.clone(), &t).into_data();
        one.assert_approx_eq::<f32>(&guided.eval(x.clone(), &t).into_data(), Default::default());
    }
    // By hand at t = 1/2, w = 2: ((x + 2 label) / 2).
    let value = paired.eval(x, &Times::Shared(0.5)).into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(value, [1.25, 2.25, 3.5, 3.5]);
}

#[test]
#[should_panic(expected = "Paired was made for 4 rows and evaluated on 3")]
fn another_number_of_rows_is_a_mistake() {
    let (_, paired) = paired(constant(2.0));
    let _ = paired.eval(vec![0.0; 3], &Times::Shared(0.5));
}
