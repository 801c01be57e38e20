//! The problems of the benchmarks, each with its exact end.

#[cfg(feature = "peers")]
pub mod peers;

/// A problem: a slope, a start, a span and where it ends.
#[derive(Debug, Clone, Copy)]
pub struct Problem<const N: usize> {
    /// Its name.
    pub name: &'static str,
    /// The slope.
    pub slope: fn([f64; N], f64) -> [f64; N],
    /// The state at time 0.
    pub start: [f64; N],
    /// The end of time.
    pub end_time: f64,
    /// The state there.
    pub end: [f64; N],
}

impl<const N: usize> Problem<N> {
    /// The largest difference of a result to the exact end.
    #[must_use]
    pub fn error(&self, x: &[f64; N]) -> f64 {
        x.iter().zip(&self.end).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }
}

/// x' = x over [0, 10]: the end is e^10.
#[must_use]
pub fn exponential() -> Problem<1> {
    Problem { name: "exponential", slope: |[x], _t| [x], start: [1.0], end_time: 10.0, end: [10.0_f64.exp()] }
}

/// Lotka-Volterra with all rates 1 from (3, 1) over [0, 20]. The end is that of Taylor series in 40 digits
/// (`tools/bench_problems.py`).
#[must_use]
pub fn lotka_volterra() -> Problem<2> {
    Problem {
        name: "Lotka-Volterra",
        slope: |[hares, foxes], _t| [hares * (1.0 - foxes), foxes * (hares - 1.0)],
        start: [3.0, 1.0],
        end_time: 20.0,
        end: [0.944_362_488_441_652_4, 0.178_910_515_218_208_93],
    }
}

/// The orbit of Arenstorf: a satellite between earth and moon, periodic (Hairer, Norsett & Wanner I, II.0, eq.
/// 0.1-0.2).
#[must_use]
pub fn arenstorf() -> Problem<4> {
    const MOON: f64 = 0.012_277_471;
    const EARTH: f64 = 1.0 - MOON;
    let start = [0.994, 0.0, 0.0, -2.001_585_106_379_082_5];
    Problem {
        name: "Arenstorf",
        slope: |[x, y, u, v], _t| {
            let (near, far) = (x + MOON, x - EARTH);
            let (d1, d2) = (near * near + y * y, far * far + y * y);
            let (d1, d2) = (d1 * d1.sqrt(), d2 * d2.sqrt());
            let ax = x + 2.0 * v - EARTH * near / d1 - MOON * far / d2;
            let ay = y - 2.0 * u - EARTH * y / d1 - MOON * y / d2;
            [u, v, ax, ay]
        },
        start,
        end_time: 17.06521656015796,
        end: start,
    }
}
