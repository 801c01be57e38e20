use crate::{Family, Method, SriTableau};

/// SRI1W1: diagonal Ito noise, strong order 1.5, weak order 1.5; two evaluations of the drift and four of the diffusion.
///
/// Rossler (2010). The first choice for multiplicative noise when paths count.
pub const SRI1W1: SriTableau = SriTableau {
    name: "SRI1W1",
    a0: [[0.0; 4], [3.0 / 4.0, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4]],
    b0: [[0.0; 4], [3.0 / 2.0, 0.0, 0.0, 0.0], [0.0; 4], [0.0; 4]],
    a1: [[0.0; 4], [1.0 / 4.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0 / 4.0, 0.0]],
    b1: [[0.0; 4], [1.0 / 2.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [-5.0, 3.0, 1.0 / 2.0, 0.0]],
    c0: [0.0, 3.0 / 4.0, 0.0, 0.0],
    c1: [0.0, 1.0 / 4.0, 1.0, 1.0 / 4.0],
    alpha: [1.0 / 3.0, 2.0 / 3.0, 0.0, 0.0],
    beta1: [-1.0, 4.0 / 3.0, 2.0 / 3.0, 0.0],
    beta2: [-1.0, 4.0 / 3.0, -1.0 / 3.0, 0.0],
    beta3: [2.0, -4.0 / 3.0, -2.0 / 3.0, 0.0],
    beta4: [-2.0, 5.0 / 3.0, -2.0 / 3.0, 1.0],
};

pub(crate) const METHOD: Method = Method {
    name: "sri1",
    title: "SRI1W1",
    family: Family::Sde,
    order: 1.5,
    weak_order: Some(1.5),
    evaluations: 2.0,
    source: "Rossler (2010)",
    use_when: "first choice for diagonal Ito noise",
};
