"""Writes the MM-DiT fixtures of advect-nn: diffusers' SD3Transformer2DModel, small, with random weights.

mm_dit_*.safetensors hold
    weight/NAME            every parameter and the table of positions, under diffusers' name or (`original`) under that
                           of the single-file checkpoints,
    x, t, text, pooled     the input; the network sees 1000 t,
    output                 the network's output,
    cotangent              a random tensor of the output's shape; loss = sum(output * cotangent),
    grad/x, grad/t, grad/text, grad/pooled, grad/NAME for some parameters    gradients of the loss,
    norms/NAME             the Euclidean norm of the gradient of every parameter,
    skipped, features/I    (`dual`) the output without the first block, and the image's tokens after each block,
and the parameter count as metadata. Gradients have the names of the weights.

sd3*.json hold the names, shapes and types of the tensors of a published checkpoint, made without weights. The original
names are derived here; diffusers' own converter takes them back to its names, which is checked. Versions:
requirements.txt.
"""

import json
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from safetensors.torch import save_file

OUT = Path(__file__).resolve().parents[2] / "crates/advect-nn/tests/fixtures"
PREFIX = "model.diffusion_model."


def original(state, layers):
    """The tensors under the names of the single-file checkpoints, in their layout."""
    out = {"pos_embed": state["pos_embed.pos_embed"]}

    def take(theirs, *ours, swap=False):
        for kind in ("weight", "bias"):
            parts = [state[f"{name}.{kind}"] for name in ours if f"{name}.{kind}" in state]
            if parts:
                value = torch.cat(parts)
                # There shift comes before scale.
                out[f"{theirs}.{kind}"] = torch.cat(value.chunk(2)[::-1]) if swap else value

    take("x_embedder.proj", "pos_embed.proj")
    take("context_embedder", "context_embedder")
    for theirs, ours in (("t_embedder", "timestep_embedder"), ("y_embedder", "text_embedder")):
        take(f"{theirs}.mlp.0", f"time_text_embed.{ours}.linear_1")
        take(f"{theirs}.mlp.2", f"time_text_embed.{ours}.linear_2")
    for i in range(layers):
        block, x, c = f"transformer_blocks.{i}", f"joint_blocks.{i}.x_block", f"joint_blocks.{i}.context_block"
        for attention in ("attn", "attn2"):
            take(f"{x}.{attention}.qkv", *(f"{block}.{attention}.to_{part}" for part in "qkv"))
            take(f"{x}.{attention}.ln_q", f"{block}.{attention}.norm_q")
            take(f"{x}.{attention}.ln_k", f"{block}.{attention}.norm_k")
            take(f"{x}.{attention}.proj", f"{block}.{attention}.to_out.0")
        take(f"{c}.attn.qkv", *(f"{block}.attn.add_{part}_proj" for part in "qkv"))
        take(f"{c}.attn.ln_q", f"{block}.attn.norm_added_q")
        take(f"{c}.attn.ln_k", f"{block}.attn.norm_added_k")
        take(f"{c}.attn.proj", f"{block}.attn.to_add_out")
        take(f"{x}.adaLN_modulation.1", f"{block}.norm1.linear")
        take(f"{c}.adaLN_modulation.1", f"{block}.norm1_context.linear", swap=i + 1 == layers)
        for stream, part in ((x, "ff"), (c, "ff_context")):
            take(f"{stream}.mlp.fc1", f"{block}.{part}.net.0.proj")
            take(f"{stream}.mlp.fc2", f"{block}.{part}.net.2")
    take("final_layer.adaLN_modulation.1", "norm_out.linear", swap=True)
    take("final_layer.linear", "proj_out")

    out = {PREFIX + name: value for name, value in out.items()}
    back = convert_sd3_transformer_checkpoint_to_diffusers(dict(out))
    assert back.keys() == state.keys()
    for name, value in state.items():
        assert back[name].shape == value.shape and (value.is_meta or torch.equal(back[name], value)), name
    return out


def case(name, seed, size, batch, tokens, *, layers, heads, channels, move_table=False, original_names=False,
         quiet=(), grads=(), skipped=(), **options):
    model = SD3Transformer2DModel(
        num_layers=layers, num_attention_heads=heads, attention_head_dim=channels,
        caption_projection_dim=heads * channels, joint_attention_dim=12, pooled_projection_dim=10, **options)
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    # All away from their defaults, so that no term can be dropped unnoticed.
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.split(".")[-2] in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
                p.copy_(1.0 + 0.3 * normal(*p.shape))
            elif p.dim() == 1:
                p.copy_(0.2 * normal(*p.shape))
            else:
                p.copy_(normal(*p.shape) / p[0].numel() ** 0.5)
            # So small that what is added to a variance before its root shows.
            if any(part in key for part in quiet):
                p *= 0.02
        if move_table:
            model.pos_embed.pos_embed += 0.3 * normal(*model.pos_embed.pos_embed.shape)

    x = normal(batch, model.config.in_channels, *size).requires_grad_()
    # At t = 1 the phases of the time features, up to 1000, are good to 4e-5 in f32, which a gradient by t can amplify:
    # it is there once, among times that are not.
    t = torch.tensor([0.3125, 1.0, 0.0] if batch == 3 else [0.3125, 0.0625][:batch], requires_grad=True)
    text = normal(batch, tokens, 12).requires_grad_()
    pooled = normal(batch, 10).requires_grad_()
    output = model(x, text, pooled, 1000 * t).sample
    cotangent = normal(*output.shape)
    (output * cotangent).sum().backward()

    rename = (lambda tensors: original(tensors, layers)) if original_names else dict
    parameters = dict(model.named_parameters())
    count = sum(p.numel() for p in parameters.values())
    table = {"pos_embed.pos_embed": model.pos_embed.pos_embed}
    weights = rename({key: p.detach() for key, p in parameters.items()} | table)
    no_gradient = {key: torch.zeros_like(p) for key, p in table.items()}
    gradients = rename({key: p.grad for key, p in parameters.items()} | no_gradient)
    tensors = {f"weight/{key}": p for key, p in weights.items()}
    tensors |= {"x": x, "t": t, "text": text, "pooled": pooled, "output": output, "cotangent": cotangent}
    if skipped:
        seen = {}
        hooks = [block.register_forward_hook(lambda *a, i=i: seen.update({i: a[2][1]}))
                 for i, block in enumerate(model.transformer_blocks)]
        with torch.no_grad():
            tensors["skipped"] = model(x, text, pooled, 1000 * t, skip_layers=list(skipped)).sample
            model(x, text, pooled, 1000 * t)
        tensors |= {f"features/{i}": value for i, value in seen.items()}
        for hook in hooks:
            hook.remove()
    tensors |= {f"grad/{key}": p.grad for key, p in {"x": x, "t": t, "text": text, "pooled": pooled}.items()}
    tensors |= {f"grad/{key}": gradients[key] for key in grads}
    tensors |= {f"norms/{key}": g.norm() for key, g in gradients.items() if "pos_embed" not in key or "proj" in key}
    tensors = {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}
    path = OUT / f"mm_dit_{name}.safetensors"
    save_file(tensors, path, metadata={"parameters": str(count)})
    print(f"{name}: {count} parameters, {path.stat().st_size} bytes, output up to {output.abs().max():.2f}")


def published(name, manifests, **options):
    with torch.device("meta"):
        model = SD3Transformer2DModel(
            joint_attention_dim=4096, pooled_projection_dim=2048, sample_size=128, patch_size=2, in_channels=16,
            out_channels=16, attention_head_dim=64, **options)
    print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters")
    state = model.state_dict()
    for kind in manifests:
        tensors = original(state, options["num_layers"]) if kind == "original" else state
        entries = {key: {"shape": list(p.shape), "dtype": "F32"} for key, p in sorted(tensors.items())}
        lines = [f"{json.dumps(key)}:{json.dumps(entry, separators=(',', ':'))}" for key, entry in entries.items()]
        path = OUT / f"{name}_{kind}.json"
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        print(f"{path.name}: {len(lines)} tensors, {path.stat().st_size} bytes")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)

    # As Stable Diffusion 3: a batch of three, five tokens beside sixteen.
    case("plain", 1, (8, 8), 3, 5, layers=2, heads=2, channels=8, patch_size=2, in_channels=4, out_channels=4,
         sample_size=8, pos_embed_max_size=6,
         grads=["pos_embed.proj.weight", "transformer_blocks.0.attn.add_k_proj.weight", "context_embedder.weight",
                "transformer_blocks.1.norm1_context.linear.weight"])

    # Normalized queries and keys; one image, not square, as high as the table; more text than image.
    case("qk_norm", 2, (10, 4), 1, 13, layers=2, heads=4, channels=4, patch_size=2, in_channels=3, out_channels=3,
         sample_size=12, pos_embed_max_size=5, qk_norm="rms_norm", quiet=("context_embedder", "attn.add_k_proj"),
         grads=["transformer_blocks.0.attn.norm_added_k.weight", "transformer_blocks.0.attn.to_q.weight",
                "transformer_blocks.0.ff_context.net.0.proj.weight", "time_text_embed.text_embedder.linear_1.weight"])

    # As Stable Diffusion 3.5 medium, but that the last block too has a second attention; a table of its own.
    case("dual", 3, (6, 10), 2, 7, layers=3, heads=2, channels=8, patch_size=2, in_channels=4, out_channels=4,
         sample_size=16, pos_embed_max_size=7, qk_norm="rms_norm", dual_attention_layers=(0, 2), move_table=True,
         skipped=(0,),
         grads=["transformer_blocks.0.norm1.linear.weight", "transformer_blocks.2.attn2.to_v.weight",
                "transformer_blocks.0.attn2.norm_k.weight", "norm_out.linear.weight"])

    # The names of the single-file checkpoints; larger patches, another number of channels out, one token of text.
    case("original", 4, (4, 12), 2, 1, layers=2, heads=3, channels=4, patch_size=4, in_channels=2, out_channels=3,
         sample_size=16, pos_embed_max_size=4, qk_norm="rms_norm", dual_attention_layers=(0,), original_names=True,
         grads=[PREFIX + name for name in ("joint_blocks.0.x_block.attn2.qkv.weight",
                                           "joint_blocks.1.context_block.adaLN_modulation.1.weight",
                                           "final_layer.linear.weight", "x_embedder.proj.weight")])

    published("sd3_medium", ["diffusers", "original"], num_layers=24, num_attention_heads=24, caption_projection_dim=1536,
              pos_embed_max_size=192)
    published("sd35_medium", ["diffusers", "original"], num_layers=24, num_attention_heads=24,
              caption_projection_dim=1536, pos_embed_max_size=384, qk_norm="rms_norm",
              dual_attention_layers=tuple(range(13)))
    published("sd35_large", [], num_layers=38, num_attention_heads=38, caption_projection_dim=2432,
              pos_embed_max_size=192, qk_norm="rms_norm")


if __name__ == "__main__":
    main()
