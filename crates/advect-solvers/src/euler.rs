use crate::{Family, Method, Tableau};

/// Euler's method, order 1 (Euler, *Institutiones calculi integralis*, 1768): one evaluation a step.
pub const EULER: Tableau<1> = Tableau { name: "Euler", a: [[0.0]], b: [1.0], c: [0.0], order: 1 };

pub(crate) const METHOD: Method = Method {
    name: "euler",
    title: "Euler",
    family: Family::Fixed,
    order: 1.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Euler (1768)",
    use_when: "for straight paths, and to compare with papers",
};
