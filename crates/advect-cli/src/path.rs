//! The path from noise to data as the configuration names it, and which of its parts go together.

use crate::error::CliError;
use crate::solvers::SolverName;
use advect::diffusion::{Coordinates, Preconditioned, Preconditioning};
use advect::paths::{
    ClassWise, CosMapWeighting, CosineTime, DataWeighting, Edm, EdmWeighting, Immiscible, LikelihoodWeighting,
    LinearVp, LogNormalSigmaTime, MinSnrWeighting, ModeTime, NoiseWeighting, Pairing, PathError, Polynomial, SigmaMin,
    SigmaSqrtWeighting, Sinkhorn, SoftMinSnrWeighting, SquaredEuclidean, Stop, StratifiedTime, TimeLaw, TimeSampler,
    Uncoupled, VWeighting, Ve, VelocityWeighting, Vp,
};
use advect::prelude::*;
use advect::train::{Scaling, Scalings};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Esser et al. 2024: the scale of their best runs.
const MODE_SCALE: f64 = 1.29;
/// Hang et al. 2023 and Crowson et al. 2024.
const MIN_SNR: f64 = 5.0;
const SOFT_MIN_SNR: f64 = 4.0;
/// Karras et al. 2022, for images in [-1, 1].
const SIGMA_DATA: f64 = 0.5;
/// Where the path of `sigma-min` ends.
const SIGMA_MIN: f64 = 1e-4;
/// Sinkhorn's epsilon for each number of a sample: squared distances are about 2 there.
const EPSILON: f64 = 0.1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathConfig {
    pub(crate) schedule: ScheduleName,
    /// Noise at the ends of `sigma-min` (min alone), `ve` and `edm`, if not those of the papers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sigma_min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sigma_max: Option<f64>,
    pub(crate) prediction: PredictionName,
    /// How the network is scaled at each noise level.
    #[serde(default)]
    pub(crate) preconditioning: PreconditioningName,
    /// The standard deviation of the data in the model's units, for the preconditioning and the weighting `edm`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_std: Option<f64>,
    /// How much an error counts at each time.
    #[serde(default)]
    pub(crate) weighting: WeightingName,
    /// Which noise meets which data: what is not independent has no score.
    #[serde(default)]
    pub(crate) coupling: CouplingName,
    /// Regularization of `sinkhorn`, in squared distances of whole samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) coupling_epsilon: Option<f64>,
    pub(crate) times: TimesName,
    /// Mean and standard deviation of the logit of t, for `logit-normal` times; of ln(sigma / alpha) for
    /// `log-normal-sigma`.
    pub(crate) times_mean: f64,
    pub(crate) times_std: f64,
    /// Uniform and stratified times stay this far from 0 and 1.
    pub(crate) times_clip: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ScheduleName {
    Linear,
    Cosine,
    Vp,
    LinearVp,
    Polynomial2,
    SigmaMin,
    Ve,
    Edm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PredictionName {
    Velocity,
    Noise,
    Data,
    Score,
    V,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PreconditioningName {
    /// The network is asked at (x, t).
    #[default]
    None,
    /// Input and target have unit variance at every noise level.
    Edm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum WeightingName {
    /// All errors of the velocity alike.
    #[default]
    Velocity,
    /// All errors of what the network predicts alike.
    None,
    Data,
    Noise,
    V,
    Likelihood,
    MinSnr,
    SoftMinSnr,
    Edm,
    SigmaSqrt,
    CosMap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CouplingName {
    #[default]
    Independent,
    ExactOt,
    ClassWiseOt,
    Sinkhorn,
    Immiscible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TimesName {
    Uniform,
    Stratified,
    LogitNormal,
    LogNormalSigma,
    Mode,
    Cosine,
}

impl PathConfig {
    pub(crate) fn schedule(&self) -> Result<Arc<dyn Schedule + Send + Sync>, CliError> {
        let (min, max) = (self.sigma_min, self.sigma_max);
        let (takes_min, takes_max) = match self.schedule {
            ScheduleName::Ve | ScheduleName::Edm => (true, true),
            ScheduleName::SigmaMin => (true, false),
            _ => (false, false),
        };
        if min.is_some() && !takes_min || max.is_some() && !takes_max {
            return Err(CliError::usage(
                "path.sigma_min is for the schedules sigma-min, ve and edm, path.sigma_max for ve and edm alone: \
                 leave it out",
            ));
        }
        let schedule: Result<Arc<dyn Schedule + Send + Sync>, PathError> = match self.schedule {
            ScheduleName::Linear => Ok(Arc::new(Linear)),
            ScheduleName::Cosine => Ok(Arc::new(Cosine)),
            ScheduleName::Vp => Ok(Arc::new(Vp::default())),
            ScheduleName::LinearVp => Ok(Arc::new(LinearVp)),
            ScheduleName::Polynomial2 => Polynomial::new(2.0).map(|schedule| Arc::new(schedule) as _),
            ScheduleName::SigmaMin => SigmaMin::new(min.unwrap_or(SIGMA_MIN)).map(|schedule| Arc::new(schedule) as _),
            ScheduleName::Ve => {
                let ve = Ve::default();
                Ve::new(min.unwrap_or(ve.sigma_min()), max.unwrap_or(ve.sigma_max())).map(|ve| Arc::new(ve) as _)
            }
            ScheduleName::Edm => {
                let edm = Edm::default();
                Edm::new(min.unwrap_or(edm.sigma_min()), max.unwrap_or(edm.sigma_max()), edm.rho())
                    .map(|edm| Arc::new(edm) as _)
            }
        };
        schedule.map_err(CliError::usage)
    }

    /// What the noise is multiplied by where sampling starts, unless that is 1.
    pub(crate) fn start_scale(&self, start: f64) -> Result<Option<f64>, CliError> {
        // The others start from noise alone, of size 1 (VP: to 5e-5).
        let grows = matches!(self.schedule, ScheduleName::Ve | ScheduleName::Edm);
        grows.then(|| Ok(self.schedule()?.at(start).sigma)).transpose()
    }

    pub(crate) fn prediction(&self) -> Prediction {
        match self.prediction {
            PredictionName::Velocity => Prediction::Velocity,
            PredictionName::Noise => Prediction::Noise,
            PredictionName::Data => Prediction::Data,
            PredictionName::Score => Prediction::Score,
            PredictionName::V => Prediction::V,
        }
    }

    pub(crate) fn times(&self) -> Result<AnyTimes, CliError> {
        let (mean, std) = (self.times_mean, self.times_std);
        // Checked whichever is chosen.
        let logit_normal = LogitNormalTime::new(mean, std).map_err(CliError::usage)?;
        let uniform = UniformTime::clipped(self.times_clip).map_err(CliError::usage)?;
        let law: Box<dyn TimeLaw> = match self.times {
            TimesName::Stratified => return Ok(AnyTimes::Stratified(StratifiedTime::new(uniform))),
            TimesName::Uniform => Box::new(uniform),
            TimesName::LogitNormal => Box::new(logit_normal),
            TimesName::LogNormalSigma => {
                Box::new(LogNormalSigmaTime::new(mean, std, self.schedule()?).map_err(CliError::usage)?)
            }
            TimesName::Mode => Box::new(ModeTime::new(MODE_SCALE).map_err(CliError::usage)?),
            TimesName::Cosine => Box::new(CosineTime),
        };
        Ok(AnyTimes::Law(law))
    }

    /// The weighting of the loss; none for the flow-matching loss itself.
    pub(crate) fn weighting(&self) -> Result<Option<Box<dyn Weighting>>, CliError> {
        let own = |prediction| match prediction {
            PredictionName::Velocity => WeightingName::Velocity,
            PredictionName::Noise | PredictionName::Score => WeightingName::Noise,
            PredictionName::Data => WeightingName::Data,
            PredictionName::V => WeightingName::V,
        };
        let name = if self.weighting == WeightingName::None { own(self.prediction) } else { self.weighting };
        Ok(Some(match name {
            WeightingName::Velocity | WeightingName::None => return Ok(None),
            WeightingName::Data => Box::new(DataWeighting),
            WeightingName::Noise => Box::new(NoiseWeighting),
            WeightingName::V => Box::new(VWeighting),
            WeightingName::Likelihood => Box::new(LikelihoodWeighting),
            WeightingName::MinSnr => Box::new(MinSnrWeighting::new(MIN_SNR).map_err(CliError::usage)?),
            WeightingName::SoftMinSnr => Box::new(SoftMinSnrWeighting::new(SOFT_MIN_SNR).map_err(CliError::usage)?),
            WeightingName::Edm => {
                Box::new(EdmWeighting::new(self.data_std.unwrap_or(SIGMA_DATA)).map_err(CliError::usage)?)
            }
            WeightingName::SigmaSqrt => Box::new(SigmaSqrtWeighting),
            WeightingName::CosMap => Box::new(CosMapWeighting),
        }))
    }

    /// How the network is scaled.
    pub(crate) fn preconditioning(&self) -> Option<Preconditioning> {
        let data_std = self.data_std.unwrap_or(SIGMA_DATA);
        (self.preconditioning == PreconditioningName::Edm).then_some(Preconditioning::Edm { data_std })
    }

    /// The same for training, at every time.
    pub(crate) fn scaling(&self) -> Result<Option<Scalings>, CliError> {
        let schedule = self.schedule()?;
        let scaled = |preconditioning: Preconditioning| {
            Scalings::new(move |t| {
                let at = Coordinates::at(&schedule, t);
                let (skip, out, input, noise) = preconditioning.coefficients(at.level());
                // Those are for x / alpha.
                Scaling { skip: skip / at.alpha, out, input: input / at.alpha, noise }
            })
        };
        Ok(self.preconditioning().map(scaled))
    }

    /// What trains, but hardly as the user thinks: a sentence each.
    pub(crate) fn warnings(&self, classes: Option<usize>) -> Vec<String> {
        let mut warnings = Vec::new();
        if classes.is_some() && self.is_coupled() && self.coupling != CouplingName::ClassWiseOt {
            warnings.push(
                "this coupling gives each class the noise on its own side, but sampling a class starts from all of the \
                 noise: path.coupling = \"class-wise-ot\" has no such bias"
                    .to_owned(),
            );
        }
        let grows = matches!(self.schedule, ScheduleName::Ve | ScheduleName::Edm);
        if grows && self.preconditioning == PreconditioningName::None {
            warnings.push(
                "on this schedule the network sees inputs as large as the noise: path.preconditioning = \"edm\" with \
                 path.prediction = \"data\" scales them"
                    .to_owned(),
            );
        }
        warnings
    }

    /// The coupling of samples of so many numbers.
    pub(crate) fn coupling(&self, numbers: usize) -> Result<AnyCoupling, CliError> {
        if self.coupling_epsilon.is_some() && self.coupling != CouplingName::Sinkhorn {
            return Err(CliError::usage("path.coupling_epsilon is for path.coupling = \"sinkhorn\": leave it out"));
        }
        Ok(match self.coupling {
            CouplingName::Independent => AnyCoupling::Independent(Independent),
            CouplingName::ExactOt => AnyCoupling::ExactOt(ExactOt::new()),
            CouplingName::ClassWiseOt => AnyCoupling::ClassWise(ClassWise { inner: ExactOt::new() }),
            CouplingName::Immiscible => AnyCoupling::Immiscible(Immiscible),
            CouplingName::Sinkhorn => {
                let epsilon = self.coupling_epsilon.unwrap_or(EPSILON * numbers as f64);
                let stop = Stop::new(1e-3, 10_000).map_err(CliError::usage)?;
                let sinkhorn = Sinkhorn::new(SquaredEuclidean, epsilon, stop).map_err(CliError::usage)?;
                AnyCoupling::Sinkhorn(sinkhorn)
            }
        })
    }

    /// Whether noise and data meet by more than chance.
    pub(crate) fn is_coupled(&self) -> bool {
        self.coupling != CouplingName::Independent
    }

    /// The law of the pairs of training: what it is follows from the coupling.
    pub(crate) fn source(&self) -> Result<SourceLaw, CliError> {
        Ok(Coupling::<2>::source_law(&self.coupling(1)?, SourceLaw::GaussianIndependent))
    }

    /// Whether all of it goes together, for a model of so many classes.
    pub(crate) fn validate(&self, classes: Option<usize>) -> Result<(), CliError> {
        let (schedule, times, prediction, source) =
            (self.schedule()?, self.times()?, self.prediction(), self.source()?);
        source.permits(prediction, prediction).map_err(CliError::usage)?;
        if let Some(preconditioning) = self.preconditioning() {
            if prediction != Prediction::Data {
                return Err(CliError::usage(
                    "path.preconditioning = \"edm\" makes a prediction of the data of what the network gives: set \
                     path.prediction = \"data\"",
                ));
            }
            // At noise alone, or without any, there is no finite noise level.
            let [from, to] = times.span();
            let inside = |t: f64| (1e-6..1e6).contains(&Coordinates::at(&schedule, t).level());
            if !(inside(from) && inside(to)) {
                return Err(CliError::usage(
                    "path.preconditioning = \"edm\" needs data and noise at every time: set path.schedule to ve or edm \
                     with path.sigma_min above 0, or path.times_clip",
                ));
            }
            Preconditioned::new((), preconditioning, &schedule).map_err(CliError::usage)?;
        }
        if self.coupling == CouplingName::ClassWiseOt && classes.is_none() {
            return Err(CliError::usage(
                "path.coupling = \"class-wise-ot\" couples within each class, and this model has none: \
                 set model.classes, or path.coupling = \"exact-ot\"",
            ));
        }
        let weighting = self.weighting()?;
        // The flow-matching loss on these paths is infinite at an end at most, which times as good as never meet.
        let regular = matches!(
            self.schedule,
            ScheduleName::Linear
                | ScheduleName::Cosine
                | ScheduleName::Vp
                | ScheduleName::LinearVp
                | ScheduleName::Polynomial2
        );
        if regular && weighting.is_none() && self.prediction != PredictionName::V {
            return Ok(());
        }
        let weighting = weighting.unwrap_or_else(|| Box::new(VelocityWeighting::new()));
        let [from, to] = times.span();
        AffinePath::new(schedule, source).trainable(prediction, &weighting, from, to).map_err(CliError::usage)
    }

    /// Whether a model of this path can be sampled so.
    pub(crate) fn permits(&self, solver: SolverName) -> Result<(), CliError> {
        if solver.is_stochastic() {
            let refused = |error| CliError::usage(format!("{solver} adds noise and needs the score: {error}"));
            self.source()?.permits(self.prediction(), Prediction::Score).map_err(refused)?;
        }
        Ok(())
    }
}

/// A time sampler chosen by name.
pub(crate) enum AnyTimes {
    Law(Box<dyn TimeLaw>),
    Stratified(StratifiedTime<UniformTime>),
}

impl AnyTimes {
    /// The earliest and the latest time.
    fn span(&self) -> [f64; 2] {
        let law: &dyn TimeLaw = match self {
            Self::Law(law) => law,
            Self::Stratified(times) => times.law(),
        };
        [law.quantile(0.0), law.quantile(1.0)]
    }
}

impl TimeSampler for AnyTimes {
    fn sample(&self, key: NoiseKey, ids: &[u64], counter: u64) -> Vec<f64> {
        match self {
            Self::Law(law) => law.sample(key, ids, counter),
            Self::Stratified(times) => times.sample(key, ids, counter),
        }
    }
}

/// A coupling chosen by name.
pub(crate) enum AnyCoupling {
    Independent(Independent),
    ExactOt(ExactOt),
    ClassWise(ClassWise<ExactOt>),
    Sinkhorn(Sinkhorn),
    Immiscible(Immiscible),
}

impl AnyCoupling {
    fn chosen<const D: usize>(&self) -> &dyn Coupling<D> {
        match self {
            Self::Independent(coupling) => coupling,
            Self::ExactOt(coupling) => coupling,
            Self::ClassWise(coupling) => coupling,
            Self::Sinkhorn(coupling) => coupling,
            Self::Immiscible(coupling) => coupling,
        }
    }
}

impl<const D: usize> Coupling<D> for AnyCoupling {
    fn pair(&self, batch: &Uncoupled<'_, D>) -> Result<Pairing, PathError> {
        self.chosen().pair(batch)
    }

    fn source_law(&self, before: SourceLaw) -> SourceLaw {
        self.chosen::<D>().source_law(before)
    }
}
