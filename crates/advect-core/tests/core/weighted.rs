//! Weighted sets.

use advect_analytic::statistics::Estimate;
use advect_core::{CoreError, NoiseKey, Purpose, Weighted};

const SEED: u64 = 4;

fn key() -> NoiseKey {
    NoiseKey::new(SEED, Purpose::Resample)
}

#[test]
fn the_effective_size_has_known_values() {
    let mut set = Weighted::new(vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    assert!((set.effective_sample_size() - 4.0).abs() < 1e-14);
    // Weights 1/2, 1/2, 0, 0.
    set.log_weight = vec![7.0, 7.0, f64::NEG_INFINITY, f64::NEG_INFINITY];
    assert!((set.effective_sample_size() - 2.0).abs() < 1e-14);
    assert_eq!(set.weights()[2..], [0.0, 0.0]);
    // Weights 3/4, 1/4: 1 / (9/16 + 1/16) = 1.6.
    set.log_weight = vec![3.0_f64.ln() - 900.0, -900.0, f64::NEG_INFINITY, f64::NEG_INFINITY];
    assert!((set.effective_sample_size() - 1.6).abs() < 1e-12);
    // log of (3 + 1) e^-900 / 4: no underflow.
    assert!((set.log_normalizer() + 900.0).abs() < 1e-12);
    set.log_weight = vec![800.0; 4];
    assert_eq!(set.log_normalizer(), 800.0);
    assert!(matches!(Weighted::new(Vec::<f64>::new()), Err(CoreError::Weights { rows: 0, .. })));
}

#[test]
fn resampling_keeps_the_normalizer_and_gives_fresh_names() {
    let mut set = Weighted::new(vec![1.0, 2.0, 3.0]).unwrap();
    set.log_weight = vec![0.0, 1.0, 2.0];
    let log_z = set.log_normalizer();
    let once = set.resample(key(), 0);
    assert!((once.log_normalizer() - log_z).abs() < 1e-14);
    assert_eq!((once.log_weight.clone(), once.ids.clone()), (vec![0.0; 3], vec![3, 4, 5]));
    let mut twice = once;
    twice.log_weight = vec![0.5; 3];
    let twice = twice.resample(key(), 1);
    assert!((twice.log_normalizer() - log_z - 0.5).abs() < 1e-14);
    assert_eq!(twice.ids, [6, 7, 8]);
}

#[test]
fn systematic_resampling_is_unbiased_and_as_even_as_can_be() {
    // n = 5,000 resamplings, seed SEED: row i returns floor or ceil of 10 w_i times, on average 10 w_i.
    let weights = [0.05, 0.33, 0.02, 0.15, 0.1, 0.04, 0.01, 0.07, 0.03, 0.2_f64];
    let mut counts = vec![Vec::new(); 10];
    for counter in 0..5_000 {
        let mut set = Weighted::new((0..10).map(f64::from).collect::<Vec<_>>()).unwrap();
        set.log_weight = weights.iter().map(|w| w.ln() + 3.0).collect();
        let chosen = set.resample(key(), counter).x;
        assert!(chosen.windows(2).all(|w| w[0] <= w[1]));
        for (row, counts) in counts.iter_mut().enumerate() {
            let count = chosen.iter().filter(|&&x| x == row as f64).count() as f64;
            assert!((count - 10.0 * weights[row]).abs() < 1.0 + 1e-9, "row {row} returned {count} times");
            counts.push(count);
        }
    }
    for (row, counts) in counts.iter().enumerate() {
        let mean = Estimate::mean(counts);
        let exact = 10.0 * weights[row];
        assert!((mean.value - exact).abs() <= 4.0 * mean.standard_error + 1e-12, "row {row}: {mean:?}, exact {exact}");
    }
}

#[test]
fn equal_weights_change_nothing() {
    let set = Weighted::new(vec![1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    assert_eq!(set.resample(key(), 3).x, [1.0, 2.0, 3.0, 4.0, 5.0]);
}
