use crate::Prediction;

/// What can be wrong with a path, a conversion or a loss.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// A time lies outside the path.
    #[error("t = {t} is outside [0, 1]: a path runs from noise at t = 0 to data at t = 1")]
    Time {
        /// The time given.
        t: f64,
    },
    /// A conversion has no finite value at this time.
    #[error(
        "the {want} cannot be read off the {have} at t = {t}, where the path is noise or data alone: \
         stay a little inside (such as 1e-3 from that end), or use a model that predicts the {want}"
    )]
    Singular {
        /// What the field predicts.
        have: Prediction,
        /// What was asked of it.
        want: Prediction,
        /// The time.
        t: f64,
    },
    /// A regression target is infinite at this time.
    #[error(
        "the {target} target is infinite at t = {t}: draw times strictly inside (0, 1), such as with \
         UniformTime::clipped(1e-3), or regress on another prediction"
    )]
    Target {
        /// The target asked for.
        target: Prediction,
        /// The time.
        t: f64,
    },
    /// A score or an SDE was asked of a model whose source is not Gaussian or not independent of the data.
    #[error(
        "cannot convert the {have} to the {want}: a score can be read off only where the source is Gaussian and \
         independent of the data, and this run's source law is Other (an OT or reflow coupling, or another source); \
         sample the velocity with an ODE solver instead"
    )]
    NoScore {
        /// What the field predicts.
        have: Prediction,
        /// What was asked of it.
        want: Prediction,
    },
    /// The drift `u + g^2/2 score` of an SDE has no finite value at this time.
    #[error(
        "the drift u + g^2/2 score has no finite value at t = {t} with g = {g}, read off the {have}: \
         stay a little inside (such as 1e-3 from that end), or let g vanish there, such as g proportional to sigma"
    )]
    SingularDrift {
        /// What the field predicts.
        have: Prediction,
        /// The time.
        t: f64,
        /// The diffusion there.
        g: f64,
    },
    /// The diffusion of an SDE is not a number to work with.
    #[error("the diffusion g is {g} at t = {t}: it must be finite and not negative")]
    Diffusion {
        /// The time.
        t: f64,
        /// The diffusion there.
        g: f64,
    },
    /// Two tensors that belong together differ in shape.
    #[error("{what} has shape {got:?}, but the data has shape {expected:?}: they must be equal")]
    Shape {
        /// The tensor at fault.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// The shape of the data.
        expected: Vec<usize>,
    },
    /// There is not one time a row.
    #[error("{times} times for {rows} rows: give one time a row, or one for all with Times::Shared")]
    Rows {
        /// Rows of the batch.
        rows: usize,
        /// Times given.
        times: usize,
    },
    /// The noise rates of a VP schedule are out of range.
    #[error(
        "beta_min = {beta_min}, beta_max = {beta_max}: they must be finite with 0 <= beta_min <= beta_max, beta_max > 0"
    )]
    Betas {
        /// The rate at the data end.
        beta_min: f64,
        /// The rate at the noise end.
        beta_max: f64,
    },
    /// The noise levels of a schedule are out of range.
    #[error(
        "sigma_min = {sigma_min}, sigma_max = {sigma_max}: they must be finite with sigma_min < sigma_max, and sigma_min \
         must be {least}"
    )]
    Sigmas {
        /// The noise level at the data end.
        sigma_min: f64,
        /// The noise level at the noise end.
        sigma_max: f64,
        /// What the schedule asks of `sigma_min`.
        least: &'static str,
    },
    /// The power of an EDM schedule is out of range.
    #[error("rho = {rho}: an EDM schedule needs a finite rho >= 1 (7 is usual)")]
    Rho {
        /// The power given.
        rho: f64,
    },
    /// The power of a polynomial schedule is out of range.
    #[error(
        "power = {power}: a polynomial schedule needs a finite power >= 1 (below 1 its velocity is infinite at t = 0)"
    )]
    Power {
        /// The power given.
        power: f64,
    },
    /// The clip of a uniform time sampler is out of range.
    #[error("eps = {eps}: a clip must be in [0, 0.5), so that times remain in [eps, 1 - eps]")]
    Clip {
        /// The clip given.
        eps: f64,
    },
    /// The parameters of a logit-normal time sampler are out of range.
    #[error("mean = {mean}, std = {std}: a logit-normal law needs a finite mean and a finite std > 0")]
    LogitNormal {
        /// The mean of the logit.
        mean: f64,
        /// Its standard deviation.
        std: f64,
    },
}
