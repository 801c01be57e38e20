use advect_paths::PathError;

/// What can be wrong with a rule of guidance.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GuidanceError {
    /// The field cannot be read as the rule needs it between the given times.
    #[error("this guidance reads the field as another prediction, which fails: {0}")]
    Path(#[from] PathError),
    /// A number of a rule is out of its range.
    #[error("{name} is {value}: give {range}")]
    Parameter {
        /// Which number.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
}

/// The number, if it is allowed.
pub(crate) fn checked(
    name: &'static str,
    value: f64,
    range: &'static str,
    allowed: bool,
) -> Result<f64, GuidanceError> {
    if allowed { Ok(value) } else { Err(GuidanceError::Parameter { name, value, range }) }
}
