//! Each path and loss.

use crate::suite::{Errors, Place, Suite, error, flat, values};
use advect::core::DeviceNoise;
use advect::paths::{
    BrownianBridge, CosMapWeighting, DataWeighting, Edm, EdmWeighting, Interpolant, Latent, LikelihoodWeighting,
    LinearVp, MinSnrWeighting, NearestNoise, NoiseWeighting, PathSample, Polynomial, ScoreHead, SigmaMin,
    SigmaSqrtWeighting, SineSquared, SoftMinSnrWeighting, Uncoupled, VWeighting, Ve, VelocityHead, VelocityWeighting,
    Vp, adaptive_loss, convert, prediction_loss, score_matching_loss, uncertainty_loss, weighted_loss,
};
use advect::prelude::*;
use burn::tensor::TensorData;
use std::sync::Arc;

const ROWS: usize = 4;
const TIMES: [f64; ROWS] = [0.125, 0.375, 0.5, 0.875];
const SHAPE: [usize; 2] = [ROWS, 6];

pub(crate) fn run(suite: &mut Suite) {
    suite.group("path");
    for (name, schedule) in schedules() {
        affine(suite, name, &schedule);
    }
    predictions(suite);
    weightings(suite);
    losses(suite);
    interpolants(suite);
    couplings(suite);
    suite.group("noise");
    keyed_noise(suite);
}

fn schedules() -> Vec<(&'static str, Arc<dyn Schedule>)> {
    fn made<S: Schedule + 'static>(schedule: Result<S, advect::paths::PathError>) -> Arc<dyn Schedule> {
        Arc::new(schedule.expect("valid numbers"))
    }
    vec![
        ("linear", Arc::new(Linear)),
        ("cosine", Arc::new(Cosine)),
        ("linear VP", Arc::new(LinearVp)),
        ("polynomial", made(Polynomial::new(2.0))),
        ("sigma_min", made(SigmaMin::new(0.01))),
        ("VP", made(Vp::new(0.1, 20.0))),
        ("VE", made(Ve::new(0.01, 50.0))),
        ("EDM", made(Edm::new(0.002, 80.0, 7.0))),
    ]
}

/// Where a tensor under autodiff lives: what is not tracked is made beside it.
fn beside(x: &Tensor<1>) -> Place {
    Place { device: x.device(), dtype: x.dtype() }
}

fn sample(place: &Place, schedule: &Arc<dyn Schedule>) -> PathSample<2> {
    let path = AffinePath::new(Arc::clone(schedule), SourceLaw::GaussianIndependent);
    let times = Times::Each(TIMES.to_vec());
    path.sample(place.noise(1, SHAPE), place.noise(2, SHAPE), &times).expect("shapes and times fit")
}

/// A number for each row, to be spread over its elements.
fn column(place: &Place, numbers: impl Fn(f64) -> f64) -> Tensor<2> {
    place.tensor(&TIMES.map(numbers), [ROWS, 1])
}

/// x_t and the loss of a velocity, by the formulas.
fn affine(suite: &mut Suite, name: &str, schedule: &Arc<dyn Schedule>) {
    suite.operator(
        &format!("{name}: state and loss"),
        5e-6,
        &[(ROWS * 6, 1.0)],
        |x| {
            let sample = sample(&beside(&x[0]), schedule);
            let loss = flow_matching_loss(x[0].clone().reshape(SHAPE), &sample, Prediction::Velocity);
            Tensor::cat(vec![flat(sample.x), loss.expect("no end of time")], 0)
        },
        |x| {
            let place = beside(&x[0]);
            let (noise, data) = (place.noise(1, SHAPE), place.noise(2, SHAPE));
            let at = |f: fn(advect::paths::Coefficients) -> f64| column(&place, move |t| f(schedule.at(t)));
            let state = at(|c| c.alpha) * data.clone() + at(|c| c.sigma) * noise.clone();
            let error = x[0].clone().reshape(SHAPE) - (at(|c| c.d_alpha) * data + at(|c| c.d_sigma) * noise);
            Tensor::cat(vec![flat(state), flat((error.clone() * error).mean())], 0)
        },
    );
}

fn predictions(suite: &mut Suite) {
    let schedule: Arc<dyn Schedule> = Arc::new(Cosine);
    let all = [
        ("velocity", Prediction::Velocity),
        ("noise", Prediction::Noise),
        ("data", Prediction::Data),
        ("v", Prediction::V),
        ("score", Prediction::Score),
    ];
    for (name, have) in all {
        suite.operator(
            &format!("flow matching loss of a predicted {name}"),
            5e-6,
            &[(ROWS * 6, 1.0)],
            |x| {
                flow_matching_loss(x[0].clone().reshape(SHAPE), &sample(&beside(&x[0]), &schedule), have)
                    .expect("finite")
            },
            |x| {
                let place = beside(&x[0]);
                let (noise, data) = (place.noise(1, SHAPE), place.noise(2, SHAPE));
                // The target as data and noise, and what turns its error into one of the velocity.
                let at = |f: &dyn Fn(advect::paths::Coefficients) -> f64| column(&place, |t| f(schedule.at(t)));
                let (a, b): (Tensor<2>, Tensor<2>) = match have {
                    Prediction::Velocity => (at(&|c| c.d_alpha), at(&|c| c.d_sigma)),
                    Prediction::Noise => (at(&|_| 0.0), at(&|_| 1.0)),
                    Prediction::Data => (at(&|_| 1.0), at(&|_| 0.0)),
                    Prediction::V => (at(&|c| -c.sigma), at(&|c| c.alpha)),
                    Prediction::Score => (at(&|_| 0.0), at(&|c| -1.0 / c.sigma)),
                };
                let slope = |t| convert(&schedule, t, have, Prediction::Velocity).expect("no end of time").1;
                let error = (x[0].clone().reshape(SHAPE) - (a * data + b * noise)) * column(&place, slope);
                flat((error.clone() * error).mean())
            },
        );
    }
}

fn weightings(suite: &mut Suite) {
    type Loss = Box<dyn Fn(Tensor<2>, &PathSample<2>) -> Tensor<1>>;
    fn weighted<W: Weighting + 'static>(weighting: W) -> Loss {
        Box::new(move |output, sample| weighted_loss(output, sample, Prediction::V, &weighting).expect("finite"))
    }
    let all: [(&str, Loss); 10] = [
        ("data", weighted(DataWeighting)),
        ("noise", weighted(NoiseWeighting)),
        ("v", weighted(VWeighting)),
        ("velocity", weighted(VelocityWeighting::new())),
        ("likelihood", weighted(LikelihoodWeighting)),
        ("min-SNR", weighted(MinSnrWeighting::new(5.0).expect("valid"))),
        ("soft min-SNR", weighted(SoftMinSnrWeighting::new(5.0).expect("valid"))),
        ("EDM", weighted(EdmWeighting::new(0.5).expect("valid"))),
        ("sigma root", weighted(SigmaSqrtWeighting)),
        ("cosmap", weighted(CosMapWeighting)),
    ];
    let schedule: Arc<dyn Schedule> = Arc::new(Cosine);
    for (name, loss) in all {
        let run = |x: &[Tensor<1>]| loss(x[0].clone().reshape(SHAPE), &sample(&beside(&x[0]), &schedule));
        suite.operator(&format!("{name} weighting"), 5e-6, &[(ROWS * 6, 1.0)], run, run);
    }
}

fn losses(suite: &mut Suite) {
    let schedule: Arc<dyn Schedule> = Arc::new(Cosine);
    let score = |x: &[Tensor<1>]| {
        let sample = sample(&beside(&x[0]), &schedule);
        let output = || x[0].clone().reshape(SHAPE);
        let other = prediction_loss(output(), &sample, Prediction::Noise, Prediction::Data, |t| 1.0 + t);
        let score = score_matching_loss(output(), &sample, Prediction::Score);
        Tensor::cat(vec![score.expect("finite"), other.expect("finite")], 0)
    };
    suite.operator("score matching, weighted prediction loss", 5e-6, &[(ROWS * 6, 1.0)], score, score);
    // Of squares, as the losses of rows are.
    suite.operator(
        "uncertainty loss",
        5e-6,
        &[(8, 1.0), (8, 1.0)],
        |x| uncertainty_loss(x[0].clone() * x[0].clone(), x[1].clone()).expect("as many"),
        |x| ((x[0].clone() * x[0].clone() / x[1].clone().exp()) + x[1].clone()).mean(),
    );
    suite.operator(
        "adaptive loss",
        5e-6,
        &[(8, 1.0)],
        |x| adaptive_loss(x[0].clone() * x[0].clone(), 0.75, 1e-3).expect("valid"),
        |x| {
            let rows = x[0].clone() * x[0].clone();
            (rows.clone() / (rows.detach() + 1e-3).powf_scalar(0.75)).mean()
        },
    );
}

fn interpolants(suite: &mut Suite) {
    fn losses<L: Latent + Clone>(x: &[Tensor<1>], latent: &L) -> Tensor<1> {
        let place = beside(&x[0]);
        let [source, data, noise] = [1, 2, 3].map(|seed| place.noise(seed, SHAPE));
        let times = Times::Each(TIMES.to_vec());
        let sample = Interpolant::new(Linear, latent.clone()).sample(source, data, noise, &times).expect("fits");
        let output = || x[0].clone().reshape(SHAPE);
        let parts = [
            sample.velocity_loss(output(), VelocityHead::Velocity),
            sample.velocity_loss(output(), VelocityHead::MeanVelocity),
            sample.score_loss(output(), ScoreHead::Denoiser),
            sample.score_loss(output(), ScoreHead::Score),
        ];
        let mut parts: Vec<Tensor<1>> = parts.into_iter().map(|loss| loss.expect("no end of time")).collect();
        parts.push(flat(sample.x));
        Tensor::cat(parts, 0)
    }
    let bridge = BrownianBridge::new(0.5).expect("valid");
    let run = |x: &[Tensor<1>]| losses(x, &bridge);
    suite.operator("interpolant, Brownian bridge", 5e-6, &[(ROWS * 6, 1.0)], run, run);
    let sine = SineSquared::new(0.5).expect("valid");
    let run = |x: &[Tensor<1>]| losses(x, &sine);
    suite.operator("interpolant, squared sine", 5e-6, &[(ROWS * 6, 1.0)], run, run);
}

fn couplings(suite: &mut Suite) {
    suite.case("couplings: exact transport, nearest noise", 0.0, |place| {
        let pairs = |place: &Place| {
            let (noise, data) = (place.noise(1, [16, 3]), place.noise(2, [16, 3]));
            let pool: Tensor<2> = place.noise(3, [64, 3]);
            let batch = Uncoupled::new(&noise, &data, NoiseKey::new(1, Purpose::Coupling), 0);
            let exact = ExactOt::new().pair(&batch).expect("it pairs");
            let many = Uncoupled::new(&pool, &data, NoiseKey::new(1, Purpose::Coupling), 0);
            let nearest = NearestNoise::new(4).expect("valid").pair(&many).expect("it pairs");
            let rows = [exact.noise, exact.data, nearest.noise, nearest.data].concat();
            let (noise, data) = (flat(noise), flat(data));
            let moved = values(Tensor::cat(vec![noise, data], 0));
            rows.into_iter().map(|row| row as f64).chain(moved).collect::<Vec<_>>()
        };
        Errors::forward(error(&pairs(place), &pairs(&Place { device: Device::flex(), dtype: place.dtype })))
    });
}

fn keyed_noise(suite: &mut Suite) {
    suite.case("keyed noise, bit for bit", 0.0, |place| {
        let draw = |device: &Device| -> TensorData {
            NoiseKey::new(3, Purpose::Source).normal::<3>(&[5, 9, 1 << 40], 2, [3, 7, 5], device).into_data()
        };
        let (got, expected) = (draw(&place.device), draw(&Device::flex()));
        Errors::forward(if got == expected { 0.0 } else { f64::INFINITY })
    });
    suite.case("keyed noise does not depend on the batch", 0.0, |place| {
        let key = NoiseKey::new(3, Purpose::Source);
        let all: Tensor<2> = key.normal(&[4, 5, 6], 0, [3, 9], &place.device);
        let one: Tensor<2> = key.normal(&[5], 0, [1, 9], &place.device);
        Errors::forward(error(&values(all.narrow(0, 1, 1)), &values(one)))
    });
    // Four standard errors.
    suite.case("device noise has mean 0, deviation 1", 4.0 / 128.0, |place| {
        let x = values(DeviceNoise.normal([128, 128], &place.device));
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let deviation = (x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        Errors::forward(mean.abs().max((deviation - 1.0).abs()))
    });
}
