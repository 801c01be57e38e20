/// A Stratonovich stochastic differential equation dX = drift(X, t) dt + diffusion(X, t) o dW with diagonal noise.
///
/// What [`DiagonalSde`](crate::DiagonalSde) is in the sense of Ito. The same process in the other reading has the drift
/// `ito = stratonovich + 1/2 diffusion d(diffusion)/dx`, element by element (Kloeden & Platen, 4.9). Additive noise
/// has one reading: an [`Sde`](crate::Sde) serves both kinds of steppers.
#[derive(Debug, Clone)]
pub struct StratonovichSde<F, G> {
    /// The drift, a field.
    pub drift: F,
    /// The diffusion, a field: element i depends on element i of the state and on time.
    pub diffusion: G,
}
