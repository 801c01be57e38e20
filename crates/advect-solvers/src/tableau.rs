use crate::RungeKutta;

/// An explicit Runge-Kutta method of `S` stages as data: its Butcher tableau.
///
/// Stage `i` is `k_i = f(x + h sum_j a_ij k_j, t + c_i h)`, the step `x + h sum_i b_i k_i` (Hairer, Norsett & Wanner,
/// *Solving Ordinary Differential Equations I*, II.1, eq. 1.8).
///
/// A method of your own is a constant of this type:
///
/// ```
/// use advect_solvers::{Tableau, TimeGrid, Times, solve};
///
/// /// Ralston (1962): the second-order method of least error bound.
/// const RALSTON: Tableau<2> = Tableau {
///     name: "Ralston",
///     a: [[0.0, 0.0], [2.0 / 3.0, 0.0]],
///     b: [1.0 / 4.0, 3.0 / 4.0],
///     c: [0.0, 2.0 / 3.0],
///     order: 2,
/// };
/// let field = |x: f64, _t: &Times| -x;
/// let x = solve(&field, RALSTON.stepper(), 1.0, &TimeGrid::uniform(0.0, 1.0, 100)?)?;
/// assert!((x - (-1.0_f64).exp()).abs() < 1e-5);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tableau<const S: usize> {
    /// The name of the method.
    pub name: &'static str,
    /// Stage weights. The method is explicit: entries on and above the diagonal are not read.
    pub a: [[f64; S]; S],
    /// Weights of the step.
    pub b: [f64; S],
    /// Stage times, as a part of the step. `c_0` is 0.
    pub c: [f64; S],
    /// The order of the step.
    pub order: u32,
}

impl<const S: usize> Tableau<S> {
    /// A stepper of fixed steps: from each grid point to the next.
    #[must_use]
    pub fn stepper<X>(self) -> RungeKutta<S, X> {
        RungeKutta::new(self)
    }

    /// How many stages a step evaluates: trailing stages without weight are left out.
    #[must_use]
    pub fn evaluations(&self) -> usize {
        self.b.iter().rposition(|&b| b != 0.0).map_or(0, |last| last + 1)
    }
}
