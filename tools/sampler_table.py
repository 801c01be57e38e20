#!/usr/bin/env python3
"""The numbers of crates/advect-diffusion/tests/diffusion/table.rs, from diffusers' own schedulers.

    python tools/sampler_table.py

Each line is a loop of the tests of diffusers (model m(x, t) = x t / (t + 1), x = 0/768, .., 767/768, ten steps unless said) and the sum of the
magnitudes of its end: as their tests run it, and where it says "own", on a composition of ours of their classes. Needs torch 2.8, diffusers
0.35.1 and numpy. Nothing is written.
"""

import warnings

import numpy as np
import torch
from diffusers import (
    CMStochasticIterativeScheduler, DDIMInverseScheduler, DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler, HeunDiscreteScheduler, IPNDMScheduler, KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler, LCMScheduler, PNDMScheduler, TCDScheduler, UniPCMultistepScheduler,
)
from diffusers.utils import logging

warnings.simplefilter("ignore")
logging.set_verbosity_error()
LINEAR = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
LATENT = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def sample(shape=(3, 8, 8), batch=4):
    count = batch * shape[0] * shape[1] * (shape[2] if len(shape) > 2 else 1)
    return (torch.arange(count).reshape(*shape, batch) / count).permute(-1, *range(len(shape)))


def noise():
    return (torch.arange(768).flip(-1).reshape(3, 8, 8, 4) / 768).permute(3, 0, 1, 2)


def model(x, t):
    return x * t / (t + 1)


def report(name, x):
    x = x.double().abs()
    print(f"{name:46} sum {x.sum().item():16.7f}  mean {x.mean().item():12.7f}", flush=True)


def loop(scheduler, x, steps=10, scaled=None, times=None, **step):
    """`scaled`: "quirk" overwrites the state with the input of the model, as their tests do; "right" does not."""
    if steps:
        scheduler.set_timesteps(steps)
    for t in scheduler.timesteps if times is None else times:
        given = scheduler.scale_model_input(x, t) if scaled else x
        x = scheduler.step(model(given, t), t, given if scaled == "quirk" else x, **step).prev_sample
    return x


def pndm(x, of_noise=False, **options):
    """With `of_noise` the network gives v, whose noise is averaged as the paper says, not v."""
    scheduler = PNDMScheduler(**LINEAR, **options)
    scheduler.set_timesteps(10)
    for times, step in (scheduler.prk_timesteps, scheduler.step_prk), (scheduler.plms_timesteps, scheduler.step_plms):
        for t in times:
            bar = scheduler.alphas_cumprod[t]
            output = bar.sqrt() * model(x, t) + (1 - bar).sqrt() * x if of_noise else model(x, t)
            x = step(output, t, x).prev_sample
    return x


def ipndm(x, loops):
    scheduler = IPNDMScheduler(num_train_timesteps=1000)
    scheduler.set_timesteps(10)
    if x.dtype == torch.float64:
        scheduler.betas = torch.sin(torch.linspace(1, 0, 11, dtype=x.dtype) * torch.pi / 2) ** 2
        scheduler.alphas = (1 - scheduler.betas**2) ** 0.5
        scheduler.timesteps = (torch.atan2(scheduler.betas, scheduler.alphas) / torch.pi * 2)[:-1]
    for _ in range(loops):
        scheduler._step_index = None
        x = loop(scheduler, x, steps=None)
    return x


def consistency(steps, times=None, start=None):
    scheduler = CMStochasticIterativeScheduler(num_train_timesteps=201, sigma_min=0.002, sigma_max=80.0)
    scheduler.set_timesteps(**({"timesteps": times} if times else {"num_inference_steps": steps}))
    generator = torch.manual_seed(0)
    times, x = scheduler.timesteps, sample() * scheduler.init_noise_sigma
    if start:
        times = times[start:]
        x = scheduler.add_noise(x, noise(), times[:1])
    return loop(scheduler, x, steps=None, scaled="right", times=times, generator=generator)


def third_order():
    """One step of DPM-Solver++(3M) on the data D(l) = l and l^2 (l = ln(alpha / sigma)) without x: what it adds, and the integral of
    e^(l - l') D(l) that it stands for."""
    for count in (10, 20, 40):
        scheduler = DPMSolverMultistepScheduler(**LINEAR, solver_order=3, use_lu_lambdas=True, prediction_type="sample")
        scheduler.set_timesteps(count)
        scheduler.sigmas = scheduler.sigmas.double()
        coordinates = [scheduler._sigma_to_alpha_sigma_t(s) for s in scheduler.sigmas[:-1]]
        l = [torch.log(a / s).item() for a, s in coordinates]
        scheduler._step_index = i = count // 2
        h, alpha = l[i + 1] - l[i], coordinates[i + 1][0].item()
        nodes, weights = np.polynomial.legendre.leggauss(20)
        at = l[i] + h * (nodes + 1) / 2
        # Of the Newton polynomial of l^2 the last coefficient is 1: its term is the integral of e^(l - l') (l - l_i)^2.
        square = alpha * h / 2 * (weights * np.exp(at - l[i + 1]) * (at - l[i]) ** 2).sum()
        for power in (1, 2):
            outputs = [torch.tensor([l[j] ** power], dtype=torch.float64) for j in (i - 2, i - 1, i)]
            got = scheduler.multistep_dpm_solver_third_order_update(outputs, sample=torch.zeros(1, dtype=torch.float64)).item()
            exact = alpha * h / 2 * (weights * np.exp(at - l[i + 1]) * at**power).sum()
            print(f"3M, {count} steps, D = l^{power}: {got:.9f}, exact {exact:.9f}, missing {(exact - got) / square:.6f} of the quadratic term")


def main():
    report("pndm", pndm(sample()))
    report("pndm, v", pndm(sample(), prediction_type="v_prediction"))
    report("pndm, v, own: mean of the noise", pndm(sample(), of_noise=True))
    multistep = dict(LINEAR, solver_order=2, prediction_type="epsilon", thresholding=False, sample_max_value=1.0,
                     algorithm_type="dpmsolver++", solver_type="midpoint", lower_order_final=False, final_sigmas_type="sigma_min")
    for name, most, x in [("2m, thresholding 0.87, 0.5", 0.5, sample()), ("2m, 10 x, thresholding 0.87, 1.5, own", 1.5, 10 * sample())]:
        options = {**multistep, "thresholding": True, "dynamic_thresholding_ratio": 0.87, "sample_max_value": most}
        report(name, loop(DPMSolverMultistepScheduler(**options), x))
        # A cut makes a small error large: once more in f64.
        scheduler = DPMSolverMultistepScheduler(**options)
        scheduler.set_timesteps(10)
        bar = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[torch.cat([scheduler.timesteps, torch.tensor([0])])]
        scheduler.sigmas = ((1 - bar) / bar).sqrt()
        report(f"{name}, f64", loop(scheduler, x.double(), steps=None))
    sigma = dict(LINEAR, num_train_timesteps=1100)
    for kind in ("quirk", "right"):
        for name, scheduler in [
            ("euler", EulerDiscreteScheduler(**sigma)), ("euler, v", EulerDiscreteScheduler(**sigma, prediction_type="v_prediction")),
            ("euler, karras", EulerDiscreteScheduler(**sigma, use_karras_sigmas=True)),
            ("heun", HeunDiscreteScheduler(**sigma)), ("heun, v", HeunDiscreteScheduler(**sigma, prediction_type="v_prediction")),
            ("heun, karras", HeunDiscreteScheduler(**sigma, use_karras_sigmas=True)),
            ("kdpm2", KDPM2DiscreteScheduler(**sigma)), ("kdpm2, v", KDPM2DiscreteScheduler(**sigma, prediction_type="v_prediction")),
        ]:
            scheduler.set_timesteps(10)
            report(f"{name}, {kind}", loop(scheduler, sample() * scheduler.init_noise_sigma, steps=None, scaled=kind))
        for name, scheduler in [("euler a", EulerAncestralDiscreteScheduler(**sigma)), ("kdpm2 a", KDPM2AncestralDiscreteScheduler(**sigma))]:
            scheduler.set_timesteps(10)
            x = loop(scheduler, sample() * scheduler.init_noise_sigma, steps=None, scaled=kind, generator=torch.manual_seed(0))
            report(f"{name}, {kind}, seed 0", x)
    inverse = dict(LINEAR, clip_sample=True)
    report("ddim inverse", loop(DDIMInverseScheduler(**inverse), sample()))
    report("ddim inverse, v", loop(DDIMInverseScheduler(**inverse, prediction_type="v_prediction"), sample()))
    report("cm, 1 step", consistency(1))
    report("cm, steps 106 and 0, seed 0", consistency(None, times=[106, 0]))
    report("cm from step 8 of 10 with noise, seed 0", consistency(10, start=8))
    for steps in (1, 4, 10):
        report(f"lcm, {steps} steps, seed 0", loop(LCMScheduler(**LATENT), sample(), steps, generator=torch.manual_seed(0)))
        report(f"tcd, {steps} steps, eta 0", loop(TCDScheduler(**LATENT), sample(), steps, eta=0.0, generator=torch.manual_seed(0)))
        report(f"tcd, {steps} steps, eta 1, seed 0", loop(TCDScheduler(**LATENT), sample(), steps, eta=1.0, generator=torch.manual_seed(0)))
        report(f"tcd, {steps} steps, eta 0.3, seed 0", loop(TCDScheduler(**LATENT), sample(), steps, eta=0.3, generator=torch.manual_seed(0)))
    report("ipndm, one loop", ipndm(sample(), 1))
    report("ipndm, two loops", ipndm(sample(), 2))
    report("ipndm, one loop, f64", ipndm(sample().double(), 1))
    report("ipndm, two loops, f64", ipndm(sample().double(), 2))
    unipc = dict(LINEAR, solver_order=2, solver_type="bh2", final_sigmas_type="sigma_min")
    one = lambda: sample((3, 8), 4)
    for name, options in [("", {}), (", karras", {"use_karras_sigmas": True}), (", v", {"prediction_type": "v_prediction"}),
                          (", karras, v", {"use_karras_sigmas": True, "prediction_type": "v_prediction"})]:
        report(f"unipc{name}", loop(UniPCMultistepScheduler(**unipc, **options), sample()))
        report(f"unipc{name}, 1-D", loop(UniPCMultistepScheduler(**unipc, **options), one()))
    for shift in (1.0, 3.0):
        scheduler = FlowMatchHeunDiscreteScheduler(num_train_timesteps=1000, shift=shift)
        scheduler.set_timesteps(10)
        report(f"flow heun, shift {shift}, their class", loop(scheduler, sample(), steps=None))
    third_order()


if __name__ == "__main__":
    main()
