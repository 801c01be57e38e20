//! Fields and their adapters.

use advect_core::{Counted, Field, RowField, Times, jvp, shared, unconditional};
use burn::tensor::{DType, Device, Tensor, TensorData};

#[test]
fn shared_serves_rows_at_different_times() {
    let field = shared(|x: Vec<f64>, t: f64| x.iter().map(|x| x * t).collect());
    assert_eq!(field.eval(vec![1.0, 2.0], &Times::Shared(3.0)), [3.0, 6.0]);
    assert_eq!(field.eval(vec![1.0, 2.0], &Times::Each(vec![3.0, 3.0])), [3.0, 6.0]);
    assert_eq!(field.eval(vec![1.0, 2.0, 3.0], &Times::Each(vec![3.0, 5.0, 0.0])), [3.0, 10.0, 0.0]);
    assert_eq!(field.eval(vec![], &Times::Each(vec![])), Vec::<f64>::new());
    let field = shared(|x: Tensor<2>, t: f64| x * t);
    let x = Tensor::<2>::from_data(TensorData::from([[1.0, 2.0], [3.0, 4.0]]), &Device::flex());
    let y = field.eval(x, &Times::Each(vec![2.0, 10.0]));
    assert_eq!(y.try_into_vec_as::<f32>().unwrap(), [2.0, 4.0, 30.0, 40.0]);
}

#[test]
fn counted_counts_calls_and_rows() {
    let field = Counted::new(|x: Vec<f64>, _t: &Times| x);
    for rows in [3, 0, 5] {
        field.eval(vec![1.0; rows], &Times::Shared(0.0));
    }
    assert_eq!((field.calls(), field.rows()), (3, 8));
}

#[test]
fn a_clone_and_the_field_of_chosen_rows_count_to_the_same_sums() {
    let field = Counted::new(unconditional(|x: Vec<f64>, _: &Times| x));
    let (twin, chosen) = (field.clone(), field.select(&[1]));
    field.eval(vec![1.0; 3], &Times::Shared(0.0));
    twin.eval(vec![1.0; 2], &Times::Shared(0.0));
    chosen.eval(vec![1.0], &Times::Shared(0.0));
    for field in [field, twin, chosen] {
        assert_eq!((field.calls(), field.rows()), (3, 6));
    }
}

#[test]
fn boxes_and_unconditional_fields_pass_through() {
    let boxed: Box<dyn Field<f64>> = Box::new(|x: f64, t: &Times| x + t.at(0));
    assert_eq!(boxed.eval(1.0, &Times::Shared(2.0)), 3.0);
    let field = unconditional(|x: f64, t: &Times| x * t.at(0));
    assert_eq!(RowField::<f64>::select(&field, &[0]).eval(3.0, &Times::Shared(2.0)), 6.0);
}

#[test]
fn jvp_is_the_jacobian_times_the_direction() {
    // f(x, y) = (x^2 y, sin x + t y): J = [[2xy, x^2], [cos x, t]].
    let field = shared(|[x, y]: [f64; 2], t: f64| [x * x * y, x.sin() + t * y]);
    let ([x, y], [u, v], t) = ([0.7, -1.3], [0.4, 2.0], 0.6);
    let exact = [2.0 * x * y * u + x * x * v, f64::cos(x) * u + t * v];
    let error = |step| {
        let found = jvp(&field, &[x, y], &[u, v], &Times::Shared(t), step);
        (found[0] - exact[0]).hypot(found[1] - exact[1])
    };
    assert!(error(1e-5) < 1e-9, "{:e}", error(1e-5));
    // The bias is of order two.
    let order = (error(0.02) / error(0.01)).log2();
    assert!((order - 2.0).abs() < 0.01, "{order}");

    // On tensors, and for rows of a batch at once.
    let device = Device::flex();
    let data = |values: [[f64; 2]; 2]| Tensor::<2>::from_data(TensorData::from(values), (&device, DType::F64));
    let field = |x: Tensor<2>, _t: &Times| x.clone() * x.clone() * x;
    let found =
        jvp(&field, &data([[1.0, 2.0], [-1.0, 0.5]]), &data([[1.0, -1.0], [2.0, 4.0]]), &Times::Shared(0.0), 1e-5);
    let exact = [3.0, -12.0, 6.0, 3.0];
    for (found, exact) in found.try_into_vec_as::<f64>().unwrap().iter().zip(exact) {
        assert!((found - exact).abs() < 1e-8, "{found} {exact}");
    }
}

#[test]
fn jvp_can_be_differentiated() {
    // d/dx of (d/dx x^3) = 6 x: second derivatives from first-order reverse mode.
    let device = Device::flex().autodiff();
    let data = |values: [f64; 2]| Tensor::<1>::from_data(TensorData::from(values), (&device, DType::F64));
    let x = data([0.5, -2.0]).require_grad();
    let field = |x: Tensor<1>, _t: &Times| x.clone() * x.clone() * x;
    let slope = jvp(&field, &x, &data([1.0, 1.0]), &Times::Shared(0.0), 1e-4);
    let gradients = slope.sum().backward();
    let second = x.grad(&gradients).unwrap().try_into_vec_as::<f64>().unwrap();
    assert!((second[0] - 3.0).abs() < 1e-6 && (second[1] + 12.0).abs() < 1e-6, "{second:?}");
}
