#!/usr/bin/env python3
"""The PyTorch side of `cargo bench -p advect --bench backbones`: the same networks, batches and steps.

    python benches/peers/backbones.py [CASE ...] [--threads 2]

U-Net, MM-DiT and autoencoder are those of diffusers; the DiT is the one of mnist_dit.py, with PyTorch's fused
attention. A training step is forward, backward, clipping by the global norm, AdamW and EMA, the last three in their
`foreach` forms. Each case runs in a process of its own; medians in ms. Needs torch, diffusers, numpy and pillow.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

CASES = {"unet-digits": 128, "unet-7m": 16, "dit-mnist": 64, "dit-s-2": 4, "mm-dit": 2, "autoencoder": 64}


def build(name, batch):
    """The network and its loss."""
    import torch
    from diffusers import AutoencoderKL, SD3Transformer2DModel, UNet2DModel

    t, label = torch.rand(batch), torch.zeros(batch, dtype=torch.long)
    square = lambda y: y.square().mean()
    if name in ("unet-digits", "unet-7m"):
        digits = name == "unet-digits"
        widths, attention = ((32, 64), {1}) if digits else ((64, 128, 128), {1, 2})
        channels, side = (1, 8) if digits else (3, 32)
        levels = range(len(widths))
        model = UNet2DModel(
            in_channels=channels, out_channels=channels, block_out_channels=widths,
            down_block_types=["AttnDownBlock2D" if i in attention else "DownBlock2D" for i in levels],
            up_block_types=["AttnUpBlock2D" if i in attention else "UpBlock2D" for i in reversed(levels)],
            layers_per_block=1 if digits else 2, attention_head_dim=32, norm_num_groups=8 if digits else 32,
            attn_norm_num_groups=8 if digits else 32, resnet_time_scale_shift="scale_shift",
            num_class_embeds=11 if digits else None,
        )
        x = torch.randn(batch, channels, side, side)
        return model, lambda m: square(m(x, 1000 * t, label if digits else None).sample)
    if name in ("dit-mnist", "dit-s-2"):
        sys.path.insert(0, str(Path(__file__).parent))
        from mnist_dit import DiT

        mnist = dict(size=[32, 32], patch=4, in_channels=1, width=128, depth=3, heads=4, mlp_ratio=2, classes=10)
        small = dict(size=[32, 32], patch=2, in_channels=4, out_channels=8, width=384, depth=12, heads=6, classes=1000)
        config = mnist if name == "dit-mnist" else small
        x = torch.randn(batch, config["in_channels"], 32, 32)
        return DiT(config), lambda m: square(m(x, t, label))
    if name == "mm-dit":
        model = SD3Transformer2DModel(
            sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=6, num_attention_heads=6,
            attention_head_dim=64, caption_projection_dim=384, joint_attention_dim=4096, pooled_projection_dim=2048,
            pos_embed_max_size=192,
        )
        x, text, pooled = torch.randn(batch, 16, 32, 32), torch.randn(batch, 77, 4096), torch.randn(batch, 2048)
        return model, lambda m: square(m(x, text, pooled, 1000 * t).sample)
    model = AutoencoderKL(
        in_channels=1, out_channels=1, block_out_channels=(16, 32, 32), down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3, layers_per_block=1, latent_channels=4, norm_num_groups=8,
        use_quant_conv=False, use_post_quant_conv=False,
    )
    x, noise = torch.randn(batch, 1, 28, 28), torch.randn(batch, 4, 7, 7)
    s = torch.nn.Parameter(torch.zeros(()))
    model.register_parameter("log_variance", s)

    def bound(m):
        latent = m.encode(x).latent_dist
        y = m.decode(latent.mean + latent.std * noise).sample
        divergence = (latent.mean.square() + latent.var - latent.logvar - 1).mean()
        return (x - y).square().mean() * torch.exp(-s) + s + 0.05 * divergence

    return model, bound


def measure(name, threads):
    import resource

    import torch

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    batch = CASES[name]
    model, loss = build(name, batch)
    parameters = [p for p in model.parameters() if p.requires_grad]
    averaged = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, foreach=True)

    def step():
        optimizer.zero_grad()
        value = loss(model)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 0.001)
        return value.item()

    def forward():
        with torch.inference_mode():
            return loss(model).item()

    def median(run):
        times, started = [], time.perf_counter()
        while len(times) < 5 or time.perf_counter() - started < 4:
            before = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - before))
        return statistics.median(times)

    forward(), step()
    times = median(forward), median(step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    count = sum(p.numel() for p in parameters)
    print(f"| {name} | {count} | {batch} | {times[0]:.1f} | {times[1]:.1f} | {peak} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if len(args.cases) == 1:
        return measure(args.cases[0], args.threads)
    print("| case | parameters | batch | forward ms | training step ms | peak MiB |\n| --- | --- | --- | --- | --- | --- |", flush=True)
    for name in args.cases or CASES:
        subprocess.run([sys.executable, __file__, name, "--threads", str(args.threads)], check=True)


if __name__ == "__main__":
    main()
