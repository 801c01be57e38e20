use crate::{close, column, each, numbers, schedules};
use advect_core::{NoiseKey, Purpose, Times};
use advect_paths::{
    AffinePath, Coupling, Independent, Linear, LinearVp, Pairing, Path, PathError, Prediction, SourceLaw, Uncoupled,
};

const GAUSSIAN: SourceLaw = SourceLaw::GaussianIndependent;

#[test]
fn x_is_the_affine_path_and_its_velocity_target_the_derivative() {
    let (noise, data, times) = ([1.0, -0.5, 0.2], [3.0, 2.0, -1.0], [0.1, 0.5, 0.9]);
    for (name, schedule) in schedules() {
        let path = AffinePath::new(schedule.clone(), GAUSSIAN);
        let at = |shift: f64| path.sample(column(&noise), column(&data), &each(&times).map(|t| t + shift)).unwrap();
        let sample = at(0.0);
        for i in 0..3 {
            let c = schedule.at(times[i]);
            assert!(close(numbers(&sample.x)[i], c.alpha * data[i] + c.sigma * noise[i], 1e-14), "{name}");
            // A shared time is the same path.
            let shared = path.sample(column(&noise), column(&data), &Times::Shared(times[i])).unwrap();
            assert!(close(numbers(&shared.x)[i], numbers(&sample.x)[i], 1e-14), "{name}");
        }
        let (ahead, behind, h) = (numbers(&at(1e-5).x), numbers(&at(-1e-5).x), 1e-5);
        let velocity = numbers(&sample.target(Prediction::Velocity).unwrap());
        for i in 0..3 {
            assert!(close(velocity[i], (ahead[i] - behind[i]) / (2.0 * h), 1e-7), "{name}, row {i}");
        }
        let score = numbers(&sample.target(Prediction::Score).unwrap());
        for i in 0..3 {
            // The score of N(alpha x_1, sigma^2) at x.
            let c = schedule.at(times[i]);
            let exact = -(numbers(&sample.x)[i] - c.alpha * data[i]) / (c.sigma * c.sigma);
            assert!(close(score[i], exact, 1e-9), "{name}, row {i}");
        }
        assert_eq!(numbers(&sample.target(Prediction::Noise).unwrap()), noise);
        assert_eq!(numbers(&sample.target(Prediction::Data).unwrap()), data);
    }
}

#[test]
fn infinite_targets_are_errors_that_name_the_time() {
    let sample = |path: AffinePath<LinearVp>| path.sample(column(&[1.0, 1.0]), column(&[0.0, 0.0]), &each(&[0.5, 1.0]));
    let sample = sample(AffinePath::new(LinearVp, GAUSSIAN)).unwrap();
    for target in [Prediction::Score, Prediction::Velocity] {
        assert_eq!(sample.target(target).unwrap_err(), PathError::Target { target, t: 1.0 });
    }
    assert!(sample.target(Prediction::Noise).is_ok() && sample.target(Prediction::Data).is_ok());
}

#[test]
fn coupled_pairs_have_no_score_target() {
    let path = AffinePath::new(Linear, SourceLaw::Other);
    let sample = path.sample(column(&[1.0]), column(&[2.0]), &Times::Shared(0.5)).unwrap();
    let (have, want) = (Prediction::Score, Prediction::Score);
    assert_eq!(sample.target(want).unwrap_err(), PathError::NoScore { have, want });
    assert_eq!(numbers(&sample.target(Prediction::Velocity).unwrap()), [1.0]);
}

#[test]
fn bad_input_is_an_error() {
    let path = AffinePath::new(Linear, GAUSSIAN);
    let (two, three) = (column(&[1.0, 2.0]), column(&[1.0, 2.0, 3.0]));
    let error = path.sample(two.clone(), three.clone(), &Times::Shared(0.5)).unwrap_err();
    assert!(matches!(error, PathError::Shape { .. }), "{error}");
    let error = path.sample(two.clone(), two.clone(), &each(&[0.5, 0.5, 0.5])).unwrap_err();
    assert_eq!(error, PathError::Rows { rows: 2, times: 3 });
    let error = path.sample(two.clone(), two, &each(&[0.5, 1.5])).unwrap_err();
    assert_eq!(error, PathError::Time { t: 1.5 });
}

/// A coupling that sorts both: one-dimensional optimal transport.
struct Sorted;

impl Coupling<2> for Sorted {
    fn pair(&self, batch: &Uncoupled<'_, 2>) -> Result<Pairing, PathError> {
        let order = |values: Vec<f64>| {
            let mut rows: Vec<usize> = (0..values.len()).collect();
            rows.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            rows
        };
        Ok(Pairing { noise: order(numbers(batch.noise)), data: order(numbers(batch.data)) })
    }

    fn source_law(&self, _before: SourceLaw) -> SourceLaw {
        SourceLaw::Other
    }
}

#[test]
fn pairings_carry_labels_along() {
    let (noise, data, labels) = (column(&[0.5, -1.0, 2.0]), column(&[10.0, 30.0, 20.0]), ["a", "b", "c"]);
    let key = NoiseKey::new(0, Purpose::Coupling);
    let pairing = Sorted.pair(&Uncoupled::new(&noise, &data, key, 0)).unwrap();
    let followed = pairing.follow(&labels);
    let (noise, data) = pairing.apply(noise, data);
    assert_eq!((numbers(&noise), numbers(&data)), (vec![-1.0, 0.5, 2.0], vec![10.0, 20.0, 30.0]));
    assert_eq!(followed, ["a", "c", "b"]);
}

#[test]
fn independent_pairs_stay_as_they_come() {
    let (noise, data) = (column(&[0.5, -1.0]), column(&[10.0, 30.0]));
    let key = NoiseKey::new(0, Purpose::Coupling);
    let pairing = Independent.pair(&Uncoupled::new(&noise, &data, key, 0)).unwrap();
    assert_eq!(pairing, Pairing::identity(2));
    let (paired_noise, paired_data) = pairing.apply(noise.clone(), data.clone());
    assert_eq!((numbers(&paired_noise), numbers(&paired_data)), (numbers(&noise), numbers(&data)));
    let law = |before| Coupling::<2>::source_law(&Independent, before);
    assert_eq!((law(GAUSSIAN), law(SourceLaw::Other)), (GAUSSIAN, SourceLaw::Other));
}
