use crate::event::Effect;
use crate::interpolant::shared_time;
use crate::root::root;
use crate::{DenseStep, DenseStepper, Event, Interpolant, SolveError, Step, Stepper, Way};
use advect_core::{Field, State, Times};

/// A stepper that watches for events: finds where they happen on the interpolant of each step, records them, and ends
/// the step at those that stop or move the state.
///
/// Hairer, Norsett & Wanner I, II.6 (dense output for event location). After each step the functions of all events
/// are asked; a change of sign is narrowed down to round-off of the time by a bracketing method (ITP). Where a step
/// is cut short the inner stepper is restarted. After a terminal event the state stands still up to the end of the
/// grid: the solve gives the stopped process, and [`WithEvents::stopped`] says when.
///
/// - A zero where the solve starts, or where an event has just happened, is not an event; it must be left first.
///   What happens within a billionth of the step after it is not seen.
/// - Two crossings of one function within one step look like none, unless the step is looked into
///   ([`WithEvents::looks`]).
/// - Cost: one call of each function a step. The interpolant is asked only where something crosses.
///
/// The state at an event is as exact as the interpolant: tighten the tolerance where the event matters more than the
/// end.
///
/// ```
/// use advect_solvers::{Adaptive, Crossing, DOPRI5, Event, PiController, TimeGrid, Tolerance, WithEvents};
/// use advect_solvers::{shared, solve};
///
/// // A ball is dropped from a height of 5 and bounces with half its speed.
/// let fall = shared(|[_height, speed]: [f64; 2], _t: f64| [speed, -10.0]);
/// let bounce = Event::new(|[height, _speed]: &[f64; 2], _t| *height)
///     .crossing(Crossing::Falling)
///     .reset(|[_height, speed], _t| [0.0, -0.5 * speed]);
/// let tolerance = Tolerance::new(1e-9, 1e-9)?;
/// let inner = Adaptive::new(DOPRI5.stepper(), tolerance, PiController::standard());
/// let mut stepper = WithEvents::new(inner, vec![bounce]);
/// let end = solve(&fall, &mut stepper, [5.0, 0.0], &TimeGrid::uniform(0.0, 2.25, 1)?)?;
/// let times: Vec<f64> = stepper.occurrences().iter().map(|event| event.time).collect();
/// assert!((times[0] - 1.0).abs() < 1e-9 && (times[1] - 2.0).abs() < 1e-9);
/// assert!((end[0] - 0.3125).abs() < 1e-8);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug)]
pub struct WithEvents<'a, S, X> {
    inner: S,
    events: Vec<Event<'a, X>>,
    looks: usize,
    /// The functions where the last step ended; empty if that is not known.
    values: Vec<f64>,
    /// Which events stand at a zero that does not count.
    spent: Vec<bool>,
    stopped: Option<f64>,
    occurrences: Vec<Occurrence<X>>,
}

/// An event that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Occurrence<X> {
    /// Which one: its index.
    pub event: usize,
    /// When.
    pub time: f64,
    /// The state there, before it was moved.
    pub x: X,
}

/// A zero found in a step: after which part of it, and of which event.
type Hit = (f64, usize);

/// How long a zero that does not count is waited out, as a part of the step.
const BLIND: f64 = 1e-9;

impl<'a, S, X> WithEvents<'a, S, X> {
    /// Watches for `events` on the way of `inner`.
    pub fn new(inner: S, events: Vec<Event<'a, X>>) -> Self {
        let (values, spent, occurrences) = (Vec::new(), Vec::new(), Vec::new());
        Self { inner, events, looks: 1, values, spent, stopped: None, occurrences }
    }

    /// Asks the functions at so many equal parts of each step, so that two crossings in one step are seen. One (the
    /// end of the step) if not set; zero counts as one.
    #[must_use]
    pub fn looks(mut self, looks: usize) -> Self {
        self.looks = looks.max(1);
        self
    }

    /// What happened, in the order of the solve, since it was made or emptied.
    pub fn occurrences(&self) -> &[Occurrence<X>] {
        &self.occurrences
    }

    /// Takes what happened and leaves nothing.
    pub fn take_occurrences(&mut self) -> Vec<Occurrence<X>> {
        std::mem::take(&mut self.occurrences)
    }

    /// When a terminal event ended the motion of the present solve.
    pub fn stopped(&self) -> Option<f64> {
        self.stopped
    }

    /// The stepper inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The function of one event.
    fn value(&self, event: usize, x: &X, time: f64) -> Result<f64, SolveError> {
        let value = (self.events[event].function)(x, time);
        if value.is_nan() { Err(SolveError::EventFunction { event, time }) } else { Ok(value) }
    }

    /// Where the next step begins.
    fn leave(&mut self, values: Vec<f64>) {
        self.spent = values.iter().map(|&value| value == 0.0).collect();
        self.values = values;
    }

    fn all_values(&self, x: &X, time: f64) -> Result<Vec<f64>, SolveError> {
        (0..self.events.len()).map(|event| self.value(event, x, time)).collect()
    }
}

impl<S, X: State> WithEvents<'_, S, X> {
    /// Whether the states between the ends of a step are needed to tell what happened.
    fn looks_inside(&self, end_values: &[f64]) -> bool {
        let crosses = |event: usize| {
            self.spent[event] || self.events[event].crossing.happens(self.values[event], end_values[event])
        };
        self.looks > 1 || (0..self.events.len()).any(crosses)
    }

    /// Adds where event `event` happens in a step from `from` to `to`, at whose end it has a known value.
    fn find(
        &self,
        event: usize,
        (from, to): (f64, f64),
        end_value: f64,
        way: &Interpolant<X>,
        hits: &mut Vec<Hit>,
    ) -> Result<(), SolveError> {
        let crossing = self.events[event].crossing;
        let at = |part: f64| {
            let time = time_after(part, from, to);
            self.value(event, &way.at(time), time)
        };
        // Round-off of the time, as a part of the step.
        let tolerance = f64::EPSILON * (1.0 + from.abs().max(to.abs()) / (to - from).abs());
        let mut low = (0.0, self.values[event]);
        if self.spent[event] {
            let part = BLIND.max(64.0 * tolerance).min(0.5);
            low = (part, at(part)?);
        }
        for look in 1..=self.looks {
            let part = look as f64 / self.looks as f64;
            if part <= low.0 {
                continue;
            }
            let high = (part, if look == self.looks { end_value } else { at(part)? });
            if crossing.happens(low.1, high.1) {
                hits.push((root(at, low, high, tolerance)?, event));
            }
            low = high;
        }
        Ok(())
    }
}

/// The time after a part of a step: its end bit for bit, and never its start.
fn time_after(part: f64, from: f64, to: f64) -> f64 {
    let time = from + part * (to - from);
    if part == 1.0 {
        to
    } else if time != from {
        time
    } else if to > from {
        from.next_up()
    } else {
        from.next_down()
    }
}

impl<S: DenseStepper<G, X>, G: Field<X> + ?Sized, X: State> DenseStepper<G, X> for WithEvents<'_, S, X> {
    fn dense_step(&mut self, field: &G, x: X, from: f64, to: f64) -> Result<DenseStep<X>, SolveError> {
        if self.stopped.is_some() {
            let way = Way::Known(Interpolant::constant(from, to, x.clone()));
            return Ok(DenseStep { x, at: to, way });
        }
        if self.values.len() != self.events.len() {
            let values = self.all_values(&x, from)?;
            self.leave(values);
        }
        let start = x.clone();
        let DenseStep { x: end, at: to, way } = self.inner.dense_step(field, x, from, to)?;
        let end_values = self.all_values(&end, to)?;
        if !self.looks_inside(&end_values) {
            self.leave(end_values);
            return Ok(DenseStep { x: end, at: to, way });
        }

        let way = way.interpolant(field, (from, start), (to, end.clone()));
        let mut hits = Vec::new();
        for (event, &end_value) in end_values.iter().enumerate() {
            self.find(event, (from, to), end_value, &way, &mut hits)?;
        }
        hits.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let ends = |hit: &&Hit| !matches!(self.events[hit.1].effect, Effect::Record);
        let cut = hits.iter().find(ends).map(|hit| hit.0);
        hits.retain(|hit| cut.is_none_or(|cut| hit.0 <= cut));
        for &(part, event) in &hits {
            let time = time_after(part, from, to);
            self.occurrences.push(Occurrence { event, time, x: way.at(time) });
        }
        let Some(cut) = cut else {
            self.leave(end_values);
            return Ok(DenseStep { x: end, at: to, way: Way::Known(way) });
        };

        let time = time_after(cut, from, to);
        let mut x = way.at(time);
        hits.retain(|hit| hit.0 == cut);
        for &(_, event) in &hits {
            match &self.events[event].effect {
                Effect::Record => {}
                Effect::Stop => self.stopped = Some(time),
                Effect::Reset(reset) => x = reset(x, time),
            }
        }
        // What it remembers belongs to the end of a step that is not taken.
        self.inner.restart();
        let values = self.all_values(&x, time)?;
        self.leave(values);
        for &(_, event) in &hits {
            self.spent[event] = true;
        }
        Ok(DenseStep { x, at: time, way: Way::Known(way.cut(time)) })
    }
}

impl<S: DenseStepper<G, X>, G: Field<X> + ?Sized, X: State> Stepper<G, X> for WithEvents<'_, S, X> {
    fn step(&mut self, field: &G, x: X, from: &Times, to: &Times) -> Result<Step<X>, SolveError> {
        let DenseStep { x, at, .. } = self.dense_step(field, x, shared_time(from)?, shared_time(to)?)?;
        Ok(Step { x, at: Times::Shared(at) })
    }

    fn restart(&mut self) {
        self.inner.restart();
        self.values.clear();
        self.spent.clear();
        self.stopped = None;
    }
}
