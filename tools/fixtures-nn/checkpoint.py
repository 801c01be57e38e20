"""Writes the checkpoint fixtures of advect-nn with PyTorch, diffusers and safetensors.

unet/        a class-conditional UNet2DModel saved by diffusers; io.safetensors has an input and its output
sharded/     the same network in shards with an index
zip.pt, legacy.pt    tensors of every type, views among them, in the two formats of torch.save
nested.pt    what a training script saves: {"model", "ema", "opt", "args", "step"}, names prefixed by `module.`
wrapped.safetensors  `model.` and `ema_model.` prefixes in one flat file
half.safetensors, bfloat.safetensors   conv_in of the network in 16 bits
evil-*.pt    pickles that would run a command if they were run
ema-only.pt  {"ema": ..} and nothing else
expanded.pt  one number that a view repeats a thousand times

Values are closed forms: tensor number k (in the order below) is arange(n) / 8 + k. Versions: requirements.txt.
"""

import argparse
import shutil
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch
from diffusers import UNet2DModel
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/advect-nn/tests/fixtures/checkpoint"


def count(k, *shape, dtype=torch.float32):
    n = torch.Size(shape).numel()
    return (torch.arange(n, dtype=torch.float64) / 8 + k).reshape(shape).to(dtype)


def unet():
    torch.manual_seed(0)
    model = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        down_block_types=["DownBlock2D", "AttnDownBlock2D"],
        up_block_types=["AttnUpBlock2D", "UpBlock2D"],
        block_out_channels=[4, 8],
        layers_per_block=1,
        attention_head_dim=4,
        norm_num_groups=2,
        num_class_embeds=3,
    )
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape) / max(1, p[0].numel()) ** 0.5)
    shutil.rmtree(OUT / "unet", ignore_errors=True)
    shutil.rmtree(OUT / "sharded", ignore_errors=True)
    model.save_pretrained(OUT / "unet")
    model.save_pretrained(OUT / "sharded", max_shard_size="16KB")
    x, t, label = torch.randn(2, 1, 8, 8), torch.tensor([250.0, 750.0]), torch.tensor([0, 2])
    with torch.no_grad():
        output = model(x, t, label).sample
    save_file({"x": x, "t": t / 1000, "class": label, "output": output}, OUT / "unet/io.safetensors")
    for name, dtype in [("half", torch.float16), ("bfloat", torch.bfloat16)]:
        part = {k: v.to(dtype) for k, v in model.state_dict().items() if k.startswith("conv_in.")}
        save_file(part, OUT / f"{name}.safetensors", metadata={"format": "pt"})


def tensors():
    big = count(8, 4, 6)
    return OrderedDict(
        [
            ("f32", count(0, 2, 3)),
            ("f64", count(1, 3, dtype=torch.float64)),
            ("f16", count(2, 2, 2, dtype=torch.float16)),
            ("bf16", count(3, 2, 2, dtype=torch.bfloat16)),
            ("i64", torch.arange(3)),
            ("u8", torch.arange(4, dtype=torch.uint8)),
            ("bool", torch.tensor([True, False, True])),
            ("scalar", count(7)),
            ("big", big),
            ("rows", big[1:3]),  # shares storage, starts inside it
            ("transposed", big.t()),
            ("columns", big[:, 1::2]),
            ("empty", count(0, 0, 3)),
            ("parameter", torch.nn.Parameter(count(9, 2))),
        ]
    )


def archive(path, pickle, storages=()):
    """A ZIP archive as torch.save writes it, with any pickle in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        for name, data in [("data.pkl", pickle), ("byteorder", b"little"), *storages, ("version", b"3\n")]:
            file.writestr(zipfile.ZipInfo(f"archive/{name}"), data)


def evil():
    command = b"touch /tmp/advect-was-here"
    # protocol 0: the function called at once
    direct = b"cos\nsystem\n(S'" + command + b"'\ntR."
    # protocol 4: the names on the stack; the result thrown away, then an innocent dictionary
    text = lambda s: b"\x8c" + bytes([len(s)]) + s
    hidden = b"\x80\x04" + text(b"posix") + text(b"system") + b"\x93" + text(command) + b"\x85R0}."
    # the class of an instance
    instance = b"(S'" + command + b"'\nios\nsystem\n."
    archive(OUT / "evil-direct.pt", direct)
    archive(OUT / "evil-hidden.pt", hidden)
    archive(OUT / "evil-instance.pt", instance.replace(b"S'" + command + b"'\n", b"X" + struct.pack("<I", len(command)) + command))
    (OUT / "evil-bare.pt").write_bytes(b"\x80\x02" + direct)

    class Evil:
        def __reduce__(self):
            return (eval, ("__import__('os').system('touch /tmp/advect-was-here')",))

    torch.save({"weight": count(0, 2), "more": Evil()}, OUT / "evil-torch.pt")
    torch.save({"weight": count(0, 2), "more": Evil()}, OUT / "evil-legacy.pt", _use_new_zipfile_serialization=False)


def main():
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    unet()
    torch.save(tensors(), OUT / "zip.pt")
    torch.save(tensors(), OUT / "legacy.pt", _use_new_zipfile_serialization=False)

    torch.save({"expanded": count(1, 1).expand(1000)}, OUT / "expanded.pt")

    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    model = OrderedDict([("module.weight", count(1, 2, 3)), ("module.bias", count(2, 2))])
    ema = OrderedDict([("weight", count(3, 2, 3)), ("bias", count(4, 2))])
    training = {"model": model, "ema": ema, "opt": optimizer.state_dict(), "args": argparse.Namespace(lr=1e-4), "step": 7}
    torch.save(training, OUT / "nested.pt")
    torch.save({"ema": ema}, OUT / "ema-only.pt")
    wrapped = {f"model.{k.removeprefix('module.')}": v for k, v in model.items()}
    wrapped |= {f"ema_model.{k}": v for k, v in ema.items()}
    save_file(wrapped, OUT / "wrapped.safetensors", metadata={"format": "pt"})
    evil()
    size = sum(path.stat().st_size for path in OUT.rglob("*") if path.is_file())
    print(f"{size} bytes")


if __name__ == "__main__":
    main()
