//! Gradients through a solve: discretise-then-optimise, and the continuous adjoint.

use advect_solvers::{
    Adaptive, DOPRI5, Embedded, PiController, RK4, SolveError, TimeGrid, Times, Tolerance, adjoint, solve,
};
use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor, TensorData, activation::tanh};

fn grid(from: f64, to: f64, steps: usize) -> TimeGrid {
    TimeGrid::uniform(from, to, steps).unwrap()
}

fn adaptive<S: Embedded>(inner: S, tol: f64) -> Adaptive<S> {
    Adaptive::new(inner, Tolerance::new(tol, tol).unwrap(), PiController::standard())
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, DType::F64))
}

fn read<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.inner().try_into_vec_as::<f64>().unwrap()
}

fn close(a: &[f64], b: &[f64], tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() < tolerance * (1.0 + b.abs()), "{i}: {a} {b}");
    }
}

#[test]
fn the_linear_equation_has_its_closed_form() {
    // x(T) = x0 e^(aT), L = sum of w x(T): dL/dx0 = w e^(aT), dL/da = T sum of w x0 e^(aT).
    let (a, length, x0, w) = (0.4, 1.7, [1.0, -0.5, 2.0], [1.0, 3.0, -0.7]);
    let device = Device::flex();
    let rate = Param::from_tensor(tensor(&[a], [1, 1], &device.clone().autodiff()));
    let field = |rate: &Param<Tensor<2>>, x: Tensor<2>, _t: &Times| x * rate.val();
    let growth = (a * length).exp();
    let end: Vec<f64> = x0.iter().map(|x| x * growth).collect();
    let exact = length * x0.iter().zip(w).map(|(x, w)| w * x * growth).sum::<f64>();
    for (from, to) in [(0.0, length), (2.0 * length, 3.0 * length)] {
        let back = |stepper_tolerance| {
            adjoint(
                &rate,
                &field,
                adaptive(DOPRI5.stepper(), stepper_tolerance),
                tensor(&end, [3, 1], &device),
                tensor(&w, [3, 1], &device),
                &grid(from, to, 2),
            )
            .unwrap()
        };
        let result = back(1e-11);
        close(&read(result.start.clone()), &x0, 1e-9);
        close(&read(result.gradient.clone()), &w.map(|w| w * growth), 1e-9);
        close(&read(rate.val().grad(&result.parameters).unwrap()), &[exact], 1e-9);
        assert!(!result.gradient.is_autodiff() && !result.start.is_autodiff());
        // Its error is that of the solve: looser is worse.
        let loose = read(rate.val().grad(&back(1e-4).parameters).unwrap())[0];
        assert!((loose - exact).abs() < 1e-2 && (loose - exact).abs() > 1e-9, "{loose} {exact}");
    }
    // Where the state rests, step control has the gradient alone to go by.
    let (zero, one) = (tensor(&[0.0], [1, 1], &device), tensor(&[1.0], [1, 1], &device));
    let rests = adjoint(&rate, &field, adaptive(DOPRI5.stepper(), 1e-9), zero, one, &grid(0.0, 10.0, 1)).unwrap();
    close(&read(rests.gradient), &[4.0_f64.exp()], 1e-7);
    // Fixed steps, and down in time: the end is before the start.
    let down = grid(length, 0.0, 60);
    let start: Vec<f64> = x0.iter().map(|x| x / growth).collect();
    let result =
        adjoint(&rate, &field, RK4.stepper(), tensor(&start, [3, 1], &device), tensor(&w, [3, 1], &device), &down);
    let result = result.unwrap();
    close(&read(result.start), &x0, 1e-7);
    close(&read(result.gradient), &w.map(|w| w / growth), 1e-7);
    let exact = -length * x0.iter().zip(w).map(|(x, w)| w * x / growth).sum::<f64>();
    close(&read(rate.val().grad(&result.parameters).unwrap()), &[exact], 1e-7);
}

/// Two layers with tanh, and the time as a bias: `(weights in, bias, weights out)`.
type Net = (Param<Tensor<2>>, Param<Tensor<1>>, Param<Tensor<2>>);

const IN: [f64; 8] = [0.3, -0.7, 0.5, 0.2, -0.4, 0.6, 0.1, -0.9];
const BIAS: [f64; 4] = [0.1, -0.2, 0.05, 0.3];
const OUT: [f64; 8] = [0.8, -0.3, 0.4, 0.7, -0.6, 0.2, -0.5, 0.9];
const START: [f64; 6] = [0.5, -1.0, 1.5, 0.3, -0.2, 0.8];
const TARGET: [f64; 6] = [0.1, 0.2, -0.3, 0.4, 0.5, -0.6];

fn net(values: [&[f64]; 3], device: &Device) -> Net {
    (
        Param::from_tensor(tensor(values[0], [2, 4], device)),
        Param::from_tensor(tensor(values[1], [4], device)),
        Param::from_tensor(tensor(values[2], [4, 2], device)),
    )
}

fn forward(net: &Net, x: Tensor<2>, t: &Times) -> Tensor<2> {
    tanh(x.matmul(net.0.val()) + net.1.val().unsqueeze::<2>() + t.at(0)).matmul(net.2.val())
}

/// Half the squared distance of where the flow ends to the target.
fn loss(end: Tensor<2>) -> Tensor<1> {
    let target = tensor(&TARGET, [3, 2], &end.device());
    let error = end - target;
    (error.clone() * error).sum() * 0.5
}

/// The loss on plain numbers, for finite differences.
fn loss_of(parameters: [&[f64]; 3], start: &[f64]) -> f64 {
    let device = Device::flex();
    let net = net(parameters, &device);
    let field = |x: Tensor<2>, t: &Times| forward(&net, x, t);
    let end = solve(&field, adaptive(DOPRI5.stepper(), 1e-12), tensor(start, [3, 2], &device), &grid(0.0, 1.0, 1));
    read(loss(end.unwrap()))[0]
}

/// Gradients of the loss by central differences: of the three parameters, and of the start.
fn differences() -> [Vec<f64>; 4] {
    let values = [IN.to_vec(), BIAS.to_vec(), OUT.to_vec(), START.to_vec()];
    std::array::from_fn(|which| {
        (0..values[which].len())
            .map(|i| {
                let at = |step: f64| {
                    let mut moved = values.clone();
                    moved[which][i] += step;
                    loss_of([&moved[0], &moved[1], &moved[2]], &moved[3])
                };
                (at(1e-4) - at(-1e-4)) / 2e-4
            })
            .collect()
    })
}

#[test]
fn a_network_has_the_gradients_of_finite_differences_both_ways() {
    let exact = differences();
    let plain = Device::flex();
    let device = plain.clone().autodiff();
    let net = net([&IN, &BIAS, &OUT], &device);
    let g = grid(0.0, 1.0, 1);

    // Through the steps: adaptive and fixed.
    let field = |x: Tensor<2>, t: &Times| forward(&net, x, t);
    let through = |run: &dyn Fn(Tensor<2>) -> Tensor<2>| {
        let x0 = tensor(&START, [3, 2], &device).require_grad();
        let gradients = loss(run(x0.clone())).backward();
        [
            read(net.0.val().grad(&gradients).unwrap()),
            read(net.1.val().grad(&gradients).unwrap()),
            read(net.2.val().grad(&gradients).unwrap()),
            read(x0.grad(&gradients).unwrap()),
        ]
    };
    let controlled = through(&|x0| solve(&field, adaptive(DOPRI5.stepper(), 1e-9), x0, &g).unwrap());
    let fixed = through(&|x0| solve(&field, RK4.stepper(), x0, &grid(0.0, 1.0, 40)).unwrap());

    // Back in time, from an end that no tape reaches.
    let end = solve(&field, adaptive(DOPRI5.stepper(), 1e-10), tensor(&START, [3, 2], &plain), &g).unwrap().inner();
    let tracked = end.clone().autodiff().require_grad();
    let gradient = tracked.grad(&loss(tracked.clone()).backward()).unwrap();
    let back = adjoint(&net, &forward, adaptive(DOPRI5.stepper(), 1e-10), end.clone(), gradient.clone(), &g).unwrap();
    let parameters = |gradients: &burn::tensor::Gradients| {
        [
            read(net.0.val().grad(gradients).unwrap()),
            read(net.1.val().grad(gradients).unwrap()),
            read(net.2.val().grad(gradients).unwrap()),
        ]
    };
    let [a, b, c] = parameters(&back.parameters);
    let continuous = [a, b, c, read(back.gradient)];
    close(&read(back.start), &START, 1e-8);

    for part in 0..4 {
        close(&controlled[part], &exact[part], 1e-6);
        close(&fixed[part], &exact[part], 1e-6);
        close(&continuous[part], &exact[part], 1e-6);
        // Both are good to the tolerance of the solve, which is sharper than the differences.
        close(&continuous[part], &controlled[part], 1e-7);
    }

    // Piece by piece is the whole, with gradients of parameters added up.
    let middle = solve(&field, adaptive(DOPRI5.stepper(), 1e-10), tensor(&START, [3, 2], &plain), &grid(0.0, 0.4, 1));
    let late = adjoint(&net, &forward, adaptive(DOPRI5.stepper(), 1e-10), end, gradient, &grid(0.4, 1.0, 1)).unwrap();
    let early = adjoint(
        &net,
        &forward,
        adaptive(DOPRI5.stepper(), 1e-10),
        middle.unwrap().inner(),
        late.gradient,
        &grid(0.0, 0.4, 1),
    )
    .unwrap();
    close(&read(early.gradient), &continuous[3], 1e-7);
    for ((late, early), whole) in
        parameters(&late.parameters).iter().zip(parameters(&early.parameters)).zip(&continuous)
    {
        let sum: Vec<f64> = late.iter().zip(&early).map(|(a, b)| a + b).collect();
        close(&sum, whole, 1e-7);
    }
}

#[test]
fn what_takes_no_part_has_no_gradient() {
    let device = Device::flex().autodiff().gradient_checkpointing();
    let used = Param::from_tensor(tensor(&[0.5], [1, 1], &device));
    let unused = Param::from_tensor(tensor(&[0.5, 1.0], [2, 1], &device));
    let frozen = Param::from_tensor(tensor(&[2.0], [1, 1], &device)).no_grad();
    let module = vec![frozen, unused, used];
    let field = |m: &Vec<Param<Tensor<2>>>, x: Tensor<2>, _t: &Times| x * m[2].val() * m[0].val();
    let (end, gradient) = (tensor(&[1.0], [1, 1], &Device::flex()), tensor(&[1.0], [1, 1], &Device::flex()));
    let back = adjoint(&module, &field, RK4.stepper(), end.clone(), gradient.clone(), &grid(0.0, 1.0, 50)).unwrap();
    assert!(module[0].val().grad(&back.parameters).is_none());
    assert_eq!(read(module[1].val().grad(&back.parameters).unwrap()), [0.0, 0.0]);
    // x' = 2 b x from e^-1 to 1: d/db = 2 x(1).
    close(&read(module[2].val().grad(&back.parameters).unwrap()), &[2.0], 1e-7);

    // A field that depends on nothing leaves the gradient as it is.
    let still = |_m: &Vec<Param<Tensor<2>>>, x: Tensor<2>, _t: &Times| x.inner() * 0.0 + 3.0;
    let none: Vec<Param<Tensor<2>>> = Vec::new();
    let back = adjoint(&none, &still, RK4.stepper(), end.clone(), gradient, &grid(0.0, 1.0, 2)).unwrap();
    close(&read(back.start), &[-2.0], 1e-14);
    assert_eq!(read(back.gradient), [1.0]);

    let wide = tensor(&[1.0, 1.0], [1, 2], &Device::flex());
    let error = adjoint(&none, &still, RK4.stepper(), end, wide, &grid(0.0, 1.0, 2)).unwrap_err();
    assert!(matches!(error, SolveError::GradientShape { .. }), "{error}");
}

#[test]
fn the_tape_of_an_evaluation_is_gone_after_it() {
    // What a step hands to the field is on no tape, so that no tape grows over the steps.
    let device = Device::flex().autodiff();
    let rate = Param::from_tensor(tensor(&[0.5], [1, 1], &device));
    let calls = std::cell::Cell::new(0);
    let field = |rate: &Param<Tensor<2>>, x: Tensor<2>, _t: &Times| {
        calls.set(calls.get() + 1);
        // A leaf: its own gradient is gathered, which a tensor in the middle of a tape refuses.
        assert!(x.is_require_grad() && x.clone().set_require_grad(true).is_require_grad());
        x * rate.val()
    };
    let (end, gradient) = (tensor(&[1.0], [1, 1], &Device::flex()), tensor(&[1.0], [1, 1], &Device::flex()));
    adjoint(&rate, &field, RK4.stepper(), end, gradient, &grid(0.0, 1.0, 100)).unwrap();
    assert_eq!(calls.get(), 400);
}
