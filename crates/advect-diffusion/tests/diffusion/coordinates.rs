use crate::problems::Exploding;
use advect_diffusion::Coordinates;
use advect_paths::{Cosine, Linear, Schedule, Vp};

#[test]
fn lambda_is_the_log_of_data_over_noise_on_every_schedule() {
    let schedules: [&dyn Schedule; 4] = [&Linear, &Cosine, &Vp::default(), &Exploding { max: 80.0 }];
    for schedule in schedules {
        for t in [0.1, 0.5, 0.9] {
            let at = Coordinates::at(schedule, t);
            assert!((at.lambda - (at.alpha / at.sigma).ln()).abs() < 1e-12);
            assert!((at.level() - (-at.lambda).exp()).abs() < 1e-12 * at.level());
            assert!(at.is_inside());
            let back = Coordinates::at_lambda(schedule, at.lambda);
            assert_eq!(back.lambda, at.lambda);
            assert!((back.t - t).abs() < 1e-9, "{t} became {}", back.t);
        }
        assert!(!Coordinates::at(schedule, 1.0).is_inside());
    }
}

#[test]
fn a_step_by_data_is_a_step_by_noise() {
    // x = alpha D + sigma E with D = 2, E = -0.5: both forms must give alpha' D + sigma' E.
    let (from, to) = (Coordinates::at(&Linear, 0.3), Coordinates::at(&Linear, 0.8));
    let x = 0.3 * 2.0 + 0.7 * -0.5;
    let wanted = 0.8 * 2.0 + 0.2 * -0.5;
    let (on_x, on_data) = from.with_data(&to);
    assert!((on_x * x + on_data * 2.0 - wanted).abs() < 1e-15);
    let (on_x, on_noise) = from.with_noise(&to);
    assert!((on_x * x + on_noise * -0.5 - wanted).abs() < 1e-15);
}
