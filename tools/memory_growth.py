#!/usr/bin/env python3
"""Records the memory of a program while it runs: does it grow?

    python3 tools/memory_growth.py [--every 2] [--bound 1.1] -- advect train --preset moons --steps 2000

Prints seconds and resident MiB, then the largest of the second quarter of the run and of the last one. Leaves with 1 if
the last is above the other by more than `--bound` and 16 MiB, and with the program's own code if that failed.
"""

import argparse
import subprocess
import sys
import time


def resident(pid):
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024
    except (FileNotFoundError, ProcessLookupError, StopIteration):
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two looks")
    parser.add_argument("--bound", type=float, default=1.1)
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    program, started, seen = subprocess.Popen(args.command), time.perf_counter(), []
    while program.poll() is None:
        mib = resident(program.pid)
        if mib is not None:
            seen.append(mib)
            print(f"{time.perf_counter() - started:.0f} s: {mib:.0f} MiB", flush=True)
        time.sleep(args.every)
    if program.returncode:
        sys.exit(program.returncode)
    if len(seen) < 8:
        sys.exit("the program ended too soon to say: take a smaller --every")
    quarter = len(seen) // 4
    early, late = max(seen[quarter : 2 * quarter]), max(seen[-quarter:])
    print(f"second quarter: at most {early:.0f} MiB; last quarter: at most {late:.0f} MiB")
    sys.exit(late > args.bound * early and late > early + 16)


if __name__ == "__main__":
    main()
