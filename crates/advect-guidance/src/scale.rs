/// The same guidance weight at all times. 1 is the strong field alone, 0 the weak one.
pub fn constant(weight: f64) -> impl Fn(f64) -> f64 + Clone {
    move |_| weight
}

/// The guidance weight `weight` at times in `[from, to]`, and 1 (the strong field alone) elsewhere.
///
/// Kynkäänniemi et al., 2024, "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in
/// Diffusion Models". Steps outside the interval cost one evaluation.
pub fn interval(weight: f64, from: f64, to: f64) -> impl Fn(f64) -> f64 + Clone {
    move |t| if (from..=to).contains(&t) { weight } else { 1.0 }
}
