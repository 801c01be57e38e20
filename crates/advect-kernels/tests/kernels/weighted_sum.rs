use crate::check::{assert_close, gradient, noise, on_one_and_three_threads, tensor, values};
use advect_kernels::{weighted_sum, weighted_sum_rows};
use burn::tensor::{DType, Device, Tensor};

const LENGTHS: [usize; 8] = [0, 1, 15, 63, 64, 65, 1000, 70_001];
const FACTORS: [f64; 6] = [0.5, -1.25, 1.0, 0.0, 3.0, 0.125];

fn reference(scale: f64, x: &[f64], terms: &[Vec<f64>]) -> Vec<f64> {
    let sum = |i: usize| FACTORS.iter().zip(terms).fold(scale * x[i], |sum, (c, d)| sum + c * d[i]);
    (0..x.len()).map(sum).collect()
}

#[test]
fn is_the_sum_whoever_holds_the_state_and_however_the_terms_lie() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
        for len in LENGTHS {
            for count in [0, 1, 6] {
                let x = noise(len, 1);
                let terms: Vec<_> = (0..count).map(|i| noise(len, 2 + i as u64)).collect();
                for scale in [1.0, 0.75, 0.0] {
                    let expected = reference(scale, &x, &terms);
                    let what = format!("{dtype:?} {len} {count} {scale}");
                    let tensors: Vec<Tensor<1>> = terms.iter().map(|d| tensor(d, [len], dtype, &device)).collect();
                    let pairs: Vec<_> = FACTORS.into_iter().zip(&tensors).collect();
                    let own = tensor(&x, [len], dtype, &device);
                    assert_close(&what, &values(weighted_sum(own, scale, &pairs)), &expected, tolerance);
                    let held: Tensor<1> = tensor(&x, [len], dtype, &device);
                    assert_close(&what, &values(weighted_sum(held.clone(), scale, &pairs)), &expected, tolerance);
                    assert_close("what is held", &values(held), &x, 1e-7);
                }
            }
        }
    }
}

#[test]
fn scattered_terms_and_a_term_that_is_the_state_itself() {
    let device = Device::flex();
    let (x, d) = (noise(12, 1), noise(12, 2));
    let dense: Tensor<2> = tensor(&x, [3, 4], DType::F32, &device);
    let turned = tensor::<2>(&d, [4, 3], DType::F32, &device).transpose();
    let at = |i: usize| d[(i % 4) * 3 + i / 4];
    let expected: Vec<f64> = (0..12).map(|i| 2.0 * x[i] + 3.0 * at(i) - x[i]).collect();
    let found = weighted_sum(dense.clone(), 2.0, &[(3.0, &turned), (-1.0, &dense)]);
    assert_close("transposed", &values(found), &expected, 1e-6);
    let expected: Vec<f64> = (0..12).map(|i| at(i) + 0.5 * x[i]).collect();
    let found = weighted_sum(turned, 1.0, &[(0.5, &dense)]);
    assert_close("state transposed", &values(found), &expected, 1e-6);
}

#[test]
fn a_term_without_weight_counts_for_nothing_and_others_pass_what_is_no_number() {
    let device = Device::flex();
    for len in [3, 200] {
        let x = Tensor::<1>::ones([len], &device);
        let odd = Tensor::<1>::full([len], f32::NAN, &device);
        assert!(values(weighted_sum(x.clone(), 1.0, &[(0.0, &odd), (2.0, &x)])).iter().all(|v| *v == 3.0));
        assert!(values(weighted_sum(x, 1.0, &[(1.0, &odd)])).iter().all(|v| v.is_nan()));
    }
}

#[test]
fn gradients_pass() {
    let device = Device::flex().autodiff();
    let x: Tensor<1> = tensor(&noise(5, 1), [5], DType::F32, &device).require_grad();
    let d: Tensor<1> = tensor(&noise(5, 2), [5], DType::F32, &device).require_grad();
    let gradients = weighted_sum(x.clone(), 0.5, &[(3.0, &d), (1.0, &d)]).sum().backward();
    assert_eq!(gradient(&x, &gradients), [0.5; 5]);
    assert_eq!(gradient(&d, &gradients), [4.0; 5]);
}

#[test]
fn each_row_has_factors_of_its_own() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
        // Rows shorter than a vector, of one, of none, and longer ones; more rows than a block, and enough for several threads.
        for (rows, width) in [
            (0, 3),
            (3, 0),
            (1, 1),
            (5, 2),
            (67, 1),
            (130, 3),
            (65, 4),
            (70, 7),
            (64, 15),
            (9, 16),
            (5, 33),
            (700, 100),
        ] {
            let len = rows * width;
            let (x, d, e) = (noise(len, 1), noise(len, 2), noise(len, 3));
            let (scale, a, b) = (noise(rows, 4), noise(rows, 5), noise(rows, 6));
            let ones = vec![1.0; rows];
            let whole = |values: &[f64]| tensor::<2>(values, [rows, width], dtype, &device);
            for scale in [&scale, &ones] {
                for count in 0..3 {
                    let at = |i: usize| {
                        let r = i / width;
                        let terms = [a[r] * d[i], b[r] * e[i]];
                        scale[r] * x[i] + terms[..count].iter().sum::<f64>()
                    };
                    let expected: Vec<f64> = (0..len).map(at).collect();
                    let what = format!("{dtype:?} [{rows}, {width}] {count}");
                    let (d, e) = (whole(&d), whole(&e));
                    let terms = [(&a[..], &d), (&b[..], &e)];
                    let found = weighted_sum_rows(whole(&x), scale, &terms[..count]);
                    assert_close(&what, &values(found), &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn factors_of_rows_reach_images_views_and_gradients() {
    // [2, 3, 1, 2] and its first axis last: the numbers belong to entries of the first axis as it is seen.
    let device = Device::flex().autodiff();
    let (x, d) = (noise(12, 1), noise(12, 2));
    let x: Tensor<4> = tensor(&x, [3, 1, 2, 2], DType::F32, &device).require_grad();
    let d: Tensor<4> = tensor(&d, [3, 1, 2, 2], DType::F32, &device).require_grad();
    let turned = |t: &Tensor<4>| t.clone().permute([3, 0, 1, 2]);
    let (scale, factors) = ([0.5, 2.0], [3.0, -1.0]);
    let column = |values: [f64; 2]| tensor::<4>(&values, [2, 1, 1, 1], DType::F32, &device);
    let weights: Tensor<4> = tensor(&noise(12, 3), [2, 3, 1, 2], DType::F32, &device);
    let run = |sum: Tensor<4>| {
        let gradients = (sum.clone() * weights.clone()).sum().backward();
        [values(sum), gradient(&x, &gradients), gradient(&d, &gradients)]
    };
    let ours = run(weighted_sum_rows(turned(&x), &scale, &[(&factors, &turned(&d))]));
    let theirs = run(turned(&x) * column(scale) + turned(&d) * column(factors));
    for (what, (ours, theirs)) in ["sum", "gradient", "gradient of the term"].iter().zip(ours.iter().zip(&theirs)) {
        assert_close(what, ours, theirs, 1e-6);
    }
    // One of both may be tracked.
    let alone = weighted_sum_rows(turned(&x).detach(), &scale, &[(&factors, &turned(&d))]);
    let gradients = (alone * weights.clone()).sum().backward();
    assert_close("the term alone", &gradient(&d, &gradients), &theirs[2], 1e-6);
    assert!(x.grad(&gradients).is_none());
}

#[test]
fn a_row_without_weight_does_not_hide_what_is_no_number() {
    let device = Device::flex();
    for width in [2, 20] {
        let x = Tensor::<2>::ones([2, width], &device);
        let odd = Tensor::<2>::full([2, width], f32::NAN, &device);
        let sums = values(weighted_sum_rows(x.clone(), &[1.0, 2.0], &[(&[0.0, 1.0], &odd)]));
        assert!(sums.iter().all(|v| v.is_nan()));
        let sums = values(weighted_sum_rows(x.clone(), &[f64::INFINITY, 2.0], &[(&[0.0, 1.0], &x)]));
        assert!(sums.iter().enumerate().all(|(i, v)| *v == if i < width { f64::INFINITY } else { 3.0 }));
    }
}

#[test]
#[should_panic(expected = "1 factors for 2 rows")]
fn factors_of_other_rows_are_refused() {
    let x = Tensor::<2>::ones([2, 3], &Device::flex());
    let _ = weighted_sum_rows(x.clone(), &[1.0, 1.0], &[(&[1.0], &x)]);
}

#[test]
fn gives_the_same_bits_on_one_thread_and_on_three() {
    let run = || {
        let device = Device::flex();
        let [x, d] = [1, 2].map(|seed| tensor::<1>(&noise(100_000, seed), [100_000], DType::F32, &device));
        let factors: Vec<f64> = noise(50_000, 3);
        let rows = weighted_sum_rows(
            x.clone().reshape([50_000, 2]),
            &factors,
            &[(&factors[..], &d.clone().reshape([50_000, 2]))],
        );
        [values(weighted_sum(x, 0.3, &[(0.7, &d)])), values(rows)].concat()
    };
    let [one, three] = on_one_and_three_threads(run);
    assert!(one == three);
}
