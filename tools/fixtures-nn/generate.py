"""Writes the U-Net fixtures of advect-nn: diffusers' UNet2DModel, small, with random weights.

Each file holds
    weight/NAME   every parameter under diffusers' name,
    x, t, class   the input; t is in [0, 1], the network sees 1000 t (no `class` in networks without classes),
    output        the network's output,
    cotangent     a random tensor of the output's shape; loss = sum(output * cotangent),
    grad/x, grad/t, grad/NAME for some parameters    gradients of the loss,
    norms/NAME    the Euclidean norm of the gradient of every parameter,
and the parameter count as metadata. Versions: requirements.txt.
"""

from pathlib import Path

import torch
from diffusers import UNet2DModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/advect-nn/tests/fixtures"


def unet(widths, attention, *, in_channels, blocks, conditioning, resample, classes, head, groups):
    """A UNet2DModel; `attention` holds level indices, `classes` counts the null class."""
    kinds = {"conv": ("DownBlock2D", "UpBlock2D"), "resnet": ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D")}
    down, up = kinds[resample]
    levels = range(len(widths))
    return UNet2DModel(
        in_channels=in_channels,
        out_channels=in_channels,
        down_block_types=["AttnDownBlock2D" if i in attention else down for i in levels],
        up_block_types=["AttnUpBlock2D" if i in attention else up for i in reversed(levels)],
        block_out_channels=widths,
        layers_per_block=blocks,
        downsample_type=resample,
        upsample_type=resample,
        attention_head_dim=head,
        norm_num_groups=groups,
        # Without this diffusers has no group norm in the middle attention of scale-shift networks; guided-diffusion has.
        attn_norm_num_groups=groups,
        resnet_time_scale_shift=conditioning,
        num_class_embeds=classes,
    )


def forward(model, x, t, label):
    """UNet2DModel.forward, but that the way up returns to odd sizes, as UNet2DConditionModel does."""
    emb = model.time_embedding(model.time_proj(t))
    if label is not None:
        emb = emb + model.class_embedding(label)
    x = model.conv_in(x)
    skips = (x,)
    for block in model.down_blocks:
        x, states = block(hidden_states=x, temb=emb)
        skips += states
    x = model.mid_block(x, emb)
    for block in model.up_blocks:
        states, skips = skips[-len(block.resnets):], skips[: -len(block.resnets)]
        size = {"upsample_size": skips[-1].shape[2:]} if skips else {}
        x = block(x, states, emb, **size)
    return model.conv_out(model.conv_act(model.conv_norm_out(x)))


def case(name, model, seed, size, grads, odd=False):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    # Norms away from 1 and 0 and convolutions away from their default, so that no term can be dropped unnoticed.
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key:
                p.copy_((1.0 if key.endswith("weight") else 0.0) + 0.3 * normal(*p.shape))
            elif p.dim() == 1:
                p.copy_(0.2 * normal(*p.shape))
            else:
                p.copy_(normal(*p.shape) / p[0].numel() ** 0.5)

    x = normal(3, model.config.in_channels, *size).requires_grad_()
    t = torch.tensor([0.0, 0.3125, 0.84375], requires_grad=True)
    classes = model.config.num_class_embeds
    label = torch.tensor([1, classes - 1, 0]) if classes else None
    output = forward(model, x, 1000 * t, label)
    if not odd:
        assert torch.equal(output, model(x, 1000 * t, label).sample)
    cotangent = normal(*output.shape)
    (output * cotangent).sum().backward()

    parameters = dict(model.named_parameters())
    tensors = {f"weight/{key}": p for key, p in parameters.items()}
    tensors |= {"x": x, "t": t, "output": output, "cotangent": cotangent, "grad/x": x.grad, "grad/t": t.grad}
    tensors |= {f"grad/{key}": parameters[key].grad for key in grads}
    tensors |= {f"norms/{key}": p.grad.norm() for key, p in parameters.items()}
    if label is not None:
        tensors["class"] = label
    count = sum(p.numel() for p in parameters.values())
    tensors = {key: tensor.detach().contiguous() for key, tensor in tensors.items()}
    path = OUT / f"{name}.safetensors"
    save_file(tensors, path, metadata={"parameters": str(count)})
    print(f"{name}: {count} parameters, {path.stat().st_size} bytes")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)

    # Added conditioning, no attention but in the middle, no classes; the width changes twice.
    plain = unet((8, 16, 8), (), in_channels=1, blocks=1, conditioning="default", resample="conv", classes=None,
                 head=8, groups=4)
    case("plain", plain, 1, (8, 8),
         ["conv_in.weight", "time_embedding.linear_1.weight", "down_blocks.1.resnets.0.conv_shortcut.weight"])

    # Attention at both levels with several heads, added conditioning, classes, two blocks, not square.
    attention = unet((8, 8), (0, 1), in_channels=2, blocks=2, conditioning="default", resample="conv", classes=4,
                     head=4, groups=2)
    case("attention", attention, 2, (4, 6),
         ["class_embedding.weight", "down_blocks.0.attentions.1.to_k.weight", "mid_block.attentions.0.to_out.0.weight"])

    # The ADM shape: scale and shift, residual blocks between the levels, attention at the coarser one, classes.
    adm = unet((8, 16), (1,), in_channels=3, blocks=1, conditioning="scale_shift", resample="resnet", classes=3,
               head=4, groups=4)
    case("adm", adm, 3, (8, 6),
         ["conv_in.weight", "down_blocks.0.downsamplers.0.time_emb_proj.weight", "up_blocks.1.resnets.1.norm2.weight"])

    # Odd sizes, three levels: 7 x 5 -> 4 x 3 -> 2 x 2.
    odd = unet((8, 8, 8), (), in_channels=1, blocks=1, conditioning="scale_shift", resample="conv", classes=None,
               head=4, groups=2)
    case("odd", odd, 4, (7, 5),
         ["conv_out.weight", "up_blocks.1.upsamplers.0.conv.weight", "mid_block.resnets.0.conv1.weight"], odd=True)

    # The finest level twice as wide as the base width (4): its own number of time features, as in guided-diffusion.
    wide = unet((8, 8), (), in_channels=1, blocks=1, conditioning="scale_shift", resample="conv", classes=2,
                head=8, groups=4)
    wide.time_proj = Timesteps(4, True, 0)
    wide.time_embedding = TimestepEmbedding(4, 16)
    wide.class_embedding = torch.nn.Embedding(2, 16)
    for block in wide.modules():
        if getattr(block, "time_emb_proj", None) is not None:
            block.time_emb_proj = torch.nn.Linear(16, block.time_emb_proj.out_features)
    case("wide", wide, 5, (4, 4),
         ["time_embedding.linear_2.weight", "mid_block.attentions.0.to_v.weight", "conv_norm_out.bias"])

    # The parameter counts of the presets, which the tests hold as numbers. `classes` of ours is one less.
    cifar10 = unet((128, 256, 256, 256), (1,), in_channels=3, blocks=2, conditioning="default", resample="conv",
                   classes=None, head=64, groups=32)
    digits = unet((32, 64), (1,), in_channels=1, blocks=2, conditioning="scale_shift", resample="conv", classes=11,
                  head=32, groups=8)
    with torch.device("meta"):
        imagenet64 = unet((192, 384, 576, 768), (1, 2, 3), in_channels=3, blocks=3, conditioning="scale_shift",
                          resample="resnet", classes=1001, head=64, groups=32)
    for name, model in {"digits": digits, "cifar10": cifar10, "imagenet64": imagenet64}.items():
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters")


if __name__ == "__main__":
    main()
