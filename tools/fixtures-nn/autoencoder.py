"""Writes the autoencoder fixtures of advect-nn: diffusers' AutoencoderKL, small, with random weights; and manifests.

crates/advect-nn/tests/fixtures/autoencoder/
    NAME.safetensors      a network:
        weight/NAME       every parameter under diffusers' name,
        x, noise          an image; standard normal numbers in the shape of its latents,
        moments, kl       what the encoder says (means, then log-variances), and its divergence for each image,
        y                 the decoder's image of the latents drawn with `noise`,
        cotangent         a random tensor of y's shape; loss = sum(y * cotangent) + sum(kl),
        grad/x, grad/NAME gradients of the loss, by some parameters,
        norms/NAME        the Euclidean norm of the gradient of every parameter;
      in the metadata the parameter count and, for `four`, CompVis' name of each parameter and diffusers' older one.
    loss.safetensors      Gaussians and their divergence, log-likelihood and bound by torch.distributions.
    discriminator.safetensors   a PatchGAN of torch.nn with group norms.
crates/advect-nn/tests/fixtures/manifest/
    vae_sd.json, vae_sd_old.json, vae_sd_compvis.json, vae_sd3.json, vae_sd3_compvis.json
        names, shapes and types of the published sizes. Stable Diffusion XL's are those of 1.x.
Versions: requirements.txt.
"""

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import save_file
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

OUT = Path(__file__).resolve().parents[2] / "crates/advect-nn/tests/fixtures/autoencoder"
MANIFESTS = OUT.parent / "manifest"


def autoencoder(widths, *, channels, latent, blocks, groups, attention=True, quant=True):
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * len(widths),
        up_block_types=["UpDecoderBlock2D"] * len(widths),
        block_out_channels=widths,
        layers_per_block=blocks,
        latent_channels=latent,
        norm_num_groups=groups,
        use_quant_conv=quant,
        use_post_quant_conv=quant,
        mid_block_add_attention=attention,
    )


OLD = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def old_name(name):
    for new, old in OLD.items():
        name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
    return name


def compvis_name(name, levels):
    """latent-diffusion's name of a parameter of diffusers'; `compvis` checks it with diffusers' own conversion."""
    parts = name.split(".")
    side, rest = parts[0], parts[1:]
    if side in ("quant_conv", "post_quant_conv"):
        return name
    attention = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out": "proj_out"}
    match rest:
        case ["down_blocks", i, "resnets", j, layer, kind]:
            return f"{side}.down.{i}.block.{j}.{layer.replace('conv_shortcut', 'nin_shortcut')}.{kind}"
        case ["down_blocks", i, "downsamplers", "0", "conv", kind]:
            return f"{side}.down.{i}.downsample.conv.{kind}"
        case ["up_blocks", i, "resnets", j, layer, kind]:
            i = levels - 1 - int(i)
            return f"{side}.up.{i}.block.{j}.{layer.replace('conv_shortcut', 'nin_shortcut')}.{kind}"
        case ["up_blocks", i, "upsamplers", "0", "conv", kind]:
            return f"{side}.up.{levels - 1 - int(i)}.upsample.conv.{kind}"
        case ["mid_block", "resnets", i, layer, kind]:
            return f"{side}.mid.block_{int(i) + 1}.{layer}.{kind}"
        case ["mid_block", "attentions", "0", layer, *_, kind]:
            return f"{side}.mid.attn_1.{attention[layer]}.{kind}"
        case ["conv_norm_out", kind]:
            return f"{side}.norm_out.{kind}"
        case [("conv_in" | "conv_out") as layer, kind]:
            return f"{side}.{layer}.{kind}"
    raise ValueError(name)


def compvis(model):
    """The weights under CompVis' names, attention as 1x1 convolutions."""
    levels = len(model.config.block_out_channels)
    state = {}
    for name, p in model.state_dict().items():
        is_matrix = ".attentions." in name and p.dim() == 2
        state[compvis_name(name, levels)] = p[:, :, None, None] if is_matrix else p
    back = convert_ldm_vae_checkpoint(dict(state), model.config)
    ours = model.state_dict()
    assert back.keys() == ours.keys()
    assert all(back[name].shape == ours[name].shape for name in ours)
    assert all(p.is_meta or torch.equal(back[name], p) for name, p in ours.items())
    return state


def old(model):
    """The weights under the names before diffusers 0.17."""
    state = {old_name(name): p for name, p in model.state_dict().items()}
    back = dict(state)
    model._fix_state_dict_keys_on_load(back)
    assert back.keys() == model.state_dict().keys()
    return state


def case(name, model, seed, size, grads, names=False):
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
    posterior = model.encode(x).latent_dist
    noise = normal(*posterior.mean.shape)
    y = model.decode(posterior.mean + posterior.std * noise).sample
    kl = posterior.kl()
    cotangent = normal(*y.shape)
    ((y * cotangent).sum() + kl.sum()).backward()

    parameters = dict(model.named_parameters())
    tensors = {f"weight/{key}": p for key, p in parameters.items()}
    tensors |= {"x": x, "noise": noise, "moments": posterior.parameters, "kl": kl, "y": y, "cotangent": cotangent}
    tensors |= {"grad/x": x.grad} | {f"grad/{key}": parameters[key].grad for key in grads}
    tensors |= {f"norms/{key}": p.grad.norm() for key, p in parameters.items()}
    metadata = {"parameters": str(sum(p.numel() for p in parameters.values()))}
    if names:
        compvis(model), old(model)
        levels = len(model.config.block_out_channels)
        metadata["compvis"] = json.dumps({key: compvis_name(key, levels) for key in parameters})
        metadata["old"] = json.dumps({key: old_name(key) for key in parameters})
    save(name, tensors, metadata)


def save(name, tensors, metadata=None):
    path = OUT / f"{name}.safetensors"
    save_file({key: tensor.detach().contiguous() for key, tensor in tensors.items()}, path, metadata=metadata)
    print(f"{name}: {path.stat().st_size} bytes", *(metadata or {}).values() if len(metadata or {}) == 1 else [])


def loss():
    """The bound of a Gaussian autoencoder in nats, from log-densities and divergences of torch.distributions."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64).float().double()

    mean, log_variance = normal(3, 2, 2, 3), 2.0 * normal(3, 2, 2, 3)
    x, y, s = normal(3, 1, 8, 12), normal(3, 1, 8, 12), torch.tensor([-0.75], dtype=torch.float64)
    latent = Independent(Normal(mean, (0.5 * log_variance).exp()), 3)
    prior = Independent(Normal(torch.zeros_like(mean), torch.ones_like(mean)), 3)
    kl = kl_divergence(latent, prior)
    log_likelihood = Independent(Normal(y, (0.5 * s).exp()), 3).log_prob(x)
    tensors = {"mean": mean, "log_variance": log_variance, "x": x, "y": y, "s": s, "kl": kl}
    tensors |= {"log_likelihood": log_likelihood, "bound": log_likelihood - kl}
    save("loss", {key: tensor.float() for key, tensor in tensors.items()}, {"parameters": "0"})


def discriminator():
    torch.manual_seed(6)
    conv = lambda i, o, stride: nn.Conv2d(i, o, 4, stride, 1)
    model = nn.Sequential(
        conv(2, 4, 2), nn.LeakyReLU(0.2),
        conv(4, 8, 2), nn.GroupNorm(2, 8), nn.LeakyReLU(0.2),
        conv(8, 16, 1), nn.GroupNorm(2, 16), nn.LeakyReLU(0.2),
        conv(16, 1, 1),
    )
    names = {"0": "layers.0.conv", "2": "layers.1.conv", "3": "layers.1.norm", "5": "layers.2.conv",
             "6": "layers.2.norm", "8": "conv_out"}
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(3 * torch.randn_like(p) / p[0].numel() ** 0.5 if p.dim() > 1 else 0.5 + torch.randn_like(p))
    real, fake = torch.randn(2, 2, 16, 20), torch.randn(2, 2, 16, 20).requires_grad_()
    verdicts = [model(real), model(fake)]
    losses = [(torch.relu(1 - verdicts[0]).mean() + torch.relu(1 + verdicts[1]).mean()) / 2, -verdicts[1].mean()]
    tensors = {"real": real, "fake": fake, "real_verdicts": verdicts[0], "fake_verdicts": verdicts[1]}
    tensors |= {"discriminator_loss": losses[0][None], "generator_loss": losses[1][None]}
    (grad,) = torch.autograd.grad(losses[1], fake, retain_graph=True)
    tensors |= {"grad/fake": grad}
    losses[0].backward()
    for key, p in model.named_parameters():
        index, kind = key.split(".")
        name = f"{names[index]}.{kind}"
        tensors |= {f"weight/{name}": p, f"norms/{name}": p.grad.norm(), f"grad/{name}": p.grad}
    save("discriminator", tensors, {"parameters": str(sum(p.numel() for p in model.parameters()))})


def manifest(name, state):
    entries = [f'"{key}":{{"shape":{json.dumps(list(state[key].shape))},"dtype":"F32"}}' for key in sorted(state)]
    MANIFESTS.mkdir(parents=True, exist_ok=True)
    text = "{\n" + ",\n".join(entries) + "\n}\n"
    json.loads(text)
    (MANIFESTS / f"{name}.json").write_text(text)
    print(f"{name}: {len(entries)} tensors, {sum(p.numel() for p in state.values())} parameters, {len(text)} bytes")


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    OUT.mkdir(parents=True, exist_ok=True)

    # The shape of Stable Diffusion's: four levels, 1x1 convolutions, attention. 8 x 24 pixels to 1 x 3.
    four = autoencoder((4, 8, 8, 4), channels=3, latent=2, blocks=1, groups=2)
    case("four", four, 1, (8, 24),
         ["encoder.conv_in.weight", "encoder.mid_block.attentions.0.to_k.weight", "quant_conv.weight"], names=True)

    # That of Stable Diffusion 3's, with more latent channels than the image has; two blocks, latents of odd size.
    three = autoencoder((4, 4, 8), channels=1, latent=4, blocks=2, groups=2, quant=False)
    case("three", three, 2, (12, 20),
         ["encoder.down_blocks.1.downsamplers.0.conv.weight", "decoder.up_blocks.0.upsamplers.0.conv.weight",
          "decoder.mid_block.attentions.0.to_out.0.weight"])

    # No attention. The width falls, then rises.
    bare = autoencoder((8, 4, 8), channels=2, latent=3, blocks=1, groups=2, attention=False)
    case("bare", bare, 3, (8, 4),
         ["encoder.down_blocks.1.resnets.0.conv_shortcut.weight", "post_quant_conv.weight", "decoder.conv_out.weight"])

    # One level: latents as large as the image, of odd size.
    one = autoencoder((8,), channels=3, latent=2, blocks=1, groups=2, quant=False)
    case("one", one, 4, (5, 7),
         ["encoder.conv_out.weight", "decoder.mid_block.attentions.0.group_norm.weight",
          "decoder.up_blocks.0.resnets.1.norm2.bias"])

    loss()
    discriminator()

    # The published ones, without weights: their config.json as class arguments.
    def published(latent, quant):
        with torch.device("meta"):
            return autoencoder((128, 256, 512, 512), channels=3, latent=latent, blocks=2, groups=32, quant=quant)

    sd, sd3 = published(4, True), published(16, False)
    manifest("vae_sd", sd.state_dict())
    manifest("vae_sd_old", old(sd))
    manifest("vae_sd_compvis", compvis(sd))
    manifest("vae_sd3", sd3.state_dict())
    manifest("vae_sd3_compvis", compvis(sd3))

    # The small one for MNIST, whose count the tests hold as a number.
    with torch.device("meta"):
        mnist = autoencoder((16, 32, 32), channels=1, latent=4, blocks=1, groups=8, quant=False)
    print(f"mnist: {sum(p.numel() for p in mnist.parameters())} parameters")


if __name__ == "__main__":
    main()
