/// What can be wrong with a value that a user hands to this crate.
///
/// Constructors validate, so that solvers deep inside a loop cannot fail on user input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreError {
    /// A time grid needs a start and an end.
    #[error("a time grid needs at least 2 points, got {points}")]
    GridTooShort {
        /// Number of points given.
        points: usize,
    },
    /// A grid point is NaN or infinite.
    #[error("time grid point {index} is {value}: every point must be finite")]
    GridNotFinite {
        /// Index of the point.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// The grid changes direction or stands still.
    #[error(
        "time grid points {index} and {} are {before} and {after}: the grid must run strictly up or strictly down",
        index + 1
    )]
    GridNotMonotone {
        /// Index of the first of the two points.
        index: usize,
        /// Its value.
        before: f64,
        /// The value of its successor.
        after: f64,
    },
    /// A tolerance must be finite, not negative, and not zero twice.
    #[error("tolerances rtol = {rtol}, atol = {atol}: both must be finite and >= 0, and one of them > 0")]
    Tolerance {
        /// Relative tolerance given.
        rtol: f64,
        /// Absolute tolerance given.
        atol: f64,
    },
    /// The time span of a Brownian path must be finite and not empty.
    #[error("a Brownian path needs a finite span with start < end, got [{start}, {end}]")]
    Span {
        /// Start of the span.
        start: f64,
        /// End of the span.
        end: f64,
    },
    /// Log-weights and rows differ in number, or there are no rows.
    #[error(
        "{rows} rows but {weights} log-weights: a weighted set needs one finite log-weight or -inf a row, and a row"
    )]
    Weights {
        /// Rows of the state.
        rows: usize,
        /// Log-weights given.
        weights: usize,
    },
}
