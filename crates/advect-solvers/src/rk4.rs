use crate::{Family, Method, Tableau};

/// The classical Runge-Kutta method, order 4: four evaluations a step.
///
/// Kutta (1901); Hairer, Norsett & Wanner I, II.1, table 1.2.
pub const RK4: Tableau<4> = Tableau {
    name: "RK4",
    a: [[0.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
    b: [1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: [0.0, 0.5, 0.5, 1.0],
    order: 4,
};

pub(crate) const METHOD: Method = Method {
    name: "rk4",
    title: "RK4",
    family: Family::Fixed,
    order: 4.0,
    weak_order: None,
    evaluations: 4.0,
    source: "Kutta (1901)",
    use_when: "for smooth fields on a fixed grid",
};
