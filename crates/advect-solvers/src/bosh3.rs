use crate::{EmbeddedTableau, Family, Method, Tableau};

/// Bogacki-Shampine 3(2), order 3 with an embedded solution of order 2: three evaluations a step.
///
/// Bogacki & Shampine, *A 3(2) pair of Runge-Kutta formulas*, Applied Mathematics Letters 2 (1989). Good for loose
/// tolerances.
pub const BOSH3: EmbeddedTableau<4> = EmbeddedTableau {
    tableau: Tableau {
        name: "Bosh3",
        a: [
            [0.0, 0.0, 0.0, 0.0],
            [1.0 / 2.0, 0.0, 0.0, 0.0],
            [0.0, 3.0 / 4.0, 0.0, 0.0],
            [2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0, 0.0],
        ],
        b: [2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0, 0.0],
        c: [0.0, 1.0 / 2.0, 3.0 / 4.0, 1.0],
        order: 3,
    },
    // b minus (7/24, 1/4, 1/3, 1/8).
    error: [-5.0 / 72.0, 1.0 / 12.0, 1.0 / 9.0, -1.0 / 8.0],
    error_order: 2,
    // The cubic is of the order of the method.
    quartic: None,
};

pub(crate) const METHOD: Method = Method {
    name: "bosh3",
    title: "Bosh3",
    family: Family::Embedded,
    order: 3.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Bogacki & Shampine (1989)",
    use_when: "under step control with a loose tolerance, about 1e-3",
};
