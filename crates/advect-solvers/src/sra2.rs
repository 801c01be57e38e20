use crate::{Family, Method, SraTableau};

/// SRA2: additive noise, strong order 1.5, weak order 2, two evaluations a step.
///
/// Rossler (2010). Asks the diffusion inside the step and at its end, never at its start: where g is
/// singular at the start.
pub const SRA2: SraTableau<2> = SraTableau {
    name: "SRA2",
    a: [[0.0, 0.0], [3.0 / 4.0, 0.0]],
    b: [[0.0, 0.0], [3.0 / 2.0, 0.0]],
    c: [0.0, 3.0 / 4.0],
    d: [1.0 / 3.0, 1.0],
    alpha: [1.0 / 3.0, 2.0 / 3.0],
    beta: [0.0, 1.0],
    gamma: [3.0 / 2.0, -3.0 / 2.0],
};

pub(crate) const METHOD: Method = Method {
    name: "sra2",
    title: "SRA2",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Rossler (2010)",
    use_when: "where the diffusion is singular at the start",
};
