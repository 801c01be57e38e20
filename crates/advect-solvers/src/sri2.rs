use crate::{Family, Method, SriTableau};

/// SRI2W1: diagonal Ito noise, strong order 1.5, weak order 1.5, order 3 where the noise vanishes; three evaluations of
/// the drift and four of the diffusion.
///
/// Rossler (2010). For small multiplicative noise, where the error of the drift dominates.
pub const SRI2W1: SriTableau = SriTableau {
    name: "SRI2W1",
    a0: [[0.0; 4], [1.0, 0.0, 0.0, 0.0], [1.0 / 4.0, 1.0 / 4.0, 0.0, 0.0], [0.0; 4]],
    b0: [[0.0; 4], [0.0; 4], [1.0, 1.0 / 2.0, 0.0, 0.0], [0.0; 4]],
    a1: [[0.0; 4], [1.0 / 4.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0 / 4.0, 0.0]],
    b1: [[0.0; 4], [-1.0 / 2.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [2.0, -1.0, 1.0 / 2.0, 0.0]],
    c0: [0.0, 1.0, 1.0 / 2.0, 0.0],
    c1: [0.0, 1.0 / 4.0, 1.0, 1.0 / 4.0],
    alpha: [1.0 / 6.0, 1.0 / 6.0, 2.0 / 3.0, 0.0],
    beta1: [-1.0, 4.0 / 3.0, 2.0 / 3.0, 0.0],
    beta2: [1.0, -4.0 / 3.0, 1.0 / 3.0, 0.0],
    beta3: [2.0, -4.0 / 3.0, -2.0 / 3.0, 0.0],
    beta4: [-2.0, 5.0 / 3.0, -2.0 / 3.0, 1.0],
};

pub(crate) const METHOD: Method = Method {
    name: "sri2",
    title: "SRI2W1",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(1.5),
    evaluations: 3.0,
    source: "Rossler (2010)",
    use_when: "for small diagonal noise: order 3 without",
};
