use crate::{Coordinates, DiffusionError};
use advect_core::State;
use advect_paths::Schedule;

/// Adds the noise that lies between two times of a path: the forward process, from `from` down to `to`.
///
/// `x' = (alpha'/alpha) x + sqrt(sigma'^2 - (alpha'/alpha)^2 sigma^2) z`, which takes samples of p_from to samples of
/// p_to (Song et al., 2021, "Score-Based Generative Modeling through SDEs", section 3.1). From t = 1 it noises data:
/// the start of image-to-image sampling (Meng et al., 2022, "SDEdit"), which then runs the part of a grid from `to`
/// on.
///
/// # Shapes
/// - `x`, `noise` (standard normal): equal
///
/// # Errors
/// [`DiffusionError::Path`] unless both times lie in [0, 1]; [`DiffusionError::Setting`] if `to` is after `from`.
///
/// ```
/// use advect_diffusion::renoise;
/// use advect_paths::Linear;
/// // Halfway between data 4 and noise -1.
/// assert_eq!(renoise(&Linear, 4.0, &-1.0, 1.0, 0.5)?, 1.5);
/// # Ok::<(), advect_diffusion::DiffusionError>(())
/// ```
pub fn renoise<X: State, S: Schedule + ?Sized>(
    schedule: &S,
    x: X,
    noise: &X,
    from: f64,
    to: f64,
) -> Result<X, DiffusionError> {
    for t in [from, to] {
        if !(0.0..=1.0).contains(&t) {
            return Err(advect_paths::PathError::Time { t }.into());
        }
    }
    crate::error::check(to <= from, "to", to, "noise is added toward t = 0: it must not be after the time of x")?;
    if from == to {
        return Ok(x);
    }
    let (on_x, on_noise) = amount(&Coordinates::at(schedule, from), &Coordinates::at(schedule, to));
    Ok(x.combine(on_x, &[(on_noise, noise)]))
}

/// The coefficients on x and on noise from less to more noise.
pub(crate) fn amount(from: &Coordinates, to: &Coordinates) -> (f64, f64) {
    // From noise alone there is nothing to keep.
    if from.alpha == 0.0 {
        return (1.0, 0.0);
    }
    let on_x = to.alpha / from.alpha;
    let kept = on_x * from.sigma;
    (on_x, ((to.sigma - kept) * (to.sigma + kept)).max(0.0).sqrt())
}
