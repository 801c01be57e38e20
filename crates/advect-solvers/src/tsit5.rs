use crate::{EmbeddedTableau, Family, Method, Tableau};

/// Tsitouras 5(4), order 5 with an embedded solution of order 4: six evaluations a step.
///
/// Tsitouras, *Runge-Kutta pairs of order 5(4) satisfying only the first column simplifying assumption*, Computers &
/// Mathematics with Applications 62 (2011), table 1. As a rule a little more accurate than [`DOPRI5`](crate::DOPRI5)
/// for the same work; the default of diffrax and of Julia's `OrdinaryDiffEq`.
pub const TSIT5: EmbeddedTableau<7> = EmbeddedTableau {
    tableau: Tableau {
        name: "Tsit5",
        a: [
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.161, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [-0.008480655492356989, 0.335480655492357, 0.0, 0.0, 0.0, 0.0, 0.0],
            [2.8971530571054935, -6.359448489975075, 4.3622954328695815, 0.0, 0.0, 0.0, 0.0],
            [5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525, 0.0, 0.0, 0.0],
            [
                5.86145544294642,
                -12.92096931784711,
                8.159367898576159,
                -0.071584973281401,
                -0.028269050394068383,
                0.0,
                0.0,
            ],
            [
                0.09646076681806523,
                0.01,
                0.4798896504144996,
                1.379008574103742,
                -3.290069515436081,
                2.324710524099774,
                0.0,
            ],
        ],
        b: [
            0.09646076681806523,
            0.01,
            0.4798896504144996,
            1.379008574103742,
            -3.290069515436081,
            2.324710524099774,
            0.0,
        ],
        c: [0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0, 1.0],
        order: 5,
    },
    error: [
        0.001780011052225777,
        0.0008164344596567469,
        -0.007880878010261995,
        0.1447110071732629,
        -0.5823571654525552,
        0.45808210592918697,
        -1.0 / 66.0,
    ],
    error_order: 4,
    // The leading coefficients of the interpolant published with the method.
    quartic: Some([
        -1.0530884977290216,
        0.1017,
        2.490627285651253,
        -16.548102889244902,
        47.37952196281928,
        -34.87065786149661,
        2.5,
    ]),
};

pub(crate) const METHOD: Method = Method {
    name: "tsit5",
    title: "Tsit5",
    family: Family::Embedded,
    order: 5.0,
    weak_order: None,
    evaluations: 6.0,
    source: "Tsitouras (2011), table 1",
    use_when: "as Dopri5, and a little more accurate as a rule",
};
