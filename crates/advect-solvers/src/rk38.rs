use crate::{Family, Method, Tableau};

/// Kutta's 3/8 rule, order 4: four evaluations a step, a smaller error than [`RK4`](crate::RK4) as a rule.
///
/// Kutta (1901); Hairer, Norsett & Wanner I, II.1, table 1.2. The method that torchdiffeq calls `rk4`.
pub const RK38: Tableau<4> = Tableau {
    name: "3/8 rule",
    a: [[0.0, 0.0, 0.0, 0.0], [1.0 / 3.0, 0.0, 0.0, 0.0], [-1.0 / 3.0, 1.0, 0.0, 0.0], [1.0, -1.0, 1.0, 0.0]],
    b: [1.0 / 8.0, 3.0 / 8.0, 3.0 / 8.0, 1.0 / 8.0],
    c: [0.0, 1.0 / 3.0, 2.0 / 3.0, 1.0],
    order: 4,
};

pub(crate) const METHOD: Method = Method {
    name: "rk38",
    title: "3/8 rule",
    family: Family::Fixed,
    order: 4.0,
    weak_order: None,
    evaluations: 4.0,
    source: "Kutta (1901)",
    use_when: "for smooth fields on a fixed grid; torchdiffeq's `rk4`",
};
