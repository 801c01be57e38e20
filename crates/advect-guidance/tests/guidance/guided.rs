use crate::{Labelled, close, each};
use advect_core::{Counted, Field, RowField, Times};
use advect_guidance::{Guided, constant, interval};

const X: [f64; 3] = [1.0, -2.0, 0.5];

fn fields() -> (Labelled, Labelled) {
    (Labelled::new(&[2.0, 3.0, 5.0]), Labelled::new(&[-1.0, -1.0, -1.0]))
}

fn eval(weight: f64, t: &Times) -> (Vec<f64>, (usize, usize), (usize, usize)) {
    let (strong, weak) = fields();
    let guided = Guided { strong, weak, scale: constant(weight) };
    let value = guided.eval(X.to_vec(), t);
    (value, guided.strong.taken(), guided.weak.taken())
}

#[test]
fn weight_one_is_the_strong_field_at_one_evaluation() {
    let (strong, _) = fields();
    for t in [Times::Shared(0.3), each(&[0.1, 0.5, 0.9])] {
        let (value, cost_strong, cost_weak) = eval(1.0, &t);
        assert_eq!(value, strong.eval(X.to_vec(), &t), "bit for bit");
        assert_eq!((cost_strong, cost_weak), ((1, 3), (0, 0)));
    }
}

#[test]
fn weight_zero_is_the_weak_field_at_one_evaluation() {
    let (_, weak) = fields();
    for t in [Times::Shared(0.3), each(&[0.1, 0.5, 0.9])] {
        let (value, cost_strong, cost_weak) = eval(0.0, &t);
        assert_eq!(value, weak.eval(X.to_vec(), &t), "bit for bit");
        assert_eq!((cost_strong, cost_weak), ((0, 0), (1, 3)));
    }
}

#[test]
fn in_between_and_beyond_it_is_the_line_through_both() {
    // By hand: strong = (2, -6, 2.5) + t, weak = (-1, 2, -0.5) + t, difference (3, -8, 3).
    for weight in [-1.0, 0.25, 2.0, 7.5] {
        let (value, cost_strong, cost_weak) = eval(weight, &Times::Shared(0.5));
        let wanted = [-0.5 + 3.0 * weight, 2.5 - 8.0 * weight, 3.0 * weight];
        assert!(close(&value, &wanted), "w = {weight}: {value:?}");
        assert_eq!((cost_strong, cost_weak), ((1, 3), (1, 3)));
    }
}

#[test]
fn counts_agree_with_the_counter_of_core() {
    let field = |factor: f64| Counted::new(move |x: f64, _t: &Times| factor * x);
    let guided = Guided { strong: field(2.0), weak: field(1.0), scale: interval(3.0, 0.2, 0.8) };
    for t in [0.0, 0.1, 0.9, 1.0] {
        assert_eq!(guided.eval(1.0, &Times::Shared(t)), 2.0, "outside the interval: the strong field alone");
    }
    assert_eq!((guided.strong.calls(), guided.weak.calls()), (4, 0));
    for t in [0.2, 0.5, 0.8] {
        assert_eq!(guided.eval(1.0, &Times::Shared(t)), 4.0);
    }
    assert_eq!((guided.strong.calls(), guided.weak.calls()), (7, 3));
}

#[test]
fn rows_at_different_times_have_their_own_weights() {
    let (strong, weak) = fields();
    let guided = Guided { strong, weak, scale: |t: f64| 4.0 * t };
    // Weights 0, 1 and 3.
    let value = guided.eval(X.to_vec(), &each(&[0.0, 0.25, 0.75]));
    assert!(close(&value, &[-1.0, -6.0 + 0.25, -0.5 + 0.75 + 9.0]), "{value:?}");
    // The same as row by row.
    for row in 0..3 {
        let t = Times::Shared([0.0, 0.25, 0.75][row]);
        let alone = guided.select(&[row]).eval(vec![X[row]], &t);
        assert!(close(&alone, &value[row..=row]), "row {row}");
    }
}

#[test]
fn conditions_follow_their_rows() {
    let (strong, weak) = (Labelled::new(&[2.0, 3.0, 5.0]), Labelled::new(&[-1.0, 0.5, 4.0]));
    let guided = Guided { strong, weak, scale: constant(2.0) };
    let all = guided.eval(X.to_vec(), &Times::Shared(0.5));
    let chosen = guided.select(&[2, 0, 0]).eval(vec![X[2], X[0], X[0]], &Times::Shared(0.5));
    assert_eq!(chosen, [all[2], all[0], all[0]]);
}
