//! Estimates with their standard errors, and distances between samples.

/// An estimate and what it may be off by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// The number of independent values it rests on.
    pub count: usize,
}

impl Estimate {
    /// The mean of independent values.
    #[must_use]
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self { value: mean, standard_error: (variance / n).sqrt(), count: values.len() }
    }

    /// The variance of independent values; its standard error is `sqrt((m4 - m2^2) / n)`, of any law.
    #[must_use]
    pub fn variance(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let m2 = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        let m4 = values.iter().map(|v| (v - mean).powi(4)).sum::<f64>() / n;
        Self { value: m2 * n / (n - 1.0), standard_error: ((m4 - m2 * m2) / n).sqrt(), count: values.len() }
    }

    /// How many standard errors lie between the estimate and the exact value. A test bounds it by 4.
    #[must_use]
    pub fn deviation(&self, exact: f64) -> f64 {
        (self.value - exact).abs() / self.standard_error
    }
}

/// The correlation coefficient of pairs; its standard error under independence is about `1 / sqrt(n)`.
#[must_use]
pub fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let product =
        |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 { x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum() };
    product(a, mean_a, b, mean_b) / (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt()
}

/// The squared energy distance `2 E|A - B| - E|A - A'| - E|B - B'|` of two samples, unbiased (it may fall below zero).
///
/// Szekely & Rizzo (2004). Costs n^2.
#[must_use]
pub fn energy_distance<P: AsRef<[f64]>>(a: &[P], b: &[P]) -> f64 {
    let distance =
        |x: &P, y: &P| -> f64 { x.as_ref().iter().zip(y.as_ref()).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt() };
    let total = |x: &[P], y: &[P]| -> f64 { x.iter().map(|x| y.iter().map(|y| distance(x, y)).sum::<f64>()).sum() };
    let (n, m) = (a.len() as f64, b.len() as f64);
    2.0 * total(a, b) / (n * m) - total(a, a) / (n * (n - 1.0)) - total(b, b) / (m * (m - 1.0))
}

/// The 2-Wasserstein distance of two equally large samples of numbers: sort and compare.
#[must_use]
pub fn wasserstein(a: &[f64], b: &[f64]) -> f64 {
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_by(f64::total_cmp);
    b.sort_by(f64::total_cmp);
    (a.iter().zip(&b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

/// The sliced 2-Wasserstein distance of two equally large samples: the root mean square over the given unit
/// directions (Rabin et al., 2012).
#[must_use]
pub fn sliced_wasserstein<P: AsRef<[f64]>>(a: &[P], b: &[P], directions: &[P]) -> f64 {
    let project = |points: &[P], direction: &P| -> Vec<f64> {
        points.iter().map(|p| p.as_ref().iter().zip(direction.as_ref()).map(|(x, d)| x * d).sum()).collect()
    };
    let squares = directions.iter().map(|d| wasserstein(&project(a, d), &project(b, d)).powi(2));
    (squares.sum::<f64>() / directions.len() as f64).sqrt()
}

/// The Kolmogorov-Smirnov distance between a sample, which it sorts, and a law of the given distribution function.
///
/// Times `sqrt(n)` it exceeds 1.63 with probability 1%, 1.95 with 0.1% (Kolmogorov, 1933).
pub fn kolmogorov_smirnov(values: &mut [f64], cdf: impl Fn(f64) -> f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let n = values.len() as f64;
    let distance = |(i, &v): (usize, &f64)| {
        let p = cdf(v);
        (p - i as f64 / n).max((i + 1) as f64 / n - p)
    };
    values.iter().enumerate().map(distance).fold(0.0, f64::max)
}

/// The distribution function of the standard normal law, to about 1e-15 where it is not small.
///
/// Marsaglia, *Evaluating the normal distribution*, 2004: `1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ..)`.
#[must_use]
pub fn normal_cdf(x: f64) -> f64 {
    if x.abs() > 8.0 {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-17 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    0.5 + sum * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::{
        Estimate, correlation, energy_distance, kolmogorov_smirnov, normal_cdf, sliced_wasserstein, wasserstein,
    };

    #[test]
    fn estimates_by_hand() {
        // 1, 2, 3, 6: mean 3, variance 14 / 3, m2 = 3.5, m4 = (16 + 1 + 0 + 81) / 4 = 24.5.
        let values = [1.0, 2.0, 3.0, 6.0];
        let mean = Estimate::mean(&values);
        assert_eq!((mean.value, mean.count), (3.0, 4));
        assert!((mean.standard_error - (14.0_f64 / 12.0).sqrt()).abs() < 1e-14);
        assert!((mean.deviation(1.0) - 2.0 / mean.standard_error).abs() < 1e-14);
        let variance = Estimate::variance(&values);
        assert!((variance.value - 14.0 / 3.0).abs() < 1e-14);
        assert!((variance.standard_error - ((24.5_f64 - 12.25) / 4.0).sqrt()).abs() < 1e-14);
        assert!((correlation(&values, &values.map(|v| 1.0 - 2.0 * v)) + 1.0).abs() < 1e-14);
        assert!(correlation(&[1.0, -1.0, 1.0, -1.0], &[1.0, 1.0, -1.0, -1.0]).abs() < 1e-14);
    }

    #[test]
    fn distances_by_hand() {
        // Two points each: 2 * mean cross distance - the two inner distances.
        let (a, b) = ([[0.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [3.0, 2.0]]);
        let cross = (3.0 + 13.0_f64.sqrt() + 13.0_f64.sqrt() + 3.0) / 4.0;
        assert!((energy_distance(&a, &b) - (2.0 * cross - 2.0 - 2.0)).abs() < 1e-14);
        assert!((wasserstein(&[3.0, 0.0], &[1.0, 4.0]) - 1.0).abs() < 1e-14);
        // Along x the samples are 3 apart, along y equal: sqrt(9 / 2).
        let sliced = sliced_wasserstein(&a, &b, &[[1.0, 0.0], [0.0, 1.0]]);
        assert!((sliced - 4.5_f64.sqrt()).abs() < 1e-14);
    }

    #[test]
    fn kolmogorov_smirnov_by_hand() {
        // 0.1, 0.4, 0.8 against the uniform law: steps 0..1/3..2/3..1; the largest gap is 2/3 - 0.4.
        let distance = kolmogorov_smirnov(&mut [0.8, 0.1, 0.4], |x| x);
        assert!((distance - (2.0 / 3.0 - 0.4)).abs() < 1e-15);
        // Abramowitz & Stegun, table 26.1.
        for (x, p) in [(0.0, 0.5), (1.0, 0.841_344_746_068_543), (-2.5, 0.006_209_665_325_776)] {
            assert!((normal_cdf(x) - p).abs() < 1e-14, "{x}");
        }
    }
}
