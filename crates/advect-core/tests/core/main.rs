//! The tests of the nouns.

mod brownian;
mod fields;
mod noise;
mod states;
mod times;
mod weighted;
