#!/usr/bin/env python3
"""advect beside PyTorch on a card: training steps and sampling, results compared first. Started by gpu.sh.

    python benches/gpu.py PROGRAM [--device cuda] [--precision bf16] [--csv FILE] [--only TEXT] [--no-compile] [--tiny] [--dry-run]

PROGRAM is the bench `gpu` of the crate `advect`. For each network it writes the weights of a network of that kind (of two blocks, where there
are many), inputs and results; PyTorch computes the same in f64 on the processor, and both sides on the card must agree with it before anything is
timed. Then our program and PyTorch run one after the other, each alone on the card: three runs to warm up and tune (fewer after ten
seconds), then the median of those, three or more, that fit into `--seconds`, each to the end of the device's queue. A row that fails is told of
and left out; what torch.compile takes minutes for comes after all other rows.

PyTorch runs in its best plain form: autocast to the precision with weights in f32 (training) or weights in it (sampling), its fused attention,
channels_last for the U-Net, fused AdamW, foreach clipping and averaging; then the same under torch.compile in the mode max-autotune.

Columns: ms, images/s, TFLOP/s (operations counted by PyTorch's FlopCounterMode for both sides), their share of the larger of both sides'
products, the least traffic of the weights as a share of the larger copy (nine accesses of 4 bytes in a training step, one of each evaluation
in sampling), and the memory that each side holds reserved.
"""

import argparse
import csv
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "peers"))

DIT = {"DiT-S/2": (384, 12, 6), "DiT-B/2": (768, 12, 12), "DiT-XL/2": (1152, 28, 16)}
# Name, batch, solver steps of a sampling. The same list as in our program, which is asked for it.
ROWS = [
    ("DiT-S/2 32x32x4, training step", 256, 0), ("DiT-S/2 32x32x4, sampling", 64, 50),
    ("DiT-B/2 32x32x4, training step", 256, 0), ("DiT-B/2 32x32x4, sampling", 64, 50),
    ("DiT-XL/2 32x32x4, training step", 64, 0), ("DiT-XL/2 32x32x4, sampling", 64, 50),
    ("DiT-XL/2 64x64x4, training step", 16, 0), ("DiT-XL/2 64x64x4, sampling", 16, 50),
    ("U-Net CIFAR 32x32x3, training step", 128, 0), ("U-Net CIFAR 32x32x3, sampling", 256, 50),
    ("perceptron 2-D, training step", 1000, 0), ("perceptron 2-D, sampling", 1000, 100),
]
# The time of ours by PyTorch's, eager and compiled, and the memory; and how far results may be from f64.
TARGETS = {"eager": 0.9, "compiled": 1.1, "memory": 1.1}
NEAR = {"f32": 2e-3, "f16": 2e-2, "bf16": 6e-2}


class Ours:
    """The other program, which answers line by line."""

    def __init__(self, args):
        words = [args.program, "serve", args.device, args.precision] + ["tiny"] * args.tiny
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, *words):
        self.process.stdin.write("\t".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"the other program ended at {' '.join(map(str, words))}")
        return answer.rstrip("\n")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def build(name, tiny, depth=None):
    """The network of a row, its input's shape without the batch, and how many classes it has."""
    import torch
    from torch import nn

    if name.startswith("DiT"):
        from mnist_dit import DiT

        width, blocks, heads = (32, 2, 2) if tiny else DIT[name.split()[0]]
        side = int(name.split()[1].split("x")[0]) // (4 if tiny else 1)
        config = dict(size=[side, side], patch=2, in_channels=4, out_channels=8, width=width, heads=heads, classes=1000)
        return DiT(config | {"depth": min(blocks, depth or blocks)}), (4, side, side), 1000
    if name.startswith("U-Net"):
        from diffusers import UNet2DModel

        widths, blocks, side = ((32, 64), 1, 8) if tiny else ((128, 256, 256, 256), 2, 32)
        levels = range(len(widths))
        model = UNet2DModel(
            in_channels=3, out_channels=3, block_out_channels=widths, layers_per_block=blocks,
            down_block_types=["AttnDownBlock2D" if i == 1 else "DownBlock2D" for i in levels],
            up_block_types=["AttnUpBlock2D" if i == 1 else "UpBlock2D" for i in reversed(levels)],
            attention_head_dim=32 if tiny else 64, attn_norm_num_groups=32,
            resnet_time_scale_shift="scale_shift" if tiny else "default",
        )
        return model, (3, side, side), None
    layers = [nn.Linear(3, 64)]
    for _ in range(3):
        layers += [nn.SiLU(), nn.Linear(64, 64)]
    return nn.Sequential(*layers, nn.SiLU(), nn.Linear(64, 2)), (2,), None


def forward(model, name, x, t, label):
    """The network's output; of a learned variance only the first half, as on the other side."""
    import torch

    if name.startswith("DiT"):
        return model(x, t, label)[:, :4]
    if name.startswith("U-Net"):
        return model(x, 1000 * t).sample
    return model(torch.cat([x, t[:, None].to(x.dtype)], 1))


def sample(model, name, x, steps, labels):
    """Euler with guidance 4 in one call, the midpoint rule in the plane, Euler elsewhere."""
    import torch

    h = 1 / steps
    time_of = lambda t, rows: torch.full((rows,), t, device=x.device, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32)
    at = lambda x, t, label: forward(model, name, x, time_of(t, len(x)), label)
    for i in range(steps):
        if labels is not None:
            strong, weak = at(torch.cat([x, x]), i * h, labels).to(x.dtype).chunk(2)
            x = x + h * (weak + 4.0 * (strong - weak))
        elif name.startswith("perceptron"):
            x = x + h * at((x + h / 2 * at(x, i * h, None).to(x.dtype)), (i + 0.5) * h, None).to(x.dtype)
        else:
            x = x + h * at(x, i * h, None).to(x.dtype)
    return x


def step_of(model, loss, scaled=False):
    import torch

    parameters = [p for p in model.parameters() if p.requires_grad]
    averaged = [p.detach().clone() for p in parameters]
    fused = parameters[0].dtype != torch.float64
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.0, fused=fused)
    scale = 1024.0 if scaled else 1.0

    def step():
        optimizer.zero_grad()
        value = loss()
        (value * scale).backward()
        if scaled:
            torch._foreach_div_([p.grad for p in parameters], scale)
        norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=True)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 0.001)
        return value.item(), norm.item()

    return step


def check(name, ours, args):
    """Both sides against f64; the number of parameters of the whole network on our side."""
    import torch
    from compare import dit_state
    from safetensors.torch import load_file

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.safetensors"
        parameters = int(ours.ask("check", name, file))
        given = {key: value.clone() for key, value in load_file(file).items()}
    state = {key[2:]: value for key, value in given.items() if key.startswith("w.")}
    if name.startswith("DiT"):
        state = dit_state(state)
    x, t, labels = given["in.x"], given["in.t"], None
    if name.startswith("DiT"):
        labels = torch.tensor([7, 3])

    def results(device, half):
        model, _, _ = build(name, args.tiny, depth=2)
        model.load_state_dict(state)
        kind = torch.float64 if half is None else torch.float32
        model = model.to(device, kind)
        x_, t_ = x.to(device, kind), t.to(device, kind)
        label = None if labels is None else labels.to(device)
        both = None if labels is None else torch.cat([labels, torch.full((2,), 1000)]).to(device)
        cast = torch.autocast(device, half or torch.float32, enabled=half not in (None, torch.float32))
        with torch.no_grad(), cast:
            y = forward(model, name, x_, t_, label)
            end = sample(model, name, x_, 4, both) - x_  # how far it moved: the start would hide the rest

        def loss():
            with cast:
                y = forward(model, name, x_, t_, label)
            return y.to(kind).square().mean()

        step = step_of(model, loss, scaled=half == torch.float16)
        reports = [step() for _ in range(3)]
        return {"y": y, "end": end, "losses": torch.tensor([r[0] for r in reports]), "norms": torch.tensor([r[1] for r in reports])}

    exact = results("cpu", None)
    theirs = results(torch_device(args), torch_dtype(args))
    for key, result in exact.items():
        result = result.double().cpu()
        ours_of = given[f"out.{key}"] - x if key == "end" else given[f"out.{key}"]
        for side, got in (("advect", ours_of), ("PyTorch", theirs[key])):
            error = (got.detach().cpu().double().reshape(result.shape) - result).abs().max() / result.abs().max()
            if not error < NEAR[args.precision]:
                raise RuntimeError(f"{side}'s {key} is {error:.1e} from f64")
    return parameters


def torch_device(args):
    return "cpu" if args.device == "flex" else "cuda"


def torch_dtype(args):
    import torch

    return {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}[args.precision]


def median(run, seconds, device, warm=False):
    import torch

    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    started = time.perf_counter()
    for _ in range(3):
        if warm or time.perf_counter() - started < 10:
            run()
            wait()
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < seconds:
        before = time.perf_counter()
        run()
        wait()
        times.append(1e3 * (time.perf_counter() - before))
    return statistics.median(times)


def theirs(name, batch, steps, args, compiled):
    """PyTorch's time in ms, reserved bytes and parameters."""
    import gc

    import torch

    device, half = torch_device(args), torch_dtype(args)
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    model, shape, classes = build(name, args.tiny)
    parameters = sum(p.numel() for p in model.parameters())
    model = model.to(device)
    last = name.startswith("U-Net")
    if last:
        model = model.to(memory_format=torch.channels_last)
    layout = lambda x: x.to(memory_format=torch.channels_last) if last else x
    labels = None if classes is None else torch.arange(batch, device=device) % classes
    if steps:
        model = model.eval().to(half)
        both = None if labels is None else torch.cat([labels, torch.full_like(labels, classes)])
        called = torch.compile(model, mode="max-autotune") if compiled else model
        # Time features are computed in f32, as on the other side; autocast takes them to the weights' type.
        cast = torch.autocast(device, half, enabled=half != torch.float32)

        def run():
            with torch.inference_mode(), cast:
                return sample(called, name, layout(torch.randn(batch, *shape, device=device)), steps, both)
    else:
        data = layout(torch.randn(batch, *shape, device=device))
        called = torch.compile(model, mode="max-autotune") if compiled else model
        cast = torch.autocast(device, half, enabled=half != torch.float32)

        def loss():
            noise, t = torch.randn_like(data), torch.rand(batch, device=device)
            x = torch.lerp(noise, data, t.view(-1, *[1] * len(shape)))
            with cast:
                y = forward(called, name, x, t, labels)
            return torch.nn.functional.mse_loss(y.float(), data - noise)

        run = step_of(model, loss, scaled=half == torch.float16)
    milliseconds = median(run, args.seconds, device, warm=compiled)
    held = torch.cuda.max_memory_reserved() if device == "cuda" else 0
    return milliseconds, held, parameters


def operations(name, batch, steps, args):
    """Floating-point operations of a row."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    model, shape, classes = build(name, args.tiny)
    model = model.to("meta")
    rows = 2  # they are proportional to the rows
    x, t = torch.empty(rows, *shape, device="meta"), torch.empty(rows, device="meta")
    label = None if classes is None else torch.zeros(rows, dtype=torch.long, device="meta")
    counter = FlopCounterMode(display=False)
    with counter:
        y = forward(model, name, x, t, label)
        if not steps:
            y.sum().backward()
    each = counter.get_total_flops() / rows
    calls = 1 if not steps else steps * (2 if classes or name.startswith("perceptron") else 1)
    return each * batch * calls


def ceilings(args):
    import torch

    device = torch_device(args)
    size, count = (256, 1 << 20) if args.tiny else (8192, 1 << 28)
    a, b = (torch.randn(size, size, device=device).to(torch_dtype(args)) for _ in range(2))
    x = torch.zeros(count, device=device)
    product = 2 * size**3 / median(lambda: a @ b, 1.0, device) / 1e9
    return product, 8 * count / median(lambda: x + 1, 1.0, device) / 1e6


def share(ours, other):
    return f"{ours / other:.2f}" if other else "-"


def dry_run(rows, args):
    print(f"on device {args.device} in {args.precision}, {args.seconds} s for each timing after up to 3 runs:")
    for name, batch, steps in rows:
        what = f"{steps} solver steps" if steps else "forward, backward, clipping, AdamW, average"
        print(f"  {name}: batch {batch}, {what}")
    print("each: compare both sides with f64; time advect; time PyTorch eager" + ("" if args.no_compile else "; time PyTorch compiled, max-autotune"))
    print("first: a product of 8192^3 and a copy of 1 GiB on both sides")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--device", default="cuda", help="our device; `flex` puts PyTorch on the processor")
    parser.add_argument("--precision", choices=list(NEAR), default="bf16")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", default="", help="rows whose name holds this text, or one of several between semicolons, in that order")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--tiny", action="store_true", help="small networks, to try both sides out")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    rows = [row for text in args.only.split(";") for row in ROWS if text.strip() in row[0]]
    rows = list(dict.fromkeys(rows))
    if not rows:
        raise SystemExit(f"no row's name holds {args.only!r}: " + "; ".join(name for name, *_ in ROWS))
    if args.dry_run:
        return dry_run(rows, args)
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = torch.cuda.get_device_name() if torch_device(args) == "cuda" else "the processor"
    print(f"{device}, torch {torch.__version__}, {args.precision}{', tiny' * args.tiny}", flush=True)

    with Ours(args) as ours:
        try:
            listed = ours.ask("rows").split("\t")
        except (RuntimeError, OSError) as error:
            raise SystemExit(f"{error}: see above for why")
        if listed != [f"{name} b{batch} s{steps}" for name, batch, steps in ROWS]:
            raise SystemExit(f"the sides list different rows: {listed}")
        try:
            own = [float(number) for number in ours.ask("ceilings").split()]
        except (RuntimeError, OSError) as error:
            raise SystemExit(str(error))
    product, copy = (max(pair) for pair in zip(own, ceilings(args)))
    print(f"ceilings: product {product:.1f} TFLOP/s, copy {copy:.0f} GB/s\n")
    columns = ["row", "batch", "parameters", "ms", "ms eager", "ms compiled", "by eager", "by compiled", "images/s", "TFLOP/s", "of product",
               "weights of copy", "GiB", "GiB PyTorch", "by PyTorch's", "goals"]
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns), flush=True)
    table, failed, checked = [], [], {}

    def write():
        if args.csv:
            with args.csv.open("w", newline="") as file:
                csv.writer(file).writerows([columns] + [list(row.values()) for row in table])

    def finish(row):
        """The columns that follow from the times."""
        ours, eager, compiled = (row[key] for key in ("ms", "ms eager", "ms compiled"))
        row["by eager"], row["by compiled"] = share(ours, eager), share(ours, compiled)
        memory = row["GiB"] <= TARGETS["memory"] * row["GiB PyTorch"] or not row["GiB PyTorch"]
        reached = ours <= TARGETS["eager"] * eager and (compiled is None or ours <= TARGETS["compiled"] * compiled) and memory
        # Open while the compiled time is to come, and where it never came.
        row["goals"] = "missed" if not reached else "reached" if compiled or args.no_compile else "open"
        shown = [f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value) for value in row.values()]
        print("| " + " | ".join(shown) + " |", flush=True)
        write()

    def measure(name, batch, steps):
        network = name.split(",")[0]
        if network not in checked:
            with Ours(args) as ours:
                checked[network] = check(name, ours, args)
        parameters = checked[network]
        with Ours(args) as ours:
            milliseconds, _, held = ours.ask("time", name, args.seconds).split()
        milliseconds, held = float(milliseconds), int(held)
        eager, their_held, their_parameters = theirs(name, batch, steps, args, compiled=False)
        if their_parameters != parameters:
            raise RuntimeError(f"{parameters} parameters here, {their_parameters} in PyTorch")
        flops = operations(name, batch, steps, args) / milliseconds / 1e9
        evaluations = steps * (2 if name.startswith("perceptron") else 1)
        traffic = parameters * (evaluations * (4 if args.precision == "f32" else 2) if steps else 36) / milliseconds / 1e6
        row = dict.fromkeys(columns, "-") | {
            "row": name, "batch": batch, "parameters": parameters, "ms": milliseconds, "ms eager": eager, "ms compiled": None,
            "images/s": round(1e3 * batch / milliseconds), "TFLOP/s": flops, "of product": f"{flops / product:.3f}",
            "weights of copy": f"{traffic / copy:.3f}", "GiB": held / 2**30, "GiB PyTorch": their_held / 2**30, "by PyTorch's": share(held, their_held),
        }
        table.append(row)
        finish(row)

    def patiently(name, work):
        """A row that fails is told of, and the others are measured."""
        try:
            work()
        except Exception as error:
            failed.append(name)
            print(f"{name}: {type(error).__name__}: {error}", flush=True)

    # What compiles for minutes comes last: the rest is told before.
    sizes = {name: (2, 3 if steps else 0) if args.tiny else (batch, steps) for name, batch, steps in rows}
    for name, size in sizes.items():
        patiently(name, lambda: measure(name, *size))
    for row in [] if args.no_compile else table:
        def compile(row=row):
            row["ms compiled"] = theirs(row["row"], *sizes[row["row"]], args, compiled=True)[0]
            finish(row)
        patiently(f"{row['row']}, compiled", compile)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
