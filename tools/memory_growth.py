#!/usr/bin/env python3
"""Records the memory of a training run at each tenth of its steps: does it grow?

    python3 tools/memory_growth.py [--bound 1.1] -- advect train --preset moons --steps 2000 --run DIR

Adds `--json` to the command and looks at the process whenever it reports. Leaves with 1 if the last report of the training
has more than `--bound` times the memory of the report in the middle and 8 MiB, and with the program's own code if that
failed. Before the middle a run may still grow: a card's backend tunes and compiles, the first checkpoint draws samples.
"""

import argparse
import json
import subprocess
import sys


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bound", type=float, default=1.1)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    program, seen = subprocess.Popen([*args.command, "--json"], stdout=subprocess.PIPE, text=True), []
    for event in map(json.loads, program.stdout):
        if event.get("event") == "step":
            seen.append(resident(program.pid))
            print(f"step {event['step']}: {seen[-1]:.1f} MiB, loss {event['mean_loss']:.4f}", flush=True)
    if program.wait():
        sys.exit(program.returncode)
    if len(seen) < 4:
        sys.exit("too few reports to say")
    middle = seen[(len(seen) - 1) // 2]
    sys.exit(seen[-1] > args.bound * middle and seen[-1] > middle + 8)


if __name__ == "__main__":
    main()
