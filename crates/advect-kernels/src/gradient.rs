//! The backward passes: steps of Burn's autodiff that call the backward operators of the backend inside.
use crate::composed;
use crate::kernels::{Activation, Columns, ConvSteps, Kernels, NormOptions, RowOptions, Slopes, Wanted};
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, TensorMetadata};
use burn::tensor::{DType, FloatDType};
use std::any::Any;

/// Runs an operator, and records the step of its backward pass with what that keeps of the inputs if one of them is
/// tracked.
fn run<B, C, S, const N: usize>(
    step: S,
    inputs: [FloatTensor<Autodiff<B, C>>; N],
    keep: impl FnOnce(&[FloatTensor<B>; N]) -> S::State,
    forward: impl FnOnce([FloatTensor<B>; N]) -> FloatTensor<B>,
) -> FloatTensor<Autodiff<B, C>>
where
    B: Kernels,
    C: CheckpointStrategy,
    S: Backward<B, N>,
{
    let nodes = inputs.each_ref().map(|input| input.node());
    let inputs = inputs.map(|input| input.into_primitive());
    match step.prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prep) => {
            let state = keep(&inputs);
            prep.finish(state, forward(inputs))
        }
        OpsKind::UnTracked(prep) => prep.finish(forward(inputs)),
    }
}

/// Hands the gradients to the parents that want them. (A macro: Burn does not export the type of a node.)
macro_rules! register {
    ($gradients:expr, $parents:expr, $values:expr) => {
        for (node, value) in $parents.into_iter().zip($values) {
            if let Some(node) = node {
                $gradients.register::<B>(node.id, value);
            }
        }
    };
}

#[derive(Debug)]
struct Activated(Activation);

impl<B: Kernels> Backward<B, 1> for Activated {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        register!(gradients, ops.parents, [B::activation_backward(ops.state, gradient, self.0)]);
    }
}

#[derive(Debug)]
struct StandIn;

impl<B: Kernels> Backward<B, 1> for StandIn {
    type State = ();

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        register!(gradients, ops.parents, [gradient]);
    }
}

#[derive(Debug)]
struct MeanSquaredError;

impl<B: Kernels> Backward<B, 2> for MeanSquaredError {
    /// The inputs.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, y] = ops.state;
        let dx = B::mean_squared_error_backward(x, y, gradient);
        let [for_x, for_y] = ops.parents;
        if let Some(node) = for_y {
            gradients.register::<B>(node.id, B::float_neg(dx.clone()));
        }
        if let Some(node) = for_x {
            gradients.register::<B>(node.id, dx);
        }
    }
}

#[derive(Debug)]
struct Softmax;

impl<B: Kernels> Backward<B, 1> for Softmax {
    /// The output.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        register!(gradients, ops.parents, [B::row_softmax_backward(ops.state, gradient)]);
    }
}

#[derive(Debug)]
struct LinearLayer(Option<Activation>);

impl<B: Kernels> Backward<B, 3> for LinearLayer {
    /// The input and the weight.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.state;
        // Each is a product of its own: the first layer's input wants none.
        let [for_x, for_weight, for_bias] = ops.parents.each_ref().map(Option::is_some);
        let wanted = Wanted { x: for_x, weight: for_weight, bias: for_bias };
        let (dx, d_weight, d_bias) = B::linear_layer_backward(x, weight, gradient, self.0, wanted);
        register!(gradients, ops.parents, [dx, d_weight, d_bias]);
    }
}

#[derive(Debug)]
struct ActivatedLayer(Activation);

impl<B: Kernels> Backward<B, 3> for ActivatedLayer {
    /// The input, the weight, and what the function took.
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight, y] = ops.state;
        let gradient = B::activation_backward(y, gradient, self.0);
        let [for_x, for_weight, for_bias] = ops.parents.each_ref().map(Option::is_some);
        let wanted = Wanted { x: for_x, weight: for_weight, bias: for_bias };
        let (dx, d_weight, d_bias) = B::linear_layer_backward(x, weight, gradient, None, wanted);
        register!(gradients, ops.parents, [dx, d_weight, d_bias]);
    }
}

#[derive(Debug)]
struct GroupNorm(NormOptions);

impl<B: Kernels> Backward<B, 3> for GroupNorm {
    /// The input, gamma and beta: mean and deviation are cheaper to compute again than the normalised input is to keep.
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, gamma, beta] = ops.state;
        let (dx, d_gamma, d_beta) = B::group_norm_backward(x, gamma, beta, gradient, self.0);
        register!(gradients, ops.parents, [dx, d_gamma, d_beta]);
    }
}

#[derive(Debug)]
struct ModulatedGroupNorm(NormOptions);

impl<B: Kernels> Backward<B, 5> for ModulatedGroupNorm {
    /// The inputs.
    type State = [FloatTensor<B>; 5];

    fn backward(self, ops: Ops<Self::State, 5>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, gamma, beta, shift, scale] = ops.state;
        let (dx, d_gamma, d_beta, d_shift, d_scale) =
            B::modulated_group_norm_backward(x, gamma, beta, shift, scale, gradient, self.0);
        register!(gradients, ops.parents, [dx, d_gamma, d_beta, d_shift, d_scale]);
    }
}

#[derive(Debug)]
struct LayerNorm(RowOptions);

impl<B: Kernels> Backward<B, 3> for LayerNorm {
    /// The input and the scale.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, scale] = ops.state;
        let (dx, d_scale, d_shift) = B::row_norm_backward(x, scale, gradient, self.0);
        register!(gradients, ops.parents, [dx, d_scale, d_shift]);
    }
}

#[derive(Debug)]
struct RmsNorm {
    epsilon: f64,
}

impl<B: Kernels> Backward<B, 2> for RmsNorm {
    /// The input and gamma.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, gamma] = ops.state;
        let (dx, d_gamma) = B::rms_norm_backward(x, gamma, gradient, self.epsilon);
        register!(gradients, ops.parents, [dx, d_gamma]);
    }
}

#[derive(Debug)]
struct Modulate;

impl<B: Kernels> Backward<B, 3> for Modulate {
    /// The input and the scale.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, scale] = ops.state;
        let (dx, d_shift, d_scale) = B::modulate_backward(x, scale, gradient);
        register!(gradients, ops.parents, [dx, d_shift, d_scale]);
    }
}

#[derive(Debug)]
struct GatedResidual;

impl<B: Kernels> Backward<B, 3> for GatedResidual {
    /// The gate and what it multiplies.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [gate, y] = ops.state;
        let (d_gate, dy) = B::gated_residual_backward(gate, y, gradient.clone());
        register!(gradients, ops.parents, [gradient, d_gate, dy]);
    }
}

#[derive(Debug)]
struct MixRows;

impl<B: Kernels> Backward<B, 2> for MixRows {
    /// The numbers of the rows.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        for (node, numbers) in ops.parents.into_iter().zip(ops.state) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, B::float_mul(gradient.clone(), numbers));
            }
        }
    }
}

#[derive(Debug)]
struct Beside;

impl<B: Kernels> Backward<B, 2> for Beside {
    /// The columns of both.
    type State = [usize; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [m, n] = ops.state;
        for (node, [from, len]) in ops.parents.into_iter().zip([[0, m], [m, n]]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, composed::part_of::<B>(&gradient, 1, from, len));
            }
        }
    }
}

/// What is taken apart: its gradient is that of the parts side by side, made at once. Each part by itself would fill a tensor with zeros for the others, and all of these would be added up.
#[derive(Debug)]
struct Whole {
    parts: usize,
    dtype: DType,
}

impl<B: Kernels> Backward<B, 1> for Whole {
    type State = Slopes;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        // Of one part, whichever: see there.
        let like = gradients.consume::<B>(&ops.node);
        let mut arrived = std::mem::take(&mut *ops.state.lock());
        arrived.resize_with(self.parts, || None);
        let zeros = || B::float_zeros(like.shape(), &like.device(), FloatDType::from(like.dtype()));
        let one = |slope: Option<Box<dyn Any + Send>>| match slope {
            Some(slope) => *slope.downcast().unwrap_or_else(|_| unreachable!("the parts are of this backend")),
            None => zeros(),
        };
        // What reads a part may compute in another precision.
        let one = |slope| composed::narrow::<B>(one(slope), self.dtype);
        let mut parts: Vec<FloatTensor<B>> = arrived.into_iter().map(one).collect();
        while parts.len() > 1 {
            let mut rest = parts.into_iter();
            let mut joined = Vec::new();
            while let Some(first) = rest.next() {
                joined.push(match (rest.next(), rest.next()) {
                    (Some(second), Some(third)) => B::three_beside(first, second, third),
                    (Some(second), None) => B::beside(first, second),
                    _ => first,
                });
            }
            parts = joined;
        }
        register!(gradients, ops.parents, parts);
    }
}

#[derive(Debug)]
struct Part(Columns);

impl<B: Kernels> Backward<B, 1> for Part {
    type State = Slopes;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let mut arrived = ops.state.lock();
        // The whole waits for all that come, and wants to find something in its own place.
        let first = arrived.iter().all(Option::is_none);
        let len = arrived.len().max(self.0.index + 1);
        arrived.resize_with(len, || None);
        arrived[self.0.index] = Some(Box::new(gradient.clone()));
        if first {
            register!(gradients, ops.parents, [gradient]);
        }
    }
}

#[derive(Debug)]
struct Attention;

impl<B: Kernels> Backward<B, 3> for Attention {
    /// Queries, keys and values: the weights grow with the square of the sequence, and are computed again.
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [q, k, v] = ops.state;
        let (dq, dk, dv) = B::dot_product_attention_backward(q, k, v, gradient);
        register!(gradients, ops.parents, [dq, dk, dv]);
    }
}

#[derive(Debug)]
struct SelfAttention {
    heads: usize,
}

impl<B: Kernels> Backward<B, 1> for SelfAttention {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        register!(gradients, ops.parents, [B::joined_attention_backward(ops.state, gradient, self.heads)]);
    }
}

#[derive(Debug)]
struct Conv2d(ConvSteps);

impl<B: Kernels> Backward<B, 3> for Conv2d {
    /// The input and the weight.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.state;
        let [node_x, node_weight, node_bias] = ops.parents;
        if let Some(node) = node_x {
            gradients.register::<B>(
                node.id,
                B::convolution_input_gradient(x.clone(), weight.clone(), gradient.clone(), self.0),
            );
        }
        if let Some(node) = node_weight {
            gradients.register::<B>(node.id, B::convolution_weight_gradient(x, weight, gradient.clone(), self.0));
        }
        if let Some(node) = node_bias {
            gradients.register::<B>(node.id, B::convolution_bias_gradient(gradient));
        }
    }
}

impl<B: Kernels, C: CheckpointStrategy> Kernels for Autodiff<B, C> {
    fn activation(x: FloatTensor<Self>, function: Activation) -> FloatTensor<Self> {
        run::<B, C, _, 1>(Activated(function), [x], |[x]| x.clone(), |[x]| B::activation(x, function))
    }

    fn stand_in(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        let y = y.into_primitive();
        run::<B, C, _, 1>(StandIn, [x], |_| (), |_| y)
    }

    fn row_softmax(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Softmax.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::row_softmax(x.into_primitive());
                prep.finish(y.clone(), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::row_softmax(x.into_primitive())),
        }
    }

    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        let forward = |[x, gamma, beta]: [FloatTensor<B>; 3]| B::group_norm(x, gamma, beta, options);
        run::<B, C, _, 3>(GroupNorm(options), [x, gamma, beta], |inputs| inputs.clone(), forward)
    }

    fn linear_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Option<Activation>,
    ) -> FloatTensor<Self> {
        let forward = |[x, weight, bias]: [FloatTensor<B>; 3]| B::linear_layer(x, weight, bias, function);
        let keep = |[x, weight, _]: &[FloatTensor<B>; 3]| [x.clone(), weight.clone()];
        run::<B, C, _, 3>(LinearLayer(function), [x, weight, bias], keep, forward)
    }

    fn activated_layer(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        function: Activation,
    ) -> FloatTensor<Self> {
        let inputs = [x, weight, bias];
        let nodes = inputs.each_ref().map(|input| input.node());
        let [x, weight, bias] = inputs.map(|input| input.into_primitive());
        match ActivatedLayer(function).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let (y, taken) = B::activated_layer_kept(x.clone(), weight.clone(), bias, function);
                prep.finish([x, weight, taken], y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::activated_layer(x, weight, bias, function)),
        }
    }

    fn modulated_group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        let forward = |[x, gamma, beta, shift, scale]: [FloatTensor<B>; 5]| {
            B::modulated_group_norm(x, gamma, beta, shift, scale, options)
        };
        let inputs = [x, gamma, beta, shift, scale];
        run::<B, C, _, 5>(ModulatedGroupNorm(options), inputs, |inputs| inputs.clone(), forward)
    }

    fn row_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        options: RowOptions,
    ) -> FloatTensor<Self> {
        let forward = |[x, scale, shift]: [FloatTensor<B>; 3]| B::row_norm(x, scale, shift, options);
        let keep = |[x, scale, _]: &[FloatTensor<B>; 3]| [x.clone(), scale.clone()];
        run::<B, C, _, 3>(LayerNorm(options), [x, scale, shift], keep, forward)
    }

    fn rms_norm(x: FloatTensor<Self>, gamma: FloatTensor<Self>, epsilon: f64) -> FloatTensor<Self> {
        let forward = |[x, gamma]: [FloatTensor<B>; 2]| B::rms_norm(x, gamma, epsilon);
        run::<B, C, _, 2>(RmsNorm { epsilon }, [x, gamma], |inputs| inputs.clone(), forward)
    }

    fn modulate(x: FloatTensor<Self>, shift: FloatTensor<Self>, scale: FloatTensor<Self>) -> FloatTensor<Self> {
        let forward = |[x, shift, scale]: [FloatTensor<B>; 3]| B::modulate(x, shift, scale);
        let keep = |[x, _, scale]: &[FloatTensor<B>; 3]| [x.clone(), scale.clone()];
        run::<B, C, _, 3>(Modulate, [x, shift, scale], keep, forward)
    }

    fn gated_residual(x: FloatTensor<Self>, gate: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        let forward = |[x, gate, y]: [FloatTensor<B>; 3]| B::gated_residual(x, gate, y);
        let keep = |[_, gate, y]: &[FloatTensor<B>; 3]| [gate.clone(), y.clone()];
        run::<B, C, _, 3>(GatedResidual, [x, gate, y], keep, forward)
    }

    fn mix_rows(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (a, b) = (a.into_primitive(), b.into_primitive());
        let forward = |[x, y]: [FloatTensor<B>; 2]| B::mix_rows(x, y, a.clone(), b.clone());
        run::<B, C, _, 2>(MixRows, [x, y], |_| [a.clone(), b.clone()], forward)
    }

    fn mean_squared_error(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        let forward = |[x, y]: [FloatTensor<B>; 2]| B::mean_squared_error(x, y);
        run::<B, C, _, 2>(MeanSquaredError, [x, y], |inputs| inputs.clone(), forward)
    }

    fn whole(x: FloatTensor<Self>, parts: usize, slopes: Slopes) -> FloatTensor<Self> {
        run::<B, C, _, 1>(Whole { parts, dtype: x.dtype() }, [x], |_| slopes, |[x]| x)
    }

    fn columns(x: FloatTensor<Self>, part: Columns, slopes: Slopes) -> FloatTensor<Self> {
        let forward = |[x]: [FloatTensor<B>; 1]| B::columns(x, part, Slopes::default());
        run::<B, C, _, 1>(Part(part), [x], |_| slopes, forward)
    }

    fn beside(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        let columns = |x: &FloatTensor<B>| x.shape()[1];
        let forward = |[x, y]: [FloatTensor<B>; 2]| B::beside(x, y);
        run::<B, C, _, 2>(Beside, [x, y], |inputs| inputs.each_ref().map(columns), forward)
    }

    fn dot_product_attention(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        let forward = |[q, k, v]: [FloatTensor<B>; 3]| B::dot_product_attention(q, k, v);
        run::<B, C, _, 3>(Attention, [q, k, v], |inputs| inputs.clone(), forward)
    }

    fn joined_attention(qkv: FloatTensor<Self>, heads: usize) -> FloatTensor<Self> {
        let forward = |[qkv]: [FloatTensor<B>; 1]| B::joined_attention(qkv, heads);
        run::<B, C, _, 1>(SelfAttention { heads }, [qkv], |[qkv]| qkv.clone(), forward)
    }

    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        let forward = |[x, weight, bias]: [FloatTensor<B>; 3]| B::convolution(x, weight, bias, steps);
        let keep = |[x, weight, _]: &[FloatTensor<B>; 3]| [x.clone(), weight.clone()];
        run::<B, C, _, 3>(Conv2d(steps), [x, weight, bias], keep, forward)
    }
}
