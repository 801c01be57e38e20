/// Underdamped Langevin dynamics of unit mass: dq = p dt, dp = (force(q, t) - friction p) dt + sqrt(2 friction
/// temperature) dW.
///
/// For a force that is minus the gradient of a potential U it samples exp(-(U(q) + p^2 / 2) / temperature) (Leimkuhler &
/// Matthews, *Molecular Dynamics*, 2015): with temperature 1 and the score of a density as its force, q has that
/// density. The state is the pair (q, p). A mass m per element is the change of variables q -> q sqrt(m).
#[derive(Debug, Clone)]
pub struct UnderdampedLangevin<F> {
    /// The force, a field of the position.
    pub force: F,
    /// The friction, at least 0; per unit of time.
    pub friction: f64,
    /// The temperature, at least 0: the stationary variance of p.
    pub temperature: f64,
}
