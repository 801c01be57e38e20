#!/usr/bin/env python3
"""Compares the losses on held-out data of two training runs, and whether each learned.

    advect train ... --json > FIRST; advect train ... --json > SECOND
    python3 tools/compare_losses.py FIRST SECOND 0.05

Leaves with 1 if the last losses differ by more than that fraction of the first one, or if the last loss of a run is not
below four fifths of its mean training loss at the first report.
"""

import json
import sys


def losses(path):
    first = last = None
    with open(path, encoding="utf-8") as lines:
        for event in map(json.loads, lines):
            if event.get("event") == "step" and first is None:
                first = event["mean_loss"]
            if event.get("event") == "done":
                last = event["validation_loss"]
    if first is None or last is None:
        sys.exit(f"{path}: no finished run")
    return first, last


def main():
    paths, tolerance = sys.argv[1:3], float(sys.argv[3])
    ends = []
    for path in paths:
        start, end = losses(path)
        print(f"{path}: first mean training loss {start:.5f}, held-out loss at the end {end:.5f}")
        if not end < 0.8 * start:
            sys.exit(f"{path}: it has not learned")
        ends.append(end)
    off = abs(ends[1] - ends[0]) / ends[0]
    print(f"they differ by {100 * off:.2f} %")
    if not off <= tolerance:
        sys.exit(f"more than {100 * tolerance:g} %")


if __name__ == "__main__":
    main()
