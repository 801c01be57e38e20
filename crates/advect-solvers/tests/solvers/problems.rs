//! Problems with closed forms, nonlinear and time-dependent.

use advect_solvers::Times;

/// x' = -2 t x^2, solved by 1 / (1/x0 + t^2).
pub(crate) mod scalar {
    /// Several, so that the leading term of the error cannot vanish by chance for all.
    pub(crate) const STARTS: [f64; 3] = [0.5, 1.0, 1.5];

    pub(crate) fn slope(x: f64, t: f64) -> f64 {
        -2.0 * t * x * x
    }

    pub(crate) fn solution(x0: f64, t: f64) -> f64 {
        1.0 / (1.0 / x0 + t * t)
    }
}

/// x' = x ln(y) s', y' = -y ln(x) s' with s = t + t^2 / 2, solved by x = exp(r sin(s + p)), y = exp(r cos(s + p)).
pub(crate) mod system {
    pub(crate) fn slope([x, y]: [f64; 2], t: f64) -> [f64; 2] {
        let rate = 1.0 + t;
        [x * y.ln() * rate, -y * x.ln() * rate]
    }

    /// With r = 1 and phase p = 0.3.
    pub(crate) fn solution(t: f64) -> [f64; 2] {
        let s = t + 0.5 * t * t + 0.3;
        [s.sin().exp(), s.cos().exp()]
    }
}

/// Rotation of a plane at the rate r^2 s', where s = t + w (1 - cos(m t)) / m: x = sin(s + 1/2), y = cos(s + 1/2).
///
/// The leading terms of the errors of all methods are large here, next to the following ones: their order shows at
/// errors far above round-off.
#[derive(Clone, Copy)]
pub(crate) struct Rotation {
    pub(crate) depth: f64,
    pub(crate) frequency: f64,
}

impl Rotation {
    pub(crate) fn slope(self, [x, y]: [f64; 2], t: f64) -> [f64; 2] {
        let rate = (x * x + y * y) * (1.0 + self.depth * (self.frequency * t).sin());
        [y * rate, -x * rate]
    }

    pub(crate) fn solution(self, t: f64) -> [f64; 2] {
        let s = t + self.depth * (1.0 - (self.frequency * t).cos()) / self.frequency + 0.5;
        [s.sin(), s.cos()]
    }
}

/// The scalar problem for a batch whose rows may stand at different times.
pub(crate) fn scalar_rows(x: Vec<f64>, t: &Times) -> Vec<f64> {
    x.into_iter().enumerate().map(|(row, x)| scalar::slope(x, t.at(row))).collect()
}

/// The system for a batch whose rows may stand at different times.
pub(crate) fn system_rows(x: Vec<[f64; 2]>, t: &Times) -> Vec<[f64; 2]> {
    x.into_iter().enumerate().map(|(row, x)| system::slope(x, t.at(row))).collect()
}

/// Lotka-Volterra with hares and foxes of one kind: hard for populations far from the fixed point (1, 1).
pub(crate) fn lotka_volterra(x: Vec<[f64; 2]>, _t: &Times) -> Vec<[f64; 2]> {
    x.into_iter().map(|[hares, foxes]| [hares * (1.0 - foxes), foxes * (hares - 1.0)]).collect()
}
