use crate::{Family, Method, Tableau};

/// Ralston's method, order 2: two evaluations a step, the least bound on the error of its kind.
///
/// Ralston, *Runge-Kutta methods with minimum error bounds*, Mathematics of Computation 16 (1962), eq. 3.5. It looks
/// at two thirds of the step and never at its end.
pub const RALSTON: Tableau<2> = Tableau {
    name: "Ralston",
    a: [[0.0, 0.0], [2.0 / 3.0, 0.0]],
    b: [1.0 / 4.0, 3.0 / 4.0],
    c: [0.0, 2.0 / 3.0],
    order: 2,
};

pub(crate) const METHOD: Method = Method {
    name: "ralston",
    title: "Ralston",
    family: Family::Fixed,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Ralston (1962), eq. 3.5",
    use_when: "with few evaluations: the least error bound of order 2",
};
