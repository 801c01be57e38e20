use crate::{affine, close, column, each, has_data_at_0, keeps_noise, number_line, numbers, root, schedules};
use advect_analytic::gaussian::{Affine, Gaussian};
use advect_core::Times;
use advect_paths::{
    Cosine, Edm, Linear, LinearVp, PathError, Polynomial, Prediction, Schedule, SourceLaw, Vp, convert, convert_output,
};

#[test]
fn all_pairs_are_those_of_the_mixture_inside() {
    let mixture = number_line();
    for (name, schedule) in schedules() {
        for t in [0.02, 0.2, 0.5, 0.8, 0.98] {
            let at = affine(&schedule, t);
            for x in [-2.5, -0.3, 0.0, 1.7] {
                for have in Prediction::ALL {
                    for want in Prediction::ALL {
                        let (on_x, on_output) = convert(&schedule, t, have, want).unwrap();
                        let got = on_x * x + on_output * mixture.value(at, x, have);
                        let wanted = mixture.value(at, x, want);
                        assert!(close(got, wanted, 1e-8), "{name}, t = {t}, {have} -> {want}: {got} vs {wanted}");
                    }
                }
            }
        }
    }
}

/// At the ends: which pairs have a finite value was worked out by hand from the limits, not with the code.
fn finite_at_end(name: &str, t: f64, have: Prediction, want: Prediction) -> bool {
    use Prediction::{Data, Noise, Score, V, Velocity};
    if t == 1.0 {
        // With an exploding sigma that ends at 0 faster than linearly, the velocity ends at 0 and says nothing.
        let silent = name == "edm to 0, rho 3";
        match (have, want) {
            _ if keeps_noise(name) => true,
            (a, b) if a == b => true,
            (_, Data) => true,
            (Data, _) => false,
            (Velocity, Noise | V) => !silent,
            (Score, Noise | V | Velocity) => true,
            // E[x_0 | x] vanishes like sigma; where sigma falls like a root, d_sigma times it is lost.
            (Noise | V, Velocity) => !root(name),
            // Both are E[x_0 | x].
            (Noise, V) | (V, Noise) => true,
            (Noise | V, Score) => false,
            (Velocity, Score) => root(name),
            _ => unreachable!(),
        }
    } else {
        match (have, want) {
            _ if has_data_at_0(name) => true,
            (a, b) if a == b => true,
            (_, Noise | Score) => true,
            (Velocity, Data | V) => !matches!(name, "polynomial 2.5" | "polynomial 3"),
            // v is -E[x_1 | x].
            (Data, Velocity | V) | (V, Velocity | Data) => true,
            (Noise | Score, Data | Velocity | V) => false,
            _ => unreachable!(),
        }
    }
}

#[test]
fn all_pairs_at_both_ends_are_finite_limits_or_errors() {
    let mixture = number_line();
    for (name, schedule) in schedules() {
        for t in [0.0, 1.0] {
            let at = affine(&schedule, t);
            for have in Prediction::ALL {
                for want in Prediction::ALL {
                    let converted = convert(&schedule, t, have, want);
                    if !finite_at_end(name, t, have, want) {
                        assert_eq!(converted, Err(PathError::Singular { have, want, t }), "{name}");
                        continue;
                    }
                    let (on_x, on_output) = converted.unwrap_or_else(|e| panic!("{name}: {e}"));
                    for x in [-1.9, 0.4, 1.1] {
                        // sigma * d_sigma at t = 1, by hand: -1 for LinearVP, -beta_min / 2 for VP.
                        let value = |prediction| match (prediction, name, t) {
                            (Prediction::Velocity, "linear vp", 1.0) => x + mixture.value(at, x, Prediction::Score),
                            // sigma^2 = 1 - t: sigma d_sigma = -1/2, and d_alpha = 1.
                            (Prediction::Velocity, "course", 1.0) => x + 0.5 * mixture.value(at, x, Prediction::Score),
                            (Prediction::Velocity, "vp", 1.0) => 0.05 * (x + mixture.value(at, x, Prediction::Score)),
                            _ => mixture.value(at, x, prediction),
                        };
                        let (got, wanted) = (on_x * x + on_output * value(have), value(want));
                        assert!(close(got, wanted, 1e-8), "{name}, t = {t}, {have} -> {want}: {got} vs {wanted}");
                    }
                    // The limit is that of the values inside.
                    let inside = if t == 0.0 { 1e-8 } else { 1.0 - 1e-8 };
                    let (near_x, near_output) = convert(&schedule, inside, have, want).unwrap();
                    let near = close(on_x, near_x, 1e-3) && close(on_output, near_output, 1e-3);
                    assert!(near, "{name}, t = {t}, {have} -> {want}: {on_x}, {on_output} vs {near_x}, {near_output}");
                }
            }
        }
    }
}

/// A schedule and a time, the pair, and the coefficients on x and on the output.
type Case<'a> = (&'a dyn Schedule, f64, Prediction, Prediction, (f64, f64));

/// Formulas by hand, from papers: a table that no solve of ours has made.
#[test]
fn known_coefficients() {
    use Prediction::{Data, Noise, Score, V, Velocity};
    let (vp, edm) = (Vp::default(), Edm::new(0.0, 5.0, 1.0).unwrap());
    let cases: Vec<Case<'_>> = vec![
        // x_1 = x + (1 - t) u and x_0 = x - t u (rectified flow).
        (&Linear, 0.25, Velocity, Data, (1.0, 0.75)),
        (&Linear, 0.25, Velocity, Noise, (1.0, -0.25)),
        // score = (t u - x) / (1 - t).
        (&Linear, 0.25, Velocity, Score, (-4.0 / 3.0, 1.0 / 3.0)),
        (&Linear, 1.0, Score, Velocity, (1.0, 0.0)),
        (&Linear, 0.0, Velocity, Score, (-1.0, 0.0)),
        (&Cosine, 0.5, Velocity, Data, (0.5_f64.sqrt(), 2.0 / std::f64::consts::PI * 0.5_f64.sqrt())),
        // Salimans & Ho, 2022: x_1 = alpha x - sigma v, x_0 = sigma x + alpha v; the velocity is -pi/2 times v.
        (&LinearVp, 0.6, V, Data, (0.6, -0.8)),
        (&LinearVp, 0.6, V, Noise, (0.8, 0.6)),
        (&Cosine, 0.3, V, Velocity, (0.0, -std::f64::consts::FRAC_PI_2)),
        // EDM, equation 4 with sigma as the time: dx/dsigma = (x - D) / sigma; here sigma = 5 (1 - t).
        (&edm, 0.4, Data, Velocity, (-5.0 / 3.0, 5.0 / 3.0)),
        (&edm, 0.4, Score, Velocity, (0.0, 15.0)),
        (&edm, 1.0, Velocity, Noise, (0.0, -0.2)),
        // Probability flow of the VP SDE (Song et al., 2021): u = beta / 2 (x + score), beta = 10.05 at t = 1/2.
        (&vp, 0.5, Score, Velocity, (5.025, 5.025)),
        (&LinearVp, 1.0, Velocity, Score, (-1.0, 1.0)),
        // Tweedie: x_1 = (x + sigma^2 score) / alpha.
        (&LinearVp, 0.6, Score, Data, (1.0 / 0.6, 0.64 / 0.6)),
        (&Linear, 0.5, Data, Noise, (2.0, -1.0)),
    ];
    for (schedule, t, have, want, (on_x, on_output)) in cases {
        let got = convert(schedule, t, have, want).unwrap();
        assert!(close(got.0, on_x, 1e-12) && close(got.1, on_output, 1e-12), "{have} -> {want}: {got:?}");
    }
}

#[test]
fn errors_name_the_time() {
    let error = convert(&Linear, 0.0, Prediction::Noise, Prediction::Velocity).unwrap_err();
    assert!(error.to_string().contains("the velocity cannot be read off the noise at t = 0"), "{error}");
    for t in [-0.1, 1.1, f64::NAN] {
        let error = convert(&Linear, t, Prediction::Noise, Prediction::Score).unwrap_err();
        assert!(matches!(error, PathError::Time { .. }), "{error}");
    }
}

#[test]
fn rows_have_their_own_coefficients() {
    let polynomial = Polynomial::new(2.0).unwrap();
    let (x, output, times) = ([0.3, -1.0, 2.0], [1.0, 0.5, -2.0], [0.2, 0.5, 0.9]);
    let wanted: Vec<f64> = (0..3)
        .map(|i| {
            let c = convert(&polynomial, times[i], Prediction::Velocity, Prediction::Data).unwrap();
            c.0 * x[i] + c.1 * output[i]
        })
        .collect();
    let convert = |times: &Times, x, output: &_| {
        convert_output(&polynomial, times, Prediction::Velocity, Prediction::Data, x, output)
    };
    let tensor = convert(&each(&times), column(&x), &column(&output)).unwrap();
    for (got, wanted) in numbers(&tensor).into_iter().zip(wanted) {
        assert!(close(got, wanted, 1e-14));
    }
    let shared = convert(&Times::Shared(0.5), column(&x), &column(&output)).unwrap();
    assert!(close(numbers(&shared)[1], numbers(&tensor)[1], 1e-14));
    let error = convert(&each(&[0.5]), column(&x), &column(&output)).unwrap_err();
    assert_eq!(error, PathError::Rows { rows: 3, times: 1 });
}

/// The trap of the design: N(0, 1) to N(0, 4), coupled by optimal transport as x_1 = 2 x_0.
#[test]
fn a_score_is_refused_where_it_would_be_wrong() {
    // x_t = (1 - t) x_0 + 2 t x_0, so at t = 1/2: x = 1.5 x_0, and the (correct) velocity x_1 - x_0 is x / 1.5.
    let velocity = 1.0 / 1.5;
    // The marginal is N(0, 1.5^2) with score -x / 2.25 = -0.444 x; the conversion for independent pairs says -1.333 x.
    let true_score = -1.0 / 2.25;
    let (on_x, on_output) = convert(&Linear, 0.5, Prediction::Velocity, Prediction::Score).unwrap();
    let read_off = on_x + on_output * velocity;
    assert!(close(read_off, -4.0 / 3.0, 1e-12) && close(true_score, -4.0 / 9.0, 1e-12));
    // For independent pairs the same algebra is right: the marginal at t = 1/2 is then N(0, 1.25).
    let (gaussian, at) = (Gaussian { mean: 0.0, std: 2.0 }, Affine::linear(0.5));
    assert!(close(on_x + on_output * gaussian.velocity(at, 1.0), -0.8, 1e-12));
    // So the law decides.
    for have in Prediction::ALL {
        for want in Prediction::ALL {
            assert_eq!(SourceLaw::GaussianIndependent.permits(have, want), Ok(()));
            let score = have == Prediction::Score || want == Prediction::Score;
            let refused = SourceLaw::Other.permits(have, want) == Err(PathError::NoScore { have, want });
            assert_eq!(refused, score, "{have} -> {want}");
        }
    }
    // Velocity, data and noise are linear in the pair: the conversions hold for the coupling too (x_1 = 2 x_0).
    let data = convert(&Linear, 0.5, Prediction::Velocity, Prediction::Data).unwrap();
    assert!(close(data.0 + data.1 * velocity, 2.0 / 1.5, 1e-12));
}
