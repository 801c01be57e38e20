/// A semi-linear SDE dX = (a(t) X + drift(X, t)) dt + g(t) dW, given by the antiderivative of the rate a.
///
/// `growth(t)` is A(t) with A' = a, up to a constant: the linear part alone takes X(s) to exp(A(t) - A(s)) X(s). For
/// the Ornstein-Uhlenbeck process A(t) = -theta t, for the linear part of a diffusion model A(t) = ln alpha(t).
#[derive(Debug, Clone)]
pub struct SemilinearSde<A, F, G> {
    /// The antiderivative A(t) of the linear rate, `Fn(f64) -> f64`.
    pub growth: A,
    /// What of the drift is not linear, a field.
    pub drift: F,
    /// The diffusion g(t), `Fn(f64) -> f64`; units of state per square root of time.
    pub diffusion: G,
}
