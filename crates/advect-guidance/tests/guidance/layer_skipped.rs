use crate::{Labelled, NOW, close, fixed};
use advect_core::{Field, Times};
use advect_guidance::{Guided, LayerSkipped, Paired, constant, interval};

#[test]
fn by_hand_and_its_cost() {
    // 1 + w (4 - 1) + s (4 - 3.5).
    let value = |weight: f64, scale: f64| {
        let guided = Guided { strong: fixed(&4.0), weak: fixed(&1.0), scale: constant(weight) };
        let skipping = LayerSkipped { guided, skipped: fixed(&3.5), scale: constant(scale) };
        let value = skipping.eval(0.0, &NOW);
        (value, [skipping.guided.strong.calls(), skipping.guided.weak.calls(), skipping.skipped.calls()])
    };
    assert_eq!(value(2.0, 3.0), (8.5, [1, 1, 1]));
    assert_eq!(value(2.0, 0.0), (7.0, [1, 1, 0]));
    assert_eq!(value(1.0, 3.0), (5.5, [1, 0, 1]));
    assert_eq!(value(1.0, 0.0), (4.0, [1, 0, 0]));
}

#[test]
fn alone_it_is_guided() {
    let scale = |t: f64| 2.0 * t;
    let guided = Guided { strong: fixed(&4.0), weak: fixed(&f64::NAN), scale: constant(1.0) };
    let skipping = LayerSkipped { guided, skipped: fixed(&3.5), scale };
    let same = Guided { strong: fixed(&4.0), weak: fixed(&3.5), scale: move |t: f64| 1.0 + scale(t) };
    for t in [0.0, 0.4, 1.0] {
        let t = Times::Shared(t);
        assert!((skipping.eval(0.0, &t) - same.eval(0.0, &t)).abs() < 1e-12);
    }
}

#[test]
fn rows_and_one_call_for_both() {
    // Labels 2 and 3 against -1 and 0.5, then against 1 and 1 with layers left out, in an interval.
    let both = Labelled::new(&[2.0, 3.0, -1.0, 0.5]);
    let scale = |t: f64| interval(4.0, 0.4, 0.6)(t) - 1.0;
    let skipping =
        LayerSkipped { guided: Paired::new(both, 2, constant(2.0)), skipped: Labelled::new(&[1.0, 1.0]), scale };
    let value = skipping.eval(vec![1.0, -2.0], &Times::Each(vec![0.5, 0.9]));
    // Row 0: 5 + 3 * 1 + t, row 1: -2 * 5.5 + t.
    assert!(close(&value, &[8.5, -10.1]), "{value:?}");
}
