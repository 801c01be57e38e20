/// Which way a function must cross zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Crossing {
    /// From below, in the direction of the solve.
    Rising,
    /// From above, in the direction of the solve.
    Falling,
    /// Either way.
    #[default]
    Both,
}

impl Crossing {
    /// Whether going from `before` to `after` is such a crossing. A zero is reached, not left.
    pub(crate) fn happens(self, before: f64, after: f64) -> bool {
        let rises = before < 0.0 && after >= 0.0;
        let falls = before > 0.0 && after <= 0.0;
        match self {
            Self::Rising => rises,
            Self::Falling => falls,
            Self::Both => rises || falls,
        }
    }
}

/// What an event does to the solve.
pub(crate) enum Effect<'a, X> {
    Record,
    Stop,
    Reset(Box<dyn Fn(X, f64) -> X + 'a>),
}

/// Something that happens where a function of state and time crosses zero; see [`WithEvents`](crate::WithEvents).
///
/// By itself an event is recorded in either direction and changes nothing.
///
/// ```
/// use advect_solvers::{Crossing, Event};
///
/// let upward = Event::new(|[height, _speed]: &[f64; 2], _t| *height).crossing(Crossing::Rising);
/// let landing = Event::new(|[height, _speed]: &[f64; 2], _t| *height).crossing(Crossing::Falling).terminal();
/// let bounce = Event::new(|[height, _speed]: &[f64; 2], _t| *height)
///     .crossing(Crossing::Falling)
///     .reset(|[_height, speed], _t| [0.0, -0.9 * speed]);
/// # let _ = (upward, landing, bounce);
/// ```
pub struct Event<'a, X> {
    pub(crate) function: Box<dyn Fn(&X, f64) -> f64 + 'a>,
    pub(crate) crossing: Crossing,
    pub(crate) effect: Effect<'a, X>,
}

impl<'a, X> Event<'a, X> {
    /// An event where `function(x, t)` crosses zero.
    pub fn new(function: impl Fn(&X, f64) -> f64 + 'a) -> Self {
        Self { function: Box::new(function), crossing: Crossing::Both, effect: Effect::Record }
    }

    /// Only crossings of this kind.
    #[must_use]
    pub fn crossing(mut self, crossing: Crossing) -> Self {
        self.crossing = crossing;
        self
    }

    /// Ends the motion: from there on the state stands still.
    #[must_use]
    pub fn terminal(mut self) -> Self {
        self.effect = Effect::Stop;
        self
    }

    /// Moves the state to `reset(x, t)`, from where the solve goes on.
    #[must_use]
    pub fn reset(mut self, reset: impl Fn(X, f64) -> X + 'a) -> Self {
        self.effect = Effect::Reset(Box::new(reset));
        self
    }
}

impl<X> std::fmt::Debug for Event<'_, X> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let effect = match self.effect {
            Effect::Record => "Record",
            Effect::Stop => "Stop",
            Effect::Reset(_) => "Reset",
        };
        f.debug_struct("Event").field("crossing", &self.crossing).field("effect", &effect).finish_non_exhaustive()
    }
}
