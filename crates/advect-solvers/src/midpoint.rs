use crate::Tableau;

/// The explicit midpoint rule, order 2: two evaluations a step.
///
/// Runge (1895); Hairer, Norsett & Wanner I, II.1, eq. 1.4.
pub const MIDPOINT: Tableau<2> =
    Tableau { name: "midpoint", a: [[0.0, 0.0], [0.5, 0.0]], b: [0.0, 1.0], c: [0.0, 0.5], order: 2 };
