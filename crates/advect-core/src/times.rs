use burn::tensor::{Device, Tensor, TensorData};

/// Time on the host: one for the whole batch, or one for each row.
///
/// Time is `f64` and lives on the host; it becomes a tensor only where a network needs it ([`Times::tensor`]).
/// By convention t = 0 is noise (the source) and t = 1 is data.
#[derive(Debug, Clone, PartialEq)]
pub enum Times {
    /// The whole batch is at one time: the common case, free of charge.
    Shared(f64),
    /// Row `i` is at time `times[i]`: per-sample adaptive steps, event-driven processes, training batches.
    Each(Vec<f64>),
}

impl Times {
    /// The time of one row.
    ///
    /// # Panics
    /// Panics if `row` is out of range of an [`Times::Each`].
    #[must_use]
    #[inline]
    pub fn at(&self, row: usize) -> f64 {
        match self {
            Self::Shared(t) => *t,
            Self::Each(times) => times[row],
        }
    }

    /// True once every row stands exactly at its end.
    ///
    /// Steppers *assign* the end instead of adding up to it, so exact equality is the right question. `Each` may
    /// reach a `Shared` end: this is why a driver asks `at.reached(to)` and never `at == to`.
    #[must_use]
    #[inline]
    pub fn reached(&self, to: &Self) -> bool {
        match (self, to) {
            (Self::Shared(a), Self::Shared(b)) => a == b,
            (Self::Each(a), Self::Shared(b)) => a.iter().all(|a| a == b),
            (Self::Shared(a), Self::Each(b)) => b.iter().all(|b| a == b),
            (Self::Each(a), Self::Each(b)) => a == b,
        }
    }

    /// Applies `f` to the times of both, row by row; shared stays shared.
    #[must_use]
    #[inline]
    pub fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        match (self, other) {
            (Self::Shared(a), Self::Shared(b)) => Self::Shared(f(*a, *b)),
            (Self::Each(a), Self::Shared(b)) => Self::Each(a.iter().map(|a| f(*a, *b)).collect()),
            (Self::Shared(a), Self::Each(b)) => Self::Each(b.iter().map(|b| f(*a, *b)).collect()),
            (Self::Each(a), Self::Each(b)) => Self::Each(a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()),
        }
    }

    /// Applies `f` to every time; shared stays shared.
    #[must_use]
    #[inline]
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        match self {
            Self::Shared(t) => Self::Shared(f(*t)),
            Self::Each(times) => Self::Each(times.iter().map(|t| f(*t)).collect()),
        }
    }

    /// The times of the chosen rows.
    ///
    /// # Panics
    /// Panics if a row is out of range of an [`Times::Each`].
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        match self {
            Self::Shared(t) => Self::Shared(*t),
            Self::Each(times) => Self::Each(rows.iter().map(|&r| times[r]).collect()),
        }
    }

    /// One time a row, as numbers.
    #[must_use]
    pub fn to_vec(&self, rows: usize) -> Vec<f64> {
        match self {
            Self::Shared(t) => vec![*t; rows],
            Self::Each(times) => times.clone(),
        }
    }

    /// The times as a tensor, for a network.
    ///
    /// # Shapes
    /// - output: `[rows]`, in the device's float type
    #[must_use]
    pub fn tensor(&self, rows: usize, device: &Device) -> Tensor<1> {
        match self {
            Self::Shared(t) => Tensor::full([rows], *t, device),
            Self::Each(times) => Tensor::from_data(TensorData::new(times.clone(), [times.len()]), device),
        }
    }

    /// The earliest and the latest time (equal if shared; infinite and empty for no rows).
    #[must_use]
    #[inline]
    pub fn range(&self) -> (f64, f64) {
        match self {
            Self::Shared(t) => (*t, *t),
            Self::Each(times) => {
                times.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &t| (low.min(t), high.max(t)))
            }
        }
    }
}

impl From<f64> for Times {
    fn from(t: f64) -> Self {
        Self::Shared(t)
    }
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shared(t) => write!(f, "t = {t}"),
            Self::Each(times) => {
                let (low, high) = self.range();
                write!(f, "t in [{low}, {high}] ({} rows)", times.len())
            }
        }
    }
}
