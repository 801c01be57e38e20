use crate::error::check;
use crate::{Coordinates, DiffusionError};
use advect_core::{Field, RowField, State, Times};
use advect_paths::{Prediction, Predictor, Schedule, SourceLaw};
use std::f64::consts::FRAC_PI_2;

/// How the input and output of a raw network are scaled: `D = c_skip y + c_out F(c_in y, c_noise)`, y = x / alpha.
///
/// Karras et al., 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", table 1; consistency
/// models as in their own paper.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Preconditioning {
    /// EDM: unit variance of input and target, `c_noise = ln(sigma) / 4`.
    Edm {
        /// The standard deviation of the data; 0.5 in the paper.
        data_std: f64,
    },
    /// A consistency model: EDM's with the identity at the least noise level, `c_noise = 250 ln(sigma)`.
    ///
    /// Song et al., 2023, "Consistency Models", appendix C.
    Consistency {
        /// The standard deviation of the data; 0.5 in the paper.
        data_std: f64,
        /// The noise level at which the output is the input: 0.002 in the paper.
        sigma_min: f64,
    },
    /// Variance preserving (DDPM++ of Song et al., 2021): the network predicts noise, from 999 times the time.
    Vp {
        /// `beta_d` of the paper, the slope of the noise rate: 19.9.
        beta_slope: f64,
        /// The least noise rate: 0.1.
        beta_min: f64,
    },
    /// Variance exploding (NCSN++): the network predicts minus the noise, `c_noise = ln(sigma / 2)`.
    Ve,
    /// Improved DDPM with the cosine schedule of 1000 steps: the network predicts noise, from the nearest step.
    Iddpm,
}

/// The number of steps of the models of Song et al. and of Nichol & Dhariwal.
const STEPS: u16 = 1000;

impl Preconditioning {
    /// `(c_skip, c_out, c_in, c_noise)` at a noise level, finite and positive.
    #[must_use]
    pub fn coefficients(&self, level: f64) -> (f64, f64, f64, f64) {
        let square = level * level;
        match *self {
            Self::Edm { data_std } => {
                let total = square + data_std * data_std;
                (data_std * data_std / total, level * data_std / total.sqrt(), 1.0 / total.sqrt(), level.ln() / 4.0)
            }
            Self::Consistency { data_std, sigma_min } => {
                let (rest, variance) = (level - sigma_min, data_std * data_std);
                let root = (square + variance).sqrt();
                (variance / (rest * rest + variance), data_std * rest / root, 1.0 / root, 250.0 * level.ln())
            }
            Self::Vp { beta_slope, beta_min } => {
                // The time at which the noise of the VP path has this level.
                let root = (beta_min * beta_min + 2.0 * beta_slope * square.ln_1p()).sqrt();
                let time = (root - beta_min) / beta_slope;
                (1.0, -level, 1.0 / (square + 1.0).sqrt(), f64::from(STEPS - 1) * time)
            }
            Self::Ve => (1.0, level, 1.0, (level / 2.0).ln()),
            Self::Iddpm => (1.0, -level, 1.0 / (square + 1.0).sqrt(), iddpm_step(level)),
        }
    }
}

/// The data-first step `1000 - 1 - j` whose noise level u_j is nearest.
fn iddpm_step(level: f64) -> f64 {
    let alpha_bar = |j: u16| (FRAC_PI_2 * f64::from(j) / f64::from(STEPS) / 1.008).sin().powi(2);
    let (mut u, mut nearest) = (0.0_f64, (f64::INFINITY, 0));
    for j in (0..=STEPS).rev() {
        if (u - level).abs() < nearest.0 {
            nearest = ((u - level).abs(), j);
        }
        if j > 0 {
            u = ((u * u + 1.0) / (alpha_bar(j - 1) / alpha_bar(j)).max(0.001) - 1.0).sqrt();
        }
    }
    f64::from(STEPS - 1) - f64::from(nearest.1)
}

/// A raw network as the data prediction D that it was trained to be: a field for a [`Predictor`].
///
/// The network is asked with `c_noise` in place of the time: one whose weights come from elsewhere wants it as it is, which is a backbone made
/// `with_time_scale(1.0)` (the default multiplies with 1000). Where sigma is zero D is `x / alpha` and the network is
/// not asked. It has no finite `c_noise` at noise alone (alpha = 0): start inside, as these models do.
///
/// # Shapes
/// - the network keeps the shape of its input
#[derive(Debug, Clone)]
pub struct Preconditioned<F, S> {
    network: F,
    preconditioning: Preconditioning,
    schedule: S,
}

impl<F, S: Schedule> Preconditioned<F, S> {
    /// A raw network, its preconditioning and the schedule on which it is to be sampled: any, since only
    /// `sigma / alpha` counts.
    ///
    /// # Errors
    /// [`DiffusionError::Setting`] unless `data_std > 0`, `sigma_min >= 0`, `beta_slope > 0` and `beta_min >= 0`, all
    /// finite.
    pub fn new(network: F, preconditioning: Preconditioning, schedule: S) -> Result<Self, DiffusionError> {
        match preconditioning {
            Preconditioning::Edm { data_std } => {
                check(data_std.is_finite() && data_std > 0.0, "data_std", data_std, "it must be finite and > 0")?;
            }
            Preconditioning::Consistency { data_std, sigma_min } => {
                check(data_std.is_finite() && data_std > 0.0, "data_std", data_std, "it must be finite and > 0")?;
                check(sigma_min.is_finite() && sigma_min >= 0.0, "sigma_min", sigma_min, "it must be finite and >= 0")?;
            }
            Preconditioning::Vp { beta_slope, beta_min } => {
                let valid = beta_slope.is_finite() && beta_slope > 0.0;
                check(valid, "beta_slope", beta_slope, "it must be finite and > 0")?;
                check(beta_min.is_finite() && beta_min >= 0.0, "beta_min", beta_min, "it must be finite and >= 0")?;
            }
            Preconditioning::Ve | Preconditioning::Iddpm => {}
        }
        Ok(Self { network, preconditioning, schedule })
    }

    /// The predictor of the data, for a Gaussian source independent of the data.
    pub fn into_predictor(self) -> Predictor<Self, S>
    where
        S: Clone,
    {
        let schedule = self.schedule.clone();
        Predictor { field: self, prediction: Prediction::Data, schedule, source: SourceLaw::GaussianIndependent }
    }
}

impl<X: State, F: Field<X>, S: Schedule> Field<X> for Preconditioned<F, S> {
    fn eval(&self, x: X, t: &Times) -> X {
        let rows = match t {
            Times::Shared(_) => 1,
            Times::Each(times) => times.len(),
        };
        let at: Vec<Coordinates> = t.to_vec(rows).into_iter().map(|t| Coordinates::at(&self.schedule, t)).collect();
        if at.iter().all(|at| at.sigma == 0.0) {
            return scale(x, t, &at.iter().map(|at| 1.0 / at.alpha).collect::<Vec<_>>(), None);
        }
        let c: Vec<_> = at.iter().map(|at| self.preconditioning.coefficients(at.level())).collect();
        let pick = |f: &dyn Fn(usize) -> f64| (0..at.len()).map(f).collect::<Vec<_>>();
        let input = scale(x.clone(), t, &pick(&|i| c[i].2 / at[i].alpha), None);
        let noise = match t {
            Times::Shared(_) => Times::Shared(c[0].3),
            Times::Each(_) => Times::Each(pick(&|i| c[i].3)),
        };
        let output = self.network.eval(input, &noise);
        scale(x, t, &pick(&|i| c[i].0 / at[i].alpha), Some((&pick(&|i| c[i].1), &output)))
    }
}

impl<X: State, F: RowField<X>, S: Schedule + Clone> RowField<X> for Preconditioned<F, S> {
    fn select(&self, rows: &[usize]) -> Self {
        Self { network: self.network.select(rows), schedule: self.schedule.clone(), ..*self }
    }
}

/// `on_x x + on_output output`, with one factor a row or one for all.
fn scale<X: State>(x: X, t: &Times, on_x: &[f64], output: Option<(&[f64], &X)>) -> X {
    match t {
        Times::Shared(_) => {
            let terms: Vec<(f64, &X)> = output.iter().map(|(factor, output)| (factor[0], *output)).collect();
            x.combine(on_x[0], &terms)
        }
        Times::Each(_) => x.combine_rows(on_x, output.as_slice()),
    }
}
