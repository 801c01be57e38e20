use crate::{Family, Method, Tableau};

/// The explicit midpoint rule, order 2: two evaluations a step.
///
/// Runge (1895); Hairer, Norsett & Wanner I, II.1, eq. 1.4.
pub const MIDPOINT: Tableau<2> =
    Tableau { name: "midpoint", a: [[0.0, 0.0], [0.5, 0.0]], b: [0.0, 1.0], c: [0.0, 0.5], order: 2 };

pub(crate) const METHOD: Method = Method {
    name: "midpoint",
    title: "midpoint",
    family: Family::Fixed,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Runge (1895)",
    use_when: "with few evaluations, where the field is wild at the end of time: it never looks there",
};
