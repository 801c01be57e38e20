"""Writes crates/advect-train/tests/fixtures/adamw.json: six steps of AdamW with clipping and EMA by PyTorch, in f64.

A linear layer with three inputs and two outputs, the mean squared error on a new batch every step, a new learning
rate every step. Some steps are clipped and some are not.
"""

import json
from pathlib import Path

import torch

STEPS, BATCH, CLIP, EMA = 6, 4, 1.0, 0.2
ADAMW = {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.3}

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)


def numbers(tensor):
    """Rounded to f32 first, so that both sides start from the same bits."""
    return tensor.detach().float().double().flatten().tolist()


weight = torch.randn(3, 2).float().double().requires_grad_()
bias = torch.randn(2).float().double().requires_grad_()
optimizer = torch.optim.AdamW([weight, bias], lr=1.0, **ADAMW)
average = [weight.detach().clone(), bias.detach().clone()]
start = {"weight": numbers(weight), "bias": numbers(bias)}
steps = []
for n in range(STEPS):
    # Small targets in some steps, so that the norm falls below the clip.
    x = (torch.randn(BATCH, 3) * (0.2 if n % 3 == 2 else 1.0)).float().double()
    y = torch.randn(BATCH, 2).float().double()
    rate = 0.1 / (n + 1)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad()
    loss = ((x @ weight + bias - y) ** 2).mean()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_([weight, bias], CLIP)
    optimizer.step()
    decay = min(EMA, (1 + n) / (10 + n))
    average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, [weight, bias])]
    steps.append({
        "x": numbers(x), "y": numbers(y), "rate": rate, "loss": loss.item(), "norm": norm.item(),
        "weight": weight.detach().flatten().tolist(), "bias": bias.detach().tolist(),
        "ema_weight": average[0].flatten().tolist(), "ema_bias": average[1].tolist(),
    })
moments = {
    name: {"first": optimizer.state[p]["exp_avg"].flatten().tolist(), "second": optimizer.state[p]["exp_avg_sq"].flatten().tolist()}
    for name, p in [("weight", weight), ("bias", bias)]
}
clipped = [s["norm"] > CLIP for s in steps]
assert any(clipped) and not all(clipped), [s["norm"] for s in steps]
out = Path(__file__).resolve().parents[2] / "crates/advect-train/tests/fixtures/adamw.json"
settings = {"clip": CLIP, "ema": EMA, "batch": BATCH, "beta1": ADAMW["betas"][0], "beta2": ADAMW["betas"][1],
            "epsilon": ADAMW["eps"], "weight_decay": ADAMW["weight_decay"]}
out.write_text(json.dumps({"settings": settings, "start": start, "steps": steps, "moments": moments}, indent=1) + "\n")
print(out, [round(s["norm"], 3) for s in steps])
