use advect_core::{State, Tolerance};
use burn::tensor::Tensor;

/// What the continuous adjoint moves: the state, the gradient of the loss with respect to it, and that with respect
/// to the parameters.
///
/// Step control sees the first two: the third is an integral on which nothing depends.
#[derive(Debug, Clone)]
pub struct AdjointState<const D: usize> {
    pub(crate) x: Tensor<D>,
    pub(crate) gradient: Tensor<D>,
    pub(crate) parameters: Vec<Tensor<1>>,
}

impl<const D: usize> State for AdjointState<D> {
    fn combine(self, scale: f64, terms: &[(f64, &Self)]) -> Self {
        let pick = |part: fn(&Self) -> &Tensor<D>| terms.iter().map(|(c, d)| (*c, part(d))).collect::<Vec<_>>();
        let x = self.x.combine(scale, &pick(|state| &state.x));
        let gradient = self.gradient.combine(scale, &pick(|state| &state.gradient));
        let parameter = |(i, parameter): (usize, Tensor<1>)| {
            let terms: Vec<_> = terms.iter().map(|(c, d)| (*c, &d.parameters[i])).collect();
            parameter.combine(scale, &terms)
        };
        Self { x, gradient, parameters: self.parameters.into_iter().enumerate().map(parameter).collect() }
    }

    fn scaled_norm(&self, before: &Self, after: &Self, tolerance: Tolerance) -> f64 {
        let x = self.x.scaled_norm(&before.x, &after.x, tolerance);
        let gradient = self.gradient.scaled_norm(&before.gradient, &after.gradient, tolerance);
        // `f64::max` forgets NaN; an error estimate must not.
        if x.is_nan() || gradient.is_nan() { f64::NAN } else { x.max(gradient) }
    }

    fn all_finite(&self) -> bool {
        self.x.all_finite() && self.gradient.all_finite() && self.parameters.iter().all(State::all_finite)
    }
}
