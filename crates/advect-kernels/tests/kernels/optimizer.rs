use crate::check::{assert_close, noise, on_one_and_three_threads, tensor, values};
use advect_kernels::{AdamW, AdamWState, adamw, sum_of_squares};
use burn::tensor::{DType, Device, Tensor};

const STEP: AdamW = AdamW {
    rate: 1e-2,
    beta1: 0.9,
    beta2: 0.99,
    epsilon: 1e-8,
    weight_decay: 0.1,
    step: 3,
    gradient_factor: 0.7,
    follow: 0.05,
};

const NAMES: [&str; 4] = ["weights", "first", "second", "average"];

/// Weights, gradient, moments and average.
fn numbers(len: usize) -> [Vec<f64>; 5] {
    let mut all = [1, 2, 3, 4, 5].map(|seed| noise(len, seed));
    all[3].iter_mut().for_each(|second| *second *= *second);
    all
}

/// The step in f64, element by element.
fn reference([weights, gradient, first, second, average]: &[Vec<f64>; 5], step: &AdamW) -> [Vec<f64>; 4] {
    let mut after = [const { Vec::new() }; 4];
    for i in 0..weights.len() {
        let g = gradient[i] * step.gradient_factor;
        let first = step.beta1 * first[i] + (1.0 - step.beta1) * g;
        let second = step.beta2 * second[i] + (1.0 - step.beta2) * g * g;
        let mean = first / (1.0 - step.beta1.powi(step.step as i32));
        let root = (second / (1.0 - step.beta2.powi(step.step as i32))).sqrt();
        let weight = weights[i] - step.rate * step.weight_decay * weights[i] - step.rate * mean / (root + step.epsilon);
        let average = (1.0 - step.follow) * average[i] + step.follow * weight;
        for (all, value) in after.iter_mut().zip([weight, first, second, average]) {
            all.push(value);
        }
    }
    after
}

fn run<const D: usize>(tensors: [Tensor<D>; 5], step: &AdamW) -> [Tensor<D>; 4] {
    let [weights, gradient, first, second, average] = tensors;
    let (weights, state) = adamw(weights, gradient, AdamWState { first, second, average }, step);
    [weights, state.first, state.second, state.average]
}

#[test]
fn agrees_with_the_formula_for_every_size() {
    let device = Device::flex();
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
        for shape in [[0, 3], [1, 1], [3, 17], [250, 1001]] {
            let numbers = numbers(shape[0] * shape[1]);
            let after = run(numbers.each_ref().map(|x| tensor(x, shape, dtype, &device)), &STEP);
            for ((name, after), expected) in NAMES.into_iter().zip(after).zip(reference(&numbers, &STEP)) {
                assert_close(&format!("{name} {dtype:?} {shape:?}"), &values(after), &expected, tolerance);
            }
        }
    }
}

#[test]
fn rounds_as_burn_does() {
    // Only then may a run that was started with one be resumed with the other.
    let (device, len) = (Device::flex(), 1000);
    let tensors = numbers(len).each_ref().map(|x| tensor(x, [len], DType::F32, &device));
    let [weights, gradient, first, second, average] = tensors.clone();
    let gradient = gradient * STEP.gradient_factor;
    let first = first * STEP.beta1 + gradient.clone() * (1.0 - STEP.beta1);
    let second = second * STEP.beta2 + gradient.clone() * gradient * (1.0 - STEP.beta2);
    let (fix1, fix2) = (1.0 - STEP.beta1.powf(3.0), 1.0 - STEP.beta2.powf(3.0));
    let direction = first.clone() / ((second.clone() / fix2).sqrt() + STEP.epsilon);
    let weights = weights * (1.0 - STEP.rate * STEP.weight_decay) - direction * (STEP.rate / fix1);
    let average = average.clone() + (weights.clone() - average) * STEP.follow;
    for ((name, ours), burn) in NAMES.into_iter().zip(run(tensors, &STEP)).zip([weights, first, second, average]) {
        assert_eq!(values(ours), values(burn), "{name}");
    }
}

#[test]
fn overwrites_nothing_that_is_shared() {
    let device = Device::flex();
    let tensors = numbers(50).each_ref().map(|x| tensor(x, [50], DType::F32, &device));
    let before = tensors.clone().map(values);
    let after = run(tensors.clone(), &STEP).map(values);
    assert_eq!(tensors.clone().map(values), before);
    // The average begins as the weights themselves.
    let [weights, gradient, first, second, _] = tensors;
    let [same, .., average] = run([weights.clone(), gradient, first, second, weights], &STEP).map(values);
    assert_eq!(same, after[0]);
    let expected: Vec<f64> = before[0].iter().zip(&same).map(|(old, new)| old + STEP.follow * (new - old)).collect();
    assert_close("average", &average, &expected, 1e-6);
}

#[test]
fn leaves_an_average_that_has_arrived_where_it_is() {
    let device = Device::flex();
    let x = || tensor(&noise(30, 1), [30], DType::F32, &device);
    let zeros = || Tensor::<1>::zeros([30], &device);
    let step = AdamW { weight_decay: 0.0, ..STEP };
    let [weights, .., average] = run([x(), zeros(), zeros(), zeros(), x()], &step).map(values);
    assert_eq!((weights, average), (values(x()), values(x())));
}

#[test]
fn squares_are_summed_in_fixed_pieces() {
    for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-11)] {
        for len in [0, 1, 1000, 3 << 20] {
            let x = noise(len, 1);
            let run = || {
                let sum = sum_of_squares(tensor(&x, [len], dtype, &Device::flex()));
                assert_eq!(sum.dims(), [1]);
                values(sum)[0]
            };
            let expected: f64 = x.iter().map(|x| x * x).sum();
            assert_close(
                &format!("{dtype:?} {len}"),
                &[run() / expected.max(1.0)],
                &[expected / expected.max(1.0)],
                tolerance,
            );
            let [one, three] = on_one_and_three_threads(run);
            assert_eq!(one, three);
        }
    }
}

#[test]
#[should_panic(expected = "weights [3], a gradient [4] and a state [3] [3] [3] do not fit together")]
fn refuses_a_gradient_of_another_shape() {
    let zeros = |len| Tensor::<1>::zeros([len], &Device::flex());
    let _ = run([zeros(3), zeros(4), zeros(3), zeros(3), zeros(3)], &STEP);
}

/// The types of half precision, and how finely they round.
const HALVES: [(DType, f64); 2] = [(DType::F16, 1e-3), (DType::BF16, 8e-3)];

#[test]
fn half_precision_is_computed_in_f32() {
    let device = Device::flex();
    for (dtype, rounding) in HALVES {
        let mut numbers = numbers(40);
        // Nothing moves the last weights, and only epsilon keeps them from 0 / 0.
        numbers[1..4].iter_mut().for_each(|x| x[30..].fill(0.0));
        let tensors = numbers.each_ref().map(|x| tensor(x, [40], dtype, &device));
        let rounded = tensors.clone().map(values);
        let after = run(tensors, &STEP);
        for ((name, after), expected) in NAMES.into_iter().zip(after).zip(reference(&rounded, &STEP)) {
            assert_eq!(after.dtype(), dtype);
            assert_close(&format!("{name} {dtype:?}"), &values(after), &expected, rounding);
        }

        // A state of its own type.
        let narrow = |x: &Vec<f64>| tensor(x, [40], dtype, &device);
        let wide = |x: &Vec<f64>| tensor(x, [40], DType::F32, &device);
        let [weights, gradient, first, second, average] = &rounded;
        let after = run([narrow(weights), narrow(gradient), wide(first), wide(second), wide(average)], &STEP);
        assert_eq!(after.each_ref().map(|t| t.dtype()), [dtype, DType::F32, DType::F32, DType::F32]);
        let all = NAMES.into_iter().zip(after).zip(reference(&rounded, &STEP));
        for ((name, after), expected) in all.skip(1).take(2) {
            assert_close(name, &values(after), &expected, 1e-6);
        }

        let large = sum_of_squares(tensor(&[300.0; 1000], [1000], dtype, &device));
        assert_eq!((large.dtype(), values(large)), (DType::F32, vec![9e7]));
        assert_eq!(sum_of_squares(tensor(&[], [0], dtype, &device)).dtype(), DType::F32);
    }
}
