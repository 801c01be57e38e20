use crate::{Ema, TrainError};
use advect_kernels::{AdamW as Step, AdamWState, adamw_all, sums_of_squares};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{GradientCheckpointingStrategy, Gradients, Shape, Tensor};
use std::mem;

/// AdamW: Adam with decoupled weight decay (Loshchilov & Hutter, 2019, algorithm 2), with the names of PyTorch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment; positive.
    pub epsilon: f64,
    /// Weights shrink by `rate * weight_decay` a step.
    pub weight_decay: f64,
}

impl AdamW {
    /// PyTorch's defaults, but without weight decay: beta 0.9 and 0.999, epsilon 1e-8.
    #[must_use]
    pub fn standard() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }

    /// Wrong numbers here would turn weights into NaN after the step's own check for it.
    pub(crate) fn validate(self) -> Result<(), TrainError> {
        for (name, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                return Err(TrainError::Range { name, value, range: "0 <= beta < 1" });
            }
        }
        if !(self.epsilon.is_finite() && self.epsilon > 0.0) {
            return Err(TrainError::Range { name: "epsilon", value: self.epsilon, range: "finite and > 0" });
        }
        if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            return Err(TrainError::Range { name: "weight decay", value: self.weight_decay, range: "finite and >= 0" });
        }
        Ok(())
    }
}

/// What AdamW and the EMA remember of every parameter, flat, in module order.
///
/// Module order, not the order of a hash map: sums and updates are the same in every run.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    pub(crate) names: Vec<String>,
    pub(crate) first: Vec<Tensor<1>>,
    pub(crate) second: Vec<Tensor<1>>,
    pub(crate) ema: Vec<Tensor<1>>,
}

impl Memory {
    /// Zero moments; the EMA starts at the weights.
    pub(crate) fn new<M: Module>(module: &M) -> Self {
        struct Start(Memory, Vec<String>);
        impl ModuleVisitor for Start {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.1.push(name.to_owned());
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.1.pop();
            }
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let weights: Tensor<1> = param.val().inner().flatten(0, D - 1);
                self.0.names.push(self.1.join("."));
                self.0.first.push(weights.zeros_like());
                self.0.second.push(weights.zeros_like());
                self.0.ema.push(weights);
            }
        }
        let empty = Self { names: Vec::new(), first: Vec::new(), second: Vec::new(), ema: Vec::new() };
        let mut start = Start(empty, Vec::new());
        module.visit(&mut start);
        start.0
    }

    /// The module with the averaged weights in place of its own, outside autodiff.
    pub(crate) fn averaged<M: Module>(&self, module: &M) -> M {
        struct Average<'a>(std::slice::Iter<'a, Tensor<1>>);
        impl ModuleMapper for Average<'_> {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                match self.0.next() {
                    Some(average) => param.map(|old| average.clone().reshape(old.shape())),
                    None => param,
                }
            }
        }
        module.valid().map(&mut Average(self.ema.iter()))
    }
}

/// The gradients of the parameters in module order, flat; none for one that has no part in the loss.
///
/// The container is left empty. What is dropped with it goes in the order of a hash map, another one each step, and the
/// fusion of a card keeps a plan for every order that it has seen: some 40 KiB a step.
pub(crate) fn ordered<M: Module>(module: &M, mut gradients: Gradients) -> Vec<Option<Tensor<1>>> {
    struct Collect<'a>(&'a Gradients, Vec<Option<Tensor<1>>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).map(|gradient| gradient.flatten(0, D - 1)));
        }
    }
    struct Empty<'a>(&'a mut Gradients);
    impl ModuleVisitor for Empty<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            drop(param.val().grad_remove(self.0));
        }
    }
    let mut collected = Collect(&gradients, Vec::new());
    module.visit(&mut collected);
    let flat = collected.1;
    // Only now: weights that a network uses in two places have one gradient for both.
    module.visit(&mut Empty(&mut gradients));
    flat
}

/// The loss, and the Euclidean norm of all gradients together.
///
/// One device read for both. Tensors are summed in fixed pieces, so that the grouping of the sum, and with it the last
/// bit, never depends on how threads are scheduled.
pub(crate) fn loss_and_norm(loss: Tensor<1>, gradients: &[Option<Tensor<1>>]) -> Result<(f64, f64), TrainError> {
    let loss = loss.inner().reshape([1]);
    let gradients: Vec<_> = gradients.iter().flatten().cloned().collect();
    let sums = (!gradients.is_empty()).then(|| sums_of_squares(gradients));
    // A device read a step: a NaN must stop the run before it reaches the weights.
    let read = |numbers: Tensor<1>, what| numbers.try_into_vec_as::<f64>().map_err(|_| TrainError::Read { what });
    let numbers = match sums {
        Some(sums) if sums.dtype() == loss.dtype() => {
            read(Tensor::cat(vec![loss, sums], 0), "the loss and the gradient norm")?
        }
        // A loss of another type is not rounded to that of the gradients.
        sums => {
            let mut numbers = read(loss, "the loss")?;
            numbers.extend(sums.map_or(Ok(Vec::new()), |sums| read(sums, "the gradient norm"))?);
            numbers
        }
    };
    Ok((numbers[0], numbers[1..].iter().sum::<f64>().sqrt()))
}

/// One update of every parameter, its moments and its average.
pub(crate) struct Update<'a> {
    pub(crate) optimizer: AdamW,
    /// In module order.
    pub(crate) gradients: Vec<Option<Tensor<1>>>,
    /// What gradients are multiplied with: the clipping by global norm.
    pub(crate) factor: f64,
    pub(crate) rate: f64,
    /// Earlier updates.
    pub(crate) updates: u64,
    pub(crate) ema: Ema,
    pub(crate) memory: &'a mut Memory,
}

impl Update<'_> {
    /// A parameter without a gradient has no part in this loss: it stays as it is, and its average goes on to follow it. That of one that is not learned, a
    /// table of positions say, is the parameter itself, as in diffusers.
    pub(crate) fn apply<M: Module>(self, model: &mut M) {
        let AdamW { beta1, beta2, epsilon, weight_decay } = self.optimizer;
        let follow = 1.0 - self.ema.decay(self.updates);
        let step = Step {
            rate: self.rate,
            beta1,
            beta2,
            epsilon,
            weight_decay,
            step: self.updates + 1,
            gradient_factor: self.factor,
            follow,
        };
        let weights = take(model, &self.gradients);
        // Everything is moved, so that each tensor is alone in its memory and can be written in its place.
        let memory = self.memory;
        let [first, second, ema] = [&mut memory.first, &mut memory.second, &mut memory.ema].map(mem::take);
        let (weights, places): (Vec<_>, Vec<_>) = weights.into_iter().unzip();
        let parts = weights.into_iter().zip(self.gradients).zip(first.into_iter().zip(second).zip(ema));
        let (mut indices, mut taken) = (Vec::new(), Vec::new());
        let mut new = vec![None; places.len()];
        for (i, ((weights, gradient), ((first, second), average))) in parts.enumerate() {
            let state = AdamWState { first, second, average };
            if let Some(gradient) = gradient {
                indices.push(i);
                taken.push((weights, gradient, state));
            } else {
                let average = if places[i].learned {
                    // In a form that leaves weights that do not move exactly where they are.
                    state.average.clone() + (weights.clone() - state.average) * follow
                } else {
                    weights.clone()
                };
                new[i] = Some((weights, AdamWState { average, ..state }));
            }
        }
        for (i, result) in indices.into_iter().zip(adamw_all(taken, &step)) {
            new[i] = Some(result);
        }
        let mut filled = Vec::with_capacity(places.len());
        for ((weights, AdamWState { first, second, average }), place) in new.into_iter().flatten().zip(places) {
            filled.push((weights, place));
            memory.first.push(first);
            memory.second.push(second);
            memory.ema.push(average);
        }
        *model = model.clone().map(&mut Fill(filled.into_iter()));
    }
}

/// Where a parameter's weights belong.
struct Place {
    shape: Shape,
    /// How its tape keeps what the backward pass needs.
    strategy: Option<GradientCheckpointingStrategy>,
    /// Whether nothing was left there.
    taken: bool,
    /// Whether gradients are asked for.
    learned: bool,
}

/// The weights of a model, flat, and their places.
///
/// Those with a gradient are taken out, with nothing left in their place: so each is alone in its memory.
fn take<M: Module>(model: &mut M, gradients: &[Option<Tensor<1>>]) -> Vec<(Tensor<1>, Place)> {
    struct Collect<'a>(Vec<(Tensor<1>, Place)>, std::slice::Iter<'a, Option<Tensor<1>>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let weights = param.val();
            let place = Place {
                shape: weights.shape(),
                strategy: weights.gradient_checkpointing_strategy(),
                taken: matches!(self.1.next(), Some(Some(_))),
                learned: weights.is_require_grad(),
            };
            self.0.push((weights.inner().flatten(0, D - 1), place));
        }
    }
    struct Hollow<'a>(std::slice::Iter<'a, Option<Tensor<1>>>);
    impl ModuleMapper for Hollow<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let (id, tensor, mapper) = param.consume();
            let tensor = match self.0.next() {
                Some(Some(_)) => Tensor::empty([0; D], (&tensor.device(), tensor.dtype())),
                _ => tensor,
            };
            Param::from_mapped_value(id, tensor, mapper)
        }
    }
    let mut weights = Collect(Vec::new(), gradients.iter());
    model.visit(&mut weights);
    *model = model.clone().map(&mut Hollow(gradients.iter()));
    weights.0
}

/// New weights in place of what [`take`] took.
struct Fill(std::vec::IntoIter<(Tensor<1>, Place)>);

impl ModuleMapper for Fill {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((weights, Place { shape, strategy, taken: true, .. })) = self.0.next() else { return param };
        let (id, _, mapper) = param.consume();
        Param::from_mapped_value(id, on_tape(weights.reshape(shape), strategy).require_grad(), mapper)
    }
}

/// A tensor from the outside on a tape of this kind: Burn does not mix them.
pub(crate) fn on_tape<const D: usize>(x: Tensor<D>, strategy: Option<GradientCheckpointingStrategy>) -> Tensor<D> {
    let x = Tensor::from_inner(x);
    match strategy {
        Some(strategy) => x.with_gradient_checkpointing_strategy(strategy),
        None => x,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::nn::{Linear, LinearConfig};
    use burn::tensor::Device;

    #[test]
    fn gradients_come_in_module_order_and_leave_nothing_behind() {
        let device = Device::flex().autodiff();
        let layer: Linear = LinearConfig::new(2, 1).init(&device);
        let unused: Linear = LinearConfig::new(1, 1).init(&device);
        // The same weights in two places.
        let module = vec![layer.clone(), unused, layer.clone()];
        let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 5.0]], &device);
        let gradients = layer.forward(x).sum().backward();
        let flat = ordered(&module, gradients);
        let values: Vec<Option<Vec<f32>>> =
            flat.iter().map(|g| g.as_ref().map(|g| g.to_data().try_to_vec().unwrap())).collect();
        let [weight, bias] = [Some(vec![4.0, 7.0]), Some(vec![2.0])];
        assert_eq!(values, [weight.clone(), bias.clone(), None, None, weight, bias]);
        let loss = Tensor::<1>::from_floats([3.0], &device);
        let (loss, norm) = loss_and_norm(loss, &flat).unwrap();
        assert_eq!((loss, norm), (3.0, 138.0_f64.sqrt()));
    }
}
