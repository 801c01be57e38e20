//! How the program fails: wrong usage (exit code 2) or failure (1), each in one sentence.

use std::fmt::{self, Display};

#[derive(Debug)]
pub(crate) enum CliError {
    /// The user asked for something that does not exist or contradicts itself: exit code 2.
    Usage(String),
    /// Something went wrong: exit code 1.
    Failure(anyhow::Error),
}

impl CliError {
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::Usage(message.to_string())
    }

    pub(crate) fn failure(message: impl Display) -> Self {
        Self::Failure(anyhow::anyhow!("{message}"))
    }

    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failure(_) => 1,
        }
    }
}

impl Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            // The messages of our errors hold their causes.
            Self::Failure(error) => write!(f, "{error}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Failure(error.into())
    }
}
