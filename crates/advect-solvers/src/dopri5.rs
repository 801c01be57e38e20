use crate::{EmbeddedTableau, Family, Method, Tableau};

/// Dormand-Prince 5(4), order 5 with an embedded solution of order 4: six evaluations a step.
///
/// Dormand & Prince, *A family of embedded Runge-Kutta formulae*, J. Comp. Appl. Math. 6 (1980); Hairer, Norsett &
/// Wanner I, II.5, table 5.2. The same method as MATLAB's `ode45` and SciPy's `RK45`.
pub const DOPRI5: EmbeddedTableau<7> = EmbeddedTableau {
    tableau: Tableau {
        name: "Dopri5",
        a: [
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [1.0 / 5.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [3.0 / 40.0, 9.0 / 40.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0, 0.0, 0.0, 0.0, 0.0],
            [19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0, 0.0, 0.0, 0.0],
            [9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0, 0.0, 0.0],
            [35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
        ],
        b: [35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0, 0.0],
        c: [0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0],
        order: 5,
    },
    // b minus (5179/57600, 0, 7571/16695, 393/640, -92097/339200, 187/2100, 1/40).
    error: [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0],
    error_order: 4,
    // The continuous extension of order 4: Hairer, Norsett & Wanner I, II.6, and their code DOPRI5.
    quartic: Some([
        -12715105075.0 / 11282082432.0,
        0.0,
        87487479700.0 / 32700410799.0,
        -10690763975.0 / 1880347072.0,
        701980252875.0 / 199316789632.0,
        -1453857185.0 / 822651844.0,
        69997945.0 / 29380423.0,
    ]),
};

pub(crate) const METHOD: Method = Method {
    name: "dopri5",
    title: "Dopri5",
    family: Family::Embedded,
    order: 5.0,
    weak_order: None,
    evaluations: 6.0,
    source: "Dormand & Prince (1980); Hairer, Norsett & Wanner I, table 5.2",
    use_when: "under step control: the usual choice from 1e-4 to 1e-8",
};
