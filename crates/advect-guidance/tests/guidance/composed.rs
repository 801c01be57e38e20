use crate::{Labelled, NOW, close, each, fixed, random};
use advect_analytic::gaussian::Affine;
use advect_analytic::mixture::Mixture;
use advect_core::{Field, RowField, Times, shared};
use advect_guidance::{Composed, Guided, ZeroStar, constant};

#[test]
fn one_condition_is_classifier_free_guidance() {
    let (strong, weak) = (random::<3>(2, 1), random::<3>(2, 2));
    for t in [NOW, each(&[0.25, 0.9])] {
        for scale in [|t: f64| 4.0 * t, |_: f64| 1.0, |_: f64| 0.0, |_: f64| -2.0] {
            let guided = Guided { strong: fixed(&strong), weak: fixed(&weak), scale };
            let composed = Composed { base: fixed(&weak), conditions: vec![(fixed(&strong), scale)] };
            assert_eq!(composed.eval(weak.clone(), &t), guided.eval(weak.clone(), &t));
            let calls = (composed.conditions[0].0.calls(), composed.base.calls());
            assert_eq!(calls, (guided.strong.calls(), guided.weak.calls()));
        }
    }
}

#[test]
fn conditions_follow_their_rows() {
    let (x, t) = (vec![1.0, -2.0, 0.5], each(&[0.2, 0.4, 0.6]));
    let composed = Composed {
        base: Labelled::new(&[0.0, 1.0, 2.0]),
        conditions: vec![
            (Labelled::new(&[2.0, 3.0, 5.0]), constant(2.0)),
            (Labelled::new(&[-1.0, 4.0, 1.0]), constant(-0.5)),
        ],
    };
    let all = composed.eval(x.clone(), &t);
    // Row 1: -2 (1 + 2 * 2 - 0.5 * 3) + t.
    assert!((all[1] + 6.6).abs() < 1e-12, "{all:?}");
    let part = composed.select(&[2, 1]).eval(vec![x[2], x[1]], &t.select(&[2, 1]));
    assert!(close(&part, &[all[2], all[1]]), "{part:?}");
    // So do those of the rules over a pair of fields.
    let guided = Guided { strong: Labelled::new(&[2.0, 3.0]), weak: Labelled::new(&[1.0, 1.5]), scale: constant(2.0) };
    let star = ZeroStar { guided, zero_until: 0.3 };
    let all = star.eval(x[..2].to_vec(), &each(&[0.2, 0.4]));
    assert_eq!(star.select(&[1]).eval(vec![x[1]], &each(&[0.4])), all[1..]);
}

#[test]
fn by_hand_and_its_cost() {
    let composed = |weights: [f64; 3]| {
        let values = [5.0, -1.0, 2.0];
        let conditions = (0..3).map(|i| (fixed(&values[i]), constant(weights[i]))).collect();
        let composed = Composed { base: fixed(&1.0), conditions };
        let value = composed.eval(0.0, &NOW);
        (value, composed.base.calls(), composed.conditions.iter().map(|c| c.0.calls()).sum::<u64>())
    };
    assert_eq!(composed([2.0, -1.0, 0.5]), (1.0 + 8.0 + 2.0 + 0.5, 1, 3));
    assert_eq!(composed([2.0, 0.0, 0.0]), (9.0, 1, 1));
    // Weights that sum to one leave nothing of the base.
    assert_eq!(composed([0.5, 0.5, 0.0]), (2.0, 0, 2));
    assert_eq!(composed([0.0, 0.0, 0.0]), (1.0, 1, 0));
}

#[test]
fn and_and_not_are_the_gradient_of_the_product() {
    // Labels overlap: a has the components 0 and 1, b has 1 and 2. ln p + w_a ln P(a | x) + w_b ln P(b | x), whose
    // gradient by central differences is the composed score.
    let means = [vec![-1.0, 0.5], vec![1.0, 1.0], vec![0.5, -1.0]];
    let mixture = Mixture::isotropic(&[0.3, 0.3, 0.4], &means, &[0.5, 0.3, 0.4]).unwrap();
    let labels = [[0, 1], [1, 2]];
    for weights in [[1.0, 1.0], [2.0, -0.5], [-1.0, 3.0]] {
        let score = |mixture: Mixture| {
            shared(move |x: [f64; 2], t| {
                let score = mixture.score(Affine::linear(t), &x);
                [score[0], score[1]]
            })
        };
        let conditions =
            (0..2).map(|i| (score(mixture.subset(&labels[i]).unwrap()), constant(weights[i]))).collect::<Vec<_>>();
        let composed = Composed { base: score(mixture.clone()), conditions };
        for (t, x) in [(0.3, [0.5, -0.5]), (0.8, [0.3, 0.1])] {
            let at = Affine::linear(t);
            let value = composed.eval(x, &Times::Shared(t));
            let log_product = |x: [f64; 2]| {
                let share = |i: usize| labels[i].iter().map(|&k| mixture.responsibilities(at, &x)[k]).sum::<f64>();
                mixture.log_density(at, &x) + weights[0] * share(0).ln() + weights[1] * share(1).ln()
            };
            for i in 0..2 {
                let moved = |by: f64| {
                    let mut y = x;
                    y[i] += by;
                    log_product(y)
                };
                let gradient = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((value[i] - gradient).abs() < 1e-6, "{weights:?}, t = {t}: {} vs {gradient}", value[i]);
            }
        }
    }
}
