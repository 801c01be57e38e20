use crate::{Composition, Family, Method};

/// The leapfrog (velocity Verlet, Stormer's method), order 2, symplectic: one evaluation of the force a step.
///
/// Verlet (1967); Hairer, Lubich & Wanner, *Geometric Numerical Integration*, I.1.4, eq. 1.17. The energy errs by
/// O(h^2) for a very long time instead of drifting. The integrator of Hamiltonian Monte Carlo.
pub const LEAPFROG: Composition<1> = Composition { name: "leapfrog", parts: [1.0], order: 2 };

pub(crate) const METHOD: Method = Method {
    name: "leapfrog",
    title: "leapfrog",
    family: Family::Symplectic,
    order: 2.0,
    weak_order: None,
    evaluations: 1.0,
    source: "Verlet (1967); Hairer, Lubich & Wanner, I.1.4",
    use_when: "for Hamiltonian systems over a long time",
};
