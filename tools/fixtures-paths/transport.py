#!/usr/bin/env python3
"""Writes crates/advect-paths/tests/fixtures/ot.json: optimal transport plans by POT (Python Optimal Transport).

Points are multiples of 1/1024, so that the file holds them exactly. Costs are squared Euclidean, marginals uniform.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import ot

warnings.simplefilter("error")  # such as "did not converge"

OUT = Path(__file__).parents[2] / "crates/advect-paths/tests/fixtures/ot.json"


def squared(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(2)


def points(rng, count, shift):
    return np.round((rng.standard_normal((count, 2)) + shift) * 1024) / 1024


def rounded(values):
    return [float(f"{v:.10e}") for v in np.ravel(values)]


def main():
    rng = np.random.default_rng(3)
    x, angle = points(rng, 256, 0.0), rng.integers(0, 8, 256) * (np.pi / 4)
    ring = 2.5 * np.stack([np.cos(angle), np.sin(angle)], 1)
    y = np.round((0.3 * points(rng, 256, 0.0) + ring) * 1024) / 1024
    cost, uniform = squared(x, y), ot.unif(256)
    plan = ot.emd(uniform, uniform, cost, numItermax=10**7)
    columns = plan.argmax(1)
    assert np.allclose(plan[np.arange(256), columns] * 256, 1)
    part = ot.partial.partial_wasserstein(uniform, uniform, cost, m=0.75, nb_dummies=16)
    chosen = np.argwhere(part > 0.5 / 256)
    assert len(chosen) == 192
    entropic = ot.sinkhorn(uniform, uniform, cost, 0.5, method="sinkhorn", stopThr=1e-9, numItermax=10**5)

    a, b = points(rng, 12, 0.0), points(rng, 9, 1.0)
    small, wa, wb = squared(a, b), ot.unif(12), ot.unif(9)
    sinkhorn = lambda e: ot.sinkhorn(wa, wb, small, e, method="sinkhorn_log", stopThr=1e-12, numItermax=10**5)
    balanced = [{"epsilon": e, "plan": rounded(sinkhorn(e))} for e in (0.3, 1.0, 10.0)]
    reference = np.outer(wa, wb)
    unbalanced = [
        {
            "epsilon": e,
            "rho_noise": r1,
            "rho_data": r2,
            "plan": rounded(
                ot.unbalanced.sinkhorn_unbalanced(
                    wa, wb, small, e, (r1, r2), reg_type="kl", c=reference, stopThr=1e-14, numItermax=10**5
                )
            ),
        }
        for e, r1, r2 in ((0.1, 1.0, 1.0), (0.5, 0.3, 2.0), (1.0, 10.0, 10.0), (0.2, 1e9, 0.5))
    ]
    fixture = {
        "noise": x.ravel().tolist(),
        "data": y.ravel().tolist(),
        "exact": {"cost": float((plan * cost).sum()), "columns": columns.tolist()},
        "partial": {"share": 0.75, "cost": float((part * cost).sum()), "pairs": chosen.tolist()},
        "entropic": {"epsilon": 0.5, "cost": float((entropic * cost).sum())},
        "small_noise": a.ravel().tolist(),
        "small_data": b.ravel().tolist(),
        "balanced": balanced,
        "unbalanced": unbalanced,
    }
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(json.dumps(fixture) + "\n")


if __name__ == "__main__":
    main()
