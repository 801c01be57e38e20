use advect_core::CoreError;
use advect_paths::PathError;
use advect_solvers::SolveError;

/// What can be wrong with a sampler's settings or with what it is asked to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DiffusionError {
    /// A setting is out of range.
    #[error("{name} = {value}: {rule}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must fulfil.
        rule: &'static str,
    },
    /// The rows of a batch stand at different times.
    #[error(
        "rows stand at times from {low} to {high}: the samplers of advect-diffusion move a batch at one time; give \
         Times::Shared, or use a Runge-Kutta stepper of advect-solvers on the velocity"
    )]
    PerRow {
        /// The earliest time.
        low: f64,
        /// The latest time.
        high: f64,
    },
    /// A stochastic sampler was asked to run from data to noise.
    #[error(
        "a stochastic step from t = {from} to t = {to} runs toward the noise: run deterministic samplers down in time, \
         or noise the data in one step with `renoise`"
    )]
    TowardNoise {
        /// Time where the step begins.
        from: f64,
        /// Time where it should end.
        to: f64,
    },
    /// The points of a time grid do not run one way: two of them coincide.
    #[error(transparent)]
    Grid(#[from] CoreError),
    /// The model cannot say what the sampler needs at this time.
    #[error(transparent)]
    Path(#[from] PathError),
}

impl From<DiffusionError> for SolveError {
    fn from(error: DiffusionError) -> Self {
        Self::generator(error)
    }
}

/// `Ok` if a setting is valid.
pub(crate) fn check(valid: bool, name: &'static str, value: f64, rule: &'static str) -> Result<(), DiffusionError> {
    if valid { Ok(()) } else { Err(DiffusionError::Setting { name, value, rule }) }
}
