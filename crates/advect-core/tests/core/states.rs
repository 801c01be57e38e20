//! States: tensors must give what plain numbers give.

use advect_core::{Batched, Elementwise, NoiseKey, Purpose, State, Tolerance, normal};
use burn::tensor::{DType, Device, Tensor, TensorData};

type Rows = Vec<[f64; 3]>;

fn numbers(stream: u64) -> Rows {
    let mut rng = NoiseKey::new(1, Purpose::Custom(0)).rng(stream, 0);
    (0..4).map(|_| std::array::from_fn(|_| normal(&mut rng))).collect()
}

fn tensor(rows: &Rows) -> Tensor<2> {
    Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), 3]), (&Device::flex(), DType::F64))
}

fn rows(x: Tensor<2>) -> Rows {
    assert_eq!(x.dtype(), DType::F64);
    x.try_into_vec_as::<f64>().unwrap().chunks(3).map(|c| [c[0], c[1], c[2]]).collect()
}

fn close(a: &Rows, b: &Rows) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.concat().iter().zip(b.concat()) {
        assert!((a - b).abs() < 1e-14, "{a} {b}");
    }
}

#[test]
fn combine_is_the_formula() {
    let (x, y, z) = (numbers(0), numbers(1), numbers(2));
    for (scale, a, b) in [(1.0, 0.5, -2.0), (0.0, 1.0, 0.0), (-0.3, 0.0, 1.0)] {
        let exact: Rows =
            (0..4).map(|r| std::array::from_fn(|i| scale * x[r][i] + a * y[r][i] + b * z[r][i])).collect();
        close(&x.clone().combine(scale, &[(a, &y), (b, &z)]), &exact);
        close(&rows(tensor(&x).combine(scale, &[(a, &tensor(&y)), (b, &tensor(&z))])), &exact);
        let one = x[0][0].combine(scale, &[(a, &y[0][0]), (b, &z[0][0])]);
        assert_eq!(one, exact[0][0]);
    }
    assert_eq!(2.0.combine(3.0, &[]), 6.0);
}

#[test]
fn combine_rows_has_a_factor_for_each_row() {
    let (x, y) = (numbers(0), numbers(1));
    let (scale, factor) = ([1.0, 0.0, 2.0, -1.0], [0.5, 1.0, 0.0, 3.0]);
    let exact: Rows = (0..4).map(|r| std::array::from_fn(|i| scale[r] * x[r][i] + factor[r] * y[r][i])).collect();
    close(&x.clone().combine_rows(&scale, &[(&factor, &y)]), &exact);
    close(&rows(tensor(&x).combine_rows(&scale, &[(&factor, &tensor(&y))])), &exact);
    close(
        &rows(tensor(&x).combine_rows(&[1.0; 4], &[(&factor, &tensor(&y))])),
        &x.clone().combine_rows(&[1.0; 4], &[(&factor, &y)]),
    );
    let pair = (x.clone(), x.clone()).combine_rows(&scale, &[(&factor, &(y.clone(), x.clone()))]);
    assert_eq!(pair.0, x.clone().combine_rows(&scale, &[(&factor, &y)]));
    assert_eq!(pair.1, x.clone().combine_rows(&scale, &[(&factor, &x)]));
    assert_eq!([1.0, 2.0].combine_rows(&[3.0], &[(&[2.0], &[1.0, 1.0])]), [5.0, 8.0]);
}

#[test]
fn norms_are_in_units_of_the_tolerance() {
    // By hand: errors 3e-3 and 4e-3 on scales 1e-3 + 1e-3 * max(1, 0) = 2e-3 and 1e-3 + 1e-3 * max(0, 3) = 4e-3.
    let tolerance = Tolerance::new(1e-3, 1e-3).unwrap();
    let norm = [3e-3, 4e-3].scaled_norm(&[1.0, 0.0], &[0.0, -3.0], tolerance);
    assert!((norm - ((1.5_f64.powi(2) + 1.0) / 2.0).sqrt()).abs() < 1e-14);
    let (error, before, after) = (numbers(3), numbers(4), numbers(5));
    let by_row = error.scaled_norm_rows(&before, &after, tolerance);
    let (e, b, a) = (tensor(&error), tensor(&before), tensor(&after));
    for (row, (ours, theirs)) in by_row.iter().zip(e.scaled_norm_rows(&b, &a, tolerance)).enumerate() {
        assert!((ours / theirs - 1.0).abs() < 1e-13, "row {row}");
        assert_eq!(*ours, error[row].scaled_norm(&before[row], &after[row], tolerance));
    }
    let whole = error.scaled_norm(&before, &after, tolerance);
    assert!((whole / e.scaled_norm(&b, &a, tolerance) - 1.0).abs() < 1e-13);
    assert!((whole - (by_row.iter().map(|n| n * n).sum::<f64>() / 4.0).sqrt()).abs() < 1e-12);
    // Of a pair, the larger.
    let small: Rows = error.iter().map(|e| e.map(|v| v * 0.1)).collect();
    let (pair, before2, after2) = ((small, error), (before.clone(), before), (after.clone(), after));
    assert_eq!(pair.scaled_norm(&before2, &after2, tolerance), whole);
    assert_eq!(pair.scaled_norm_rows(&before2, &after2, tolerance), by_row);
}

#[test]
fn nan_and_infinity_do_not_hide() {
    let tolerance = Tolerance::new(1e-3, 1e-3).unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut x = numbers(0);
        assert!(x.all_finite() && tensor(&x).all_finite() && (x.clone(), 1.0).all_finite());
        x[2][1] = bad;
        assert!(!x.all_finite() && !tensor(&x).all_finite() && !(1.0, x.clone()).all_finite());
        assert!(!State::all_finite(&bad) && !State::all_finite(&[0.0, bad]));
        // As an error, and as the state it is measured against.
        let fine = numbers(1);
        assert!(
            x.scaled_norm(&x, &x, tolerance).is_nan()
                && tensor(&x).scaled_norm(&tensor(&x), &tensor(&x), tolerance).is_nan()
        );
        let by_row = tensor(&x).scaled_norm_rows(&tensor(&x), &tensor(&x), tolerance);
        assert!(by_row[2].is_nan() && by_row[1].is_finite());
        assert!(
            !(x.clone(), fine.clone())
                .scaled_norm(&(x.clone(), fine.clone()), &(x.clone(), fine.clone()), tolerance)
                .is_finite()
        );
        assert!(
            !(fine.clone(), x.clone())
                .scaled_norm(&(fine.clone(), x.clone()), &(fine.clone(), x.clone()), tolerance)
                .is_finite()
        );
    }
    assert!(State::all_finite(&f64::MAX) && State::all_finite(&[f64::MAX, f64::MIN]));
}

#[test]
fn rows_leave_and_return_bit_for_bit() {
    // By the trait's name: tensors have a `gather` and a `scatter` of their own.
    let (x, part) = (numbers(0), numbers(1)[..2].to_vec());
    let t = tensor(&x);
    let chosen = [3, 0, 3];
    assert_eq!(x.gather(&chosen), [x[3], x[0], x[3]]);
    assert_eq!(rows(Batched::gather(&t, &chosen)), x.gather(&chosen));
    // Slices, and the batch again and again, go another way.
    for chosen in [&[2, 3][..], &[1], &[0, 1, 2, 3], &[0, 1, 2, 3, 0, 1, 2, 3], &[0, 1, 2, 3, 0, 1], &[3, 2]] {
        assert_eq!(rows(Batched::gather(&t, chosen)), x.gather(chosen), "{chosen:?}");
    }
    let scattered = x.clone().scatter(&[2, 0], part.clone());
    assert_eq!(scattered, [part[1], x[1], part[0], x[3]]);
    assert_eq!(rows(Batched::scatter(t.clone(), &[2, 0], tensor(&part))), scattered);
    let pair = (x.clone(), t.clone());
    assert_eq!(pair.gather(&chosen).0, x.gather(&chosen));
    assert_eq!(rows(pair.scatter(&[2, 0], (part.clone(), tensor(&part))).1), scattered);
    assert_eq!((1.0.gather(&[0]), 1.0.scatter(&[0], 2.0), 1.0.scatter(&[], 2.0)), (1.0, 2.0, 1.0));
    assert_eq!((State::rows(&x), State::rows(&t), State::rows(&1.0), State::rows(&[1.0, 2.0])), (4, 4, 1, 1));
    // No rows at all.
    assert_eq!(Batched::gather(&t, &[]).dims(), [0, 3]);
    let nothing = Batched::gather(&t, &[]);
    assert_eq!(nothing.scaled_norm(&nothing, &nothing, Tolerance::new(1.0, 1.0).unwrap()), 0.0);
}

#[test]
fn elements_are_multiplied_one_by_one() {
    let (a, b) = (numbers(1), numbers(2));
    let product: Rows = (0..4).map(|r| std::array::from_fn(|i| a[r][i] * b[r][i])).collect();
    assert_eq!(a.clone().times(&b), product);
    close(&rows(tensor(&a).times(&tensor(&b))), &product);
    let pair = (a.clone(), 3.0).times(&(b, -0.5));
    assert_eq!(pair, (product, -1.5));
}
