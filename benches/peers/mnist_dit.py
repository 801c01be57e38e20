#!/usr/bin/env python3
"""The PyTorch twin of `advect train --preset mnist-dit`: the same network, data, batch, steps and optimizer.

    advect train --preset mnist-dit --data FOLDER --run runs/mnist-dit
    python benches/peers/mnist_dit.py runs/mnist-dit

Everything is read from the run folder of advect: config.toml (network, optimizer, steps, folder of the data) and
held_out.json (the images that are not trained on). Prints the mean of the last 200 training losses, the loss on the
held-out images with the averaged weights (flow matching, mean squared error a pixel in normalized units, 20 stratified
times an image), and the median time of a training step. Needs torch, numpy and pillow.
"""

import argparse
import gzip
import json
import math
import statistics
import struct
import time
import tomllib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

MEAN, DEVIATION = 0.1305, 0.2891


def idx(folder: Path, name: str) -> np.ndarray:
    path = next(p for end in ("", ".gz") if (p := folder / f"{name}{end}").is_file())
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def images(folder: Path, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    part = "train" if list(folder.glob("train-images-idx3-ubyte*")) else "t10k"
    pixels = idx(folder, f"{part}-images-idx3-ubyte")
    if pixels.shape[1] != side:
        resize = lambda image: np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR))
        pixels = np.stack([resize(image) for image in pixels])
    x = torch.from_numpy(pixels.astype(np.float32))[:, None] / 255.0
    labels = torch.from_numpy(idx(folder, f"{part}-labels-idx1-ubyte").astype(np.int64))
    return (x - MEAN) / DEVIATION, labels


def sincos(size: int, positions: torch.Tensor) -> torch.Tensor:
    frequencies = 1.0 / 10000 ** (torch.arange(size // 2, dtype=torch.float64) / (size / 2))
    angles = positions.reshape(-1, 1).double() * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class Block(nn.Module):
    """adaLN-zero (Peebles and Xie 2023, figure 3)."""

    def __init__(self, width: int, heads: int, hidden: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x, c):
        b, n, w = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(c))[:, None].chunk(6, -1)
        y = self.norm(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(y).reshape(b, n, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, w)
        x = x + gate1 * self.proj(y)
        y = self.norm(x) * (1 + scale2) + shift2
        return x + gate2 * self.fc2(F.gelu(self.fc1(y), approximate="tanh"))


class DiT(nn.Module):
    def __init__(self, model: dict):
        super().__init__()
        height, width_ = model["size"]
        self.patch, self.channels = model["patch"], model["in_channels"]
        self.out_channels = model.get("out_channels", self.channels)
        self.time_scale, self.grid = model.get("time_scale", 1000.0), (height // self.patch, width_ // self.patch)
        width, heads = model["width"], model["heads"]
        hidden = round(width * model.get("mlp_ratio", 4.0))
        pixels = self.channels * self.patch**2
        self.patches = nn.Linear(pixels, width)
        rows, columns = torch.meshgrid(*(torch.arange(n) for n in self.grid), indexing="ij")
        positions = torch.cat([sincos(width // 2, columns), sincos(width // 2, rows)], 1)
        self.register_buffer("positions", positions.float(), persistent=False)
        self.time1, self.time2 = nn.Linear(256, width), nn.Linear(width, width)
        self.label = nn.Embedding(model["classes"] + 1, width)
        self.blocks = nn.ModuleList([Block(width, heads, hidden) for _ in range(model["depth"])])
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation, self.out = nn.Linear(width, 2 * width), nn.Linear(width, self.out_channels * self.patch**2)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for weight in (self.time1.weight, self.time2.weight, self.label.weight):
            nn.init.normal_(weight, std=0.02)
        for module in [self.modulation, self.out] + [block.modulation for block in self.blocks]:
            nn.init.zeros_(module.weight)

    def forward(self, x, t, label):
        b, p, (rows, columns) = x.shape[0], self.patch, self.grid
        x = x.reshape(b, self.channels, rows, p, columns, p).permute(0, 2, 4, 1, 3, 5).reshape(b, rows * columns, -1)
        x = self.patches(x) + self.positions
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(128, device=t.device) / 128)
        angles = t[:, None] * self.time_scale * frequencies
        c = self.time2(F.silu(self.time1(torch.cat([angles.cos(), angles.sin()], 1)))) + self.label(label)
        for block in self.blocks:
            x = block(x, c)
        shift, scale = self.modulation(F.silu(c))[:, None].chunk(2, -1)
        x = self.out(self.norm(x) * (1 + scale) + shift)
        x = x.reshape(b, rows, columns, self.out_channels, p, p).permute(0, 3, 1, 4, 2, 5)
        return x.reshape(b, self.out_channels, rows * p, columns * p)


def loss(model, x1, label, t):
    x0 = torch.randn_like(x1)
    s = t[:, None, None, None]
    return F.mse_loss(model((1 - s) * x0 + s * x1, t, label), x1 - x0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="advect's run folder")
    parser.add_argument("--data", type=Path, help="the folder of the idx files [default: the run's]")
    parser.add_argument("--steps", type=int, help="stop after so many steps, for timing alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    config = tomllib.loads((args.run / "config.toml").read_text())
    train, side = config["train"], config["data"]["side"]
    x, labels = images(args.data or Path(config["data"]["folder"]), side)
    held_out = torch.tensor(json.loads((args.run / "held_out.json").read_text()))
    mask = torch.ones(len(x), dtype=torch.bool)
    mask[held_out] = False
    members = mask.nonzero()[:, 0]

    model = DiT(config["model"])
    averaged = {name: p.detach().clone() for name, p in model.named_parameters()}
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {len(members)} images, torch {torch.__version__}")
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=train["learning_rate"], betas=(0.9, train["beta2"]), weight_decay=train["weight_decay"]
    )
    steps, warmup, floor, batch = train["steps"], train["warmup"], train["floor"], train["batch"]
    null, order, losses, times = config["model"]["classes"], torch.empty(0, dtype=torch.long), [], []
    for step in range(min(steps, args.steps or steps)):
        started = time.perf_counter()
        progress = (step - warmup) / max(steps - warmup, 1)
        cosine = floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))
        factor = (step + 1) / warmup if step < warmup else cosine
        for group in optimizer.param_groups:
            group["lr"] = train["learning_rate"] * factor
        while len(order) < batch:
            order = torch.cat([order, members[torch.randperm(len(members))]])
        chosen, order = order[:batch], order[batch:]
        dropped = torch.rand(batch) < train["label_drop"]
        value = loss(model, x[chosen], labels[chosen].masked_fill(dropped, null), torch.rand(batch))
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), train["clip_norm"])
        optimizer.step()
        decay = min(train["ema"], (1 + step) / (10 + step))
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                averaged[name].lerp_(parameter, 1 - decay)
        losses.append(value.item())
        times.append(time.perf_counter() - started)
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}  loss {statistics.mean(losses[-100:]):.4f}  {1e3 * statistics.median(times):.0f} ms", flush=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(averaged[name])
        model.eval()
        values = []
        for i in range(20):
            t = (torch.rand(len(held_out)) + i) / 20
            values.append(loss(model, x[held_out], labels[held_out], t).item())
    print(
        f"last 200 training losses {statistics.mean(losses[-200:]):.4f}, held out {statistics.mean(values):.4f}, "
        f"{1e3 * statistics.median(times):.1f} ms a step, {args.threads} threads"
    )


if __name__ == "__main__":
    main()
