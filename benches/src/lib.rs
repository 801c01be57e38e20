//! Problems of the benchmarks.
