use crate::{Family, Method, SraTableau};

/// SRA1: additive noise, strong order 1.5, weak order 2, two evaluations a step.
///
/// Rossler (2010). The classic; [`Shark`](crate::Shark) costs the same and has a smaller error.
pub const SRA1: SraTableau<2> = SraTableau {
    name: "SRA1",
    a: [[0.0, 0.0], [3.0 / 4.0, 0.0]],
    b: [[0.0, 0.0], [3.0 / 2.0, 0.0]],
    c: [0.0, 3.0 / 4.0],
    d: [1.0, 0.0],
    alpha: [1.0 / 3.0, 2.0 / 3.0],
    beta: [1.0, 0.0],
    gamma: [-1.0, 1.0],
};

pub(crate) const METHOD: Method = Method {
    name: "sra1",
    title: "SRA1",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(2.0),
    evaluations: 2.0,
    source: "Rossler (2010)",
    use_when: "to compare with other libraries",
};
