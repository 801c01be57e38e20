/// A separable Hamiltonian system: dq/dt = velocity(p, t), dp/dt = force(q, t), on pairs `(q, p)`.
///
/// Hairer, Lubich & Wanner, *Geometric Numerical Integration*, I.1.3. With H = T(p) + U(q), `velocity` is the gradient
/// of T (p over the mass) and `force` minus that of U: for Hamiltonian Monte Carlo the score. Both are a
/// [`Field`](crate::Field).
///
/// ```
/// use advect_solvers::{LEAPFROG, Separable, TimeGrid, Times, solve};
///
/// let spring = Separable { velocity: |p: f64, _t: &Times| p, force: |q: f64, _t: &Times| -q };
/// let (q, p) = solve(&spring, LEAPFROG.stepper(), (1.0, 0.0), &TimeGrid::uniform(0.0, 1.0, 100)?)?;
/// assert!((q - 1.0_f64.cos()).abs() < 1e-4 && (p + 1.0_f64.sin()).abs() < 1e-4);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Separable<V, F> {
    /// The velocity of a momentum.
    pub velocity: V,
    /// The force at a position.
    pub force: F,
}
