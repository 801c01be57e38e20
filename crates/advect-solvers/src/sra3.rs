use crate::{Family, Method, SraTableau};

/// SRA3: additive noise, strong order 1.5, weak order 2, order 3 where the noise vanishes; three evaluations a step.
///
/// Rossler (2010). For small noise, where the error of the drift dominates.
pub const SRA3: SraTableau<3> = SraTableau {
    name: "SRA3",
    a: [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0 / 4.0, 1.0 / 4.0, 0.0]],
    b: [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0 / 2.0, 0.0]],
    c: [0.0, 1.0, 1.0 / 2.0],
    d: [1.0, 0.0, 0.0],
    alpha: [1.0 / 6.0, 1.0 / 6.0, 2.0 / 3.0],
    beta: [1.0, 0.0, 0.0],
    gamma: [-1.0, 1.0, 0.0],
};

pub(crate) const METHOD: Method = Method {
    name: "sra3",
    title: "SRA3",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(2.0),
    evaluations: 3.0,
    source: "Rossler (2010)",
    use_when: "for small noise: order 3 without",
};
