use crate::adams::{History, integrate, start};
use crate::{Family, Method, SolveError, Step, Stepper, arrive};
use advect_core::{Field, State, Times};

/// The Adams-Bashforth method of `K` steps (2, 3 or 4), order `K`: one evaluation a step.
///
/// Bashforth & Adams (1883); Hairer, Norsett & Wanner I, III.1, eq. 1.5, and III.5, eq. 5.1 for steps that vary: the
/// polynomial through the last `K` slopes is integrated over the step. Its coefficients come from the times of those
/// slopes, row by row where rows have their own times, so that the order holds on any grid. The first `K - 1` steps
/// are Runge-Kutta steps of the same order, as are those after `restart`, and those where a row waited for others.
///
/// For smooth fields that are dear, with more than about ten steps. Its steps must be shorter than those of a
/// Runge-Kutta method of its order to be stable.
///
/// ```
/// use advect_solvers::{AdamsBashforth, TimeGrid, Times, solve};
///
/// let field = |x: f64, _t: &Times| -x;
/// let x = solve(&field, AdamsBashforth::<4, f64>::new(), 1.0, &TimeGrid::uniform(0.0, 1.0, 50)?)?;
/// assert!((x - (-1.0_f64).exp()).abs() < 1e-7);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
///
/// Other numbers of steps do not compile:
///
/// ```compile_fail,E0080
/// let stepper = advect_solvers::AdamsBashforth::<5, f64>::new();
/// ```
#[derive(Debug, Clone)]
pub struct AdamsBashforth<const K: usize, X> {
    history: History<K, X>,
}

impl<const K: usize, X: State> AdamsBashforth<K, X> {
    /// A stepper without history.
    #[must_use]
    pub fn new() -> Self {
        Self { history: History::new() }
    }
}

impl<const K: usize, X: State> Default for AdamsBashforth<K, X> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const K: usize, X: State, G: Field<X> + ?Sized> Stepper<G, X> for AdamsBashforth<K, X> {
    fn step(&mut self, field: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let slope = field.eval(x.clone(), from);
        self.history.push(from.clone(), slope.clone());
        let x = match self.history.full(None) {
            Some(nodes) => integrate(x, &nodes, from, to),
            None => start::<K, X, G>(field, x, slope, from, to),
        };
        arrive(x, from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHODS: [Method; 3] = [
    method("ab2", "Adams-Bashforth 2", 2.0),
    method("ab3", "Adams-Bashforth 3", 3.0),
    method("ab4", "Adams-Bashforth 4", 4.0),
];

const fn method(name: &'static str, title: &'static str, order: f64) -> Method {
    Method {
        name,
        title,
        family: Family::Multistep,
        order,
        weak_order: None,
        evaluations: 1.0,
        source: "Bashforth & Adams (1883); Hairer, Norsett & Wanner I, III.5",
        use_when: "for dear smooth fields with many steps",
    }
}
