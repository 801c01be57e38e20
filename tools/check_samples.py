"""Judges generated digits against the real ones, with three numbers and their limits.

    python tools/check_samples.py digits.npz        # written by: advect sample ... --classes all --out digits.npz

Needs numpy, scipy and scikit-learn. Samples count in the data's own units (0 to 16), unclipped.

1. class: an SVM (RBF, gamma 0.001, C 10) trained on all real digits must call >= 99 % of the samples by their class.
2. Frechet distance of Gaussians fitted in the 64 pixels, to all 1,797 real digits: <= 25 (two halves of the real data: 21.5).
3. median pixel distance of a sample to its nearest real image: 13 to 18.5 (another real image: 16.1, a Gaussian per class:
   20.7, a copy: 0), so that neither copying nor blur passes.
"""

import sys

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits
from sklearn.svm import SVC


def frechet(a, b):
    mean = a.mean(0) - b.mean(0)
    ca, cb = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # The trace of the root of ca cb: its eigenvalues are real and not negative, also where border pixels never vary.
    roots = np.sqrt(np.clip(np.linalg.eigvals(ca @ cb).real, 0, None))
    return float(mean @ mean + np.trace(ca) + np.trace(cb) - 2 * roots.sum())


def main(path):
    file = np.load(path)
    samples = file["samples"].reshape(len(file["samples"]), -1).astype(np.float64)
    labels = file["labels"]
    real = load_digits()
    counts = np.bincount(labels, minlength=10)
    print(f"{len(samples)} samples, {counts.min()} to {counts.max()} a class, values {samples.min():.2f} to {samples.max():.2f}")

    svm = SVC(kernel="rbf", gamma=0.001, C=10).fit(real.data, real.target)
    accuracy = float((svm.predict(samples) == labels).mean())
    distance = frechet(samples, real.data)
    nearest = float(np.median(cdist(samples, real.data).min(1)))

    checks = [
        ("called by their class", f"{100 * accuracy:.1f} %", ">= 99 %", accuracy >= 0.99),
        ("Frechet distance", f"{distance:.2f}", "<= 25", distance <= 25),
        ("median distance to the nearest real image", f"{nearest:.2f}", "13 to 18.5", 13 <= nearest <= 18.5),
    ]
    for name, value, limit, passed in checks:
        print(f"{'ok  ' if passed else 'FAIL'} {name}: {value} ({limit})")
    return all(passed for *_, passed in checks)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(0 if main(sys.argv[1]) else 1)
