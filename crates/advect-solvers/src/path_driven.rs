/// An SDE stepper whose noise is a path, so that a step can be made again, whole or in halves.
///
/// A marker for [`StepDoubling`](crate::StepDoubling): implemented for steppers over a
/// [`Refinable`](crate::Refinable) noise, such as [`BrownianPath`](crate::BrownianPath), and not over
/// [`WhiteNoise`](crate::WhiteNoise), which would hand out other numbers to the halves than to the whole.
pub trait PathDriven {}

impl<S: PathDriven + ?Sized> PathDriven for &mut S {}
