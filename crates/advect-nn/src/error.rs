//! What a configuration can have wrong.

use thiserror::Error;

/// Why a configuration describes no network.
///
/// Returned by `validate` and `init` of each configuration; a network that was built has none of these.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum NnError {
    /// A size that has to be at least one is zero.
    #[error("`{field}` is 0: set it to at least 1")]
    Zero {
        /// The configuration's field.
        field: &'static str,
    },
    /// A size or a number that no network has.
    #[error("`{field}` = {value} is more than any network has: use at most {most}")]
    TooLarge {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// The most that is allowed.
        most: usize,
    },
    /// A list that describes the levels has no entry.
    #[error("`{field}` is empty: give one entry for each level, from the finest to the coarsest")]
    Empty {
        /// The configuration's field.
        field: &'static str,
    },
    /// A number of channels does not split into equal parts.
    #[error("`{field}` = {divisor} does not divide the {channels} channels of {place}: choose a common divisor")]
    Indivisible {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        divisor: usize,
        /// The channels that it should divide.
        channels: usize,
        /// Where these channels are.
        place: &'static str,
    },
    /// A size is no multiple of what it is made of.
    #[error(
        "`{field}` = {value} is no multiple of {factor}, but {reason}: use {}",
        value.next_multiple_of(*factor)
    )]
    NotMultiple {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// What it should be a multiple of.
        factor: usize,
        /// Why.
        reason: &'static str,
    },
    /// Sines and cosines come in pairs.
    #[error("`{field}` = {features} is odd, but sines and cosines come in pairs: use {} or {}", features - 1, features + 1)]
    OddFeatures {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        features: usize,
    },
    /// Attention is asked for at a resolution that the network does not have.
    #[error(
        "`attention` names the downsampling factor {factor}, but the levels have the factors {factors:?}: use some of these"
    )]
    NoSuchLevel {
        /// The factor asked for.
        factor: usize,
        /// The factors that exist.
        factors: Vec<usize>,
    },
    /// The list that describes the levels is longer than any image can be halved.
    #[error("`multipliers` has {levels} entries: use at most {max}, each level halves the resolution")]
    TooManyLevels {
        /// The number of entries.
        levels: usize,
        /// The most that are allowed.
        max: usize,
    },
    /// A block is named that the network does not have.
    #[error("`{field}` names block {block}, but there are {blocks}: the first is 0, the last {}", blocks - 1)]
    NoSuchBlock {
        /// The configuration's field.
        field: &'static str,
        /// The block named.
        block: usize,
        /// The number of blocks, at least one.
        blocks: usize,
    },
    /// A factor that has to be finite and positive is not.
    #[error("`{field}` = {value} is not a finite positive number: 1000 is usual for images")]
    NotPositive {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
    /// The latents of an autoencoder cannot be shifted and scaled so.
    #[error("`{field}` = {value}, but latents become (z - shift) * scale with finite numbers and a positive scale")]
    LatentScale {
        /// The configuration's field.
        field: &'static str,
        /// Its value.
        value: f64,
    },
}

/// Err unless `value` is at least one.
pub(crate) fn at_least_one(field: &'static str, value: usize) -> Result<(), NnError> {
    if value == 0 { Err(NnError::Zero { field }) } else { Ok(()) }
}

/// The most channels, features, classes, pixels. Keeps the number of parameters of any network, a product of three sizes
/// at most, below 2^64.
const LARGEST: usize = 1 << 20;

/// The most blocks or layers, and the largest patch or ratio.
const MOST: usize = 1000;

/// Err if `value` is more than `most`.
fn at_most(field: &'static str, value: usize, most: usize) -> Result<(), NnError> {
    if value > most { Err(NnError::TooLarge { field, value, most }) } else { Ok(()) }
}

/// Err unless there may be so many channels, features, classes or pixels: 1 to 2^20.
pub(crate) fn sized(field: &'static str, value: usize) -> Result<(), NnError> {
    at_least_one(field, value)?;
    at_most(field, value, LARGEST)
}

/// Err unless there may be so many blocks or layers: 1 to 1000.
pub(crate) fn counted(field: &'static str, value: usize) -> Result<(), NnError> {
    at_least_one(field, value)?;
    at_most(field, value, MOST)
}

/// Err unless `value` is finite and positive.
pub(crate) fn positive(field: &'static str, value: f64) -> Result<(), NnError> {
    if value.is_finite() && value > 0.0 { Ok(()) } else { Err(NnError::NotPositive { field, value }) }
}

/// Err unless `features` is even.
pub(crate) fn even(field: &'static str, features: usize) -> Result<(), NnError> {
    if features.is_multiple_of(2) { Ok(()) } else { Err(NnError::OddFeatures { field, features }) }
}

/// Err unless `value` is a multiple of `factor`.
pub(crate) fn multiple(field: &'static str, value: usize, factor: usize, reason: &'static str) -> Result<(), NnError> {
    if value.is_multiple_of(factor) { Ok(()) } else { Err(NnError::NotMultiple { field, value, factor, reason }) }
}

/// Err unless `divisor` divides `channels`.
pub(crate) fn divides(
    field: &'static str,
    divisor: usize,
    channels: usize,
    place: &'static str,
) -> Result<(), NnError> {
    if channels.is_multiple_of(divisor) {
        Ok(())
    } else {
        Err(NnError::Indivisible { field, divisor, channels, place })
    }
}
