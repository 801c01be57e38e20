//! The gradient of the weight.
