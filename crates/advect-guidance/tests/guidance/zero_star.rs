use crate::{Labelled, NOW, close, dot, each, fixed, numbers, random, tensor};
use advect_core::{Field, Times};
use advect_guidance::{Guided, Paired, ZeroStar, constant};

#[test]
fn by_hand() {
    // s = <(3, 1), (1, 1)> / 2 = 2, so 2 (1, 1) + 2 ((3, 1) - (2, 2)).
    let guided = Guided { strong: fixed(&[3.0, 1.0]), weak: fixed(&[1.0, 1.0]), scale: constant(2.0) };
    assert_eq!(ZeroStar { guided, zero_until: 0.0 }.eval([0.0, 0.0], &NOW), [4.0, 0.0]);
}

#[test]
fn the_weak_velocity_is_the_projection_of_the_strong_one() {
    let (strong, weak) = (random::<5>(6, 1), random::<5>(6, 2));
    for weight in [0.0, 2.5, 7.0] {
        let guided = Guided { strong: fixed(&strong), weak: fixed(&weak), scale: constant(weight) };
        let value = ZeroStar { guided, zero_until: 0.0 }.eval(strong.clone(), &NOW);
        for r in 0..6 {
            // What is added to the strong velocity is orthogonal to the weak one ...
            let added: Vec<f64> = (0..5).map(|i| value[r][i] - strong[r][i]).collect();
            assert!(dot(&added, &weak[r]).abs() < 1e-12, "w = {weight}, row {r}");
            // ... and what is left of it at w = 0 is no shorter than any other |strong - s weak|.
            if weight == 0.0 {
                for s in [-1.0, 0.0, 0.5, 1.0] {
                    let other: Vec<f64> = (0..5).map(|i| strong[r][i] - s * weak[r][i]).collect();
                    assert!(dot(&added, &added) <= dot(&other, &other));
                }
            }
        }
    }
}

#[test]
fn weight_one_is_the_strong_field_at_one_evaluation() {
    let rows = random::<3>(2, 3);
    let guided = Guided { strong: fixed(&rows), weak: fixed(&random::<3>(2, 4)), scale: constant(1.0) };
    let star = ZeroStar { guided, zero_until: 0.0 };
    assert_eq!(star.eval(rows.clone(), &NOW), rows);
    assert_eq!((star.guided.strong.calls(), star.guided.weak.calls()), (1, 0));
}

#[test]
fn nothing_moves_at_first() {
    let strong = vec![1.0, 2.0];
    let guided = Guided { strong: fixed(&strong), weak: fixed(&vec![1.0, 1.0]), scale: constant(2.0) };
    let star = ZeroStar { guided, zero_until: 0.25 };
    assert_eq!(star.eval(vec![5.0, 6.0], &Times::Shared(0.2)), [0.0, 0.0]);
    assert_eq!((star.guided.strong.calls(), star.guided.weak.calls()), (0, 0));
    // At the time itself it moves; rows have their own times. One number a row: s = strong / weak.
    assert_eq!(star.eval(vec![5.0, 6.0], &Times::Shared(0.25)), strong);
    assert_eq!(star.eval(vec![5.0, 6.0], &each(&[0.1, 0.3])), [0.0, 2.0]);
}

#[test]
fn a_weak_velocity_of_zero_and_tensors() {
    let strong = [[1.0, 2.0], [3.0, -1.0]];
    let weak = [[0.0, 0.0], [1.0, 1.0]];
    let guided = Guided { strong: fixed(&tensor(&strong)), weak: fixed(&tensor(&weak)), scale: constant(2.0) };
    let value = numbers(ZeroStar { guided, zero_until: 0.0 }.eval(tensor(&strong), &NOW));
    // Row 0: 2 strong. Row 1: s = 1.
    assert!(close(&value, &[2.0, 4.0, 5.0, -3.0]), "{value:?}");
}

#[test]
fn one_call_for_both() {
    let both = Labelled::new(&[2.0, 3.0, -1.0, 0.5]);
    let star = ZeroStar { guided: Paired::new(both.clone(), 2, constant(3.0)), zero_until: 0.0 };
    // One number a row: the weak velocity fits the strong one, so the strong one is left.
    let value = star.eval(vec![1.0, -2.0], &NOW);
    assert_eq!(both.taken(), (1, 4));
    assert!(close(&value, &[2.5, -5.5]), "{value:?}");
}
