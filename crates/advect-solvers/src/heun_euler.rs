use crate::{EmbeddedTableau, Family, HEUN, Method, Tableau};

/// Heun with Euler inside, 2(1): two evaluations a step.
///
/// Hairer, Norsett & Wanner I, II.4; torchdiffeq's `adaptive_heun`. The cheapest step that can be controlled, for
/// tolerances of a few percent and for fields that are not smooth.
pub const HEUN_EULER: EmbeddedTableau<2> = EmbeddedTableau {
    // b minus (1, 0).
    tableau: Tableau { name: "Heun-Euler", ..HEUN },
    error: [-0.5, 0.5],
    error_order: 1,
    // The cubic is of a higher order than the method.
    quartic: None,
};

pub(crate) const METHOD: Method = Method {
    name: "heun-euler",
    title: "Heun-Euler",
    family: Family::Embedded,
    order: 2.0,
    weak_order: None,
    evaluations: 2.0,
    source: "Hairer, Norsett & Wanner I, II.4",
    use_when: "under step control where the field is not smooth",
};
