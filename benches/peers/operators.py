#!/usr/bin/env python3
"""The PyTorch side of `cargo bench -p advect-kernels --features flex`: the same operators and shapes, medians and minima in ms.

    python benches/peers/operators.py [--threads 2] [--only attention] [--rounds 60]

Forward runs in `inference_mode`, forward and backward with gradients of every input. Run it in turn with the other
side, several times: what a machine does besides changes both, and only the ratio counts. Needs torch.
"""

import argparse
import statistics
import time

import torch
import torch.nn.functional as F


def operators():
    """Yields name, function and the shapes of its arguments."""
    million = [(1 << 20,)]
    yield "silu 1M", F.silu, million
    yield "gelu 1M", F.gelu, million
    yield "gelu tanh 1M", lambda x: F.gelu(x, approximate="tanh"), million
    yield "sigmoid 1M", torch.sigmoid, million
    yield "tanh 1M", torch.tanh, million
    yield "softplus 1M", F.softplus, million
    yield "exp 1M", torch.exp, million
    yield "softmax [1000, 1000]", lambda x: F.softmax(x, -1), [(1000, 1000)]

    for batch, tokens, features in [(1, 1000, 1000), (256, 49, 128), (4, 256, 384)]:
        shape, row, entry = (batch, tokens, features), (features,), (batch, 1, features)
        norm = lambda x, w=None, b=None, f=features: F.layer_norm(x, (f,), w, b, 1e-6)
        yield f"layer norm {list(shape)}", norm, [shape, row, row]
        yield f"rms norm {list(shape)}", lambda x, w, f=features: F.rms_norm(x, (f,), w, 1e-6), [shape, row]
        modulated = lambda x, shift, scale, norm=norm: norm(x) * (1 + scale) + shift
        yield f"modulated layer norm {list(shape)}", modulated, [shape, entry, entry]
        yield f"gated residual {list(shape)}", lambda x, gate, y: x + gate * y, [shape, entry, shape]

    for shape in [(128, 64, 8, 8), (64, 64, 16, 16)]:
        norm = lambda x, w, b: F.silu(F.group_norm(x, 8, w, b, 1e-5))
        yield f"group norm and silu {list(shape)}", norm, [shape, (64,), (64,)]

    for shape in [(32, 6, 64, 64), (4, 6, 256, 64), (256, 4, 49, 32), (1, 1, 1024, 128)]:
        yield f"attention {list(shape)}", F.scaled_dot_product_attention, [shape] * 3

    for rows, inputs, outputs in [(256 * 49, 128, 512), (1024, 384, 1536), (4096, 64, 64)]:
        yield f"linear [{rows}, {inputs}] to {outputs}", F.linear, [(rows, inputs), (outputs, inputs), (outputs,)]


def measure(run, rounds):
    for _ in range(5):
        run()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - start))
    return f"{statistics.median(times):9.3f} {min(times):9.3f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.threads} threads, median and minimum of {arguments.rounds} in ms")
    print(f"{'operator':42} {'forward':>19} {'and backward':>19}")
    for name, function, shapes in operators():
        if arguments.only not in name:
            continue
        inputs = [torch.randn(shape) for shape in shapes]
        tracked = [x.clone().requires_grad_() for x in inputs]
        seed = torch.ones_like(function(*inputs))

        def forward():
            with torch.inference_mode():
                function(*inputs)

        def both():
            torch.autograd.grad(function(*tracked), tracked, seed)

        print(f"{name:42} {measure(forward, arguments.rounds)} {measure(both, arguments.rounds)}", flush=True)


if __name__ == "__main__":
    main()
