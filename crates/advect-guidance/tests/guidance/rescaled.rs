use crate::{Labelled, NOW, close, each, fixed, numbers, random, tensor};
use advect_core::{Field, RowField, Times};
use advect_guidance::{Guided, Paired, Rescaled, constant};
use burn::tensor::DType;

fn std(row: &[f64]) -> f64 {
    let n = row.len() as f64;
    let mean = row.iter().sum::<f64>() / n;
    (row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt()
}

#[test]
fn rows_keep_the_spread_of_the_strong_field() {
    let (strong, weak) = (random::<5>(6, 1), random::<5>(6, 2));
    let plain = Guided { strong: fixed(&strong), weak: fixed(&weak), scale: constant(4.0) };
    let cfg = plain.eval(strong.clone(), &NOW);
    for phi in [0.0, 0.7, 1.0] {
        let guided = Guided { strong: fixed(&strong), weak: fixed(&weak), scale: constant(4.0) };
        let value = Rescaled::new(guided, phi).unwrap().eval(strong.clone(), &NOW);
        for r in 0..6 {
            let wanted = phi * std(&strong[r]) + (1.0 - phi) * std(&cfg[r]);
            assert!((std(&value[r]) - wanted).abs() < 1e-12, "phi = {phi}, row {r}");
            // A multiple of the guided row.
            for i in 0..5 {
                assert!((value[r][i] * cfg[r][0] - value[r][0] * cfg[r][i]).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn weight_one_is_the_strong_field_at_one_evaluation() {
    let rows = random::<3>(2, 3);
    // A weak field of NaN: were it looked at, it would show.
    let weak = fixed(&vec![[f64::NAN; 3]; 2]);
    let guided = Guided { strong: fixed(&rows), weak, scale: constant(1.0) };
    let rescaled = Rescaled::new(guided, 0.7).unwrap();
    assert_eq!(rescaled.eval(rows.clone(), &NOW), rows);
}

#[test]
fn tensors_and_arrays_agree() {
    let (strong, weak) = (random::<4>(3, 4), random::<4>(3, 5));
    let times = each(&[0.1, 0.25, 0.9]);
    let scale = |t: f64| 4.0 * t;
    let host = Rescaled::new(Guided { strong: fixed(&strong), weak: fixed(&weak), scale }, 0.7).unwrap();
    let guided = Guided { strong: fixed(&tensor(&strong)), weak: fixed(&tensor(&weak)), scale };
    let device = Rescaled::new(guided, 0.7).unwrap();
    let value = numbers(device.eval(tensor(&strong), &times));
    assert!(close(&value, host.eval(strong.clone(), &times).as_flattened()), "{value:?}");
    // Row 1 has the weight 1: the strong row.
    assert!(close(&value[4..8], &strong[1]));
}

#[test]
fn rows_without_spread_and_one_call_for_both() {
    // Rows of one number have no spread: plain guidance, whether of two fields or of one call.
    let labels = [2.0, 3.0, -1.0, 0.5];
    let guided =
        Guided { strong: Labelled::new(&labels[..2]), weak: Labelled::new(&labels[2..]), scale: constant(3.0) };
    let both = Labelled::new(&labels);
    let paired = Rescaled::new(Paired::new(both.clone(), 2, constant(3.0)), 0.7).unwrap();
    let x = vec![1.0, -2.0];
    assert!(close(&paired.eval(x.clone(), &NOW), &guided.eval(x.clone(), &NOW)));
    assert_eq!(both.taken(), (1, 4));
    let part = paired.select(&[1]).eval(vec![x[1]], &Times::Shared(0.5));
    assert!(close(&part, &guided.eval(x, &NOW)[1..]));
}

#[test]
fn sums_do_not_overflow_half_precision() {
    // Squares of 300 sum beyond the largest f16. Guided to three times the spread of the strong field, and back.
    let half = |rows: &[[f64; 4]]| tensor(rows).cast(DType::F16);
    let (strong, weak) = (half(&[[300.0, -300.0, 300.0, -300.0]]), half(&[[0.0; 4]]));
    let guided = Guided { strong: fixed(&strong), weak: fixed(&weak), scale: constant(3.0) };
    let value = Rescaled::new(guided, 1.0).unwrap().eval(strong.clone(), &NOW);
    assert_eq!(value.dtype(), DType::F16);
    assert_eq!(numbers(value.cast(DType::F64)), [300.0, -300.0, 300.0, -300.0]);
}

#[test]
fn a_share_outside_is_refused() {
    let field = || fixed(&1.0);
    for phi in [-0.1, 1.1, f64::NAN] {
        let guided = Guided { strong: field(), weak: field(), scale: constant(2.0) };
        let error = Rescaled::new(guided, phi).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("phi is"), "{error}");
    }
}
