#!/usr/bin/env python3
"""advect beside PyTorch on a processor: the same work in turn, results compared first. Started by compare.sh.

    python benches/compare.py PROGRAM [--csv FILE] [--rounds 9] [--only TEXT] [--compile]

PROGRAM is the bench `compare` of the crate `advect`. For each piece of work it writes inputs, weights and results; PyTorch must reproduce the
results from the same inputs and weights before anything is timed. Then both run in turn, for `--seconds` each, `--rounds` times; a round's time
is the median of its runs, the table has the median of the rounds, and the spread of the ratio of neighbors.

PyTorch runs in its best plain form: inference_mode for forward, channels_last where a trial says that it is faster, its fused attention and
AdamW, foreach clipping and averaging. With --compile, torch.compile is a second column.
"""

import argparse
import csv
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).parent / "peers"))

# The ratio to reach, time of ours by time of PyTorch's.
TARGETS = {
    "silu 1M": 1.0, "gelu 1M": 1.0, "sigmoid 1M": 1.0, "tanh 1M": 1.0, "exp 1M": 1.0,
    "softmax 1000x1000": 1.0, "layer norm 1000x1000": 1.0,
    "group norm + silu": 1.0, "conv": 1.0,
    "attention b4 h6 t256 d64, forward": 0.8, "attention b4 h6 t256 d64, forward and backward": 0.9,
    "flow 2-D width 64, 50 midpoint steps, 1000 points": 0.4, "flow 2-D width 64, 50 midpoint steps, 1 point": 0.3,
    "flow 2-D width 64, 50 midpoint steps, 1000 points, torchdiffeq": 0.5, "flow 2-D width 64, 50 midpoint steps, 1000 points, flow_matching": 0.5,
    "flow 2-D width 64, dopri5 at 1e-5, 1000 points, torchdiffeq": 0.5, "flow 2-D width 64, dopri5 at 1e-5, 1000 points, flow_matching": 0.5,
    "flow 2-D width 64, training step b4096": 0.5, "flow 2-D width 512, 50 midpoint steps, 1000 points": 0.6,
    "flow 2-D width 512, training step b4096": 0.6, "flow 2-D width 512, 50 midpoint steps, 1 point": 0.9,
    "DiT-S/2 b4, forward": 0.6, "DiT-S/2 b4, training step": 0.7, "U-Net b16, forward": 0.8, "U-Net b16, training step": 0.9,
    "memory": 1.0,
}


def target(name):
    """The longest name that begins this one; none for what is shown for scale."""
    known = [key for key in TARGETS if name == key or name.startswith(key) and key in ("group norm + silu", "conv", "memory")]
    return TARGETS[max(known, key=len)] if known else None


class Ours:
    """The other program, which answers line by line."""

    def __init__(self, program):
        self.process = subprocess.Popen([program, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the other program ended at {words}")
        return answer.rstrip("\n")


OPERATORS = {
    "gemm 1024": torch.mm, "silu 1M": F.silu, "gelu 1M": F.gelu, "sigmoid 1M": torch.sigmoid, "tanh 1M": torch.tanh, "exp 1M": torch.exp,
    "softmax 1000x1000": lambda x: F.softmax(x, -1),
    "layer norm 1000x1000": lambda x, w, b: F.layer_norm(x, (1000,), w, b),
    "group norm + silu": lambda x, w, b: F.silu(F.group_norm(x, 8, w, b)),
    "attention b4 h6 t256 d64": F.scaled_dot_product_attention,
}


def perceptron(width):
    layers = [nn.Linear(3, width)]
    for _ in range(3):
        layers += [nn.SiLU(), nn.Linear(width, width)]
    return nn.Sequential(*layers, nn.SiLU(), nn.Linear(width, 2))


def dit_state(weights):
    """Weights under the names of the original DiT (patch 2, eight channels out) as those of mnist_dit.DiT."""
    names = {"x_embedder.proj": "patches", "t_embedder.mlp.0": "time1", "t_embedder.mlp.2": "time2", "y_embedder.embedding_table": "label",
             "final_layer.linear": "out", "final_layer.adaLN_modulation.1": "modulation"}
    state = {}
    for name, tensor in weights.items():
        if name == "pos_embed":
            continue
        module, kind = name.rsplit(".", 1)
        module = names.get(module, module.replace("attn.", "").replace("mlp.", "").replace("adaLN_modulation.1", "modulation"))
        if module == "patches" and kind == "weight":
            tensor = tensor.flatten(1)
        if module == "out":  # their pixels of a patch come before its channels
            tensor = tensor.unflatten(0, (4, 8)).transpose(0, 1).flatten(0, 1)
        state[f"{module}.{kind}"] = tensor
    return state


def dit(weights):
    from mnist_dit import DiT

    model = DiT(dict(size=[32, 32], patch=2, in_channels=4, out_channels=8, width=384, depth=12, heads=6, classes=1000))
    model.load_state_dict(dit_state(weights))
    label = torch.arange(4)
    return model, lambda m, x, t: m(x, t, label)


def unet(weights):
    from diffusers import UNet2DModel

    model = UNet2DModel(
        in_channels=3, out_channels=3, block_out_channels=(64, 128, 128), down_block_types=["DownBlock2D"] + ["AttnDownBlock2D"] * 2,
        up_block_types=["AttnUpBlock2D"] * 2 + ["UpBlock2D"], layers_per_block=2, attention_head_dim=32, attn_norm_num_groups=32,
        resnet_time_scale_shift="scale_shift",
    )
    if weights is not None:
        model.load_state_dict(weights)
    return model, lambda m, x, t: m(x, 1000 * t).sample


def step_of(model, loss, extras=True):
    """A training step; with `extras` the gradient is clipped and the weights averaged, as on the other side."""
    parameters = list(model.parameters())
    averaged = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=True)

    def step():
        optimizer.zero_grad()
        value = loss()
        value.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True) if extras else torch.zeros(())
        optimizer.step()
        if extras:
            with torch.no_grad():
                torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 0.001)
        return value.item(), norm.item()

    return step


def work(name, given):
    """How to run it, in each form worth a trial; and what it gives, named as in `given`."""
    inputs = {key[3:]: value for key, value in given.items() if key.startswith("in.")}
    weights = {key[2:]: value for key, value in given.items() if key.startswith("w.")}
    what = name.removesuffix(", forward and backward").removesuffix(", forward")
    backward = name.endswith(", forward and backward")
    if what in OPERATORS or what.startswith("conv "):
        x = [inputs[str(i)] for i in range(len(inputs))]
        if what.startswith("conv "):
            x[2] = x[2].flatten()
            function = lambda x, w, b: F.conv2d(x, w, b, padding=w.shape[-1] // 2)
        else:
            function = OPERATORS[what]
            x = [v.flatten() if i and ("norm" in what) else v for i, v in enumerate(x)]
        return operator(function, x, backward, what.startswith("conv "))
    if what.startswith("flow "):
        return flow(what, inputs, weights)
    training = what.endswith("training step")
    model, forward = (dit if what.startswith("DiT") else unet)(weights)
    model = model.train(training)

    def forms(model, x):
        t = inputs["t"]
        if training:
            return step_of(model, lambda: forward(model, x, t).square().mean())
        return lambda: forward(model, x, t)

    plain = forms(model, inputs["x"])
    if training:
        import copy

        trial = forms(copy.deepcopy(model), inputs["x"])
        reports = [trial() for _ in range(3)]
        results = {"losses": torch.tensor([r[0] for r in reports]), "norms": torch.tensor([r[1] for r in reports])}
        runs = {"contiguous": plain}
    else:
        with torch.inference_mode():
            results = {"y": plain()}
        runs = {"contiguous": inference(plain)}
    if what.startswith("U-Net"):
        import copy

        last = copy.deepcopy(model).to(memory_format=torch.channels_last)
        run = forms(last, inputs["x"].to(memory_format=torch.channels_last))
        runs["channels_last"] = run if training else inference(run)
    compiled = forms(torch.compile(model), inputs["x"])
    return runs, (compiled if training else inference(compiled)), results


def inference(run):
    def call():
        with torch.inference_mode():
            return run()

    return call


def operator(function, x, backward, image):
    def form(function, x):
        if not backward:
            return inference(lambda: function(*x))
        tracked = [v.detach().clone(memory_format=torch.preserve_format).requires_grad_() for v in x]
        seed = torch.ones_like(function(*tracked))
        return lambda: torch.autograd.grad(function(*tracked), tracked, seed)

    runs = {"contiguous": form(function, x)}
    if image:
        last = [v.contiguous(memory_format=torch.channels_last) if v.dim() == 4 else v for v in x]
        runs["channels_last"] = form(function, last)
    results = {"y": function(*x)}
    if backward:
        results |= {f"d{i}": d for i, d in enumerate(runs["contiguous"]())}
    return runs, form(torch.compile(function), x), results


def flow(what, inputs, weights):
    width = int(what.split("width ")[1].split(",")[0])
    model = perceptron(width)
    model.load_state_dict(weights)
    if what.endswith("b4096"):
        data = inputs["data"]

        def loss_of(model, noise, t):
            x = torch.lerp(noise, data, t)
            return F.mse_loss(model(torch.cat([x, t], 1)), data - noise)

        import copy

        trial = copy.deepcopy(model)
        fixed = step_of(trial, lambda: loss_of(trial, inputs["noise"], inputs["t"][:, None]))
        reports = [fixed() for _ in range(3)]
        results = {"losses": torch.tensor([r[0] for r in reports]), "norms": torch.tensor([r[1] for r in reports])}
        form = lambda m: step_of(m, lambda: loss_of(m, torch.randn_like(data), torch.rand(len(data), 1)), extras=False)
        return {"contiguous": form(model)}, form(torch.compile(copy.deepcopy(model))), results
    noise = inputs["0"]
    if what.endswith(("torchdiffeq", "flow_matching")):
        forms = [solver(what, form, noise) for form in (model, torch.compile(model))]
        with torch.inference_mode():
            results = {"y": forms[0]()}
        return {"contiguous": inference(forms[0])}, inference(forms[1]), results

    def sample(model):
        x, h = noise, 1 / 50
        at = lambda x, t: model(torch.cat([x, torch.full((len(x), 1), t)], 1))
        for i in range(50):
            x = x + h * at(x + h / 2 * at(x, i * h), (i + 0.5) * h)
        return x

    with torch.inference_mode():
        results = {"y": sample(model)}
    return {"contiguous": inference(lambda: sample(model))}, inference(lambda m=torch.compile(model): sample(m)), results


def solver(what, model, noise):
    """A whole solve of a library: fixed midpoint steps, or Dopri5 with its own control of the batch."""
    options = dict(method="dopri5", atol=1e-5, rtol=1e-5) if "dopri5" in what else dict(method="midpoint")
    at = lambda x, t: model(torch.cat([x, t.expand(len(x), 1)], 1))
    if what.endswith("torchdiffeq"):
        from torchdiffeq import odeint

        if options["method"] == "midpoint":
            options["options"] = {"step_size": 1 / 50}
        span = torch.tensor([0.0, 1.0])
        return lambda: odeint(lambda t, x: at(x, t), noise, span, **options)[-1]
    from flow_matching.solver import ODESolver
    from flow_matching.utils import ModelWrapper

    class Velocity(ModelWrapper):
        def forward(self, x, t, **extras):
            return at(x, t)

    size = 1 / 50 if options["method"] == "midpoint" else None
    return lambda: ODESolver(velocity_model=Velocity(model)).sample(x_init=noise, step_size=size, **options)


def median(run, seconds):
    run()
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        run()
        times.append(1e3 * (time.perf_counter() - before))
    return statistics.median(times)


def agree(name, given, results):
    """The largest error in units of the largest result; 1e-4, or 1e-3 for what three training steps add up to and for what each side solves to
    a tolerance of its own error estimate."""
    worst = 0.0
    for key, result in results.items():
        ours = given[f"out.{key}"].double()
        theirs = result.detach().double().reshape(ours.shape)
        worst = max(worst, ((ours - theirs).abs().max() / theirs.abs().max()).item())
    if not worst < (1e-3 if "training step" in name or "dopri5" in name else 1e-4):
        raise SystemExit(f"{name}: results differ by {worst:.1e}")
    return worst


def compare(name, ours, args):
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.safetensors"
        ours.ask("check", name, file)
        given = {key: value.clone() for key, value in load_file(file).items()}
    torch.manual_seed(0)
    if args.compile:
        # A function is compiled for eight shapes and then no more, counted over all rows.
        torch._dynamo.reset()
    runs, compiled, results = work(name, given)
    error = agree(name, given, results)
    trials = {form: median(run, 0.2) for form, run in runs.items()}
    form = min(trials, key=trials.get)
    times, ratios = {"ours": [], "torch": [], "compiled": []}, []
    sides = [("ours", lambda: float(ours.ask("time", name, args.seconds))), ("torch", lambda: median(runs[form], args.seconds))]
    if args.compile:
        sides.append(("compiled", lambda: median(compiled, args.seconds)))
    for round in range(args.rounds):
        for side, run in sides if round % 2 else reversed(sides):
            times[side].append(run())
            time.sleep(0.02)  # idle threads of the one side may spin for a while
        ratios.append(times["ours"][-1] / times["torch"][-1])
    ours.ask("drop")
    middle = {side: statistics.median(values) for side, values in times.items() if values}
    return middle, (min(ratios), statistics.median(ratios), max(ratios)), form, error


def memory(name):
    """What `memory NAME` of the other program says, for PyTorch: MiB above what was resident before the network was built."""

    def resident(key):
        return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024

    import diffusers  # noqa: F401  What it takes to be there is not the network's.

    torch.mm(torch.ones(64, 64), torch.ones(64, 64)).sum().item()
    shape = (4, 4, 32, 32) if name.startswith("DiT") else (16, 3, 32, 32)
    x, t = torch.randn(shape), torch.rand(shape[0])
    from mnist_dit import DiT

    before = resident("VmRSS:")
    if name.startswith("DiT"):
        model = DiT(dict(size=[32, 32], patch=2, in_channels=4, out_channels=8, width=384, depth=12, heads=6, classes=1000))
        forward = lambda: model(x, t, torch.arange(4))
    else:
        model, call = unet(None)
        forward = lambda: call(model, x, t)
    step = step_of(model, lambda: forward().square().mean())
    for _ in range(5):
        step()
    print(resident("VmHWM:") - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default="", help="work whose name holds this text, or one of several between commas")
    parser.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.program == "memory":
        return memory(args.only)
    processor = next((line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    print(f"{time.strftime('%Y-%m-%d')}, {processor}, {args.threads} threads, PyTorch {torch.__version__}, medians of {args.rounds} rounds\n")
    ours = Ours(args.program)
    wanted = [name for name in ours.ask("names").split("\t") if any(text in name for text in args.only.split(","))]
    compiled = " PyTorch compiled |" if args.compile else ""
    print(f"| work | ours ms | PyTorch ms |{compiled} ratio | least to most | target | error |\n| --- | --- | --- |{' --- |' if compiled else ''} --- | --- | --- | --- |")
    rows, missed = [], []

    def row(name, mine, theirs, ratio, spread, error, other=None):
        goal = target(name)
        mark = "" if goal is None or ratio <= goal else " **missed**"
        between = f" {other:.3g} |" if other is not None else (" |" if compiled else "")
        print(f"| {name} | {mine:.3g} | {theirs:.3g} |{between} {ratio:.2f}{mark} | {spread} | {goal or ''} | {error} |", flush=True)
        rows.append([name, f"{mine:.4f}", f"{theirs:.4f}", f"{ratio:.3f}", goal or ""])
        if mark:
            missed.append(name)

    for name in wanted:
        middle, (least, ratio, most), form, error = compare(name, ours, args)
        label = f"{error:.0e}" + (", channels_last" if form == "channels_last" else "")
        row(name, middle["ours"], middle["torch"], ratio, f"{least:.2f} to {most:.2f}", label, middle.get("compiled"))
        if name.startswith("gemm"):
            rates = [2e-6 * 1024**3 / middle[side] for side in ("ours", "torch")]
            print(f"| (gemm rate, GFLOP/s) | {rates[0]:.0f} | {rates[1]:.0f} |{' |' if compiled else ''} | | | |")
    for name in ["DiT-S/2 b4", "U-Net b16"]:
        title = f"memory of the training step, MiB: {name}"
        if not any(text in title for text in args.only.split(",")):
            continue
        ask = lambda command: float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
        both = [], []
        for _ in range(3):
            both[0].append(ask([args.program, "memory", name]))
            both[1].append(ask([sys.executable, __file__, "memory", "--only", name, "--threads", str(args.threads)]))
        mine, theirs = map(statistics.median, both)
        row(title, mine, theirs, mine / theirs, "", "")
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            csv.writer(file).writerows([["work", "ours_ms", "torch_ms", "ratio", "target"], *rows])
    print(f"\n{len(missed)} of {len(rows)} missed" + "".join(f"\n- {name}" for name in missed))


if __name__ == "__main__":
    main()
