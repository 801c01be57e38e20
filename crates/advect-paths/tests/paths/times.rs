use crate::{close, normal_integral};
use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose};
use advect_paths::{
    CosineTime, Edm, ImportanceTime, Linear, LogNormalSigmaTime, LogitNormalTime, ModeTime, PathError, Schedule,
    StratifiedTime, TimeLaw, TimeSampler, UniformTime,
};
use std::f64::consts::PI;

fn key() -> NoiseKey {
    NoiseKey::new(11, Purpose::Time)
}

/// The largest distance of the empirical distribution function from the exact one (Kolmogorov-Smirnov).
fn distance(mut values: Vec<f64>, cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let off = |(i, v): (usize, &f64)| (cdf(*v) - i as f64 / n).abs().max((cdf(*v) - (i + 1) as f64 / n).abs());
    values.iter().enumerate().map(off).fold(0.0, f64::max)
}

const N: usize = 20_000;

fn logit(t: f64) -> f64 {
    (t / (1.0 - t)).ln()
}

/// An importance law that has seen the loss 1 + 10 t, four bins.
fn taught() -> ImportanceTime {
    let mut law = ImportanceTime::new(4, 0.5, 0.1).unwrap();
    let times = [0.125, 0.375, 0.625, 0.875];
    law.observe(&times, &times.map(|t| 1.0 + 10.0 * t)).unwrap();
    law
}

/// A law and its distribution function, in closed form.
type Known = (&'static str, Box<dyn TimeLaw>, Box<dyn Fn(f64) -> f64>);

/// Every law of the crate. A new one joins all tests by a line here.
fn laws() -> Vec<Known> {
    let normal = |z: f64| if z.is_finite() { 0.5 + normal_integral(z) } else { f64::from(u8::from(z > 0.0)) };
    // P(t < T) of the mode law is u with T = u + s (u - sin^2(pi u / 2)): solved by Newton's method.
    let mode = |s: f64| {
        move |t: f64| {
            let mut u = t;
            for _ in 0..60 {
                let value = u + s * (u - (PI * u / 2.0).sin().powi(2)) - t;
                u = (u - value / (1.0 + s * (1.0 - PI / 2.0 * (PI * u).sin()))).clamp(0.0, 1.0);
            }
            u
        }
    };
    // EDM from 80 to 0: sigma = 80 (1 - t)^3, and P(t < T) = P(sigma > sigma(T)).
    let edm = Edm::new(0.0, 80.0, 3.0).unwrap();
    vec![
        ("uniform", Box::new(UniformTime::new()), Box::new(|t| t)),
        ("clipped", Box::new(UniformTime::clipped(0.1).unwrap()), Box::new(|t| ((t - 0.1) / 0.8).clamp(0.0, 1.0))),
        (
            "logit-normal",
            Box::new(LogitNormalTime::new(-0.5, 0.7).unwrap()),
            Box::new(move |t| normal((logit(t) + 0.5) / 0.7)),
        ),
        (
            "log-normal sigma",
            Box::new(LogNormalSigmaTime::new(-1.2, 1.2, edm).unwrap()),
            Box::new(move |t: f64| normal(-((80.0 * (1.0 - t).powi(3)).ln() + 1.2) / 1.2)),
        ),
        ("mode", Box::new(ModeTime::new(1.29).unwrap()), Box::new(mode(1.29))),
        ("mode, ends", Box::new(ModeTime::new(-0.54).unwrap()), Box::new(mode(-0.54))),
        // The integral of 2 / (pi (1 - 2 t + 2 t^2)) from 0.
        ("cosine", Box::new(CosineTime), Box::new(|t| (2.0 * t - 1.0).atan() / (PI / 2.0) + 0.5)),
        // Bins in proportion to 2.25, 4.75, 7.25, 9.75, of nine tenths, and a tenth uniform.
        (
            "importance",
            Box::new(taught()),
            Box::new(|t| {
                let below: f64 = [2.25, 4.75, 7.25, 9.75]
                    .iter()
                    .enumerate()
                    .map(|(i, share)| share * (4.0 * t - i as f64).clamp(0.0, 1.0))
                    .sum();
                0.9 * below / 24.0 + 0.1 * t
            }),
        ),
    ]
}

#[test]
fn every_law_is_its_distribution_function() {
    // n = 20,000, seed 11. sqrt(n) D exceeds 2.23 with probability 1e-4 (four standard errors' worth).
    let ids: Vec<u64> = (0..N as u64).collect();
    for (name, law, cdf) in laws() {
        let drawn: Vec<f64> = key().each(&ids, 0, |_, rng| law.draw(rng));
        assert!(drawn.iter().all(|t| (0.0..=1.0).contains(t)), "{name}");
        let off = distance(drawn, &cdf) * (N as f64).sqrt();
        assert!(off < 2.23, "{name}: {off}");
        // The quantile is the inverse of the distribution function, and the density its derivative.
        for u in [1e-3, 0.04, 0.26, 0.5, 0.61, 0.93, 0.9999] {
            let t = law.quantile(u);
            assert!((cdf(t) - u).abs() < 1e-9, "{name}, u = {u}: {t}");
            let h = 1e-5 * t.min(1.0 - t);
            let slope = (cdf(t + h) - cdf(t - h)) / (2.0 * h);
            assert!(close(law.density(t), slope, 1e-5), "{name}, t = {t}: {} vs {slope}", law.density(t));
        }
        for (u, end) in [(0.0, 0.0), (1.0, 1.0)] {
            let clip = if name == "clipped" { 0.1 } else { 0.0 };
            assert!((law.quantile(u) - end).abs() <= clip + 1e-15, "{name}, u = {u}");
            assert!(law.density(end).is_finite(), "{name}, t = {end}");
        }
        assert_eq!((law.density(-0.1).abs(), law.density(1.1).abs()), (0.0, 0.0), "{name}");
    }
}

#[test]
fn the_edm_law_on_the_linear_path_is_logit_normal() {
    // sigma / alpha = (1 - t) / t: t = 1 / (1 + sigma), the skewed times of flow_matching's image example.
    let edm = LogNormalSigmaTime::new(-1.2, 1.2, Linear).unwrap();
    let logit_normal = LogitNormalTime::new(1.2, 1.2).unwrap();
    let ids: Vec<u64> = (0..50).collect();
    let drawn = key().each(&ids, 0, |_, rng| edm.draw(rng));
    for (a, b) in drawn.into_iter().zip(key().each(&ids, 0, |_, rng| logit_normal.draw(rng))) {
        assert!(close(a, b, 1e-14));
    }
    for t in [0.05, 0.4, 0.9] {
        assert!(close(edm.density(t), logit_normal.density(t), 1e-13));
    }
}

#[test]
fn the_cosine_law_is_the_cosine_schedule() {
    // Uniform times of the cosine schedule have, by equal signal-to-noise ratio, these times on the linear path.
    for u in [0.0, 0.1, 0.37, 0.5, 0.92, 1.0] {
        let mapped = Linear.time_at_log_snr(advect_paths::Cosine.log_snr(u));
        assert!(close(CosineTime.quantile(u), mapped, 1e-14), "{u}");
    }
    // Esser et al., 2024: the mode law of scale s has the density 1 / (1 + s) at the ends.
    let mode = ModeTime::new(1.29).unwrap();
    assert!(close(mode.density(0.0), 1.0 / 2.29, 1e-12) && close(mode.density(1.0), 1.0 / 2.29, 1e-12));
    assert!(close(mode.density(0.5), 1.0 / (1.0 + 1.29 * (1.0 - PI / 2.0)), 1e-9));
}

#[test]
fn stratified_times_have_one_in_each_share() {
    let law = LogitNormalTime::new(0.3, 0.9).unwrap();
    let sampler = StratifiedTime::new(law);
    let cdf = |t: f64| 0.5 + normal_integral((logit(t) - 0.3) / 0.9);
    let ids: Vec<u64> = (100..164).collect();
    let mut means = (Vec::new(), Vec::new());
    let mut all = Vec::new();
    for counter in 0..200 {
        let times = sampler.sample(key(), &ids, counter);
        for (row, t) in times.iter().enumerate() {
            let share = cdf(*t) * 64.0;
            assert!(share > row as f64 - 1e-6 && share < row as f64 + 1.0 + 1e-6, "row {row}: {share}");
        }
        let mean = |times: &[f64]| times.iter().sum::<f64>() / 64.0;
        means.0.push(mean(&times));
        means.1.push(mean(&law.sample(key(), &ids, counter)));
        all.extend(times);
    }
    // All together they follow the law: stratification only makes the distance smaller.
    assert!(distance(all, cdf) < 2.23 / (200.0 * 64.0_f64).sqrt());
    // The same mean, with far less variance: 200 batches, four standard errors.
    let (stratified, plain) = (Estimate::mean(&means.0), Estimate::mean(&means.1));
    assert!(plain.deviation(stratified.value) < 4.0);
    assert!(stratified.standard_error < 0.1 * plain.standard_error);
    // Keyed by id within its share, and by the counter.
    assert_eq!(sampler.sample(key(), &[7, 9], 0)[1], sampler.sample(key(), &[8, 9], 0)[1]);
    assert_ne!(sampler.sample(key(), &[7, 9], 0)[1], sampler.sample(key(), &[7, 9], 1)[1]);
}

#[test]
fn importance_sampling_is_unbiased_and_has_less_variance() {
    // n = 20,000, seed 11. The mean of t^4 under uniform times is 1/5.
    let loss = |t: f64| t.powi(4);
    let mut law = ImportanceTime::new(20, 0.9, 0.01).unwrap();
    let ids: Vec<u64> = (0..N as u64).collect();
    // Nothing seen: uniform.
    let (first, uniform) = (law.sample(key(), &ids, 0), UniformTime::new().sample(key(), &ids, 0));
    assert!(first.iter().zip(&uniform).all(|(a, b)| close(*a, *b, 1e-14)));
    for step in 0..20 {
        let times = law.sample(NoiseKey::new(12, Purpose::Time), &ids[..500], step);
        let losses: Vec<f64> = times.iter().map(|t| loss(*t)).collect();
        law.observe(&times, &losses).unwrap();
    }
    let weighted: Vec<f64> = law.sample(key(), &ids, 1).into_iter().map(|t| loss(t) / law.density(t)).collect();
    let plain: Vec<f64> = UniformTime::new().sample(key(), &ids, 1).into_iter().map(loss).collect();
    let (weighted, plain) = (Estimate::mean(&weighted), Estimate::mean(&plain));
    assert!(weighted.deviation(0.2) < 4.0 && plain.deviation(0.2) < 4.0);
    assert!(weighted.standard_error < 0.3 * plain.standard_error, "{weighted:?} vs {plain:?}");
    // Resumed from its moments it is the same law.
    let resumed = ImportanceTime::new(20, 0.9, 0.01).unwrap().with_moments(law.moments().to_vec()).unwrap();
    assert_eq!(resumed, law);
    // What is not finite teaches nothing; a bin that was not seen keeps the law uniform.
    let mut law = ImportanceTime::new(2, 0.5, 0.5).unwrap();
    law.observe(&[0.1, 0.9], &[3.0, f64::NAN]).unwrap();
    assert_eq!(law.density(0.1), 1.0);
    law.observe(&[1.0], &[1.0]).unwrap();
    // Half uniform, half 3 to 1.
    assert!(close(law.density(0.1), 0.5 + 0.75, 1e-15) && close(law.density(1.0), 0.5 + 0.25, 1e-15));
    // The running mean of squares: 0.5 * 9 + 0.5 * 1.
    law.observe(&[0.2], &[1.0]).unwrap();
    assert_eq!(law.moments(), [5.0, 1.0]);
    assert_eq!(law.observe(&[0.2], &[]), Err(PathError::Rows { rows: 0, times: 1 }));
    assert!(law.with_moments(vec![1.0]).is_err());
}

#[test]
fn uniform_times_are_uniform() {
    // n = 20,000, seed 11. sqrt(n) D exceeds 2.23 with probability 1e-4 (four standard errors' worth).
    let ids: Vec<u64> = (0..N as u64).collect();
    let bound = 2.23 / (N as f64).sqrt();
    assert!(distance(UniformTime::new().sample(key(), &ids, 0), |t| t) < bound);
    let clipped = UniformTime::clipped(0.1).unwrap().sample(key(), &ids, 3);
    assert!(clipped.iter().all(|t| (0.1..=0.9).contains(t)));
    assert!(distance(clipped, |t| (t - 0.1) / 0.8) < bound);
}

#[test]
fn logit_normal_times_have_a_normal_logit() {
    // n = 20,000, seed 11; bounds of four standard errors.
    let ids: Vec<u64> = (0..N as u64).collect();
    for (mean, std) in [(0.0, 1.0), (-0.5, 0.7), (1.0, 1.4)] {
        let times = LogitNormalTime::new(mean, std).unwrap().sample(key(), &ids, 0);
        assert!(times.iter().all(|t| *t > 0.0 && *t < 1.0));
        let logits: Vec<f64> = times.iter().map(|t| (t / (1.0 - t)).ln()).collect();
        assert!(Estimate::mean(&logits).deviation(mean) < 4.0);
        assert!(Estimate::variance(&logits).deviation(std * std) < 4.0);
        // A probability of the law itself: within one standard deviation of the logit, 0.682689.
        let within: Vec<f64> = logits.iter().map(|l| if (l - mean).abs() < std { 1.0 } else { 0.0 }).collect();
        assert!(Estimate::mean(&within).deviation(0.682_689_492_137) < 4.0);
    }
}

#[test]
fn a_time_depends_on_its_example_alone() {
    for (_, sampler, _) in laws() {
        let batch = sampler.sample(key(), &[3, 8, 5], 2);
        assert_eq!(sampler.sample(key(), &[5], 2), [batch[2]]);
        assert_eq!(sampler.sample(key(), &[8, 3], 2), [batch[1], batch[0]]);
        assert_ne!(sampler.sample(key(), &[5], 3), [batch[2]], "another count, another time");
        assert_ne!(sampler.sample(NoiseKey::new(12, Purpose::Time), &[5], 2), [batch[2]], "another seed");
    }
}

#[test]
fn parameters_out_of_range_are_errors() {
    for scale in [-1.0, 2.0 / (PI - 2.0), f64::NAN] {
        assert!(matches!(ModeTime::new(scale), Err(PathError::ModeScale { .. })), "{scale}");
    }
    for (bins, memory, uniform) in [(0, 0.9, 0.1), (4, 1.0, 0.1), (4, -0.1, 0.1), (4, 0.9, 0.0), (4, 0.9, f64::NAN)] {
        let law = ImportanceTime::new(bins, memory, uniform);
        assert!(matches!(law, Err(PathError::Importance { .. })), "{bins}, {memory}, {uniform}");
    }
    assert!(matches!(LogNormalSigmaTime::new(0.0, 0.0, Linear), Err(PathError::LogitNormal { .. })));
    for eps in [-0.1, 0.5, 0.7, f64::NAN] {
        assert!(matches!(UniformTime::clipped(eps), Err(PathError::Clip { .. })), "{eps}");
    }
    for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert!(matches!(LogitNormalTime::new(mean, std), Err(PathError::LogitNormal { .. })), "{mean}, {std}");
    }
}
