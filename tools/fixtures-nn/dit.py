"""Writes the DiT fixtures of advect-nn: diffusers' DiTTransformer2DModel, and a reference made of timm's parts.

Each file holds
    weight/NAME        every parameter under the peer's name,
    x, t, class        the input; t is in [0, 1], the network sees 1000 t (no `class` in networks without classes),
    context            tokens to attend to, in the network with cross-attention,
    output             the network's output,
    cotangent          a random tensor of the output's shape; loss = sum(output * cotangent),
    grad/x, grad/t, grad/NAME for some parameters    gradients of the loss,
    norms/NAME         the Euclidean norm of the gradient of every parameter,
and the parameter count as metadata. The JSON files hold names and shapes of published networks.
Versions: requirements.txt.
"""

import math
from functools import partial
from pathlib import Path

import torch
from diffusers import DiTTransformer2DModel
from diffusers.models.embeddings import Timesteps
from safetensors.torch import save_file
from timm.layers import AttentionRope, GluMlp, Mlp, PatchEmbed, RotaryEmbeddingCat
from torch import nn
from torch.nn import functional as F

OUT = Path(__file__).resolve().parents[2] / "crates/advect-nn/tests/fixtures/dit"
LAYER = partial(nn.LayerNorm, eps=1e-6)
RMS = partial(nn.RMSNorm, eps=1e-6)


def diffusers_dit(patch, size, channels, out_channels, heads, head, classes):
    """DiTTransformer2DModel with one embedding of time and class for all blocks, as in the original.

    Its default for the norm before the feed-forward layer is an epsilon of 1e-5 (the original has 1e-6), and its time
    features are those of 127 intervals (the original's of 128): both are set to the original's here.
    """
    model = DiTTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=head, in_channels=channels, out_channels=out_channels,
        num_layers=2, sample_size=size, patch_size=patch, num_embeds_ada_norm=classes, norm_eps=1e-6,
    )
    embedding = model.transformer_blocks[0].norm1.emb
    embedding.time_proj = Timesteps(256, flip_sin_to_cos=True, downscale_freq_shift=0)
    for block in model.transformer_blocks[1:]:
        block.norm1.emb = embedding
    return model.eval()


class TimeEmbedder(nn.Module):
    def __init__(self, features, width):
        super().__init__()
        self.time_proj = Timesteps(features, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t):
        return self.mlp(self.time_proj(t))


class LabelEmbedder(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, width)

    def forward(self, label):
        return self.embedding_table(label)


class CrossAttention(nn.Module):
    def __init__(self, width, context, heads, qk_norm):
        super().__init__()
        self.heads = heads
        self.q_linear, self.kv_linear = nn.Linear(width, width), nn.Linear(context, 2 * width)
        self.q_norm = qk_norm(width // heads) if qk_norm else nn.Identity()
        self.k_norm = qk_norm(width // heads) if qk_norm else nn.Identity()
        self.proj = nn.Linear(width, width)

    def forward(self, x, context):
        q = self.q_linear(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.kv_linear(context).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width, heads, *, ratio, norm, qk_norm, glu, in_context, context):
        super().__init__()
        self.norm1 = norm(width, elementwise_affine=in_context)
        # Conditions come first here: the prefix that rotary positions leave alone.
        self.attn = AttentionRope(width, heads, qkv_bias=True, qk_norm=qk_norm is not None,
                                  norm_layer=qk_norm or LAYER, num_prefix_tokens=in_context)
        self.norm2 = norm(width, elementwise_affine=in_context)
        if glu:
            self.mlp = GluMlp(width, 2 * (2 * ratio * width // 3), act_layer=nn.SiLU, gate_last=False)
        else:
            self.mlp = Mlp(width, ratio * width, act_layer=partial(nn.GELU, approximate="tanh"))
        if not in_context:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        if context:
            self.cross_attn = CrossAttention(width, context, heads, qk_norm)

    def forward(self, x, c, rope, context):
        if c is None:
            x = x + self.attn(self.norm1(x), rope)
            return x + self.mlp(self.norm2(x))
        shift1, scale1, gate1, shift2, scale2, gate2 = self.adaLN_modulation(c).unsqueeze(1).chunk(6, -1)
        x = x + gate1 * self.attn(torch.addcmul(shift1, self.norm1(x), 1 + scale1), rope)
        if context is not None:
            x = x + self.cross_attn(x, context)
        return x + gate2 * self.mlp(torch.addcmul(shift2, self.norm2(x), 1 + scale2))


class Final(nn.Module):
    def __init__(self, width, out, norm, in_context):
        super().__init__()
        self.norm_final = norm(width, elementwise_affine=in_context)
        self.linear = nn.Linear(width, out)
        if not in_context:
            self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x, c):
        x = self.norm_final(x)
        if c is not None:
            shift, scale = self.adaLN_modulation(c).unsqueeze(1).chunk(2, -1)
            x = torch.addcmul(shift, x, 1 + scale)
        return self.linear(x)


class Reference(nn.Module):
    """A DiT under the original's names, on rectangles, with the options that came later."""

    def __init__(self, patch, size, channels, out_channels, width, heads, depth=2, *, classes=None, features=16,
                 ratio=4, norm=LAYER, qk_norm=None, glu=False, positions="sin_cos", in_context=False, context=None):
        super().__init__()
        self.patch, self.out_channels, self.in_context = patch, out_channels, in_context
        self.grid = [side // patch for side in size]
        self.x_embedder = PatchEmbed(tuple(size), patch, channels, width, bias=True)
        self.t_embedder = TimeEmbedder(features, width)
        if classes:
            self.y_embedder = LabelEmbedder(classes, width)
        prefix = in_context * (2 if classes else 1)
        self.blocks = nn.ModuleList(
            Block(width, heads, ratio=ratio, norm=norm, qk_norm=qk_norm, glu=glu, in_context=prefix, context=context)
            for _ in range(depth)
        )
        self.final_layer = Final(width, patch * patch * out_channels, norm, in_context)
        self.rope = None
        if positions == "rotary":
            self.rope = RotaryEmbeddingCat(width // heads, in_pixels=False, feat_shape=self.grid).get_embed()
        elif positions == "learned":
            self.pos_embed = nn.Parameter(torch.zeros(1, math.prod(self.grid), width))
        else:
            self.register_buffer("pos_embed", self.sin_cos(width), persistent=False)

    def sin_cos(self, width):
        """In complex numbers: the angle of column and row times each frequency."""
        frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
        row, column = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in self.grid), indexing="ij")
        parts = [torch.polar(torch.ones(()).double(), place.reshape(-1, 1) * frequency) for place in (column, row)]
        return torch.cat([part for z in parts for part in (z.imag, z.real)], 1)[None].float()

    def forward(self, x, t, label=None, context=None):
        x = self.x_embedder(x)
        if self.rope is None:
            x = x + self.pos_embed
        conditions = [self.t_embedder(t)] + ([self.y_embedder(label)] if label is not None else [])
        if self.in_context:
            x, c = torch.cat([torch.stack(conditions, 1), x], 1), None
        else:
            c = sum(conditions)
        for block in self.blocks:
            x = block(x, c, self.rope, context)
        x = self.final_layer(x, c)[:, -math.prod(self.grid):]
        return x.unflatten(1, self.grid).unflatten(-1, (self.patch, self.patch, -1)).permute(0, 5, 1, 3, 2, 4).flatten(
            4, 5).flatten(2, 3)


def case(name, model, forward, seed, shape, classes, grads, context=None):
    """`classes` without the null class."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    # Nothing at its initial value (zero gates, unit gains), so that no term can be dropped unnoticed.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for key, p in parameters.items():
            if "norm" in key and not key.startswith("transformer_blocks") and p.dim() == 1:
                p.copy_((1.0 if key.endswith("weight") else 0.0) + 0.3 * normal(*p.shape))
            elif p.dim() == 1:
                p.copy_(0.2 * normal(*p.shape))
            else:
                p.copy_(normal(*p.shape) / p[0].numel() ** 0.5 if "pos_embed" != key else normal(*p.shape))

    x = normal(3, *shape).requires_grad_()
    t = torch.tensor([0.0, 0.3125, 0.84375], requires_grad=True)
    label = torch.tensor([1, classes, 0]) if classes else None
    context = normal(3, *context) if context else None
    output = forward(model, x, 1000 * t, label, context)
    cotangent = normal(*output.shape)
    (output * cotangent).sum().backward()

    tensors = {f"weight/{key}": p for key, p in model.state_dict().items()}
    tensors |= {"x": x, "t": t, "output": output, "cotangent": cotangent, "grad/x": x.grad, "grad/t": t.grad}
    tensors |= {f"grad/{key}": parameters[key].grad for key in grads}
    tensors |= {f"norms/{key}": p.grad.norm() for key, p in parameters.items()}
    if label is not None:
        tensors["class"] = label
    if context is not None:
        tensors["context"] = context
    count = sum(p.numel() for p in model.parameters())
    tensors = {key: tensor.detach().clone().contiguous() for key, tensor in tensors.items()}
    path = OUT / f"{name}.safetensors"
    save_file(tensors, path, metadata={"parameters": str(count)})
    print(f"{name}: {count} parameters, {path.stat().st_size} bytes")


def diffusers_case(name, seed, patch, size, channels, out_channels, heads, head, classes):
    def forward(model, x, t, label, context):
        return model(x, timestep=t, class_labels=label).sample

    block = "transformer_blocks"
    case(f"diffusers_{name}", diffusers_dit(patch, size, channels, out_channels, heads, head, classes), forward, seed,
         (channels, size, size), classes,
         [f"{block}.1.attn1.to_k.weight", f"{block}.0.norm1.linear.bias", "pos_embed.proj.weight", "proj_out_1.weight"])


def reference_case(name, seed, grads, *args, context=None, **options):
    def forward(model, x, t, label, context):
        return model(x, t, label, context)

    model = Reference(*args, context=context and context[1], **options)
    _, size, channels, *_ = args
    case(name, model, forward, seed, (channels, *size), options.get("classes"), grads, context)


def original(patch, width, depth, heads):
    """The original DiT for the latents of ImageNet at 256x256, with its positions as a frozen parameter."""
    model = Reference(patch, (32, 32), 4, 8, width, heads, depth, classes=1000, features=256)
    positions = model.pos_embed
    del model.pos_embed
    model.pos_embed = nn.Parameter(positions, requires_grad=False)
    return model


def manifest(name, tensors):
    """One line a tensor."""
    types = {torch.float32: "F32"}
    lines = [f'"{key}": {{"shape": {list(p.shape)}, "dtype": "{types[p.dtype]}"}}' for key, p in tensors.items()]
    path = OUT / f"{name}.json"
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)

    #              name  seed patch size channels heads head classes
    diffusers_case("p2", 1, 2, 8, 4, 8, 2, 8, 3)
    diffusers_case("p4", 2, 4, 8, 1, 1, 3, 8, 2)
    diffusers_case("p8", 3, 8, 16, 1, 1, 2, 8, 1)

    weights = [
        f"{key}.weight" for key in ["x_embedder.proj", "blocks.1.attn.qkv", "blocks.0.mlp.fc1", "final_layer.linear"]
    ]
    plain = weights + [
        f"{key}.weight" for key in ["blocks.0.adaLN_modulation.1", "t_embedder.mlp.0", "y_embedder.embedding_table"]
    ]
    norms = ["blocks.0.attn.q_norm.weight", "blocks.1.attn.k_norm.weight"]
    # A rectangle, learned sigma.
    reference_case("rectangle", 4, plain, 2, (4, 10), 3, 6, 16, 4, classes=4)
    # Odd sides, no classes, a patch of three.
    reference_case("unconditional", 5, weights, 3, (9, 15), 1, 1, 16, 2)
    # What LightningDiT has: RMS norms, normalized queries and keys, rotary positions, SwiGLU.
    reference_case("modern", 6, weights + norms, 2, (6, 4), 2, 2, 16, 2, classes=2, norm=RMS, qk_norm=RMS, glu=True,
                   ratio=2, positions="rotary")
    reference_case("learned", 7, weights + norms + ["pos_embed"], 2, (4, 6), 2, 2, 16, 2, ratio=2, qk_norm=LAYER,
                   positions="learned")
    reference_case("in_context", 8, weights + ["blocks.0.norm1.weight", "final_layer.norm_final.bias"], 2, (4, 6), 2, 2,
                   16, 4, classes=2, in_context=True)
    reference_case("in_context_rotary", 9, weights + ["blocks.1.norm2.weight"], 1, (5, 3), 2, 2, 16, 2, norm=RMS,
                   positions="rotary", in_context=True)
    reference_case("cross", 10, weights + ["blocks.0.cross_attn.kv_linear.weight", "blocks.1.cross_attn.q_norm.weight"],
                   2, (4, 6), 2, 2, 16, 2, classes=2, ratio=2, qk_norm=RMS, context=(5, 7))

    with torch.device("meta"):
        # DiT-XL-2-256 with the configuration of its repository.
        published = DiTTransformer2DModel(
            num_attention_heads=16, attention_head_dim=72, in_channels=4, out_channels=8, num_layers=28, dropout=0.0,
            sample_size=32, patch_size=2, attention_bias=True, activation_fn="gelu-approximate",
            num_embeds_ada_norm=1000, norm_type="ada_norm_zero", norm_elementwise_affine=False,
        )
        manifest("xl_2_256_diffusers", published.state_dict())
        # DiT-XL/2 and SiT-XL/2, which have the same tensors: not from their code, but from the reference above.
        manifest("xl_2_original", original(2, 1152, 28, 16).state_dict())
        sizes = {"S": (384, 12, 6), "B": (768, 12, 12), "L": (1024, 24, 16), "XL": (1152, 28, 16)}
        for letter, (width, depth, heads) in sizes.items():
            for patch in (2, 4, 8):
                model = original(patch, width, depth, heads)
                count = sum(p.numel() for p in model.parameters())
                print(f"DiT-{letter}/{patch}: {count} parameters, {count - model.pos_embed.numel()} without positions")


if __name__ == "__main__":
    main()
