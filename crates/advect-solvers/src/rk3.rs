use crate::{Family, Method, Tableau};

/// The third-order method of Bogacki-Shampine, without their error estimate: three evaluations a step.
///
/// Ralston, *Runge-Kutta methods with minimum error bounds*, Mathematics of Computation 16 (1962); Bogacki & Shampine
/// (1989), whose pair is [`BOSH3`](crate::BOSH3), advance by it. It never looks at the end of the step.
pub const RK3: Tableau<3> = Tableau {
    name: "RK3",
    a: [[0.0, 0.0, 0.0], [1.0 / 2.0, 0.0, 0.0], [0.0, 3.0 / 4.0, 0.0]],
    b: [2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0],
    c: [0.0, 1.0 / 2.0, 3.0 / 4.0],
    order: 3,
};

pub(crate) const METHOD: Method = Method {
    name: "rk3",
    title: "RK3",
    family: Family::Fixed,
    order: 3.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Ralston (1962); Bogacki & Shampine (1989)",
    use_when: "between order 2 and RK4, where the field is wild at the end of time",
};
