/// A stochastic differential equation dX = drift(X, t) dt + g(t) dW with a diffusion that depends on time alone.
///
/// Built by hand, or from a learned predictor by `Predictor::sde` of `advect-paths`, which refuses where the score
/// cannot be read off.
#[derive(Debug, Clone)]
pub struct Sde<F, G> {
    /// The drift, a field.
    pub drift: F,
    /// The diffusion g(t), `Fn(f64) -> f64`; units of state per square root of time.
    pub diffusion: G,
}
