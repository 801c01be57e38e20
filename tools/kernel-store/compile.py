#!/usr/bin/env python3
"""Compiles the sources of a kernel store (see nvrtc.c) that have no machine code yet, on all processors.

    python tools/kernel-store/compile.py STORE INCLUDE .../libnvrtc.so.13 COMPILE_ONE [SECONDS]

INCLUDE holds cuda_fp16.h and the folder cccl, COMPILE_ONE is the program made of compile_one.c. A kernel that takes longer
than SECONDS (75) is left out and told of.
"""

import os
import subprocess
import sys
from multiprocessing.pool import ThreadPool
from pathlib import Path

STORE, INCLUDE, NVRTC, COMPILE = Path(sys.argv[1]), *sys.argv[2:5]
SECONDS = float(sys.argv[5]) if len(sys.argv) > 5 else 75


def compile(source):
    words = [COMPILE, source, source.with_suffix(".cubin"), INCLUDE, NVRTC]
    try:
        # NVRTC looks for a second library of its own there.
        environment = os.environ | {"LD_LIBRARY_PATH": str(Path(NVRTC).parent)}
        done = subprocess.run(words, timeout=SECONDS, capture_output=True, text=True, env=environment)
        return source.name, done.stderr if done.returncode else None
    except subprocess.TimeoutExpired:
        return source.name, f"not within {SECONDS} s"


def main():
    missing = [path for path in sorted(STORE.glob("*.cu")) if not path.with_suffix(".cubin").exists()]
    failed = 0
    with ThreadPool(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
        for done, (name, problem) in enumerate(pool.imap_unordered(compile, missing), 1):
            if problem:
                failed += 1
                print(f"{name}: {problem}")
            if done % 50 == 0 or done == len(missing):
                print(f"{done} of {len(missing)}", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(missing)} did not compile")


if __name__ == "__main__":
    main()
