//! Looking for NaN and infinities without stopping a card at every step.
use crate::{SolveError, Step};
use advect_core::{State, Times};
use std::cell::RefCell;

/// So many steps on a card go by between two looks at whether the state is finite.
const EVERY: usize = 16;

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

type Look = Box<dyn Fn() -> bool>;

/// The steps of a solve that were not looked at yet.
#[derive(Default)]
struct Watch {
    steps: usize,
    last: Option<(Look, SolveError)>,
}

/// The end of a step at `to`, if the state is finite: what a [`Stepper`](crate::Stepper) of your own should return.
///
/// A state in the processor's memory is looked at in every step: found here NaN has a time, found in the samples it has
/// none. To look at one on a card is to wait for the card, so inside of [`solve`](crate::solve) that happens every 16th
/// step and at the end, and the error names the step that was looked at, at most 16 after the one that went wrong.
///
/// # Errors
/// [`SolveError::NotFinite`].
#[inline]
pub fn arrive<X: State>(x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
    let finite = match x.finite_later() {
        None => x.all_finite(),
        Some(look) => watched(look, from, to),
    };
    if finite { Ok(Step { x, at: to.clone() }) } else { Err(not_finite(from, to)) }
}

#[cold]
pub(crate) fn not_finite(from: &Times, to: &Times) -> SolveError {
    SolveError::NotFinite { time: from.range().0, step: from.zip(to, |a, b| b - a).range().0 }
}

/// Whether the state is finite as far as has been looked.
fn watched(look: Look, from: &Times, to: &Times) -> bool {
    let now = WATCH.with_borrow_mut(|watch| match watch {
        None => Some(look),
        Some(watch) => {
            watch.steps += 1;
            if watch.steps.is_multiple_of(EVERY) {
                watch.last = None;
                Some(look)
            } else {
                watch.last = Some((look, not_finite(from, to)));
                None
            }
        }
    });
    now.is_none_or(|look| look())
}

/// While it lives, steps on a card are looked at now and then.
pub(crate) struct Patience {
    /// The watch of a solve around this one.
    outer: Option<Watch>,
}

impl Patience {
    pub(crate) fn begin() -> Self {
        Self { outer: WATCH.replace(Some(Watch::default())) }
    }

    /// Looks at what was left.
    pub(crate) fn end(self) -> Result<(), SolveError> {
        match WATCH.take().and_then(|watch| watch.last) {
            Some((look, error)) if !look() => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Patience {
    fn drop(&mut self) {
        WATCH.set(self.outer.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EULER, solve};
    use advect_core::{TimeGrid, Tolerance};
    use std::cell::Cell;

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    /// A number that lives far away.
    #[derive(Clone)]
    struct Far(f64);

    impl State for Far {
        fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
            Self(terms.iter().fold(scale * self.0, |sum, (c, d)| sum + c * d.0))
        }

        fn scaled_norm(&self, _: &Self, _: &Self, tolerance: Tolerance) -> f64 {
            self.0 / tolerance.atol()
        }

        fn all_finite(&self) -> bool {
            LOOKS.set(LOOKS.get() + 1);
            self.0.is_finite()
        }

        fn finite_later(&self) -> Option<Box<dyn Fn() -> bool>> {
            let x = self.clone();
            Some(Box::new(move || x.all_finite()))
        }
    }

    fn run(steps: usize, breaks_at: Option<f64>) -> (Result<f64, SolveError>, usize) {
        LOOKS.set(0);
        let field = move |x: Far, t: &Times| match breaks_at {
            Some(at) if t.range().0 >= at => Far(f64::NAN),
            _ => x,
        };
        let grid = TimeGrid::uniform(0.0, steps as f64, steps).unwrap();
        (solve(&field, EULER.stepper(), Far(0.0), &grid).map(|x| x.0), LOOKS.get())
    }

    #[test]
    fn far_states_are_looked_at_every_sixteenth_step_and_at_the_end() {
        assert!(matches!(run(16, None), (Ok(_), 1)));
        assert!(matches!(run(50, None), (Ok(_), 4)));
        assert!(matches!(run(1, None), (Ok(_), 1)));
    }

    #[test]
    fn what_is_not_finite_is_found_within_sixteen_steps_and_never_given_back() {
        // Steps are counted from one: the sixteenth begins at 15.
        assert!(matches!(run(50, Some(3.0)), (Err(SolveError::NotFinite { time: 15.0, .. }), 1)));
        assert!(matches!(run(50, Some(49.0)), (Err(SolveError::NotFinite { time: 49.0, .. }), 4)));
        assert!(matches!(run(10, Some(3.0)), (Err(SolveError::NotFinite { time: 9.0, .. }), 1)));
    }

    #[test]
    fn steps_by_hand_and_solves_inside_of_fields_are_looked_at() {
        LOOKS.set(0);
        let (from, to) = (Times::Shared(0.0), Times::Shared(1.0));
        assert!(arrive(Far(f64::NAN), &from, &to).is_err());
        assert_eq!(LOOKS.get(), 1);
        let grid = TimeGrid::uniform(0.0, 1.0, 3).unwrap();
        let inner = |x: Far, _: &Times| x;
        let outer = |x: Far, _: &Times| {
            let inside = TimeGrid::uniform(0.0, 1.0, 2).unwrap();
            solve(&inner, EULER.stepper(), x, &inside).unwrap()
        };
        LOOKS.set(0);
        assert!(solve(&outer, EULER.stepper(), Far(1.0), &grid).is_ok());
        // Each of three solves inside at its end, and the one outside.
        assert_eq!(LOOKS.get(), 4);
        assert!(WATCH.with_borrow(Option::is_none));
    }
}
