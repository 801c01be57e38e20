use crate::{Family, Method, Tableau};

/// The strong-stability-preserving method of Shu and Osher, order 3: three evaluations a step.
///
/// Shu & Osher, *Efficient implementation of essentially non-oscillatory shock-capturing schemes*, J. Comp. Phys. 77
/// (1988), eq. 2.18. A convex combination of Euler steps: what every Euler step of this size keeps (a sign, a
/// bound, a monotone norm), it keeps.
pub const SSP_RK3: Tableau<3> = Tableau {
    name: "SSP-RK3",
    a: [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [1.0 / 4.0, 1.0 / 4.0, 0.0]],
    b: [1.0 / 6.0, 1.0 / 6.0, 2.0 / 3.0],
    c: [0.0, 1.0, 1.0 / 2.0],
    order: 3,
};

pub(crate) const METHOD: Method = Method {
    name: "ssp-rk3",
    title: "SSP-RK3",
    family: Family::Fixed,
    order: 3.0,
    weak_order: None,
    evaluations: 3.0,
    source: "Shu & Osher (1988), eq. 2.18",
    use_when: "where states must keep a sign or a bound that Euler's steps keep",
};
