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
        "{}: that takes a source that is Gaussian and independent of the data, and this run's source law is Other (an OT \
         or reflow coupling, or another source); {}",
        if have == want { format!("there is no {have} to learn from these pairs") }
        else { format!("cannot convert the {have} to the {want}") },
        if have == want { "predict the velocity, the noise or the data" }
        else { "sample the velocity with an ODE solver instead" }
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
    /// A derivative that a schedule states is not that of its values.
    #[error(
        "d_{of} = {stated} at t = {t}, but {of} changes by {measured} per unit of time there: \
         state the derivative in t of the {of} you return"
    )]
    Derivative {
        /// Which coefficient.
        of: &'static str,
        /// The time.
        t: f64,
        /// What the schedule says.
        stated: f64,
        /// The difference quotient.
        measured: f64,
    },
    /// A schedule breaks what a schedule promises.
    #[error("the schedule is no path at t = {t}: {what}")]
    Schedule {
        /// The time.
        t: f64,
        /// What it should do.
        what: &'static str,
    },
    /// A schedule has no time with the signal-to-noise ratio asked for.
    #[error(
        "the new schedule has a log signal-to-noise ratio of {log_snr} at t = {t}, but the trained one runs only from \
         {least} to {most}: stay at times where they overlap (Schedule::time_at_log_snr of the new one finds the ends)"
    )]
    NoEqualSnr {
        /// The time on the new schedule.
        t: f64,
        /// Its log signal-to-noise ratio.
        log_snr: f64,
        /// That of the trained schedule at t = 0.
        least: f64,
        /// That of the trained schedule at t = 1.
        most: f64,
    },
    /// The size of an interpolant's latent is out of range.
    #[error("the latent's size is {size}: it must be finite and above 0; for none, use an AffinePath")]
    Latent {
        /// The size given.
        size: f64,
    },
    /// An interpolant has no finite value at an end, where its latent vanishes.
    #[error(
        "{what} has no finite value at t = {t}, where gamma is 0: stay a little inside (such as 1e-3 from that end), \
         or let the heads say the mean velocity and the score"
    )]
    InterpolantEnd {
        /// What was asked for.
        what: &'static str,
        /// The time.
        t: f64,
    },
    /// A weight of a loss is infinite at this time.
    #[error(
        "the weight on the {have} is infinite at t = {t}: draw times strictly inside (0, 1), such as with \
         UniformTime::clipped(1e-3), or choose a bounded weighting (min-SNR, a floored velocity)"
    )]
    InfiniteWeight {
        /// What the network predicts.
        have: Prediction,
        /// The time.
        t: f64,
    },
    /// The parameter of a weighting is out of range.
    #[error("{what} = {value}: it must be {need}")]
    Weighting {
        /// Which parameter.
        what: &'static str,
        /// The value given.
        value: f64,
        /// What it must be.
        need: &'static str,
    },
    /// The noise levels of a schedule are out of range.
    #[error(
        "sigma_min = {sigma_min}, sigma_max = {sigma_max}: they must be finite with sigma_min < sigma_max, and \
         sigma_min must be {least}"
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
    /// The scale of a mode time law is out of range.
    #[error("scale = {scale}: mode sampling needs a scale above -1 and below 2 / (pi - 2) = 1.7519")]
    ModeScale {
        /// The scale given.
        scale: f64,
    },
    /// The parameters of an importance time law are out of range.
    #[error(
        "bins = {bins}, memory = {memory}, uniform = {uniform}: there must be a bin at least, memory must be in [0, 1) \
         and uniform in (0, 1]"
    )]
    Importance {
        /// How many bins.
        bins: usize,
        /// What is kept of a running mean at each observation.
        memory: f64,
        /// The share of uniform times.
        uniform: f64,
    },
    /// There is nothing to couple, or rows are not full.
    #[error(
        "{values} numbers cannot be {rows} rows of equal width: a coupling needs at least one number in at least one row"
    )]
    NoRows {
        /// The numbers given.
        values: usize,
        /// The rows asked for.
        rows: usize,
    },
    /// A cost is not finite.
    #[error(
        "the cost of noise row {noise} with data row {data} is {value}: costs must be finite (at most 1e300 in size); \
         look for NaN or infinity in the batch, or mend the cost"
    )]
    Cost {
        /// The row of the noise.
        noise: usize,
        /// The row of the data.
        data: usize,
        /// The cost.
        value: f64,
    },
    /// Noise and data are not in the ratio that the coupling needs.
    #[error("{noise} noise rows for {data} data rows: this coupling needs exactly {pool} noise rows a data row")]
    PairRows {
        /// Rows of the noise.
        noise: usize,
        /// Rows of the data.
        data: usize,
        /// Noise rows a data row.
        pool: usize,
    },
    /// A class-wise coupling has not one class a data row.
    #[error("{classes} classes for {rows} data rows: a class-wise coupling needs one a row (Uncoupled::with_classes)")]
    Classes {
        /// Classes given.
        classes: usize,
        /// Rows of the data.
        rows: usize,
    },
    /// A parameter of a coupling is out of range.
    #[error("{what} of a coupling is {value}: it must be {range}")]
    CouplingNumber {
        /// Which parameter.
        what: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        range: &'static str,
    },
    /// Sinkhorn's algorithm did not converge.
    #[error(
        "Sinkhorn's algorithm still changes potentials by {change:e} (in units of epsilon) after {iterations} iterations, \
         tolerance {tolerance:e}: use a larger epsilon, more iterations or a larger tolerance"
    )]
    NotConverged {
        /// The iterations done.
        iterations: usize,
        /// The largest change of the last.
        change: f64,
        /// The change allowed.
        tolerance: f64,
    },
    /// A plan carries no mass to draw pairs from.
    #[error(
        "the plan carries the mass {mass}: no pair can be drawn; marginals may give way too cheaply (use a larger rho)"
    )]
    NoMass {
        /// The mass.
        mass: f64,
    },
    /// The data are not those that potentials were fitted to.
    #[error(
        "{rows} data rows for potentials of {fitted}: hand the whole data set to a semidiscrete coupling, not a batch"
    )]
    NotTheDataSet {
        /// The rows given.
        rows: usize,
        /// The rows of the data set.
        fitted: usize,
    },
}
