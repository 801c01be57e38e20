use crate::{EmbeddedRungeKutta, Tableau};

/// A Runge-Kutta method with a second solution of lower order in the same stages, whose difference estimates the error.
///
/// Hairer, Norsett & Wanner I, II.4. A type of its own, so that step control over a method without an error
/// estimate does not compile.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbeddedTableau<const S: usize> {
    /// The method that advances the state (local extrapolation).
    pub tableau: Tableau<S>,
    /// Weights of the error estimate: `b` minus the weights of the embedded solution.
    pub error: [f64; S],
    /// The order of the embedded solution.
    pub error_order: u32,
    /// Weights `d_i` of the term `s^2 (1-s)^2 h sum d_i k_i` that turns the cubic Hermite interpolant into the method's
    /// own: the coefficients of `s^4` in its `b_i(s)`. None where the cubic is as good.
    pub quartic: Option<[f64; S]>,
}

impl<const S: usize> EmbeddedTableau<S> {
    /// A stepper: of fixed steps by itself, of controlled steps inside [`Adaptive`](crate::Adaptive) or
    /// [`AdaptiveRows`](crate::AdaptiveRows).
    #[must_use]
    pub fn stepper<X>(self) -> EmbeddedRungeKutta<S, X> {
        EmbeddedRungeKutta::new(self)
    }

    /// The embedded solution as a method of its own.
    #[must_use]
    pub fn embedded(&self) -> Tableau<S> {
        let b = std::array::from_fn(|i| self.tableau.b[i] - self.error[i]);
        Tableau { b, order: self.error_order, ..self.tableau }
    }

    /// First same as last: the last stage stands at the end of the step, so its slope serves the next step.
    ///
    /// Read off the coefficients, so that the two cannot disagree.
    #[must_use]
    pub fn first_same_as_last(&self) -> bool {
        let Tableau { a, b, c, .. } = &self.tableau;
        matches!((a.last(), b.last(), c.last()), (Some(a), Some(b), Some(c)) if a == &self.tableau.b && *b == 0.0 && *c == 1.0)
    }
}
