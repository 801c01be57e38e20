//! The gradient of flow matching under every coupling, against what the marginals alone say it must be.

use crate::key;
use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose, Times, normal};
use advect_paths::{
    AffinePath, ClassWise, Coupling, ExactOt, Immiscible, Independent, Linear, NearestNoise, PartialOt, Path,
    Prediction, Sinkhorn, SquaredEuclidean, Stop, Uncoupled, flow_matching_loss,
};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;

const ROWS: usize = 32;
const BATCHES: u64 = 600;
/// Data N(MEAN, diag(STDS^2)).
const MEAN: [f64; 2] = [1.5, -0.5];
const STDS: [f64; 2] = [0.4, 1.7];

/// The gradient of the loss in (a, b_1, b_2) of the network `a x + b` at a = 0, b = 0, over batches: their means with
/// standard errors.
///
/// For every pair law with the marginals of noise and data, d/dt E|x_t|^2 / 2 = E[x_t . u] on a straight line, so
/// that over uniform times the mean of dL/da = -E[x_t . u] is -(E|x_1|^2 - E|x_0|^2) / 2, and dL/db = -E[u] is
/// -(E[x_1] - E[x_0]): the coupling has no say. (The loss is a mean over two elements, whose factor cancels the 2 of the
/// square.)
fn gradient(coupling: &dyn Coupling<2>, candidates: usize) -> [Estimate; 3] {
    let device = Device::flex().autodiff();
    let tensor = |values: Vec<f64>| -> Tensor<2> {
        let rows = values.len() / 2;
        Tensor::from_data(TensorData::new(values, [rows, 2]), (&device, DType::F64))
    };
    let mut found = [const { Vec::new() }; 3];
    for step in 0..BATCHES {
        let mut rng = NoiseKey::new(71, Purpose::Data).rng(step, 0);
        let noise = tensor((0..2 * ROWS * candidates).map(|_| normal(&mut rng)).collect());
        let data: Vec<f64> = (0..2 * ROWS).map(|k| MEAN[k % 2] + STDS[k % 2] * normal(&mut rng)).collect();
        let classes: Vec<usize> = data.chunks(2).map(|x| usize::from(x[0] > 1.5)).collect();
        let data = tensor(data);
        let pairing = coupling.pair(&Uncoupled::new(&noise, &data, key(72), step).with_classes(&classes)).unwrap();
        let (noise, data) = pairing.apply(noise, data);
        let times = Times::Each(pairing.data.iter().map(|_| rng.random()).collect());
        let law = coupling.source_law(advect_paths::SourceLaw::GaussianIndependent);
        let sample = AffinePath::new(Linear, law).sample(noise, data, &times).unwrap();
        let zeros = |columns: usize| tensor(vec![0.0; 2]).narrow(1, 0, columns).require_grad();
        let (a, b) = (zeros(1), zeros(2));
        let output = sample.x.clone() * a.clone() + b.clone();
        let gradients = flow_matching_loss(output, &sample, Prediction::Velocity).unwrap().backward();
        let read = |p: &Tensor<2>| p.grad(&gradients).unwrap().into_data().try_into_vec_as::<f64>().unwrap();
        for (list, value) in found.iter_mut().zip([read(&a), read(&b)].concat()) {
            list.push(value);
        }
    }
    found.map(|list| Estimate::mean(&list))
}

/// What the marginals say.
fn exact() -> [f64; 3] {
    let square = |k: usize| MEAN[k] * MEAN[k] + STDS[k] * STDS[k] - 1.0;
    [-(square(0) + square(1)) / 2.0, -MEAN[0], -MEAN[1]]
}

#[test]
fn the_gradient_is_unbiased_under_every_coupling_that_keeps_the_marginals() {
    // 600 batches of 32 rows, seed 71, four standard errors.
    let stop = Stop::new(1e-6, 10_000).unwrap();
    let couplings: [(&str, Box<dyn Coupling<2>>); 6] = [
        ("independent", Box::new(Independent)),
        ("exact", Box::new(ExactOt::new())),
        ("immiscible", Box::new(Immiscible)),
        ("entropic", Box::new(Sinkhorn::new(SquaredEuclidean, 0.5, stop).unwrap())),
        ("class-wise", Box::new(ClassWise { inner: ExactOt::new() })),
        ("nearly independent", Box::new(Sinkhorn::new(SquaredEuclidean, 50.0, stop).unwrap())),
    ];
    for (name, coupling) in couplings {
        for (k, (found, exact)) in gradient(&*coupling, 1).into_iter().zip(exact()).enumerate() {
            assert!(found.deviation(exact) < 4.0, "{name}, parameter {k}: {found:?} vs {exact}");
            // So sharp that a bias of a tenth shows.
            assert!(found.standard_error < 0.04, "{name}, parameter {k}: {found:?}");
        }
    }
}

#[test]
fn what_does_not_keep_the_noise_biases_the_gradient() {
    // The nearest of four noise rows leans towards the data: of b_1 that changes the gradient by the lean.
    let [_, b, _] = gradient(&NearestNoise::new(4).unwrap(), 4);
    assert!(b.deviation(exact()[1]) > 10.0, "{b:?}");
    // A partial plan leaves the data out that lie far off.
    let partial = PartialOt::new(SquaredEuclidean, 0.7).unwrap();
    assert!(gradient(&partial, 1)[0].deviation(exact()[0]) > 10.0);
}
