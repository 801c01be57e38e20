use crate::step_control::{Pace, StepControl, first_guess, second_guess};
use crate::stiffness::diagnose;
use crate::{Attempt, Embedded, PidController, SolveError, Step, Stepper};
use advect_core::{Batched, RowField, State, Times, Tolerance};

/// Step control row by row: every row has its own time and step size, and leaves the batch at its end.
///
/// The rule for one row is that of [`Adaptive`](crate::Adaptive). What a row becomes does not depend on which other
/// rows are in the batch: easy rows do not pay for hard ones, and a sample is the same whatever the batch size, as far
/// as the field sees to that (a network on a card does up to rounding). A call of `step` attempts one step of all rows that have not arrived, again until at least one was accepted. The field is
/// a [`RowField`], because conditions must follow their rows; [`unconditional`](crate::unconditional) makes one of a
/// closure. It always sees [`Times::Each`].
///
/// ```
/// use advect_solvers::{AdaptiveRows, DOPRI5, PiController, TimeGrid, Times, Tolerance, solve, unconditional};
///
/// let field = unconditional(|x: Vec<f64>, _t: &Times| x.iter().map(|x| -x * x).collect());
/// let tolerance = Tolerance::new(1e-8, 1e-8)?;
/// let mut stepper = AdaptiveRows::new(DOPRI5.stepper(), tolerance, PiController::standard());
/// let x = solve(&field, &mut stepper, vec![0.1, 10.0], &TimeGrid::uniform(0.0, 1.0, 1)?)?;
/// assert!((x[0] - 0.1 / 1.1).abs() < 1e-8 && (x[1] - 10.0 / 11.0).abs() < 1e-7);
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
#[derive(Debug, Clone)]
pub struct AdaptiveRows<S: Embedded> {
    inner: S,
    control: StepControl,
    rows: Vec<Row>,
    /// The field where each row's last step ended; row `r` counts only while `rows[r].slope_known`.
    slopes: Option<S::State>,
    accepted: u64,
    rejected: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    pace: Option<Pace>,
    slope_known: bool,
}

impl<S: Embedded> AdaptiveRows<S> {
    /// Controls the steps of every row so that its error estimate stays within `tolerance`, step by step.
    #[must_use]
    pub fn new(inner: S, tolerance: Tolerance, controller: PidController) -> Self {
        let control = StepControl::new(tolerance, controller);
        Self { inner, control, rows: Vec::new(), slopes: None, accepted: 0, rejected: 0 }
    }

    /// Starts every row with this step (without sign) instead of looking for one.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless it is finite and positive.
    pub fn first_step(mut self, step: f64) -> Result<Self, SolveError> {
        self.control.set_first_step(step)?;
        Ok(self)
    }

    /// Fails with [`SolveError::StepTooSmall`] rather than take smaller steps. Without it round-off of the time is
    /// the limit.
    ///
    /// # Errors
    /// [`SolveError::Setting`] unless it is finite and not negative.
    pub fn min_step(mut self, step: f64) -> Result<Self, SolveError> {
        self.control.set_min_step(step)?;
        Ok(self)
    }

    /// Fails with [`SolveError::TooManySteps`], or [`SolveError::Stiff`] where explicit steps are held by stability,
    /// after so many attempts of one row since the last restart; 100,000 if not set.
    #[must_use]
    pub fn max_steps(mut self, attempts: u64) -> Self {
        self.control.max_steps = attempts;
        self
    }

    /// How many steps of single rows were accepted since it was made.
    pub fn accepted(&self) -> u64 {
        self.accepted
    }

    /// How many attempts of single rows were rejected since it was made.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

impl<S: Embedded> AdaptiveRows<S>
where
    S::State: Batched,
{
    /// The first pace of each of the rows given, as [`Adaptive`](crate::Adaptive) finds it for the batch.
    fn first_paces<G: RowField<S::State>>(
        &self,
        field: &G,
        x: &S::State,
        slope: &S::State,
        from: &[f64],
        to: &[f64],
        rows: &[usize],
    ) -> Result<Vec<Pace>, SolveError> {
        let tolerance = self.control.tolerance;
        // Device reads, once a solve.
        let state_norms = x.scaled_norm_rows(x, x, tolerance);
        let slope_norms = slope.scaled_norm_rows(x, x, tolerance);
        for (i, &row) in rows.iter().enumerate() {
            if !(state_norms[i].is_finite() && slope_norms[i].is_finite()) {
                return Err(of_row(row, SolveError::NotFinite { time: from[i], step: 0.0 }));
            }
        }
        if let Some(step) = self.control.first_step {
            return Ok(vec![Pace::new(step); rows.len()]);
        }
        let span = |i: usize| to[i] - from[i];
        let guess: Vec<f64> =
            (0..rows.len()).map(|i| first_guess(state_norms[i], slope_norms[i], span(i).abs())).collect();
        let size: Vec<f64> = guess.iter().enumerate().map(|(i, guess)| guess.copysign(span(i))).collect();
        let at = Times::Each(from.iter().zip(&size).map(|(from, h)| from + h).collect());
        let euler = x.clone().combine_rows(&vec![1.0; rows.len()], &[(&size, slope)]);
        let change = field.eval(euler, &at).combine(1.0, &[(-1.0, slope)]);
        let change_norms = change.scaled_norm_rows(x, x, tolerance);
        let order = self.inner.error_order();
        let pace = |i: usize| Pace::new(second_guess(guess[i], slope_norms[i], change_norms[i], order));
        Ok((0..rows.len()).map(pace).collect())
    }
}

impl<S: Embedded, G: RowField<S::State>> Stepper<G, S::State> for AdaptiveRows<S>
where
    S::State: Batched,
{
    fn step(&mut self, field: &G, x: S::State, from: &Times, to: &Times) -> Result<Step<S::State>, SolveError> {
        let count = x.rows();
        self.rows.resize(count, Row::default());
        let active: Vec<usize> = (0..count).filter(|&r| from.at(r) != to.at(r)).collect();
        let all = active.len() == count;
        let selected = if all { None } else { Some(field.select(&active)) };
        let field = selected.as_ref().unwrap_or(field);
        let start = if all { x.clone() } else { x.gather(&active) };
        let begins: Vec<f64> = active.iter().map(|&r| from.at(r)).collect();
        let begin = Times::Each(begins.clone());
        let ends: Vec<f64> = active.iter().map(|&r| to.at(r)).collect();

        let mut slope = match &self.slopes {
            Some(slopes) if active.iter().all(|&r| self.rows[r].slope_known) => {
                if all {
                    slopes.clone()
                } else {
                    slopes.gather(&active)
                }
            }
            _ => field.eval(start.clone(), &begin),
        };
        let known: Option<Vec<Pace>> = active.iter().map(|&r| self.rows[r].pace).collect();
        let mut paces = match known {
            Some(paces) => paces,
            None => {
                let first = self.first_paces(field, &start, &slope, &begins, &ends, &active)?;
                active.iter().zip(first).map(|(&r, first)| self.rows[r].pace.unwrap_or(first)).collect()
            }
        };

        loop {
            let mut targets = Vec::with_capacity(active.len());
            for (i, pace) in paces.iter_mut().enumerate() {
                if let Err(error) = pace.start(begins[i], ends[i], &self.control) {
                    let parts = (&self.inner, &self.control, &*pace);
                    let row = (&start.gather(&[i]), slope.gather(&[i]));
                    let (from, to) = (Times::Each(vec![begins[i]]), Times::Each(vec![ends[i]]));
                    let error = diagnose(error, parts, &field.select(&[i]), row.0, row.1, (&from, &to));
                    return Err(of_row(active[i], error));
                }
                targets.push(pace.target(begins[i], ends[i], &self.control));
            }
            let aim = Times::Each(targets);
            let Attempt { x: next, error, slope: start_slope, end_slope } =
                self.inner.attempt(field, &start, slope, &begin, &aim);
            let norms = error.scaled_norm_rows(&start, &next, self.control.tolerance);
            let order = self.inner.error_order();
            let mut accepted = Vec::with_capacity(active.len());
            for (i, pace) in paces.iter_mut().enumerate() {
                let verdict = pace.judge(norms[i], (begins[i], aim.at(i), ends[i]), &self.control, order);
                if verdict.map_err(|error| of_row(active[i], error))? {
                    accepted.push(i);
                }
            }
            self.accepted += accepted.len() as u64;
            self.rejected += (active.len() - accepted.len()) as u64;
            if accepted.is_empty() && !active.is_empty() {
                slope = start_slope;
                continue;
            }

            for (&r, pace) in active.iter().zip(paces) {
                self.rows[r] = Row { pace: Some(pace), slope_known: end_slope.is_some() };
            }
            // Rejected rows keep the slope they started with, rows that do not take part what they have.
            self.slopes = end_slope.map(|end_slope| {
                let slope = replace(start_slope, &accepted, active.len(), end_slope);
                match self.slopes.take() {
                    _ if all => slope,
                    Some(slopes) => slopes.scatter(&active, slope),
                    // Nothing to keep: the state lends its shape to rows that are not read.
                    None => x.clone().scatter(&active, slope),
                }
            });
            let moved: Vec<usize> = accepted.iter().map(|&i| active[i]).collect();
            let mut at = from.to_vec(count);
            for (&r, &i) in moved.iter().zip(&accepted) {
                at[r] = aim.at(i);
            }
            let next = if accepted.len() == active.len() { next } else { next.gather(&accepted) };
            let x = if moved.len() == count { next } else { x.scatter(&moved, next) };
            return Ok(Step { x, at: Times::Each(at) });
        }
    }

    fn restart(&mut self) {
        self.rows.clear();
        self.slopes = None;
    }
}

/// `old` with the `chosen` of its rows from `new`, where both have `count` rows.
fn replace<X: Batched>(old: X, chosen: &[usize], count: usize, new: X) -> X {
    if chosen.len() == count { new } else { old.scatter(chosen, new.gather(chosen)) }
}

fn of_row(row: usize, error: SolveError) -> SolveError {
    SolveError::Row { row, source: Box::new(error) }
}
