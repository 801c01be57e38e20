/// An Ito stochastic differential equation dX = drift(X, t) dt + diffusion(X, t) dW with diagonal noise.
///
/// Element i of the state is driven by its own Brownian motion, with element i of the diffusion, which may depend on
/// element i of the state and on time **alone** (Kloeden & Platen, 10.3): then no Levy areas between different
/// motions are needed. Geometric Brownian motion, square-root and logistic noise are of this kind; a diffusion that
/// mixes elements is not, and the methods would have order 1/2.
///
/// Read in the sense of Ito: the diffusion is taken where a step begins, in the direction of the solve. For the other
/// reading take [`StratonovichSde`](crate::StratonovichSde), which other steppers understand: a reading cannot be
/// mistaken for the other.
#[derive(Debug, Clone)]
pub struct DiagonalSde<F, G> {
    /// The drift, a field.
    pub drift: F,
    /// The diffusion, a field: element i depends on element i of the state and on time.
    pub diffusion: G,
}
