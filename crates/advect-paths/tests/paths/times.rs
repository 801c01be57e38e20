use advect_analytic::statistics::Estimate;
use advect_core::{NoiseKey, Purpose};
use advect_paths::{LogitNormalTime, PathError, TimeSampler, UniformTime};

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
    let samplers: [&dyn TimeSampler; 2] = [&UniformTime::new(), &LogitNormalTime::new(0.0, 1.0).unwrap()];
    for sampler in samplers {
        let batch = sampler.sample(key(), &[3, 8, 5], 2);
        assert_eq!(sampler.sample(key(), &[5], 2), [batch[2]]);
        assert_eq!(sampler.sample(key(), &[8, 3], 2), [batch[1], batch[0]]);
        assert_ne!(sampler.sample(key(), &[5], 3), [batch[2]], "another count, another time");
        assert_ne!(sampler.sample(NoiseKey::new(12, Purpose::Time), &[5], 2), [batch[2]], "another seed");
    }
}

#[test]
fn parameters_out_of_range_are_errors() {
    for eps in [-0.1, 0.5, 0.7, f64::NAN] {
        assert!(matches!(UniformTime::clipped(eps), Err(PathError::Clip { .. })), "{eps}");
    }
    for (mean, std) in [(0.0, 0.0), (0.0, -1.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
        assert!(matches!(LogitNormalTime::new(mean, std), Err(PathError::LogitNormal { .. })), "{mean}, {std}");
    }
}
