use advect_core::CoreError;
use std::sync::Arc;

/// Why a solve stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SolveError {
    /// A step ended where it began, so the driver would loop forever.
    #[error("a step at t = {time} ended where it began: a stepper must move at least one row toward its end")]
    NoProgress {
        /// Time (of the first row) where it stands still.
        time: f64,
    },
    /// The state, or the field at it, holds NaN or infinities.
    #[error(
        "the state is not finite after a step of {step} from t = {time}: check the field there, or take smaller steps"
    )]
    NotFinite {
        /// Time (of the first row) where the step began.
        time: f64,
        /// The step, signed; zero if it was wrong before the first step.
        step: f64,
    },
    /// Step control fell to the smallest step and the error is still too large.
    #[error(
        "at t = {time} a step of {step} has an error {norm:.3e} times the tolerance, and steps below {limit:e} are not \
         taken: the solution may blow up or jump here, or the tolerance is below round-off; loosen it or end earlier"
    )]
    StepTooSmall {
        /// Time where the step began.
        time: f64,
        /// The last step that was tried, signed.
        step: f64,
        /// Its error in units of the tolerance; a step is accepted up to 1.
        norm: f64,
        /// The smallest step allowed.
        limit: f64,
    },
    /// The budget of attempts is spent.
    #[error(
        "{limit} steps were tried and t = {time} is reached of {end} (next step {step:.3e}): raise `max_steps`, loosen \
         the tolerance, or end earlier"
    )]
    TooManySteps {
        /// Time reached.
        time: f64,
        /// Time that should have been reached.
        end: f64,
        /// The step that would come next, without sign.
        step: f64,
        /// The number of attempts allowed.
        limit: u64,
    },
    /// The budget of attempts is spent, on steps that are held by stability and not by accuracy.
    #[error(
        "the field is stiff at t = {time}: {limit} steps were tried on the way to {end}. Its fastest rate is about \
         {rate:.3e}, which holds explicit steps at {step:.3e} whatever the tolerance: raise `max_steps` by \
         {remaining:.3e}, end earlier, or treat the fast part exactly (a semi-linear or exponential method)",
        remaining = (end - time).abs() / step
    )]
    Stiff {
        /// Time reached.
        time: f64,
        /// Time that should have been reached.
        end: f64,
        /// The step that would come next, without sign.
        step: f64,
        /// About how fast neighboring solutions come together, per unit of time.
        rate: f64,
        /// The number of attempts allowed.
        limit: u64,
    },
    /// A setting of step control is out of range.
    #[error("{name} = {value} for step control: {rule}")]
    Setting {
        /// Which setting.
        name: &'static str,
        /// Its value.
        value: f64,
        /// What it must fulfil.
        rule: &'static str,
    },
    /// Rows stand at times of their own where one time is needed.
    #[error(
        "{rows} rows stand at times of their own, but dense output and events need one time for the batch: take \
         `Adaptive` in place of `AdaptiveRows`"
    )]
    RowTimes {
        /// The number of rows.
        rows: usize,
    },
    /// A time outside of the solution.
    #[error("t = {time} is outside of the solution, which goes from {start} to {end}")]
    OutsideSpan {
        /// The time asked for.
        time: f64,
        /// Where the solution starts.
        start: f64,
        /// Where it ends.
        end: f64,
    },
    /// Times at which states are wanted do not follow the direction of the solve.
    #[error("time {index} to save at is {after}, after {before}: save times run the way of the grid")]
    SaveOrder {
        /// The index of the time.
        index: usize,
        /// The time before it.
        before: f64,
        /// The time.
        after: f64,
    },
    /// The function of an event is not a number.
    #[error("the function of event {event} is NaN at t = {time}: it must be a number wherever the solution goes")]
    EventFunction {
        /// The index of the event.
        event: usize,
        /// The time.
        time: f64,
    },
    /// A gradient is not of the shape of the state.
    #[error("the gradient has shape {gradient:?}, the state where the flow ends {state:?}: they must be equal")]
    GradientShape {
        /// The shape of the state.
        state: Vec<usize>,
        /// The shape of the gradient.
        gradient: Vec<usize>,
    },
    /// One row of a batch failed.
    #[error("row {row}: {source}")]
    Row {
        /// The row, counted in the whole batch.
        row: usize,
        /// What happened to it.
        source: Box<SolveError>,
    },
    /// A value that a solve needs is wrong.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// What a generator or a stepper of another crate reports.
    #[error(transparent)]
    Generator(Arc<dyn std::error::Error + Send + Sync>),
}

impl SolveError {
    /// Wraps the error of a generator or a stepper that lives in another crate.
    pub fn generator(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Generator(Arc::new(error))
    }
}
