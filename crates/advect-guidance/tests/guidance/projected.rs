use crate::{NOW, close, dot, each, fixed, numbers, random, tensor};
use advect_core::{Field, TimeGrid, Times};
use advect_guidance::{Contrast, Guided, Momentum, Projected, RowProducts, constant};
use advect_paths::{Cosine, Linear, Prediction, Predictor, Schedule, SourceLaw, convert_output};
use advect_solvers::{SolveError, Step, Stepper, solve};

fn projected<C>(guided: C, prediction: Prediction, eta: f64) -> Projected<C, Linear> {
    let source = SourceLaw::Other;
    Projected::new(Predictor { field: guided, prediction, schedule: Linear, source }, eta, 0.1, 1.0).unwrap()
}

#[test]
fn by_hand() {
    // The difference (2, 0) has the part 6/25 (3, 4) along (3, 4).
    let guided = || Guided { strong: fixed(&[3.0, 4.0]), weak: fixed(&[1.0, 4.0]), scale: constant(3.0) };
    let value = |eta| projected(guided(), Prediction::Data, eta).eval([0.0, 0.0], &NOW);
    assert!(close(&value(0.0), &[3.0 + 64.0 / 25.0, 4.0 - 48.0 / 25.0]));
    assert!(close(&value(0.5), &[3.0 + 82.0 / 25.0, 4.0 - 24.0 / 25.0]));
    // With all of the parallel part it is plain guidance.
    assert!(close(&value(1.0), &[7.0, 4.0]));
    // Shortened from norm 2 to 1/2.
    let short = projected(guided(), Prediction::Data, 1.0).with_threshold(0.5).unwrap();
    assert!(close(&short.eval([0.0, 0.0], &NOW), &[4.0, 4.0]));
    let long = projected(guided(), Prediction::Data, 1.0).with_threshold(2.5).unwrap();
    assert!(close(&long.eval([0.0, 0.0], &NOW), &[7.0, 4.0]));
}

#[test]
fn what_is_added_is_orthogonal_to_the_data() {
    let (strong, weak) = (random::<6>(8, 1), random::<6>(8, 2));
    let guided = Guided { strong: fixed(&strong), weak: fixed(&weak), scale: constant(5.0) };
    let value = projected(guided, Prediction::Data, 0.0).eval(strong.clone(), &NOW);
    for r in 0..8 {
        let added: Vec<f64> = (0..6).map(|i| value[r][i] - strong[r][i]).collect();
        assert!(dot(&added, &strong[r]).abs() < 1e-12 * dot(&added, &added).max(1.0), "row {r}");
        assert!(dot(&added, &added) > 0.1);
    }
}

#[test]
fn weight_one_is_the_strong_field_at_one_evaluation() {
    let rows = random::<3>(2, 3);
    // A weak field of NaN: were it looked at, it would show.
    let guided = Guided { strong: fixed(&rows), weak: fixed(&vec![[f64::NAN; 3]; 2]), scale: constant(1.0) };
    assert_eq!(projected(guided, Prediction::Velocity, 0.0).eval(rows.clone(), &NOW), rows);
}

/// Two steps of guidance of given data predictions, in another prediction, read as data again.
fn two_steps<S: Schedule + Clone>(schedule: S, prediction: Prediction) -> Vec<Vec<[f64; 4]>> {
    let x = random::<4>(3, 9);
    let mut momentum = Momentum::new(-0.6).unwrap();
    let mut values = Vec::new();
    for (step, t) in [each(&[0.2, 0.3, 0.6]), Times::Shared(0.7)].into_iter().enumerate() {
        let read = |data: Vec<[f64; 4]>| {
            convert_output(&schedule, &t, Prediction::Data, prediction, x.clone(), &data).unwrap()
        };
        let guided = Guided {
            strong: fixed(&read(random::<4>(3, 10 + step as u64))),
            weak: fixed(&read(random::<4>(3, 20 + step as u64))),
            scale: |t: f64| 2.0 + t,
        };
        let source = SourceLaw::GaussianIndependent;
        let predictor = Predictor { field: guided, prediction, schedule: schedule.clone(), source };
        let apg = Projected::new(predictor, 0.2, 0.1, 0.9).unwrap().with_threshold(1.5).unwrap();
        let value = apg.eval_with(x.clone(), &t, &mut momentum);
        values.push(convert_output(&schedule, &t, prediction, Prediction::Data, x.clone(), &value).unwrap());
    }
    values
}

#[test]
fn every_prediction_is_guided_alike() {
    // The rule is one of data predictions; whatever the field predicts, the data it means are the same.
    fn check<S: Schedule + Clone>(schedule: S) {
        let exact = two_steps(schedule.clone(), Prediction::Data);
        for prediction in Prediction::ALL {
            for (value, exact) in two_steps(schedule.clone(), prediction).iter().zip(&exact) {
                let apart = value.as_flattened().iter().zip(exact.as_flattened()).map(|(a, b)| (a - b).abs());
                assert!(apart.fold(0.0, f64::max) < 1e-11, "{prediction}");
            }
        }
    }
    check(Linear);
    check(Cosine);
}

#[test]
fn momentum_remembers_the_difference() {
    let mut momentum = Momentum::new(-0.5).unwrap();
    let step = |strong: [f64; 2], momentum: &mut Momentum<[f64; 2]>| {
        let guided = Guided { strong: fixed(&strong), weak: fixed(&[0.0, 0.0]), scale: constant(2.0) };
        let value = projected(guided, Prediction::Data, 1.0).eval_with([0.0, 0.0], &NOW, momentum);
        [value[0] - strong[0], value[1] - strong[1]]
    };
    // Differences (2, 0), (1, 1), (0, 4): remembered (2, 0), (0, 1), (0, 3.5).
    assert!(close(&step([2.0, 0.0], &mut momentum), &[2.0, 0.0]));
    assert!(close(&step([1.0, 1.0], &mut momentum), &[0.0, 1.0]));
    assert!(close(&step([0.0, 4.0], &mut momentum), &[0.0, 3.5]));
    momentum.restart();
    assert!(close(&step([0.0, 4.0], &mut momentum), &[0.0, 4.0]));
}

#[test]
fn memory_follows_its_rows() {
    let mut momentum = Momentum::new(-0.5).unwrap();
    let added = |strong: &[[f64; 2]], momentum: &mut Momentum<Vec<[f64; 2]>>| {
        let zero = vec![[0.0, 0.0]; strong.len()];
        let guided = Guided { strong: fixed(&strong.to_vec()), weak: fixed(&zero), scale: constant(2.0) };
        let value = projected(guided, Prediction::Data, 1.0).eval_with(zero, &NOW, momentum);
        value.iter().zip(strong).map(|(v, s)| [v[0] - s[0], v[1] - s[1]]).collect::<Vec<_>>()
    };
    added(&[[1.0, 0.0], [2.0, 0.0], [4.0, 0.0]], &mut momentum);
    let mut rest = momentum.select(&[2, 0]);
    assert_eq!(added(&[[0.0, 1.0], [0.0, 1.0]], &mut rest), [[-2.0, 1.0], [-0.5, 1.0]]);
}

#[test]
fn a_velocity_that_says_nothing_of_the_data_is_guided_too() {
    // At t = 1 of the linear path D = x whatever the velocity: the direction is x, and nothing is remembered.
    let guided = Guided { strong: fixed(&[1.0, 1.0]), weak: fixed(&[0.0, 0.0]), scale: constant(2.0) };
    let mut momentum = Momentum::new(-0.5).unwrap();
    let apg = projected(guided, Prediction::Velocity, 0.0).with_threshold(0.1).unwrap();
    for _ in 0..2 {
        assert!(close(&apg.eval_with([2.0, 0.0], &Times::Shared(1.0), &mut momentum), &[1.0, 2.0]));
    }
}

/// Euler steps of guidance with memory: what a solver needs to carry the momentum.
struct EulerWithMomentum<X>(Momentum<X>);

impl<X: RowProducts, C: Contrast<X>, S: Schedule> Stepper<Projected<C, S>, X> for EulerWithMomentum<X> {
    fn step(&mut self, apg: &Projected<C, S>, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let velocity = apg.eval_with(x.clone(), from, &mut self.0);
        let step = to.at(0) - from.at(0);
        Ok(Step { x: x.combine(1.0, &[(step, &velocity)]), at: to.clone() })
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

#[test]
fn a_stepper_owns_the_momentum() {
    // Velocities 1 and 0 in one dimension with eta = 1: d_n = (1 - t_n) + beta d_{n-1} in data,
    // u = 1 + (w - 1) d_n / (1 - t_n).
    let guided = Guided { strong: fixed(&1.0), weak: fixed(&0.0), scale: constant(3.0) };
    let grid = TimeGrid::uniform(0.0, 1.0, 8).unwrap();
    let source = SourceLaw::GaussianIndependent;
    let predictor = Predictor { field: guided, prediction: Prediction::Velocity, schedule: Linear, source };
    let apg = Projected::new(predictor, 1.0, 0.0, 1.0).unwrap();
    let mut stepper = EulerWithMomentum(Momentum::new(-0.75).unwrap());
    let (mut x, mut d) = (0.3, 0.0);
    for n in 0..8 {
        let left = 1.0 - f64::from(n) / 8.0;
        d = left - 0.75 * d;
        x += (1.0 + 2.0 * d / left) / 8.0;
    }
    // Twice: a solve starts with a restart.
    for _ in 0..2 {
        let end = solve(&apg, &mut stepper, 0.3, &grid).unwrap();
        assert!((end - x).abs() < 1e-12, "{end} vs {x}");
    }
}

#[test]
fn tensors_and_arrays_agree() {
    let (strong, weak) = (random::<4>(3, 4), random::<4>(3, 5));
    let times = each(&[0.1, 0.25, 0.9]);
    let scale = |t: f64| 4.0 * t;
    let host = projected(Guided { strong: fixed(&strong), weak: fixed(&weak), scale }, Prediction::Velocity, 0.3);
    let guided = Guided { strong: fixed(&tensor(&strong)), weak: fixed(&tensor(&weak)), scale };
    let device = projected(guided, Prediction::Velocity, 0.3).with_threshold(0.7).unwrap();
    let x = random::<4>(3, 6);
    let wanted = host.with_threshold(0.7).unwrap().eval(x.clone(), &times);
    let value = numbers(device.eval(tensor(&x), &times));
    assert!(close(&value, wanted.as_flattened()), "{value:?}");
}

#[test]
fn what_cannot_be_is_refused() {
    let guided = || Guided { strong: fixed(&1.0), weak: fixed(&0.0), scale: constant(3.0) };
    let source = SourceLaw::Other;
    let noise = || Predictor { field: guided(), prediction: Prediction::Noise, schedule: Linear, source };
    let error = Projected::new(noise(), 0.0, 0.0, 1.0).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("the data cannot be read off the noise at t = 0"), "{error}");
    assert!(Projected::new(noise(), f64::NAN, 0.1, 1.0).is_err());
    assert!(Projected::new(noise(), 0.0, 0.1, 1.0).unwrap().with_threshold(0.0).is_err());
    assert!(Momentum::<f64>::new(-1.0).is_err());
}
