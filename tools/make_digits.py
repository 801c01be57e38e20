"""Packs the UCI handwritten digits into crates/advect-data/data/digits.bin.gz.

Needs scikit-learn, which ships the 1,797 images of the set's test half (CC BY 4.0):
E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49

Layout, before gzip: 1,797 labels (one byte each), then 1,797 images of 64 bytes (rows from the top, 0 to 16).
"""

import gzip
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

digits = load_digits()
assert digits.data.shape == (1797, 64) and digits.data.min() == 0 and digits.data.max() == 16
payload = digits.target.astype(np.uint8).tobytes() + digits.data.astype(np.uint8).tobytes()
out = Path(__file__).resolve().parent.parent / "crates/advect-data/data/digits.bin.gz"
out.write_bytes(gzip.compress(payload, 9, mtime=0))
print(f"{out}: {len(payload)} bytes packed into {out.stat().st_size}")
