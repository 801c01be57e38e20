use crate::{Family, Method, Tableau};

/// Heun's method (the explicit trapezoidal rule), order 2: two evaluations a step.
///
/// Heun (1900); the sampler of Karras et al. (EDM, 2022, algorithm 1) is this rule on its own grid.
pub const HEUN: Tableau<2> =
    Tableau { name: "Heun", a: [[0.0, 0.0], [1.0, 0.0]], b: [0.5, 0.5], c: [0.0, 1.0], order: 2 };

pub(crate) const METHOD: Method = Method {
    name: "heun",
    title: "Heun",
    family: Family::Fixed,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Heun (1900)",
    use_when: "with few evaluations; EDM's sampler",
};
