use crate::{Composition, Family, Method};

/// The triple jump of leapfrogs, order 4, symplectic: three evaluations of the force a step.
///
/// Yoshida, *Construction of higher order symplectic integrators*, Physics Letters A 150 (1990), eq. 4.3 to 4.6; Forest
/// & Ruth (1990). Its parts are 1 / (2 - 2^(1/3)), twice, around minus 2^(1/3) times that: the middle goes back in
/// time, beyond the ends of the step.
pub const YOSHIDA4: Composition<3> =
    Composition { name: "Yoshida 4", parts: [OUTER, 1.0 - 2.0 * OUTER, OUTER], order: 4 };

/// 1 / (2 - 2^(1/3)).
const OUTER: f64 = 1.351_207_191_959_657_8;

pub(crate) const METHOD: Method = Method {
    name: "yoshida4",
    title: "Yoshida 4",
    family: Family::Symplectic,
    order: 4.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Yoshida (1990), eq. 4.3; Forest & Ruth (1990)",
    use_when: "as the leapfrog, for more digits",
};
