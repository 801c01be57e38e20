use crate::adjoint_state::AdjointState;
use crate::{SolveError, Stepper, solve};
use advect_core::{Field, TimeGrid, Times};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{GradientCheckpointingStrategy, Gradients, Tensor};

/// The gradients of a loss of where a flow ends, by the continuous adjoint; made by [`adjoint`].
pub struct Adjoint<const D: usize> {
    /// Where the flow began, as the solve back in time finds it.
    pub start: Tensor<D>,
    /// The gradient with respect to where the flow began.
    pub gradient: Tensor<D>,
    /// The gradients of the module's parameters, as a `backward()` through the solve would leave them: read them by
    /// `parameter.grad(&gradients)` or give them to an optimizer.
    pub parameters: Gradients,
}

impl<const D: usize> std::fmt::Debug for Adjoint<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { start, gradient, .. } = self;
        f.debug_struct("Adjoint").field("start", start).field("gradient", gradient).finish_non_exhaustive()
    }
}

/// The gradient of a loss through `dx/dt = field(module, x, t)`, in constant memory: the continuous adjoint.
///
/// Chen, Rubanova, Bettencourt & Duvenaud, *Neural Ordinary Differential Equations*, NeurIPS 2018, eq. 46 and
/// algorithm 1: with `a = dL/dx`, the system `dx/dt = f`, `da/dt = -a df/dx`, `dg/dt = -a df/dtheta` is solved from
/// the end of `grid` back to its start, from `x = end`, `a = gradient`, `g = 0`. Every evaluation differentiates the
/// field once by Burn's autodiff and forgets the tape, so memory does not grow with the number of steps. Step control
/// sees x and a alone: nothing depends on g, which is an integral (Kidger, Chen & Lyons, *"Hey, that's not an ODE"*,
/// ICML 2021).
///
/// **Bias.** This is the gradient of the exact flow up to the tolerance of two solves, not the gradient of the solve
/// that was run: with loose tolerances or few steps the two differ by the error of the method. Where memory allows,
/// take the loss of a `solve` on an autodiff device and call `backward()` on it: that gradient is exact for the steps
/// taken. Also, x is found again by going back in time; a flow that contracts by a factor c there multiplies errors
/// by c, so compare [`Adjoint::start`] with the true start. For a loss at several times, or to stop this growth, go
/// back piece by piece: from each saved state, with the gradient so far plus that of the loss there, adding up the
/// gradients of parameters.
///
/// The module's parameters must be on an autodiff device (`module.train()`); those that require no gradient have none.
/// Neither `end` nor `gradient` needs to be tracked; the results are not.
///
/// # Shapes
/// - `end`, `gradient`, results: `[batch, ...]`, equal
///
/// # Errors
/// [`SolveError::GradientShape`] if the shapes differ; what the stepper reports.
///
/// ```no_run
/// use advect_solvers::{Adaptive, DOPRI5, PiController, TimeGrid, Times, Tolerance, adjoint, shared, solve};
/// use burn::module::Param;
/// use burn::tensor::{Device, Tensor};
///
/// // x' = rate x; the loss is the sum of x(1), so its gradient is x(1).
/// let device = Device::default();
/// let rate = Param::from_tensor(Tensor::<2>::full([1, 1], 0.5, &device.clone().autodiff()));
/// let field = |rate: &Param<Tensor<2>>, x: Tensor<2>, _t: &Times| x * rate.val();
/// let grid = TimeGrid::uniform(0.0, 1.0, 1)?;
/// let (tolerance, controller) = (Tolerance::new(1e-5, 1e-5)?, PiController::standard());
///
/// let forward = shared(|x: Tensor<2>, t: f64| field(&rate, x, &Times::Shared(t)).inner());
/// let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, controller);
/// let end = solve(&forward, stepper, Tensor::ones([4, 2], &device), &grid)?;
/// let stepper = Adaptive::new(DOPRI5.stepper(), tolerance, controller);
/// let back = adjoint(&rate, &field, stepper, end.clone(), end.ones_like(), &grid)?;
/// let gradient = rate.val().grad(&back.parameters);
/// # let _ = gradient;
/// # Ok::<(), advect_solvers::SolveError>(())
/// ```
pub fn adjoint<'a, const D: usize, M, F, S>(
    module: &'a M,
    field: &'a F,
    stepper: S,
    end: Tensor<D>,
    gradient: Tensor<D>,
    grid: &TimeGrid,
) -> Result<Adjoint<D>, SolveError>
where
    M: Module,
    F: Fn(&M, Tensor<D>, &Times) -> Tensor<D>,
    S: Stepper<AdjointField<'a, M, F>, AdjointState<D>>,
{
    if end.dims() != gradient.dims() {
        let (state, gradient) = (end.dims().to_vec(), gradient.dims().to_vec());
        return Err(SolveError::GradientShape { state, gradient });
    }
    let back = TimeGrid::new(grid.points().iter().rev().copied().collect())?;
    let start = AdjointState { x: end.inner(), gradient: gradient.inner(), parameters: zeros(module) };
    let AdjointState { x, gradient, parameters } = solve(&AdjointField { module, field }, stepper, start, &back)?;
    let parameters = as_gradients(module, x.clone(), parameters);
    Ok(Adjoint { start: x, gradient, parameters })
}

/// The field that [`adjoint`] solves, for `f(module, x, t)`.
#[derive(Debug)]
pub struct AdjointField<'a, M, F> {
    module: &'a M,
    field: &'a F,
}

impl<const D: usize, M: Module, F: Fn(&M, Tensor<D>, &Times) -> Tensor<D>> Field<AdjointState<D>>
    for AdjointField<'_, M, F>
{
    fn eval(&self, state: AdjointState<D>, t: &Times) -> AdjointState<D> {
        let AdjointState { x, gradient, parameters } = state;
        let x = leaf(self.module, x);
        let slope = (self.field)(self.module, x.clone(), t);
        let product = (slope.clone() * gradient.clone()).sum();
        let slope = slope.inner();
        if !product.is_tracked() {
            // It depends on nothing that has a gradient.
            let none = parameters.iter().map(Tensor::zeros_like).collect();
            return AdjointState { x: slope, gradient: gradient.zeros_like(), parameters: none };
        }
        let gradients = product.backward();
        let gradient = x.grad(&gradients).map_or_else(|| gradient.zeros_like(), Tensor::neg);
        AdjointState { x: slope, gradient, parameters: negatives(self.module, &gradients) }
    }
}

/// A tensor that gathers its gradient, on the kind of tape that the module is on (Burn does not mix them).
fn leaf<const D: usize, M: Module>(module: &M, x: Tensor<D>) -> Tensor<D> {
    struct Strategy(Option<GradientCheckpointingStrategy>);
    impl ModuleVisitor for Strategy {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0 = self.0.or_else(|| param.val().gradient_checkpointing_strategy());
        }
    }
    let mut strategy = Strategy(None);
    module.visit(&mut strategy);
    let x = x.autodiff();
    match strategy.0 {
        Some(strategy) => x.with_gradient_checkpointing_strategy(strategy).require_grad(),
        None => x.require_grad(),
    }
}

/// Zeros in the shape of all parameters that have gradients.
fn zeros<M: Module>(module: &M) -> Vec<Tensor<1>> {
    struct Zeros(Vec<Tensor<1>>);
    impl ModuleVisitor for Zeros {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                self.0.push(value.inner().zeros_like().flatten(0, D - 1));
            }
        }
    }
    let mut zeros = Zeros(Vec::new());
    module.visit(&mut zeros);
    zeros.0
}

/// Minus the gradients of all parameters that have them.
fn negatives<M: Module>(module: &M, gradients: &Gradients) -> Vec<Tensor<1>> {
    struct Negatives<'a>(&'a Gradients, Vec<Tensor<1>>);
    impl ModuleVisitor for Negatives<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad() {
                let gradient = value.grad(self.0).map_or_else(|| value.inner().zeros_like(), Tensor::neg);
                self.1.push(gradient.flatten(0, D - 1));
            }
        }
    }
    let mut negatives = Negatives(gradients, Vec::new());
    module.visit(&mut negatives);
    negatives.1
}

/// Given gradients in the form that Burn's `backward()` leaves: those of the sum of parameters times given numbers.
fn as_gradients<const D: usize, M: Module>(module: &M, x: Tensor<D>, values: Vec<Tensor<1>>) -> Gradients {
    struct Product(std::vec::IntoIter<Tensor<1>>, Tensor<1>);
    impl ModuleVisitor for Product {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if value.is_require_grad()
                && let Some(factor) = self.0.next()
            {
                self.1 = self.1.clone() + (value.clone() * factor.reshape(value.shape())).sum();
            }
        }
    }
    // A leaf that always has a gradient, so that a module without parameters has a tape too.
    let mut product = Product(values.into_iter(), leaf(module, x).sum());
    module.visit(&mut product);
    product.1.backward()
}
