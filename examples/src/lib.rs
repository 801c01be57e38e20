//! Examples of advect.
