"""How far exact classifier-free guidance drifts from its mode: the truth of advect-guidance's tests/guidance/drift.rs.

Three modes 2 (cos, sin) at 0, 120 and 240 degrees, round with standard deviation `std`; the guided velocity
(1 - w) u(x) + w u(x | mode) of the linear path, integrated by RK4 from N(0, I). Prints the distance of the
samples' mean from the mean of the mode and its standard error. Needs numpy.
"""

import numpy as np

N, STEPS = 100_000, 60
angles = np.arange(3) * 2 * np.pi / 3
means = 2 * np.stack([np.cos(angles), np.sin(angles)], 1)


def velocity(x, t, modes, std):
    variance = (t * std) ** 2 + (1 - t) ** 2
    away = x[:, None] - t * means[modes]
    logits = -0.5 * (away**2).sum(-1) / variance
    share = np.exp(logits - logits.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    u = means[modes] + (t * std**2 - (1 - t)) / variance * away
    return (share[..., None] * u).sum(1)


def end(std, w, rng):
    def guided(x, t):
        return (1 - w) * velocity(x, t, [0, 1, 2], std) + w * velocity(x, t, [0], std)

    x = rng.standard_normal((N, 2))
    times = np.linspace(0, 1, STEPS + 1)
    for a, b in zip(times[:-1], times[1:]):
        h = b - a
        k1 = guided(x, a)
        k2 = guided(x + h / 2 * k1, a + h / 2)
        k3 = guided(x + h / 2 * k2, a + h / 2)
        k4 = guided(x + h * k3, b)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


rng = np.random.default_rng(0)
for std in (0.2, 0.2**0.5):
    for w in (1, 2, 4):
        x = end(std, w, rng)
        error = np.sqrt(x.var(0).sum() / N)
        print(f"std {std:.4f} w {w}: {np.linalg.norm(x.mean(0) - means[0]):.4f} +- {error:.4f}")
