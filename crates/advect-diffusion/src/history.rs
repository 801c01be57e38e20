use crate::Coordinates;
use crate::weights::{MOST, adams};

/// How many predictions a multistep method combines: its order, once it has run so many steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Order {
    /// The prediction at the start of the step.
    One,
    /// And the one before.
    Two,
    /// And the two before.
    Three,
    /// And the three before.
    Four,
}

impl Order {
    /// The order as a number.
    #[must_use]
    pub fn get(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
            Self::Four => 4,
        }
    }
}

/// The last predictions and where they were made, newest first.
#[derive(Debug, Clone)]
pub(crate) struct History<X> {
    entries: Vec<(f64, X)>,
}

impl<X> Default for History<X> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<X> History<X> {
    /// Adds the newest and forgets what is older than `order`.
    pub(crate) fn push(&mut self, place: f64, prediction: X, order: Order) {
        self.entries.insert(0, (place, prediction));
        self.entries.truncate(order.get());
    }

    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    /// The newest first; only those at finite places: the prediction at noise alone has no lambda.
    pub(crate) fn finite(&self) -> &[(f64, X)] {
        let count = self.entries.iter().take_while(|(place, _)| place.is_finite()).count();
        &self.entries[..count]
    }

    /// The newest alone, as a term of a linear combination.
    pub(crate) fn newest(&self, factor: f64) -> Vec<(f64, &X)> {
        self.entries.first().map(|(_, x)| (factor, x)).into_iter().collect()
    }

    /// The terms of an exponential step: the polynomial through the predictions, or the newest alone with the factor of
    /// the first-order step where an end has no lambda.
    pub(crate) fn exponential(
        &self,
        start: &Coordinates,
        end: &Coordinates,
        first_order: f64,
        rate: f64,
        scale: f64,
    ) -> Vec<(f64, &X)> {
        if start.is_inside() && end.is_inside() {
            self.integral(start.lambda, end.lambda, rate, scale)
        } else {
            self.newest(first_order)
        }
    }

    /// `scale` times the integral of `e^(rate (l - to))` times the polynomial through the predictions, as terms.
    pub(crate) fn integral(&self, from: f64, to: f64, rate: f64, scale: f64) -> Vec<(f64, &X)> {
        integral(self.finite(), from, to, rate, scale)
    }
}

/// See [`History::integral`], through the given predictions.
pub(crate) fn integral<X>(entries: &[(f64, X)], from: f64, to: f64, rate: f64, scale: f64) -> Vec<(f64, &X)> {
    let mut nodes = [0.0; MOST];
    for (node, (place, _)) in nodes.iter_mut().zip(entries) {
        *node = *place;
    }
    let weights = adams(&nodes[..entries.len().min(MOST)], from, to, rate);
    entries.iter().zip(weights).map(|((_, x), weight)| (scale * weight, x)).collect()
}
