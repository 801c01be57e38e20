#!/usr/bin/env python3
"""What TF32 does to the gradients of a network with steps in the derivative of its activation (needs torch).

A patch discriminator in f64, against itself with both factors of every product rounded to TF32: with leaky ReLU, some
units of which then take the other slope, gradients are off by 1e-2 to 2e-1 of their largest element; with SiLU, which
is smooth, by 1e-3 to 2e-3. It is the reason for the bound of that case on CUDA in crates/advect/tests/parity/suite.rs.
"""

import torch
import torch.nn.functional as F


def tf32(x):
    bits = x.detach().float().view(torch.int32)
    return ((bits + 0x1000) & ~0x1FFF).view(torch.float32).double()


class Convolution(torch.autograd.Function):
    @staticmethod
    def forward(context, x, weight, stride, rounded):
        if rounded:
            x, weight = tf32(x), tf32(weight)
        context.save_for_backward(x, weight)
        context.stride, context.rounded = stride, rounded
        return F.conv2d(x, weight, stride=stride, padding=1)

    @staticmethod
    def backward(context, gradient):
        x, weight = context.saved_tensors
        gradient = tf32(gradient) if context.rounded else gradient
        options = dict(stride=context.stride, padding=1)
        dx = torch.nn.grad.conv2d_input(x.shape, weight, gradient, **options)
        return dx, torch.nn.grad.conv2d_weight(x, weight.shape, gradient, **options), None, None


def gradients(rounded, activation, seed):
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    channels = [(1, 64), (64, 128), (128, 256), (256, 512), (512, 1)]
    weights = [(draw(to, of, 4, 4) / (16 * of) ** 0.5).requires_grad_() for of, to in channels]
    x = draw(1, 1, 32, 32).requires_grad_()
    h = x
    for layer, weight in enumerate(weights):
        h = Convolution.apply(h, weight, 2 if layer < 3 else 1, rounded)
        if 0 < layer < 4:
            variance, mean = torch.var_mean(h, (0, 2, 3), keepdim=True, unbiased=False)
            h = (h - mean) / (variance + 1e-5).sqrt()
        if layer < 4:
            h = activation(h)
    (h * draw(*h.shape)).sum().backward()
    return [t.grad for t in [x, *weights]]


for name, activation in [("leaky ReLU", lambda h: F.leaky_relu(h, 0.2)), ("SiLU", F.silu)]:
    for seed in range(4):
        pairs = zip(gradients(False, activation, seed), gradients(True, activation, seed))
        print(name, *(f"{(a - b).abs().max() / a.abs().max():.1e}" for a, b in pairs))
