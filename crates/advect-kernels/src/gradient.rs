//! The backward passes: steps of Burn's autodiff that call the backward operators of the backend inside.
use crate::kernels::{ConvSteps, Kernels, NormOptions};
use burn::backend::Autodiff;
use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::tensor::FloatTensor;

#[derive(Debug)]
struct Silu;

impl<B: Kernels> Backward<B, 1> for Silu {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<B>(&ops.node);
        let [x] = ops.parents;
        if let Some(node) = x {
            gradients.register::<B>(node.id, B::silu_backward(ops.state, gradient));
        }
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
        for (node, gradient) in ops.parents.into_iter().zip([dx, d_gamma, d_beta]) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
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
    fn silu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match Silu.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let x = x.into_primitive();
                prep.finish(x.clone(), B::silu(x))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::silu(x.into_primitive())),
        }
    }

    fn group_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        options: NormOptions,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), gamma.node(), beta.node()];
        let [x, gamma, beta] = [x, gamma, beta].map(|t| t.into_primitive());
        match GroupNorm(options).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::group_norm(x.clone(), gamma.clone(), beta.clone(), options);
                prep.finish([x, gamma, beta], y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::group_norm(x, gamma, beta, options)),
        }
    }

    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        steps: ConvSteps,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        match Conv2d(steps).prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::convolution(x.clone(), weight.clone(), bias, steps);
                prep.finish([x, weight], y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::convolution(x, weight, bias, steps)),
        }
    }
}
