use crate::adams::{History, integrate, start};
use crate::{Family, Method, SolveError, Step, Stepper, arrive};
use advect_core::{Field, State, Times};

/// The predictor-corrector method of Adams-Bashforth and Adams-Moulton, order `K` (2, 3 or 4): two evaluations a step.
///
/// Moulton (1926); Hairer, Norsett & Wanner I, III.1, eq. 1.9, as PECE: predict by
/// [`AdamsBashforth`](crate::AdamsBashforth) of order `K`, evaluate, correct by the implicit formula of order `K`
/// (which takes the new slope in place of the oldest), evaluate. Coefficients, first steps and waiting rows as there.
///
/// Next to Adams-Bashforth the error is about ten times smaller and longer steps are stable.
///
/// ```
/// use advect_solvers::{AdamsBashforthMoulton, TimeGrid, Times, solve};
///
/// let field = |x: f64, _t: &Times| -x;
/// let x = solve(&field, AdamsBashforthMoulton::<4, f64>::new(), 1.0, &TimeGrid::uniform(0.0, 1.0, 50)?)?;
/// assert!((x - (-1.0_f64).exp()).abs() < 1e-8);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdamsBashforthMoulton<const K: usize, X> {
    history: History<K, X>,
}

impl<const K: usize, X: State> AdamsBashforthMoulton<K, X> {
    /// A stepper without history.
    #[must_use]
    pub fn new() -> Self {
        Self { history: History::new() }
    }
}

impl<const K: usize, X: State> Default for AdamsBashforthMoulton<K, X> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const K: usize, X: State, G: Field<X> + ?Sized> Stepper<G, X> for AdamsBashforthMoulton<K, X> {
    fn step(&mut self, field: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        // The last evaluation of PECE is made here, by the step that needs it.
        let slope = field.eval(x.clone(), from);
        self.history.push(from.clone(), slope.clone());
        let x = match self.history.full(Some(to)) {
            Some(mut nodes) => {
                let predicted = integrate(x.clone(), &nodes, from, to);
                let slope = field.eval(predicted, to);
                nodes[K - 1] = (to, &slope);
                integrate(x, &nodes, from, to)
            }
            None => start::<K, X, G>(field, x, slope, from, to),
        };
        arrive(x, from, to)
    }

    fn restart(&mut self) {
        self.history.clear();
    }
}

pub(crate) const METHODS: [Method; 3] = [
    method("abm2", "Adams-Bashforth-Moulton 2", 2.0),
    method("abm3", "Adams-Bashforth-Moulton 3", 3.0),
    method("abm4", "Adams-Bashforth-Moulton 4", 4.0),
];

const fn method(name: &'static str, title: &'static str, order: f64) -> Method {
    Method {
        name,
        title,
        family: Family::Multistep,
        order,
        weak_order: None,
        evaluations: 2.0,
        source: "Moulton (1926); Hairer, Norsett & Wanner I, III.1",
        use_when: "as Adams-Bashforth, where its steps would have to be too short",
    }
}
