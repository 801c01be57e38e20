#!/usr/bin/env python3
"""Two moons and eight Gaussians by torchcfm's I-CFM, OT-CFM and SB-CFM: the peer of `couplings --bin cfm`.

    RAYON_NUM_THREADS=1 cargo run --release -p couplings --bin cfm -- 2000 5
    python benches/peers/cfm.py 2000 5
    python benches/peers/cfm.py 2000 5 "moons, OT-CFM"

benches/cfm.py runs both and makes the table of docs/couplings.md.

Laws, network, batch, optimizer, learning rates, average of the weights, solver and distance are the same on both sides.
sigma is 0 for I-CFM and OT-CFM (the sharpest of theirs) and 0.5 for SB-CFM, with its entropic plan. One thread. Needs
torch, torchcfm and POT.
"""

import copy
import math
import statistics
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torchcfm.conditional_flow_matching import (
    ConditionalFlowMatcher,
    ExactOptimalTransportConditionalFlowMatcher,
    SchrodingerBridgeConditionalFlowMatcher,
)

warnings.filterwarnings("ignore", message="Small sigma")
BATCH, SAMPLES = 256, 10_000


def moons(count: int, generator: torch.Generator) -> torch.Tensor:
    side = torch.randint(0, 2, (count,), generator=generator).bool()
    angle = math.pi * torch.rand(count, generator=generator)
    x = torch.where(side, 1 - angle.cos(), angle.cos())
    y = torch.where(side, 0.5 - angle.sin(), angle.sin())
    points = torch.stack([2 * (x - 0.5), 2 * (y - 0.25)], 1)
    return points + 0.1 * torch.randn(count, 2, generator=generator)


def eight_gaussians(count: int, generator: torch.Generator) -> torch.Tensor:
    angle = torch.randint(0, 8, (count,), generator=generator) * (math.pi / 4)
    centers = 3 * torch.stack([angle.cos(), angle.sin()], 1)
    return centers + 0.2 * torch.randn(count, 2, generator=generator)


class Mlp(nn.Module):
    """advect's Mlp(2, 64, 4): linear in (x, 16 features of 10 t), SiLU."""

    def __init__(self):
        super().__init__()
        self.input, self.time = nn.Linear(2, 64), nn.Linear(16, 64, bias=False)
        self.layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(3)])
        self.output = nn.Linear(64, 2)
        self.register_buffer("frequencies", 10 * 100.0 ** (-torch.arange(8) / 8))

    def forward(self, x, t):
        angles = t[:, None] * self.frequencies
        x = self.input(x) + self.time(torch.cat([angles.cos(), angles.sin()], 1))
        for layer in self.layers:
            x = layer(F.silu(x))
        return self.output(F.silu(x))


def rate(step: int, steps: int) -> float:
    """Linear warm-up over 100 steps to 5e-3, then a half cosine to 0."""
    if step < 100:
        return 5e-3 * (step + 1) / 100
    return 5e-3 * 0.5 * (1 + math.cos(math.pi * (step - 100) / (steps - 100)))


def sliced(a: np.ndarray, b: np.ndarray) -> float:
    angles = np.pi * np.arange(100) / 100
    directions = np.stack([np.cos(angles), np.sin(angles)])
    return float(np.sqrt(((np.sort(a @ directions, 0) - np.sort(b @ directions, 0)) ** 2).mean()))


def run(law, matcher, steps: int, seed: int) -> tuple[float, float]:
    torch.manual_seed(seed)
    np.random.seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Mlp()
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.0)
    start = time.perf_counter()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps)
        noise, data = torch.randn(BATCH, 2, generator=generator), law(BATCH, generator)
        t = 1e-3 + (1 - 2e-3) * torch.rand(BATCH, generator=generator)
        t, x, target = matcher.sample_location_and_conditional_flow(noise, data, t)
        loss = ((network(x, t) - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(0.995, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(averaged.parameters()), list(network.parameters()), 1 - decay)
    seconds = time.perf_counter() - start

    with torch.no_grad():
        x, h = torch.randn(SAMPLES, 2, generator=generator), 1 / 25
        field = lambda x, t: averaged(x, torch.tensor([t]))
        for k in range(25):
            t = k * h
            k1 = field(x, t)
            k2 = field(x + h / 2 * k1, t + h / 2)
            k3 = field(x + h / 2 * k2, t + h / 2)
            k4 = field(x + h * k3, t + h)
            x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    fresh = law(SAMPLES, torch.Generator().manual_seed(10_000 + seed))
    return sliced(x.double().numpy(), fresh.double().numpy()), seconds


def main():
    torch.set_num_threads(1)
    steps, seeds = (int(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 2 else (2000, 5)
    only = sys.argv[3] if len(sys.argv) > 3 else ""
    methods = {
        "I-CFM": lambda: ConditionalFlowMatcher(sigma=0.0),
        "OT-CFM": lambda: ExactOptimalTransportConditionalFlowMatcher(sigma=0.0),
        "SB-CFM": lambda: SchrodingerBridgeConditionalFlowMatcher(sigma=0.5, ot_method="sinkhorn"),
    }
    for name, law in (("moons", moons), ("eight Gaussians", eight_gaussians)):
        for method, matcher in methods.items():
            if only not in f"{name}, {method}":
                continue
            runs = [run(law, matcher(), steps, seed) for seed in range(seeds)]
            distances = [distance for distance, _ in runs]
            error = statistics.stdev(distances) / math.sqrt(seeds) if seeds > 1 else math.nan
            seconds = statistics.median(seconds for _, seconds in runs)
            print(
                f"{name}, {method}: sliced W2 {statistics.mean(distances):.4f} +- {error:.4f}, "
                f"{seconds:.2f} s of training",
                flush=True,
            )


main()
