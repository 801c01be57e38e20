//! Tensors give what plain numbers give.

use crate::problems::scalar;
use advect_solvers::{
    Adaptive, AdaptiveRows, DOPRI5, EulerMaruyama, Field, PiController, RowField, Sde, Stepper, TimeGrid, Times,
    Tolerance, WhiteNoise, ode_methods, shared, solve,
};
use burn::tensor::{DType, Device, Tensor, TensorData};

fn tensor(values: &[[f64; 2]]) -> Tensor<2> {
    let flat: Vec<f64> = values.iter().flatten().copied().collect();
    Tensor::from_data(TensorData::new(flat, [values.len(), 2]), (&Device::flex(), DType::F64))
}

fn values(x: Tensor<2>) -> Vec<[f64; 2]> {
    let flat = x.try_into_vec_as::<f64>().unwrap();
    flat.chunks(2).map(|c| [c[0], c[1]]).collect()
}

fn close(a: &[[f64; 2]], b: &[[f64; 2]], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (row, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a[0] - b[0]).abs() < tolerance && (a[1] - b[1]).abs() < tolerance, "row {row}: {a:?} {b:?}");
    }
}

/// x' = -2 t x^2, elementwise, each row at its time and, scaled by a condition, at its own rate.
#[derive(Clone)]
struct Rated(Vec<f64>);

impl Field<Tensor<2>> for Rated {
    fn eval(&self, x: Tensor<2>, t: &Times) -> Tensor<2> {
        let rows = x.dims()[0];
        assert_eq!(rows, self.0.len());
        let factor: Vec<f64> = (0..rows).map(|r| self.0[r] * -2.0 * t.at(r)).collect();
        let factor = Tensor::<2>::from_data(TensorData::new(factor, [rows, 1]), (&x.device(), x.dtype()));
        x.clone() * x * factor
    }
}

impl RowField<Tensor<2>> for Rated {
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&r| self.0[r]).collect())
    }
}

impl Field<Vec<[f64; 2]>> for Rated {
    fn eval(&self, x: Vec<[f64; 2]>, t: &Times) -> Vec<[f64; 2]> {
        let one = |(row, x): (usize, [f64; 2])| x.map(|x| self.0[row] * scalar::slope(x, t.at(row)));
        x.into_iter().enumerate().map(one).collect()
    }
}

impl RowField<Vec<[f64; 2]>> for Rated {
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&r| self.0[r]).collect())
    }
}

const START: [[f64; 2]; 4] = [[0.3, -0.2], [0.7, 0.1], [1.1, 0.5], [-0.4, 0.2]];

fn rated() -> Rated {
    Rated(vec![1.0, 0.5, 2.0, -1.0])
}

#[test]
fn fixed_steps_equal_plain_numbers() {
    let grid = TimeGrid::uniform(0.0, 1.0, 5).unwrap();
    for (on_tensor, on_numbers) in ode_methods().into_iter().zip(ode_methods()) {
        let field = rated();
        let a = solve(&field as &dyn Field<Tensor<2>>, on_tensor.stepper(), tensor(&START), &grid).unwrap();
        let b = solve(&field as &dyn Field<Vec<[f64; 2]>>, on_numbers.stepper(), START.to_vec(), &grid).unwrap();
        close(&values(a), &b, 1e-14);
        // Rows at their own times, in steps of their own: enough of them for multistep methods to have a history.
        let at = |part: f64| {
            Times::Each([(0.0, 0.5), (0.1, 0.3), (0.5, 0.0), (1.0, 1.2)].map(|(a, b)| a + part * (b - a)).into())
        };
        let (mut one, mut two) = (on_tensor.stepper(), on_numbers.stepper());
        let (mut a, mut b) = (tensor(&START), START.to_vec());
        for (from, to) in [(0.0, 0.1), (0.1, 0.3), (0.3, 0.4), (0.4, 0.8), (0.8, 0.9), (0.9, 1.0)] {
            a = one.step(&field as &dyn Field<Tensor<2>>, a, &at(from), &at(to)).unwrap().x;
            b = two.step(&field as &dyn Field<Vec<[f64; 2]>>, b, &at(from), &at(to)).unwrap().x;
        }
        close(&values(a), &b, 1e-14);
    }
}

#[test]
fn controlled_steps_equal_plain_numbers() {
    let grid = TimeGrid::uniform(0.0, 2.0, 3).unwrap();
    let tolerance = Tolerance::new(1e-8, 1e-8).unwrap();
    let mut one = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let mut two = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let a = solve(&rated(), &mut one, tensor(&START), &grid).unwrap();
    let b = solve(&rated(), &mut two, START.to_vec(), &grid).unwrap();
    close(&values(a), &b, 1e-12);
    assert_eq!((one.accepted(), one.rejected()), (two.accepted(), two.rejected()));

    let mut one = AdaptiveRows::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let mut two = AdaptiveRows::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let a = solve(&rated(), &mut one, tensor(&START), &grid).unwrap();
    let b = solve(&rated(), &mut two, START.to_vec(), &grid).unwrap();
    close(&values(a), &b, 1e-12);
    assert_eq!((one.accepted(), one.rejected()), (two.accepted(), two.rejected()));
}

#[test]
fn a_pair_moves_as_its_parts_would() {
    // A flow and the integral of its divergence: x' = a x, l' = -2 a.
    let field = |(x, l): (Tensor<2>, Tensor<1>), t: &Times| {
        let rate = t.at(0).cos();
        (x * rate, l * 0.0 - 2.0 * rate)
    };
    let zero = Tensor::<1>::zeros([4], (&Device::flex(), DType::F64));
    let tolerance = Tolerance::new(1e-10, 1e-10).unwrap();
    let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
    let (x, l) = solve(&field, stepper, (tensor(&START), zero), &TimeGrid::uniform(0.0, 1.0, 1).unwrap()).unwrap();
    let growth = 1.0_f64.sin();
    close(&values(x), &START.map(|x| x.map(|x| x * growth.exp())), 1e-9);
    for l in l.try_into_vec_as::<f64>().unwrap() {
        assert!((l + 2.0 * growth).abs() < 1e-9);
    }
}

#[test]
fn a_loss_can_be_differentiated_through_a_solve() {
    // x(1) = x0 e^a, so d/da sum x(1) = sum x(1) for a = the parameter.
    let device = Device::flex().autodiff();
    let a = Tensor::<1>::from_data(TensorData::from([0.3_f64]), (&device, DType::F64)).require_grad();
    let rate = a.clone();
    let field = shared(move |x: Tensor<2>, _t: f64| x * rate.clone().unsqueeze::<2>());
    let x0 = Tensor::<2>::from_data(TensorData::from([[1.0_f64, 2.0]]), (&device, DType::F64));
    let x = solve(&field, advect_solvers::RK4.stepper(), x0, &TimeGrid::uniform(0.0, 1.0, 50).unwrap()).unwrap();
    let gradients = x.sum().backward();
    let gradient = a.grad(&gradients).unwrap().try_into_vec_as::<f64>().unwrap();
    assert!((gradient[0] - 3.0 * 0.3_f64.exp()).abs() < 1e-7, "{gradient:?}");
}

#[test]
fn noise_is_the_same_for_rows_in_any_batch() {
    let sde = Sde { drift: |x: Tensor<2>, _t: &Times| x.neg(), diffusion: |t: f64| 1.0 + t };
    let grid = TimeGrid::uniform(0.0, 1.0, 10).unwrap();
    let all = solve(&sde, EulerMaruyama::new(WhiteNoise::new(3, vec![0, 1, 2, 3])), tensor(&START), &grid).unwrap();
    let last = solve(&sde, EulerMaruyama::new(WhiteNoise::new(3, vec![3])), tensor(&START[3..]), &grid).unwrap();
    assert_eq!(values(all)[3], values(last)[0]);
}

#[test]
fn what_is_not_finite_in_a_tensor_is_found() {
    let field = |x: Tensor<2>, _t: &Times| x / 0.0;
    let error =
        solve(&field, advect_solvers::EULER.stepper(), tensor(&START), &TimeGrid::uniform(0.0, 1.0, 2).unwrap());
    assert!(matches!(error, Err(advect_solvers::SolveError::NotFinite { time: 0.0, step: 0.5 })));
}
