/// An SDE stepper whose noise is a path, so that a step can be made again, whole or in halves.
///
/// For [`StepDoubling`](crate::StepDoubling): implemented for steppers over a
/// [`Refinable`](crate::Refinable) noise, such as [`BrownianPath`](crate::BrownianPath), and not over
/// [`WhiteNoise`](crate::WhiteNoise), which would hand out other numbers to the halves than to the whole.
pub trait PathDriven {
    /// The strong order on smooth problems: the difference of a whole step and two halves falls like
    /// `h^(strong order + 1/2)`.
    fn strong_order(&self) -> f64;
}

impl<S: PathDriven + ?Sized> PathDriven for &mut S {
    fn strong_order(&self) -> f64 {
        (**self).strong_order()
    }
}
