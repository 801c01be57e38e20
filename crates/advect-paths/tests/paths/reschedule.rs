use crate::{affine, close, each, number_line, root, schedules};
use advect_core::{Field, RowField, TimeGrid, Times, shared};
use advect_paths::{Cosine, Linear, PathError, Polynomial, Prediction, Predictor, Schedule, SourceLaw, Ve, Vp};
use advect_solvers::{RK4, solve};

const GAUSSIAN: SourceLaw = SourceLaw::GaussianIndependent;

#[test]
fn the_new_schedules_predictions_are_those_of_the_mixture() {
    // Every schedule to every other, every prediction, against the exact value on the new schedule.
    let mixture = number_line();
    let mut checked = 0;
    for (old_name, old) in schedules() {
        for (new_name, new) in schedules() {
            for prediction in Prediction::ALL {
                let field = shared(|x: f64, t: f64| mixture.value(affine(&old, t), x, prediction));
                let predictor = Predictor { field, prediction, schedule: old.clone(), source: GAUSSIAN };
                // Where the two overlap.
                let from = new.time_at_log_snr(old.log_snr(0.05)).max(0.05);
                let to = new.time_at_log_snr(old.log_snr(0.95)).min(0.95);
                if from > to {
                    continue;
                }
                let moved = predictor.reschedule(new.clone(), from, to).unwrap();
                for share in [0.0, 0.3, 0.7, 1.0] {
                    let r = from + share * (to - from);
                    for x in [-1.7, 0.2, 1.1] {
                        let got = moved.field.eval(x, &Times::Shared(r));
                        let exact = mixture.value(affine(&new, r), x, prediction);
                        let case = format!("{old_name} -> {new_name}, {prediction}, r = {r}, x = {x}");
                        assert!(close(got, exact, 1e-8), "{case}: {got} vs {exact}");
                        checked += 1;
                    }
                }
            }
        }
    }
    assert!(checked > 5000, "{checked}");
}

#[test]
fn a_velocity_moves_as_published() {
    // Lipman et al., 2024: u'(x, r) = (ds/dr) / s x + s (dt/dr) u(x / s, t), with s and t from equal signal-to-noise
    // ratios and their derivatives by central differences, for a field that is no one's marginal velocity.
    let wild = |x: f64, t: f64| (2.0 * x).sin() + t * t * x - 0.3;
    let h = 1e-5;
    for (old_name, old) in schedules() {
        for (new_name, new) in schedules() {
            for r in [0.3, 0.6, 0.8] {
                let log_snr = new.log_snr(r);
                if !(old.log_snr(0.02)..old.log_snr(0.98)).contains(&log_snr) {
                    continue;
                }
                let time = |r: f64| old.time_at_log_snr(new.log_snr(r));
                let scale = |r: f64| new.at(r).sigma / old.at(time(r)).sigma;
                let rate = |f: &dyn Fn(f64) -> f64| (f(r + h) - f(r - h)) / (2.0 * h);
                let (s, t, x) = (scale(r), time(r), 0.9);
                let published = rate(&scale) / s * x + s * rate(&time) * wild(x / s, t);
                let predictor = Predictor {
                    field: shared(wild),
                    prediction: Prediction::Velocity,
                    schedule: old.clone(),
                    source: SourceLaw::Other,
                };
                let moved = predictor.reschedule(new.clone(), r, r).unwrap();
                let got = moved.field.eval(x, &Times::Shared(r));
                assert!(close(got, published, 1e-6), "{old_name} -> {new_name}, r = {r}: {got} vs {published}");
            }
        }
    }
}

#[test]
fn the_moved_flow_ends_where_the_trained_one_does() {
    // Same start, same end, another road: the samples of a flow do not depend on its schedule.
    let mixture = number_line();
    let velocity = |schedule| {
        let field = shared(|x: f64, t: f64| mixture.value(affine(&Linear, t), x, Prediction::Velocity));
        let trained = Predictor { field, prediction: Prediction::Velocity, schedule: Linear, source: GAUSSIAN };
        trained.reschedule(schedule, 0.0, 1.0).unwrap()
    };
    let grid = TimeGrid::uniform(0.0, 1.0, 300).unwrap();
    let plain = shared(|x: f64, t: f64| mixture.value(affine(&Linear, t), x, Prediction::Velocity));
    for (name, new) in schedules() {
        // The linear velocity at t = 0 and 1 must be enough for the new one's: not with VP, VE, EDM and infinite
        // slopes.
        if !["linear", "cosine", "polynomial 1", "polynomial 2.5", "polynomial 3"].contains(&name) {
            continue;
        }
        let moved = velocity(new);
        for x in [-1.3, 0.4] {
            let wanted = solve(&plain, RK4.stepper(), x, &grid).unwrap();
            let got = solve(&moved.field, RK4.stepper(), x, &grid).unwrap();
            assert!(close(got, wanted, 1e-6), "{name}: {got} vs {wanted}");
        }
    }
}

#[test]
fn ends_without_a_value_are_errors() {
    let predictor = |schedule: &'static str, prediction| {
        let (_, schedule) = schedules().into_iter().find(|(name, _)| *name == schedule).unwrap();
        Predictor { field: shared(|x: f64, _t: f64| x), prediction, schedule, source: GAUSSIAN }
    };
    // VP starts with some data in x: there is no time on it for the pure noise of the linear path.
    let error = predictor("vp", Prediction::Noise).reschedule(Linear, 0.0, 1.0).err().unwrap();
    assert!(matches!(error, PathError::NoEqualSnr { t: 0.0, .. }), "{error}");
    // From where they meet on, there is.
    let start = Linear.time_at_log_snr(Vp::default().log_snr(0.0));
    assert!(predictor("vp", Prediction::Noise).reschedule(Linear, start, 1.0).is_ok());
    let moved = predictor("vp", Prediction::Noise).reschedule(Linear, start, 1.0).unwrap();
    assert!(moved.field.eval(1.0, &Times::Shared(start / 2.0)).is_nan());
    assert!(moved.field.eval(1.0, &Times::Shared(1.5)).is_nan());
    // VE keeps noise at t = 1, the linear path does not.
    let error = predictor("ve", Prediction::Data).reschedule(Cosine, 0.5, 1.0).err().unwrap();
    assert!(matches!(error, PathError::NoEqualSnr { t: 1.0, .. }), "{error}");
    // The velocity of a square at t = 0 is zero: nothing can be read off it.
    let error = predictor("polynomial 3", Prediction::Velocity).reschedule(Linear, 0.0, 1.0).err().unwrap();
    let (have, want) = (Prediction::Velocity, Prediction::Velocity);
    assert_eq!(error, PathError::Singular { have, want, t: 0.0 });
    // Noise and data need nothing but the time.
    for prediction in [Prediction::Noise, Prediction::Data, Prediction::Score] {
        assert!(predictor("polynomial 3", prediction).reschedule(Linear, 0.0, 1.0).is_ok());
    }
    let error = predictor("linear", Prediction::Data).reschedule(Linear, 0.0, 1.5).err().unwrap();
    assert_eq!(error, PathError::Time { t: 1.5 });
    // Same shape, other scale: VE onto VE.
    assert!(predictor("ve", Prediction::Velocity).reschedule(Ve::new(0.1, 5.0).unwrap(), 0.0, 1.0).is_ok());
    assert!(schedules().iter().any(|(name, _)| root(name)));
}

/// A field whose rows have labels.
struct Labelled(Vec<f64>);

impl Field<Vec<f64>> for Labelled {
    fn eval(&self, x: Vec<f64>, t: &Times) -> Vec<f64> {
        x.iter().enumerate().map(|(row, x)| self.0[row] + x * t.at(row)).collect()
    }
}

impl RowField<Vec<f64>> for Labelled {
    fn select(&self, rows: &[usize]) -> Self {
        Self(rows.iter().map(|&r| self.0[r]).collect())
    }
}

#[test]
fn rows_have_their_own_times_and_conditions() {
    let field = Labelled(vec![1.0, 2.0, 3.0]);
    let predictor = Predictor { field, prediction: Prediction::Velocity, schedule: Linear, source: GAUSSIAN };
    let moved = predictor.reschedule(Polynomial::new(2.0).unwrap(), 0.1, 0.9).unwrap();
    let (x, times) = (vec![0.1, 0.2, 0.3], [0.2, 0.4, 0.6]);
    let all = moved.field.eval(x.clone(), &each(&times));
    for row in 0..3 {
        let chosen = moved.field.select(&[row]);
        assert_eq!(chosen.eval(vec![x[row]], &each(&[times[row]])), [all[row]]);
        assert!(close(chosen.eval(vec![x[row]], &Times::Shared(times[row]))[0], all[row], 1e-15));
    }
}
